//! Aftermath: what really changed and which services really moved, beside what was estimated.
//!
//! It is evidence about the world, and nothing is decided from it. That something moved at the same time does not say that the run
//! moved it: a coincidence looks the same.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id,
    id::kind,
    signal::{Measures, Signal, Way},
    target::Inventory,
    trigger::Why,
};

/// Most values that are kept of all signals together: what one record has room for.
const MAX_VALUES: usize = 400;
/// Most movements that are written down, surprising ones first.
const MAX_MOVED: usize = 48;
/// Most gaps that are written down.
const MAX_UNKNOWN: usize = 32;
/// Most replicas beside those that are acted on that are looked at.
pub const MAX_BESIDE: usize = 24;

/// What a signal said of all services at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metered {
    /// The signal.
    pub signal: Id<kind::Signal>,
    /// Whether it was measured, or why not.
    pub why: Why,
    /// The values, of services that the inventory has; each finite.
    pub values: BTreeMap<Id<kind::Service>, f64>,
    /// Series of what the inventory does not have. They are counted, and nothing of them is kept.
    pub strangers: u32,
}

impl Metered {
    /// A signal that was not measured.
    #[must_use]
    pub const fn unknown(signal: Id<kind::Signal>, why: Why) -> Self {
        Self { signal, why, values: BTreeMap::new(), strangers: 0 }
    }
}

/// What a signal said before, and by which definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// The digest of the signal's definition.
    pub definition: Digest,
    /// What it said.
    pub said: Metered,
}

/// The world right before the first effect of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The signals.
    pub signals: Vec<Before>,
    /// Replicas of the same services that nobody acts on, and their versions; none where one was not seen.
    pub beside: BTreeMap<Id<kind::Target>, Option<Digest>>,
    /// Values and replicas that there was no room for.
    pub left_out: u32,
}

impl Eq for Baseline {}

impl Baseline {
    /// A baseline. Where there are more values than a record has room for, those in the estimate are kept first, then those of
    /// the most critical services.
    #[must_use]
    pub fn new(
        mut signals: Vec<Before>,
        beside: BTreeMap<Id<kind::Target>, Option<Digest>>,
        estimate: &BTreeSet<Id<kind::Service>>,
        inventory: &Inventory,
    ) -> Self {
        let room = room(signals.len());
        let mut left_out = 0_usize;
        for before in &mut signals {
            let values = std::mem::take(&mut before.said.values);
            let mut values: Vec<_> = values.into_iter().collect();
            values.sort_by_key(|(id, _)| {
                let criticality = inventory.service(id).map(|service| service.criticality);
                (!estimate.contains(id), Reverse(criticality), id.clone())
            });
            left_out = left_out.saturating_add(values.len().saturating_sub(room));
            values.truncate(room);
            before.said.values = values.into_iter().collect();
        }
        Self { signals, beside, left_out: count(left_out) }
    }

    /// Every service is in it that the signal said something of: there was room.
    fn is_whole(&self, before: &Before) -> bool {
        self.left_out == 0 || before.said.values.len() < room(self.signals.len())
    }
}

/// How many values are kept of each of so many signals.
fn room(signals: usize) -> usize {
    MAX_VALUES.checked_div(signals).unwrap_or(MAX_VALUES)
}

/// A service that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// The service.
    pub service: Id<kind::Service>,
    /// By which signal.
    pub signal: Id<kind::Signal>,
    /// What it measures.
    pub measures: Measures,
    /// The value before.
    pub before: f64,
    /// The value after.
    pub after: f64,
    /// Which way.
    pub way: Way,
    /// The estimate of the decision named the service.
    pub estimated: bool,
}

/// Between what there is nothing to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// It was not measured before.
    Before,
    /// It was not measured after.
    After,
    /// It was defined otherwise before, or not at all.
    Redefined,
    /// The run was interrupted, or what was measured did not get on record: what it is like now may have come since.
    Interrupted,
}

/// Of what nobody knows whether it moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    /// The signal.
    pub signal: Id<kind::Signal>,
    /// The service; none where it is about all of them.
    pub service: Option<Id<kind::Service>>,
    /// What is missing.
    pub gap: Gap,
    /// Why; none where nobody asked.
    pub why: Option<Why>,
}

/// How a target is afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// In another version than before.
    Changed,
    /// In the same version.
    Same,
    /// It could not be seen, before or after.
    Unseen,
}

/// A target afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetAfter {
    /// The target.
    pub target: Id<kind::Target>,
    /// The plan acts on it.
    pub acted_on: bool,
    /// It was to be in another version afterwards.
    pub expected: bool,
    /// How it is.
    pub fate: Fate,
}

