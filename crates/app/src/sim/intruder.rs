//! Whoever goes past the gate: records written where they do not belong, permits, plans, leases and receipts used for what they
//! were not made for. All of it must be refused, and must leave no trace at targets and in the log.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id,
    actor::Actor,
    aftercare::{Found, ResolutionStatement, ResolutionType},
    approval::Choice,
    decision::Answer,
    flow::{Event, State},
    id::kind,
    lease::{Lease, LeaseInfo, LeaseSecret, Terms},
    permit::{Grant, Permit, compact},
    plan::Plan,
    record::{Body, DoubtWhy, FailWhy, Record, Submitted},
    signed::Signed,
};

use super::{Violation, book::Case, driver::Sim, scene};
use crate::{
    fake::{
        By, EXECUTOR_SEED, FakeSigner, PERMIT_SEED, controls::id, schedule::to_the_end, signed, statement,
    },
    port::{Clock as _, Issuer as _, Signer as _, Store as _, StoreError, Txn, Work},
    receipt::Receipt,
};

/// How many records are tried at once.
const BATTERY: usize = 6;
/// How the names of leases begin that the intruder has minted.
pub(super) const STOLEN: &str = "stolen-";

impl Sim {
    /// Somebody tries something that must be refused.
    pub(super) fn intrude(&mut self) {
        if self.rng.often(600) {
            for _ in 0..BATTERY {
                self.write_out_of_order();
            }
            return;
        }
        match self.rng.weighted(&[20, 20, 45, 15]) {
            0 => self.write_again(),
            1 => self.act_with_another_plan(),
            2 => self.act_after_a_newer_permit(),
            _ => self.mint_without_intent(),
        }
    }

    /// A record whose event the reviewed table refuses in its plan's state.
    fn write_out_of_order(&mut self) {
        let mut states: BTreeSet<State> =
            self.book.in_states(|_| true).iter().map(|case| case.state).collect();
        // A run passes through these in no time: whoever wants to meet it there must not wait.
        let brief: Vec<_> =
            states.iter().filter(|state| matches!(state, State::Stepped | State::Unwound)).copied().collect();
        // States that no plan rests in are passed through inside one transaction.
        states.extend([State::New, State::Proposed, State::Allowed]);
        let any: Vec<_> = states.into_iter().collect();
        let among = if brief.is_empty() { any } else { brief };
        let (state, event) =
            (*self.rng.pick(&among).expect("three at least"), Event::ALL[self.rng.below(24) as usize]);
        if self.book.allows(state, event) {
            return;
        }
        let resting = self.book.in_states(|of| of == state);
        let at = if resting.is_empty() { 0 } else { self.rng.below(resting.len() as u64) as usize };
        let case = self.book.in_states(|of| of == state).get(at).map(|case| case.id.clone());
        let plan = case.unwrap_or_else(|| id(&format!("intruded-{}", self.event)));
        let passed: &[Event] = match state {
            State::Proposed => &[Event::Propose],
            State::Allowed => &[Event::Propose, Event::Allow],
            _ => &[],
        };
        let bodies: Option<Vec<Body>> =
            passed.iter().chain([&event]).map(|event| self.body_of(*event, &plan)).collect();
        let Some(bodies) = bodies else { return };
        let now = self.stage.clock.now();
        let records =
            bodies.into_iter().map(|body| Record::new(now, Actor::Gate, Some(plan.clone()), body)).collect();
        match to_the_end(self.stage.store.append(Txn { records, ..Txn::default() })) {
            Err(StoreError::Flow(err)) if (err.state, err.event) == (state, event) => {
                self.book.coverage.reach(state, event);
            }
            Err(_) => {}
            Ok(_) => self.break_off("flow", format!("`{event}` was written to a plan that is `{state}`")),
        }
    }

