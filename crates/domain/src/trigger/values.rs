//! Checks that read one value: a row of a database, or a place in a JSON document.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Comparison, Why,
    check::{CheckFault, finite},
    template::{MAX_QUERY, Param},
};

/// Most parameters of one statement.
const MAX_PARAMS: usize = 16;
/// Longest path into a document, in segments.
const MAX_SEGMENTS: usize = 32;
/// Longest text that a value is compared with, in bytes.
const MAX_TEXT: usize = 256;

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// A number above.
    Above(f64),
    /// A number below.
    Below(f64),
    /// A number that is equal.
    Equals(f64),
    /// Yes or no.
    Bool(bool),
    /// Exactly this text; only of JSON.
    Text(String),
}

/// A value as it was read. Its text is compared, and goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// A number.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// A text.
    Text(&'a str),
}

impl Expected {
    fn comparison(&self) -> Option<Comparison> {
        match self {
            Self::Above(limit) => Some(Comparison::Above(*limit)),
            Self::Below(limit) => Some(Comparison::Below(*limit)),
            Self::Equals(limit) => Some(Comparison::Equals(*limit)),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// Whether a value is as expected; why not, where it cannot be compared.
    pub fn holds(&self, value: Scalar<'_>) -> Result<bool, Why> {
        match (self, value) {
            (Self::Bool(wanted), Scalar::Bool(value)) => Ok(*wanted == value),
            (Self::Text(wanted), Scalar::Text(value)) => Ok(wanted == value),
            (Self::Above(_) | Self::Below(_) | Self::Equals(_), Scalar::Number(value)) => {
                let held = self.comparison().and_then(|is| is.holds(value));
                held.filter(|_| value.is_finite()).ok_or(Why::NotANumber)
            }
            (
                Self::Above(_) | Self::Below(_) | Self::Equals(_) | Self::Bool(_) | Self::Text(_),
                Scalar::Number(_) | Scalar::Bool(_) | Scalar::Text(_),
            ) => Err(Why::WrongType),
        }
    }

    fn check(&self) -> Result<(), CheckFault> {
        if let Self::Text(text) = self
            && (text.is_empty() || text.len() > MAX_TEXT)
        {
            return Err(CheckFault::Text(text.len()));
        }
        self.comparison().map_or(Ok(()), |is| finite(is, "is"))
    }
}

/// One value that a PostgreSQL database answers, as a role that cannot write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlCheck {
    /// One statement that answers one row of one column, a number or yes or no. Its parameters are `$1`, `$2` and so on.
    pub statement: String,
    /// What the parameters stand for, as texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// What the value must be.
    pub is: Expected,
}

impl SqlCheck {
    pub(super) fn check(&self) -> Result<(), CheckFault> {
        let Self { statement, params, is } = self;
        if matches!(is, Expected::Text(_)) {
            return Err(CheckFault::SqlText);
        }
        is.check()?;
        if statement.trim().is_empty() || statement.len() > MAX_QUERY || statement.contains('\0') {
            return Err(CheckFault::Statement(statement.len()));
        }
        // What looks like a parameter of PromQL would be sent as it stands.
        let is_named = (1..=params.len()).all(|number| statement.contains(&format!("${number}")));
        if params.len() > MAX_PARAMS || !is_named || statement.contains("${") {
            return Err(CheckFault::Params(params.len()));
        }
        Ok(())
    }
}

/// One value of a JSON document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpJsonCheck {
    /// Where it is: [`JsonPath`].
    pub path: String,
    /// What it must be.
    pub is: Expected,
}

impl HttpJsonCheck {
    pub(super) fn check(&self) -> Result<(), CheckFault> {
        self.is.check()?;
        JsonPath::parse(&self.path).map(|_| ()).ok_or(CheckFault::Path(self.path.len()))
    }
}

/// A singular query of RFC 9535 (section 2.3.5.1): names and indexes alone, so that it means at most one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Name(String),
    Index(usize),
}

impl JsonPath {
    /// Reads `$`, `.name`, `['name']`, `["name"]` and `[0]`; no other selector, no escape and no index from the end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$').filter(|_| text.len() <= MAX_QUERY)?;
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, after) = match rest.strip_prefix('.') {
                Some(name) => shorthand(name)?,
                None => bracketed(rest.strip_prefix('[')?)?,
            };
            segments.push(segment);
            rest = after;
        }
        (segments.len() <= MAX_SEGMENTS).then_some(Self(segments))
    }

    /// The value at this place; none where there is none.
    #[must_use]
    pub fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(document, |value, segment| match segment {
            Segment::Name(name) => value.as_object()?.get(name),
            Segment::Index(index) => value.as_array()?.get(*index),
        })
    }
}

fn shorthand(rest: &str) -> Option<(Segment, &str)> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end)?;
    let starts_well = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    starts_well.then(|| (Segment::Name(name.to_owned()), after))
}

fn bracketed(rest: &str) -> Option<(Segment, &str)> {
    if let Some(quote @ ('"' | '\'')) = rest.chars().next() {
        let (name, after) = rest.get(1..)?.split_once(quote)?;
        let is_plain = !name.chars().any(|c| c == '\\' || c.is_control());
        return is_plain.then(|| Some((Segment::Name(name.to_owned()), after.strip_prefix(']')?)))?;
    }
    let (index, after) = rest.split_once(']')?;
    let is_index = index.chars().all(|c| c.is_ascii_digit()) && (index == "0" || !index.starts_with('0'));
    Some((Segment::Index(index.parse().ok().filter(|_| is_index)?), after))
}
