//! Files that are there whole or not at all, and still there after a crash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Replaces a file by these bytes; durable when it returns. Its new permissions are `mode`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // If we stop here, the old file is in force and the temporary one is overwritten by the next write.
    fs::rename(temporary, path)?;
    sync_folder_of(path)
}

/// Syncs the folder that a file is in, so that its name is durable, or its going.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
