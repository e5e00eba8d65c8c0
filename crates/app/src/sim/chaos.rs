//! What goes wrong around the gate: targets, probes, executors, issuer, policy, store, disk and clock. Each fault is drawn, and so
//! is its end.

use holdpoint_domain::{Rung, flow::State, trigger::Truth};

use super::{driver::Sim, scene, scene::TARGETS};
use crate::fake::{Deed, Failure, Issuing, Policy, Probe, When};

const DEEDS: [Deed; 9] = [
    Deed::Works,
    Deed::NoHelp,
    Deed::Refuses,
    Deed::NotDone,
    Deed::UnknownBefore,
    Deed::UnknownAfter,
    Deed::Late,
    Deed::Partial,
    Deed::Lies,
];

impl Sim {
    /// Something goes wrong, or is mended.
    pub(super) fn chaos(&mut self) {
        match self.rng.weighted(&[20, 8, 12, 20, 8, 7, 7, 8, 8, 4, 4, 16, 6]) {
            0 => self.executor_fails(),
            1 => self.heals(),
            2 => self.probes_fail(),
            3 => self.somebody_acts(),
            4 => self.observer_is_blind(),
            5 => self.issuer_fails(),
            6 => self.policy_changes(),
            7 => self.append_fails(),
            8 => self.disk_fills(),
            9 => self.latch_fails(),
            10 => self.clock_jumps(),
            11 => {
                self.stage.world.land();
                self.say("what was put off comes now");
            }
            _ => self.measuring_is_slow(),
        }
    }

