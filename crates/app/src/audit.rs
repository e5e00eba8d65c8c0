//! Audit: what the log says of itself, and figures about how people and the gate decide. Reads alone.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Id, Tier, Timestamp,
    approval::Choice,
    decision::Answer,
    id::kind,
    record::{Body, Record},
};
use holdpoint_ledger::{Frontier, SignedCheckpoint, leaf_hash};

use crate::{
    gate::Gate,
    port::{Entry, StoreError},
};

/// How many entries are read at once.
const BATCH: u32 = 200;
/// Most entries that are verified while somebody waits. A larger log is verified offline, which is the stronger proof anyway.
pub const MAX_VERIFIED: u64 = 100_000;
/// How many of the newest entries figures are made of.
pub const MAX_COUNTED: u64 = 10_000;

/// What a verification of the gate's own log came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries were read, each a record in canonical form.
    pub entries: u64,
    /// What does not stand; none where everything does.
    pub fault: Option<String>,
}

/// Reads the whole log from the store, computes its root anew, and compares it with the signed head. Finds what the gate's store lost
/// or changed; whether the gate shows everybody the same log, only a comparison from outside can tell. None for a log of more
/// than [`MAX_VERIFIED`] entries.
pub async fn verify(gate: &Gate) -> Result<Option<Verified>, StoreError> {
    let head = gate.ports.store.head();
    if head.size > MAX_VERIFIED {
        return Ok(None);
    }
    let found = |entries, fault: String| Ok(Some(Verified { entries, fault: Some(fault) }));
    let mut frontier = Frontier::new();
    while frontier.size() < head.size {
        let entries = gate.ports.store.entries(frontier.size(), BATCH).await?;
        if entries.is_empty() {
            return found(frontier.size(), format!("entry {} is not there", frontier.size()));
        }
        for entry in entries.iter().take_while(|entry| entry.index < head.size) {
            if let Err(fault) = take(&mut frontier, entry) {
                return found(frontier.size(), fault);
            }
        }
    }
    if frontier.root() != head.root {
        return found(head.size, "the root over all entries is not the one of the head".to_owned());
    }
    let signed = SignedCheckpoint::parse(head.checkpoint.as_bytes())
        .and_then(|signed| signed.open(std::slice::from_ref(&gate.ports.log_key)));
    match signed {
        Ok(checkpoint) if checkpoint.size() == head.size && checkpoint.root() == head.root => {
            Ok(Some(Verified { entries: head.size, fault: None }))
        }
        Ok(_) => found(head.size, "the signed head is about another tree".to_owned()),
        Err(err) => found(head.size, format!("the head's signature does not hold: {err}")),
    }
}

fn take(frontier: &mut Frontier, entry: &Entry) -> Result<(), String> {
    if entry.index != frontier.size() {
        return Err(format!("expected entry {}, got {}", frontier.size(), entry.index));
    }
    Record::parse(&entry.bytes).map_err(|err| format!("entry {}: {err}", entry.index))?;
    frontier.push(leaf_hash(&entry.bytes)).map_err(|err| format!("entry {}: {err}", entry.index))
}

/// Figures over the newest entries of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The first entry that was counted.
    pub first: u64,
    /// The end: one past the last entry that was counted.
    pub end: u64,
    /// Decisions on plans, by tier and answer.
    pub decisions: BTreeMap<Tier, BTreeMap<Answer, u32>>,
    /// How long each hold waited for the statement that ended it, in milliseconds, in order of size.
    pub waits_ms: Vec<u64>,
    /// What each person said to holds, in order of time.
    pub people: BTreeMap<Id<kind::Person>, Vec<Said>>,
    /// Holds that nobody answered in time.
    pub expired: u32,
    /// Runs that succeeded.
    pub succeeded: u32,
    /// Runs that were undone.
    pub undone: u32,
    /// Runs whose undo failed.
    pub undo_failed: u32,
    /// Runs that ended with nothing changed.
    pub failed: u32,
    /// Runs that nobody knows, or knew, the end of.
    pub in_doubt: u32,
}

/// One statement of a person on a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Yes.
    pub approved: bool,
    /// How long after the hold began.
    pub after_ms: u64,
}

/// Counts the newest [`MAX_COUNTED`] entries.
pub async fn figures(gate: &Gate) -> Result<Figures, StoreError> {
    let end = gate.ports.store.head().size;
    let first = end.saturating_sub(MAX_COUNTED);
    let mut figures = Figures { first, end, ..Figures::default() };
    let mut holds = BTreeMap::new();
    let mut next = first;
    while next < end {
        let entries = gate.ports.store.entries(next, BATCH).await?;
        let Some(last) = entries.last() else { break };
        next = last.index.saturating_add(1);
        for entry in &entries {
            let record = Record::parse(&entry.bytes)
                .map_err(|err| StoreError::Corrupt(format!("entry {}: {err}", entry.index)))?;
            figures.count(&record, &mut holds);
        }
    }
    figures.waits_ms.sort_unstable();
    Ok(figures)
}

impl Figures {
    fn count(&mut self, record: &Record, holds: &mut BTreeMap<Id<kind::Plan>, Timestamp>) {
        let one_more = |count: &mut u32| *count = count.saturating_add(1);
        let Some(plan) = &record.plan else { return };
        if let Body::Decided { decision, .. } = &record.body {
            let answers = self.decisions.entry(decision.tier).or_default();
            one_more(answers.entry(decision.answer).or_default());
        } else if let Body::Held { .. } = &record.body {
            holds.insert(plan.clone(), record.at_ms);
        } else if let (Body::Permitted { .. }, Some(since)) = (&record.body, holds.get(plan)) {
            self.waits_ms.push(record.at_ms.since(*since).ms());
        } else if let (Body::Approved { statement } | Body::Rejected { statement }, Some(since)) =
            (&record.body, holds.get(plan))
        {
            let approved = statement.statement.choice == Choice::Approve;
            let after_ms = record.at_ms.since(*since).ms();
            if !approved {
                self.waits_ms.push(after_ms);
            }
            let said = self.people.entry(statement.statement.approver.clone()).or_default();
            said.push(Said { approved, after_ms });
        }
        match record.body.word() {
            "expired" if holds.contains_key(plan) => one_more(&mut self.expired),
            "succeeded" => one_more(&mut self.succeeded),
            "undone" => one_more(&mut self.undone),
            "undo_failed" => one_more(&mut self.undo_failed),
            "failed" => one_more(&mut self.failed),
            "in_doubt" => one_more(&mut self.in_doubt),
            _ => {}
        }
    }
}
