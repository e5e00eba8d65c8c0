//! Tokens, and the verifier's list of those that it accepts.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::Digest;
use serde::Deserialize;

use crate::{
    executor::files::{
        json::{self, Missing},
        place::Content,
    },
    system::random,
};

/// Most tokens that a verifier accepts at one time: a list that only grows has not been rotated but leaked.
const MAX_ACCEPTED: usize = 64;
/// Longest token that is taken for one.
const MAX_TOKEN: usize = 4096;

/// A token. Shows as `***`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// A fresh one, of 256 bits.
    pub(super) fn fresh() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random::<32>()))
    }

    /// The token in a file: one line, with or without its end.
    pub(super) fn of(file: &Content) -> Option<Self> {
        let text = std::str::from_utf8(&file.bytes).ok()?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let plain = !line.is_empty() && line.len() <= MAX_TOKEN && line.chars().all(|c| c.is_ascii_graphic());
        plain.then(|| Self(line.to_owned()))
    }

    /// The bytes of a file with this token, in the manner of another one.
    pub(super) fn in_manner_of(&self, file: &Content) -> Content {
        let end = if file.bytes.ends_with(b"\n") { "\n" } else { "" };
        Content { bytes: format!("{}{end}", self.0).into_bytes(), ..file.clone() }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of_bytes(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The id of a token: the first 16 hex digits of its SHA-256. Whoever has the token can tell it, and nobody can tell the
/// token from it.
pub(super) fn id_of(token: &Digest) -> String {
    hex(token).chars().take(16).collect()
}

fn hex(digest: &Digest) -> String {
    let text = digest.to_string();
    text.strip_prefix("sha256:").unwrap_or(&text).to_owned()
}

/// An entry of the verifier's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) sha256: String,
}

/// The verifier's list, with the texts of its entries as they stand there.
pub(super) struct List {
    text: String,
    at: std::ops::Range<usize>,
    entries: Vec<(Entry, String)>,
}

impl List {
    /// Reads the list out of its file.
    pub(super) fn of(file: &Content) -> Result<Self, Missing> {
        let text = json::text(&file.bytes)?.to_owned();
        let at = json::locate(&text, &["accepted"])?;
        let places = json::elements(&text, &at)?;
        if places.len() > MAX_ACCEPTED {
            return Err(Missing::Shape { expected: "at most 64 accepted tokens", line: 1, column: 1 });
        }
        let mut entries = Vec::new();
        for place in places {
            let raw = json::slice(&text, &place)?;
            entries.push((json::parse(raw, "an entry with `id` and `sha256`")?, raw.to_owned()));
        }
        Ok(Self { text, at, entries })
    }

    pub(super) fn entries(&self) -> Vec<&Entry> {
        self.entries.iter().map(|(entry, _)| entry).collect()
    }

    /// Whether a token is accepted.
    pub(super) fn has(&self, token: &Digest) -> bool {
        let wanted = hex(token);
        self.entries.iter().any(|(entry, _)| entry.sha256 == wanted)
    }

    /// The document with one more entry; everything else stays.
    pub(super) fn with(&self, token: &Digest) -> Result<Vec<u8>, Missing> {
        let entry = format!("{{\"id\":\"{}\",\"sha256\":\"{}\"}}", id_of(token), hex(token));
        self.written(self.entries.iter().map(|(_, raw)| raw.as_str()).chain([entry.as_str()]))
    }

    /// The document without a token's entry; everything else stays.
    pub(super) fn without(&self, token: &Digest) -> Result<Vec<u8>, Missing> {
        let gone = hex(token);
        self.written(
            self.entries.iter().filter(|(entry, _)| entry.sha256 != gone).map(|(_, raw)| raw.as_str()),
        )
    }

    fn written<'a>(&'a self, entries: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, Missing> {
        let array = format!("[{}]", entries.collect::<Vec<_>>().join(", "));
        Ok(json::splice(&self.text, &self.at, &array)?.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content { bytes: text.as_bytes().to_vec(), mode: 0o600, uid: 0, gid: 0 }
    }

    #[test]
    fn inv12_a_token_shows_as_stars() {
        let token = Token::of(&content("hunter2\n")).unwrap();
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(token.in_manner_of(&content("x\n")).bytes, b"hunter2\n");
        assert_eq!(token.in_manner_of(&content("x")).bytes, b"hunter2");
        for none in ["", "\n", "two\nlines", "sp ace"] {
            assert!(Token::of(&content(none)).is_none(), "{none:?}");
        }
        assert_ne!(Token::fresh(), Token::fresh());
    }

    #[test]
    fn an_entry_comes_and_goes_and_the_rest_stays() {
        let (one, two) = (Digest::of_bytes(b"one"), Digest::of_bytes(b"two"));
        let text = format!(
            "{{\"note\": 1, \"accepted\": [{{\"id\":\"a\",  \"sha256\":\"{}\", \"x\": 1}}] }}\n",
            hex(&one)
        );
        let list = List::of(&content(&text)).unwrap();
        let both = String::from_utf8(list.with(&two).unwrap()).unwrap();
        let list = List::of(&content(&both)).unwrap();
        assert!(list.has(&one) && list.has(&two));
        assert_eq!(String::from_utf8(list.without(&two).unwrap()).unwrap(), text);
    }
}
