//! `/proc` and pidfds: who a process is, and how to end exactly that one.
//!
//! A pid is reused; a pid with its start time, boot and namespace is not. No signal is sent to a number: every process
//! is opened as a pidfd first and looked at after, so that what was looked at is what gets the signal.

use std::{
    fs,
    io::{self, Read as _},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use holdpoint_domain::Digest;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{state::Process, unit::SPAWN_VARIABLE};
use crate::step::Step;

/// Largest file of `/proc` that we read: an environment of a unit at its limits.
const MAX_PROC_FILE: u64 = 4 * 1024 * 1024;
/// How long a killed process may take to be gone: only one that hangs in the kernel takes longer.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) group: i32,
    pub(super) start_ticks: u64,
    /// It is dead and waits to be reaped.
    pub(super) zombie: bool,
}

/// This boot and this pid namespace.
pub(super) fn boot() -> io::Result<String> {
    let boot = read_proc("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", String::from_utf8_lossy(&boot).trim(), namespace.display()))
}

fn read_proc(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_PROC_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether an error of `/proc` means that there is no such process (any more).
fn is_gone(err: &io::Error) -> bool {
    err.kind() == io::ErrorKind::NotFound || err.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// Looks a process up; none when there is none of this number.
pub(super) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match read_proc(&format!("/proc/{pid}/stat")) {
        Ok(bytes) => parse_stat(&String::from_utf8_lossy(&bytes))
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "`/proc/<pid>/stat` does not parse")),
        Err(err) if is_gone(&err) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Fields of `proc_pid_stat(5)`. The second one is the name of the program, in parentheses, and may itself contain
/// spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    // State is field 3, the group field 5, the start time field 22.
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat { group, start_ticks, zombie: matches!(state, "Z" | "X" | "x") })
}

impl Process {
    /// Names a process that was just started and is not reaped yet.
    pub(super) fn of(pid: u32, argv: Digest) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let stat = stat(pid)?.ok_or_else(|| io::Error::other("the process is gone before it was seen"))?;
        Ok(Self { pid, start_ticks: stat.start_ticks, boot: boot()?, argv })
    }

    /// Whether exactly this process runs. A zombie does not; another one with its number does not count.
    pub(super) fn runs(&self) -> io::Result<bool> {
        if self.boot != boot()? {
            return Ok(false);
        }
        Ok(stat(self.pid)?.is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.zombie))
    }

    /// Its resident memory in bytes; none when it does not run.
    pub(super) fn rss_bytes(&self) -> io::Result<Option<u64>> {
        let statm = match read_proc(&format!("/proc/{}/statm", self.pid)) {
            Err(err) if is_gone(&err) => return Ok(None),
            read => read?,
        };
        // Asked after the reading: had the number passed to another process in between, this would say so.
        if !self.runs()? {
            return Ok(None);
        }
        let pages: Option<u64> = String::from_utf8_lossy(&statm)
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok());
        let page = u64::try_from(rustix::param::page_size()).ok();
        pages
            .zip(page)
            .and_then(|(pages, page)| pages.checked_mul(page))
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "`/proc/<pid>/statm` does not parse"))
    }

    /// A handle on exactly this process; none when it does not run.
    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            opened => opened?,
        };
        // It had its number when it was recorded and has it now, so it had it when the handle was opened.
        Ok(self.runs()?.then_some(handle))
    }
}

/// Every process of `/proc`, as far as it can be looked at.
fn all_pids() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Finds the leader of a process group that carries `mark` in its environment.
pub(super) fn find_marked(mark: &str, argv: Digest) -> io::Result<Option<Process>> {
    let wanted = format!("{SPAWN_VARIABLE}={mark}");
    for pid in all_pids()? {
        let Some(before) = stat(pid)? else { continue };
        if before.group != pid || before.zombie {
            continue;
        }
        // Other users' environments are closed to us, and ours is open: what cannot be read is not the one.
        let Ok(environ) = read_proc(&format!("/proc/{pid}/environ")) else { continue };
        if environ.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
            && stat(pid)?.is_some_and(|after| after.start_ticks == before.start_ticks)
        {
            return Ok(Some(Process { pid, start_ticks: before.start_ticks, boot: boot()?, argv }));
        }
    }
    Ok(None)
}

