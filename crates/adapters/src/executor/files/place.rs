//! One file of the operator's: read, and exchanged for another content, without following anybody anywhere.
//!
//! The directory is opened once and no link on the way to it is followed; the file is then named within that directory,
//! so that what was looked at and what is written cannot be two things. A write exchanges the file with a staged one in
//! one step of the kernel and then looks at what came out: an edit that slipped in between our reading and our write is
//! found there, and put back.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{
        Access, AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, accessat, fchown,
        flock, fstatvfs, openat, openat2, renameat_with, unlinkat,
    },
    io::Errno,
    process::{Gid, Uid},
};

use crate::{
    executor::memory::invalid,
    step::{Step, Taken},
};

/// How long somebody else may hold the lock on a file: longer than any write takes.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often a held lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What is in a file, and whose it is. Never shown: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A file, by its opened directory and its name in it.
pub(super) struct Place {
    dir: File,
    name: OsString,
}

/// The lock on a place; it ends with this. It lies beside the file, so that whoever else edits the file by a program can
/// take it, too.
pub(super) struct PlaceLock(File);

/// Why an exchange did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwapError {
    /// Nothing was touched, or everything is as it was.
    #[error("the file was not replaced")]
    NotDone(#[source] io::Error),
    /// Somebody wrote in between; their content is back.
    #[error("somebody changed the file meanwhile, and their change is kept")]
    Changed,
    /// The file was replaced, and nobody knows more.
    #[error("the file was replaced, and what came out of it cannot be made sure of")]
    Unknown(#[source] io::Error),
}

impl Place {
    /// Opens the directory of an absolute path. A link anywhere in it is refused.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(invalid("expected the path of a file"));
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(explained)?;
        Ok(Self { dir: File::from(dir), name: name.to_owned() })
    }

    /// Takes the file's lock, waiting for a while.
    pub(super) fn lock(&self) -> io::Result<PlaceLock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(openat(&self.dir, self.beside("lock"), flags, mode).map_err(explained)?);
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < LOCK_WAIT => {
                    thread::sleep(LOCK_PAUSE);
                }
                taken => return Ok(taken.map(|()| PlaceLock(file))?),
            }
        }
    }

    /// The file's content, of at most `max` bytes.
    pub(super) fn read(&self, max: u64) -> io::Result<Content> {
        self.read_named(&self.name, max)
    }

    /// The content that is staged, or that an exchange put aside.
    pub(super) fn read_aside(&self, max: u64) -> io::Result<Content> {
        self.read_named(&self.beside("tmp"), max)
    }

    fn read_named(&self, name: &OsStr, max: u64) -> io::Result<Content> {
        // Without NONBLOCK a pipe in place of the file would hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.dir, name, flags, Mode::empty()).map_err(explained)?);
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(invalid("expected a regular file"));
        }
        if meta.nlink() > 1 {
            // A replacement would leave the other name with the old content.
            return Err(invalid(format!("expected a file of one name, got one of {}", meta.nlink())));
        }
        let mut bytes = Vec::new();
        let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(read).map_or(true, |read| read > max) {
            return Err(invalid(format!("expected a file of at most {max} bytes")));
        }
        Ok(Content { bytes, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() })
    }

    /// Whether a content of so many bytes could be staged and exchanged: looks, and touches nothing.
    pub(super) fn could_write(&self, bytes: usize) -> io::Result<()> {
        accessat(&self.dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
        room(&self.dir, bytes)
    }

    /// Writes `content` beside the file, durably. The file itself stays as it is.
    pub(super) fn stage(&self, content: &Content) -> io::Result<()> {
        Step::PlaceStage.take(|taken| self.staged(content, taken))
    }

    fn staged(&self, content: &Content, taken: &Taken) -> io::Result<()> {
        self.remove_aside(taken)?;
        // O_EXCL follows no link and opens nothing that somebody else put there.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staged: OwnedFd = openat(&self.dir, self.beside("tmp"), flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(staged);
        let meta = file.metadata()?;
        if (meta.uid(), meta.gid()) != (content.uid, content.gid) {
            fchown(&file, Some(Uid::from_raw(content.uid)), Some(Gid::from_raw(content.gid)))?;
        }
        file.write_all(&content.bytes)?;
        // After the owner: a change of owner takes special bits away.
        file.set_permissions(std::fs::Permissions::from_mode(content.mode))?;
        file.sync_all()
    }

    /// Removes what is staged or put aside, if there is anything.
    pub(super) fn clear_aside(&self) -> io::Result<()> {
        Step::PlaceClear.take(|taken| self.remove_aside(taken))
    }

    fn remove_aside(&self, _: &Taken) -> io::Result<()> {
        match unlinkat(&self.dir, self.beside("tmp"), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// Exchanges the file with the staged one, if it still has exactly the content `expected`; durable when it returns.
    /// The old file lies aside afterwards.
    ///
    /// If we stop between the exchange and the look at what came out, the announcement of the effect is on disk: the
    /// version says that the exchange happened, and what came out lies aside.
    pub(super) fn exchange(&self, expected: &Content, staged: &Content) -> Result<(), SwapError> {
        self.exchange_names().map_err(SwapError::NotDone)?;
        match self.read_aside(len_of(expected)) {
            Ok(out) if out == *expected => {}
            Ok(_) | Err(_) => return Err(self.take_back(staged)),
        }
        Step::PlaceSync.take(|_| self.dir.sync_all()).map_err(SwapError::Unknown)
    }

    /// Somebody's change came out of the exchange: it goes back, and what we put there comes out again. Another change in
    /// that moment stays aside, under our temporary name.
    fn take_back(&self, staged: &Content) -> SwapError {
        let back = self.exchange_names().and_then(|()| self.read_aside(len_of(staged)));
        match back {
            Ok(ours) if ours == *staged => match self.clear_aside() {
                Ok(()) => SwapError::Changed,
                Err(err) => SwapError::Unknown(err),
            },
            Ok(_) => SwapError::Unknown(invalid("somebody changed the file twice meanwhile")),
            Err(err) => SwapError::Unknown(err),
        }
    }

    fn exchange_names(&self) -> io::Result<()> {
        let temporary = self.beside("tmp");
        let exchange = RenameFlags::EXCHANGE;
        Step::PlaceSwap.take(|_| Ok(renameat_with(&self.dir, &temporary, &self.dir, &self.name, exchange)?))
    }

    /// A name beside the file that is ours: hidden, and never the name of another file.
    fn beside(&self, what: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".holdpoint-");
        name.push(what);
        name
    }
}

impl Drop for PlaceLock {
    fn drop(&mut self) {
        // As for state directories: a child that is just starting has a copy. If it fails, the copies' end does it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether a directory has room for so many bytes.
pub(super) fn room(dir: &File, bytes: usize) -> io::Result<()> {
    let stat = fstatvfs(dir)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= free) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::StorageFull, format!("expected room for {bytes} bytes, got {free}")))
}

