//! The include file: read whole, and replaced whole or not at all, with its owner and mode.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{
    executor::memory::invalid,
    step::{Step, Taken},
};

/// Largest include file: one with thousands of servers has far less.
const MAX_FILE: u64 = 1024 * 1024;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplaceError {
    /// Somebody else wrote it since it was read.
    #[error("somebody changed the file meanwhile")]
    Changed,
    /// It is as it was.
    #[error("the file was not replaced")]
    NotDone(#[source] io::Error),
    /// It is replaced, and may not be after a crash of the machine.
    #[error("the file was replaced, and perhaps not durably")]
    Unknown(#[source] io::Error),
}

/// Reads a regular file, of one name and not by a link: a replacement would leave the other name as it was.
pub(super) fn read(path: &Path) -> io::Result<Text> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() != 1 {
        return Err(invalid("expected a regular file of one name"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |len| len > MAX_FILE) {
        return Err(invalid(format!("expected a file of at most {MAX_FILE} bytes")));
    }
    Ok(Text { bytes, mode: meta.mode() & 0o7777, owner: (meta.uid(), meta.gid()) })
}

/// Replaces the file, if it still is what was read; durable when it returns. Between our last look and the rename there
/// is an instant in which an edit of somebody else is lost: nothing but a lock that all editors take would close it.
pub(super) fn replace(path: &Path, from: &Text, bytes: &[u8]) -> Result<(), ReplaceError> {
    let staged = Step::NginxStage.take(|taken| stage(path, from, bytes, taken));
    let staged = staged.map_err(ReplaceError::NotDone)?;
    if read(path).map_err(ReplaceError::NotDone)? != *from {
        // What is left behind is overwritten by the next write.
        let _ = Step::NginxStage.take(|_| fs::remove_file(&staged));
        return Err(ReplaceError::Changed);
    }
    // If we stop here, the old file is in force and the staged one is overwritten by the next write.
    Step::NginxSwap.take(|_| fs::rename(&staged, path)).map_err(ReplaceError::NotDone)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let synced = Step::NginxSync.take(|_| File::open(dir).and_then(|dir| dir.sync_all()));
    synced.map_err(ReplaceError::Unknown)
}

/// Writes the new content beside the file, under a hidden name that no `include *.conf` matches.
fn stage(path: &Path, like: &Text, bytes: &[u8], _: &Taken) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| invalid("expected the path of a file"))?;
    let staged = path.with_file_name(format!(".{}.holdpoint-tmp", name.to_string_lossy()));
    match fs::remove_file(&staged) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    let meta = file.metadata()?;
    if (meta.uid(), meta.gid()) != like.owner {
        fchown(&file, Some(like.owner.0), Some(like.owner.1))?;
    }
    file.set_permissions(Permissions::from_mode(like.mode))?;
    file.sync_all()?;
    Ok(staged)
}
