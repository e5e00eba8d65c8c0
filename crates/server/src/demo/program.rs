//! The program itself, run again: the commands that a person would type, and the gate.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};

use super::DemoError;

/// How long a command may take; the longest one verifies a ledger of some dozens of entries.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// How long the gate may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// Variables that would send a command somewhere else than to the demo's gate.
const FOREIGN: &[&str] =
    &["HOLDPOINT_URL", "HOLDPOINT_CONFIG", "HOLDPOINT_TOKEN", "HOLDPOINT_TOKEN_FILE", "RUST_LOG"];

/// This program.
pub(super) struct Program {
    path: PathBuf,
    /// How a person in this folder calls it.
    called: String,
}

/// What a command did.
pub(super) struct Said {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Program {
    /// The program that runs.
    pub(super) fn this() -> Result<Self, DemoError> {
        let path = std::env::current_exe().map_err(DemoError::Program)?;
        let here = std::env::current_dir().ok();
        let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
        let called = shell_word(&below.as_ref().unwrap_or(&path).to_string_lossy());
        // A bare name would be looked up, and found elsewhere.
        let called = if called.contains('/') { called } else { format!("./{called}") };
        Ok(Self { path, called })
    }

    /// The path of the program.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A command as a person types it in this folder.
    pub(super) fn line(&self, args: &[&str]) -> String {
        line(&self.called, args)
    }

    /// A command as a person types it anywhere, such as in another terminal.
    pub(super) fn line_anywhere(&self, args: &[&str]) -> String {
        line(&shell_word(&self.path.to_string_lossy()), args)
    }

    /// Runs a command to its end, with `typed` on its standard input.
    pub(super) async fn run(&self, args: &[&str], typed: &str) -> Result<Said, DemoError> {
        let failed = |source| DemoError::Start { command: self.line(args), source };
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read what was typed has ended; its status says how.
            let _ = stdin.write_all(typed.as_bytes()).await;
        }
        let ended = timeout(COMMAND_LIMIT, child.wait_with_output()).await;
        let output = ended.map_err(|_| DemoError::Slow { command: self.line(args) })?.map_err(failed)?;
        Ok(Said {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(super) async fn must(&self, args: &[&str], typed: &str) -> Result<String, DemoError> {
        let said = self.run(args, typed).await?;
        if said.status.success() {
            return Ok(said.stdout);
        }
        let said_last = said.stderr.trim_end().to_owned();
        Err(DemoError::Command { command: self.line(args), status: said.status, said: said_last })
    }

    /// Starts the gate; what it logs goes to `log`. It stops when this process is gone, however that came: a pipe to it closes.
    pub(super) fn serve(&self, config: &str, log: File) -> Result<Gate, DemoError> {
        let args = ["serve", "--attached", "--config", config];
        let failed = |source| DemoError::Start { command: self.line(&args), source };
        let log_too = log.try_clone().map_err(failed)?;
        let mut command = self.command(&args);
        // A group of its own: Ctrl-C is for this process, which then ends things in order.
        command.stdin(Stdio::piped()).stdout(log).stderr(log_too).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let pipe = child.stdin.take();
        Ok(Gate { child, pipe })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        // If the demo stops anywhere, nothing that it started goes on.
        command.args(args).env("NO_COLOR", "1").kill_on_drop(true);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
    }
}

/// A running gate.
pub(super) struct Gate {
    child: Child,
    /// As long as it is open, the gate serves.
    pipe: Option<ChildStdin>,
}

impl Gate {
    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) {
        // Without a status it is not ours any more.
        let _ = self.child.wait().await;
    }

    /// Has it stop, and kills it when it does not. Its units outlive it; they end with the demo's lock.
    pub(super) async fn stop(mut self) {
        drop(self.pipe.take());
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            // Dead already is what we want.
            let _ = self.child.kill().await;
        }
    }
}

/// Looks again and again, until there is something or the tries are used up.
pub(super) async fn until<T>(
    tries: u32,
    pause: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>, DemoError>,
) -> Result<Option<T>, DemoError> {
    for _ in 0..tries {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        sleep(pause).await;
    }
    Ok(None)
}

fn line(program: &str, args: &[&str]) -> String {
    let words = args.iter().map(|arg| shell_word(arg));
    std::iter::once(program.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
fn shell_word(text: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | '+' | ',' | '@')
    };
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_means_the_same_to_a_shell() {
        for (word, shown) in [
            ("--as", "--as"),
            ("/tmp/a b", "'/tmp/a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(shell_word(word), shown);
        }
    }
}