/// Why a group was not ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StopError {
    #[error("processes cannot be looked at or signalled")]
    Io(#[from] io::Error),
    #[error("a killed process is not gone after {} s: it hangs in the kernel", KILL_WAIT.as_secs())]
    Stuck,
}

/// Ends a process and its group: asks, waits for `grace`, kills, and waits until all are gone. A process that left the
/// group (a daemon of its own) stays.
pub(super) fn stop(leader: &Process, grace: Duration) -> Result<(), StopError> {
    let Some(handle) = leader.open()? else { return Ok(()) };
    let mut members = vec![handle];
    find_members(leader, &mut members)?;
    signal(&members, Signal::TERM)?;
    // A stopped process takes no other signal before it continues.
    signal(&members, Signal::CONT)?;
    if wait_gone(&members, grace)? {
        return Ok(());
    }
    let deadline = Instant::now().checked_add(KILL_WAIT);
    loop {
        find_members(leader, &mut members)?;
        signal(&members, Signal::KILL)?;
        if wait_gone(&members, Duration::from_millis(100))? {
            return Ok(());
        }
        if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return Err(StopError::Stuck);
        }
    }
}

/// Adds the living members of the leader's group. A group's number is not given away while one member lives, so what is
/// found counts only when one that we hold is alive after the search.
fn find_members(leader: &Process, members: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut found = Vec::new();
    for pid in all_pids()?.into_iter().filter(|pid| *pid != leader.pid) {
        let in_group = || -> io::Result<bool> {
            Ok(stat(pid)?.is_some_and(|stat| stat.group == leader.pid && !stat.zombie))
        };
        if !in_group()? {
            continue;
        }
        let Some(number) = Pid::from_raw(pid) else { continue };
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(handle) if in_group()? => found.push(handle),
            Ok(_) | Err(Errno::SRCH) => {}
            Err(err) => return Err(err.into()),
        }
    }
    for member in members.iter() {
        if !wait_gone(std::slice::from_ref(member), Duration::ZERO)? {
            members.extend(found);
            return Ok(());
        }
    }
    Ok(())
}

fn signal(members: &[OwnedFd], signal: Signal) -> io::Result<()> {
    Step::UnitSignal.take(|_| {
        for member in members {
            match pidfd_send_signal(member, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    })
}

/// Waits until all are dead; false when some are not after `limit`.
fn wait_gone(members: &[OwnedFd], limit: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    for member in members {
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            match poll(&mut [PollFd::new(member, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_parses_whatever_the_program_is_called() {
        let tail = "S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 99 11";
        for name in ["sleep", "a b", "a) S 1 2 (b", ")", "\n"] {
            let stat = parse_stat(&format!("12 ({name}) {tail}")).unwrap();
            assert_eq!(stat, Stat { group: 77, start_ticks: 424_242, zombie: false }, "{name}");
        }
        assert!(parse_stat(&format!("12 (x) {}", tail.replace('S', "Z"))).unwrap().zombie);
        for bad in ["", "12 (x", "12 (x) S 1", "12 (x) S 1 x 1"] {
            assert!(parse_stat(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_process_with_another_start_time_or_boot_is_another_process() {
        let me = Process::of(std::process::id(), Digest::of_bytes(b"")).unwrap();
        assert!(me.runs().unwrap());
        assert!(me.open().unwrap().is_some());
        assert!(me.rss_bytes().unwrap().unwrap() > 0);
        let reused = Process { start_ticks: me.start_ticks + 1, ..me.clone() };
        let rebooted = Process { boot: "another boot".to_owned(), ..me };
        for other in [reused, rebooted] {
            assert!(!other.runs().unwrap());
            assert!(other.open().unwrap().is_none());
            // Were this process taken for the other one, the test would end here.
            stop(&other, Duration::ZERO).unwrap();
        }
    }
}
