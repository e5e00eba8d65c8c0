//! Files that are there whole or not at all, and still there after a crash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use crate::step::{Step, Taken};

/// Replaces a file by these bytes; durable when it returns. Its new permissions are `mode`.
pub fn replace(step: Step, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    step.take(|taken| {
        let temporary = written_beside(path, bytes, mode, taken)?;
        // If we stop here, the old file is in force and the temporary one is overwritten by the next write.
        fs::rename(temporary, path)?;
        sync_folder_of(path, taken)
    })
}

/// Makes a file with these bytes where there is none, and leaves one that is there as it is; durable when it returns.
pub fn create(step: Step, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    step.take(|taken| {
        let temporary = written_beside(path, bytes, mode, taken)?;
        // If we stop here, there is still no file, and the temporary one is overwritten by the next write.
        match renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => fs::remove_file(&temporary)?,
            Err(err) => return Err(err.into()),
        }
        sync_folder_of(path, taken)
    })
}

/// Removes a file; durable when it returns. One that is not there is fine.
pub fn remove(step: Step, path: &Path) -> io::Result<()> {
    step.take(|taken| {
        match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            Ok(()) | Err(_) => {}
        }
        // If we stop here, the file is gone, or a crash of the machine brings it back.
        sync_folder_of(path, taken)
    })
}

fn written_beside(path: &Path, bytes: &[u8], mode: u32, _: &Taken) -> io::Result<PathBuf> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(temporary)
}

/// Syncs the folder that a file is in, so that its name is durable, or its going.
pub(super) fn sync_folder_of(path: &Path, _: &Taken) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_whole_or_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, half) = (dir.path().join("pins"), dir.path().join("pins.new"));
        // What a crash left of an earlier try.
        fs::write(&half, "half of a longer tex").unwrap();
        create(Step::InitFile, &path, b"whole", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), half.exists()), (&b"whole"[..], false));
        create(Step::InitFile, &path, b"another", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), half.exists()), (&b"whole"[..], false));
        replace(Step::InitFile, &path, b"new", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), half.exists()), (&b"new"[..], false));
        for _ in 0..2 {
            remove(Step::InitFile, &path).unwrap();
            assert!(!path.exists());
        }
    }
}
