//! Faults between the gate and the C library: the library `shim.c`, compiled once, and the file that steers it.

use std::{
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const SOURCE: &str = include_str!("shim.c");
/// The layout of `struct control` in `shim.c`: four words, then rules of eight words and a path.
const HEADER: u64 = 32;
const RULE: u64 = 128;
const RULES: u64 = 16;
const PATH: u64 = 64;

pub(crate) const EIO: u64 = 5;
pub(crate) const ENOSPC: u64 = 28;
/// As often as it comes.
pub(crate) const ALWAYS: u64 = 1 << 40;

/// Calls of the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Write = 1,
    Sync = 2,
    Rename = 4,
    Open = 8,
    Read = 16,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing is done, and the error says so.
    Fail(u64),
    /// It is done, and an error says that it is not.
    DoneButFailed(u64),
    /// Half of the bytes are written, and the call says so.
    Short,
    /// It does not come back before the rule is lifted.
    Hold,
    /// Half of the bytes are written, and the process is killed.
    TornAndKilled,
}

/// A fault: the calls of `op` on paths that contain `path`, from the one after the first `skip`, `times` of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) op: Op,
    pub(crate) path: &'static str,
    pub(crate) effect: Effect,
    pub(crate) skip: u64,
    pub(crate) times: u64,
}

impl Rule {
    /// A fault that strikes the next call, once.
    pub(crate) const fn once(op: Op, path: &'static str, effect: Effect) -> Self {
        Self { op, path, effect, skip: 0, times: 1 }
    }

    /// A fault that stays until it is lifted.
    pub(crate) const fn always(op: Op, path: &'static str, effect: Effect) -> Self {
        Self { op, path, effect, skip: 0, times: ALWAYS }
    }

    pub(crate) const fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }
}

/// An armed rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Armed(u64);

/// The shim of one gate: clone it into the test that drives the gate.
#[derive(Debug)]
pub(crate) struct Shim {
    control: File,
    path: PathBuf,
    next: std::cell::Cell<u64>,
}

impl Shim {
    /// A shim with no fault, steered by a file in this folder.
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("faults.control");
        let control =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        control.set_len(HEADER + RULES * RULE).unwrap();
        Self { control, path, next: std::cell::Cell::new(0) }
    }

    /// What a process needs in its environment to have these faults.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(&library())),
            ("HOLDPOINT_TEST_FAULTS".to_owned(), text(&self.path)),
        ]
    }

    pub(crate) fn arm(&self, rule: Rule) -> Armed {
        let at = self.next.get();
        assert!(at < RULES, "a shim has room for {RULES} rules");
        self.next.set(at + 1);
        let (effect, error) = match rule.effect {
            Effect::Fail(error) => (1, error),
            Effect::DoneButFailed(error) => (2, error),
            Effect::Short => (3, 0),
            Effect::Hold => (4, 0),
            Effect::TornAndKilled => (5, 0),
        };
        let mut path = [0; 64];
        path[..rule.path.len()].copy_from_slice(rule.path.as_bytes());
        let at = HEADER + at * RULE;
        self.control.write_all_at(&path, at + PATH).unwrap();
        for (field, value) in
            [(1, rule.op as u64), (2, effect), (3, error), (4, rule.skip), (5, rule.times), (6, 0), (7, 0)]
        {
            self.set(at + field * 8, value);
        }
        // Last: whoever sees it armed sees the rest.
        self.set(at, 1);
        Armed(at)
    }

    /// Lifts a rule; calls that are held go on.
    pub(crate) fn lift(&self, rule: Armed) {
        self.set(rule.0, 0);
    }

    /// How many calls a rule has seen.
    pub(crate) fn seen(&self, rule: Armed) -> u64 {
        self.word(rule.0 + 6 * 8)
    }

    /// How many calls a rule has struck.
    pub(crate) fn struck(&self, rule: Armed) -> u64 {
        self.word(rule.0 + 7 * 8)
    }

    /// Sets the clock on the wall and the steady one, each in milliseconds from the real one.
    pub(crate) fn set_clocks(&self, wall_ms: i64, steady_ms: i64) {
        self.set(8, (steady_ms * 1_000_000).cast_unsigned());
        self.set(0, (wall_ms * 1_000_000).cast_unsigned());
    }

    /// The clock on the wall stands still, so far from the real one's now.
    pub(crate) fn freeze_wall(&self, wall_ms: i64) {
        let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_nanos()).unwrap();
        self.set(16, now.saturating_add_signed(wall_ms * 1_000_000));
    }

    fn set(&self, at: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at).unwrap();
        u64::from_ne_bytes(bytes)
    }
}

/// The compiled shim: one for each text of it, whoever compiles it first.
fn library() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("faults-{:016x}.so", hasher.finish()));
    if library.exists() {
        return library;
    }
    fs::create_dir_all(folder).unwrap();
    let own = tempfile::tempdir_in(folder).unwrap();
    let (source, made) = (own.path().join("shim.c"), own.path().join("shim.so"));
    fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .args([&made, &source])
        .output()
        .expect("a C compiler, which the tests need as the build does");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    // Another test may have been faster: both made the same.
    fs::rename(made, &library).unwrap();
    library
}
