//! The state file of a unit: what has to outlive the gate.

use std::{io, path::Path};

use holdpoint_domain::{Digest, Id, id::kind};
use serde::{Deserialize, Serialize};

use crate::{
    executor::memory::{self, ActedBy, Memory},
    step::Step,
};

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

    /// The name of a unit's state file. The grammar of ids has no slash, and none begins with a dot.
    fn name(unit: &Id<kind::Target>) -> String {
        format!("{unit}.json")
    }

    /// Reads a unit's state; new where there is no file. A file that does not parse is an error, never a new state: it
    /// would forget the fence.
    pub(super) fn load(dir: &Path, unit: &Id<kind::Target>) -> io::Result<Self> {
        let Some(bytes) = memory::load(dir, &Self::name(unit), MAX_STATE_FILE)? else { return Ok(Self::NEW) };
        serde_json::from_slice(&bytes).map_err(|err| memory::invalid(err.to_string()))
    }

    /// Writes a unit's state, whole or not at all; durable when it returns.
    pub(super) fn store(&self, step: Step, dir: &Path, unit: &Id<kind::Target>) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        memory::store(step, dir, &Self::name(unit), &bytes)
    }

    /// What the fence needs of it.
    pub(super) fn memory(&self) -> Memory<'_> {
        let acted = self.acted.as_ref();
        Memory { highest_epoch: self.highest_epoch, holder: acted.map(|acted| &acted.permit), acted }
    }
}
