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
        let room = MAX_VALUES.checked_div(signals.len()).unwrap_or(MAX_VALUES);
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
    /// The gate stopped before it could measure.
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
    /// The gate stopped before it could measure: nobody knows anything.
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
        for earlier in &before.signals {
            found.compare(signals, earlier, after, estimate);
        }
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

    fn compare(
        &mut self,
        signals: &[Signal],
        earlier: &Before,
        after: &[Metered],
        estimate: &BTreeSet<Id<kind::Service>>,
    ) {
        let before = &earlier.said;
        let gap = |gap, why| Unknown { signal: before.signal.clone(), service: None, gap, why };
        let same = |signal: &&Signal| {
            signal.id == before.signal && signal.digest().is_ok_and(|digest| digest == earlier.definition)
        };
        let Some(signal) = signals.iter().find(same) else {
            return self.unknown.push(gap(Gap::Redefined, None));
        };
        if before.why != Why::Measured {
            return self.unknown.push(gap(Gap::Before, Some(before.why)));
        }
        let after = match after.iter().find(|it| it.signal == before.signal) {
            Some(after) if after.why == Why::Measured => after,
            Some(after) => return self.unknown.push(gap(Gap::After, Some(after.why))),
            None => return self.unknown.push(gap(Gap::After, None)),
        };
        self.strangers = self.strangers.max(before.strangers).max(after.strangers);
        // Whom neither the estimate nor the baseline names is not looked for: there was no room for it, or it is new.
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
        // Of surprises about services as many as there are movements shown, and a handful about targets.
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
