//! Who acts: SPIFFE ids, phases, and the actor of a record.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Id, IdError, kind};

/// Longest SPIFFE id (SPIFFE-ID specification, section 2.3).
pub const MAX_SPIFFE_ID_LEN: usize = 2048;

/// What an agent's identity is for. An identity belongs to one phase; one identity never acts in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// May look.
    Observe,
    /// May propose.
    Decide,
    /// May run what a permit names. Most agents never need it.
    Execute,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Decide, Self::Execute];

    /// The word in identities and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Decide => "decide",
            Self::Execute => "execute",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A SPIFFE trust domain: lower-case letters, digits, `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

/// Longest instance of an agent in a SPIFFE id; a pod's UID has 36 characters.
pub const MAX_INSTANCE_LEN: usize = 128;

/// A SPIFFE id, of any trust domain, whose path has one segment or more (SPIFFE-ID specification, section 2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    // INVARIANT: the grammar holds: lower-case trust domain, no port, query, fragment or percent-encoding, no empty or dotted
    // segment, no slash at the end. So there is one spelling of each id.
    text: String,
    domain: TrustDomain,
}

/// Whom a verified identity names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// `spiffe://<trust domain>/agent/<name>/<observe|decide|execute>`.
    Agent {
        /// The agent in the registry.
        agent: Id<kind::Agent>,
        /// The one phase this identity may act in.
        phase: Phase,
    },
    /// `spiffe://<trust domain>/person/<name>`: a session that may look; consent needs a signature of its own.
    Person {
        /// The person.
        person: Id<kind::Person>,
    },
}

/// A text that is not an identity of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a SPIFFE id at all.
    #[error("expected a SPIFFE id of at most {MAX_SPIFFE_ID_LEN} bytes, got {0}")]
    NotSpiffe(String),
    /// Of another trust domain.
    #[error("expected trust domain `{expected}`, got {got}")]
    TrustDomain {
        /// The trust domain that this gate serves.
        expected: String,
        /// What the identity says, made visible.
        got: String,
    },
    /// A path that names neither an agent in a phase nor a person.
    #[error("expected `/agent/<name>/<observe|decide|execute>` or `/person/<name>`, got {0}")]
    Path(String),
    /// The last segment is no instance.
    #[error(
        "expected an instance of 1 to {MAX_INSTANCE_LEN} of `a-z A-Z 0-9 . - _` that is no phase, got {0}"
    )]
    Instance(String),
    /// A name that breaks the grammar.
    #[error(transparent)]
    Name(#[from] IdError),
}

impl TrustDomain {
    /// Reads a trust domain.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 255 || !text.bytes().all(ok) {
            return Err(IdentityError::NotSpiffe(crate::text::quoted(text, 80)));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        Self::parse(&text)
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0
    }
}

impl SpiffeId {
    /// Reads a SPIFFE id.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let not_spiffe = || IdentityError::NotSpiffe(crate::text::quoted(text, 120));
        let rest = text.strip_prefix("spiffe://").filter(|_| text.len() <= MAX_SPIFFE_ID_LEN);
        let (domain, path) = rest.and_then(|rest| rest.split_once('/')).ok_or_else(not_spiffe)?;
        let domain = TrustDomain::parse(domain)?;
        if !path.split('/').all(is_segment) {
            return Err(not_spiffe());
        }
        Ok(Self { text: text.to_owned(), domain })
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        Self::parse(&text)
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.text
    }
}

/// A segment of a SPIFFE id's path.
fn is_segment(text: &str) -> bool {
    let ok = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(ok)
}

