//! Changes: recorded, approved replacements of control inputs.

use serde::{Deserialize, Serialize};

use crate::{
    Commitment, Digest, Id, Timestamp,
    agent::Registry,
    approval::{Choice, TreeHead},
    facts::Inputs,
    id::kind,
    signature::Purpose,
    signed::Statement,
};

/// How long a proposed change waits for its approvals.
pub const MAX_CHANGE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What steers decisions. Each is in force only by a digest that the ledger activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The policy bundle.
    Policy,
    /// The action catalogue.
    Catalogue,
    /// The inventory.
    Inventory,
    /// People, agents and trust roots.
    Registry,
    /// Budgets and freezes.
    Limits,
}

/// A replacement of one control input that is in force from its record on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The change that people approved.
    pub id: Id<kind::Change>,
    /// Which one.
    pub control: Control,
    /// The digest in force before.
    pub old: Digest,
    /// The digest in force after.
    pub new: Digest,
    /// Who wrote it, and so may not approve it.
    pub author: Id<kind::Person>,
}

/// What a proposed change asks administrators to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeTerms {
    /// The change.
    pub id: Id<kind::Change>,
    /// The head of the ledger when it was proposed.
    pub head: TreeHead,
    /// Which input.
    pub control: Control,
    /// The digest in force, which it replaces.
    pub old: Digest,
    /// The digest that will be in force: exactly the content that the approvers read.
    pub new: Digest,
    /// The commitment to that content, as it was sent.
    pub content: Commitment,
    /// Who wrote it.
    pub author: Id<kind::Person>,
    /// How many other administrators must approve.
    pub needed: u32,
    /// Used once.
    pub nonce: Id<kind::Nonce>,
    /// When it is given up; a statement signed for it ends with it.
    pub expires_at_ms: Timestamp,
}

/// What an administrator signs: the terms, who they are, and their choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeStatement {
    /// `holdpoint/change-approval/v1`.
    pub r#type: ChangeStatementType,
    /// The terms.
    pub terms: ChangeTerms,
    /// Who signs.
    pub approver: Id<kind::Person>,
    /// Yes or no. One rejection ends the change.
    pub choice: Choice,
}

/// The type tag of [`ChangeStatement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeStatementType {
    /// Version 1.
    #[serde(rename = "holdpoint/change-approval/v1")]
    V1,
}

impl Statement for ChangeStatement {
    const PURPOSE: Purpose = Purpose::Change;

    fn by(&self) -> &Id<kind::Person> {
        &self.approver
    }
}

/// Why a change, or an input at start-up, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The file on disk is not the one in force.
    #[error("the {control} on disk has digest {found}, the ledger activated {active}")]
    NotActivated {
        /// Which input.
        control: Control,
        /// In force.
        active: Digest,
        /// On disk.
        found: Digest,
    },
    /// It replaces something that is not in force.
    #[error("the change replaces {old}, but {active} is in force")]
    StaleBase {
        /// What it says it replaces.
        old: Digest,
        /// What is in force.
        active: Digest,
    },
    /// It changes nothing.
    #[error("the change replaces {0} by itself")]
    Nothing(Digest),
    /// Nobody could approve it.
    #[error("`{0}` wrote the change, and there is no other administrator who could approve it")]
    NobodyElse(Id<kind::Person>),
}

impl Control {
    /// All control inputs.
    pub const ALL: [Self; 5] = [Self::Policy, Self::Catalogue, Self::Inventory, Self::Registry, Self::Limits];

    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Catalogue => "catalogue",
            Self::Inventory => "inventory",
            Self::Registry => "registry",
            Self::Limits => "limits",
        }
    }

    /// The input with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.as_str() == word)
    }

    /// This input's digest among those in force.
    #[must_use]
    pub const fn of(self, inputs: &Inputs) -> Digest {
        match self {
            Self::Policy => inputs.policy,
            Self::Catalogue => inputs.catalogue,
            Self::Inventory => inputs.inventory,
            Self::Registry => inputs.registry,
            Self::Limits => inputs.limits,
        }
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many administrators must approve what `author` wrote: two where two others are there, else the one other. Never none.
pub fn approvals_needed(registry: &Registry, author: &Id<kind::Person>) -> Result<u32, ChangeError> {
    let others = registry.administrators().into_keys().filter(|id| id != author).count();
    match others {
        0 => Err(ChangeError::NobodyElse(author.clone())),
        1 => Ok(1),
        _ => Ok(2),
    }
}

/// Checks that what is on disk is what the ledger activated; reports every input that is not.
#[must_use]
pub fn not_activated(active: &Inputs, found: &Inputs) -> Vec<ChangeError> {
    let differs = |control: &Control| control.of(active) != control.of(found);
    let error = |control: Control| ChangeError::NotActivated {
        control,
        active: control.of(active),
        found: control.of(found),
    };
    Control::ALL.into_iter().filter(differs).map(error).collect()
}

impl Change {
    /// Checks the change against what is in force, and returns what is in force after it.
    pub fn apply(&self, active: &Inputs) -> Result<Inputs, ChangeError> {
        if self.old == self.new {
            return Err(ChangeError::Nothing(self.new));
        }
        let current = self.control.of(active);
        if current != self.old {
            return Err(ChangeError::StaleBase { old: self.old, active: current });
        }
        let mut after = *active;
        match self.control {
            Control::Policy => after.policy = self.new,
            Control::Catalogue => after.catalogue = self.new,
            Control::Inventory => after.inventory = self.new,
            Control::Registry => after.registry = self.new,
            Control::Limits => after.limits = self.new,
        }
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(n: u8) -> Inputs {
        let digest = |m: u8| Digest::of_bytes(&[n, m]);
        Inputs {
            policy: digest(0),
            catalogue: digest(1),
            inventory: digest(2),
            registry: digest(3),
            limits: digest(4),
        }
    }

    #[test]
    fn inv13_only_what_the_ledger_activated_is_in_force() {
        assert!(not_activated(&inputs(1), &inputs(1)).is_empty());
        for control in Control::ALL {
            assert_eq!(Control::parse(control.as_str()), Some(control));
            let active = inputs(1);
            let new = Digest::of_bytes(b"new");
            let id = Id::parse("change-1").unwrap();
            let change =
                Change { id, control, old: control.of(&active), new, author: Id::parse("ada").unwrap() };
            let after = change.apply(&active).unwrap();
            assert_eq!(not_activated(&active, &after).len(), 1);
            assert_eq!(control.of(&after), new);
            assert!(matches!(change.apply(&after), Err(ChangeError::StaleBase { .. })));
        }
    }
}
