//! `cargo xtask planted`: plants each bug of `crates/app/planted.txt` into a copy of the tree, and has the simulation find it.
//!
//! A bug is one or more replacements in files that ship, or in a fake that stands for an adapter. A simulation that does not find
//! it proves nothing about it; a replacement whose text is not there any more is an error, so that the list cannot rot.

use crate::{
    Failure,
    repo::{self, File},
    sim,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the list is.
const LIST: &str = "crates/app/planted.txt";
/// The copy of the tree, with a target directory of its own: what was built with a bug must never be taken for the tree's.
const COPY: &str = "target/planted";
/// Seeds that a bug has to be found in: those of `cargo xtask sim`.
const SEEDS: &str = "1000";

/// One replacement of text in one file.
#[derive(Debug, PartialEq, Eq)]
struct Edit {
    path: String,
    was: String,
    is: String,
}

/// A bug that somebody could have written.
#[derive(Debug, PartialEq, Eq)]
struct Bug {
    name: String,
    /// What it breaks, for people.
    about: String,
    edits: Vec<Edit>,
}

/// What became of a planted bug.
enum Found {
    /// By which checker, and after how many seeds.
    Caught {
        checker: String,
        seeds: String,
    },
    Missed,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let files = repo::text_files(&root)?;
    let mut bugs = list(&root)?;
    bugs.retain(|bug| arguments.is_empty() || arguments.iter().any(|name| bug.name.contains(name.as_str())));
    if bugs.is_empty() {
        return Err(format!("expected the names of bugs in `{LIST}`, got {arguments:?}"));
    }
    let copy = root.join(COPY);
    copy_tree(&files, &copy)?;
    println!("| bug | what it breaks | caught by | seeds until then |\n| --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for bug in &bugs {
        let found = plant(bug, &files, &copy)?;
        let (checker, seeds) = match &found {
            Found::Caught { checker, seeds } => (checker.as_str(), seeds.as_str()),
            Found::Missed => ("MISSED", SEEDS),
        };
        println!("| `{}` | {} | `{checker}` | {seeds} |", bug.name, bug.about);
        if matches!(found, Found::Missed) {
            missed.push(bug.name.as_str());
        }
    }
    println!("planted: {} bugs, {} caught", bugs.len(), bugs.len().saturating_sub(missed.len()));
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join(", "))) }
}

/// The list, with every replacement checked against the tree.
fn list(root: &Path) -> Result<Vec<Bug>, Failure> {
    let bugs = parse(&repo::read(&root.join(LIST))?)?;
    for edit in bugs.iter().flat_map(|bug| &bug.edits) {
        apply(edit, &repo::read(&root.join(&edit.path))?)?;
    }
    Ok(bugs)
}

/// Reads the list: `=== name`, what it breaks, and for each edit `@@@ path`, the text, `---`, what stands there instead, `---`.
fn parse(text: &str) -> Result<Vec<Bug>, Failure> {
    let mut bugs = Vec::new();
    for block in text.split("\n=== ").skip(1) {
        let mut parts = block.split("\n@@@ ");
        let head = parts.next().unwrap_or_default();
        let (name, about) =
            head.split_once('\n').ok_or_else(|| format!("`{head}` says not what it breaks"))?;
        let mut edits = Vec::new();
        for part in parts {
            let mut pieces = part.split("\n---\n");
            let (Some(first), Some(is)) = (pieces.next(), pieces.next()) else {
                return Err(format!("bug `{name}`: expected a text, `---`, another text, `---`"));
            };
            let (path, was) =
                first.split_once('\n').ok_or_else(|| format!("bug `{name}`: no text to replace"))?;
            // Before another edit, the last line has no end of its own.
            let is = is.strip_suffix("\n---").unwrap_or(is);
            edits.push(Edit { path: path.to_owned(), was: was.to_owned(), is: is.to_owned() });
        }
        if edits.is_empty() {
            return Err(format!("bug `{name}` changes nothing"));
        }
        bugs.push(Bug { name: name.trim().to_owned(), about: about.trim().to_owned(), edits });
    }
    Ok(bugs)
}