impl Identity {
    /// Reads a SPIFFE id of `domain`, which may name an instance of the agent in one further segment. The instance is no part
    /// of the identity: it says which of the agent's processes is calling, and nobody may do more because of it.
    ///
    /// The word of a phase is no instance: `…/decide/execute` names two phases, and nobody.
    pub fn parse_instance<'t>(
        spiffe_id: &'t str,
        domain: &TrustDomain,
    ) -> Result<(Self, Option<&'t str>), IdentityError> {
        match spiffe_id.rsplit_once('/') {
            Some((id, instance)) if spiffe_id.matches('/').count() == 6 => {
                let identity = Self::parse(id, domain)?;
                let is_phase = Phase::ALL.into_iter().any(|phase| phase.as_str() == instance);
                let fits = instance.len() <= MAX_INSTANCE_LEN && spiffe_id.len() <= MAX_SPIFFE_ID_LEN;
                if is_phase || !fits || !is_segment(instance) {
                    return Err(IdentityError::Instance(crate::text::quoted(instance, MAX_INSTANCE_LEN)));
                }
                Ok((identity, Some(instance)))
            }
            Some(_) | None => Ok((Self::parse(spiffe_id, domain)?, None)),
        }
    }

    /// Reads a SPIFFE id of `domain`. The whole text must be of one of the two shapes: no query, no fragment, no
    /// percent-encoding, no empty or dotted segment, no further segment.
    pub fn parse(spiffe_id: &str, domain: &TrustDomain) -> Result<Self, IdentityError> {
        let shown = || crate::text::quoted(spiffe_id, 120);
        let rest = spiffe_id
            .strip_prefix("spiffe://")
            .filter(|_| spiffe_id.len() <= MAX_SPIFFE_ID_LEN)
            .ok_or_else(|| IdentityError::NotSpiffe(shown()))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| IdentityError::Path(shown()))?;
        if host != domain.as_str() {
            return Err(IdentityError::TrustDomain {
                expected: domain.as_str().to_owned(),
                got: crate::text::quoted(host, 80),
            });
        }
        let mut segments = path.split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("agent"), Some(name), Some(word), None) => {
                let phase = Phase::ALL
                    .into_iter()
                    .find(|phase| phase.as_str() == word)
                    .ok_or_else(|| IdentityError::Path(shown()))?;
                Ok(Self::Agent { agent: Id::parse(name)?, phase })
            }
            (Some("person"), Some(name), None, None) => Ok(Self::Person { person: Id::parse(name)? }),
            _ => Err(IdentityError::Path(shown())),
        }
    }

    /// The SPIFFE id in `domain`.
    #[must_use]
    pub fn spiffe_id(&self, domain: &TrustDomain) -> String {
        match self {
            Self::Agent { agent, phase } => format!("spiffe://{}/agent/{agent}/{phase}", domain.as_str()),
            Self::Person { person } => format!("spiffe://{}/person/{person}", domain.as_str()),
        }
    }

    /// The actor that this identity is in records.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Agent { agent, phase } => Actor::Agent { agent: agent.clone(), phase: *phase },
            Self::Person { person } => Actor::Person { person: person.clone() },
        }
    }
}