/// What nobody expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Surprise {
    /// A service that the estimate did not name moved for the worse at the same time.
    MovedOutside {
        /// The service.
        service: Id<kind::Service>,
        /// By which signal.
        signal: Id<kind::Signal>,
    },
    /// A target that nobody acted on changed at the same time.
    ChangedBeside {
        /// The target.
        target: Id<kind::Target>,
    },
    /// A target that was to change did not.
    NotChanged {
        /// The target.
        target: Id<kind::Target>,
    },
}

/// What is known when a run is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aftermath {
    /// Services that moved: surprising ones first, then for the worse, then the others.
    pub moved: Vec<Moved>,
    /// How many values stayed where they were.
    pub still: u32,
    /// Of what nobody knows it.
    pub unknown: Vec<Unknown>,
    /// The targets, and those beside them.
    pub targets: Vec<TargetAfter>,
    /// What nobody expected.
    pub surprises: Vec<Surprise>,
    /// Series of what the inventory does not have, at most of one signal.
    pub strangers: u32,
    /// What there was no room for: before, among what moved, and among what is unknown.
    pub left_out: u32,
}

impl Eq for Aftermath {}

impl Aftermath {
    /// The run was interrupted, or what was measured did not get on record: nobody knows anything.
    #[must_use]
    pub fn interrupted(before: &Baseline) -> Self {
        let unknown = |before: &Before| Unknown {
            signal: before.said.signal.clone(),
            service: None,
            gap: Gap::Interrupted,
            why: None,
        };
        let mut aftermath = Self { left_out: before.left_out, ..Self::default() };
        aftermath.unknown = before.signals.iter().map(unknown).collect();
        aftermath
    }

    /// Compares what was measured before and after with each other, and with the services that the decision named.
    #[must_use]
    pub fn new(
        signals: &[Signal],
        before: &Baseline,
        after: &[Metered],
        estimate: &BTreeSet<Id<kind::Service>>,
        targets: Vec<TargetAfter>,
    ) -> Self {
        let mut found = Self { left_out: before.left_out, targets, ..Self::default() };
        let mut new = Vec::new();
        for earlier in &before.signals {
            let Some(later) = found.compare(signals, earlier, after, estimate) else { continue };
            if before.is_whole(earlier) {
                new.extend(appeared(&earlier.said, later, estimate));
            }
        }
        // Whole signals first, then services of the estimate, and last of all what appeared: none of these makes room for a lesser one.
        found.unknown.sort_by_key(|it| it.service.as_ref().map(|service| !estimate.contains(service)));
        found.unknown.append(&mut new);
        for target in &found.targets {
            let surprise = match (target.acted_on, target.expected, target.fate) {
                (true, true, Fate::Same) => Surprise::NotChanged { target: target.target.clone() },
                (false, _, Fate::Changed) => Surprise::ChangedBeside { target: target.target.clone() },
                (true, false, Fate::Same)
                | (false, _, Fate::Same)
                | (true, _, Fate::Changed)
                | (_, _, Fate::Unseen) => continue,
            };
            found.surprises.push(surprise);
        }
        found.bounded()
    }

