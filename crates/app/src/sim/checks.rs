//! The checkers: what must hold of every entry, every call and every change of a target, whatever the gate thinks of itself.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{
    Digest, Id, Tier,
    action::{Reversibility, UndoKind},
    actor::Actor,
    decision::Answer,
    facts::Facts,
    flow::State,
    halt::Reach,
    id::kind,
    passkey::counter_follows,
    permit::needed,
    proof::{Credentials, Proof},
    record::{Body, Record},
    trigger::Truth,
};

use super::{
    Violation,
    book::{Book, Case},
};
use crate::{
    fake::{Asked, By, Call, Moment},
    port::ActedPhase,
};

type Checked = Result<(), Violation>;

/// A halt that somebody was told is in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) reach: Reach,
    /// It outlives the process.
    pub(super) kept: bool,
}

/// What the checkers know beside the book.
#[derive(Default)]
pub(super) struct Outside {
    /// Halts that were confirmed and that nobody lifted since.
    pub(super) halts: Vec<Known>,
    /// Leases that can be used now, as the issuer says.
    pub(super) live: BTreeSet<Id<kind::Lease>>,
    /// Who answers for which agent, and who is an administrator: as the control inputs of the scene have it.
    pub(super) owners: BTreeMap<Id<kind::Agent>, Id<kind::Person>>,
    pub(super) administrators: BTreeSet<Id<kind::Person>>,
    /// What people sign with, as the scene has it.
    pub(super) people: BTreeMap<Id<kind::Person>, Credentials>,
    /// All changes of targets so far.
    pub(super) moments: Vec<Moment>,
    /// Which step of which plan an executor was asked to apply.
    pub(super) asked: BTreeSet<(u64, usize)>,
}

fn broken(checker: &'static str, what: String) -> Checked {
    Err(Violation { checker, what })
}

/// Breaks where a condition does not hold.
fn holds(condition: bool, checker: &'static str, what: impl FnOnce() -> String) -> Checked {
    if condition { Ok(()) } else { broken(checker, what()) }
}

/// The version that a content has.
fn version(content: u64) -> Digest {
    Digest::of_bytes(&content.to_be_bytes())
}

/// A record that comes next, before the book takes it.
pub(super) fn record(book: &Book, outside: &Outside, record: &Record) -> Checked {
    let case = record.plan.as_ref().and_then(|plan| book.case(plan));
    if let Some(case) = case {
        of_case(book, outside, case, record)?;
    }
    if let Body::Decided { facts, .. } | Body::Claimed { facts, .. } = &record.body {
        let active = facts.steps().all(|facts| Some(facts.inputs) == book.inputs);
        holds(active, "inv13", || "decided by control inputs that are not in force".to_owned())?;
    }
    if let Body::Decided { decision, facts } = &record.body {
        // Nobody can tell is neither yes nor a matter for people.
        let unknown = |facts: &Facts| {
            facts.trigger.agreement.truth == Truth::Indeterminate
                && facts.action.reversibility != Reversibility::ReadOnly
        };
        let waits = matches!(decision.answer, Answer::Deny | Answer::Defer) || !facts.steps().any(unknown);
        holds(waits, "inv03", || "decided on a trigger that nobody could tell".to_owned())?;
    }
    if let Some((passkey, counter)) = record.body.proof().and_then(Proof::counter) {
        let last = book.counters.get(passkey).copied().unwrap_or(0);
        holds(counter_follows(last, counter), "inv05", || {
            format!("passkey {passkey} was at {last}, and counted at {counter}: there are two of it")
        })?;
    }
    match &record.body {
        Body::Resumed { statement } => {
            let Actor::Person { person } = &record.actor else {
                return broken("inv15", "nobody let it go on after a halt".to_owned());
            };
            let theirs = outside.people.get(person).filter(|_| statement.statement.by == *person);
            let signed = theirs.is_some_and(|theirs| statement.check(theirs).is_ok());
            holds(signed, "inv15", || {
                format!("`{person}` let it go on after a halt, and did not sign that")
            })?;
            let may = outside.administrators.contains(person);
            holds(may, "inv15", || format!("`{person}` let it go on after a halt, and is no administrator"))
        }
        Body::Revoked { lease } => {
            let dead = !outside.live.contains(lease);
            holds(dead, "inv08", || format!("lease {lease} is recorded as revoked and can be used"))
        }
        _ => Ok(()),
    }
}

