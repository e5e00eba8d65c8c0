//! Strangers: requests of nobody that the gate knows are counted, and summed up in one record an interval. So they are in the
//! ledger, and cannot fill it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use holdpoint_domain::{
    Id, Millis, Timestamp,
    actor::Actor,
    id::kind,
    record::{Body, Record},
};

use crate::{gate::Gate, port::Txn, refusal::Refusal};

/// How often counts are written down.
pub const INTERVAL: Millis = Millis::secs(60);
/// Most kinds of refusals that are told apart; the gate's own rules are fewer.
const MAX_KINDS: usize = 64;

/// Counts of requests that were turned away.
#[derive(Debug, Default)]
pub struct Strangers {
    counts: Mutex<BTreeMap<Id<kind::Rule>, u64>>,
    since: Mutex<Option<Timestamp>>,
}

impl Strangers {
    /// Counts a request that was turned away by a rule.
    pub fn count(&self, rule: &Id<kind::Rule>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(rule) {
            *count = count.saturating_add(1);
        } else if counts.len() < MAX_KINDS {
            counts.insert(rule.clone(), 1);
        }
    }

    /// Writes down the counts of the interval that is over, if there are any. Counts that cannot be written stay for the next time.
    pub async fn seal(&self, gate: &Gate) -> Result<(), Refusal> {
        let now = gate.now();
        let from = {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let from = *since.get_or_insert(now);
            // A clock that was set back ends the interval: the record says from when to when.
            if now >= from && now.since(from) < INTERVAL {
                return Ok(());
            }
            *since = Some(now);
            from
        };
        let turned_away = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        if turned_away.is_empty() {
            return Ok(());
        }
        let body = Body::Strangers { from_ms: from, until_ms: now, turned_away: turned_away.clone() };
        let record = Record::new(now, Actor::Gate, None, body);
        let written = gate.ports.store.append(Txn { records: vec![record], ..Txn::default() }).await;
        if let Err(err) = written {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            // Their interval goes on: the record that will tell of them says from when.
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            for (rule, count) in turned_away {
                let sum = counts.entry(rule).or_default();
                *sum = sum.saturating_add(count);
            }
            return Err(err.into());
        }
        Ok(())
    }
}
