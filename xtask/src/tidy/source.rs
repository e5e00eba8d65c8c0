//! What in a Rust file is code that ships: comments and tests are left out.

use crate::repo::File;

/// Folders whose Rust files are tests or measurements, never shipped.
const TEST_FOLDERS: &[&str] = &["tests", "benches", "examples"];
/// Attributes that make the item under them a test.
const TEST_ATTRIBUTES: &[&str] = &["#[cfg(test)]", "#[cfg(all(test", "#[test]", "#[tokio::test"];

/// True for `…/tests/…`, `tests.rs` and `…_tests.rs`.
pub(super) fn is_test_file(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    let in_folder = parts.iter().any(|part| TEST_FOLDERS.contains(part));
    in_folder || name == "tests.rs" || name.ends_with("_tests.rs")
}

/// The lines that ship, with their numbers, each without its comment.
///
/// It reads layout, not grammar, which is enough for text that rustfmt laid out. A test module ends the file: clippy's
/// `items_after_test_module` sees to it that nothing which ships comes after one.
pub(super) fn shipped_lines(file: &File) -> Vec<(usize, &str)> {
    let mut shipped = Vec::new();
    let mut under_test_attribute = false;
    let mut skip_until: Option<String> = None;
    for (number, line) in file.numbered_lines() {
        if let Some(end) = &skip_until {
            if line.starts_with(end.as_str()) {
                skip_until = None;
            }
            continue;
        }
        let code = without_comment(line);
        let item = code.trim_start();
        if TEST_ATTRIBUTES.iter().any(|attribute| item.starts_with(attribute)) {
            under_test_attribute = true;
        } else if !under_test_attribute {
            shipped.push((number, code));
        } else if !item.is_empty() && !item.starts_with("#[") {
            if item.contains("mod ") && item.ends_with('{') {
                break;
            }
            under_test_attribute = false;
            let ends_here = item.ends_with([';', '}', ',']);
            let indent: String = line.chars().take_while(|character| *character == ' ').collect();
            skip_until = (!ends_here).then(|| format!("{indent}}}"));
        }
    }
    shipped
}

fn without_comment(line: &str) -> &str {
    let start = line.trim_start();
    if start.starts_with("//") {
        return "";
    }
    // A `//` after a space is a comment; one inside a word is most likely part of an address.
    line.split_once(" // ").map_or(line, |(code, _)| code.trim_end())
}

/// The first of `needles` that stands in `line` as whole words: `rand::` is not found in `operand::`.
pub(super) fn first_mentioned<'a>(line: &str, needles: &'a [&'a str]) -> Option<&'a str> {
    needles.iter().copied().find(|needle| mentions(line, needle))
}

fn mentions(line: &str, needle: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let opens_word = needle.starts_with(is_word);
    let closes_word = needle.ends_with(is_word);
    line.match_indices(needle).any(|(at, _)| {
        let before = line.get(..at).is_some_and(|text| text.ends_with(is_word));
        let after = line.get(at..).and_then(|text| text.strip_prefix(needle));
        let after = after.is_some_and(|text| text.starts_with(is_word));
        !(opens_word && before || closes_word && after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(text: &str) -> Vec<String> {
        let file = File::new("crates/app/src/lib.rs", text);
        shipped_lines(&file).into_iter().map(|(number, line)| format!("{number}:{line}")).collect()
    }

    #[test]
    fn comments_are_left_out() {
        assert_eq!(
            shipped("// a\n/// b\nlet x = 1; // c\nlet u = \"http://d\";"),
            ["1:", "2:", "3:let x = 1;", "4:let u = \"http://d\";"]
        );
    }

    #[test]
    fn a_test_module_ends_what_ships() {
        assert_eq!(shipped("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"), ["1:fn a() {}"]);
    }

    #[test]
    fn only_the_item_under_the_attribute_is_a_test() {
        let text =
            "#[cfg(test)]\nmod tests;\nfn a() {}\n#[cfg(test)]\nfn b(\n    x: u8,\n) {\n    x\n}\nfn c() {}";
        assert_eq!(shipped(text), ["3:fn a() {}", "10:fn c() {}"]);
    }

    #[test]
    fn tests_are_known_by_their_place() {
        for path in ["crates/app/tests/a.rs", "crates/app/src/plan/tests.rs", "crates/app/src/plan_tests.rs"]
        {
            assert!(is_test_file(path), "{path}");
        }
        for path in ["crates/app/src/contests.rs", "crates/app/src/latest.rs"] {
            assert!(!is_test_file(path), "{path}");
        }
    }

    #[test]
    fn needles_match_whole_words() {
        assert_eq!(first_mentioned("let x = rand::random();", &["rand::"]), Some("rand::"));
        assert_eq!(first_mentioned("operand::new()", &["rand::"]), None);
        assert_eq!(first_mentioned("Instant::now_or_never()", &["Instant::now"]), None);
        assert_eq!(first_mentioned("std::time::Instant::now()", &["Instant::now"]), Some("Instant::now"));
    }
}
