//! The supervisor: starts, stops and re-adopts the programs of this machine.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use holdpoint_domain::{Digest, Id, digest::DigestError, id::kind};
use rustix::fs::{Access, access};

use super::{
    proc::{self, StopError},
    reader::{UnitReader, version_of},
    state::{Process, UnitState},
    unit::{Unit, UnitError, by_id},
};
use crate::{
    executor::memory::{DirectoryLock, PhaseWord},
    step::{Step, Taken},
};

/// A log file above this size is put aside when its unit starts again; one that was put aside before is dropped.
const MAX_LOG: u64 = 16 * 1024 * 1024;

/// Runs units, one process group each. They outlive this process, and the next supervisor over the same directory takes
/// them up again by pid, start time and boot. One supervisor at a time: the directory is locked while it lives.
///
/// All calls block. A process that leaves its group is not followed. Where the gate is pid 1 of a container, run it
/// under an init: orphans of units become its children, and it reaps only its own.
#[derive(Debug)]
pub struct Supervisor {
    dir: PathBuf,
    units: BTreeMap<Id<kind::Target>, Slot>,
    _lock: DirectoryLock,
}

#[derive(Debug)]
struct Slot {
    unit: Unit,
    argv: Digest,
    state: Mutex<UnitState>,
}

/// Why the supervisor does not start.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Faulty units.
    #[error("the units cannot be supervised")]
    Units(#[from] UnitError),
    /// Somebody else supervises them.
    #[error("another supervisor holds `{0}`")]
    Locked(PathBuf),
    /// A unit whose state cannot be read or written.
    #[error("the state of unit `{unit}` cannot be used")]
    State {
        /// The unit.
        unit: Id<kind::Target>,
        /// Why.
        source: io::Error,
    },
    /// A unit that does not start.
    #[error("unit `{unit}` cannot be started")]
    Start {
        /// The unit.
        unit: Id<kind::Target>,
        /// Why.
        source: io::Error,
    },
    /// The directory cannot be used.
    #[error("state directory `{dir}` cannot be used")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A unit under its lock.
pub(super) struct Locked<'a> {
    dir: &'a Path,
    slot: &'a Slot,
    state: MutexGuard<'a, UnitState>,
}

impl Supervisor {
    /// Takes up the units whose state is in `dir`, and makes the directory where there is none. Starts nothing.
    pub fn open(dir: &Path, units: Vec<Unit>) -> Result<Self, SupervisorError> {
        let failed = |source: io::Error| SupervisorError::Directory { dir: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let lock = DirectoryLock::take(dir).map_err(|err| {
            let held = err.kind() == io::ErrorKind::WouldBlock;
            if held { SupervisorError::Locked(dir.to_owned()) } else { failed(err) }
        })?;
        let mut slots = BTreeMap::new();
        for (id, unit) in by_id(units)? {
            let argv = unit.argv_digest()?;
            let state = adopt(dir, &id, argv)
                .map_err(|source| SupervisorError::State { unit: id.clone(), source })?;
            slots.insert(id, Slot { unit, argv, state: Mutex::new(state) });
        }
        Ok(Self { dir: dir.to_owned(), units: slots, _lock: lock })
    }

    /// Starts the units that do not run. Leaves alone what a permitted stop left stopped, and what a run has begun and
    /// not finished: that is for a person. Returns what it started, or the first failure after it tried them all.
    pub fn ensure_started(&self) -> Result<Vec<Id<kind::Target>>, SupervisorError> {
        let (mut started, mut failure) = (Vec::new(), None);
        for id in self.units.keys() {
            match self.lock(id).map_or(Ok(false), |mut unit| unit.start_if_due()) {
                Ok(true) => started.push(id.clone()),
                Ok(false) => {}
                Err(source) => {
                    failure.get_or_insert(SupervisorError::Start { unit: id.clone(), source });
                }
            }
        }
        failure.map_or(Ok(started), Err)
    }

    /// A reader of the same units.
    #[must_use]
    pub fn reader(&self) -> UnitReader {
        let units = self.units.iter().map(|(id, slot)| (id.clone(), slot.argv));
        UnitReader::over(self.dir.clone(), units.collect())
    }

    /// Waits for the unit's lock; none where the supervisor does not have the unit.
    pub(super) fn lock(&self, id: &Id<kind::Target>) -> Option<Locked<'_>> {
        let slot = self.units.get(id)?;
        // The state in memory changes only after it was written, so a panic leaves it as it is on disk.
        let state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Locked { dir: &self.dir, slot, state })
    }
}

/// Reads a unit's state, and finds the process that was started just before the supervisor died.
fn adopt(dir: &Path, id: &Id<kind::Target>, argv: Digest) -> io::Result<UnitState> {
    let mut state = UnitState::load(dir, id)?;
    if let Some(mark) = state.starting.take() {
        if let Some(process) = proc::find_marked(&mark, argv)? {
            state.process = Some(process);
        }
        state.store(Step::UnitAdopt, dir, id)?;
    }
    Ok(state)
}

