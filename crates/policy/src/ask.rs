//! Asking a bundle: the ladder, one rung, and whether a person may approve.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::{AuthorizationError, Authorizer, Decision, Entities, PolicySet, Request};
use holdpoint_domain::{
    Id, Millis, Oversight, Rung, Tier,
    agent::Person,
    decision::{Ladder, Verdict},
    facts::Facts,
    id::kind,
};

use crate::{
    bundle::Bundle,
    fields::Fields,
    index::{Looks, Slice},
    narrow::Atoms,
    request::{Asked, Unasked},
};

/// The guardrail that answers for a target that nobody knows.
const UNKNOWN_TARGET: &str = "unknown-target";

/// How long an evaluation may take. Cedar cannot be interrupted, so an answer that comes late is thrown away: it is an
/// error, hence a denial. The caller reads the clock.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    limit: Millis,
    elapsed: &'a dyn Fn() -> Millis,
}

impl<'a> Deadline<'a> {
    /// Answers count while `elapsed()` is at most `limit`.
    #[must_use]
    pub fn new(limit: Millis, elapsed: &'a dyn Fn() -> Millis) -> Self {
        Self { limit, elapsed }
    }

    fn passed(&self) -> bool {
        (self.elapsed)() > self.limit
    }
}

impl std::fmt::Debug for Deadline<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deadline").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A person who wants to approve, and what.
#[derive(Debug, Clone, Copy)]
pub struct Consent<'a> {
    /// Who.
    pub person: &'a Person,
    /// The facts that the plan was decided from.
    pub facts: &'a Facts,
    /// The tier of the decision.
    pub tier: Tier,
    /// Approvals obtained so far, this one not among them.
    pub approvals: u32,
    /// They asked for the plan or narrowed it. The gate refuses them anyway.
    pub is_requester: bool,
    /// They answer for the agent that asks.
    pub is_agent_owner: bool,
    /// A development flag is in force.
    pub development: bool,
}

/// What the rules of a set did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    pub(crate) permits: BTreeSet<Id<kind::Rule>>,
    pub(crate) forbids: BTreeSet<Id<kind::Rule>>,
    pub(crate) failed: BTreeSet<Id<kind::Rule>>,
    /// A rule whose id is not one: cannot be, but must not turn into an allow.
    pub(crate) broken: bool,
}

impl Bundle {
    /// The answers on all rungs. A target that nobody knows is denied without asking.
    #[must_use]
    pub fn ladder(&self, facts: &Facts, deadline: Deadline<'_>) -> Ladder {
        self.answered(facts, deadline).0
    }

    /// The answers about a target that nobody looked at; none where a rule that can concern it looks at what only that would tell:
    /// `resource.down`, and `context.blast.replicaSharePercent`, which counts neighbours that are down.
    #[must_use]
    pub fn ladder_unseen(&self, facts: &Facts, deadline: Deadline<'_>) -> Option<Ladder> {
        let (ladder, looks) = self.answered(facts, deadline);
        (!looks.at_observed).then_some(ladder)
    }

    fn answered(&self, facts: &Facts, deadline: Deadline<'_>) -> (Ladder, Looks) {
        if let Some(answered) = self.remembered().find(facts) {
            return answered;
        }
        match self.prepare(facts) {
            Ok(mut question) => {
                let (ladder, looks) = (question.ladder(deadline), question.slice.looks());
                self.remembered().keep(facts, looks, &ladder);
                (ladder, looks)
            }
            Err(unasked) => (Ladder::all(&refusal(&unasked)), Looks::default()),
        }
    }

    /// As [`Self::ladder`], without looking whether the same was asked before: what a benchmark measures.
    #[must_use]
    pub fn ladder_anew(&self, facts: &Facts, deadline: Deadline<'_>) -> Ladder {
        match self.prepare(facts) {
            Ok(mut question) => question.ladder(deadline),
            Err(unasked) => Ladder::all(&refusal(&unasked)),
        }
    }

    /// The answer with the oversight that was really obtained: asked at the claim.
    #[must_use]
    pub fn ask(&self, facts: &Facts, oversight: &Oversight, deadline: Deadline<'_>) -> Verdict {
        match self.prepare(facts) {
            Ok(mut question) => question.answer(oversight, deadline),
            Err(unasked) => refusal(&unasked),
        }
    }

    /// Whether this person may approve this plan. The gate itself refuses requesters, agents and second approvals of one
    /// person before it asks.
    #[must_use]
    pub fn may_approve(&self, consent: &Consent<'_>, deadline: Deadline<'_>) -> Verdict {
        self.of_person(Asked::consent(self.schema(), consent), deadline)
    }

    /// Whether this person may read the whole ledger. No rule says so: nobody may.
    #[must_use]
    pub fn may_read(&self, person: &Person, deadline: Deadline<'_>) -> Verdict {
        self.of_person(Asked::of_gate(self.schema(), person, &self.schema().read_ledger), deadline)
    }

    /// Whether this person may use the console. No rule says so: nobody may.
    #[must_use]
    pub fn may_use_console(&self, person: &Person, deadline: Deadline<'_>) -> Verdict {
        self.of_person(Asked::of_gate(self.schema(), person, &self.schema().use_console), deadline)
    }