    fn target(&mut self) -> &'static str {
        TARGETS[self.rng.weighted(&[32, 32, 26, 5, 5])]
    }

    fn executor_fails(&mut self) {
        let deed = DEEDS[self.rng.weighted(&[10, 30, 6, 10, 6, 12, 18, 10, 8])];
        let target = self.target();
        match self.rng.weighted(&[55, 25, 10]) {
            0 => self.stage.world.apply_at(target, deed),
            1 => self.stage.world.undo_at(target, deed),
            _ => self.stage.world.rehearse(deed),
        }
        // What keeps the executor's answer back keeps the revocation back, too: what was put off may come after all.
        if deed == Deed::Late {
            self.stage.world.issuing(Issuing { refuses: false, failing_revocations: 6, lasting: false });
        }
        self.say(&format!("the executor: {deed:?} at {target}"));
    }

    fn heals(&mut self) {
        self.stage.world.heal();
        self.probes_work();
        self.stage.judge.set(Policy::From(Rung::T1));
        self.say("everything works again");
    }

    /// Probes say what is true.
    pub(super) fn probes_work(&mut self) {
        for (condition, healthy) in [("process.hung", false), ("process.healthy", true)] {
            let of = move |thing: &crate::fake::Thing| {
                if thing.healthy == healthy { Truth::Holds } else { Truth::DoesNotHold }
            };
            self.stage.world.probe(condition, Probe::Of(Box::new(of)));
        }
    }

    fn probes_fail(&mut self) {
        let condition = if self.rng.often(500) { "process.hung" } else { "process.healthy" };
        let probe = match self.rng.below(4) {
            0 => Probe::Says(Truth::Indeterminate),
            1 => Probe::Contradicts,
            2 => Probe::Says(Truth::DoesNotHold),
            _ => return self.probes_work(),
        };
        self.stage.world.probe(condition, probe);
        self.say(&format!("the probe of {condition} is broken"));
    }

    /// Somebody who is not Holdpoint acts on a target.
    fn somebody_acts(&mut self) {
        let target = self.meddled_with();
        let (content, what) = (self.rng.next(), self.rng.weighted(&[40, 40, 15, 15]));
        self.stage.world.change(&target, |thing| match what {
            0 => thing.content = content,
            1 => thing.healthy = false,
            2 => thing.healthy = true,
            _ => thing.down = !thing.down,
        });
        self.say(&format!("somebody acts on {target}: {what}"));
    }

    /// Where an action did not help, people mend by hand while it is still being undone.
    fn meddled_with(&mut self) -> String {
        let undone = self.book.in_states(|state| matches!(state, State::Undoing | State::Unwound));
        let steps = undone.first().map_or(&[][..], |case| case.plan.steps());
        let targets: Vec<String> = steps.iter().map(|step| step.target.to_string()).collect();
        let by_hand = if self.rng.often(600) { self.rng.pick(&targets).cloned() } else { None };
        by_hand.unwrap_or_else(|| self.target().to_owned())
    }

    fn observer_is_blind(&mut self) {
        let (target, times) = (self.target(), 1 + self.rng.below(7) as u32);
        self.stage.world.change(target, |thing| thing.blind = times);
        self.say(&format!("{target} is not to be seen {times} times"));
    }

    fn issuer_fails(&mut self) {
        let refuses = self.rng.often(250);
        let failing_revocations = if self.rng.often(600) { 1 + self.rng.below(8) as u32 } else { 0 };
        self.stage.world.issuing(Issuing { refuses, failing_revocations, lasting: false });
        self.say(&format!("the issuer refuses: {refuses}, {failing_revocations} revocations fail"));
    }

    fn policy_changes(&mut self) {
        let t4 = self.stage.setup.parts.people.iter().any(|person| !person.passkeys.is_empty());
        let policy = match self.rng.weighted(&[45, 12, 12, if t4 { 20 } else { 4 }, 8, 8, 5]) {
            0 => Policy::From(Rung::T1),
            1 => Policy::From(Rung::T2),
            2 => Policy::From(Rung::T3),
            3 => Policy::From(Rung::T4),
            4 => Policy::Deny,
            5 => Policy::Error,
            _ => Policy::NotMonotone,
        };
        self.stage.judge.set(policy);
        self.say(&format!("the policy: {policy:?}"));
    }

    fn append_fails(&mut self) {
        let failure = match self.rng.weighted(&[60, 20, 20]) {
            0 => Failure::Full,
            1 => Failure::Closed,
            _ => Failure::DoneButClosed,
        };
        let nth = self.rng.below(6);
        self.stage.store.fail(When::Nth(nth), failure);
        self.say(&format!("an append fails, after {nth}: {failure:?}"));
    }

    fn disk_fills(&mut self) {
        if self.rng.often(650) {
            self.stage.store.make_room();
            self.say("there is room");
        } else {
            let reserve = self.rng.below(12) as u32;
            self.stage.store.fill(reserve);
            self.say(&format!("the disk is full, but for {reserve}"));
        }
    }

    fn latch_fails(&mut self) {
        let fails = self.rng.often(400);
        self.stage.latch.disk_fails(fails);
        self.say(&format!("the latch file cannot be written: {fails}"));
    }

    /// The wall clock is set forth or back by a second to an hour, or stands still, or goes again.
    fn clock_jumps(&mut self) {
        let span = scene::ms([1_000, 30_000, 600_000, 3_600_000][self.rng.weighted(&[40, 25, 20, 15])]);
        let what = self.rng.weighted(&[25, 25, 15, 35]);
        match what {
            0 => self.stage.clock.step_forward(span),
            1 => self.stage.clock.step_back(span),
            2 => self.stage.clock.freeze(true),
            _ => self.stage.clock.freeze(false),
        }
        let how = ["is set forth", "is set back", "stands still", "goes"][what];
        self.say(&format!("the clock {how}, {span:?}"));
    }

    fn measuring_is_slow(&mut self) {
        let span = if self.rng.often(400) { self.rng.below(3_000) } else { 0 };
        self.stage.world.measuring_takes(scene::ms(span));
        self.say(&format!("a measurement takes {span} ms"));
    }

    /// Time goes on by itself: mostly a little, sometimes beyond a window.
    pub(super) fn time_goes_on(&mut self) {
        let span = [60, 400, 3_000, 21_000][self.rng.weighted(&[60, 25, 12, 3])];
        self.stage.clock.advance(scene::ms(span));
        self.say(&format!("{span} ms go by"));
    }
}
