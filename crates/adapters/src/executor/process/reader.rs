//! Reads units: what the observer and the probes see of them. Writes nothing and signals nothing.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use holdpoint_app::port::Acted;
use holdpoint_domain::{Digest, Id, id::kind, parts::Parts};
use serde::Serialize;

use super::{
    state::{Process, UnitState},
    unit::{Unit, UnitError, by_id},
};
use crate::executor::memory::ActedBy;

/// Reads the state files of a supervisor and `/proc`. Needs no supervisor in the same process.
#[derive(Debug, Clone)]
pub struct UnitReader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// The configured units, with the digests of their arguments.
    units: BTreeMap<Id<kind::Target>, Digest>,
}

/// A unit as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitView {
    /// The relevant version: what would be started, and which process runs.
    pub version: Digest,
    /// What the version is made of.
    pub parts: Parts,
    /// Whether its process runs. A zombie does not.
    pub runs: bool,
    /// The resident memory of its process, while it runs.
    pub rss_bytes: Option<u64>,
    /// A permitted stop left it stopped: that is its declared state now.
    pub stopped: bool,
    /// The run that acted on it last.
    pub acted: Option<Acted>,
}

/// What a version is a digest of.
#[derive(Serialize)]
struct Version<'a> {
    r#type: &'static str,
    unit: &'a Id<kind::Target>,
    argv: Digest,
    process: Option<&'a Process>,
}

impl UnitReader {
    /// A reader of the units that a supervisor keeps in `dir`.
    pub fn new(dir: PathBuf, units: Vec<Unit>) -> Result<Self, UnitError> {
        let digests = by_id(units)?.into_iter().map(|(id, unit)| {
            // Text and paths always have a canonical form, but a unit without one is not started either.
            unit.argv_digest().map(|digest| (id.clone(), digest)).map_err(|_| UnitError::Text(id))
        });
        Ok(Self::over(dir, digests.collect::<Result<_, _>>()?))
    }

    pub(super) fn over(dir: PathBuf, units: BTreeMap<Id<kind::Target>, Digest>) -> Self {
        Self { inner: Arc::new(Inner { dir, units }) }
    }

    /// Looks at a unit; none where the operator configured no such unit. Blocks for a few file reads.
    pub fn look(&self, id: &Id<kind::Target>) -> io::Result<Option<UnitView>> {
        let Some(argv) = self.inner.units.get(id) else { return Ok(None) };
        let state = UnitState::load(&self.inner.dir, id)?;
        let rss_bytes = state.process.as_ref().map_or(Ok(None), Process::rss_bytes)?;
        let (version, runs) = version_of(id, *argv, &state)?;
        // A process that ended between the two looks has no memory any more.
        let rss_bytes = rss_bytes.filter(|_| runs);
        let acted = state.acted.as_ref().map(ActedBy::acted);
        let parts = parts(*argv, state.process.as_ref().filter(|_| runs));
        Ok(Some(UnitView { version, parts, runs, rss_bytes, stopped: state.stopped, acted }))
    }
}

fn parts(argv: Digest, process: Option<&Process>) -> Parts {
    let process = process.map_or_else(
        || "none".to_owned(),
        |process| {
            format!("{}, started {} ticks after boot {}", process.pid, process.start_ticks, process.boot)
        },
    );
    [("command line", argv.short()), ("process", process)].into_iter().collect()
}

/// The relevant version of a unit, and whether it runs.
pub(super) fn version_of(
    unit: &Id<kind::Target>,
    argv: Digest,
    state: &UnitState,
) -> io::Result<(Digest, bool)> {
    let runs = state.process.as_ref().map_or(Ok(false), Process::runs)?;
    let process = state.process.as_ref().filter(|_| runs);
    let version = Version { r#type: "holdpoint/unit-version/v1", unit, argv, process };
    Ok((Digest::of(&version).map_err(io::Error::other)?, runs))
}
