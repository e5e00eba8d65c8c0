//! What an action would disturb, as it goes over the wire: of any size, and an answer that is small.

use holdpoint_domain::{
    Id, Millis, action::BlastCap, blast::Blast, fate::SharedKind, graph::EdgeKind, id::kind,
    target::Criticality,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{http::schema, moment::span};

/// What an action on a target would disturb, as all sources of dependencies have it now.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Disturbance {
    /// The action.
    #[schemars(with = "schema::Name")]
    pub(crate) action: Id<kind::Action>,
    /// The target.
    #[schemars(with = "schema::Name")]
    pub(crate) target: Id<kind::Target>,
    /// Its service.
    #[schemars(with = "schema::Name")]
    pub(crate) service: Id<kind::Service>,
    /// What would be disturbed while every other replica serves. A decision counts those that do not, too.
    #[schemars(with = "schema::Blast")]
    pub(crate) blast: Blast,
    /// The most that one plan with this action may disturb.
    #[schemars(with = "schema::BlastCap")]
    pub(crate) cap: BlastCap,
    /// How it gets about.
    pub(crate) reached: Reached,
}

/// The services of a blast radius as a graph, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reached {
    /// The services, those nearest to the targets first: at most 200, and half of that is for critical ones.
    pub(crate) services: Vec<ReachedService>,
    /// How many services of the blast radius are not among them.
    pub(crate) more: u64,
    /// How many of those are critical.
    pub(crate) more_critical: u64,
    /// The share of all requests that goes to services of the blast radius, by each service graph that counts requests.
    pub(crate) traffic: Vec<TrafficShare>,
    /// What targets of the plan have in common with targets of other services, which fall with it: at most 200.
    pub(crate) shared: Vec<SharedFate>,
    /// How many such things are not among them.
    pub(crate) more_shared: u64,
}

/// A thing that other services fall with, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SharedFate {
    /// What it is.
    #[schemars(with = "schema::Words<SharedKind>")]
    pub(crate) kind: SharedKind,
    /// Its name.
    #[schemars(with = "schema::Name")]
    pub(crate) name: Id<kind::Shared>,
    /// The other services, by name: at most 50.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) services: Vec<Id<kind::Service>>,
    /// How many more there are.
    pub(crate) more: u64,
}

/// A service that would be disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReachedService {
    /// Its name.
    #[schemars(with = "schema::Name")]
    pub(crate) service: Id<kind::Service>,
    /// 0 where it is acted on itself, 1 where it needs such a service, and so on; none where no source connects it any more.
    pub(crate) depth: Option<u32>,
    /// What it needs of the disturbed services, the nearest to the targets first: at most 16.
    pub(crate) needs: Vec<ReachedNeed>,
    /// How many more it needs of them.
    pub(crate) more_needs: u64,
    /// Where it runs; none where the inventory does not know it.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) environment: Option<Id<kind::Environment>>,
    /// The team that owns it; none where the inventory does not know it.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) owner: Option<Id<kind::Team>>,
    /// The highest class that any source gives it.
    #[schemars(with = "schema::Words<Criticality>")]
    pub(crate) criticality: Criticality,
    /// Whether it counts as critical.
    pub(crate) critical: bool,
    /// Whether the inventory does not know it.
    pub(crate) unknown: bool,
    /// The share of all requests that goes to it, in percent, rounded up: the largest that any service graph counts; none where nobody
    /// counts them.
    pub(crate) traffic_percent: Option<u32>,
}

/// What a service needs of the disturbed ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReachedNeed {
    /// The service that it needs.
    #[schemars(with = "schema::Name")]
    pub(crate) on: Id<kind::Service>,
    /// How.
    #[schemars(with = "schema::Words<EdgeKind>")]
    pub(crate) kind: EdgeKind,
    /// Who says so.
    pub(crate) said_by: Vec<NeedSaidBy>,
}

/// A source that knows of a need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NeedSaidBy {
    /// The source.
    #[schemars(with = "schema::Name")]
    pub(crate) source: Id<kind::Source>,
    /// How long ago it was read last.
    #[schemars(with = "schema::Span")]
    pub(crate) age_ms: Millis,
}

/// A share of all requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TrafficShare {
    /// The service graph that counts them.
    #[schemars(with = "schema::Name")]
    pub(crate) source: Id<kind::Source>,
    /// In percent, rounded up; none where it counts nothing.
    pub(crate) percent: Option<u32>,
}

impl ReachedService {
    /// The services that it is reached through, and how: the nearest to the targets first.
    pub(crate) fn through(&self) -> String {
        let mut words: Vec<_> = self.needs.iter().map(ReachedNeed::words).collect();
        if self.more_needs > 0 {
            words.push(format!("{} more", self.more_needs));
        }
        words.join(", ")
    }
}

impl SharedFate {
    /// `node n1, with mail, web and 3 more`.
    pub(crate) fn words(&self) -> String {
        let mut services: Vec<_> = self.services.iter().map(ToString::to_string).collect();
        let last = if self.more > 0 { Some(format!("{} more", self.more)) } else { services.pop() };
        let services = services.join(", ");
        let last = last.unwrap_or_default();
        let with = if services.is_empty() { last } else { format!("{services} and {last}") };
        format!("{} {}, with {with}", self.kind.word(), self.name)
    }
}

impl ReachedNeed {
    /// `calls web`.
    pub(crate) fn words(&self) -> String {
        match self.kind {
            EdgeKind::Needs | EdgeKind::Calls => format!("{} {}", self.kind.as_str(), self.on),
            EdgeKind::Messages | EdgeKind::Data => format!("{} of {}", self.kind.as_str(), self.on),
        }
    }

    /// The sources, and how long ago each was read.
    pub(crate) fn sources(&self) -> String {
        let said = self.said_by.iter().map(|said| format!("{} {} ago", said.source, span(said.age_ms)));
        said.collect::<Vec<_>>().join(", ")
    }
}
