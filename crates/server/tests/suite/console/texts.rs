//! The hostile texts of `testdata/hostile.txt`, whose head says what a line is.

const FILE: &str = include_str!("../../../testdata/hostile.txt");

/// What a text would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It becomes a script or an element where a page does not escape.
    Runs,
    /// It would need another mistake.
    Inert,
    /// It has characters that cannot be seen.
    Hidden,
    /// It has letters that imitate others.
    Imitates,
}

/// A hostile text.
pub(super) struct Text {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// The characters of it that imitate or cover others, and must be shown as escapes.
    pub(super) imitating: Vec<char>,
}

/// All of them.
pub(super) fn texts() -> Vec<Text> {
    let lines = FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let texts: Vec<_> = lines.map(text).collect();
    assert!(texts.len() > 100);
    texts
}

fn text(line: &str) -> Text {
    let (head, text) = line.split_once(": ").unwrap_or_else(|| panic!("no kind: {line}"));
    let mut words = head.split(' ');
    let kind = match words.next().unwrap() {
        "runs" => Kind::Runs,
        "inert" => Kind::Inert,
        "hidden" => Kind::Hidden,
        "imitates" => Kind::Imitates,
        other => panic!("no kind `{other}`"),
    };
    let imitating = words.map(|word| character(word.strip_prefix("U+").unwrap())).collect();
    Text { kind, text: unescaped(text), imitating }
}

fn character(hex: &str) -> char {
    char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap()
}

fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('\\') {
            out.push('\\');
            rest = after;
        } else {
            let (hex, after) = after.strip_prefix("u{").and_then(|hex| hex.split_once('}')).unwrap();
            out.push(character(hex));
            rest = after;
        }
    }
    out + rest
}
