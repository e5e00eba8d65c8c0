//! What agents, people and the gate's own clockwork ask for: mostly what makes sense, sometimes twice, late, or not theirs.

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_domain::{
    Id, Tier,
    actor::{Identity, Phase},
    aftercare::{Answers, Found, ResolutionStatement, ResolutionType, ReviewStatement, ReviewType},
    approval::{Choice, HoldTerms, SignedStatement},
    change::{ChangeStatement, ChangeStatementType, Control},
    flow::State,
    halt::{Halt, Reach, ResumeStatement},
    id::kind,
    passkey::Authenticator,
    record::Request,
};

use super::{
    book::Case,
    driver::Sim,
    scene::{ACTIONS, PEOPLE, TARGETS},
    task::{Asking, Doing, Done},
};
use crate::{
    approve::decide_hold,
    change,
    fake::{
        asserted_with,
        controls::{self, id, passkey},
        session, signed, signed_with, statement,
    },
    halt, recover, resolve, review,
    run::run,
};

impl Sim {
    /// Somebody asks for something.
    pub(super) fn request(&mut self) {
        // Now and then a request still reaches the gate under the inputs before.
        if self.rng.often(900) {
            self.take_activated();
        }
        // A halt is lifted before long, so that something happens.
        let lifts = if self.halted().is_some() { 30 } else { 2 };
        // And an undo makes people think of one.
        let halts = if self.is_undoing() { 12 } else { 3 };
        match self.rng.weighted(&[22, 20, 34, 12, 6, halts, lifts, 9, 6, 3]) {
            0 => self.proposes(),
            1 => self.decides(),
            2 => self.runs(),
            3 => self.resumes_runs(),
            4 => self.ticks(),
            5 => self.halts(),
            6 => self.lets_go_on(),
            7 => self.reviews(),
            8 => self.resolves(),
            _ => self.changes_inputs(),
        }
    }