    /// A body that brings an event about: made here, or borrowed from a record that was written.
    fn body_of(&self, event: Event, plan: &Id<kind::Plan>) -> Option<Body> {
        let digest = Digest::of_bytes(b"intruded");
        let borrowed = |event: Event| self.book.samples.get(&event).map(|record| record.body.clone());
        let decided = |answer: Answer| {
            let any = [Event::Allow, Event::Hold, Event::Deny, Event::Defer];
            let Body::Decided { mut decision, mut facts } = any.into_iter().find_map(borrowed)? else {
                return None;
            };
            decision.answer = answer;
            // Under the inputs in force, so that it is the state that refuses it.
            let active = self.book.inputs?;
            let steps = facts.steps().cloned().map(|mut step| {
                step.inputs = active;
                step
            });
            *facts = holdpoint_domain::facts::PlanFacts::new(steps.collect()).ok()?;
            Some(Body::Decided { decision, facts })
        };
        let said = |choice| {
            let terms = self.book.in_states(|_| true).into_iter().find_map(|case| case.terms.clone())?;
            let statement = Box::new(statement("bob", &terms, choice));
            Some(if choice == Choice::Approve {
                Body::Approved { statement }
            } else {
                Body::Rejected { statement }
            })
        };
        Some(match event {
            Event::Allow => decided(Answer::Allow)?,
            Event::Hold => decided(Answer::Hold)?,
            Event::Deny => decided(Answer::Deny)?,
            Event::Defer => decided(Answer::Defer)?,
            Event::Approve => said(Choice::Approve)?,
            Event::Reject => said(Choice::Reject)?,
            Event::Expire => Body::Expired,
            Event::Void => Body::Voided { worse: Vec::new() },
            Event::Rehearse => Body::Rehearsed { steps: 1 },
            Event::Apply => Body::Applying { step: 0, before: digest },
            Event::Advance => Body::Applied { step: 0, after: digest, last: false },
            Event::Observe => Body::Applied { step: 0, after: digest, last: true },
            Event::Succeed => Body::Succeeded { evidence: digest },
            Event::Fail => Body::Failed { why: FailWhy::Interrupted },
            Event::Undo => Body::Undoing { step: 0, from: digest, why: FailWhy::NotVerified },
            Event::Unwind => Body::Unwound { step: 0, version: digest },
            Event::FinishUndo => Body::Undone { version: digest },
            Event::FailUndo => Body::UndoFailed { why: FailWhy::NoUndo },
            Event::Doubt => Body::InDoubt { why: DoubtWhy::Unobservable },
            Event::Resolve => {
                Body::Resolved { statement: Box::new(resolution(plan, digest)), note: Submitted::Withheld }
            }
            Event::Propose | Event::Permit | Event::Claim | Event::Lease => borrowed(event)?,
        })
    }

    /// A record that the state allows, with a nonce, an epoch or a signature that was used before.
    fn write_again(&mut self) {
        let now = self.stage.clock.now();
        let held = self.book.in_states(|state| state == State::Held).last().map(|case| case.id.clone());
        let permitted =
            self.book.in_states(|state| state == State::Permitted).last().map(|case| case.id.clone());
        let (plan, body) = match self.rng.below(3) {
            0 => (permitted, self.book.samples.get(&Event::Claim).map(|record| record.body.clone())),
            1 => {
                let permit = self.book.samples.get(&Event::Permit).map(|record| record.body.clone());
                let stale = permit.and_then(|body| match body {
                    Body::Permitted { jws, .. } => {
                        let nonce = id(&format!("intruded-{}", self.event));
                        Some(Body::Permitted { jws, nonce, epoch: self.book.last_epoch })
                    }
                    _ => None,
                });
                (held, stale)
            }
            _ => {
                let case = held.as_ref().and_then(|plan| self.book.case(plan));
                let said = case.and_then(|case| case.statements.first().cloned());
                (held, said.map(|said| Body::Approved { statement: Box::new(said) }))
            }
        };
        let (Some(plan), Some(body)) = (plan, body) else { return };
        // A sample is of whatever inputs were in force then; what is tried is its nonce.
        let body = self.under_active_inputs(body);
        let word = body.word();
        let records = vec![Record::new(now, Actor::Gate, Some(plan), body)];
        if to_the_end(self.stage.store.append(Txn { records, ..Txn::default() })).is_ok() {
            let (checker, what) = match word {
                "approved" => ("inv05", "a second statement of one person"),
                "permitted" => ("inv02", "a permit with an epoch that was granted before"),
                _ => ("inv02", "a claim with a nonce that was used before"),
            };
            self.break_off(checker, format!("{what} was written"));
        }
    }