/// The text with the replacement made; refuses a text that does not have it exactly once.
fn apply(edit: &Edit, text: &str) -> Result<String, Failure> {
    let count = text.matches(&edit.was).count();
    if count != 1 {
        let first = edit.was.lines().next().unwrap_or_default();
        return Err(format!("`{}` has `{}` {count} times, expected once", edit.path, first.trim()));
    }
    Ok(text.replacen(&edit.was, &edit.is, 1))
}

/// Writes what differs: also what a run that was stopped has left planted.
fn copy_tree(files: &[File], copy: &Path) -> Result<(), Failure> {
    files.iter().try_for_each(|file| put(&copy.join(&file.path), &file.text))
}

/// Writes a text, unless it is there: cargo builds anew what was written.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
    written.map_err(|err| format!("cannot write `{}`: {err}", path.display()))
}

/// Plants a bug, simulates, and takes it out again.
fn plant(bug: &Bug, files: &[File], copy: &Path) -> Result<Found, Failure> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.clone());
    let mut changed: Vec<(String, String)> = Vec::new();
    for edit in &bug.edits {
        let earlier = changed.iter().position(|(path, _)| *path == edit.path);
        let text = earlier.map(|at| changed.swap_remove(at).1).or_else(|| text_of(&edit.path));
        let text = text.ok_or_else(|| format!("bug `{}`: there is no `{}`", bug.name, edit.path))?;
        changed.push((edit.path.clone(), apply(edit, &text)?));
    }
    for (path, text) in &changed {
        put(&copy.join(path), text)?;
    }
    let found = simulate(bug, copy);
    for (path, _) in &changed {
        put(&copy.join(path), &text_of(path).unwrap_or_default())?;
    }
    found
}

fn simulate(bug: &Bug, copy: &Path) -> Result<Found, Failure> {
    let program = sim::build(copy).map_err(|err| format!("bug `{}`: {err}", bug.name))?;
    let ran = Command::new(program)
        .args(["--once", "--seeds", SEEDS])
        .output()
        .map_err(|err| format!("cannot start the simulation: {err}"))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    let verdict = said.lines().rev().find_map(|line| line.strip_prefix("FAILED "));
    let mut words = verdict.unwrap_or_default().split(' ').map(str::to_owned);
    match (words.next().filter(|word| !word.is_empty()), words.next()) {
        (Some(checker), Some(seeds)) => Ok(Found::Caught { checker, seeds }),
        // Also where the seeds reached less than they should: nobody would know what broke.
        _ => Ok(Found::Missed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_bug_still_finds_its_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let bugs = list(root).unwrap();
        assert!(bugs.len() >= 24, "{} bugs", bugs.len());
        let mut names: Vec<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), bugs.len(), "names are unique");
    }

    #[test]
    fn a_text_that_is_not_there_once_is_refused() {
        let edit = Edit { path: "a.rs".to_owned(), was: "x".to_owned(), is: "y".to_owned() };
        assert_eq!(apply(&edit, "1x2"), Ok("1y2".to_owned()));
        for text in ["", "xx"] {
            assert!(apply(&edit, text).unwrap_err().contains("expected once"));
        }
    }

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let text =
            "Words.\n\n=== one\nbreaks it\n@@@ a.rs\nold\n  text\n---\nnew\n---\n@@@ b.rs\nx\n---\n\n---\n";
        let edit =
            |path: &str, was: &str, is: &str| Edit { path: path.into(), was: was.into(), is: is.into() };
        let edits = vec![edit("a.rs", "old\n  text", "new"), edit("b.rs", "x", "")];
        assert_eq!(parse(text), Ok(vec![Bug { name: "one".into(), about: "breaks it".into(), edits }]));
        assert!(parse("\n=== one\nbreaks it\n").is_err());
    }
}
