//! The state file of a target that is a file: what it remembers of the run that acted on it, and what was there before.

use std::{io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdpoint_domain::{Digest, Id, id::kind};
use serde::{Deserialize, Serialize};

use crate::{
    executor::memory::{self, ActedBy, Mandate, Memory, PhaseWord},
    step::Step,
};

/// Largest state file: the largest captured part in base64, and room for the rest.
const MAX_STATE_FILE: u64 = 1024 * 1024;

/// What is remembered of a target. It has no `Debug`: a captured part may hold secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileState {
    r#type: StateType,
    /// The highest fencing epoch that was ever acted under, even if nothing came of it.
    pub(super) highest_epoch: u64,
    /// The permit of that epoch.
    pub(super) holder: Option<Id<kind::Permit>>,
    /// The run that acted last and left something.
    pub(super) acted: Option<ActedBy>,
    /// What was there before that run.
    pub(super) before: Option<Before>,
    /// An effect that is announced and not finished.
    pub(super) pending: Option<Pending>,
    /// How far a rotation got that is not finished.
    pub(super) rotation: Option<Rotation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum StateType {
    #[serde(rename = "holdpoint/file-state/v1")]
    V1,
}

/// What was there before a run, so that it can be put back byte by byte.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    pub(super) version: Digest,
    part: String,
}

/// An announced effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    /// `applied` or `undone`.
    pub(super) towards: PhaseWord,
    /// The version that it leaves.
    pub(super) leaves: Digest,
    /// Who acted before, in case nothing comes of it.
    pub(super) prior: Option<ActedBy>,
}

/// How far a rotation got. Only digests and ids of tokens: never a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// The old token.
    pub(super) old: Digest,
    /// The new one.
    pub(super) new: Digest,
    /// The consumer uses the new one: from here there is only forward.
    pub(super) moved: bool,
    /// Who acted before, in case nothing comes of it.
    pub(super) prior: Option<ActedBy>,
}

impl Before {
    pub(super) fn new(version: Digest, part: &[u8]) -> Self {
        Self { version, part: STANDARD.encode(part) }
    }

    pub(super) fn part(&self) -> io::Result<Vec<u8>> {
        STANDARD.decode(&self.part).map_err(|_| memory::invalid("the captured part is not base64"))
    }
}

impl FileState {
    const NEW: Self = Self {
        r#type: StateType::V1,
        highest_epoch: 0,
        holder: None,
        acted: None,
        before: None,
        pending: None,
        rotation: None,
    };

    /// Reads a target's state; new where there is no file. A file that does not parse is an error, never a new state: it
    /// would forget the fence.
    pub(super) fn load(dir: &Path, target: &Id<kind::Target>) -> io::Result<Self> {
        let Some(bytes) = memory::load(dir, &name(target), MAX_STATE_FILE)? else { return Ok(Self::NEW) };
        // The position only: the text may be of a captured part.
        serde_json::from_slice(&bytes).map_err(|err| {
            memory::invalid(format!(
                "the state file does not parse at line {}, column {}",
                err.line(),
                err.column()
            ))
        })
    }

    /// Writes a target's state, whole or not at all; durable when it returns. Nobody but its owner can read it.
    pub(super) fn store(&self, step: Step, dir: &Path, target: &Id<kind::Target>) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|_| memory::invalid("the state has no JSON form"))?;
        if u64::try_from(bytes.len()).map_or(true, |len| len > MAX_STATE_FILE) {
            return Err(memory::invalid(format!("expected a state of at most {MAX_STATE_FILE} bytes")));
        }
        memory::store(step, dir, &name(target), &bytes)
    }

    /// What the fence needs of it.
    pub(super) fn memory(&self) -> Memory<'_> {
        Memory { highest_epoch: self.highest_epoch, holder: self.holder.as_ref(), acted: self.acted.as_ref() }
    }

    /// This state with the epoch of a mandate, and what it did last.
    pub(super) fn by(&self, mandate: &Mandate, acted: Option<ActedBy>) -> Self {
        let grant = mandate.warrant.permit().grant();
        Self { highest_epoch: grant.epoch, holder: Some(grant.id.clone()), acted, ..self.clone() }
    }

    /// Who acted before an effect that this mandate begins now, perhaps for the second time.
    pub(super) fn prior(&self, mandate: &Mandate) -> Option<ActedBy> {
        if mandate.phase(self.memory()) != Some(PhaseWord::Begun) {
            return self.acted.clone();
        }
        match (&self.pending, &self.rotation) {
            (Some(pending), _) => pending.prior.clone(),
            (None, Some(rotation)) => rotation.prior.clone(),
            (None, None) => None,
        }
    }
}

/// The grammar of ids has no slash, and none begins with a dot.
fn name(target: &Id<kind::Target>) -> String {
    format!("{target}.json")
}
