//! The halt as a file: in memory at once, on disk before anybody is told that it will last.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use holdpoint_app::port::Latch;
use holdpoint_domain::{
    Timestamp,
    halt::{Halt, Reach},
};

use super::durable::{replace, sync_folder_of};
use crate::step::Step;

/// Largest latch file: ours have some hundred bytes.
const MAX_FILE: u64 = 4096;

/// A latch file. Whoever can write into its folder can halt: `touch` is enough, and nothing but a resume ends it.
#[derive(Debug)]
pub struct FileLatch {
    path: PathBuf,
    memory: RwLock<Memory>,
    // Held while this process writes or removes the file: what is on disk meanwhile is its own.
    disk: Mutex<()>,
}

#[derive(Debug, Default)]
struct Memory {
    halt: Option<Halt>,
    /// The time of the file that it is known by. A file with another time is another halt.
    seen: Option<SystemTime>,
}

impl FileLatch {
    /// A latch at this path; a file that is there halts.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let memory = RwLock::new(Memory { seen: modified(&path), halt: found(&path) });
        Self { path, memory, disk: Mutex::default() }
    }

    /// Compares what the file said at the start with the halt that was recorded last: whoever can write it can write any name and any
    /// time, so that what nobody recorded is nobody's, and of the file's own time.
    pub fn compare(&self, recorded: Option<&Halt>) {
        let mut memory = self.write();
        if memory.halt.is_some() && memory.halt.as_ref() != recorded {
            memory.halt = appeared(&self.path).or_else(|| memory.halt.clone());
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_the_disk(&self) -> MutexGuard<'_, ()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latch for FileLatch {
    fn halt(&self) -> Option<Halt> {
        let (known, seen) = {
            let memory = self.read();
            (memory.halt.clone(), memory.seen)
        };
        let at = modified(&self.path);
        // Somebody may have put the file there, or another one in its place, without asking the gate.
        if at.is_none() || (known.is_some() && at == seen) {
            return known;
        }
        // While this process writes the file, what is in memory counts.
        let Ok(_disk) = self.disk.try_lock() else { return self.read().halt.clone() };
        let mut memory = self.write();
        let Some(found) = appeared(&self.path) else { return memory.halt.clone() };
        let at = modified(&self.path);
        if memory.halt.is_none() || at != memory.seen {
            // It never softens.
            let reach = memory.halt.as_ref().map_or(found.reach, |known| known.reach.max(found.reach));
            *memory = Memory { halt: Some(Halt { reach, ..found }), seen: at };
        }
        memory.halt.clone()
    }

    fn set(&self, halt: &Halt) -> Result<(), String> {
        let _disk = self.at_the_disk();
        // Also of a file that nobody has looked at yet.
        let on_disk = found(&self.path).filter(|_| modified(&self.path) != self.read().seen);
        let in_force = {
            let mut memory = self.write();
            let known = memory.halt.as_ref().into_iter().chain(&on_disk);
            let reach = known.clone().fold(halt.reach, |reach, known| reach.max(known.reach));
            // The last word counts as to who and when: what people asked for beyond policy in an earlier halt stops at a later one.
            // But whoever halts as well does not take a file of nobody's for theirs: it stops such plans whenever it came.
            let of_nobody = on_disk.is_some() || memory.halt.as_ref().is_some_and(|known| known.by.is_none());
            let by = if of_nobody { None } else { halt.by.clone() };
            let in_force = Halt { reach, by, at_ms: halt.at_ms };
            memory.halt = Some(in_force.clone());
            in_force
        };
        // If we stop before this is durable, the halt ends with the process; the answer says so.
        let stored = store(&self.path, &in_force).map_err(|err| err.to_string());
        self.write().seen = modified(&self.path);
        stored
    }

    fn clear(&self) -> Result<(), String> {
        let _disk = self.at_the_disk();
        let mut memory = self.write();
        if memory.halt.is_some() && modified(&self.path).is_some_and(|at| Some(at) != memory.seen) {
            return Err("somebody has put another one there meanwhile".to_owned());
        }
        let removed = Step::LatchClear.take(|taken| {
            let removed = match fs::remove_file(&self.path) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            removed.and_then(|()| sync_folder_of(&self.path, taken))
        });
        removed.map_err(|err| err.to_string())?;
        *memory = Memory::default();
        Ok(())
    }
}

/// When the file was written; none where there is none, or nobody can tell.
fn modified(path: &Path) -> Option<SystemTime> {
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => None,
        // That it is there is enough to halt.
        Err(_) => Some(UNIX_EPOCH),
        Ok(meta) => Some(meta.modified().unwrap_or(UNIX_EPOCH)),
    }
}

/// A halt that somebody else than this process put there. Whom the file names is their word alone. Its time is the file's own: the
/// next file that is put there is another halt, so that no signature that ended one of them ends the next.
fn appeared(path: &Path) -> Option<Halt> {
    let Halt { reach, .. } = found(path)?;
    Some(Halt { reach, ..by_nobody(path) })
}

/// A soft halt, of nobody, at the time of the file.
fn by_nobody(path: &Path) -> Halt {
    let at = modified(path).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let at = at.and_then(|at| Timestamp::from_ms(u64::try_from(at.as_millis()).ok()?).ok());
    Halt { reach: Reach::Soft, by: None, at_ms: at.unwrap_or(Timestamp::EPOCH) }
}

/// What the file says. A file that does not parse, or cannot be read, halts all the same: only that it is there counts.
fn found(path: &Path) -> Option<Halt> {
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => None,
        Ok(meta) if meta.is_file() && meta.len() <= MAX_FILE => {
            let bytes = fs::read(path).unwrap_or_default();
            Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| by_nobody(path)))
        }
        Ok(_) | Err(_) => Some(by_nobody(path)),
    }
}

