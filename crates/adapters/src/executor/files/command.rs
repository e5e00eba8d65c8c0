//! A program that the operator named, run to its end within a limit. There is no shell.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use holdpoint_domain::Millis;
use rustix::{
    fs::{Access, access},
    process::{Pid, Signal, kill_process_group},
};

use super::FilesError;
use crate::step::{Step, Taken};

/// Most arguments of a command.
const MAX_ARGS: usize = 256;
/// Longest argument.
const MAX_ARG_LEN: usize = 8 * 1024;
/// Longest time that a command may take: a lease must outlive it and what undoes it.
pub const MAX_COMMAND: Millis = Millis::secs(60);
/// How often a running command is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// A program with its arguments, started with exactly those, no environment, no input, and its output dropped. It has
/// worked when it exits with 0 within the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    // INVARIANT: `argv` begins with an absolute path; nothing contains NUL; all within the limits above.
    argv: Vec<String>,
    limit: Millis,
}

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("the command could not be run")]
    Io(#[from] io::Error),
    #[error("expected the command to exit with 0, got {0}")]
    Failed(String),
    #[error("expected the command to end within {0}, and it was killed")]
    Limit(Millis),
}

impl Command {
    /// Checks what the operator wrote.
    pub fn new(argv: Vec<String>, limit: Millis) -> Result<Self, FilesError> {
        let fits = |word: &String| word.len() <= MAX_ARG_LEN && !word.contains('\0');
        let absolute = argv.first().is_some_and(|program| Path::new(program).is_absolute());
        if !absolute || argv.len() > MAX_ARGS || !argv.iter().all(fits) {
            return Err(FilesError::Command(format!(
                "expected a program with an absolute path and at most {MAX_ARGS} words of at most {MAX_ARG_LEN} bytes"
            )));
        }
        if limit.ms() == 0 || limit > MAX_COMMAND {
            return Err(FilesError::Command(format!(
                "expected a limit of 1 ms to {MAX_COMMAND}, got {limit}"
            )));
        }
        Ok(Self { argv, limit })
    }

    /// Whether it could be started: looks, and touches nothing.
    pub(super) fn could_run(&self) -> io::Result<()> {
        match self.argv.first() {
            Some(program) => Ok(access(program.as_str(), Access::EXEC_OK)?),
            None => Ok(()),
        }
    }

    /// Runs it to its end. What is left of its group after the limit is killed.
    pub(super) fn run(&self) -> Result<(), CommandError> {
        Step::PlaceTell.take(|taken| self.ended(taken))
    }

    fn ended(&self, taken: &Taken) -> Result<(), CommandError> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| io::Error::other("a command without a program"))?;
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            // Its output is a text that we did not write: nobody reads it here.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(self.limit.ms()) {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(CommandError::Failed(status.to_string())),
                None => thread::sleep(PAUSE),
            }
        }
        end(&mut child, taken)?;
        Err(CommandError::Limit(self.limit))
    }
}

/// Kills a child that was not waited for yet, so that its number, which is its group's, is still its own.
fn end(child: &mut Child, _: &Taken) -> io::Result<()> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process_group(group, Signal::KILL)?;
    }
    child.wait().map(drop)
}
