//! The demo: the whole life of actions on processes and files of this machine, in less than half a minute.
//!
//! A stage of real processes runs under the gate's supervisor. An agent with identities of its own acts on it through the
//! public HTTP API and nothing else; people approve with the command that any person uses; the ledger is verified by
//! another process. Every act says what it expects, and the demo fails when something else happens.
//!
//! Never here: a shortcut into the gate, or a step that a user could not do alike. Start at [`acts`].

mod acts;
mod api;
mod ledger;
mod parts;
mod people;
mod program;
mod screen;
mod stage;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use holdpoint_adapters::identity::program_digest;

pub(crate) use parts::{PartOptions, part};

use program::{Gate, Program};
use screen::Screen;
use stage::{Ports, Setting};

/// How long everything goes on after the last act, for whoever wants to look around.
const STAYS: Duration = Duration::from_secs(60 * 60);

/// Options of the demo.
#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Play Ada too, instead of waiting for you to do it, and stop everything at the end, instead of leaving it for you to
    /// look around
    #[arg(long)]
    yes: bool,
    /// Where to write the demo's files: a folder that is not there yet, or is empty [default: a new one under the
    /// system's temporary folder]
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The folder cannot be used.
    #[error("cannot use the folder `{path}`: expected one that is not there yet, or is empty")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the demo cannot be written or read.
    #[error("cannot write or read `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Ports of this machine.
    #[error("cannot find ports for the stage")]
    Ports(#[source] io::Error),
    /// The program's own file.
    #[error("cannot find the program that runs")]
    Program(#[source] io::Error),
    /// A command cannot be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A command that should have succeeded.
    #[error("`{command}` ended with {status}: {said}")]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
    /// A command that does not end.
    #[error("`{command}` did not end in time")]
    Slow {
        /// The command.
        command: String,
    },
    /// The gate does not serve.
    #[error("the gate does not serve; its last word: {said}")]
    Gate {
        /// The end of its log.
        said: String,
    },
    /// No answer, or one of another shape.
    #[error("no usable answer from `{url}`")]
    Http {
        /// Who was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An act went differently.
    #[error("act {act}: expected {expected}, got {got}")]
    Differs {
        /// The act.
        act: u8,
        /// What should have happened.
        expected: String,
        /// What did.
        got: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("stopped before the end")]
    Interrupted,
}

/// What all acts need.
struct Demo {
    dir: PathBuf,
    program: Program,
    ports: Ports,
    screen: Screen,
    yes: bool,
}

/// Runs the demo, and ends everything that it started.
pub(crate) async fn run(options: DemoOptions) -> Result<(), DemoError> {
    let dir = folder(options.dir)?;
    let alive_path = dir.join(stage::ALIVE);
    let fault = |source| DemoError::File { path: alive_path.clone(), source };
    let alive = File::create_new(&alive_path).map_err(fault)?;
    // The parts of the stage wait for this lock: however we end, they end too.
    alive.lock().map_err(fault)?;
    let demo = Demo {
        dir,
        program: Program::this()?,
        ports: Ports::free(std::process::id()).map_err(DemoError::Ports)?,
        screen: Screen::new(),
        yes: options.yes,
    };
    let mut gate = None;
    let played = tokio::select! {
        played = acts::play(&demo, &mut gate) => played,
        () = interrupted() => Err(DemoError::Interrupted),
    };
    match &played {
        Ok(()) => acts::epilogue(&demo),
        Err(_) => {
            demo.screen.headline("It did not go to its end.");
            demo.screen.fact("files", demo.dir.display());
            demo.screen.fact("log", demo.gate_log().display());
        }
    }
    if let Some(mut gate) = gate {
        if played.is_ok() && !demo.yes {
            tokio::select! {
                () = interrupted() => {}
                () = tokio::time::sleep(STAYS) => {}
                () = gate.ended() => {}
            }
            demo.screen.headline("The gate stops, and the shop with it.");
        }
        gate.stop().await;
    }
    drop(alive);
    played
}

impl Demo {
    /// A file of the demo.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file of the demo, as an argument.
    fn arg(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn gate_log(&self) -> PathBuf {
        self.path("gate.log")
    }

    fn read(&self, name: &str) -> Result<String, DemoError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|source| DemoError::File { path, source })
    }

    /// Puts another text in the place of a file, whole: whoever reads it sees the old one or the new one.
    fn replace(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        let replaced = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        replaced.map_err(|source| DemoError::File { path, source })
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<(), DemoError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|source| DemoError::File { path, source })
    }

    /// Makes people's keys, writes the files of the stage, makes the gate's keys, and starts the gate.
    async fn set_stage(&self, gate: &mut Option<Gate>, api: &api::Api) -> Result<(), DemoError> {
        let key = async |person: &str| {
            let file = self.arg(&format!("people/{person}.key"));
            self.program.must(&["keygen", "--out", &file], "").await.map(|key| key.trim().to_owned())
        };
        let (ada, bob, cleo, dora) = tokio::try_join!(key("ada"), key("bob"), key("cleo"), key("dora"))?;
        let [adas, bobs] = people::APPROVERS.map(|person| self.make_passkey(person));
        let program = |source| DemoError::File { path: self.program.path().to_owned(), source };
        let setting = Setting {
            uid: fs::metadata(&self.dir).map_err(program)?.uid(),
            digest: program_digest(self.program.path()).map_err(program)?,
            dir: &self.dir,
            program: self.program.path(),
            ports: self.ports,
            people: [&ada, &bob, &cleo, &dora],
            passkeys: [&adas?.passkey, &bobs?.passkey],
            token: &fresh_token()?,
        };
        for folder in [stage::SHOP, stage::RUN].map(|name| self.path(name)) {
            let mut private = fs::DirBuilder::new();
            private.mode(0o700).create(&folder).map_err(|source| DemoError::File { path: folder, source })?;
        }
        for (name, text) in stage::files(&setting) {
            self.write(name, text)?;
        }
        let config = self.arg(stage::CONFIG);
        self.program.must(&["init", "--config", &config], "").await?;
        let log_path = self.gate_log();
        let log = File::create(&log_path).map_err(|source| DemoError::File { path: log_path, source })?;
        let running = gate.insert(self.program.serve(&config, log)?);
        let served = program::until(acts::MAX_LOOKS, acts::LOOK_EVERY, async || {
            if running.has_ended() {
                return Err(DemoError::Gate { said: last_line(&self.gate_log()) });
            }
            Ok(api.is_up().await.then_some(()))
        });
        served.await?.ok_or_else(|| DemoError::Gate { said: last_line(&self.gate_log()) })
    }
}

