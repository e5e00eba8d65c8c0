//! Tiers, rungs of the ladder, and oversight.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much autonomy an action has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Observe: nothing changes.
    T0,
    /// Act, then notify.
    T1,
    /// Act with undo armed; reviewed afterwards.
    T2,
    /// One approver.
    T3,
    /// Two approvers with fresh, strong authentication.
    T4,
    /// Never by an agent.
    T5,
}

/// A step of the ladder that policy is asked on, from the least oversight to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// Nobody.
    T1,
    /// A review is promised.
    T2,
    /// And one person approves.
    T3,
    /// And a second one, both fresh and strongly authenticated.
    T4,
}

/// What people did, or promise to do, about a plan. A cumulative vector: see [`Oversight::dominates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oversight {
    /// Somebody will look at the run afterwards.
    pub review_promised: bool,
    /// Distinct eligible people who approved.
    pub approvals: u32,
    /// All of them authenticated strongly (phishing-resistant).
    pub strong: bool,
    /// All of them did so for this plan, just now.
    pub fresh: bool,
}

impl Tier {
    /// All tiers, lowest first.
    pub const ALL: [Self; 6] = [Self::T0, Self::T1, Self::T2, Self::T3, Self::T4, Self::T5];

    /// Two letters, as people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::T0 => "T0",
            Self::T1 => "T1",
            Self::T2 => "T2",
            Self::T3 => "T3",
            Self::T4 => "T4",
            Self::T5 => "T5",
        }
    }

    /// What the tier means, in the words of the glossary.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::T0 => "observe",
            Self::T1 => "act, then notify",
            Self::T2 => "act with undo armed, reviewed afterwards",
            Self::T3 => "one approver",
            Self::T4 => "two approvers with fresh strong authentication",
            Self::T5 => "never by an agent",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Rung {
    /// All rungs, lowest first. Each dominates the one before it (tested).
    pub const ALL: [Self; 4] = [Self::T1, Self::T2, Self::T3, Self::T4];

    /// The tier that a plan has when this is the first rung that policy allows.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::T1 => Tier::T1,
            Self::T2 => Tier::T2,
            Self::T3 => Tier::T3,
            Self::T4 => Tier::T4,
        }
    }

    /// The oversight that this rung stands for.
    #[must_use]
    pub const fn oversight(self) -> Oversight {
        let none = Oversight { review_promised: false, approvals: 0, strong: false, fresh: false };
        match self {
            Self::T1 => none,
            Self::T2 => Oversight { review_promised: true, ..none },
            Self::T3 => Oversight { review_promised: true, approvals: 1, ..none },
            Self::T4 => Oversight { review_promised: true, approvals: 2, strong: true, fresh: true },
        }
    }

    /// The rung that a tier is asked on; none for T5, which is never asked.
    #[must_use]
    pub const fn of(tier: Tier) -> Option<Self> {
        match tier {
            Tier::T0 | Tier::T1 => Some(Self::T1),
            Tier::T2 => Some(Self::T2),
            Tier::T3 => Some(Self::T3),
            Tier::T4 => Some(Self::T4),
            Tier::T5 => None,
        }
    }
}

impl Oversight {
    /// Nobody looked and nobody will.
    pub const NONE: Self = Rung::T1.oversight();

    /// At least `other` in every component.
    #[must_use]
    pub const fn dominates(&self, other: &Self) -> bool {
        (self.review_promised || !other.review_promised)
            && self.approvals >= other.approvals
            && (self.strong || !other.strong)
            && (self.fresh || !other.fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_cumulative() {
        for pair in Rung::ALL.windows(2) {
            assert!(pair[1].oversight().dominates(&pair[0].oversight()));
            assert!(!pair[0].oversight().dominates(&pair[1].oversight()));
            assert!(pair[0].tier() < pair[1].tier());
        }
        for rung in Rung::ALL {
            assert_eq!(Rung::of(rung.tier()), Some(rung));
        }
    }
}
