//! The world that the gate acts on: targets, what probes and the observer see of them, and a trace of every effect.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use holdpoint_domain::{
    Digest, Id, Millis,
    action::Action,
    id::kind,
    lease::LeaseInfo,
    parts::Parts,
    proof::Credentials,
    signature::PublicKey,
    target::Target,
    trigger::{Condition, Reading, Subject, Truth, Why},
};
use holdpoint_ledger::VerifierKey;

use super::{
    FakeClock, LedgerSize,
    journal::{By, Call, Moment},
    schedule::yield_now,
};
use crate::port::{Acted, Observation, ObserveError, Observer, Preview, Prober};

/// A target, as it really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// What an action changes. The version is its digest.
    pub content: u64,
    /// It works. By default `process.healthy` holds when it does, and `process.hung` when it does not.
    pub healthy: bool,
    /// It is down.
    pub down: bool,
    /// What the target itself remembers.
    pub acted: Option<Acted>,
    /// How often it was acted on.
    pub effects: u32,
    /// How often it was put back.
    pub undos: u32,
    /// How many of the next observations fail.
    pub blind: u32,
    // What the last effect replaced.
    pub(super) before: u64,
    // The highest fencing epoch that it has seen.
    pub(super) epoch: u64,
    // An effect that was begun, by this lease, and has not come yet.
    pub(super) late: Option<Late>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) lease: Id<kind::Lease>,
    pub(super) epoch: u64,
    pub(super) phase: crate::port::ActedPhase,
}

impl Thing {
    /// What the version is made of.
    pub(super) fn parts(&self) -> Parts {
        [("content", self.content.to_string())].into_iter().collect()
    }
}

impl Default for Thing {
    /// Hung: whoever is asked says that it needs help.
    fn default() -> Self {
        Self {
            content: 1,
            healthy: false,
            down: false,
            acted: None,
            effects: 0,
            undos: 0,
            blind: 0,
            before: 1,
            epoch: 0,
            late: None,
        }
    }
}

impl Thing {
    /// The relevant version.
    #[must_use]
    pub fn version(&self) -> Digest {
        Digest::of_bytes(&self.content.to_be_bytes())
    }
}

/// How a condition is measured.
pub enum Probe {
    /// Every source says this.
    Says(Truth),
    /// The sources disagree.
    Contradicts,
    /// What is true of the target.
    Of(Box<dyn Fn(&Thing) -> Truth + Send + Sync>),
    /// Each endpoint of each target for itself. Whatever is not in here was measured, and does not hold.
    Reads(BTreeMap<(Id<kind::Target>, Id<kind::Endpoint>), (Truth, Why)>),
}

/// How the executor does what it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deed {
    /// It does it, and it helps.
    #[default]
    Works,
    /// It does it, and it does not help.
    NoHelp,
    /// It refuses.
    Refuses,
    /// It fails, and nothing was touched.
    NotDone,
    /// It does not know, and nothing was touched.
    UnknownBefore,
    /// It does not know, and did it.
    UnknownAfter,
    /// It does not know, and has not done it yet: see [`FakeWorld::land`].
    Late,
    /// It begins, leaves the target half changed, and does not know.
    Partial,
    /// It says it did it, and did nothing.
    Lies,
}

/// How the issuer does what it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Issuing {
    /// It refuses to mint.
    pub refuses: bool,
    /// So many revocations fail before one goes well.
    pub failing_revocations: u32,
    /// Leases go on until their own end, whoever revokes.
    pub lasting: bool,
}

/// Something that was done outside the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A lease was minted.
    Minted(Id<kind::Lease>),
    /// A lease was ended.
    Revoked(Id<kind::Lease>),
    /// A dry run.
    Rehearsed,
    /// A target was changed, in part or whole.
    Applied,
    /// A change was taken back.
    Undone,
}

/// An effect, with how large the ledger was at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Entries with a lower index were durable when it was done.
    pub ledger_size: u64,
    /// What was done.
    pub effect: Effect,
    /// For which plan; none where only the lease was named.
    pub plan: Option<Id<kind::Plan>>,
    /// On which target; none for leases.
    pub target: Option<Id<kind::Target>>,
}

/// What the executor and the issuer have pinned.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The gate's permit key.
    pub gate: PublicKey,
    /// The log's key.
    pub log: VerifierKey,
    /// The keys and passkeys that people approve with.
    pub approvers: BTreeMap<Id<kind::Person>, Credentials>,
    /// The executor's own name.
    pub executor: Id<kind::Executor>,
}