    fn under_active_inputs(&self, body: Body) -> Body {
        let Body::Claimed { permit, permit_digest, nonce, epoch, executors, facts, footprint } = body else {
            return body;
        };
        let steps = facts.steps().cloned().map(|mut step| {
            step.inputs = self.book.inputs.unwrap_or(step.inputs);
            step
        });
        let fresh = holdpoint_domain::facts::PlanFacts::new(steps.collect());
        let facts = fresh.map_or(facts, Box::new);
        Body::Claimed { permit, permit_digest, nonce, epoch, executors, facts, footprint }
    }

    /// The executor is called with a stolen lease: with another plan than the permit's, under a permit that names another executor,
    /// or with a lease that has ended.
    fn act_with_another_plan(&mut self) {
        let armed = |case: &&Case| case.leases.iter().any(|(_, lease)| self.outside.live.contains(&lease.id));
        let cases =
            self.book.in_states(|state| matches!(state, State::Leased | State::Rehearsed | State::Applying));
        let all = self.book.in_states(|state| !state.is_running());
        let (case, live) = match cases.into_iter().rfind(armed) {
            Some(case) => (case, true),
            None => match all.into_iter().rfind(|case| !case.leases.is_empty() && !armed(case)) {
                Some(case) => (case, false),
                None => return,
            },
        };
        let (Some((grant, jws)), Some((_, lease))) = (case.permit.clone(), case.leases.last()) else {
            return;
        };
        let lease = stolen(lease);
        let (mut plan, mut jws) = (case.plan.clone(), jws);
        let mut checker = "inv06";
        match self.rng.below(2) {
            _ if !live => checker = "inv08",
            0 => (plan, checker) = (of_incident(&plan, "tampered"), "inv04"),
            _ => {
                // Signed with the gate's own key: for an executor that is not this one.
                jws = sign(&Grant {
                    executors: [(
                        id("other-executor"),
                        FakeSigner::new(EXECUTOR_SEED).public_key().thumbprint(),
                    )]
                    .into(),
                    ..grant
                });
            }
        }
        let tried = to_the_end(self.gate.ports.executor.apply(Work {
            jws: &jws,
            plan: &plan,
            step: 0,
            lease: &lease,
        }));
        self.must_have_failed(checker, tried.is_ok(), "an executor acted for somebody who is not the gate");
    }

    /// Whoever has the gate's key signs an old permit anew, for a plan that fits the target as it is now. A target that has seen a
    /// newer permit refuses it.
    fn act_after_a_newer_permit(&mut self) {
        let newest = |case: &&Case| {
            let target = case.plan.steps().first().map(|step| &step.target);
            let epoch = case.permit.as_ref().map(|(grant, _)| grant.epoch);
            self.outside.moments.iter().any(|moment| {
                Some(&moment.target) == target && matches!(moment.by, By::Executor(by, _) if Some(by) > epoch)
            })
        };
        let old = |case: &&Case| case.claimed.is_some() && case.statements.is_empty();
        let Some(case) = self.book.in_states(|_| true).into_iter().filter(old).rfind(newest) else { return };
        let (Some((grant, _)), Some(intent)) = (case.permit.clone(), case.claimed) else { return };
        let steps = case.plan.steps().iter().cloned().map(|mut step| {
            step.expected_version = self.stage.world.thing(step.target.as_str()).version();
            step
        });
        let plan =
            Plan::new(case.plan.requester().clone(), None, case.plan.trigger().clone(), steps.collect())
                .expect("the plan was one before");
        let now = self.stage.clock.now();
        let late = now.plus(scene::ms(60_000)).expect("a simulation ends");
        let digest = plan.digest().expect("a plan has a canonical form");
        let (start_before_ms, undo_until_ms) = (late, late);
        let jws = sign(&Grant { plan: digest, start_before_ms, undo_until_ms, granted_at_ms: now, ..grant });
        let info = self.lease_for(&jws, &plan);
        let permit =
            Permit::open(&jws, &FakeSigner::new(PERMIT_SEED).public_key()).expect("it was signed just now");
        let Ok(receipt) =
            to_the_end(Receipt::fetch(self.stage.store.as_ref(), intent, &self.stage.store.log_key()))
        else {
            return;
        };
        let minted = to_the_end(self.stage.world.issue(info.clone(), &permit, &receipt, &plan));
        let tried = minted.map(|lease| {
            let work = Work { jws: &jws, plan: &plan, step: 0, lease: &lease };
            to_the_end(self.gate.ports.executor.apply(work)).is_ok()
        });
        let _ = to_the_end(self.stage.world.revoke(None, &info.id));
        self.must_have_failed("inv02", tried == Ok(true), "an executor acted under an old permit");
    }

