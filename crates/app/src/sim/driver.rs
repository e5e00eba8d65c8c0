//! The loop: one event after the other, each drawn from the seed, with every checker asked after each.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use holdpoint_domain::{Digest, actor::Identity, halt::Reach, id::kind, record::Record};
use holdpoint_ledger::{hash::Hash, verify_consistency};

use super::{
    Outcome, Violation,
    book::Book,
    checks::{self, Known, Outside},
    rng::Rng,
    scene,
    task::{Asking, Doing, Done, Task},
};
use crate::{
    fake::{FakeSigner, PERMIT_SEED, Stage, schedule::to_the_end},
    gate::Gate,
    port::{Clock as _, Signer as _, Store as _},
    refusal::Blame,
    start::start,
};

/// Most use cases under way at once.
const MOST_TASKS: usize = 8;
/// Most witnesses' heads that are remembered.
const MOST_HEADS: usize = 16;

/// A seed that is being simulated.
pub(super) struct Sim {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) stage: Stage,
    pub(super) gate: Arc<Gate>,
    pub(super) tasks: Vec<Task>,
    pub(super) book: Book,
    pub(super) outside: Outside,
    pub(super) event: u64,
    /// The gate has begun to serve.
    pub(super) serving: bool,
    /// The event at which somebody last let it go on after a halt.
    resumed: u64,
    pub(super) calls: usize,
    /// Heads of the log that somebody outside remembers.
    heads: Vec<(u64, Hash)>,
    trace: Vec<String>,
    pub(super) violation: Option<Violation>,
}

