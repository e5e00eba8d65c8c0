//! The policy bundle behind the [`Judge`] port, with a deadline by the gate's clock.

use std::sync::Arc;

use holdpoint_domain::{
    Digest, Millis, Oversight,
    agent::Person,
    decision::{Ladder, Verdict},
    facts::Facts,
};
use holdpoint_policy::{Bundle, Consent, Deadline, Said};

use crate::port::{ApproveQuestion, Clock, Hint, Judge};

/// How long an evaluation may take before its answer is thrown away and counts as a denial. Ordinary ones take well below
/// a millisecond; one that takes this long is a fault, not a decision.
pub const DEADLINE: Millis = Millis::secs(1);

/// A policy bundle as a judge.
pub struct BundleJudge {
    bundle: Arc<Bundle>,
    clock: Arc<dyn Clock>,
}

impl BundleJudge {
    /// A judge over a loaded bundle.
    #[must_use]
    pub fn new(bundle: Arc<Bundle>, clock: Arc<dyn Clock>) -> Self {
        Self { bundle, clock }
    }

    fn timed<T>(&self, ask: impl FnOnce(Deadline<'_>) -> T) -> T {
        let began = self.clock.elapsed();
        let elapsed =
            || Millis::new(self.clock.elapsed().ms().saturating_sub(began.ms())).unwrap_or(DEADLINE);
        ask(Deadline::new(DEADLINE, &elapsed))
    }
}

impl Judge for BundleJudge {
    fn digest(&self) -> Digest {
        self.bundle.digest()
    }

    fn ladder(&self, facts: &Facts) -> Ladder {
        self.timed(|deadline| self.bundle.ladder(facts, deadline))
    }

    fn ladder_unseen(&self, facts: &Facts) -> Option<Ladder> {
        self.timed(|deadline| self.bundle.ladder_unseen(facts, deadline))
    }

    fn ask(&self, facts: &Facts, oversight: &Oversight) -> Verdict {
        self.timed(|deadline| self.bundle.ask(facts, oversight, deadline))
    }

    fn may_approve(&self, question: ApproveQuestion<'_>) -> Verdict {
        let consent = Consent {
            person: question.person,
            facts: question.facts,
            tier: question.tier,
            approvals: question.approvals,
            is_requester: question.facts.principal.on_behalf_of.as_ref() == Some(&question.person.id),
            is_agent_owner: question.owns_agent,
            development: question.development,
        };
        self.timed(|deadline| self.bundle.may_approve(&consent, deadline))
    }

    fn may_read(&self, person: &Person) -> Verdict {
        self.timed(|deadline| self.bundle.may_read(person, deadline))
    }

    fn may_use_console(&self, person: &Person) -> Verdict {
        self.timed(|deadline| self.bundle.may_use_console(person, deadline))
    }

    fn hints(&self, facts: &Facts) -> Vec<Hint> {
        let explanation = self.bundle.explain(facts);
        let hint = |said: Said, unmet| Hint { rule: said.rule, why: said.why, next: said.next, unmet };
        let forbidden = explanation.forbidden.into_iter().map(|said| hint(said, Vec::new()));
        let unmet = explanation.unmet.into_iter().map(|unmet| hint(unmet.said, unmet.conditions));
        forbidden.chain(unmet).collect()
    }
}
