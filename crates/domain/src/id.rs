//! Identifiers: one strict grammar, one Rust type per kind of thing.

use std::{fmt, marker::PhantomData, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest identifier. Long enough for `prefix-` plus 128 bits in hex and for dotted action ids, short enough that an
/// identifier always fits on one line of a screen.
pub const MAX_ID_LEN: usize = 64;

/// Says what an [`Id`] names; only used for its type and its error text.
pub trait Kind {
    /// The noun in error messages, for instance `plan id`.
    const WHAT: &'static str;
}

/// An identifier of one kind of thing: 1 to 64 characters of `a-z 0-9 . _ -`, beginning and ending with a letter or a
/// digit. The grammar has no upper case, no space, no slash and nothing outside ASCII, so an identifier can neither
/// be confused with another one that looks alike nor smuggle text into a screen, a path or a query.
pub struct Id<K> {
    // INVARIANT: matches the grammar above; made only by `parse`. Shared, since facts are full of the inventory's names.
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

/// A text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid {what}: expected 1 to {MAX_ID_LEN} characters of `a-z 0-9 . _ -` with a letter or digit at both ends, got {shown}"
)]
pub struct IdError {
    what: &'static str,
    shown: String,
}

impl<K: Kind> Id<K> {
    /// Reads an identifier; refuses whatever is not one.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let inner = |c: u8| edge(c) || matches!(c, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let ends = bytes.first().copied().is_some_and(edge) && bytes.last().copied().is_some_and(edge);
        if ends && bytes.len() <= MAX_ID_LEN && bytes.iter().copied().all(inner) {
            return Ok(Self { text: text.into(), kind: PhantomData });
        }
        Err(IdError { what: K::WHAT, shown: crate::text::quoted(text, 48) })
    }

    /// A fresh identifier: `prefix` and 128 bits in hex. The caller brings the randomness.
    pub fn fresh(prefix: &str, unique: u128) -> Result<Self, IdError> {
        Self::parse(&format!("{prefix}-{unique:032x}"))
    }

    /// The text of the identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), kind: PhantomData }
    }
}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer)
    }
}

/// The kinds of things that have an [`Id`]. They are never values; they only keep ids apart.
pub mod kind {
    use super::Kind;

    /// An agent in the registry.
    #[derive(Debug)]
    pub enum Agent {}
    /// A person.
    #[derive(Debug)]
    pub enum Person {}
    /// The act by which somebody was enrolled.
    #[derive(Debug)]
    pub enum Act {}
    /// A team of people and agents.
    #[derive(Debug)]
    pub enum Team {}
    /// An action of the catalogue.
    #[derive(Debug)]
    pub enum Action {}
    /// A group of actions, for policy.
    #[derive(Debug)]
    pub enum ActionGroup {}
    /// A parameter of an action.
    #[derive(Debug)]
    pub enum Param {}
    /// A thing that can be acted on.
    #[derive(Debug)]
    pub enum Target {}
    /// A service that targets belong to.
    #[derive(Debug)]
    pub enum Service {}
    /// An environment, such as `production`.
    #[derive(Debug)]
    pub enum Environment {}
    /// A class of data, such as `customer`.
    #[derive(Debug)]
    pub enum DataClass {}
    /// A condition that can justify a plan.
    #[derive(Debug)]
    pub enum Condition {}
    /// A source of telemetry that the operator declared independent of the others.
    #[derive(Debug)]
    pub enum Source {}
    /// A signal that is measured of all services at once.
    #[derive(Debug)]
    pub enum Signal {}
    /// An endpoint of a target, such as `http`.
    #[derive(Debug)]
    pub enum Endpoint {}
    /// A label of a target, which queries may name.
    #[derive(Debug)]
    pub enum Label {}
    /// A node, volume, database, secret or backup domain that targets have in common.
    #[derive(Debug)]
    pub enum Shared {}
    /// A login of the observer, which addresses of databases name.
    #[derive(Debug)]
    pub enum Login {}
    /// An incident in somebody's tracker.
    #[derive(Debug)]
    pub enum Incident {}
    /// A rule of a policy bundle or a guardrail.
    #[derive(Debug)]
    pub enum Rule {}
    /// A plan.
    #[derive(Debug)]
    pub enum Plan {}
    /// A plan that waits for people.
    #[derive(Debug)]
    pub enum Hold {}
    /// A permit.
    #[derive(Debug)]
    pub enum Permit {}
    /// A leased credential.
    #[derive(Debug)]
    pub enum Lease {}
    /// What mints and ends leases of one kind, such as a database server's roles.
    #[derive(Debug)]
    pub enum Backend {}
    /// An executor.
    #[derive(Debug)]
    pub enum Executor {}
    /// A number used once.
    #[derive(Debug)]
    pub enum Nonce {}
    /// A change of a control input.
    #[derive(Debug)]
    pub enum Change {}
    /// A delegation.
    #[derive(Debug)]
    pub enum Delegation {}
    /// A set of data and its copies, such as `orders`.
    #[derive(Debug)]
    pub enum DataDomain {}
    /// A budget of runs.
    #[derive(Debug)]
    pub enum Budget {}
    /// A time in which nothing is changed.
    #[derive(Debug)]
    pub enum Freeze {}