impl Sim {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let stage = scene::stage(&mut rng, seed);
        let gate = scene::gate(&stage);
        let registry = &gate.controls.registry;
        let agents = ["healer", "scout"].map(crate::fake::controls::id::<kind::Agent>);
        let owners = agents.iter().filter_map(|name| registry.agent(name));
        let outside = Outside {
            owners: owners.map(|agent| (agent.id.clone(), agent.owner.clone())).collect(),
            administrators: registry.administrators().into_keys().collect(),
            people: registry.people().map(|person| (person.id.clone(), person.credentials())).collect(),
            ..Outside::default()
        };
        let book = Book::new(FakeSigner::new(PERMIT_SEED).public_key());
        let mut sim = Self {
            seed,
            rng,
            stage,
            gate,
            tasks: Vec::new(),
            book,
            outside,
            event: 0,
            serving: false,
            resumed: 0,
            calls: 0,
            heads: Vec::new(),
            trace: Vec::new(),
            violation: None,
        };
        sim.begin_to_serve();
        sim
    }

    /// So many events, then the end.
    pub(super) fn run(&mut self, events: u64) {
        while self.event < events && self.violation.is_none() {
            self.one_event();
        }
        if self.violation.is_none() {
            self.settle();
        }
    }

    pub(super) fn outcome(&mut self) -> Outcome {
        self.stage.inputs.forget();
        Outcome {
            seed: self.seed,
            trace: std::mem::take(&mut self.trace),
            events: self.event,
            entries: self.book.size,
            coverage: self.book.coverage.clone(),
            violation: self.violation.clone(),
        }
    }

    /// A line of the trace.
    pub(super) fn say(&mut self, what: &str) {
        let (event, at) = (self.event, self.stage.clock.elapsed().ms());
        self.trace.push(format!("#{event} +{at} {what}"));
    }

    pub(super) fn break_off(&mut self, checker: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { checker, what: what.into() });
        }
    }

    fn one_event(&mut self) {
        self.event += 1;
        match self.rng.weighted(&[745, 120, 36, 60, 26, 8, 5]) {
            0 => self.go_on(),
            1 if self.serving && self.tasks.len() < MOST_TASKS => self.request(),
            1 if self.tasks.is_empty() => self.begin_to_serve(),
            1 => self.go_on(),
            2 => self.time_goes_on(),
            3 => self.chaos(),
            4 => self.intrude(),
            5 => self.remember_head(),
            _ => self.crash(),
        }
        // A gate whose store is closed does nothing more until somebody starts it anew.
        if self.stage.store.closed().is_some() && self.rng.often(100) {
            self.crash();
        }
        self.look();
    }

    /// One of the futures under way goes on; where all of them sleep, time does.
    pub(super) fn go_on(&mut self) {
        let now = self.stage.clock.elapsed().ms();
        let awake: Vec<usize> =
            (0..).zip(&self.tasks).filter(|(_, task)| task.wakes <= now).map(|(at, _)| at).collect();
        if let Some(at) = self.rng.pick(&awake).copied() {
            return self.poll(at);
        }
        match self.tasks.iter().map(|task| task.wakes).min() {
            Some(wakes) => self.stage.clock.advance(scene::ms(wakes - now)),
            None if self.serving => self.request(),
            None => self.begin_to_serve(),
        }
    }

    fn poll(&mut self, at: usize) {
        let world = Arc::clone(&self.stage.world);
        let (before, mut ctx) = (world.under_way(), Context::from_waker(Waker::noop()));
        let task = &mut self.tasks[at];
        let polled = task.doing.as_mut().poll(&mut ctx);
        task.wakes = self.stage.clock.take_sleeper().unwrap_or(0);
        task.under_way = (task.under_way + world.under_way()) - before;
        let line = format!("poll {}", task.name);
        self.say(&line);
        match polled {
            Poll::Ready(done) => {
                let task = self.tasks.remove(at);
                self.look();
                self.answered(&task, &done);
            }
            // What its process had asked of others is over, and there is nobody who would go on.
            Poll::Pending if self.tasks[at].orphan && self.tasks[at].under_way == 0 => {
                let task = self.tasks.remove(at);
                self.say(&format!("{} ends with its process", task.name));
            }
            Poll::Pending => {}
        }
    }

    /// Has a use case begin.
    pub(super) fn spawn(&mut self, name: String, asking: Option<Asking>, doing: Doing) -> &mut Task {
        self.say(&format!("begin {name}"));
        let (began, size) = (self.event, self.book.size);
        let (wakes, under_way, orphan, drives) = (0, 0, false, None);
        self.tasks.push(Task { name, doing, asking, drives, began, size, wakes, under_way, orphan });
        self.tasks.last_mut().expect("it was pushed just now")
    }

    pub(super) fn begin_to_serve(&mut self) {
        let gate = Arc::clone(&self.gate);
        self.spawn("start".to_owned(), None, Box::pin(async move { Done::Started(start(&gate).await) }));
    }

    /// The process is killed. What it has asked of others may still be done by them.
    pub(super) fn crash(&mut self) {
        let mut left = Vec::new();
        for mut task in std::mem::take(&mut self.tasks) {
            if task.under_way > 0 && (task.orphan || self.rng.often(600)) {
                task.orphan = true;
                left.push(task);
            }
        }
        self.tasks = left;
        self.stage.restart();
        self.gate = scene::gate(&self.stage);
        self.serving = false;
        self.outside.halts.retain(|known| known.kept);
        self.say(&format!("crash; {} calls go on without their process", self.tasks.len()));
        self.check_heads();
        self.begin_to_serve();
    }

    /// Somebody outside remembers the head of the log, and checks that it continues all those that they remember.
    fn remember_head(&mut self) {
        self.check_heads();
        let head = self.stage.store.head();
        if self.heads.len() == MOST_HEADS {
            self.heads.remove(0);
        }
        self.heads.push((head.size, head.root));
    }

    pub(super) fn check_heads(&mut self) {
        let head = self.stage.store.head();
        for (size, root) in self.heads.clone() {
            // A closed store answers nobody; the next start does.
            let Ok(proof) = to_the_end(self.stage.store.consistency(size, head.size)) else { continue };
            if let Err(err) = verify_consistency(size, root, head.size, head.root, &proof) {
                self.break_off("inv11", format!("the log does not continue the head of size {size}: {err}"));
            }
        }
        if head.size < self.book.size {
            let lost = self.book.size - head.size;
            self.break_off("inv01", format!("{lost} entries that were there are lost"));
        }
    }

    /// Looks at everything that came since the last look, and has it checked.
    pub(super) fn look(&mut self) {
        if self.violation.is_none()
            && let Err(violation) = self.looked()
        {
            self.say(&format!("{}: {}", violation.checker, violation.what));
            self.violation = Some(violation);
        }
    }

    fn looked(&mut self) -> Result<(), Violation> {
        // Targets first: what was recorded since is about what was done before.
        for moment in self.stage.world.moments_from(self.outside.moments.len()) {
            let line = format!("  {} changed by {:?}", moment.target, moment.by);
            self.say(&line);
            checks::moment(&self.book, &self.outside, &moment)?;
            self.outside.moments.push(moment);
        }
        self.outside.live = self.stage.world.live_leases().into_iter().collect();
        for call in self.stage.world.calls_from(self.calls) {
            self.calls += 1;
            checks::call(&self.book, &mut self.outside, &call)?;
        }
        for entry in self.stage.store.entries_from(self.book.size) {
            // Read only: that it is canonical, the store has checked, and so does every start.
            let record: Record = serde_json::from_slice(&entry).map_err(|err| Violation {
                checker: "inv11",
                what: format!("entry {} is not a record: {err}", self.book.size),
            })?;
            checks::record(&self.book, &self.outside, &record)?;
            if record.body.word() == "resumed" {
                self.outside.halts.clear();
                self.resumed = self.event;
            }
            self.book.take(&record)?;
            // The digest, so that a replay that differs in one byte of one entry is noticed.
            let (index, word, digest) = (self.book.size - 1, record.body.word(), Digest::of_bytes(&entry));
            let plan = self.book.name(record.plan.as_ref());
            self.say(&format!("  {index} {word} {plan} {}", digest.short()));
        }
        Ok(())
    }

    /// What a use case answered must be what the log says.
    fn answered(&mut self, task: &Task, done: &Done) {
        let refusal = done.refusal().cloned();
        let how = refusal
            .as_ref()
            .map_or_else(|| "done".to_owned(), |refusal| format!("refused by `{}`", refusal.rule));
        self.say(&format!("end {}: {how}", task.name));
        if task.orphan {
            return;
        }
        if let (Some(Asking { request, known: true }), Some(refusal)) = (task.asking, &refusal)
            && refusal.blame != Blame::Us
        {
            let recorded = self.book.refused.iter().any(|(index, of)| *index >= task.size && *of == request);
            if !recorded {
                self.break_off(
                    "inv11",
                    format!("{} was refused by `{}`, and no entry says so", task.name, refusal.rule),
                );
            }
        }
        match done {
            Done::Started(Ok(())) => self.serving = true,
            // Nothing serves without its first record: somebody starts it again.
            Done::Started(Err(_)) if self.stage.store.closed().is_some() => self.crash(),
            Done::Proposed(Ok(proposed)) if self.book.case(&proposed.id).is_none() => {
                self.break_off(
                    "inv01",
                    format!("{} was answered, and its decision is not in the log", task.name),
                );
            }
            Done::Decided(Ok(decided)) => {
                let statements = self.book.case(&decided.plan).map_or(0, |case| case.statements.len());
                if (statements as u64) < u64::from(decided.approvals) || statements == 0 {
                    self.break_off("inv01", format!("{} was taken, and is not in the log", task.name));
                }
            }
            // A halt that began before somebody let it go on may have been meant by them.
            Done::Halted(reach, Ok(halt)) if task.began > self.resumed => {
                self.outside.halts.push(Known { reach: *reach, kept: halt.latched || halt.recorded });
            }
            _ => {}
        }
    }

    /// The reach of the hardest halt that is known to be in force.
    pub(super) fn halted(&self) -> Option<Reach> {
        self.outside.halts.iter().map(|known| known.reach).max()
    }

    /// Whether the registry knows somebody.
    pub(super) fn knows(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Agent { agent, .. } => self.gate.controls.registry.agent(agent).is_some(),
            Identity::Person { person } => self.gate.controls.registry.person(person).is_some(),
        }
    }
}
