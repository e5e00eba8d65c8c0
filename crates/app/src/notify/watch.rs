//! The planner: what is open, and who is told what, and when. Pure: records, rules, rota and time in, messages out.

use std::collections::BTreeMap;

use holdpoint_domain::{Id, Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    About, Concern, Event, Message, Notable, OnCall, Rules,
    kind::Channel,
    rules::{Route, Tellings},
};

/// Most things that are watched for an answer. Beyond it the oldest are told once and not again: so many open questions are a
/// fault of something else, and memory has an end.
const MAX_OPEN: usize = 10_000;

/// A message, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The channel.
    pub channel: Id<Channel>,
    /// The message.
    pub message: Message,
    /// It asks for an answer to this, and is worth nothing any more once there is one.
    pub asks: Option<Concern>,
}

/// What waits for people, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// By the ledger index of the record that opened it.
    open: BTreeMap<u64, Open>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    concern: Concern,
    event: Event,
    at_ms: Timestamp,
    about: About,
    /// Everything that was due until then was planned.
    told_until_ms: Timestamp,
}

/// What plans messages: the log's origin, the rules, whose turn it is, and the time.
pub(super) struct By<'a> {
    pub(super) origin: &'a str,
    pub(super) rules: &'a Rules,
    pub(super) on_call: &'a dyn OnCall,
    pub(super) now: Timestamp,
}

impl Watch {
    /// How many things wait for people.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing waits for people.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Plans what a record means, and watches what it opens.
    pub(super) fn note(&mut self, notable: &Notable, by: &By<'_>) -> Vec<Planned> {
        let (index, at_ms, event) = (notable.index, notable.at, notable.event);
        // The hold of an emergency is watched as a hold; what everybody is told is told whatever was answered meanwhile.
        let is_hold = |concern: &Concern| matches!(concern, Concern::Hold(_));
        let opens = notable.opens.clone().filter(|concern| !(event.is_for_everybody() && is_hold(concern)));
        if let Some(concern) = opens.clone() {
            let about = notable.about.clone();
            self.open.insert(index, Open { concern, event, at_ms, about, told_until_ms: at_ms });
            if self.open.len() > MAX_OPEN {
                self.open.pop_first();
            }
        }
        // A change that is over is told whatever it asked for; what asks is withdrawn with an answer.
        let asks = opens.filter(is_hold);
        let told = Telling { index, at_ms, event, after_minutes: None, about: &notable.about, asks };
        by.plan(&told, |route| {
            route.fits(event, &notable.about).then_some(&route.first).into_iter().collect()
        })
    }

    /// Watches something no longer.
    pub(super) fn close(&mut self, concern: &Concern) {
        self.open.retain(|_, open| open.concern != *concern);
    }

    /// Plans what became due by now: the next ones where nobody has answered, and what is overdue. What ended by itself is watched
    /// no longer; nothing of this moves an end.
    pub(super) fn due(&mut self, by: &By<'_>) -> Vec<Planned> {
        let mut planned = Vec::new();
        for (index, open) in &mut self.open {
            planned.extend(open.due(*index, by));
            open.told_until_ms = open.told_until_ms.max(by.now);
        }
        self.open.retain(|_, open| !open.is_over(by.now));
        planned
    }
}

impl Open {
    /// A look stays owed after it was due; everything else ends with its time.
    fn is_over(&self, now: Timestamp) -> bool {
        !self.concern.is_a_look() && self.about.ends_at_ms.is_some_and(|end| now >= end)
    }

    fn due(&self, index: u64, by: &By<'_>) -> Vec<Planned> {
        let is_due = |at: Timestamp| self.told_until_ms < at && at <= by.now;
        let (at_ms, event, about) = (self.at_ms, self.event, &self.about);
        let mut planned = Vec::new();
        // Nobody is asked for what nobody can answer any more.
        if !self.is_over(by.now) {
            let steps = by.rules.routes.iter().filter(|route| route.fits(event, about));
            let mut minutes: Vec<u32> =
                steps.flat_map(|route| &route.escalate).map(|step| step.after_minutes).collect();
            minutes.sort_unstable();
            minutes.dedup();
            for after in minutes {
                let span = Millis::secs(after.saturating_mul(60));
                if !at_ms.plus(span).is_ok_and(is_due) {
                    continue;
                }
                let asks = Some(self.concern.clone());
                let told = Telling { index, at_ms, event, after_minutes: Some(after), about, asks };
                planned.extend(by.plan(&told, |route| {
                    let steps = route.escalate.iter().filter(|_| route.fits(event, about));
                    steps.filter(|step| step.after_minutes == after).map(|step| &step.told).collect()
                }));
            }
        }
        let overdue = about.ends_at_ms.filter(|_| self.concern.is_a_look());
        if let Some(at_ms) = overdue.filter(|at| is_due(*at)) {
            let event = Event::ReviewOverdue;
            let told = Telling { index, at_ms, event, after_minutes: None, about, asks: None };
            planned.extend(
                by.plan(&told, |route| {
                    route.fits(event, about).then_some(&route.first).into_iter().collect()
                }),
            );
        }
        planned
    }
}

/// What is told, before anybody knows to whom.
struct Telling<'a> {
    index: u64,
    at_ms: Timestamp,
    event: Event,
    after_minutes: Option<u32>,
    about: &'a About,
    asks: Option<Concern>,
}

impl By<'_> {
    /// One message a channel: what several rules say about it is said once, to all of theirs.
    fn plan<'r>(
        &'r self,
        telling: &Telling<'_>,
        told: impl Fn(&'r Route) -> Vec<&'r super::Told>,
    ) -> Vec<Planned> {
        let mut tellings = Tellings::new();
        for told in self.rules.routes.iter().flat_map(told) {
            told.add_to(&mut tellings, self.on_call, self.now);
        }
        if telling.event.is_for_everybody() {
            self.rules.everybody.add_to(&mut tellings, self.on_call, self.now);
        }
        let Telling { index, at_ms, event, after_minutes, about, asks } = telling;
        let link = format!("{}{}", self.rules.link_base, about.subject.path(*event));
        let message = |(channel, people): (Id<Channel>, std::collections::BTreeSet<_>)| Planned {
            message: Message {
                id: Message::id_of(self.origin, *index, *event, *after_minutes, &channel),
                event: *event,
                at_ms: *at_ms,
                index: Some(*index),
                after_minutes: *after_minutes,
                about: (*about).clone(),
                link: link.clone(),
                to: people.into_iter().collect(),
            },
            channel,
            asks: asks.clone(),
        };
        tellings.into_iter().map(message).collect()
    }
}
