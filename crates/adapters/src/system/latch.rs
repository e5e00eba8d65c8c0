//! The halt as a file: in memory at once, on disk before anybody is told that it will last.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::UNIX_EPOCH,
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
    memory: RwLock<Option<Halt>>,
}

impl FileLatch {
    /// A latch at this path; a file that is there halts.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let memory = RwLock::new(found(&path));
        Self { path, memory }
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Halt>> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Halt>> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latch for FileLatch {
    fn halt(&self) -> Option<Halt> {
        let known = self.read().clone();
        // Somebody may have put the file there, or made it a hard one, without asking the gate.
        match (known, appeared(&self.path)) {
            (None, None) => None,
            (Some(known), Some(found)) if found.reach > known.reach => {
                *self.write() = Some(found.clone());
                Some(found)
            }
            (Some(known), _) => Some(known),
            (None, Some(found)) => {
                *self.write() = Some(found.clone());
                Some(found)
            }
        }
    }

    fn set(&self, halt: &Halt) -> Result<(), String> {
        let in_force = {
            let mut memory = self.write();
            // The last word counts as to who and when: what people asked for beyond policy in an earlier halt stops at a later one. It
            // never softens.
            let reach = memory.as_ref().map_or(halt.reach, |known| known.reach.max(halt.reach));
            let in_force = Halt { reach, ..halt.clone() };
            *memory = Some(in_force.clone());
            in_force
        };
        // If we stop before this is durable, the halt ends with the process; the answer says so.
        store(&self.path, &in_force).map_err(|err| err.to_string())
    }

    fn clear(&self) -> Result<(), String> {
        let mut memory = self.write();
        let removed = Step::LatchClear.take(|taken| {
            let removed = match fs::remove_file(&self.path) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            removed.and_then(|()| sync_folder_of(&self.path, taken))
        });
        removed.map_err(|err| err.to_string())?;
        *memory = None;
        Ok(())
    }
}

/// A halt that somebody else than this process put there. Whom the file names is their word alone. Its time is the file's own: the
/// next file that is put there is another halt, so that no signature that ended one of them ends the next.
fn appeared(path: &Path) -> Option<Halt> {
    let Halt { reach, .. } = found(path)?;
    let at = fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
    let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let at = at.and_then(|at| Timestamp::from_ms(u64::try_from(at.as_millis()).ok()?).ok());
    Some(Halt { reach, by: None, at_ms: at.unwrap_or(Timestamp::EPOCH) })
}

/// What the file says. A file that does not parse, or cannot be read, halts all the same: only that it is there counts.
fn found(path: &Path) -> Option<Halt> {
    let unknown = Halt { reach: Reach::Soft, by: None, at_ms: Timestamp::EPOCH };
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => None,
        Ok(meta) if meta.is_file() && meta.len() <= MAX_FILE => {
            let bytes = fs::read(path).unwrap_or_default();
            Some(serde_json::from_slice(&bytes).unwrap_or(unknown))
        }
        Ok(_) | Err(_) => Some(unknown),
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
    }

    #[test]
    fn inv15_a_halt_is_in_force_although_the_disk_fails() {
        let dir = tempfile::tempdir().unwrap();
        let latch = FileLatch::new(dir.path().join("gone").join("halt"));
        assert!(latch.set(&halt(Reach::Soft)).is_err());
        assert_eq!(latch.halt(), Some(halt(Reach::Soft)));
    }
}