impl Locked<'_> {
    pub(super) fn state(&self) -> &UnitState {
        &self.state
    }

    pub(super) fn runs(&self) -> io::Result<bool> {
        self.state.process.as_ref().map_or(Ok(false), Process::runs)
    }

    /// The relevant version as it is now.
    pub(super) fn version(&self) -> io::Result<Digest> {
        self.version_of(&self.state)
    }

    /// The relevant version with `state` as the unit's state.
    pub(super) fn version_of(&self, state: &UnitState) -> io::Result<Digest> {
        version_of(self.slot.unit.id(), self.slot.argv, state).map(|(version, _)| version)
    }

    /// Whether the unit could be started: looks, and touches nothing.
    pub(super) fn could_start(&self) -> io::Result<()> {
        let unit = &self.slot.unit;
        if let Some(program) = unit.argv().first() {
            access(program.as_str(), Access::EXEC_OK)?;
        }
        access(unit.cwd(), Access::EXEC_OK)?;
        access(self.dir, Access::WRITE_OK)?;
        Ok(())
    }

    /// Makes `state` the unit's state, durably. When that fails, whatever is on disk is in force.
    pub(super) fn write(&mut self, step: Step, state: UnitState) -> io::Result<()> {
        let id = self.slot.unit.id();
        let stored = state.store(step, self.dir, id);
        match stored {
            Ok(()) => *self.state = state,
            Err(_) => {
                if let Ok(on_disk) = UnitState::load(self.dir, id) {
                    *self.state = on_disk;
                }
            }
        }
        stored
    }

    /// Ends the process group, if the process runs.
    pub(super) fn stop(&self) -> Result<(), StopError> {
        match &self.state.process {
            Some(process) => proc::stop(process, self.slot.unit.stop_grace()),
            None => Ok(()),
        }
    }

    /// Starts the process. The state on disk must carry the mark `starting` already; the caller writes the state
    /// that this returns. If we stop in between, the mark finds the process.
    pub(super) fn start(&self) -> io::Result<UnitState> {
        let mark = self.state.starting.as_deref();
        let mark = mark.ok_or_else(|| io::Error::other("no mark was written before the start"))?;
        let process = spawn(self.dir, &self.slot.unit, self.slot.argv, mark)?;
        Ok(UnitState { process: Some(process), starting: None, stopped: false, ..self.state.clone() })
    }

    fn start_if_due(&mut self) -> io::Result<bool> {
        let begun = self.state.acted.as_ref().is_some_and(|acted| acted.phase == PhaseWord::Begun);
        if self.state.stopped || begun || self.runs()? {
            return Ok(false);
        }
        let marked = UnitState { starting: Some(fresh_mark()), ..self.state.clone() };
        self.write(Step::UnitMark, marked)?;
        let started = self.start()?;
        self.write(Step::UnitKnown, started)?;
        Ok(true)
    }
}

/// A mark that nobody can guess and that never comes twice.
pub(super) fn fresh_mark() -> String {
    format!("{:032x}", u128::from_be_bytes(crate::system::random()))
}

fn spawn(dir: &Path, unit: &Unit, argv: Digest, mark: &str) -> io::Result<Process> {
    let (program, arguments) =
        unit.argv().split_first().ok_or_else(|| io::Error::other("a unit without a program"))?;
    // The thread comes first: a child without one would stay a zombie.
    let (reaper, children) = mpsc::channel::<Child>();
    thread::Builder::new().name("reaper".to_owned()).stack_size(64 * 1024).spawn(move || {
        if let Ok(mut child) = children.recv() {
            let _ = child.wait();
        }
    })?;
    let child = Step::UnitSpawn.take(|taken| {
        let log = open_log(dir, unit.id(), taken)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(unit.env())
            .env(super::unit::SPAWN_VARIABLE, mark)
            .current_dir(unit.cwd())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: it is signalled as a whole, and what is typed at the gate's terminal does not reach it.
            .process_group(0);
        command.spawn()
    })?;
    // Looked at before it is reaped: even one that ended at once still has its start time.
    let process = Process::of(child.id(), argv);
    reaper.send(child).map_err(io::Error::other)?;
    process
}

fn open_log(dir: &Path, id: &Id<kind::Target>, _: &Taken) -> io::Result<File> {
    let path = dir.join(format!("{id}.log"));
    match fs::metadata(&path) {
        Ok(meta) if meta.len() > MAX_LOG => fs::rename(&path, dir.join(format!("{id}.log.1")))?,
        Ok(_) => {}
        Err(err) if err.kind() == io::ErrorKind::NotFound => {}
        Err(err) => return Err(err),
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
