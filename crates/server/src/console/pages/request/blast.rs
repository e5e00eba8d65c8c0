//! The blast radius: as a picture of the dependency graph, and as a list of the same.

use holdpoint_app::gate::Gate;
use holdpoint_domain::{Timestamp, action::BlastCap, facts::PlanFacts};

use crate::{
    console::show::list,
    http::{
        reached,
        wire::{ReachedService, SharedFate},
    },
    picture::{Kind, Picture},
};

/// What a plan can disturb.
pub(super) struct Blast {
    pub(super) rows: Vec<Row>,
    /// What the list leaves out.
    pub(super) more: Option<String>,
    pub(super) picture: Picture,
    /// The share of all requests, a line for each that counts them.
    pub(super) traffic: Vec<String>,
    /// What else falls with the targets, a line for each thing.
    pub(super) shared: Vec<String>,
    /// What, how much, at most how much.
    pub(super) caps: Vec<(&'static str, u64, u64)>,
    pub(super) summary: String,
}

/// A service in the list.
pub(super) struct Row {
    pub(super) service: String,
    pub(super) how: String,
    pub(super) sources: String,
    pub(super) kind: Kind,
    pub(super) environment: String,
    pub(super) owner: String,
    pub(super) criticality: &'static str,
    pub(super) traffic: String,
}

impl Blast {
    /// The blast radius that the decision was made from, with the graph of the dependencies of now.
    pub(super) fn of(gate: &Gate, facts: &PlanFacts, now: Timestamp) -> Self {
        let blast = &facts.first().blast;
        let reached = reached(gate, &gate.dependencies(), blast, now);
        let cap = strictest(facts);
        let size = |set: usize| u64::try_from(set).unwrap_or(u64::MAX);
        let caps = vec![
            ("Targets", size(blast.targets.len()), u64::from(cap.targets)),
            ("Services", size(blast.services.len()), u64::from(cap.services)),
            ("Critical", size(blast.critical.len()), u64::from(cap.critical)),
            ("Environments", size(blast.environments.len()), u64::from(cap.environments)),
            ("Replicas, %", u64::from(blast.replica_share_percent), u64::from(cap.replica_share_percent)),
        ];
        let names = |critical: bool| {
            let listed = reached.services.iter().filter(move |one| one.critical || !critical);
            let more = if critical { reached.more_critical } else { reached.more };
            let listed = list(listed.map(|one| &one.service));
            if more > 0 { format!("{listed} and {more} more") } else { listed }
        };
        let summary = format!(
            "The plan acts on {}. Services that it can disturb: {}. Critical or unknown among them: {}.",
            list(&blast.targets),
            names(false),
            names(true)
        );
        let share =
            |(source, percent)| format!("{percent} % of the requests that {source} counts go to these.");
        let traffic = reached.traffic.iter().filter_map(|share| Some((&share.source, share.percent?)));
        let mut shared: Vec<_> = reached.shared.iter().map(SharedFate::words).collect();
        if reached.more_shared > 0 {
            shared.push(format!("{} things more", reached.more_shared));
        }
        Self {
            shared,
            rows: reached.services.iter().map(row).collect(),
            more: (reached.more > 0).then(|| {
                format!("And {} more services, {} of them critical.", reached.more, reached.more_critical)
            }),
            picture: Picture::of(&reached),
            traffic: traffic.map(share).collect(),
            caps,
            summary,
        }
    }
}

/// The strictest cap of all steps.
fn strictest(facts: &PlanFacts) -> BlastCap {
    let caps = facts.steps().map(|step| step.action.cap);
    caps.fold(facts.first().action.cap, |one, other| BlastCap {
        targets: one.targets.min(other.targets),
        services: one.services.min(other.services),
        critical: one.critical.min(other.critical),
        environments: one.environments.min(other.environments),
        replica_share_percent: one.replica_share_percent.min(other.replica_share_percent),
    })
}

fn row(one: &ReachedService) -> Row {
    let unknown = || "unknown".to_owned();
    let how = match one.depth {
        Some(0) if one.critical => "a target of the plan is an instance of it, and it is critical".to_owned(),
        Some(0) => "a target of the plan is an instance of it".to_owned(),
        Some(_) => one.through(),
        None => "no source of dependencies connects it to the targets any more".to_owned(),
    };
    let nearest = one.needs.first().filter(|_| one.depth != Some(0));
    Row {
        service: one.service.to_string(),
        how,
        sources: nearest.map(|need| format!("said by {}", need.sources())).unwrap_or_default(),
        kind: Kind::of(one),
        environment: one.environment.as_ref().map_or_else(unknown, ToString::to_string),
        owner: one.owner.as_ref().map_or_else(unknown, ToString::to_string),
        criticality: if one.unknown { "unknown" } else { one.criticality.as_str() },
        traffic: one.traffic_percent.map_or_else(unknown, |percent| format!("{percent} %")),
    }
}