/// The world. It is the prober, the observer, the issuer and the executor of a gate, and outlives the gate's restarts.
pub struct FakeWorld {
    pub(super) clock: Arc<FakeClock>,
    pub(super) ledger: LedgerSize,
    pub(super) pins: Pins,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) things: BTreeMap<Id<kind::Target>, Thing>,
    pub(super) probes: BTreeMap<Id<kind::Condition>, Probe>,
    pub(super) measuring_takes: Millis,
    pub(super) rehearse: Deed,
    pub(super) apply: Deed,
    pub(super) undo: Deed,
    pub(super) apply_at: BTreeMap<Id<kind::Target>, Deed>,
    pub(super) undo_at: BTreeMap<Id<kind::Target>, Deed>,
    pub(super) issuing: Issuing,
    pub(super) leases: BTreeMap<Id<kind::Lease>, LeaseInfo>,
    pub(super) ended: std::collections::BTreeSet<Id<kind::Lease>>,
    pub(super) trace: Vec<Traced>,
    pub(super) calls: Vec<Call>,
    pub(super) moments: Vec<Moment>,
    pub(super) under_way: usize,
    pub(super) preview: Option<Preview>,
}

impl FakeWorld {
    /// A world of things that all need help.
    pub fn new(
        clock: Arc<FakeClock>,
        ledger: LedgerSize,
        pins: Pins,
        targets: impl Iterator<Item = Id<kind::Target>>,
    ) -> Self {
        let state = State {
            things: targets.map(|id| (id, Thing::default())).collect(),
            probes: BTreeMap::new(),
            measuring_takes: Millis::secs(0),
            rehearse: Deed::Works,
            apply: Deed::Works,
            undo: Deed::Works,
            apply_at: BTreeMap::new(),
            undo_at: BTreeMap::new(),
            issuing: Issuing::default(),
            leases: BTreeMap::new(),
            ended: std::collections::BTreeSet::new(),
            trace: Vec::new(),
            calls: Vec::new(),
            moments: Vec::new(),
            under_way: 0,
            preview: None,
        };
        let world = Self { clock, ledger, pins, state: Mutex::new(state) };
        let of = |healthy: bool| {
            Probe::Of(Box::new(
                move |thing| {
                    if thing.healthy == healthy { Truth::Holds } else { Truth::DoesNotHold }
                },
            ))
        };
        world.probe("process.healthy", of(true));
        world.probe("process.hung", of(false));
        world
    }

    /// From now on this is what any step would change.
    pub fn preview_is(&self, preview: Preview) {
        self.state().preview = Some(preview);
    }

    /// From now on a condition is measured like this.
    pub fn probe(&self, condition: &str, probe: Probe) {
        let condition = Id::parse(condition).expect("a condition of a test has an id");
        self.state().probes.insert(condition, probe);
    }

    /// From now on every measurement takes so long.
    pub fn measuring_takes(&self, span: Millis) {
        self.state().measuring_takes = span;
    }

    /// From now on the executor rehearses like this.
    pub fn rehearse(&self, deed: Deed) {
        self.state().rehearse = deed;
    }

    /// From now on the executor applies like this.
    pub fn apply(&self, deed: Deed) {
        self.state().apply = deed;
    }

    /// From now on the executor undoes like this.
    pub fn undo(&self, deed: Deed) {
        self.state().undo = deed;
    }

    /// From now on the executor applies like this on one target, whatever it does on others.
    pub fn apply_at(&self, target: &str, deed: Deed) {
        let target = Id::parse(target).expect("a target of a test has an id");
        self.state().apply_at.insert(target, deed);
    }

    /// From now on the executor undoes like this on one target, whatever it does on others.
    pub fn undo_at(&self, target: &str, deed: Deed) {
        let target = Id::parse(target).expect("a target of a test has an id");
        self.state().undo_at.insert(target, deed);
    }

    /// From now on the issuer works like this.
    pub fn issuing(&self, issuing: Issuing) {
        self.state().issuing = issuing;
    }

    /// A target, as it is.
    #[must_use]
    pub fn thing(&self, target: &str) -> Thing {
        let target = Id::parse(target).expect("a target of a test has an id");
        self.state().things.get(&target).cloned().expect("the target is in the world")
    }

    /// Somebody else does something to a target.
    pub fn change(&self, target: &str, how: impl FnOnce(&mut Thing)) {
        let target = Id::parse(target).expect("a target of a test has an id");
        let mut state = self.state();
        let thing = state.things.get_mut(&target).expect("the target is in the world");
        let before = thing.content;
        how(thing);
        let after = thing.content;
        if before != after {
            let ledger_size = self.ledger.now();
            state.moments.push(Moment { target, by: By::Somebody, before, after, ledger_size });
        }
    }

