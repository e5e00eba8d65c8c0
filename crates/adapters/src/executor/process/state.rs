//! The state file of a unit: what has to outlive the gate.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use holdpoint_app::port::{Acted, ActedPhase};
use holdpoint_domain::{Digest, Id, id::kind};
use serde::{Deserialize, Serialize};

/// Largest state file: ours have a few hundred bytes.
const MAX_STATE_FILE: u64 = 16 * 1024;

/// What the supervisor remembers of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitState {
    pub(super) r#type: StateType,
    /// The process started last, dead or alive.
    pub(super) process: Option<Process>,
    /// A process is about to be started with this mark in its environment. Whoever finds the mark here after a crash
    /// looks for that process.
    pub(super) starting: Option<String>,
    /// A permitted stop left it stopped: nobody starts it at start-up.
    pub(super) stopped: bool,
    /// The highest fencing epoch that was ever acted under.
    pub(super) highest_epoch: u64,
    /// The run that acted last.
    pub(super) acted: Option<ActedBy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StateType {
    #[serde(rename = "holdpoint/unit-state/v1")]
    V1,
}

/// A process, named so that no other one is ever taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub(super) start_ticks: u64,
    /// The boot, and the namespace that the pid belongs to.
    pub(super) boot: String,
    /// What was started.
    pub(super) argv: Digest,
}

/// The run that acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActedBy {
    pub(super) epoch: u64,
    pub(super) permit: Id<kind::Permit>,
    pub(super) phase: PhaseWord,
    /// The version that it left; none while it has only begun.
    pub(super) left: Option<Digest>,
}

/// [`ActedPhase`], as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhaseWord {
    Begun,
    Applied,
    Undone,
}

impl ActedBy {
    pub(super) const fn acted(&self) -> Acted {
        let phase = match self.phase {
            PhaseWord::Begun => ActedPhase::Begun,
            PhaseWord::Applied => ActedPhase::Applied,
            PhaseWord::Undone => ActedPhase::Undone,
        };
        Acted { epoch: self.epoch, phase, left: self.left }
    }
}

impl UnitState {
    /// A unit that nobody has started yet.
    pub(super) const NEW: Self = Self {
        r#type: StateType::V1,
        process: None,
        starting: None,
        stopped: false,
        highest_epoch: 0,
        acted: None,
    };

    /// The path of a unit's state file. The grammar of ids has no slash, and none begins with a dot.
    pub(super) fn path(dir: &Path, unit: &Id<kind::Target>) -> PathBuf {
        dir.join(format!("{unit}.json"))
    }

    /// Reads a unit's state; new where there is no file. A file that does not parse is an error, never a new state: it
    /// would forget the fence.
    pub(super) fn load(dir: &Path, unit: &Id<kind::Target>) -> io::Result<Self> {
        let file = match File::open(Self::path(dir, unit)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Self::NEW),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_STATE_FILE).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes)
            .map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err.to_string()))
    }

    /// Writes a unit's state, whole or not at all; durable when it returns.
    pub(super) fn store(&self, dir: &Path, unit: &Id<kind::Target>) -> io::Result<()> {
        let temporary = dir.join(format!(".{unit}.json.tmp"));
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        // If we stop here, the old state is in force and the temporary file is overwritten by the next write.
        fs::rename(&temporary, Self::path(dir, unit))?;
        File::open(dir)?.sync_all()
    }
}
