//! Secrets that can be recognised, the forms that one may have where nobody expected it, and the search for them (T29).

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose};

use super::scene::hex;

/// A secret, and the only places where it may stand.
pub(super) struct Canary {
    name: String,
    forms: Vec<String>,
    /// How the names of these places begin.
    home: Vec<String>,
}

/// What was logged, written and answered, by name. Byte for byte a character, so that a search takes any of it.
#[derive(Default)]
pub(super) struct Haystacks(Vec<(String, String)>);

impl Canary {
    /// A secret of bytes: as they are, in hexadecimal digits, in base64, and in lists of numbers.
    pub(super) fn bytes(name: &str, secret: &[u8], home: &[&str]) -> Self {
        assert!(secret.len() >= 8, "{name}: too short to be recognised");
        let numbers = |comma: &str| {
            let numbers: Vec<_> = secret.iter().map(u8::to_string).collect();
            numbers.join(comma)
        };
        let digits = hex(secret);
        let mut forms = vec![plain(secret), digits.to_uppercase(), digits, numbers(", "), numbers(",")];
        // As a part of something longer it stands at any of three places in the groups of base64.
        for before in 0..3 {
            let padded = [&vec![0; before][..], secret].concat();
            for encoded in
                [general_purpose::STANDARD.encode(&padded), general_purpose::URL_SAFE.encode(&padded)]
            {
                // The first and the last group are other ones with other neighbours.
                let inner = encoded.get(4..encoded.len() - 4).unwrap();
                forms.push(inner.to_owned());
            }
        }
        let home = home.iter().map(|&place| place.to_owned()).collect();
        Self { name: name.to_owned(), forms, home }
    }

    /// A secret of text.
    pub(super) fn text(name: &str, secret: &str, home: &[&str]) -> Self {
        Self::bytes(name, secret.as_bytes(), home)
    }

    /// The secret in a key file.
    pub(super) fn key_file(name: &str, path: &Path, home: &[&str]) -> Self {
        let line = fs::read_to_string(path).unwrap();
        Self::bytes(name, &general_purpose::STANDARD.decode(line.trim()).unwrap(), home)
    }

    fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

impl Haystacks {
    /// What was said or answered.
    pub(super) fn add(&mut self, name: impl Into<String>, bytes: &[u8]) {
        self.0.push((name.into(), plain(bytes)));
    }

    /// Every file below a folder.
    pub(super) fn folder(&mut self, name: &str, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = format!("{name}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                self.folder(&format!("{name}/"), &entry.path());
            } else if kind.is_file() {
                self.add(name, &fs::read(entry.path()).unwrap());
            }
        }
    }

    /// Finds every canary at home, and nowhere else.
    pub(super) fn search(&self, canaries: &[Canary]) {
        let mut leaks = Vec::new();
        for canary in canaries {
            let found: Vec<_> = self.0.iter().filter(|(_, text)| canary.is_in(text)).collect();
            for home in &canary.home {
                let is_there = found.iter().any(|(name, _)| name.starts_with(home.as_str()));
                assert!(is_there, "{} is not in `{home}`: the search finds nothing", canary.name);
            }
            let abroad = found
                .iter()
                .filter(|(name, _)| !canary.home.iter().any(|home| name.starts_with(home.as_str())));
            leaks.extend(abroad.map(|(name, _)| format!("{} is in `{name}`", canary.name)));
        }
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}

fn plain(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[test]
fn t29_a_canary_is_found_in_every_form() {
    let secret = b"canary-of-the-search-\xff\xfe\x01-91";
    let canary = Canary::bytes("a canary", secret, &[]);
    let quoted = |bytes: &[u8]| format!("before {bytes:?} after").into_bytes();
    let json = |bytes: &[u8]| serde_json::to_vec(&bytes).unwrap();
    let around = |before: usize| [&vec![b'x'; before][..], secret, &b"yz"[..]].concat();
    let mut hidden = vec![secret.to_vec(), hex(secret).into_bytes(), quoted(secret), json(secret)];
    hidden.extend((0..4).map(|before| general_purpose::STANDARD.encode(around(before)).into_bytes()));
    hidden.extend((0..4).map(|before| general_purpose::URL_SAFE_NO_PAD.encode(around(before)).into_bytes()));
    for bytes in hidden {
        assert!(canary.is_in(&plain(&bytes)), "{}", String::from_utf8_lossy(&bytes));
    }
    assert!(!canary.is_in(&plain(b"canary-of-the-search-and no more")));
}
