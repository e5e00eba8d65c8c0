//! Untrusted text made visible: what an agent or a monitored system wrote is shown as it is, never as it wants to look.

use std::{
    fmt::{self, Display, Write as _},
    marker::PhantomData,
    str::FromStr,
};

use serde::{Deserializer, de};

/// Shows `text` between backticks, with every character that could hide, reorder or imitate written as an escape, cut
/// after `max_chars` characters (the cut is visible).
#[must_use]
pub fn quoted(text: &str, max_chars: usize) -> String {
    let mut shown = visible(&text.chars().take(max_chars).collect::<String>());
    if text.chars().nth(max_chars).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Escapes control characters, bidirectional controls, zero-width and other invisible characters, tag characters,
/// private-use and non-ASCII spaces as `\u{…}`; leaves ordinary letters alone. New lines become `\n`, so the result
/// is one line.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if is_hidden(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:04X}}}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// A part of an untrusted text, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Characters that look like what they are.
    Plain(String),
    /// Characters that do not, as escapes; to be marked.
    Escaped {
        /// The escapes.
        shown: String,
        /// Why.
        why: Suspect,
    },
}

/// Why a character is not shown as it wants to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspect {
    /// It cannot be seen, or changes how its neighbours are seen.
    Hidden,
    /// It imitates a letter of another script.
    Imitates,
    /// It is one of a pile of marks that covers its neighbours.
    Piled,
}

/// Most marks on top of one letter. Vietnamese and Hebrew need two.
const MAX_MARKS: usize = 2;

/// A text in parts, for whoever can mark what is escaped: as [`visible`], and letters that imitate those of another script are
/// escaped, too, as are piles of marks. What was written in one script stays as it is, whichever that is. Nothing is left out.
#[must_use]
pub fn made_visible(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let strangers = Strangers::of(text);
    let mut word = String::new();
    for c in text.chars() {
        if is_of_word(c) {
            word.push(c);
            continue;
        }
        put_word(&mut pieces, &word, &strangers);
        word.clear();
        match c {
            '\n' | '\t' => escaped(&mut pieces, if c == '\n' { "\\n" } else { "\\t" }, Suspect::Hidden),
            '\\' => plain(&mut pieces, "\\\\"),
            _ if is_hidden(c) => escaped(&mut pieces, &escape(c), Suspect::Hidden),
            _ => plain(&mut pieces, c.encode_utf8(&mut [0; 4])),
        }
    }
    put_word(&mut pieces, &word, &strangers);
    pieces
}

fn is_of_word(c: char) -> bool {
    (c.is_alphanumeric() || is_mark(c)) && !is_hidden(c)
}

/// Marks that stand on or under the letter before them.
fn is_mark(c: char) -> bool {
    let code = u32::from(c);
    matches!(code, 0x0300..=0x036F | 0x0483..=0x0489 | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF | 0xFE20..=0xFE2F)
}

/// Scripts whose letters look like those of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Cyrillic,
    Greek,
    /// Armenian, Cherokee, Coptic, Lisu and others, in which agents seldom write.
    Rare,
    /// Latin letters and digits in other clothes: mathematical, full width, enclosed.
    Dressed,
}

fn script(c: char) -> Option<Script> {
    match u32::from(c) {
        0x0041..=0x005A
        | 0x0061..=0x007A
        | 0x00C0..=0x00D6
        | 0x00D8..=0x00F6
        | 0x00F8..=0x024F
        | 0x1E00..=0x1EFF => Some(Script::Latin),
        0x0250..=0x02AF
        | 0x1D00..=0x1DBF
        | 0x2100..=0x214F
        | 0x2460..=0x24FF
        | 0xFF10..=0xFF5A
        | 0x1D400..=0x1D7FF
        | 0x1F130..=0x1F189 => Some(Script::Dressed),
        0x0370..=0x03FF | 0x1F00..=0x1FFF => Some(Script::Greek),
        0x0400..=0x052F | 0x1C80..=0x1C8F | 0x2DE0..=0x2DFF | 0xA640..=0xA69F => Some(Script::Cyrillic),
        0x0530..=0x058F
        | 0x13A0..=0x13FF
        | 0x2C80..=0x2CFF
        | 0xA4D0..=0xA4FF
        | 0xAB70..=0xABBF
        | 0x10400..=0x1044F => Some(Script::Rare),
        _ => None,
    }
}

/// Letters of Cyrillic and Greek that nobody tells from Latin ones (Unicode Technical Standard 39, confusables).
const LOOKALIKES: &str = "асеорхуіјѕһԁԛԝӏАВЕЅІЈКМНОРСТХУҮԌԚԜαονρτυιкκхΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϳ";

/// Whether a text has words of its own in Cyrillic or Greek, beside those that are made of lookalikes alone.
struct Strangers {
    cyrillic: bool,
    greek: bool,
}

impl Strangers {
    fn of(text: &str) -> Self {
        let own = |wanted: Script| text.chars().any(|c| script(c) == Some(wanted) && !LOOKALIKES.contains(c));
        Self { cyrillic: own(Script::Cyrillic), greek: own(Script::Greek) }
    }

