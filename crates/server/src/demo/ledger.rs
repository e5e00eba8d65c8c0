//! Act 12: the ledger is exported and verified by another process, offline; then a bit of a copy is changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    DemoError,
    acts::{Play, REMEMBERED, differs},
    stage,
};
use crate::cli::LOG_KEY;

/// Where the log is exported to, below the demo's folder.
const EXPORT: &str = "export";
/// The copy in which a bit is changed.
const CHANGED: &str = "export-changed";
/// The exit code of a log that does not stand.
const NOT_VERIFIED: i32 = 9;
/// What somebody would rather not have in the record.
const EMBARRASSING: &[u8] = b"refuted-trigger";

/// Export, and verify offline against the head that was kept at the beginning.
pub(super) async fn is_verified(play: &Play<'_>) -> Result<(), DemoError> {
    let (demo, screen) = (play.demo, &play.demo.screen);
    screen.act(12, "Anybody can check the record, without the gate");
    let (config, export) = (demo.arg(stage::CONFIG), demo.arg(EXPORT));
    let args = ["ledger", "export", "--config", &config, "--as", "ada", &export];
    screen.command(&demo.program.line(&args));
    demo.program.must(&args, "").await?;

    let (key, kept) = (demo.arg(LOG_KEY), demo.arg(REMEMBERED));
    let args = ["ledger", "verify", &export, "--key", &key, "--against", &kept];
    screen.command(&demo.program.line(&args));
    let said = demo.program.must(&args, "").await?;
    screen.quoted(&said);
    screen.good("verified", "every entry is there, in order, and the head kept at the beginning is its past");
    Ok(())
}

/// One bit of the denial is changed in a copy, and verify finds it.
pub(super) async fn shows_a_lie(play: &Play<'_>) -> Result<(), DemoError> {
    let (demo, screen) = (play.demo, &play.demo.screen);
    let copy = demo.path(CHANGED);
    let fault = |source| DemoError::File { path: copy.clone(), source };
    copy_folder(&demo.path(EXPORT), &copy).map_err(fault)?;
    let changed = flip(&copy.join("tile").join("entries"), EMBARRASSING).map_err(fault)?;
    let changed = changed.ok_or_else(|| differs(12, "the denial in the export", "no entry with it"))?;
    let shown = changed.strip_prefix(&demo.dir).unwrap_or(&changed);
    screen.bad("changed", format_args!("one bit of the denial, in {}", shown.display()));

    let (key, copy) = (demo.arg(LOG_KEY), demo.arg(CHANGED));
    let args = ["ledger", "verify", &copy, "--key", &key];
    screen.command(&demo.program.line(&args));
    let said = demo.program.run(&args, "").await?;
    if said.status.code() != Some(NOT_VERIFIED) {
        return Err(differs(12, format!("exit code {NOT_VERIFIED} for a changed log"), said.status));
    }
    screen.quoted(&said.stdout);
    screen.quoted(&said.stderr);
    screen.good("found", format_args!("exit code {NOT_VERIFIED}: the changed log does not stand"));
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Flips the lowest bit of the first byte of `needle`, in the first file below `folder` that has it.
fn flip(folder: &Path, needle: &[u8]) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = flip(&path, needle)? {
                return Ok(Some(found));
            }
            continue;
        }
        let mut bytes = fs::read(&path)?;
        let at = bytes.windows(needle.len()).position(|window| window == needle);
        if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
            fs::write(&path, bytes)?;
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_of_a_copy_changes_and_the_original_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(from.join("x")).unwrap();
        fs::write(from.join("x/1"), "no").unwrap();
        fs::write(from.join("x/2"), "a needle here").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(flip(&to, b"needle").unwrap(), Some(to.join("x/2")));
        assert_eq!(fs::read(to.join("x/2")).unwrap(), b"a oeedle here");
        assert_eq!(fs::read(from.join("x/2")).unwrap(), b"a needle here");
        assert_eq!(flip(&to, b"needle").unwrap(), None);
    }
}
