//! The running nginx: its commands, and the worker processes that prove what it has loaded.
//!
//! `nginx -s reload` ends well as soon as the signal is sent. Whether the master took the new configuration is seen by
//! its workers: it starts new ones and tells the old ones to finish, or keeps the old ones when it cannot.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use holdpoint_domain::text::quoted;
use rustix::process::{Pid, Signal, kill_process_group};

use super::server::NginxSpec;
use crate::step::{Step, Taken};

/// Most of a command's output that is kept; the rest is read and dropped.
const MAX_OUTPUT: u64 = 16 * 1024;
/// Most of it that is shown.
const SHOWN: usize = 200;
/// How long the output may stay open after the command has ended: a child of its own may hold it.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);
/// How often a command that runs, or a worker that is awaited, is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// Why nginx did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    #[error("`{program}` cannot be run: {source}")]
    Run { program: String, source: io::Error },
    #[error("`{program}` ended with {status}: {shown}")]
    Status { program: String, status: String, shown: String },
    #[error("`{program}` took more than {limit} ms")]
    Slow { program: String, limit: u64 },
    #[error("nginx is not seen to run: {0}")]
    Master(String),
    #[error("no new workers took over within {0} ms")]
    Workers(u64),
}

impl ControlError {
    /// Whether the command said itself that it failed, so that it sent no signal.
    pub(super) const fn sent_nothing(&self) -> bool {
        match self {
            Self::Run { .. } | Self::Status { .. } => true,
            Self::Slow { .. } | Self::Master(_) | Self::Workers(_) => false,
        }
    }
}

/// A worker process, named so that no other one is taken for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worker {
    pid: u32,
    start_ticks: u64,
}

/// Tests the configuration on disk.
pub(super) fn test(spec: &NginxSpec) -> Result<(), ControlError> {
    Step::NginxTest.take(|taken| run(&spec.test, Duration::from_millis(spec.limit.ms()), taken))
}

/// Tells the master to load the configuration on disk.
pub(super) fn reload(spec: &NginxSpec) -> Result<(), ControlError> {
    Step::NginxReload.take(|taken| run(&spec.reload, Duration::from_millis(spec.limit.ms()), taken))
}

/// The workers that take connections now.
pub(super) fn workers(spec: &NginxSpec) -> Result<BTreeSet<Worker>, ControlError> {
    let master = master(&spec.pid_file).map_err(|why| ControlError::Master(why.to_string()))?;
    let found = serving(master).map_err(|why| ControlError::Master(why.to_string()))?;
    if found.is_empty() {
        return Err(ControlError::Master("its master has no workers".to_owned()));
    }
    Ok(found)
}

/// Waits until new workers take connections and none of `before` does any more.
pub(super) fn wait_replaced(spec: &NginxSpec, before: &BTreeSet<Worker>) -> Result<(), ControlError> {
    let begun = Instant::now();
    let limit = Duration::from_millis(spec.limit.ms());
    while begun.elapsed() < limit {
        // Between two generations there may be an instant without one.
        if workers(spec).is_ok_and(|now| now.is_disjoint(before)) {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    Err(ControlError::Workers(spec.limit.ms()))
}

/// Runs a command without a shell, an environment or an input; ends its whole group when the limit is over.
fn run(argv: &[String], limit: Duration, _: &Taken) -> Result<(), ControlError> {
    let (program, arguments) = argv.split_first().map_or(("", &[] as &[String]), |(p, a)| (p.as_str(), a));
    let failed = |source| ControlError::Run { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let (output, text) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || output.send(capped(stderr)));
    }
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status);
        }
        if begun.elapsed() >= limit {
            break None;
        }
        thread::sleep(PAUSE);
    };
    let Some(status) = status else {
        // It is not reaped yet, so the number is still its own, and its group's.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        child.wait().map_err(failed)?;
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        return Err(ControlError::Slow { program: program.to_owned(), limit });
    };
    if status.success() {
        return Ok(());
    }
    let text = text.recv_timeout(OUTPUT_WAIT).unwrap_or_default();
    let shown = quoted(String::from_utf8_lossy(&text).trim(), SHOWN);
    Err(ControlError::Status { program: program.to_owned(), status: status.to_string(), shown })
}

/// The beginning of an output, read to its end so that nobody waits for us.
fn capped(mut output: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    // What cannot be read is not shown; nothing is decided by it.
    let _ = output.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
    let _ = io::copy(&mut output, &mut io::sink());
    kept
}

/// The number of the master process, which still is one.
fn master(pid_file: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(pid_file)?;
    let pid = text.trim().parse().map_err(|_| io::Error::other("the pid file holds no number"))?;
    if title(pid)?.starts_with("nginx: master process") {
        return Ok(pid);
    }
    Err(io::Error::other("the pid file names a process that is no nginx master"))
}

/// What a process calls itself.
fn title(pid: u32) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The master's workers that were not told to finish.
fn serving(master: u32) -> io::Result<BTreeSet<Worker>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends while it is looked at is none of them.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((parent, start_ticks)) = parent_and_start(&stat) else { continue };
        if parent != master {
            continue;
        }
        let Ok(title) = title(pid) else { continue };
        if title.starts_with("nginx: worker process") && !title.contains("is shutting down") {
            found.insert(Worker { pid, start_ticks });
        }
    }
    Ok(found)
}

/// Fields 4 and 22 of `proc_pid_stat(5)`; the second one may contain spaces and parentheses.
fn parent_and_start(stat: &str) -> Option<(u32, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    Some((parent, fields.nth(17)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_gives_parent_and_start_whatever_the_program_is_called() {
        let tail = "S 41 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 99 11";
        for name in ["nginx", "a) S 1 2 (b"] {
            assert_eq!(parent_and_start(&format!("12 ({name}) {tail}")), Some((41, 424_242)));
        }
        assert_eq!(parent_and_start("12 (x) S"), None);
    }

    fn ended(argv: &[String], limit: Duration) -> Result<(), ControlError> {
        Step::NginxTest.take(|taken| run(argv, limit, taken))
    }

    #[test]
    fn what_a_command_prints_is_cut_and_shown_escaped() {
        let sh = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let limit = Duration::from_secs(5);
        assert!(ended(&sh("exit 0"), limit).is_ok());
        let loud = sh(
            "i=0; while [ $i -lt 3000 ]; do printf '0123456789012345678901234567890\\033\\n' >&2; i=$((i+1)); done; exit 3",
        );
        let line = ended(&loud, limit).unwrap_err().to_string();
        assert!(line.len() < 400 && line.contains("\\u{001B}") && line.contains("exit status: 3"), "{line}");
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_its_children() {
        let hang = ["/bin/sh", "-c", "sleep 1000 & sleep 1000"].map(str::to_owned);
        let begun = Instant::now();
        assert!(matches!(ended(&hang, Duration::from_millis(100)), Err(ControlError::Slow { .. })));
        assert!(begun.elapsed() < Duration::from_secs(5));
        let missing = ["/no/such/program".to_owned()];
        assert!(matches!(ended(&missing, Duration::from_secs(1)), Err(ControlError::Run { .. })));
    }
}
