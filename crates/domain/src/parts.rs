//! What the relevant version of a target is made of, for people to read. Nothing is decided from it: the version itself is compared.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Digest, text::quoted};

/// Most parts of a version.
pub const MAX_PARTS: usize = 16;
/// Most characters of a name, and of a text.
const MAX_CHARS: usize = 160;
/// What is shown of a longer one, before its digest.
const SHOWN: usize = 120;

/// The parts of a version: what each is called, and what it is. None is a secret, and none is words that
/// somebody else wrote: what anybody can write does not belong into a ledger from which nothing goes. A long text is its beginning and its digest, so that two that differ look different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parts(BTreeMap<String, String>);

/// A part that is another than it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// What it is called.
    pub part: String,
    /// What it was at the decision; none where it was not there.
    pub decided: Option<String>,
    /// What it is now; none where it is not there any more.
    pub now: Option<String>,
}

impl Parts {
    /// Whether there are none: the observer says a version and no more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The parts that are others `now`. Between parts and none there is nothing to tell.
    #[must_use]
    pub fn changed(&self, now: &Self) -> Vec<Changed> {
        if self.is_empty() || now.is_empty() {
            return Vec::new();
        }
        let mut names: Vec<_> = self.0.keys().chain(now.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let changed = |part: &String| Changed {
            part: part.clone(),
            decided: self.0.get(part).cloned(),
            now: now.0.get(part).cloned(),
        };
        names.into_iter().map(changed).filter(|changed| changed.decided != changed.now).collect()
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, decided, now } = self;
        let part = shown(part);
        match (decided, now) {
            (Some(decided), Some(now)) => {
                write!(f, "{part} was {}, it is {} now", shown(decided), shown(now))
            }
            (Some(decided), None) => write!(f, "{part} was {}, it is not there now", shown(decided)),
            (None, Some(now)) => write!(f, "{part} was not there, it is {} now", shown(now)),
            (None, None) => Ok(()),
        }
    }
}

impl<N: AsRef<str>, T: AsRef<str>> FromIterator<(N, T)> for Parts {
    /// The first [`MAX_PARTS`] of them, each bounded. To bound what is bounded changes nothing.
    fn from_iter<I: IntoIterator<Item = (N, T)>>(parts: I) -> Self {
        let bounded = |(name, text): (N, T)| (bounded(name.as_ref()), bounded(text.as_ref()));
        Self(parts.into_iter().take(MAX_PARTS).map(bounded).collect())
    }
}

fn shown(text: &str) -> String {
    quoted(text, MAX_CHARS)
}

fn bounded(text: &str) -> String {
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    let begin: String = text.chars().take(SHOWN).collect();
    format!("{begin}… ({})", Digest::of_bytes(text.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_or_hides_is_bounded_once_and_stays_apart() {
        let long = |end: &str| format!("{}{end}", "ü".repeat(400));
        let parts: Parts =
            [("a", long("1")), ("b", long("2")), ("c", "x\u{202e}y\n".to_owned())].into_iter().collect();
        let texts: Vec<_> = parts.iter().map(|(_, text)| text.to_owned()).collect();
        assert_ne!(texts[0], texts[1]);
        assert!(texts.iter().all(|text| text.chars().count() <= MAX_CHARS));
        let changed = Parts::from_iter([("c", "1")]).changed(&Parts::from_iter([("c", &texts[2])]));
        assert_eq!(changed[0].to_string(), "`c` was `1`, it is `x\\u{202E}y\\n` now");
        let again: Parts = parts.iter().collect();
        assert_eq!(again, parts);
        let many: Parts = (0..100).map(|number| (format!("part-{number:03}"), "x")).collect();
        assert_eq!(many.iter().count(), MAX_PARTS);
    }

    #[test]
    fn every_part_that_differs_is_told_and_no_other() {
        let before: Parts = [("state", "ENABLED"), ("same", "1"), ("gone", "2")].into_iter().collect();
        let now: Parts = [("state", "DISABLED"), ("same", "1"), ("new", "3")].into_iter().collect();
        let told: Vec<_> =
            before.changed(&now).into_iter().map(|one| (one.part, one.decided, one.now)).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("gone".to_owned(), some("2"), None),
                ("new".to_owned(), None, some("3")),
                ("state".to_owned(), some("ENABLED"), some("DISABLED")),
            ]
        );
        assert_eq!(before.changed(&before), []);
        assert_eq!(before.changed(&Parts::default()), [], "an observer that says none");
    }
}
