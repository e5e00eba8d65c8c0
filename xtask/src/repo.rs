//! The repository as the commands see it: where its root is, and the text of the files that git does not ignore.

use crate::Failure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file, with its path from the root, `/` between the parts.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Lines with the numbers that editors show.
    pub(crate) fn numbered_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The workspace root: the folder above this crate's manifest.
pub(crate) fn root() -> Result<PathBuf, Failure> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or("not started by cargo: expected `cargo xtask …`, got no CARGO_MANIFEST_DIR")?;
    let parent = Path::new(&manifest).parent().ok_or("the manifest folder has no parent")?;
    Ok(parent.to_path_buf())
}

/// Every text file that is tracked, or untracked and not ignored. Files that are not UTF-8 are left out, and so are
/// paths that are in the index but no longer on disk.
pub(crate) fn text_files(root: &Path) -> Result<Vec<File>, Failure> {
    let listing = output(
        root,
        "git",
        &["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
    )?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File::new(path, text));
        }
    }
    if files.is_empty() {
        return Err(format!("expected text files under `{}`, git listed none", root.display()));
    }
    Ok(files)
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|err| format!("cannot read `{}`: {err}", path.display()))
}

/// Standard output of a program that must succeed.
pub(crate) fn output(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let finished = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|err| format!("cannot start `{program}`: {err}"))?;
    if !finished.status.success() {
        let complaint = String::from_utf8_lossy(&finished.stderr);
        return Err(format!("`{program} {}` failed: {}", arguments.join(" "), complaint.trim()));
    }
    String::from_utf8(finished.stdout).map_err(|err| format!("`{program}` printed no UTF-8: {err}"))
}
