//! Halt and resume: in memory and in a synced latch file first, in the ledger as soon as it can be.

use holdpoint_domain::{
    actor::{Actor, Identity},
    halt::{Halt, Reach, ResumeStatement},
    record::{Body, Record, Request},
    signed::Signed,
};

use crate::{
    gate::Gate,
    port::Txn,
    propose::record_refusal,
    refusal::{Blame, Refusal},
    statement::{person, signer},
};

/// What a halt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltDone {
    /// The halt in force.
    pub halt: Halt,
    /// It is on disk: in force across a restart.
    pub latched: bool,
    /// It is in the ledger. Where it is not yet, the gate goes on trying.
    pub recorded: bool,
}

/// Halts everything. Any person in the registry may: a halt too many costs less than one too few. It is in force when this returns,
/// whatever the disk and the store do.
pub async fn halt(gate: &Gate, identity: &Identity, reach: Reach) -> Result<HaltDone, Refusal> {
    let by = match person(gate, identity) {
        Ok(person) => person.id.clone(),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Halt, &refusal).await?;
            return Err(refusal);
        }
    };
    let halt = Halt { reach, by: Some(by), at_ms: gate.now() };
    let latched = match gate.ports.latch.set(&halt) {
        Ok(()) => true,
        Err(err) => {
            tracing::error!("the halt is in force in memory, and not on disk: {err}");
            false
        }
    };
    // If we stop here, the latch file halts the next start, and `record_halt` writes it down then.
    let body = Body::Halted { halt: halt.clone() };
    let recorded = append(gate, Record::new(gate.now(), identity.actor(), None, body)).await;
    Ok(HaltDone { halt: gate.halted().unwrap_or(halt), latched, recorded })
}

/// Writes down a halt that is in force and not in the ledger: one that came while the store had no room, or one that somebody put
/// into the latch file on the machine. Does nothing while the end of one is being recorded: until the latch is cleared, it would look
/// like one that is not in the ledger, and would be in force again by the ledger alone.
pub async fn record_halt(gate: &Gate) -> Result<(), Refusal> {
    let Some(_nobody_resumes) = gate.ending().try_lock() else { return Ok(()) };
    if let Some(record) = unrecorded(gate) {
        append(gate, record).await;
    }
    Ok(())
}

/// The record of a halt that is in force and not in the ledger.
fn unrecorded(gate: &Gate) -> Option<Record> {
    let halt = gate.ports.latch.halt()?;
    let known = gate.ports.store.halt();
    if known.is_some_and(|known| known.reach >= halt.reach) {
        return None;
    }
    let actor = halt.by.as_ref().map_or(Actor::Gate, |by| Actor::Person { person: by.clone() });
    Some(Record::new(gate.now(), actor, None, Body::Halted { halt }))
}

async fn append(gate: &Gate, record: Record) -> bool {
    let txn = Txn { records: vec![record], essential: true, ..Txn::default() };
    match gate.ports.store.append(txn).await {
        Ok(_) => true,
        Err(err) => {
            tracing::error!("the halt is in force, and not in the ledger yet: {err}");
            false
        }
    }
}

/// Lets it go on. Only an administrator may; in the ledger first, so that nothing starts whose permission nobody could find.
pub async fn resume(
    gate: &Gate,
    identity: &Identity,
    signed: Signed<ResumeStatement>,
) -> Result<(), Refusal> {
    match attempt(gate, identity, signed).await {
        Ok(()) => Ok(()),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Resume, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(gate: &Gate, identity: &Identity, signed: Signed<ResumeStatement>) -> Result<(), Refusal> {
    let person = signer(gate, identity, &signed)?;
    if !person.administrator {
        let fact = format!("`{}` is not an administrator", person.id);
        return Err(Refusal::new(
            Blame::Forbidden,
            "not-an-administrator",
            fact,
            "an administrator must resume",
        ));
    }
    let _ending = gate.ending().lock().await;
    let Some(in_force) = gate.halted() else {
        return Err(Refusal::new(
            Blame::Conflict,
            "not-halted",
            "no halt is in force",
            "nothing needs to be done",
        ));
    };
    let about = &signed.statement;
    if about.halt != in_force || about.origin != gate.ports.store.head().origin {
        let fact = "the statement is about another halt than the one in force";
        return Err(Refusal::new(Blame::Conflict, "other-halt", fact, "look at the halt and sign anew"));
    }
    let lifted = gate.ports.latch.halt();
    // A halt that is not recorded yet is recorded with its end, or neither is.
    let mut records: Vec<_> = unrecorded(gate).into_iter().collect();
    records.push(Record::new(
        gate.now(),
        identity.actor(),
        None,
        Body::Resumed { statement: Box::new(signed) },
    ));
    gate.ports
        .store
        .append(Txn { records, essential: true, expect_inputs: Some(gate.inputs), ..Txn::default() })
        .await?;
    // Whoever halted while this was being recorded is not meant by it. Theirs may be in the latch alone, so the latch stays.
    if gate.ports.latch.halt() != lifted {
        let fact = "somebody halted again while this was being recorded";
        return Err(Refusal::new(Blame::Conflict, "halted-again", fact, "ask them, and try again"));
    }
    // If we stop here, the latch file halts the next start: somebody resumes once more.
    gate.ports.latch.clear().map_err(|err| {
        let next = "remove the latch file, or try again";
        Refusal::new(Blame::Us, "still-halted", format!("the latch file cannot be removed: {err}"), next)
    })
}
