//! What `--keep` adds to the corpus of a target.
//!
//! Whatever is in the corpus stays: `seed-…` was written by hand, `found-…` broke a property once, and the others are in the history
//! of the repository anyway. New inputs come in as long as there is room. When there is none, whoever wants newer inputs deletes
//! those that have no name (`git rm fuzz/corpus/TARGET/[0-9a-f]*`) and lets them be found again.

use std::fs;
use std::io;
use std::path::Path;

/// Inputs of a target: the tests replay each, in a debug build, on every machine.
pub(super) const MOST_INPUTS: usize = 150;
/// All inputs of a target together: every clone has them for ever.
pub(super) const MOST_BYTES: u64 = 250_000;

/// A file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Which inputs become part of a corpus.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The names, the smallest input first.
    pub(super) added: Vec<String>,
    /// As many would reach more, but there is no room for them.
    pub(super) left: usize,
}

/// What of `merged` is added to `kept`: the smallest inputs first, for more of them fit, and replay faster. An input that is kept
/// already takes room, and is not added again.
pub(super) fn choose(kept: &[Input], merged: &[Input]) -> Choice {
    let mut new: Vec<_> =
        merged.iter().filter(|input| !kept.iter().any(|old| old.name == input.name)).collect();
    new.sort_by_key(|input| (input.bytes, &input.name));
    let mut bytes = kept.iter().fold(0_u64, |sum, input| sum.saturating_add(input.bytes));
    let mut choice = Choice { added: Vec::new(), left: 0 };
    for input in new {
        let count = kept.len().saturating_add(choice.added.len());
        bytes = bytes.saturating_add(input.bytes);
        if count < MOST_INPUTS && bytes <= MOST_BYTES {
            choice.added.push(input.name.clone());
        } else {
            choice.left = choice.left.saturating_add(1);
        }
    }
    choice
}

/// The files of a folder, in the order of their names.
pub(super) fn inputs(folder: &Path) -> io::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push(Input { name, bytes: entry.metadata()?.len() });
    }
    inputs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(inputs)
}

/// Copies the files of a folder into one that is made for them, and says which they are.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<Vec<Input>> {
    fs::create_dir_all(to)?;
    let inputs = inputs(from)?;
    for input in &inputs {
        fs::copy(from.join(&input.name), to.join(&input.name))?;
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, bytes: u64) -> Input {
        Input { name: name.to_owned(), bytes }
    }

    fn inputs_of(bytes: u64, names: impl Iterator<Item = usize>) -> Vec<Input> {
        names.map(|name| input(&format!("{name:040x}"), bytes)).collect()
    }

    #[test]
    fn what_is_kept_stays_and_is_not_added_twice() {
        let kept = [input("found-a-break", 900), input("seed-one", 400), input("ab12", 7)];
        let mut merged = kept.to_vec();
        merged.extend([input("ff", 30), input("0e", 2), input("0d", 30)]);
        // A choice only ever adds; it has no way to say that something goes.
        let added = ["0e", "0d", "ff"].map(str::to_owned).to_vec();
        assert_eq!(choose(&kept, &merged), Choice { added, left: 0 });
        assert_eq!(choose(&kept, &kept), Choice { added: Vec::new(), left: 0 });
    }

    #[test]
    fn there_are_no_more_inputs_than_the_tests_replay() {
        let kept = inputs_of(1, 0..MOST_INPUTS - 2);
        let merged = inputs_of(1, 0..MOST_INPUTS + 3);
        let choice = choose(&kept, &merged);
        assert_eq!((choice.added.len(), choice.left), (2, 3));
        // Named inputs are never counted out: a corpus that is full takes nothing, and loses nothing.
        let full = inputs_of(1, 0..MOST_INPUTS + 9);
        assert_eq!(choose(&full, &inputs_of(1, 0..MOST_INPUTS + 10)), Choice { added: Vec::new(), left: 1 });
    }

    #[test]
    fn there_are_no_more_bytes_than_a_clone_should_have() {
        let kept = [input("seed-large", MOST_BYTES - 10)];
        let merged = [input("a", 6), input("b", 5), input("c", 5)];
        let choice = choose(&kept, &merged);
        assert_eq!(choice, Choice { added: vec!["b".to_owned(), "c".to_owned()], left: 1 });
        // One byte more than there is room for.
        assert_eq!(choose(&kept, &[input("d", 11)]), Choice { added: Vec::new(), left: 1 });
    }

    #[test]
    fn a_copy_has_the_same_files_and_the_first_are_untouched() {
        let folder = std::env::temp_dir().join(format!("holdpoint-corpus-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(&from).expect("folder");
        fs::write(from.join("seed-b"), b"22").expect("file");
        fs::write(from.join("seed-a"), b"1").expect("file");
        let expected = vec![input("seed-a", 1), input("seed-b", 2)];
        assert_eq!(copy(&from, &to).expect("copy"), expected);
        assert_eq!((inputs(&from).expect("from"), inputs(&to).expect("to")), (expected.clone(), expected));
        fs::remove_dir_all(&folder).expect("cleared");
    }
}