    /// The issuer is asked for a lease with the receipt of another record than the permit's intent.
    fn mint_without_intent(&mut self) {
        let permitted = self.book.in_states(|state| state == State::Permitted || state.is_running());
        let Some(case) = permitted.last() else { return };
        let Some((grant, jws)) = case.permit.clone() else { return };
        let other = case.claimed.map_or(0, |intent| intent - 1);
        let late = self.stage.clock.now().plus(scene::ms(60_000)).expect("a simulation ends");
        let jws =
            if grant.undo_until_ms < late { sign(&Grant { undo_until_ms: late, ..grant }) } else { jws };
        let info = self.lease_for(&jws, &case.plan);
        let permit =
            Permit::open(&jws, &FakeSigner::new(PERMIT_SEED).public_key()).expect("it was signed just now");
        let plan = case.plan.clone();
        let Ok(receipt) =
            to_the_end(Receipt::fetch(self.stage.store.as_ref(), other, &self.stage.store.log_key()))
        else {
            return;
        };
        let minted = to_the_end(self.stage.world.issue(info.clone(), &permit, &receipt, &plan)).is_ok();
        let _ = to_the_end(self.stage.world.revoke(None, &info.id));
        self.must_have_failed("inv01", minted, "the issuer minted a lease without the receipt of an intent");
    }

    fn lease_for(&self, jws: &str, plan: &Plan) -> LeaseInfo {
        let permit =
            Permit::open(jws, &FakeSigner::new(PERMIT_SEED).public_key()).expect("it was signed just now");
        let lease = id(&format!("{STOLEN}{}", self.event));
        LeaseInfo::least(
            lease,
            &permit,
            &Terms::local(),
            plan.steps(),
            scene::ms(30_000),
            self.stage.clock.now(),
        )
        .expect("a simulation ends")
    }

    /// Nothing may have come of it, neither an answer nor a change of a target. The calls were not the gate's.
    fn must_have_failed(&mut self, checker: &'static str, went_well: bool, what: &str) {
        self.calls += self.stage.world.calls_from(self.calls).len();
        let changed = !self.stage.world.moments_from(self.outside.moments.len()).is_empty();
        if (went_well || changed) && self.violation.is_none() {
            self.say(what);
            self.violation = Some(Violation { checker, what: what.to_owned() });
        }
    }
}

fn sign(grant: &Grant) -> String {
    let input = grant.signing_input("fake-permit-key").expect("a grant has a canonical form");
    let signature = FakeSigner::new(PERMIT_SEED).sign(input.as_bytes());
    compact(&input, &signature)
}

fn stolen(lease: &LeaseInfo) -> Lease {
    Lease { info: lease.clone(), secret: LeaseSecret::new("stolen".to_owned()) }
}

/// The same steps for another incident: another plan.
fn of_incident(plan: &Plan, incident: &str) -> Plan {
    Plan::new(plan.requester().clone(), Some(id(incident)), plan.trigger().clone(), plan.steps().to_vec())
        .expect("the plan was one before")
}

fn resolution(plan: &Id<kind::Plan>, digest: Digest) -> Signed<ResolutionStatement> {
    let (r#type, found, resolver) = (ResolutionType::V1, Found::AsBefore, id("bob"));
    signed(ResolutionStatement { r#type, plan: plan.clone(), digest, seen: 0, resolver, found })
}