    impl Kind for Agent {
        const WHAT: &'static str = "agent name";
    }
    impl Kind for Delegation {
        const WHAT: &'static str = "delegation id";
    }
    impl Kind for Person {
        const WHAT: &'static str = "person name";
    }
    impl Kind for Act {
        const WHAT: &'static str = "act of enrolment";
    }
    impl Kind for Team {
        const WHAT: &'static str = "team name";
    }
    impl Kind for Action {
        const WHAT: &'static str = "action id";
    }
    impl Kind for ActionGroup {
        const WHAT: &'static str = "action group";
    }
    impl Kind for Param {
        const WHAT: &'static str = "parameter name";
    }
    impl Kind for Target {
        const WHAT: &'static str = "target id";
    }
    impl Kind for Service {
        const WHAT: &'static str = "service name";
    }
    impl Kind for Environment {
        const WHAT: &'static str = "environment name";
    }
    impl Kind for DataClass {
        const WHAT: &'static str = "data class";
    }
    impl Kind for Condition {
        const WHAT: &'static str = "condition id";
    }
    impl Kind for Source {
        const WHAT: &'static str = "source name";
    }
    impl Kind for Signal {
        const WHAT: &'static str = "signal name";
    }
    impl Kind for Endpoint {
        const WHAT: &'static str = "endpoint name";
    }
    impl Kind for Label {
        const WHAT: &'static str = "label name";
    }
    impl Kind for Shared {
        const WHAT: &'static str = "name of a shared thing";
    }
    impl Kind for Login {
        const WHAT: &'static str = "login name";
    }
    impl Kind for Incident {
        const WHAT: &'static str = "incident id";
    }
    impl Kind for Rule {
        const WHAT: &'static str = "rule id";
    }
    impl Kind for Plan {
        const WHAT: &'static str = "plan id";
    }
    impl Kind for Hold {
        const WHAT: &'static str = "hold id";
    }
    impl Kind for Permit {
        const WHAT: &'static str = "permit id";
    }
    impl Kind for Lease {
        const WHAT: &'static str = "lease id";
    }
    impl Kind for Backend {
        const WHAT: &'static str = "lease backend name";
    }
    impl Kind for Executor {
        const WHAT: &'static str = "executor name";
    }
    impl Kind for Nonce {
        const WHAT: &'static str = "nonce";
    }
    impl Kind for Change {
        const WHAT: &'static str = "change id";
    }
    impl Kind for DataDomain {
        const WHAT: &'static str = "data domain";
    }
    impl Kind for Budget {
        const WHAT: &'static str = "budget name";
    }
    impl Kind for Freeze {
        const WHAT: &'static str = "freeze name";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plan = Id<kind::Plan>;

    #[test]
    fn accepts_the_grammar_and_nothing_else() {
        for good in ["a", "7", "k8s.pod.restart", "plan-00ff", "a_b", &"a".repeat(64)] {
            assert_eq!(Plan::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "..", "ä", "a\u{202e}b", "a\0", "a\n", "аdmin", &long]
        {
            assert!(Plan::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn t14_an_error_shows_hidden_characters() {
        let err = Plan::parse("x\u{202e}y").unwrap_err().to_string();
        assert!(err.contains("\\u{202E}"), "{err}");
        assert!(!err.contains('\u{202e}'));
    }

    #[test]
    fn fresh_ids_fit() {
        assert_eq!(Plan::fresh("plan", u128::MAX).unwrap().as_str().len(), 37);
    }
}
