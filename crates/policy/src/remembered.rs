//! Ladders that were answered: an agent asks about the same few targets again and again.
//!
//! An answer follows from the rules and the facts alone. The rules of a bundle never change, so an answer is good for facts that
//! are equal in every field, but for two that no rule sees: the control inputs, and the time unless a rule looks at it.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use holdpoint_domain::{Id, decision::Ladder, decision::Verdict, facts::Facts, id::kind};

/// Most answers that are remembered, of at most some five kilobytes each; past this it starts over.
const MAX_REMEMBERED: usize = 4_096;
/// Facts about more services are not remembered: they are as large as the services are many.
const MAX_SERVICES: usize = 64;

use crate::index::Looks;

/// Where to look: two questions with one key are told apart by their facts.
type Key = (Id<kind::Agent>, Id<kind::Action>, Id<kind::Target>);

/// The answers of one bundle.
#[derive(Debug, Default)]
pub(crate) struct Remembered(RwLock<HashMap<Key, Answered>>);

#[derive(Debug)]
struct Answered {
    facts: Facts,
    looks: Looks,
    ladder: Ladder,
}

impl Remembered {
    /// The answer to facts that are the same to every rule, and what the rules looked at.
    pub(crate) fn find(&self, facts: &Facts) -> Option<(Ladder, Looks)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Answered { facts: before, looks, ladder } = known.get(&key(facts)?)?;
        let in_time = !looks.at_time || before.at_ms == facts.at_ms;
        (in_time && same(before, facts)).then(|| (ladder.clone(), *looks))
    }

    /// Remembers an answer, but not one that failed: what came too late may come in time.
    pub(crate) fn keep(&self, facts: &Facts, looks: Looks, ladder: &Ladder) {
        let verdicts = [&ladder.t1, &ladder.t2, &ladder.t3, &ladder.t4];
        let failed = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Error { .. }));
        let Some(key) = key(facts).filter(|_| !failed && facts.blast.services.len() <= MAX_SERVICES) else {
            return;
        };
        let answered = Answered { facts: facts.clone(), looks, ladder: ladder.clone() };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(key, answered);
    }
}

fn key(facts: &Facts) -> Option<Key> {
    let target = facts.target.as_ref()?.id.clone();
    Some((facts.principal.agent.clone(), facts.action.id.clone(), target))
}

/// Whether every field is the same that a rule can see. A field that is added to the facts has to be named here, too.
fn same(one: &Facts, other: &Facts) -> bool {
    let Facts {
        r#type,
        principal,
        action,
        target,
        trigger,
        blast,
        undo,
        provenance,
        standing,
        brakes,
        inputs: _,
        at_ms: _,
    } = one;
    *r#type == other.r#type
        && *principal == other.principal
        && *action == other.action
        && *target == other.target
        && *trigger == other.trigger
        && *blast == other.blast
        && *undo == other.undo
        && *provenance == other.provenance
        && *standing == other.standing
        && *brakes == other.brakes
}
