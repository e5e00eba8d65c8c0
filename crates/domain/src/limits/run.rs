//! Runs as limits see them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Id, Timestamp,
    fate::Shared,
    id::kind,
    incident::{PREFIX, REST},
};

/// A run as budgets see it: one that was claimed, or one that would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footprint {
    /// Who asked.
    pub agent: Id<kind::Agent>,
    /// The agents that it acts for: what is held against one of them is held against the plan.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub via: BTreeSet<Id<kind::Agent>>,
    /// The teams of all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub teams: BTreeSet<Id<kind::Team>>,
    /// For which incident.
    pub incident: Option<Id<kind::Incident>>,
    /// Incidents that the gate knows itself and that concern what it acts on, whatever the agent named. With [`REST`] in it, it
    /// counts for each that the gate knows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub concerned: BTreeSet<Id<kind::Incident>>,
    /// The numbers that its steps say in parameters, by their names, added up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<Id<kind::Param>, u64>,
    /// Its actions.
    pub actions: BTreeSet<Id<kind::Action>>,
    /// How many steps it has; 0 in records from before steps were counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps: u32,
    /// Environments of its targets.
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// Data domains of its targets.
    pub data_domains: BTreeSet<Id<kind::DataDomain>>,
    /// Services whose data it deletes.
    pub deletes: BTreeSet<Id<kind::Service>>,
    /// Services that it acts on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub direct: BTreeSet<Id<kind::Service>>,
    /// What no other run may touch meanwhile.
    #[serde(default, skip_serializing_if = "Area::is_empty")]
    pub area: Area,
}

/// The dependency neighbourhood of a run: the services that it acts on, those that need them up to the depth that the operator set,
/// the critical ones that it reaches at any distance, and what its targets share with others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// The services.
    pub services: BTreeSet<Id<kind::Service>>,
    /// What its targets share with those of other services.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shares: BTreeSet<Shared>,
    /// More services than are listed: it touches every other one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
}

/// In what two areas touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch<'a> {
    /// A service is in both.
    Service(&'a Id<kind::Service>),
    /// Targets of both fall together.
    Shared(&'a Shared),
    /// One of them touches more services than are listed.
    Everywhere,
}

/// A run that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun<'a> {
    /// Its plan.
    pub plan: &'a Id<kind::Plan>,
    /// What it touches.
    pub footprint: &'a Footprint,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When it ended; none while it has not.
    pub ended_at: Option<Timestamp>,
    /// It has not ended, or nobody knows how.
    pub open: bool,
    /// It ended and left nothing changed, so that it deleted nothing.
    pub without_effect: bool,
    /// It went badly, or nobody knows, and no person has looked and let the like go on.
    pub bad: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(steps: &u32) -> bool {
    *steps == 0
}

impl Footprint {
    /// Everybody in whose name it is asked for.
    pub fn agents(&self) -> impl Iterator<Item = &Id<kind::Agent>> {
        std::iter::once(&self.agent).chain(&self.via)
    }

    /// Whether it counts for an incident, named or known. What was left out of a list may be any that the gate knows, so [`REST`] is
    /// each of them.
    #[must_use]
    pub fn is_for(&self, incident: &str) -> bool {
        let mut of = self.incident.iter().chain(&self.concerned).map(Id::as_str);
        let lists_rest = self.concerned.iter().any(|one| one.as_str() == REST);
        of.any(|one| one == incident || (incident == REST && one.starts_with(PREFIX)))
            || (lists_rest && incident.starts_with(PREFIX))
    }

    /// Whether both count for one incident, whoever said so.
    #[must_use]
    pub fn shares_incident(&self, other: &Self) -> bool {
        self.incident.iter().chain(&self.concerned).any(|incident| other.is_for(incident.as_str()))
    }
}

impl Area {
    /// Whether it touches nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.shares.is_empty() && !self.everywhere
    }

    /// The same and what is in another one.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.services.extend(other.services);
        self.shares.extend(other.shares);
        self.everywhere |= other.everywhere;
        self
    }

    /// In what two runs would touch first; none where they would not.
    #[must_use]
    pub fn touches<'a>(&'a self, other: &'a Self) -> Option<Touch<'a>> {
        if let Some(service) = self.services.intersection(&other.services).next() {
            return Some(Touch::Service(service));
        }
        if let Some(shared) = self.shares.intersection(&other.shares).next() {
            return Some(Touch::Shared(shared));
        }
        let both = !self.is_empty() && !other.is_empty();
        (both && (self.everywhere || other.everywhere)).then_some(Touch::Everywhere)
    }
}