fn of_case(book: &Book, outside: &Outside, case: &Case, record: &Record) -> Checked {
    let name = &case.name;
    match &record.body {
        Body::Approved { statement } => {
            let terms = case.terms.as_ref();
            let person = &statement.statement.approver;
            holds(Some(&statement.statement.terms) == terms, "inv05", || {
                format!("`{person}` approved other terms than those of {name}")
            })?;
            let in_time = terms.is_some_and(|terms| record.at_ms < terms.expires_at_ms);
            holds(in_time, "inv05", || format!("{name} was approved after its hold had ended"))?;
            let twice = case.statements.iter().any(|earlier| earlier.statement.approver == *person);
            holds(!twice, "inv05", || format!("`{person}` decided on {name} twice"))
        }
        Body::Permitted { jws: _, nonce, epoch } => {
            holds(*epoch > book.last_epoch, "inv02", || {
                format!("epoch {epoch} of {name} is not above the last")
            })?;
            holds(!book.used.contains(nonce), "inv02", || format!("the nonce of {name} was used before"))?;
            consented(outside, case)
        }
        Body::Claimed { nonce, facts, .. } => {
            holds(case.claimed.is_none(), "inv02", || format!("{name} was claimed twice"))?;
            holds(!book.used.contains(nonce), "inv02", || format!("{name} was claimed with a used nonce"))?;
            let grant = case.permit.as_ref().map(|(grant, _)| grant);
            let ours = grant.is_some_and(|grant| grant.nonce == *nonce);
            holds(ours, "inv02", || format!("{name} was claimed with the nonce of another permit"))?;
            let in_time = grant.is_some_and(|grant| record.at_ms < grant.start_before_ms);
            holds(in_time, "inv02", || format!("{name} was claimed when its start window was over"))?;
            let decided = case.decided.as_ref().map(|(_, facts)| facts.steps().collect::<Vec<_>>());
            for (at, (step, fresh)) in case.plan.steps().iter().zip(facts.steps()).enumerate() {
                let seen = fresh.target.as_ref();
                let same =
                    seen.is_some_and(|seen| seen.id == step.target && seen.version == step.expected_version);
                holds(same, "inv02", || format!("{name} was claimed, and step {at} has another version"))?;
                let was = decided.as_ref().and_then(|steps| steps.get(at));
                let proven = was.is_some_and(|was| was.trigger.agreement.truth == Truth::Holds);
                let still = !proven || fresh.trigger.agreement.truth == Truth::Holds;
                holds(still, "inv02", || format!("{name} was claimed, and its trigger is gone"))?;
            }
            let targets = case.plan.targets();
            let other = book.in_states(State::is_running).into_iter();
            let held = other
                .filter(|other| other.id != case.id)
                .find(|other| !other.plan.targets().is_disjoint(&targets));
            let why = || held.map_or_else(String::new, |held| format!("`{}` {}", held.state, held.name));
            holds(held.is_none(), "inv03", || format!("{name} was claimed on a target that {} holds", why()))
        }
        Body::Leased { lease } | Body::LeasedAgain { lease } => {
            let grant = case.permit.as_ref().map(|(grant, _)| grant);
            let within = grant
                .is_some_and(|grant| lease.expires_at_ms <= grant.undo_until_ms && lease.permit == grant.id);
            holds(within, "inv08", || format!("lease {} outlives the permit of {name}", lease.id))
        }
        Body::Applied { step, after, .. } => {
            let did = moments_of(outside, case).any(|moment| {
                is_step(case, *step, moment)
                    && phase_of(moment) == Some(ActedPhase::Applied)
                    && version(moment.after) == *after
            });
            holds(did, "inv16", || {
                format!("step {step} of {name} is recorded as applied, and its target knows of nothing")
            })
        }
        Body::Failed { .. } => {
            let touched = moments_of(outside, case).next().is_some();
            holds(!touched, "inv03", || {
                format!("{name} failed with nothing left changed, and a target was changed")
            })
        }
        Body::Undone { .. } => undone(outside, case),
        Body::Resolved { statement, .. } => {
            let theirs = outside.people.get(&statement.statement.resolver);
            let signed = theirs.is_some_and(|theirs| statement.check(theirs).is_ok());
            holds(signed, "inv03", || format!("{name} was resolved by nobody"))?;
            let armed = case.leases.iter().any(|(_, lease)| outside.live.contains(&lease.id));
            holds(!armed, "inv08", || format!("{name} was resolved while a lease of it can be used"))
        }
        _ => Ok(()),
    }
}

