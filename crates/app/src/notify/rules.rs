//! Who hears of what. The operator's rules, already checked: see the server's configuration for the file.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{Id, Tier, Timestamp, id::kind};

use super::{About, Event, Subject, kind as own};

/// Who is on call: a pure function of time.
pub trait OnCall: Send + Sync {
    /// Whose turn it is in a rota; none when nobody's is.
    fn on_call(&self, rota: &Id<own::Rota>, at: Timestamp) -> Option<Id<kind::Person>>;
}

/// The rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The console's address, without a slash at the end.
    pub link_base: String,
    /// All that fit count; what two of them say about one channel is said once.
    pub routes: Vec<Route>,
    /// Every channel there is, and everybody: for what no rule chooses (see [`Event::is_for_everybody`]).
    pub everybody: Told,
}

/// A rule: what is told, over which channels, to whom, and to whom next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Of which events.
    pub events: BTreeSet<Event>,
    /// Only of targets in these environments; all when empty.
    pub environments: BTreeSet<Id<kind::Environment>>,
    /// Only of targets that these teams own; all when empty.
    pub teams: BTreeSet<Id<kind::Team>>,
    /// Only of plans of these tiers; all when empty.
    pub tiers: BTreeSet<Tier>,
    /// At once.
    pub first: Told,
    /// When nobody answers.
    pub escalate: Vec<Escalation>,
}

/// Over which channels, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The channels.
    pub channels: BTreeSet<Id<own::Channel>>,
    /// The people.
    pub who: Vec<Who>,
}

/// The next ones, when nobody has answered for so long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// After how many minutes since the event; at least one.
    pub after_minutes: u32,
    /// Who is told then.
    pub told: Told,
}

/// People.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// These.
    People(BTreeSet<Id<kind::Person>>),
    /// Whoever is on call.
    OnCall(Id<own::Rota>),
}

/// Who is told over which channel.
pub(super) type Tellings = BTreeMap<Id<own::Channel>, BTreeSet<Id<kind::Person>>>;

impl Route {
    /// Whether the rule is about this. What has no environment, team or tier concerns all of them: a halt stops everything.
    #[must_use]
    pub fn fits(&self, event: Event, about: &About) -> bool {
        if !self.events.contains(&event) {
            return false;
        }
        let Subject::Plan { tier, steps, .. } = &about.subject else { return true };
        let is_in =
            |environments: &BTreeSet<_>, one: Option<&_>| one.is_none_or(|one| environments.contains(one));
        let environment = self.environments.is_empty()
            || steps.iter().any(|step| is_in(&self.environments, step.environment.as_ref()));
        let team = self.teams.is_empty()
            || steps.iter().any(|step| step.owner.as_ref().is_none_or(|owner| self.teams.contains(owner)));
        let tier = self.tiers.is_empty() || tier.is_none_or(|tier| self.tiers.contains(&tier));
        environment && team && tier
    }
}

impl Told {
    /// Adds the people of a rule to its channels.
    pub(super) fn add_to(&self, tellings: &mut Tellings, on_call: &dyn OnCall, now: Timestamp) {
        let people: BTreeSet<_> = self
            .who
            .iter()
            .flat_map(|who| match who {
                Who::People(people) => people.clone(),
                Who::OnCall(rota) => on_call.on_call(rota, now).into_iter().collect(),
            })
            .collect();
        for channel in &self.channels {
            tellings.entry(channel.clone()).or_default().extend(people.iter().cloned());
        }
    }
}

impl Rules {
    /// All channels: those that a rule names, and those that everybody is told over.
    #[must_use]
    pub fn channels(&self) -> BTreeSet<Id<own::Channel>> {
        let told = |route: &Route| {
            let later = route.escalate.iter().flat_map(|step| step.told.channels.clone());
            route.first.channels.iter().cloned().chain(later).collect::<Vec<_>>()
        };
        self.routes.iter().flat_map(told).chain(self.everybody.channels.iter().cloned()).collect()
    }
}