/// A token that nobody could guess.
fn fresh_token() -> Result<String, DemoError> {
    random::<24>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

fn random<const LEN: usize>() -> Result<[u8; LEN], DemoError> {
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0; LEN];
    let read = File::open(&path).and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    read.map_err(|source| DemoError::File { path, source })?;
    Ok(bytes)
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    holdpoint_domain::text::quoted(text.lines().last().unwrap_or_default(), 400)
}

/// Makes the demo's folder, which nobody else may look into: people's keys are in it.
fn folder(wanted: Option<PathBuf>) -> Result<PathBuf, DemoError> {
    let (path, given) = match wanted {
        Some(path) => (path, true),
        None => (std::env::temp_dir().join(format!("holdpoint-demo-{}", std::process::id())), false),
    };
    let fault = |source| DemoError::Folder { path: path.clone(), source };
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        // What is in a shared folder already, somebody else may have put there.
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && given => {
            if fs::read_dir(&path).map_err(fault)?.next().is_some() {
                return Err(fault(err));
            }
        }
        made => made.map_err(fault)?,
    }
    path.canonicalize().map_err(fault)
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Then there is Ctrl-C alone.
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("demo");
        assert_eq!(folder(Some(wanted.clone())).unwrap(), wanted.canonicalize().unwrap());
        assert!(folder(Some(wanted.clone())).is_ok(), "an empty folder is as good as a new one");
        fs::write(wanted.join("precious"), "x").unwrap();
        assert!(matches!(folder(Some(wanted)), Err(DemoError::Folder { .. })));
    }
}
