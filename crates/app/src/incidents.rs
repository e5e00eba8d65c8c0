//! Incidents that sources outside tell of. They are recorded when something about them is new, so that a source that repeats itself
//! does not fill the ledger, and every plan on a service that an open one concerns counts for it.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Millis,
    actor::Actor,
    id::kind,
    incident::{Incidents, MAX_OPEN, MAX_SERVICES, PREFIX, Told, incident_id},
    record::{Body, Record},
};

use crate::{
    gate::Gate,
    port::Txn,
    propose::commit_any,
    refusal::{Blame, Refusal, internal},
};

/// Most records that a source makes in [`INTERVAL`]. It is asked to come again, which an Alertmanager does.
const MAX_RECORDS: u32 = 120;
/// The interval.
const INTERVAL: Millis = Millis::secs(60);

/// What a source says. Everything in it is text of whoever can write an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// By which the source tells this incident from its others: not empty.
    pub key: String,
    /// How many alerts fire; none when it is over.
    pub firing: u32,
    /// Values of the labels that name services. Those that are none of the inventory name nothing.
    pub names: BTreeSet<String>,
    /// More was left out that could name any service.
    pub more: bool,
    /// What the alerts say, for people: bounded by whoever read it.
    pub words: String,
}

/// What became of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The incident.
    pub incident: Id<kind::Incident>,
    /// The ledger index of its record; none where nothing was new.
    pub index: Option<u64>,
}

/// Takes a notice of a source that proved who it is.
pub async fn hear(gate: &Gate, source: &Id<kind::Source>, notice: &Notice) -> Result<Heard, Refusal> {
    if notice.key.is_empty() {
        hear_unread(gate, source, "no-group-key").await?;
        let fact = "the group of alerts has no key";
        return Err(Refusal::new(Blame::Caller, "no-group-key", fact, "send what Alertmanager sends"));
    }
    let now = gate.now();
    let incidents = gate.ports.store.incidents();
    let own = incident_id(source, &notice.key).map_err(internal)?;
    let is_known = incidents.find(&own).is_some_and(|known| known.is_open(now));
    // Beyond the bound they are one incident, which no key names: it has no end but silence.
    let incident = if notice.firing > 0 && !is_known && incidents.open_of(source, now) >= MAX_OPEN {
        incident_id(source, "").map_err(internal)?
    } else {
        own
    };
    record(gate, source, incident, notice).await
}

/// Records what is news of an incident.
async fn record(
    gate: &Gate,
    source: &Id<kind::Source>,
    incident: Id<kind::Incident>,
    notice: &Notice,
) -> Result<Heard, Refusal> {
    let now = gate.now();
    let incidents = gate.ports.store.incidents();
    let mut services = services(gate, &notice.names);
    let everywhere = notice.more || services.len() > MAX_SERVICES;
    services = services.into_iter().take(MAX_SERVICES).collect();
    // How many fire in an incident of everything else is no news of it.
    let firing = if incident == incident_id(source, "").map_err(internal)? { 1 } else { notice.firing };
    let mut texts = Vec::new();
    let words = commit_any(gate, &notice.words, &mut texts);
    let told =
        Told { incident: incident.clone(), source: source.clone(), firing, services, everywhere, words };
    let is_news = match incidents.find(&incident) {
        Some(known) => known.is_news(&told, now),
        None => firing > 0,
    };
    if !is_news {
        return Ok(Heard { incident, index: None });
    }
    spend(gate, source)?;
    let record = Record::new(now, Actor::Gate, None, Body::Incident { told: Box::new(told) });
    // If we stop before this returns, the source tells it again.
    let txn = Txn { records: vec![record], texts, ..Txn::default() };
    let appended = gate.ports.store.append(txn).await?;
    Ok(Heard { incident, index: Some(appended.first_index) })
}

/// Takes it that a source that proved who it is said something that nobody can read. It may be of any service and of any incident, so it
/// counts as one of too many that concerns everything: a text too long keeps no incident from counting.
pub async fn hear_unread(gate: &Gate, source: &Id<kind::Source>, why: &str) -> Result<Heard, Refusal> {
    let words = format!("a message that was not read: {why}\n");
    let notice = Notice { key: String::new(), firing: 1, names: BTreeSet::new(), more: true, words };
    let incident = incident_id(source, "").map_err(internal)?;
    record(gate, source, incident, &notice).await
}

/// Services of the inventory by exact name.
fn services(gate: &Gate, names: &BTreeSet<String>) -> BTreeSet<Id<kind::Service>> {
    let known = |name: &String| {
        let id = Id::parse(name).ok()?;
        gate.controls.inventory.service(&id).is_some().then_some(id)
    };
    names.iter().filter_map(known).collect()
}

/// One record more of a source, if it may have one.
fn spend(gate: &Gate, source: &Id<kind::Source>) -> Result<(), Refusal> {
    let now = gate.now();
    let mut told = gate.told();
    let (since, count) = told.entry(source.clone()).or_insert((now, 0));
    // A clock that was set back begins the interval anew.
    if now < *since || now.since(*since) >= INTERVAL {
        (*since, *count) = (now, 0);
    }
    if *count >= MAX_RECORDS {
        let fact = format!("source `{source}` told more than {MAX_RECORDS} news within a minute");
        return Err(Refusal::new(Blame::Us, "too-much-news", fact, "tell it again in a minute"));
    }
    *count = count.saturating_add(1);
    Ok(())
}

/// Refuses the name of an incident that only the gate gives, where it gave no such name.
pub(crate) fn check_named(gate: &Gate, incident: Option<&Id<kind::Incident>>) -> Result<(), Refusal> {
    let Some(incident) = incident.filter(|id| id.as_str().starts_with(PREFIX)) else { return Ok(()) };
    if gate.settings.incident_sources.is_empty() || all(gate).find(incident).is_some() {
        return Ok(());
    }
    let fact =
        format!("incident `{incident}` is named as the gate names incidents, and it knows none of this name");
    let next = "name an incident that the gate knows, one of your own under another name, or none";
    Err(Refusal::new(Blame::Caller, "unknown-incident", fact, next))
}

/// The incidents that are open, and the latest that are over.
#[must_use]
pub fn all(gate: &Gate) -> Incidents {
    gate.ports.store.incidents()
}