    fn of_person(&self, asked: Result<Asked<'_>, Unasked>, deadline: Deadline<'_>) -> Verdict {
        let asked = match asked {
            Ok(asked) => asked,
            Err(unasked) => return refusal(&unasked),
        };
        let (Ok(slice), Ok(request), Ok(entities)) =
            (self.slice(&asked, None), asked.bare(), asked.entities(Fields::ALL))
        else {
            return failed();
        };
        let mut matched = run(&slice.fixed, &request, &entities);
        matched.add(run(&slice.varying, &request, &entities));
        if deadline.passed() { failed() } else { matched.verdict() }
    }

    /// The question, with the rules that can match it or fail on it.
    pub(crate) fn prepare<'f>(&'f self, facts: &'f Facts) -> Result<Question<'f>, Unasked> {
        let atoms = facts.target.as_ref().map(|target| Atoms::of(facts, target));
        let asked = Asked::plan(self.schema(), facts)?;
        let slice = self.slice(&asked, atoms).map_err(Unasked::Built)?;
        let entities = asked.entities(slice.fields())?;
        Ok(Question { asked, slice, entities, fixed: None })
    }

    /// The request, and all rules whose scope it is in, whatever their conditions.
    pub(crate) fn prepare_whole<'f>(&'f self, facts: &'f Facts) -> Result<(Asked<'f>, Arc<Slice>), Unasked> {
        let asked = Asked::plan(self.schema(), facts)?;
        let slice = self.slice(&asked, None).map_err(Unasked::Built)?;
        Ok((asked, slice))
    }
}

/// What an agent asks, on one rung after the other. What does not depend on the rung is built and evaluated once.
pub(crate) struct Question<'f> {
    asked: Asked<'f>,
    pub(crate) slice: Arc<Slice>,
    entities: Entities,
    /// What the rules do that do not look at the oversight, once known.
    fixed: Option<Matched>,
}

impl Question<'_> {
    fn ladder(&mut self, deadline: Deadline<'_>) -> Ladder {
        let mut on = |rung: Rung| self.answer(&rung.oversight(), deadline);
        Ladder { t1: on(Rung::T1), t2: on(Rung::T2), t3: on(Rung::T3), t4: on(Rung::T4) }
    }

    fn answer(&mut self, oversight: &Oversight, deadline: Deadline<'_>) -> Verdict {
        if deadline.passed() {
            return failed();
        }
        let Self { asked, slice, entities, fixed } = self;
        let Ok(matched) = matched(asked, slice, entities, oversight, fixed) else { return failed() };
        if deadline.passed() { failed() } else { matched.verdict() }
    }
}

/// What the rules of a slice do under this oversight. `fixed` is what those do that do not look at it, once known.
pub(crate) fn matched(
    asked: &Asked<'_>,
    slice: &Slice,
    entities: &Entities,
    oversight: &Oversight,
    fixed: &mut Option<Matched>,
) -> Result<Matched, Unasked> {
    let mut matched = match fixed {
        Some(fixed) => fixed.clone(),
        None if slice.fixed.is_empty() => Matched::default(),
        None => {
            let request = asked.under(None, slice.fixed_fields)?;
            fixed.insert(run(&slice.fixed, &request, entities)).clone()
        }
    };
    if !slice.varying.is_empty() {
        let request = asked.under(Some(oversight), slice.varying_fields)?;
        matched.add(run(&slice.varying, &request, entities));
    }
    Ok(matched)
}

/// An error that no rule is to blame for.
const fn failed() -> Verdict {
    Verdict::Error { rules: Vec::new() }
}

fn refusal(unasked: &Unasked) -> Verdict {
    match unasked {
        Unasked::UnknownTarget => Verdict::Deny { rules: Id::parse(UNKNOWN_TARGET).into_iter().collect() },
        Unasked::OtherCatalogue | Unasked::Built(_) => failed(),
    }
}

/// What the rules of a set do. Of an allow, Cedar names the permits; of a denial, the forbids.
pub(crate) fn run(set: &PolicySet, request: &Request, entities: &Entities) -> Matched {
    let mut matched = Matched::default();
    if set.is_empty() {
        return matched;
    }
    let response = Authorizer::new().is_authorized(request, set, entities);
    let reasons = match response.decision() {
        Decision::Allow => &mut matched.permits,
        Decision::Deny => &mut matched.forbids,
    };
    for id in response.diagnostics().reason() {
        match Id::parse(id.as_ref()) {
            Ok(id) => {
                reasons.insert(id);
            }
            Err(_) => matched.broken = true,
        }
    }
    for AuthorizationError::PolicyEvaluationError(err) in response.diagnostics().errors() {
        match Id::parse(err.policy_id().as_ref()) {
            Ok(id) => {
                matched.failed.insert(id);
            }
            Err(_) => matched.broken = true,
        }
    }
    matched
}

impl Matched {
    pub(crate) fn add(&mut self, other: Self) {
        self.permits.extend(other.permits);
        self.forbids.extend(other.forbids);
        self.failed.extend(other.failed);
        self.broken |= other.broken;
    }

    /// An error denies whatever else matched: Cedar itself skips a rule that fails, and a forbid that is skipped allows.
    pub(crate) fn verdict(self) -> Verdict {
        let rules = |ids: BTreeSet<_>| ids.into_iter().collect();
        if self.broken || !self.failed.is_empty() {
            Verdict::Error { rules: rules(self.failed) }
        } else if !self.forbids.is_empty() || self.permits.is_empty() {
            Verdict::Deny { rules: rules(self.forbids) }
        } else {
            Verdict::Allow { rules: rules(self.permits) }
        }
    }
}
