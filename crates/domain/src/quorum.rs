//! Quorums: how many people must approve a plan, and of which teams.
//!
//! A tier has its number of people ([`crate::permit::needed`]). The entry of an action in the catalogue may ask for more of them, and
//! for somebody of certain teams; never for less. An entry that asks must stand at T3 or T4: what runs without a person would go around
//! it. It is part of the entry, so that the plan binds it by the entry's digest, and of the facts, so that whoever approves signs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    Id, Tier,
    decision::{Answer, Decision},
    facts::PlanFacts,
    id::kind,
    permit::needed,
    plan::Plan,
};

/// Most people that a plan may need: a permit carries the statement of each, and has a limit itself.
pub const MAX_APPROVALS: u32 = 9;
/// Most teams of a group: people read all of them on one line.
pub const MAX_TEAMS: usize = 9;

/// Teams of which any may speak: one approver of one of them is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Id<kind::Team>>")]
pub struct Group(
    // INVARIANT: 1 to MAX_TEAMS.
    BTreeSet<Id<kind::Team>>,
);

/// How many people must approve, and of which teams. Each group takes a person of its own, so that the number of people is never below
/// the number of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Asked")]
pub struct Quorum {
    // INVARIANT: at least as many as there are groups.
    needed: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Group>,
}

/// A quorum as it is written, before it was checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    needed: u32,
    #[serde(default)]
    groups: Vec<Group>,
}

/// Somebody who approved, with the teams that they are in now.
#[derive(Debug, Clone, Copy)]
pub struct Approver<'a> {
    /// Who.
    pub person: &'a Id<kind::Person>,
    /// Their teams.
    pub teams: &'a BTreeSet<Id<kind::Team>>,
}

/// What a quorum still lacks: never nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// At least so many people more.
    pub approvals: u32,
    /// Groups that nobody speaks for yet, each of which takes one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

/// What is wrong with a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// Nobody, or more people than ever decide on one plan.
    #[error("expected `needed` from 1 to {MAX_APPROVALS}, got {0}")]
    Needed(u32),
    /// More groups than people.
    #[error(
        "expected `needed` of at least {groups}, one for each group, got {needed}: each takes a person of its own"
    )]
    Groups {
        /// How many people.
        needed: u32,
        /// How many groups.
        groups: u32,
    },
    /// A group of no team, or of too many.
    #[error("expected 1 to {MAX_TEAMS} teams in a group, got {0}")]
    Teams(usize),
}

impl Group {
    /// Its teams.
    #[must_use]
    pub const fn teams(&self) -> &BTreeSet<Id<kind::Team>> {
        &self.0
    }
}

impl TryFrom<BTreeSet<Id<kind::Team>>> for Group {
    type Error = QuorumError;
    fn try_from(teams: BTreeSet<Id<kind::Team>>) -> Result<Self, QuorumError> {
        if teams.is_empty() || teams.len() > MAX_TEAMS {
            return Err(QuorumError::Teams(teams.len()));
        }
        Ok(Self(teams))
    }
}

impl TryFrom<Asked> for Quorum {
    type Error = QuorumError;
    fn try_from(asked: Asked) -> Result<Self, QuorumError> {
        Self::new(asked.needed, asked.groups)
    }
}

impl Quorum {
    /// What an entry of the catalogue asks for: 1 to [`MAX_APPROVALS`] people, and somebody of each group, of which there are no more
    /// than people.
    pub fn new(needed: u32, groups: Vec<Group>) -> Result<Self, QuorumError> {
        if needed == 0 || needed > MAX_APPROVALS {
            return Err(QuorumError::Needed(needed));
        }
        let count = number(groups.len());
        if count > needed {
            return Err(QuorumError::Groups { needed, groups: count });
        }
        Ok(Self { needed, groups })
    }

    /// Whom a plan waits for that was decided from these facts: the people of its tier, and whoever the catalogue asks for.
    #[must_use]
    pub fn of(decision: &Decision, plan: &Plan, facts: &PlanFacts) -> Self {
        // A hold waits for somebody, whatever its tier says.
        let least = u32::from(decision.answer == Answer::Hold);
        let people = Self { needed: needed(decision.tier).max(least), groups: Vec::new() };
        match Self::asked(plan, facts) {
            Some(asked) => people.and(&asked),
            None => people,
        }
    }