    /// One signal before and after; what it said after, where both are known.
    fn compare<'a>(
        &mut self,
        signals: &[Signal],
        earlier: &Before,
        after: &'a [Metered],
        estimate: &BTreeSet<Id<kind::Service>>,
    ) -> Option<&'a Metered> {
        let before = &earlier.said;
        let gap = |gap, why| Unknown { signal: before.signal.clone(), service: None, gap, why };
        let same = |signal: &&Signal| {
            signal.id == before.signal && signal.digest().is_ok_and(|digest| digest == earlier.definition)
        };
        let Some(signal) = signals.iter().find(same) else {
            self.unknown.push(gap(Gap::Redefined, None));
            return None;
        };
        if before.why != Why::Measured {
            self.unknown.push(gap(Gap::Before, Some(before.why)));
            return None;
        }
        let after = match after.iter().find(|it| it.signal == before.signal) {
            Some(after) if after.why == Why::Measured => after,
            other => {
                self.unknown.push(gap(Gap::After, other.map(|after| after.why)));
                return None;
            }
        };
        self.strangers = self.strangers.max(before.strangers).max(after.strangers);
        let asked: BTreeSet<_> = estimate.iter().chain(before.values.keys()).collect();
        for service in asked {
            let unknown = |gap| Unknown {
                signal: signal.id.clone(),
                service: Some(service.clone()),
                gap,
                why: Some(Why::NoData),
            };
            let (was, is) = match (before.values.get(service), after.values.get(service)) {
                (Some(was), Some(is)) => (*was, *is),
                (None, _) => {
                    self.unknown.push(unknown(Gap::Before));
                    continue;
                }
                (Some(_), None) => {
                    self.unknown.push(unknown(Gap::After));
                    continue;
                }
            };
            let Some(way) = signal.way(was, is) else {
                self.still = self.still.saturating_add(1);
                continue;
            };
            let estimated = estimate.contains(service);
            if !estimated && way == Way::Worse {
                let (service, signal) = (service.clone(), signal.id.clone());
                self.surprises.push(Surprise::MovedOutside { service, signal });
            }
            self.moved.push(Moved {
                service: service.clone(),
                signal: signal.id.clone(),
                measures: signal.measures,
                before: was,
                after: is,
                way,
                estimated,
            });
        }
        Some(after)
    }

    /// What one record has room for.
    fn bounded(mut self) -> Self {
        self.moved.sort_by_key(|it| {
            let is_surprise = !it.estimated && it.way == Way::Worse;
            (!is_surprise, it.way, it.service.clone(), it.signal.clone())
        });
        let over = [(self.moved.len(), MAX_MOVED), (self.unknown.len(), MAX_UNKNOWN)];
        let over = over.iter().map(|(len, max)| len.saturating_sub(*max)).fold(0, usize::saturating_add);
        self.left_out = self.left_out.saturating_add(count(over));
        self.moved.truncate(MAX_MOVED);
        self.unknown.truncate(MAX_UNKNOWN);
        // Of surprises about services as many as there are movements shown, and the same ones; and a handful about targets.
        self.surprises.sort_by_key(|surprise| match surprise {
            Surprise::MovedOutside { service, signal } => (false, Some((service.clone(), signal.clone()))),
            Surprise::ChangedBeside { .. } | Surprise::NotChanged { .. } => (true, None),
        });
        let mut outside = 0_usize;
        self.surprises.retain(|surprise| match surprise {
            Surprise::MovedOutside { .. } => {
                outside = outside.saturating_add(1);
                outside <= MAX_MOVED
            }
            Surprise::ChangedBeside { .. } | Surprise::NotChanged { .. } => true,
        });
        self
    }
}

