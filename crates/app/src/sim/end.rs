//! The end of a seed: everything is mended and comes to rest, and what is left is looked at from outside.

use holdpoint_domain::{Id, flow::State, id::kind};
use holdpoint_ledger::{SignedCheckpoint, Verifier};

use super::{driver::Sim, intruder::STOLEN};
use crate::{
    fake::{Policy, schedule::to_the_end},
    port::{Clock as _, Store as _},
};

/// How often the clockwork goes round before whatever is still open counts as stuck.
const ROUNDS: usize = 40;
/// More steps of futures than a round needs.
const STEPS: usize = 20_000;

impl Sim {
    /// Everything works again, the process starts anew, and whatever is under way comes to its end.
    pub(super) fn settle(&mut self) {
        self.event += 1;
        self.stage.world.heal();
        self.stage.world.land();
        self.probes_work();
        self.stage.judge.set(Policy::From(holdpoint_domain::Rung::T1));
        self.stage.clock.freeze(false);
        self.crash();
        for _ in 0..ROUNDS {
            self.drain();
            if self.violation.is_some() || self.is_at_rest() {
                break;
            }
            self.resumes_runs();
            self.ticks();
        }
        if self.violation.is_none() {
            self.last_look();
        }
    }

    fn drain(&mut self) {
        for _ in 0..STEPS {
            if self.tasks.is_empty() || self.violation.is_some() {
                return;
            }
            self.event += 1;
            self.go_on();
            self.look();
        }
        self.break_off("stuck", "what is under way never ends");
    }

    fn is_at_rest(&self) -> bool {
        let open = self.book.in_states(|state| state.is_running() && state != State::InDoubt);
        self.serving && open.is_empty() && self.lost_lease().is_none() && self.recorded_leases() == 0
    }

    /// A lease of the gate that can be used. What the intruder mints with stolen keys is not on record, and nobody's to sweep.
    fn lost_lease(&self) -> Option<Id<kind::Lease>> {
        let live = self.stage.world.live_leases();
        live.into_iter().find(|lease| !lease.as_str().starts_with(STOLEN))
    }

    fn recorded_leases(&self) -> usize {
        to_the_end(self.stage.store.live_leases()).map_or(usize::MAX, |live| live.len())
    }

    fn last_look(&mut self) {
        let open = self.book.in_states(|state| state.is_running() && state != State::InDoubt);
        if let Some(case) = open.first() {
            let what = format!("{} is `{}` for ever", case.name, case.state);
            self.break_off("stuck", what);
        }
        if let Some(lease) = self.lost_lease() {
            self.break_off("inv08", format!("lease {lease} outlived its task"));
        }
        if self.recorded_leases() > 0 {
            self.break_off("inv08", "a lease is not recorded as dead");
        }
        self.check_heads();
        self.check_log();
        self.check_rows();
    }

    /// The whole log, by its checkpoint and its entries alone.
    fn check_log(&mut self) {
        let store = &self.stage.store;
        let signed = SignedCheckpoint::parse(store.head().checkpoint.as_bytes()).expect("the store made it");
        let mut verifier = Verifier::new(&signed, &[store.log_key()], &[]).expect("the store signed it");
        store.all_entries().iter().for_each(|entry| verifier.push(entry));
        let report = verifier.finish();
        if !report.is_sound() {
            self.break_off("inv11", format!("the log does not verify: {report:?}"));
        }
    }

    /// The store's own tables say what the log says: states, and which run holds a target.
    fn check_rows(&mut self) {
        let mut wrong = None;
        for case in self.book.in_states(|_| true) {
            let row = to_the_end(self.stage.store.plan(&case.id)).ok().flatten();
            if row.is_none_or(|row| row.state != case.state) {
                wrong = Some(format!("the row of {} is not `{}`", case.name, case.state));
            }
            for target in case.plan.targets() {
                let holds = self.stage.store.holder(&target).as_ref() == Some(&case.id);
                if holds != case.state.is_running() {
                    wrong = Some(format!(
                        "{} is `{}`, and {target} is held by it: {holds}",
                        case.name, case.state
                    ));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.break_off("inv03", wrong);
        }
        let now = self.stage.clock.now();
        self.say(&format!("at rest at {} ms", now.ms()));
    }
}