    /// Whether a letter is not what its word makes of it.
    fn imitates(&self, c: char, has_latin: bool) -> bool {
        match script(c) {
            Some(Script::Dressed) => true,
            Some(Script::Rare) => has_latin,
            Some(Script::Cyrillic) => has_latin || (!self.cyrillic && LOOKALIKES.contains(c)),
            Some(Script::Greek) => has_latin || (!self.greek && LOOKALIKES.contains(c)),
            Some(Script::Latin) | None => false,
        }
    }
}

fn put_word(pieces: &mut Vec<Piece>, word: &str, strangers: &Strangers) {
    let has_latin = word.chars().any(|c| script(c) == Some(Script::Latin));
    let mut marks = 0_usize;
    for c in word.chars() {
        marks = if is_mark(c) { marks.saturating_add(1) } else { 0 };
        if marks > MAX_MARKS {
            escaped(pieces, &escape(c), Suspect::Piled);
        } else if strangers.imitates(c, has_latin) {
            escaped(pieces, &escape(c), Suspect::Imitates);
        } else {
            plain(pieces, c.encode_utf8(&mut [0; 4]));
        }
    }
}

fn escape(c: char) -> String {
    format!("\\u{{{:04X}}}", u32::from(c))
}

fn plain(pieces: &mut Vec<Piece>, text: &str) {
    if let Some(Piece::Plain(last)) = pieces.last_mut() {
        last.push_str(text);
    } else {
        pieces.push(Piece::Plain(text.to_owned()));
    }
}

fn escaped(pieces: &mut Vec<Piece>, text: &str, why: Suspect) {
    if let Some(Piece::Escaped { shown, why: last }) = pieces.last_mut()
        && *last == why
    {
        shown.push_str(text);
    } else {
        pieces.push(Piece::Escaped { shown: text.to_owned(), why });
    }
}

/// Whether a character can be in a text without being seen, or changes how its neighbours are seen.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(code,
            0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0xE000..=0xF8FF | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF | 0xF0000..=0x10FFFF)
}

/// Reads a text that must parse, without a copy of it: a log of a million records is full of names and digests.
pub(crate) fn parsed<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: Display>> de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_hidden_characters_become_escapes() {
        let cases = [
            ("plain text, ümlaut, 漢字", "plain text, ümlaut, 漢字"),
            ("a\u{202e}b", "a\\u{202E}b"),
            ("a\u{200b}b", "a\\u{200B}b"),
            ("\u{e0041}", "\\u{E0041}"),
            ("a\u{0007}\r\n", "a\\u{0007}\\u{000D}\\n"),
            ("\u{00a0}", "\\u{00A0}"),
            ("\\u{202E}", "\\\\u{202E}"),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }

    /// The pieces in a row, with what is marked in brackets.
    fn marked(text: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Plain(text) => text.clone(),
            Piece::Escaped { shown, .. } => format!("[{shown}]"),
        };
        made_visible(text).iter().map(piece).collect()
    }

    #[test]
    fn t14_what_imitates_is_marked_and_what_is_honest_is_not() {
        let cases = [
            ("plain text, ümlaut, 漢字, עברית, العربية", "plain text, ümlaut, 漢字, עברית, العربية"),
            ("рука руки не моет", "рука руки не моет"),
            ("Το πρόβλημα είναι ότι ο δίσκος γέμισε", "Το πρόβλημα είναι ότι ο δίσκος γέμισε"),
            ("p\u{0430}yments", "p[\\u{0430}]yments"),
            ("\u{0440}\u{0430}\u{0443} now", "[\\u{0440}\\u{0430}\\u{0443}] now"),
            ("work\u{0435}r-2", "work[\\u{0435}]r-2"),
            ("𝐫𝐨𝐨𝐭 ｒｍ", "[\\u{1D42B}\\u{1D428}\\u{1D428}\\u{1D42D}] [\\u{FF52}\\u{FF4D}]"),
            ("a\u{202e}b\u{200b}", "a[\\u{202E}]b[\\u{200B}]"),
            ("\u{e0041}\u{e007f}", "[\\u{E0041}\\u{E007F}]"),
            ("one\ntwo\\n", "one[\\n]two\\\\n"),
            ("Việt", "Việt"),
            ("e\u{301}\u{302}\u{303}\u{304}", "e\u{301}\u{302}[\\u{0303}\\u{0304}]"),
        ];
        for (text, shown) in cases {
            assert_eq!(marked(text), shown);
        }
    }

    #[test]
    fn t14_nothing_hidden_is_left_in_any_piece() {
        let all: String = (0..=0x10_FFFF_u32).filter_map(char::from_u32).collect();
        for piece in made_visible(&all) {
            let (Piece::Plain(text) | Piece::Escaped { shown: text, .. }) = piece;
            assert!(!text.chars().any(is_hidden), "{text:?}");
        }
    }

    #[test]
    fn a_cut_is_visible() {
        assert_eq!(quoted("abcdef", 3), "`abc…`");
        assert_eq!(quoted("abc", 3), "`abc`");
    }
}