/// Invariant 5: enough people, each once, none who answers for the agent, each with their own signature.
fn consented(outside: &Outside, case: &Case) -> Checked {
    let name = &case.name;
    let Some((decision, facts)) = &case.decided else {
        return broken("inv01", format!("{name} has a permit and no decision"));
    };
    let wanted = match decision.answer {
        Answer::Allow => needed(decision.tier),
        Answer::Hold => needed(decision.tier).max(1),
        Answer::Deny | Answer::Defer => {
            return broken(
                "inv01",
                format!("{name} has a permit, and the decision is `{}`", decision.answer),
            );
        }
    };
    let entries = facts.steps().filter_map(|step| step.action.approvals.as_ref());
    let asked = entries.map(holdpoint_domain::quorum::Quorum::needed).max();
    let wanted = wanted.max(asked.filter(|_| !case.plan.requester().is_emergency()).unwrap_or(0));
    let alone = decision.tier <= Tier::T2 || wanted > 0;
    holds(alone, "inv05", || format!("{name} has tier {} and nobody was asked", decision.tier))?;
    let owner = outside.owners.get(&case.plan.requester().agent);
    let (mut people, mut acts) = (BTreeSet::new(), BTreeSet::new());
    for signed in &case.statements {
        let person = &signed.statement.approver;
        let theirs = outside.people.get(person);
        let bytes = signed.statement.signing_bytes().expect("a statement has a canonical form");
        let own = theirs.is_some_and(|theirs| theirs.check(&signed.signature, &bytes).is_ok());
        holds(own, "inv05", || format!("an approval of {name} is not signed by `{person}`"))?;
        holds(owner != Some(person), "inv05", || format!("`{person}` approved {name} of their own agent"))?;
        let used = match &signed.signature {
            Proof::Key(_) => None,
            Proof::Passkey(made) => Some(&made.credential),
        };
        holds(used.is_some() || decision.tier < Tier::T4, "inv05", || {
            format!("`{person}` approved {name} of tier {} with a key in a file", decision.tier)
        })?;
        people.insert(person.clone());
        let passkeys = theirs.map_or(&[][..], |theirs| &theirs.passkeys);
        acts.extend(passkeys.iter().filter(|passkey| Some(&passkey.id) == used).map(|passkey| &passkey.act));
    }
    let of_different_acts = decision.tier < Tier::T4 || acts.len() as u64 >= u64::from(wanted);
    holds(of_different_acts, "inv05", || format!("{name} was approved by people whom one act enrolled"))?;
    let got = people.len() as u64;
    holds(got >= u64::from(wanted), "inv05", || format!("{name} needs {wanted} people, and has {got}"))
}

/// Invariants 3 and 16: what ended as undone is undone, as far as its actions can be.
fn undone(outside: &Outside, case: &Case) -> Checked {
    let put_back =
        |undo: UndoKind| !matches!(undo, UndoKind::SelfHeals | UndoKind::Compensate | UndoKind::None);
    for (number, step) in (0..).zip(case.plan.steps()) {
        let ours: Vec<_> = moments_of(outside, case).filter(|moment| is_step(case, number, moment)).collect();
        let last = ours.last().and_then(|moment| phase_of(moment));
        let fine = last.is_none() || last == Some(ActedPhase::Undone) || !put_back(step.undo);
        holds(fine, "inv16", || format!("{} is recorded as undone, and step {number} was left", case.name))?;
    }
    Ok(())
}

fn moments_of<'a>(outside: &'a Outside, case: &'a Case) -> impl Iterator<Item = &'a Moment> {
    let epoch = case.permit.as_ref().map(|(grant, _)| grant.epoch);
    outside.moments.iter().filter(move |moment| matches!(moment.by, By::Executor(by, _) if Some(by) == epoch))
}

fn is_step(case: &Case, number: u32, moment: &Moment) -> bool {
    case.plan.steps().get(number as usize).is_some_and(|step| step.target == moment.target)
}

const fn phase_of(moment: &Moment) -> Option<ActedPhase> {
    match moment.by {
        By::Somebody => None,
        By::Executor(_, phase) => Some(phase),
    }
}