fn len_of(content: &Content) -> u64 {
    u64::try_from(content.bytes.len()).unwrap_or(u64::MAX)
}

/// The kernel calls a link that it does not follow a loop of links.
fn explained(err: Errno) -> io::Error {
    if err == Errno::LOOP { invalid("expected no symbolic link in the path") } else { err.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn place(text: &str) -> (tempfile::TempDir, Place, Content) {
        let dir = tempfile::TempDir::new().unwrap();
        fs::write(dir.path().join("f"), text).unwrap();
        let place = Place::open(&dir.path().join("f")).unwrap();
        let now = place.read(100).unwrap();
        (dir, place, now)
    }

    #[test]
    fn inv02_an_edit_between_our_reading_and_our_write_is_put_back() {
        let (dir, place, now) = place("before");
        let after = Content { bytes: b"after".to_vec(), ..now.clone() };
        // Written in place, replaced by a longer file, and replaced by a link.
        let file = dir.path().join("f");
        let edits: [fn(&Path); 3] = [
            |file| fs::write(file, "theirs").unwrap(),
            |file| fs::write(file, "theirs, and more of it").unwrap(),
            |file| {
                fs::remove_file(file).unwrap();
                std::os::unix::fs::symlink("elsewhere", file).unwrap();
            },
        ];
        for edit in edits {
            place.stage(&after).unwrap();
            edit(&file);
            let (text, link) = (fs::read(&file).ok(), fs::read_link(&file).ok());
            assert!(matches!(place.exchange(&now, &after), Err(SwapError::Changed)));
            assert_eq!((fs::read(&file).ok(), fs::read_link(&file).ok()), (text, link));
            assert!(place.read_aside(100).is_err(), "ours is gone");
        }
    }

    #[test]
    fn an_exchange_without_a_staged_content_or_a_file_does_nothing() {
        let (dir, place, now) = place("before");
        let after = Content { bytes: b"after".to_vec(), ..now.clone() };
        assert!(matches!(place.exchange(&now, &after), Err(SwapError::NotDone(_))));
        assert!(place.read(100).unwrap() == now);
        place.stage(&after).unwrap();
        fs::remove_file(dir.path().join("f")).unwrap();
        assert!(matches!(place.exchange(&now, &after), Err(SwapError::NotDone(_))));
        assert!(!dir.path().join("f").exists());
    }

    #[test]
    fn one_holds_the_lock_and_room_is_asked_for() {
        let (dir, place, _) = place("x");
        let held = place.lock().unwrap();
        let other = File::open(dir.path().join(".f.holdpoint-lock")).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(held);
        flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(place.could_write(1).is_ok() && place.could_write(usize::MAX).is_err());
    }
}
