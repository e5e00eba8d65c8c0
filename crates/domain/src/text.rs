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

    #[test]
    fn a_cut_is_visible() {
        assert_eq!(quoted("abcdef", 3), "`abc…`");
        assert_eq!(quoted("abc", 3), "`abc`");
    }
}