    fn person(&mut self) -> &'static str {
        PEOPLE[self.rng.weighted(&[25, 35, 35, 5])]
    }

    fn asking(&self, request: Request, identity: &Identity) -> Option<Asking> {
        Some(Asking { request, known: self.knows(identity) })
    }

    fn proposes(&mut self) {
        let (agent, phase) = match self.rng.weighted(&[70, 22, 4, 4]) {
            0 => ("healer", Phase::Decide),
            1 => ("scout", Phase::Decide),
            2 => ("scout", Phase::Observe),
            _ => ("nobody", Phase::Decide),
        };
        let identity = Identity::Agent { agent: id(agent), phase };
        let mut targets = TARGETS.to_vec();
        let steps = 1 + self.rng.weighted(&[55, 30, 15]);
        let mut wanted = Vec::new();
        for _ in 0..steps {
            let at = self.rng.weighted(&[30, 30, 30, 5, 5][..targets.len().min(5)]);
            let target = targets.remove(at);
            // What is proposed is mostly about what needs it.
            if self.rng.often(800) {
                self.stage.world.change(target, |thing| thing.healthy = false);
            }
            wanted.push((ACTIONS[self.rng.weighted(&[30, 50, 14, 6])], target));
        }
        let mut proposal = self.stage.proposal_of(&wanted);
        if self.rng.often(200) {
            proposal.incident = Some(id("incident-1"));
        }
        let asking = self.asking(Request::Propose, &identity);
        for _ in 0..=u64::from(self.rng.often(100)) {
            let (gate, party, proposal) = (Arc::clone(&self.gate), identity.clone().into(), proposal.clone());
            let doing: Doing = Box::pin(async move {
                Done::Proposed(crate::propose::propose(&gate, &party, proposal).await.map(Box::new))
            });
            self.spawn(format!("propose {wanted:?} by {agent}"), asking, doing);
        }
    }

    /// One of the cases, mostly one in a state that is wanted.
    fn some_case(&mut self, wanted: impl Fn(&Case) -> bool) -> Option<&Case> {
        let all = self.book.in_states(|_| true);
        let fitting: Vec<_> =
            all.iter().copied().filter(|case| wanted(case)).map(|case| case.id.clone()).collect();
        let any: Vec<_> = all.into_iter().map(|case| case.id.clone()).collect();
        let among = if fitting.is_empty() || self.rng.often(80) { any } else { fitting };
        let picked = self.rng.pick(&among).cloned()?;
        self.book.case(&picked)
    }

    fn decides(&mut self) {
        let Some((plan, terms)) = self
            .some_case(|case| case.state == State::Held)
            .and_then(|case| Some((case.name.clone(), case.terms.clone()?)))
        else {
            return;
        };
        let person = self.person();
        let choice = if self.rng.often(850) { Choice::Approve } else { Choice::Reject };
        let mut said = self.says(person, &terms, choice);
        let mut session_of = person;
        match self.rng.weighted(&[860, 50, 50, 40]) {
            1 => said = signed_with(77, person, &terms, choice),
            2 => session_of = self.person(),
            // The words of one hold for another.
            3 => {
                let other = self.some_case(|case| case.terms.is_some()).and_then(|case| case.terms.clone());
                said = other.map_or(said, |other| statement(person, &other, choice));
            }
            _ => {}
        }
        let identity = session(session_of);
        let asking = self.asking(Request::Decide, &identity);
        for _ in 0..=u64::from(self.rng.often(200)) {
            let (gate, identity, hold, said) =
                (Arc::clone(&self.gate), identity.clone(), terms.hold.clone(), said.clone());
            let doing: Doing =
                Box::pin(async move { Done::Decided(decide_hold(&gate, &identity, &hold, said).await) });
            self.spawn(format!("{choice:?} {plan} by {person}"), asking, doing);
        }
    }

    /// A statement on a hold, with what this person signs with; from T4 on sometimes with what must not count there.
    fn says(&mut self, person: &str, terms: &HoldTerms, choice: Choice) -> SignedStatement {
        if terms.tier < Tier::T4 {
            return statement(person, terms, choice);
        }
        let own = passkey_of(person);
        let last = self.book.counters.get(&own.passkey.id).copied().unwrap_or(0);
        // Alice's passkey has no counter.
        let next = if person == "alice" { 0 } else { last + 1 };
        let asserted = asserted_with(&own, next, person, terms, choice);
        match self.rng.weighted(&[700, 80, 60, 60, 100]) {
            0 => asserted,
            // A key in a file.
            1 => signed_with(seed_of(person), person, terms, choice),
            // Somebody else's passkey.
            2 => asserted_with(&passkey_of(self.person()), next, person, terms, choice),
            // What this or another passkey signed for another hold.
            3 => {
                let statements = self.book.in_states(|_| true).into_iter().flat_map(|case| &case.statements);
                let earlier: Vec<_> = statements.map(|said| said.signature.clone()).collect();
                let signature = self.rng.pick(&earlier).cloned();
                SignedStatement { signature: signature.unwrap_or(asserted.signature), ..asserted }
            }
            // A copy of the passkey, which does not know how far the other one has counted.
            _ => asserted_with(&own, last.saturating_sub(self.rng.below(2) as u32), person, terms, choice),
        }
    }

    /// Whether a run of a plan is driven by this process.
    fn is_driven(&self, plan: &Id<kind::Plan>) -> bool {
        self.tasks.iter().any(|task| !task.orphan && task.drives.as_ref() == Some(plan))
    }

    fn runs(&mut self) {
        let found = self.some_case(|case| case.state == State::Permitted);
        let Some((plan, name)) = found.map(|case| (case.id.clone(), case.name.clone())) else { return };
        if self.is_driven(&plan) && !self.rng.often(150) {
            return;
        }
        for _ in 0..=u64::from(self.rng.often(100)) {
            let (gate, of) = (Arc::clone(&self.gate), plan.clone());
            let doing: Doing = Box::pin(async move { Done::Ticked(run(&gate, &of).await.map(drop)) });
            self.spawn(format!("run {name}"), None, doing).drives = Some(plan.clone());
        }
    }

    /// What the clockwork does with runs that nobody drives any more.
    pub(super) fn resumes_runs(&mut self) {
        let open = self.book.in_states(|state| state.is_running() && state != State::InDoubt);
        let open: Vec<_> = open.into_iter().map(|case| (case.id.clone(), case.name.clone())).collect();
        for (plan, name) in open {
            // A mistake of whoever calls is refused by the store, and must not hurt.
            if self.is_driven(&plan) && !self.rng.often(20) {
                continue;
            }
            let (gate, of) = (Arc::clone(&self.gate), plan.clone());
            let doing: Doing =
                Box::pin(async move { Done::Ticked(recover::resume(&gate, &of).await.map(drop)) });
            self.spawn(format!("resume {name}"), None, doing).drives = Some(plan);
        }
    }

    pub(super) fn ticks(&mut self) {
        let gate = Arc::clone(&self.gate);
        let doing: Doing = Box::pin(async move {
            let recorded = halt::record_halt(&gate).await;
            Done::Ticked(recorded.and(recover::tick(&gate).await))
        });
        self.spawn("tick".to_owned(), None, doing);
    }

    fn halts(&mut self) {
        // Only a hard one stops an undo.
        let soft = if self.is_undoing() { 300 } else { 650 };
        let reach = if self.rng.often(soft) { Reach::Soft } else { Reach::Hard };
        let person = self.person();
        let identity = session(person);
        let asking = self.asking(Request::Halt, &identity);
        let gate = Arc::clone(&self.gate);
        let doing: Doing =
            Box::pin(async move { Done::Halted(reach, halt::halt(&gate, &identity, reach).await) });
        self.spawn(format!("halt {reach} by {person}"), asking, doing);
    }

    fn is_undoing(&self) -> bool {
        !self.book.in_states(|state| matches!(state, State::Undoing | State::Unwound)).is_empty()
    }

    fn lets_go_on(&mut self) {
        if self.halted().is_none() && !self.rng.often(300) {
            return;
        }
        let person = self.person();
        let identity = session(person);
        let asking = self.asking(Request::Resume, &identity);
        let gate = Arc::clone(&self.gate);
        let about = gate.halted().unwrap_or(Halt { reach: Reach::Soft, by: None, at_ms: gate.now() });
        let origin = gate.ports.store.head().origin.clone();
        let who = if self.rng.often(900) { person } else { self.person() };
        let said = signed(ResumeStatement::new(origin, about, id(who)));
        let doing: Doing =
            Box::pin(async move { Done::Answered(halt::resume(&gate, &identity, said).await) });
        self.spawn(format!("let it go on, says {person}"), asking, doing);
    }

    fn reviews(&mut self) {
        let Some(case) = self.some_case(|case| case.owes) else { return };
        let (plan, digest, seen, name) = (case.id.clone(), case.digest, case.last_index, case.name.clone());
        let person = self.person();
        let may_go_on = self.rng.often(900);
        let answers = Answers { trigger_was_real: true, did_what_it_should: true, may_go_on };
        let r#type = ReviewType::V1;
        let said = signed(ReviewStatement {
            r#type,
            plan: plan.clone(),
            digest,
            seen,
            reviewer: id(person),
            answers,
        });
        let identity = session(person);
        let asking = self.asking(Request::Review, &identity);
        let gate = Arc::clone(&self.gate);
        let doing: Doing = Box::pin(async move {
            Done::Answered(review::review(&gate, &identity, &plan, said, Some("seen")).await)
        });
        self.spawn(format!("review {name} by {person}"), asking, doing);
    }

    fn resolves(&mut self) {
        let Some(case) = self.some_case(|case| case.state == State::InDoubt) else { return };
        let (plan, digest, seen, name) = (case.id.clone(), case.digest, case.last_index, case.name.clone());
        let person = self.person();
        let found = [Found::AsBefore, Found::AsPlanned, Found::PutRight][self.rng.below(3) as usize];
        let r#type = ResolutionType::V1;
        let said =
            ResolutionStatement { r#type, plan: plan.clone(), digest, seen, resolver: id(person), found };
        let (said, identity) = (signed(said), session(person));
        let asking = self.asking(Request::Resolve, &identity);
        let gate = Arc::clone(&self.gate);
        let doing: Doing =
            Box::pin(
                async move { Done::Answered(resolve::resolve(&gate, &identity, &plan, said, None).await) },
            );
        self.spawn(format!("resolve {name} by {person}"), asking, doing);
    }

    fn changes_inputs(&mut self) {
        let person = self.person();
        let identity = session(person);
        let gate = Arc::clone(&self.gate);
        let open = self.book.changes.last().filter(|_| self.rng.often(700)).cloned();
        let Some(terms) = open else {
            let control = Control::ALL[self.rng.below(Control::ALL.len() as u64) as usize];
            let files = BTreeMap::from([(control.to_string(), format!("text {}", self.event))]);
            let asking = self.asking(Request::Change, &identity);
            let doing: Doing = Box::pin(async move {
                Done::Answered(change::propose(&gate, &identity, control, files).await.map(drop))
            });
            self.spawn(format!("change of the {control} by {person}"), asking, doing);
            return;
        };
        let choice = if self.rng.often(900) { Choice::Approve } else { Choice::Reject };
        let (change, r#type) = (terms.id.clone(), ChangeStatementType::V1);
        let said = signed(ChangeStatement { r#type, terms, approver: id(person), choice });
        let asking = self.asking(Request::DecideChange, &identity);
        let doing: Doing = Box::pin(async move {
            Done::Answered(change::decide(&gate, &identity, &change, said).await.map(drop))
        });
        self.spawn(format!("{choice:?} the last change, says {person}"), asking, doing);
    }

    /// Requests from now on go to the gate under the control inputs that are in force.
    fn take_activated(&mut self) {
        let last = self.stage.inputs.activated().pop().map(|(_, gate)| gate);
        if let Some(gate) = last.filter(|gate| Some(gate.inputs) == self.book.inputs) {
            // One that an earlier process had put in force has the ports of that process.
            if Arc::ptr_eq(&gate.ports.store, &self.gate.ports.store) {
                self.gate = gate;
            }
        }
    }
}

fn seed_of(person: &str) -> u8 {
    controls::PEOPLE.iter().find(|(name, _)| *name == person).map_or(99, |(_, seed)| *seed)
}

fn passkey_of(person: &str) -> Authenticator {
    passkey(person, seed_of(person))
}