    /// Whom the catalogue asks for, beside the people of the tier; none where it leaves it to the tier. What people ask for beyond
    /// policy waits for those of T4 alone.
    #[must_use]
    pub fn asked(plan: &Plan, facts: &PlanFacts) -> Option<Self> {
        let asked = facts.steps().filter_map(|step| step.action.approvals.as_ref());
        Self::union(asked).filter(|_| !plan.requester().is_emergency())
    }

    /// What several steps need together: the largest number, and all groups. A group that several of them ask for is asked for as often
    /// as by the one that asks most often.
    pub fn union<'q>(all: impl IntoIterator<Item = &'q Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let first = all.next()?.clone();
        Some(all.fold(first, |whole, next| whole.and(next)))
    }

    fn and(mut self, other: &Self) -> Self {
        let mut known = self.groups.clone();
        for group in &other.groups {
            match known.iter().position(|known| known == group) {
                Some(at) => drop(known.swap_remove(at)),
                None => self.groups.push(group.clone()),
            }
        }
        let needed = self.needed.max(other.needed).max(number(self.groups.len()));
        Self { needed, ..self }
    }

    /// How many people.
    #[must_use]
    pub const fn needed(&self) -> u32 {
        self.needed
    }

    /// Of which teams somebody must be among them.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether an entry that asks for this may stand at a tier: only where people are asked, and an agent may run it at all.
    #[must_use]
    pub fn fits(tier: Tier) -> bool {
        matches!(tier, Tier::T3 | Tier::T4)
    }

    /// What is missing when these people have approved; none when nothing is. A person who is named twice counts once, and speaks for
    /// one group at most. Where different groups could be the missing ones, it is those of more teams.
    #[must_use]
    pub fn missing(&self, approvers: &[Approver<'_>]) -> Option<Missing> {
        let people: BTreeMap<_, _> = approvers.iter().map(|one| (one.person, one.teams)).collect();
        let got = number(people.len());
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|group| group.0.len());
        // For each group, who could speak for it.
        let could: Vec<BTreeSet<_>> = groups
            .iter()
            .map(|group| {
                let may = people.iter().filter(|(_, teams)| !group.0.is_disjoint(teams));
                may.map(|(person, _)| *person).collect()
            })
            .collect();
        let mut speaks = BTreeMap::new();
        let unfilled =
            (0..).zip(groups).filter(|(at, _)| !place(*at, &could, &mut speaks, &mut BTreeSet::new()));
        let groups: Vec<_> = unfilled.map(|(_, group)| group.clone()).collect();
        let approvals = self.needed.saturating_sub(got).max(number(groups.len()));
        (approvals > 0).then_some(Missing { approvals, groups })
    }
}

/// Finds somebody for a group: who is free, or whose own group finds another (Kuhn's augmenting path). `asked` are those who were asked
/// already, so that it ends. What was placed before stays placed.
fn place<'p>(
    group: usize,
    could: &[BTreeSet<&'p Id<kind::Person>>],
    speaks: &mut BTreeMap<&'p Id<kind::Person>, usize>,
    asked: &mut BTreeSet<&'p Id<kind::Person>>,
) -> bool {
    let Some(people) = could.get(group) else { return false };
    for person in people {
        if !asked.insert(*person) {
            continue;
        }
        let free = match speaks.get(person).copied() {
            None => true,
            Some(other) => place(other, could, speaks, asked),
        };
        if free {
            speaks.insert(*person, group);
            return true;
        }
    }
    false
}

impl fmt::Display for Group {
    /// The teams, of which any may speak.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let teams: Vec<_> = self.0.iter().map(Id::as_str).collect();
        f.write_str(&teams.join(" or "))
    }
}

impl fmt::Display for Quorum {
    /// For people: `3 approvals: at least one of dba or platform, at least one of security`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.needed == 1 { "approval" } else { "approvals" };
        write!(f, "{} {noun}", self.needed)?;
        write_groups(&self.groups, f)
    }
}

impl fmt::Display for Missing {
    /// For people: `2 more approvals: at least one of security`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.approvals == 1 { "approval" } else { "approvals" };
        write!(f, "{} more {noun}", self.approvals)?;
        write_groups(&self.groups, f)
    }
}

fn write_groups(groups: &[Group], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut before = ": ";
    for group in groups {
        write!(f, "{before}at least one of {group}")?;
        before = ", ";
    }
    Ok(())
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