/// A call that reached a port of the world.
pub(super) fn call(book: &Book, outside: &mut Outside, call: &Call) -> Checked {
    let case = call.epoch.and_then(|epoch| book.by_epoch.get(&epoch)).and_then(|plan| book.case(plan));
    let name = case.map_or_else(|| "nobody".to_owned(), |case| case.name.clone());
    let durable = |index: Option<&u64>| index.is_some_and(|index| *index < call.ledger_size);
    let halted = |reach: Reach| outside.halts.iter().any(|known| known.reach >= reach);
    if case.is_none() && !matches!(call.asked, Asked::Revoke(_)) {
        return broken("inv01", format!("{:?} under a permit that is not in the log", call.asked));
    }
    if let Some(case) = case {
        let intent = durable(case.claimed.as_ref());
        holds(intent, "inv01", || format!("{:?} for {name} before its intent was durable", call.asked))?;
        let same = call.plan.is_none_or(|plan| plan == case.digest);
        holds(same, "inv04", || format!("{:?} for {name} with another plan than was approved", call.asked))?;
    }
    let step = call.step as u32;
    match &call.asked {
        Asked::Issue(lease) => {
            let announced = book.leases.get(&lease.id).map(|(_, index)| index);
            holds(durable(announced), "inv01", || format!("lease {} of {name} was not announced", lease.id))?;
            let first = book.first_leases.contains(&lease.id);
            holds(!first || !halted(Reach::Soft), "inv15", || format!("a lease for {name} under a halt"))
        }
        Asked::Revoke(lease) => {
            let announced = book.leases.get(lease).map(|(_, index)| index);
            holds(durable(announced), "inv01", || format!("lease {lease} was ended and never announced"))
        }
        Asked::Rehearse => {
            let leased = case.and_then(|case| case.leases.first()).map(|(index, _)| index);
            holds(durable(leased), "inv01", || format!("{name} was rehearsed without a lease"))
        }
        Asked::Apply => {
            let announced = case.and_then(|case| case.applying.get(&step));
            holds(durable(announced), "inv01", || format!("step {step} of {name} was not announced"))?;
            let first = call.epoch.is_none_or(|epoch| outside.asked.insert((epoch, call.step)));
            holds(first, "inv03", || format!("step {step} of {name} was tried again"))?;
            let halted = outside.halts.iter().any(|known| known.reach >= Reach::Soft);
            holds(!halted, "inv15", || format!("step {step} of {name} was begun under a halt"))
        }
        Asked::Undo => {
            let announced = case.and_then(|case| case.undoing.get(&step));
            holds(durable(announced), "inv01", || {
                format!("the undo of step {step} of {name} was not announced")
            })?;
            holds(!halted(Reach::Hard), "inv15", || format!("the undo of {name} was begun under a hard halt"))
        }
    }
}

/// A change of a target.
pub(super) fn moment(book: &Book, outside: &Outside, moment: &Moment) -> Checked {
    let By::Executor(epoch, phase) = moment.by else { return Ok(()) };
    let target = &moment.target;
    let Some(case) = book.by_epoch.get(&epoch).and_then(|plan| book.case(plan)) else {
        return broken("inv06", format!("{target} was changed under a permit that is not in the log"));
    };
    let name = &case.name;
    let step = case.plan.steps().iter().position(|step| step.target == *target);
    let Some(number) = step else {
        return broken("inv06", format!("{target} was changed for {name}, which does not name it"));
    };
    let earlier = || outside.moments.iter().filter(|earlier| earlier.target == *target);
    let fence = earlier().filter_map(|earlier| match earlier.by {
        By::Executor(epoch, _) => Some(epoch),
        By::Somebody => None,
    });
    let fence = fence.max().unwrap_or(0);
    holds(epoch >= fence, "inv02", || {
        format!("{target} was changed for {name}, and had seen a newer permit")
    })?;
    // An undo, too, may be left half done: it counts as one from the record that announces it on.
    let undoes = phase == ActedPhase::Undone
        || phase == ActedPhase::Begun && case.undoing.contains_key(&(number as u32));
    if undoes {
        let last = earlier().next_back().map(|earlier| earlier.by);
        let ours = last == Some(By::Executor(epoch, ActedPhase::Applied));
        holds(ours, "inv02", || format!("the undo of {name} took back on {target} what was not its own"))?;
        let open = matches!(case.state, State::Undoing | State::InDoubt);
        return holds(open, "inv03", || {
            format!("{target} was put back for {name}, which is `{}`", case.state)
        });
    }
    let expected = case.plan.steps().get(number).map(|step| step.expected_version);
    holds(Some(version(moment.before)) == expected, "inv02", || {
        format!("step {number} of {name} changed {target}, which had another version")
    })?;
    let again = earlier().any(|earlier| matches!(earlier.by, By::Executor(by, _) if by == epoch));
    holds(!again, "inv02", || format!("step {number} of {name} changed {target} twice"))?;
    let open = matches!(case.state, State::Applying | State::InDoubt);
    holds(open, "inv03", || format!("{target} was changed for {name}, which is `{}`", case.state))
}