fn store(path: &Path, halt: &Halt) -> io::Result<()> {
    replace(Step::LatchWrite, path, &serde_json::to_vec(halt).map_err(io::Error::other)?, 0o600)
}

#[cfg(test)]
mod tests {
    use holdpoint_domain::Id;

    use super::*;

    fn halt(reach: Reach) -> Halt {
        Halt { reach, by: Some(Id::parse("ada").unwrap()), at_ms: Timestamp::from_ms(7).unwrap() }
    }

    #[test]
    fn inv15_a_halt_outlives_the_process_and_never_softens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("halt");
        let latch = FileLatch::new(path.clone());
        assert_eq!(latch.halt(), None);
        latch.set(&halt(Reach::Hard)).unwrap();
        latch.set(&halt(Reach::Soft)).unwrap();
        assert_eq!(latch.halt(), Some(halt(Reach::Hard)));
        assert_eq!(FileLatch::new(path.clone()).halt(), Some(halt(Reach::Hard)), "after a restart");
        // Whoever removes the file does not resume: the process remembers.
        fs::remove_file(&path).unwrap();
        assert_eq!(latch.halt(), Some(halt(Reach::Hard)));
        latch.clear().unwrap();
        assert_eq!((latch.halt(), FileLatch::new(path).halt()), (None, None));
    }

    #[test]
    fn inv15_any_file_at_the_path_halts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("halt");
        let latch = FileLatch::new(path.clone());
        fs::write(&path, "no json").unwrap();
        assert!(latch.halt().is_some_and(|halt| halt.reach == Reach::Soft));
        fs::write(&path, serde_json::to_vec(&halt(Reach::Hard)).unwrap()).unwrap();
        assert!(latch.halt().is_some_and(|halt| halt.reach == Reach::Hard));
    }

    #[test]
    fn inv15_two_halts_by_hand_are_two_halts_whatever_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("halt");
        let latch = FileLatch::new(path.clone());
        let mut seen = Vec::new();
        for secs in [1_000, 2_000] {
            fs::write(&path, serde_json::to_vec(&halt(Reach::Hard)).unwrap()).unwrap();
            let at = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(secs)).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            let found = latch.halt().unwrap();
            assert_eq!((found.reach, found.by.clone()), (Reach::Hard, None), "nobody told the gate");
            seen.push(found);
            latch.clear().unwrap();
        }
        assert_ne!(seen[0], seen[1], "what ended the first does not end the second");
        // Also where it was put there while nobody was running.
        fs::write(&path, "").unwrap();
        let at = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(3_000)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        let found = FileLatch::new(path).halt().unwrap();
        assert_eq!((found.by, found.at_ms), (None, Timestamp::from_ms(3_000_000).unwrap()));
    }

    /// Somebody puts a file there at this time.
    fn put(path: &Path, text: &[u8], secs: u64) {
        fs::write(path, text).unwrap();
        let at = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(secs)).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    fn json(reach: Reach) -> Vec<u8> {
        serde_json::to_vec(&halt(reach)).unwrap()
    }

    #[test]
    fn inv15_a_file_that_nobody_recorded_is_nobodys_also_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("halt");
        let mut seen = Vec::new();
        for secs in [1_000, 2_000] {
            put(&path, &json(Reach::Hard), secs);
            let latch = FileLatch::new(path.clone());
            latch.compare(None);
            let found = latch.halt().unwrap();
            assert_eq!((found.reach, found.by.clone()), (Reach::Hard, None));
            let again = FileLatch::new(path.clone());
            again.compare(Some(&found));
            assert_eq!(again.halt().unwrap(), found, "the same one after a restart");
            seen.push(found);
            latch.clear().unwrap();
        }
        assert_ne!(seen[0], seen[1]);
        let latch = FileLatch::new(path.clone());
        latch.set(&halt(Reach::Soft)).unwrap();
        let again = FileLatch::new(path);
        again.compare(Some(&halt(Reach::Soft)));
        assert_eq!(again.halt(), Some(halt(Reach::Soft)), "what was recorded is whose it was");
    }

    #[test]
    fn inv15_a_file_beside_a_halt_is_a_halt_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("halt");
        let latch = FileLatch::new(path.clone());
        latch.set(&halt(Reach::Soft)).unwrap();
        assert_eq!(latch.halt(), Some(halt(Reach::Soft)), "our own file");
        put(&path, &json(Reach::Soft), 1_000);
        assert!(latch.clear().is_err(), "whoever ended the first one has not seen this one");
        let found = latch.halt().unwrap();
        assert_eq!((found.reach, found.by), (Reach::Soft, None));
        // Somebody halts as well: it goes on stopping what people released beyond policy.
        latch.set(&halt(Reach::Soft)).unwrap();
        assert_eq!(latch.halt().unwrap().by, None);
        latch.clear().unwrap();
        assert_eq!(latch.halt(), None);
        // A hard one that nobody has looked at yet is not softened by a soft word.
        put(&path, &json(Reach::Hard), 2_000);
        latch.set(&halt(Reach::Soft)).unwrap();
        assert_eq!(latch.halt().unwrap().reach, Reach::Hard);
    }

    #[test]
    fn inv15_a_halt_is_in_force_although_the_disk_fails() {
        let dir = tempfile::tempdir().unwrap();
        let latch = FileLatch::new(dir.path().join("gone").join("halt"));
        assert!(latch.set(&halt(Reach::Soft)).is_err());
        assert_eq!(latch.halt(), Some(halt(Reach::Soft)));
    }
}
