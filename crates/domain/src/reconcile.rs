//! Reconciliation: what people did outside of Holdpoint while the gate was down, put on record afterwards. One of those who did it
//! reports it, another one confirms the same bytes, somebody else looks at it. It is told and kept, and permits nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Commitment, Digest, Id, Timestamp,
    digest::{DigestError, Salt, canonical},
    id::kind,
    signature::Purpose,
    signed::Statement,
};

/// The fewest people who can have done it: nobody handles an emergency alone.
pub const MIN_PEOPLE: usize = 2;
/// The most people who can be named: whoever reads it must be able to ask each of them.
pub const MAX_PEOPLE: usize = 16;
/// The least that counts as a text: as much as a reason for breaking the glass.
pub const MIN_WORDS_CHARS: usize = 12;
/// The most of one text: a page. What is longer belongs to the incident's own record.
pub const MAX_WORDS_CHARS: usize = 4_000;

/// What was done, by whom and when: the bytes that everybody signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The log that it is for.
    pub origin: String,
    /// The action of the catalogue that was done by hand; none where the catalogue has none like it, and the words alone say what.
    pub action: Option<Id<kind::Action>>,
    /// What it was done to.
    pub target: Id<kind::Target>,
    /// When it began, as people remember it.
    pub from_ms: Timestamp,
    /// When it was over.
    pub until_ms: Timestamp,
    /// Who did it.
    pub people: BTreeSet<Id<kind::Person>>,
    /// The incident.
    pub incident: Option<Id<kind::Incident>>,
    /// The commitment to their [`Words`], which are kept beside the ledger.
    pub words: Commitment,
}

/// What those who did it say, in their own words. The gate measured none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// What was done.
    pub did: String,
    /// Why it could not wait.
    pub reason: String,
    /// The state that they found.
    pub before: String,
    /// The state that they left.
    pub after: String,
}

/// What somebody does with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One of those who did it says so.
    Reported,
    /// Another one of them says the same.
    Confirmed,
    /// Somebody else looked, and has found it as it was told.
    Reviewed,
    /// Somebody else looked, and has found it otherwise.
    Disputed,
}

/// What a person signs about an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileStatement {
    /// `holdpoint/reconcile/v1`.
    pub r#type: ReconcileType,
    /// The account.
    pub account: Account,
    /// What they say about it.
    pub part: Part,
    /// Who says it.
    pub by: Id<kind::Person>,
}

/// The type tag of [`ReconcileStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileType {
    /// Version 1.
    #[serde(rename = "holdpoint/reconcile/v1")]
    V1,
}

/// The look that an account owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    /// By when.
    pub due_at_ms: Timestamp,
    /// The team that owns the target.
    pub owner: Id<kind::Team>,
}

/// An account that contradicts itself, or the clock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Too few people, or too many.
    #[error("expected {MIN_PEOPLE} to {MAX_PEOPLE} people who did it, got {0}")]
    People(usize),
    /// It was over before it began.
    #[error("it ended before it began")]
    EndedBeforeStart,
    /// It was not over yet.
    #[error("it ended in the future, by the gate's clock")]
    Future,
    /// A text that says too little, or too much.
    #[error("`{field}`: expected {MIN_WORDS_CHARS} to {MAX_WORDS_CHARS} characters, got {got}")]
    Words {
        /// Which one.
        field: &'static str,
        /// Its length.
        got: usize,
    },
}

impl Account {
    /// The digest that names it: two who sign the same digest say the same.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }

    /// Checks what needs no registry and no inventory.
    pub fn check(&self, now: Timestamp) -> Result<(), AccountError> {
        let people = self.people.len();
        if !(MIN_PEOPLE..=MAX_PEOPLE).contains(&people) {
            return Err(AccountError::People(people));
        }
        if self.until_ms < self.from_ms {
            return Err(AccountError::EndedBeforeStart);
        }
        if self.until_ms > now {
            return Err(AccountError::Future);
        }
        Ok(())
    }
}

impl Words {
    /// Their canonical JSON: what the commitment is over.
    pub fn text(&self) -> Result<Vec<u8>, DigestError> {
        canonical(self)
    }

    /// The commitment to them under a salt.
    pub fn commit(&self, salt: &Salt) -> Result<Commitment, DigestError> {
        Ok(Commitment::to(salt, &self.text()?))
    }

    /// Checks how long they are.
    pub fn check(&self) -> Result<(), AccountError> {
        let all =
            [("did", &self.did), ("reason", &self.reason), ("before", &self.before), ("after", &self.after)];
        for (field, text) in all {
            // What is only space says nothing.
            let (said, got) = (text.trim().chars().count(), text.chars().count());
            if said < MIN_WORDS_CHARS || got > MAX_WORDS_CHARS {
                let got = if said < MIN_WORDS_CHARS { said } else { got };
                return Err(AccountError::Words { field, got });
            }
        }
        Ok(())
    }
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reported, Self::Confirmed, Self::Reviewed, Self::Disputed];

    /// The word in records and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Confirmed => "confirmed",
            Self::Reviewed => "reviewed",
            Self::Disputed => "disputed",
        }
    }

    /// Whether it answers the look that is owed.
    #[must_use]
    pub const fn is_a_look(self) -> bool {
        matches!(self, Self::Reviewed | Self::Disputed)
    }
}

impl ReconcileStatement {
    /// What this person says about this account.
    #[must_use]
    pub const fn new(account: Account, part: Part, by: Id<kind::Person>) -> Self {
        Self { r#type: ReconcileType::V1, account, part, by }
    }
}

impl Statement for ReconcileStatement {
    const PURPOSE: Purpose = Purpose::Reconciliation;

    fn by(&self) -> &Id<kind::Person> {
        &self.by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        Account {
            origin: "gate.example/log".to_owned(),
            action: None,
            target: Id::parse("worker-1").unwrap(),
            from_ms: at(10),
            until_ms: at(20),
            people: ["ada", "bob"].map(|name| Id::parse(name).unwrap()).into(),
            incident: None,
            words: Commitment::to(&Salt::new([0; 32]), b"words"),
        }
    }

    #[test]
    fn an_account_is_of_two_people_and_of_the_past() {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        assert_eq!(account().check(at(20)), Ok(()));
        assert_eq!(account().check(at(19)), Err(AccountError::Future));
        let turned = Account { from_ms: at(21), ..account() };
        assert_eq!(turned.check(at(30)), Err(AccountError::EndedBeforeStart));
        let alone = Account { people: [Id::parse("ada").unwrap()].into(), ..account() };
        assert_eq!(alone.check(at(30)), Err(AccountError::People(1)));
        let many = (0..17).map(|number| Id::parse(&format!("p-{number}")).unwrap()).collect();
        assert_eq!(Account { people: many, ..account() }.check(at(30)), Err(AccountError::People(17)));
    }

    #[test]
    fn words_have_a_least_and_a_most() {
        let text = || "restarted it by hand".to_owned();
        let good = Words { did: text(), reason: text(), before: text(), after: text() };
        assert_eq!(good.check(), Ok(()));
        let thin = Words { after: format!("ok{}", " ".repeat(40)), ..good.clone() };
        assert_eq!(thin.check(), Err(AccountError::Words { field: "after", got: 2 }));
        let long = Words { did: "x".repeat(MAX_WORDS_CHARS + 1), ..good };
        assert_eq!(long.check(), Err(AccountError::Words { field: "did", got: MAX_WORDS_CHARS + 1 }));
    }
}