/// Who did what a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Actor {
    /// An agent, in one phase.
    Agent {
        /// Its name in the registry.
        agent: Id<kind::Agent>,
        /// The phase it acted in.
        phase: Phase,
    },
    /// A person.
    Person {
        /// Their name.
        person: Id<kind::Person>,
    },
    /// The gate itself.
    Gate,
    /// The observer: probes and reads of targets.
    Observer,
    /// An executor.
    Executor {
        /// Its name.
        executor: Id<kind::Executor>,
    },
    /// The issuer of leases.
    Issuer,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { agent, phase } => write!(f, "agent {agent} ({phase})"),
            Self::Person { person } => write!(f, "person {person}"),
            Self::Gate => f.write_str("gate"),
            Self::Observer => f.write_str("observer"),
            Self::Executor { executor } => write!(f, "executor {executor}"),
            Self::Issuer => f.write_str("issuer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv07_one_identity_is_one_phase() {
        let domain = TrustDomain::parse("example.org").unwrap();
        let parse = |text: &str| Identity::parse(text, &domain);
        for phase in Phase::ALL {
            let id = parse(&format!("spiffe://example.org/agent/holmes/{phase}")).unwrap();
            assert_eq!(id, Identity::Agent { agent: Id::parse("holmes").unwrap(), phase });
            assert_eq!(id.spiffe_id(&domain), format!("spiffe://example.org/agent/holmes/{phase}"));
        }
        assert!(matches!(parse("spiffe://example.org/person/ada"), Ok(Identity::Person { .. })));
    }

    #[test]
    fn inv07_an_instance_is_no_second_phase() {
        let domain = TrustDomain::parse("example.org").unwrap();
        let parse =
            |text: &str| Identity::parse_instance(text, &domain).map(|(_, instance)| instance.is_some());
        let agent = "spiffe://example.org/agent/holmes/decide";
        assert_eq!(parse(agent), Ok(false));
        assert_eq!(parse("spiffe://example.org/person/ada"), Ok(false));
        for instance in ["1", "pod-7f9c", "0B_c.d", &"x".repeat(MAX_INSTANCE_LEN)] {
            let text = format!("{agent}/{instance}");
            let (identity, found) = Identity::parse_instance(&text, &domain).unwrap();
            assert_eq!((identity.spiffe_id(&domain).as_str(), found), (agent, Some(instance)));
            assert!(Identity::parse(&text, &domain).is_err());
        }
        let long = "x".repeat(MAX_INSTANCE_LEN + 1);
        for instance in
            ["", ".", "..", "observe", "decide", "execute", "a/b", "a%20b", "a?b", "a#b", "\u{e9}", &long]
        {
            assert!(parse(&format!("{agent}/{instance}")).is_err(), "{instance}");
        }
        for text in ["spiffe://example.org/person/ada/1", "spiffe://example.org/person/ada/x/1", "/////a/b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn t20_a_spiffe_id_has_one_spelling() {
        for good in ["spiffe://example.org/ns/ops/sa/holmes", "spiffe://a/b", "spiffe://a-b_c.d1/A.b-c_D/..."]
        {
            let id = SpiffeId::parse(good).unwrap();
            assert_eq!(id.as_str(), good);
            assert!(good["spiffe://".len()..].starts_with(id.trust_domain().as_str()));
        }
        let bad = [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://a",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://a/.",
            "spiffe://a/../b",
            "spiffe://A/b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/%62",
            "SPIFFE://a/b",
            "https://a/b",
            " spiffe://a/b",
            "spiffe://a/b ",
            "spiffe://a/\u{e9}",
        ];
        for text in bad {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
        assert!(SpiffeId::parse(&format!("spiffe://a/{}", "b".repeat(MAX_SPIFFE_ID_LEN))).is_err());
    }

    #[test]
    fn t20_no_other_spelling_of_an_identity_is_taken() {
        let domain = TrustDomain::parse("example.org").unwrap();
        let bad = [
            "",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org//agent/a/decide",
            "spiffe://example.org/agent/a/decide/",
            "spiffe://example.org/agent/a/decide/../execute",
            "spiffe://example.org/agent/a",
            "spiffe://example.org/agent/a/both",
            "spiffe://example.org/agent/a/Decide",
            "spiffe://example.org/agent/%61/decide",
            "spiffe://example.org/agent/a/decide?x",
            "spiffe://example.org/agent/a/decide#x",
            "spiffe://EXAMPLE.org/agent/a/decide",
            "spiffe://example.org:80/agent/a/decide",
            "spiffe://u@example.org/agent/a/decide",
            "https://example.org/agent/a/decide",
            "spiffe://other.org/agent/a/decide",
            "spiffe://example.org/person/a/decide",
            "spiffe://example.org/person/\u{202e}a",
        ];
        for text in bad {
            assert!(Identity::parse(text, &domain).is_err(), "{text} was accepted");
        }
    }
}