/// Services outside the estimate that a signal says something of only afterwards: nobody knows what it was before. Where the
/// baseline had no room for all, they may be among those that it counts as left out.
fn appeared<'a>(
    before: &'a Metered,
    after: &'a Metered,
    estimate: &'a BTreeSet<Id<kind::Service>>,
) -> impl Iterator<Item = Unknown> + 'a {
    let is_new =
        |service: &&Id<kind::Service>| !before.values.contains_key(*service) && !estimate.contains(*service);
    after.values.keys().filter(is_new).map(|service| Unknown {
        signal: after.signal.clone(),
        service: Some(service.clone()),
        gap: Gap::Before,
        why: Some(Why::NoData),
    })
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        actor::Actor,
        record::{Body, MAX_RECORD_LEN, Record},
    };

    /// As long as an id can be.
    fn long<K: crate::id::Kind>(number: usize) -> Id<K> {
        Id::parse(&format!("{number:0>64}")).unwrap()
    }

    fn signals() -> Vec<Signal> {
        let one = |number: usize| {
            let text = format!(
                r#"{{"id": "{number:0>64}", "measures": "error_ratio", "label": "service", "max_age_ms": 30000,
                "from": {{"source": "prom", "at": {{"url": "http://127.0.0.1:9090"}}}},
                "query": "up", "data": "up", "moves": {{"by": 0.1}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        (0..crate::signal::MAX_SIGNALS).map(one).collect()
    }

    fn said(value: f64) -> Vec<Metered> {
        let of = |signal: Signal| Metered {
            signal: signal.id,
            why: Why::Measured,
            values: (0..1000).map(|service| (long(service), value)).collect(),
            strangers: u32::MAX,
        };
        signals().into_iter().map(of).collect()
    }

    fn len(body: Body) -> usize {
        let now = Timestamp::from_ms(1_700_000_000_000).unwrap();
        Record::new(now, Actor::Observer, Some(long(1)), body).bytes().unwrap().len()
    }

    /// What two signals said, the second of them nothing afterwards; `first` is what the first one said.
    fn compared(room_for_all: bool, first: usize, later: usize) -> Aftermath {
        let two = &signals()[..2];
        let inventory = Inventory::new(Vec::new(), Vec::new()).unwrap();
        let says = |signal: &Signal, services: usize| Metered {
            signal: signal.id.clone(),
            why: Why::Measured,
            values: (0..services).map(|service| (long(service), 0.5)).collect(),
            strangers: 0,
        };
        let before = [says(&two[0], first), says(&two[1], if room_for_all { 1 } else { 1000 })];
        let before = before.into_iter().zip(two).map(|(said, signal)| {
            let definition = signal.digest().unwrap();
            Before { definition, said }
        });
        let baseline = Baseline::new(before.collect(), BTreeMap::new(), &BTreeSet::new(), &inventory);
        let after = [says(&two[0], later), Metered::unknown(two[1].id.clone(), Why::TimedOut)];
        Aftermath::new(two, &baseline, &after, &BTreeSet::new(), Vec::new())
    }

    /// How many services are unknown, behind the one signal that is.
    fn of_services(found: &Aftermath) -> usize {
        let (signal, services) = found.unknown.split_first().unwrap();
        assert_eq!((&signal.service, signal.gap), (&None, Gap::After), "a whole signal comes first");
        let is_new =
            |it: &Unknown| it.service.is_some() && it.gap == Gap::Before && it.why == Some(Why::NoData);
        assert!(services.iter().all(is_new), "{services:?}");
        services.len()
    }

    #[test]
    fn a_service_that_is_only_there_afterwards_is_unknown() {
        let found = compared(true, 3, 5);
        assert_eq!((of_services(&found), found.still, found.left_out), (2, 3, 0));
        // However many there are, each is either told or counted.
        let found = compared(true, 3, 503);
        assert_eq!((of_services(&found), found.left_out), (MAX_UNKNOWN - 1, 500 - 31));
        // Another signal had no room, and this one had.
        let found = compared(false, 199, 201);
        assert_eq!((of_services(&found), found.still, found.left_out), (2, 199, 800));
        // Where there was no room, they may be the ones that are counted already.
        let found = compared(false, 300, 300);
        assert_eq!((of_services(&found), found.still, found.left_out), (0, 200, 900));
    }

    #[test]
    fn another_definition_of_a_signal_is_not_compared() {
        let mut signals = signals();
        let before = said(0.1).into_iter().zip(&signals).map(|(said, signal)| {
            let definition = signal.digest().unwrap();
            Before { definition, said }
        });
        let inventory = Inventory::new(Vec::new(), Vec::new()).unwrap();
        let baseline = Baseline::new(before.collect(), BTreeMap::new(), &BTreeSet::new(), &inventory);
        signals[0].query = "down".to_owned();
        let found = Aftermath::new(&signals, &baseline, &said(0.9), &BTreeSet::new(), Vec::new());
        let redefined = Unknown { signal: long(0), service: None, gap: Gap::Redefined, why: None };
        assert_eq!(found.unknown, [redefined]);
        assert!(found.moved.iter().all(|it| it.signal != long(0)));
    }

    #[test]
    fn the_most_that_can_be_said_fits_into_a_record() {
        let signals = signals();
        let inventory = Inventory::new(Vec::new(), Vec::new()).unwrap();
        let before = |said: Metered| {
            let definition = signals.iter().find(|it| it.id == said.signal).unwrap().digest().unwrap();
            Before { definition, said }
        };
        let earlier = said(-1.234_567_890_123_456_7e-300).into_iter().map(before).collect();
        let beside = (0..MAX_BESIDE).map(|target| (long(target), Some(Digest::of_bytes(b"it")))).collect();
        let expected: BTreeSet<_> = (990..1000).map(long).collect();
        let baseline = Baseline::new(earlier, beside, &expected, &inventory);
        assert_eq!(baseline.left_out, 8 * 950);
        assert!(baseline.signals.iter().all(|it| expected.iter().all(|id| it.said.values.contains_key(id))));
        let target = |target: usize| TargetAfter {
            target: long(target),
            acted_on: target < crate::plan::MAX_STEPS,
            expected: true,
            fate: if target < crate::plan::MAX_STEPS { Fate::Same } else { Fate::Changed },
        };
        let all = (0..crate::plan::MAX_STEPS + MAX_BESIDE).map(target).collect();
        let after = said(1.234_567_890_123_456_7e300);
        let unexpected = (0..10).map(|number| long(2000 + number)).collect();
        let found = Aftermath::new(&signals, &baseline, &after, &unexpected, all);
        assert_eq!((found.moved.len(), found.unknown.len()), (MAX_MOVED, MAX_UNKNOWN));
        assert_eq!(found.left_out, 8 * 950 + (8 * 50 - 48) + (8 * 10 - 32));
        assert!(found.moved.iter().all(|it| !it.estimated && it.way == Way::Worse));
        for body in
            [Body::Baseline { baseline: Box::new(baseline) }, Body::Aftermath { aftermath: Box::new(found) }]
        {
            let (word, len) = (body.word(), len(body));
            assert!(len < MAX_RECORD_LEN, "{word}: {len}");
        }
    }
}
