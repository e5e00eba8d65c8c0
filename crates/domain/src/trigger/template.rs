//! Parameters of queries: what a query of the catalogue may be told of the target that it is asked about.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    Id,
    id::kind,
    target::{Service, Target},
};

/// Longest query of the catalogue, in bytes.
pub const MAX_QUERY: usize = 4096;

/// A parameter: `target`, `service`, `environment` or `label.NAME`. All of them are the inventory's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// The target's id.
    Target,
    /// The name of its service.
    Service,
    /// Where that runs.
    Environment,
    /// A label of the target.
    Label(Id<kind::Label>),
}

impl Param {
    /// Reads the word of a parameter.
    pub fn parse(word: &str) -> Result<Self, QueryFault> {
        match word {
            "target" => Ok(Self::Target),
            "service" => Ok(Self::Service),
            "environment" => Ok(Self::Environment),
            _ => word
                .strip_prefix("label.")
                .and_then(|name| Id::parse(name).ok())
                .map(Self::Label)
                .ok_or_else(|| QueryFault::UnknownParam(crate::text::quoted(word, 48))),
        }
    }

    /// What it stands for; none where the target has no such label.
    #[must_use]
    pub fn value<'a>(&self, subject: Subject<'a>) -> Option<&'a str> {
        match self {
            Self::Target => Some(subject.target.id.as_str()),
            Self::Service => Some(subject.service.id.as_str()),
            Self::Environment => Some(subject.service.environment.as_str()),
            Self::Label(name) => subject.target.labels.get(name).map(crate::target::LabelValue::as_str),
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => f.write_str("target"),
            Self::Service => f.write_str("service"),
            Self::Environment => f.write_str("environment"),
            Self::Label(name) => write!(f, "label.{name}"),
        }
    }
}

impl Serialize for Param {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Param {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whom a query is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The target.
    pub target: &'a Target,
    /// Its service.
    pub service: &'a Service,
}

/// Why a query of the catalogue is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    /// Empty or too long.
    #[error("expected 1 to {MAX_QUERY} bytes, got {0}")]
    Size(usize),
    /// A parameter that there is not.
    #[error("expected `target`, `service`, `environment` or `label.NAME` as a parameter, got {0}")]
    UnknownParam(String),
    /// A parameter where its value would be part of the language.
    #[error(
        "expected `${{…}}` only inside a quoted value of a matcher, as in `{{instance=\"${{target}}\"}}`"
    )]
    Outside,
    /// A parameter in a text in which nothing can be escaped.
    #[error("expected no `${{…}}` between back quotes, where nothing can be escaped: use \"…\"")]
    Raw,
    /// A quote or a `${` without an end.
    #[error("a quote or a `${{` has no end")]
    Unterminated,
    /// A metric by a matcher.
    #[error("expected the metric's name before the braces, and no `__name__`")]
    Nameless,
    /// Something else than a selector.
    #[error("expected a selector and nothing else, as in `up{{instance=\"${{target}}\"}}`")]
    NotASelector,
    /// Something else than a matcher.
    #[error("expected one matcher, as in `alertname=\"HighErrors\"`, with double quotes")]
    NotAMatcher,
    /// A counter that is compared.
    #[error("`{0}` only ever grows, and begins again at 0: compare `rate({0}…[5m])` or `increase(…)`")]
    BareCounter(String),
}
