//! Units: the programs that the supervisor may run, as the operator wrote them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use holdpoint_domain::{Digest, Id, Millis, digest::DigestError, id::kind};

/// Most units of one supervisor.
const MAX_UNITS: usize = 256;
/// Most arguments, and most variables, of a unit.
const MAX_ARGS: usize = 256;
/// Longest argument, variable or path: far below what `execve` takes (128 KiB each).
const MAX_ARG_LEN: usize = 8 * 1024;
/// Longest time that a unit may take to stop by itself: a lease must outlive it.
pub const MAX_STOP_GRACE: Millis = Millis::secs(60);
/// The one variable that the supervisor adds to a unit's environment: it finds a process that was started just before
/// the supervisor died.
pub const SPAWN_VARIABLE: &str = "HOLDPOINT_SPAWN";

/// A supervised program. There is no shell: the program is started with exactly these arguments, this environment and
/// nothing inherited. Secrets belong in files that it reads, not in its arguments: those are visible to every user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    // INVARIANT: `argv` begins with an absolute path; nothing contains NUL; all within the limits above.
    id: Id<kind::Target>,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    cwd: PathBuf,
    stop_grace: Millis,
}

/// What is wrong with a unit. The fault is with whoever configured it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No program, or one that would be looked up.
    #[error("unit `{0}`: expected a program with an absolute path")]
    Program(Id<kind::Target>),
    /// No absolute directory.
    #[error("unit `{0}`: expected an absolute working directory")]
    Directory(Id<kind::Target>),
    /// A NUL, an equals sign in a name, or too long.
    #[error(
        "unit `{0}`: expected at most {MAX_ARGS} arguments and variables of at most {MAX_ARG_LEN} bytes, without NUL"
    )]
    Text(Id<kind::Target>),
    /// The supervisor's own variable.
    #[error("unit `{0}`: variable `{SPAWN_VARIABLE}` is the supervisor's own")]
    Reserved(Id<kind::Target>),
    /// Too much time to stop.
    #[error("unit `{0}`: expected a stop grace of at most {MAX_STOP_GRACE}, got {1}")]
    Grace(Id<kind::Target>, Millis),
    /// Two units with one id.
    #[error("unit `{0}` stands twice")]
    Duplicate(Id<kind::Target>),
    /// Too many.
    #[error("expected at most {MAX_UNITS} units, got {0}")]
    Size(usize),
}

impl Unit {
    /// Checks what the operator wrote.
    pub fn new(
        id: Id<kind::Target>,
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        cwd: PathBuf,
        stop_grace: Millis,
    ) -> Result<Self, UnitError> {
        if !argv.first().is_some_and(|program| Path::new(program).is_absolute()) {
            return Err(UnitError::Program(id));
        }
        if !cwd.is_absolute() {
            return Err(UnitError::Directory(id));
        }
        let fits = |text: &str| text.len() <= MAX_ARG_LEN && !text.contains('\0');
        let names_fit = env.keys().all(|name| fits(name) && !name.is_empty() && !name.contains('='));
        let texts_fit = argv.iter().chain(env.values()).all(|text| fits(text));
        if argv.len() > MAX_ARGS || env.len() > MAX_ARGS || !names_fit || !texts_fit {
            return Err(UnitError::Text(id));
        }
        if env.contains_key(SPAWN_VARIABLE) {
            return Err(UnitError::Reserved(id));
        }
        if stop_grace > MAX_STOP_GRACE {
            return Err(UnitError::Grace(id, stop_grace));
        }
        Ok(Self { id, argv, env, cwd, stop_grace })
    }

    /// Its id, which is the id of the target that it is.
    #[must_use]
    pub const fn id(&self) -> &Id<kind::Target> {
        &self.id
    }

    /// The program and its arguments.
    #[must_use]
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// Its whole environment.
    #[must_use]
    pub const fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Its working directory.
    #[must_use]
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    pub(super) const fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.stop_grace.ms())
    }

    /// The digest of program, arguments and directory. The environment is not in it: it may hold secrets, and a digest
    /// of a short secret gives it away.
    pub fn argv_digest(&self) -> Result<Digest, DigestError> {
        Digest::of(&serde_json::json!({ "argv": self.argv, "cwd": self.cwd }))
    }
}

/// Puts units in order by id; refuses two of one name.
pub(super) fn by_id(units: Vec<Unit>) -> Result<BTreeMap<Id<kind::Target>, Unit>, UnitError> {
    if units.len() > MAX_UNITS {
        return Err(UnitError::Size(units.len()));
    }
    let mut map = BTreeMap::new();
    for unit in units {
        if let Some(old) = map.insert(unit.id.clone(), unit) {
            return Err(UnitError::Duplicate(old.id));
        }
    }
    Ok(map)
}