    /// All effects that [`Deed::Late`] has put off come now, as far as their leases are still good.
    pub fn land(&self) {
        let mut state = self.state();
        let State { things, leases, moments, .. } = &mut *state;
        for (target, thing) in things {
            if let Some(late) = thing.late.take().filter(|late| leases.contains_key(&late.lease)) {
                let before = thing.content;
                thing.land(late.epoch, late.phase);
                let (target, by, after) =
                    (target.clone(), By::Executor(late.epoch, late.phase), thing.content);
                moments.push(Moment { target, by, before, after, ledger_size: self.ledger.now() });
            }
        }
    }

    /// Everything that was done, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Traced> {
        self.state().trace.clone()
    }

    /// From now on the executor does what it usually does, on every target.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.rehearse, state.apply, state.undo) = (Deed::Works, Deed::Works, Deed::Works);
        state.apply_at.clear();
        state.undo_at.clear();
        state.issuing = Issuing::default();
        state.measuring_takes = Millis::secs(0);
        for thing in state.things.values_mut() {
            thing.blind = 0;
        }
    }

    /// Leases that can be used now.
    #[must_use]
    pub fn live_leases(&self) -> Vec<Id<kind::Lease>> {
        self.state().leases.keys().cloned().collect()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(
        &self,
        effect: Effect,
        plan: Option<&Id<kind::Plan>>,
        target: Option<&Id<kind::Target>>,
    ) {
        let (plan, target) = (plan.cloned(), target.cloned());
        let traced = Traced { ledger_size: self.ledger.now(), effect, plan, target };
        self.state().trace.push(traced);
    }
}

impl Thing {
    /// The effect comes: forth, or back.
    pub(super) fn land(&mut self, epoch: u64, phase: crate::port::ActedPhase) {
        use crate::port::ActedPhase as Phase;
        match phase {
            Phase::Begun => {}
            Phase::Applied => {
                self.before = self.content;
                self.content = self.content.wrapping_mul(1_000).wrapping_add(epoch);
                self.effects = self.effects.saturating_add(1);
            }
            Phase::Undone => {
                self.content = self.before;
                self.undos = self.undos.saturating_add(1);
            }
        }
        let left = (phase != Phase::Begun).then(|| self.version());
        self.acted = Some(Acted { epoch, phase, left });
    }
}

#[async_trait]
impl Prober for FakeWorld {
    async fn measure(&self, condition: &Condition, subject: Subject<'_>) -> Vec<Reading> {
        let target = subject.target;
        yield_now().await;
        let state = self.state();
        self.clock.advance(state.measuring_takes);
        let thing = state.things.get(&target.id);
        let probe = state.probes.get(&condition.id);
        let known =
            |truth: Truth| (truth, if truth == Truth::Indeterminate { Why::NoData } else { Why::Measured });
        let seen = |at: usize, endpoint: &Id<kind::Endpoint>| match (probe, thing) {
            (Some(Probe::Says(truth)), _) => known(*truth),
            (Some(Probe::Contradicts), _) if at.is_multiple_of(2) => known(Truth::Holds),
            (Some(Probe::Contradicts), _) => known(Truth::DoesNotHold),
            (Some(Probe::Of(of)), Some(thing)) => known(of(thing)),
            (Some(Probe::Reads(reads)), _) => {
                let read = reads.get(&(target.id.clone(), endpoint.clone()));
                read.copied().unwrap_or(known(Truth::DoesNotHold))
            }
            (Some(Probe::Of(_)) | None, _) => known(Truth::Indeterminate),
        };
        let reading = |(at, probe): (usize, &holdpoint_domain::trigger::Probe)| {
            let endpoint = target.endpoints.get(&probe.endpoint)?;
            let (truth, why) = seen(at, &probe.endpoint);
            Some(Reading {
                endpoint: probe.endpoint.clone(),
                source: endpoint.source.clone(),
                truth,
                why,
                value: None,
                age_ms: Millis::secs(0),
            })
        };
        condition.probes.iter().enumerate().filter_map(reading).collect()
    }
}

#[async_trait]
impl Observer for FakeWorld {
    async fn observe(&self, _action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        yield_now().await;
        let mut state = self.state();
        let thing =
            state.things.get_mut(&target.id).ok_or_else(|| ObserveError::Unknown(target.id.clone()))?;
        if thing.blind > 0 {
            thing.blind = thing.blind.saturating_sub(1);
            return Err(ObserveError::Failed { target: target.id.clone(), why: "it is dark".to_owned() });
        }
        Ok(Observation {
            version: thing.version(),
            parts: thing.parts(),
            down: thing.down,
            undo_computed: true,
            acted: thing.acted,
        })
    }

    async fn preview(
        &self,
        _action: &Action,
        _target: &Target,
        _step: &holdpoint_domain::plan::Step,
    ) -> Result<Option<Preview>, ObserveError> {
        Ok(self.state().preview.clone())
    }
}
