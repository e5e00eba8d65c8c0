//! Where things stand in a JSON text: members and elements with their places, so that one value can be replaced and every
//! other byte stays. No text of the document ever gets into an error: it may hold secrets.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Most members of one object, or elements of one array, that we look through.
const MAX_ENTRIES: usize = 100_000;

/// Why a place was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    #[error("expected {expected}, got JSON that does not parse as that at line {line}, column {column}")]
    Shape { expected: &'static str, line: usize, column: usize },
    #[error("expected UTF-8")]
    NotUtf8,
    #[error("expected `{0}`, got no such member")]
    Member(String),
    #[error("expected `{0}` once, got it twice in one object")]
    Twice(String),
}

/// Member names and the raw texts of their values, in order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// The raw texts of elements, in order.
struct Elements<'a>(Vec<&'a RawValue>);

/// The members of the object that stands at `within`: names, and where their values stand in `text`.
pub(super) fn members(text: &str, within: &Range<usize>) -> Result<Vec<(String, Range<usize>)>, Missing> {
    let inner = slice(text, within)?;
    let Members(found) = parse(inner, "an object")?;
    let place = |raw: &RawValue| place_of(text, raw).ok_or(Missing::NotUtf8);
    found.into_iter().map(|(name, raw)| Ok((name, place(raw)?))).collect()
}

/// Where the elements of the array at `within` stand in `text`.
pub(super) fn elements(text: &str, within: &Range<usize>) -> Result<Vec<Range<usize>>, Missing> {
    let inner = slice(text, within)?;
    let Elements(found) = parse(inner, "an array")?;
    found.into_iter().map(|raw| place_of(text, raw).ok_or(Missing::NotUtf8)).collect()
}

/// Where the value at the end of a path of member names stands. A name that stands twice in its object is nobody's: which
/// of the two counts depends on who reads it.
pub(super) fn locate(text: &str, path: &[&str]) -> Result<Range<usize>, Missing> {
    let mut at = 0..text.len();
    for name in path {
        at = member(text, &at, name)?;
    }
    Ok(at)
}

/// Where the value of one member of the object at `within` stands.
pub(super) fn member(text: &str, within: &Range<usize>, name: &str) -> Result<Range<usize>, Missing> {
    let mut found = members(text, within)?.into_iter().filter(|(key, _)| key == name);
    match (found.next(), found.next()) {
        (Some((_, at)), None) => Ok(at),
        (None, _) => Err(Missing::Member(name.to_owned())),
        (Some(_), Some(_)) => Err(Missing::Twice(name.to_owned())),
    }
}

/// The text at a place.
pub(super) fn slice<'a>(text: &'a str, at: &Range<usize>) -> Result<&'a str, Missing> {
    text.get(at.clone()).ok_or(Missing::NotUtf8)
}

/// The bytes as text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Missing> {
    std::str::from_utf8(bytes).map_err(|_| Missing::NotUtf8)
}

/// `text` with `value` in place of what stands at `at`.
pub(super) fn splice(text: &str, at: &Range<usize>, value: &str) -> Result<String, Missing> {
    let (before, after) = (slice(text, &(0..at.start))?, slice(text, &(at.end..text.len()))?);
    Ok([before, value, after].concat())
}

/// Parses, and says where it failed but not on what.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str, expected: &'static str) -> Result<T, Missing> {
    serde_json::from_str(text).map_err(|err| Missing::Shape {
        expected,
        line: err.line(),
        column: err.column(),
    })
}

/// Where a raw value that was borrowed from `text` stands in it.
fn place_of(text: &str, raw: &RawValue) -> Option<Range<usize>> {
    let start = raw.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let end = start.checked_add(raw.get().len())?;
    (end <= text.len()).then_some(start..end)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if found.len() >= MAX_ENTRIES {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    found.push(entry);
                }
                Ok(Members(found))
            }
        }
        deserializer.deserialize_map(Look)
    }
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if found.len() >= MAX_ENTRIES {
                        return Err(serde::de::Error::custom("too many elements"));
                    }
                    found.push(element);
                }
                Ok(Elements(found))
            }
        }
        deserializer.deserialize_seq(Look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{ \"a\" : {\"b\": [1, {\"x\":2}] , \"é\\n\":\"}\" },\n\"a\\u0062\":null }\n";

    #[test]
    fn one_value_is_replaced_and_every_other_byte_stays() {
        let at = locate(TEXT, &["a", "b"]).unwrap();
        assert_eq!(&TEXT[at.clone()], "[1, {\"x\":2}]");
        assert_eq!(splice(TEXT, &at, "7").unwrap(), TEXT.replace("[1, {\"x\":2}]", "7"));
        let parts: Vec<_> = elements(TEXT, &at).unwrap().into_iter().map(|at| &TEXT[at]).collect();
        assert_eq!(parts, ["1", "{\"x\":2}"]);
        // Names are compared as what they mean, not as how they are written.
        assert_eq!(&TEXT[locate(TEXT, &["ab"]).unwrap()], "null");
        assert_eq!(&TEXT[locate(TEXT, &["a", "é\n"]).unwrap()], "\"}\"");
    }

    #[test]
    fn what_is_missing_double_or_broken_is_said_without_a_word_of_the_document() {
        assert_eq!(locate(TEXT, &["a", "c"]), Err(Missing::Member("c".to_owned())));
        assert_eq!(locate("{\"a\":1,\"\\u0061\":2}", &["a"]), Err(Missing::Twice("a".to_owned())));
        for broken in ["", "[]", "\"hunter2\"", "{\"a\":hunter2}", "{\"a\":1} hunter2", "{\"a\":1"] {
            let err = locate(broken, &["a"]).unwrap_err();
            assert!(matches!(err, Missing::Shape { .. }) && !err.to_string().contains("hunter2"), "{err}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let _ = locate(&deep, &["a"]);
    }
}
