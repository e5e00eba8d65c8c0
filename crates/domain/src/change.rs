//! Changes: recorded, approved replacements of control inputs.

use serde::{Deserialize, Serialize};

use crate::{Digest, Id, facts::Inputs, id::kind};

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
}

/// A replacement of one control input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Which one.
    pub control: Control,
    /// The digest in force before.
    pub old: Digest,
    /// The digest in force after.
    pub new: Digest,
    /// Who wrote it, and so may not approve it.
    pub author: Id<kind::Person>,
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
}

impl Control {
    /// All control inputs.
    pub const ALL: [Self; 4] = [Self::Policy, Self::Catalogue, Self::Inventory, Self::Registry];

    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Catalogue => "catalogue",
            Self::Inventory => "inventory",
            Self::Registry => "registry",
        }
    }

    /// This input's digest among those in force.
    #[must_use]
    pub const fn of(self, inputs: &Inputs) -> Digest {
        match self {
            Self::Policy => inputs.policy,
            Self::Catalogue => inputs.catalogue,
            Self::Inventory => inputs.inventory,
            Self::Registry => inputs.registry,
        }
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
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
        }
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(n: u8) -> Inputs {
        let digest = |m: u8| Digest::of_bytes(&[n, m]);
        Inputs { policy: digest(0), catalogue: digest(1), inventory: digest(2), registry: digest(3) }
    }

    #[test]
    fn inv13_only_what_the_ledger_activated_is_in_force() {
        assert!(not_activated(&inputs(1), &inputs(1)).is_empty());
        for control in Control::ALL {
            let active = inputs(1);
            let new = Digest::of_bytes(b"new");
            let change = Change { control, old: control.of(&active), new, author: Id::parse("ada").unwrap() };
            let after = change.apply(&active).unwrap();
            assert_eq!(not_activated(&active, &after).len(), 1);
            assert_eq!(control.of(&after), new);
            assert!(matches!(change.apply(&after), Err(ChangeError::StaleBase { .. })));
        }
    }
}
