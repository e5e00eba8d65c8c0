//! Drills: the gate kills itself at a step, so that tests see what is left.

use std::{
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rustix::process::{Signal, getpid, kill_process};

use super::Step;

/// The drill of this process. Set once, before anything is done, and never again.
static DRILL: OnceLock<Drill> = OnceLock::new();

/// When a drill kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the effect was made.
    Before,
    /// The effect is made, and whoever asked for it does not know it yet.
    Unreported,
    /// The effect is made and reported: the next step of any kind is about to be taken.
    After,
}

/// Where and when the process kills itself: `step:moment`, or `step:moment:n` for the n-th time that the step is taken.
#[derive(Debug)]
pub struct Drill {
    step: Step,
    moment: Moment,
    nth: u32,
    /// How often the step came by.
    seen: AtomicU32,
    /// The effect is made: the next step kills.
    armed: AtomicBool,
}

/// What is wrong with the words of a drill. The fault is with whoever wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    /// Not `step:moment` or `step:moment:n`.
    #[error("expected a drill as `step:moment` or `step:moment:n`, with `n` from 1 on")]
    Shape,
    /// No such step.
    #[error("expected the name of a step, as the documentation lists them")]
    Step,
    /// No such moment.
    #[error("expected the moment `before`, `unreported` or `after`")]
    Moment,
    /// A second drill.
    #[error("this process has a drill already")]
    Twice,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::Unreported, Self::After];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Unreported => "unreported",
            Self::After => "after",
        }
    }
}

impl FromStr for Drill {
    type Err = DrillError;

    fn from_str(text: &str) -> Result<Self, DrillError> {
        let mut words = text.split(':');
        let (Some(step), Some(moment), nth, None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(DrillError::Shape);
        };
        let step = Step::ALL.into_iter().find(|known| known.as_str() == step).ok_or(DrillError::Step)?;
        let moment = Moment::ALL.into_iter().find(|known| known.as_str() == moment);
        let moment = moment.ok_or(DrillError::Moment)?;
        let nth = nth.map_or(Some(1), |nth| nth.parse().ok().filter(|nth| *nth > 0));
        let nth = nth.ok_or(DrillError::Shape)?;
        Ok(Self { step, moment, nth, seen: AtomicU32::new(0), armed: AtomicBool::new(false) })
    }
}

impl Drill {
    /// From now on this process kills itself where the drill says.
    pub fn install(self) -> Result<(), DrillError> {
        tracing::error!(
            "DRILL: this process will kill itself at step `{}`, moment `{}`, time {}: never in production",
            self.step.as_str(),
            self.moment.as_str(),
            self.nth
        );
        DRILL.set(self).map_err(|_| DrillError::Twice)
    }

    /// Whether this is the time.
    fn is_time(&self, step: Step) -> bool {
        step == self.step && self.seen.fetch_add(1, Ordering::SeqCst).checked_add(1) == Some(self.nth)
    }

    /// Whether the process ends before this step.
    fn stops_before(&self, step: Step) -> bool {
        self.armed.load(Ordering::SeqCst) || self.moment == Moment::Before && self.is_time(step)
    }

    /// Whether the process ends after this step, before anybody is told.
    fn stops_after(&self, step: Step) -> bool {
        if self.moment == Moment::Before || !self.is_time(step) {
            return false;
        }
        self.armed.store(self.moment == Moment::After, Ordering::SeqCst);
        self.moment == Moment::Unreported
    }
}

/// A step is about to be taken.
pub(super) fn enter(step: Step) {
    let Some(drill) = DRILL.get() else { return };
    // So that whoever writes a drill can see which steps there are.
    tracing::debug!("step {}", step.as_str());
    if drill.stops_before(step) {
        die();
    }
}

/// A step was taken.
pub(super) fn leave(step: Step) {
    if DRILL.get().is_some_and(|drill| drill.stops_after(step)) {
        die();
    }
}

/// Ends the process as `kill -9` does: no destructor, no flush, no answer.
fn die() -> ! {
    // The signal ends this thread before the call returns; the abort is for a kernel that says no.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(text: &str) -> Drill {
        text.parse().unwrap()
    }

    #[test]
    fn words_are_checked() {
        let cases = [
            ("", DrillError::Shape),
            ("latch-write", DrillError::Shape),
            ("latch-write:before:1:2", DrillError::Shape),
            ("latch-write:before:0", DrillError::Shape),
            ("latch-write:before:x", DrillError::Shape),
            ("latch:before", DrillError::Step),
            ("latch-write:during", DrillError::Moment),
        ];
        for (text, fault) in cases {
            assert_eq!(text.parse::<Drill>().err(), Some(fault), "{text}");
        }
        let known = drill("latch-write:unreported:3");
        assert_eq!((known.step, known.moment, known.nth), (Step::LatchWrite, Moment::Unreported, 3));
    }

    #[test]
    fn it_stops_at_its_step_its_moment_and_its_time() {
        let before = drill("head-write:before:2");
        assert!(!before.stops_before(Step::HeadSync) && !before.stops_before(Step::HeadWrite));
        assert!(!before.stops_after(Step::HeadWrite), "what comes after is not its business");
        assert!(before.stops_before(Step::HeadWrite));
        assert!(!before.stops_before(Step::HeadWrite), "once");

        let unreported = drill("head-write:unreported");
        assert!(!unreported.stops_before(Step::HeadWrite) && !unreported.stops_after(Step::HeadSync));
        assert!(unreported.stops_after(Step::HeadWrite));

        let after = drill("head-write:after");
        assert!(!after.stops_before(Step::HeadWrite) && !after.stops_after(Step::HeadWrite));
        assert!(after.stops_before(Step::LeaseMint), "any step that comes next");
    }
}
