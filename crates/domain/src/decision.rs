//! The decision: facts and the policy's answers in, tier or refusal with its reasons out.

mod worse;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Oversight, Rung, Tier,
    action::Reversibility,
    digest::DigestError,
    facts::{Facts, PlanFacts},
    guardrail::{self, CATALOGUE_TIER, Demand, GUARDRAILS, Guardrail, NO_STANDING},
    id::kind,
    trigger::Truth,
};

pub use worse::{Class, Worse};

/// What the policy engine answered on one rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// At least one permit matched, no forbid did, and no rule failed.
    Allow {
        /// The permits that matched.
        rules: Vec<Id<kind::Rule>>,
    },
    /// No permit matched, or a forbid did.
    Deny {
        /// The forbids that matched; none when simply nothing permits it.
        rules: Vec<Id<kind::Rule>>,
    },
    /// A rule could not be evaluated, or the answer came after its deadline. A denial, whatever else matched.
    Error {
        /// The rules that failed; none when the whole evaluation did.
        rules: Vec<Id<kind::Rule>>,
    },
}

/// The policy's answers on all rungs, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// On [`Rung::T1`].
    pub t1: Verdict,
    /// On [`Rung::T2`].
    pub t2: Verdict,
    /// On [`Rung::T3`].
    pub t3: Verdict,
    /// On [`Rung::T4`].
    pub t4: Verdict,
}

impl Verdict {
    /// What two principals are both allowed: a denial or an error of either is one of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = |mut one: Vec<Id<kind::Rule>>, other: Vec<Id<kind::Rule>>| {
            one.extend(other);
            one.sort();
            one.dedup();
            one
        };
        match (self, other) {
            (Self::Error { rules }, Self::Error { rules: others }) => {
                Self::Error { rules: both(rules, others) }
            }
            (Self::Error { rules }, Self::Allow { .. } | Self::Deny { .. })
            | (Self::Allow { .. } | Self::Deny { .. }, Self::Error { rules }) => Self::Error { rules },
            (Self::Deny { rules }, Self::Deny { rules: others }) => Self::Deny { rules: both(rules, others) },
            (Self::Deny { rules }, Self::Allow { .. }) | (Self::Allow { .. }, Self::Deny { rules }) => {
                Self::Deny { rules }
            }
            (Self::Allow { rules }, Self::Allow { rules: others }) => {
                Self::Allow { rules: both(rules, others) }
            }
        }
    }
}

impl Ladder {
    /// On each rung, what two principals are both allowed. Answers of which more oversight turns one into a denial are an error
    /// before they are put together, where nobody would see it any more.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (this, other) = (self.sound(), other.sound());
        let (Some(this), Some(other)) = (this, other) else {
            let error = || Verdict::Error { rules: Vec::new() };
            return Self { t1: error(), t2: error(), t3: error(), t4: error() };
        };
        this.both(other)
    }

    /// Itself, if more oversight turns none of its answers into a denial.
    fn sound(self) -> Option<Self> {
        let falls = Rung::ALL
            .windows(2)
            .any(|pair| matches!(pair, [low, high] if self.on(*low).allows() && !self.on(*high).allows()));
        (!falls).then_some(self)
    }

    fn both(self, other: Self) -> Self {
        Self {
            t1: self.t1.and(other.t1),
            t2: self.t2.and(other.t2),
            t3: self.t3.and(other.t3),
            t4: self.t4.and(other.t4),
        }
    }
}

/// What the gate concluded, from the mildest to the strictest: a plan has the strictest answer of its steps. The words of AARM v1.0
/// are ALLOW, STEP_UP, DEFER and DENY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It may run by itself.
    Allow,
    /// It waits for people.
    Hold,
    /// Nobody can tell yet; the gate measures again.
    Defer,
    /// No.
    Deny,
}

/// One reason: which rule, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The guardrail or policy rule.
    pub rule: Id<kind::Rule>,
    /// What it did.
    pub effect: ReasonEffect,
}

/// What a rule did to the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonEffect {
    /// A guardrail raised the tier to this.
    Raised(Tier),
    /// A guardrail denied.
    Denied,
    /// Nobody can tell yet.
    Deferred,
    /// A policy rule permitted on the rung of the tier.
    Permitted,
    /// A policy rule forbade on the highest rung.
    Forbade,
    /// A policy rule could not be evaluated.
    Failed,
}

/// The decision. Its canonical bytes are recorded, and approvals name their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `holdpoint/decision/v1`.
    pub r#type: DecisionType,
    /// The answer.
    pub answer: Answer,
    /// The tier; the floor where the answer is not allow or hold.
    pub tier: Tier,
    /// The lowest tier that the guardrails allow.
    pub floor: Tier,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What it was decided from.
    pub facts: Digest,
    /// The policy bundle it was decided under.
    pub policy: Digest,
}

/// The type tag of [`Decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecisionType {
    /// Version 1.
    #[serde(rename = "holdpoint/decision/v1")]
    V1,
}

/// The ids of the reasons that the gate itself gives.
pub mod rule {
    /// No policy rule permits the action, on any rung.
    pub const NOTHING_PERMITS: &str = "nothing-permits-it";
    /// More oversight turned an allow into a deny.
    pub const NOT_MONOTONE: &str = "policy-not-monotone";
    /// The evaluation failed as a whole.
    pub const POLICY_FAILED: &str = "policy-failed";
    /// The trigger cannot be told either way.
    pub const TRIGGER_INDETERMINATE: &str = "trigger-indeterminate";
}

impl Verdict {
    /// Whether it allows.
    #[must_use]
    pub const fn allows(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }
}

impl Ladder {
    /// The answer on one rung.
    #[must_use]
    pub const fn on(&self, rung: Rung) -> &Verdict {
        match rung {
            Rung::T1 => &self.t1,
            Rung::T2 => &self.t2,
            Rung::T3 => &self.t3,
            Rung::T4 => &self.t4,
        }
    }

    /// The same answer on all rungs.
    #[must_use]
    pub fn all(verdict: &Verdict) -> Self {
        Self { t1: verdict.clone(), t2: verdict.clone(), t3: verdict.clone(), t4: verdict.clone() }
    }
}

impl Decision {
    /// The digest that approvals and permits name.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        Digest::of(self)
    }
}

impl Answer {
    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
            Self::Defer => "defer",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The lowest tier that the guardrails allow, none where they deny, with every rule that had a say.
#[must_use]
pub fn floor(facts: &Facts) -> (Option<Tier>, Vec<Reason>) {
    // T0 is for what changes nothing, whatever was earned or written.
    let lowest = if facts.action.reversibility == Reversibility::ReadOnly { Tier::T0 } else { Tier::T1 };
    // Whoever is asked for in the catalogue is asked, whatever was earned.
    let lowest = if facts.action.approvals.is_some() { lowest.max(Tier::T3) } else { lowest };
    let catalogue = facts.earned().unwrap_or(facts.action.tier).max(lowest);
    let mut floor = catalogue;
    let mut denied = false;
    let mut reasons = vec![reason(CATALOGUE_TIER, ReasonEffect::Raised(catalogue))];
    for guardrail in GUARDRAILS.iter().filter(|guardrail| (guardrail.applies)(facts)) {
        match guardrail.demand {
            Demand::Deny => {
                denied = true;
                reasons.push(reason(guardrail.id, ReasonEffect::Denied));
            }
            Demand::AtLeast(tier) => {
                floor = floor.max(tier);
                reasons.push(reason(guardrail.id, ReasonEffect::Raised(tier)));
            }
        }
    }
    let lifted = match floor {
        Tier::T1 => Tier::T2,
        Tier::T2 => Tier::T3,
        Tier::T0 | Tier::T3 | Tier::T4 | Tier::T5 => floor,
    };
    if guardrail::is_newcomer(facts) && lifted > floor {
        floor = lifted;
        reasons.push(reason(NO_STANDING, ReasonEffect::Raised(lifted)));
    }
    ((!denied).then_some(floor), reasons.into_iter().flatten().collect())
}

/// Decides on a plan. Pure: the same facts and answers give the same bytes, for ever.
///
/// `ladders` holds policy's answers to [`Facts::for_policy`] of each step, in order. Each step is decided for itself; the plan
/// has the strictest answer and the highest tier among them.
///
/// In this order: a guardrail that denies, denies. An error or a non-monotone answer on any rung denies. A trigger that
/// nobody can tell defers, unless no rung would allow it anyway. Otherwise the tier is the first rung, from the floor
/// upward, that policy allows; none is a denial.
pub fn decide(facts: &PlanFacts, ladders: &[Ladder]) -> Result<Decision, DigestError> {
    let mut decision = Decision {
        r#type: DecisionType::V1,
        answer: Answer::Allow,
        tier: Tier::T0,
        floor: Tier::T0,
        reasons: Vec::new(),
        facts: facts.digest()?,
        policy: facts.first().inputs.policy,
    };
    // A step that policy was not asked about failed.
    let unasked = Ladder::all(&Verdict::Error { rules: Vec::new() });
    for (facts, ladder) in facts.steps().zip(ladders.iter().chain(std::iter::repeat(&unasked))) {
        let (floor, mut reasons) = floor(facts);
        let (answer, tier) = match floor {
            None => (Answer::Deny, highest(&reasons)),
            Some(floor) => climb(facts, ladder, floor, &mut reasons),
        };
        decision.answer = decision.answer.max(answer);
        decision.tier = decision.tier.max(tier);
        decision.floor = decision.floor.max(floor.unwrap_or(Tier::T5));
        for reason in reasons {
            if !decision.reasons.contains(&reason) {
                decision.reasons.push(reason);
            }
        }
    }
    Ok(decision)
}

/// The reason of what people ask for beyond policy.
pub const BROKEN_GLASS: &str = "break-glass";

/// What people ask for beyond policy: nobody is asked, and it waits for two of them. The facts are those of anybody's plan.
pub fn beyond_policy(facts: &PlanFacts) -> Result<Decision, DigestError> {
    Ok(Decision {
        r#type: DecisionType::V1,
        answer: Answer::Hold,
        tier: Tier::T4,
        floor: Tier::T4,
        reasons: reason(BROKEN_GLASS, ReasonEffect::Raised(Tier::T4)).into_iter().collect(),
        facts: facts.digest()?,
        policy: facts.first().inputs.policy,
    })
}

/// What is worse at the claim of what people ask for beyond policy: another target, version, catalogue entry or blast radius than
/// the one that they approved. Policy, guardrails and brakes are not asked.
#[must_use]
pub fn moved(decided: &PlanFacts, fresh: &PlanFacts) -> Vec<Worse> {
    let mut fresh_steps = fresh.steps();
    let mut found: Vec<_> = decided
        .steps()
        .flat_map(|before| match fresh_steps.next() {
            Some(now) => other_than(before, now),
            None => vec![Worse::TargetGone],
        })
        .collect();
    found.extend(fresh_steps.next().map(|_| Worse::Blast));
    found
}

fn climb(facts: &Facts, ladder: &Ladder, floor: Tier, reasons: &mut Vec<Reason>) -> (Answer, Tier) {
    let failed: Vec<_> = Rung::ALL.iter().filter_map(|rung| failure(ladder.on(*rung))).collect();
    if let Some(rules) = failed.first() {
        add(reasons, rules, rule::POLICY_FAILED, ReasonEffect::Failed);
        return (Answer::Deny, floor);
    }
    if Rung::ALL
        .windows(2)
        .any(|pair| matches!(pair, [low, high] if ladder.on(*low).allows() && !ladder.on(*high).allows()))
    {
        add(reasons, &[], rule::NOT_MONOTONE, ReasonEffect::Failed);
        return (Answer::Deny, floor);
    }
    let first = Rung::ALL.into_iter().find(|rung| rung.tier() >= floor && ladder.on(*rung).allows());
    let (Some(rung), Some(_)) = (first, Rung::of(floor)) else {
        if let Verdict::Deny { rules } = &ladder.t4 {
            add(reasons, rules, rule::NOTHING_PERMITS, ReasonEffect::Forbade);
        }
        return (Answer::Deny, floor);
    };
    if facts.trigger.agreement.truth == Truth::Indeterminate
        && facts.action.reversibility != Reversibility::ReadOnly
    {
        add(reasons, &[], rule::TRIGGER_INDETERMINATE, ReasonEffect::Deferred);
        return (Answer::Defer, floor);
    }
    if let Verdict::Allow { rules } = ladder.on(rung) {
        add(reasons, rules, rule::POLICY_FAILED, ReasonEffect::Permitted);
    }
    // A read-only action that nobody needs to watch stays T0; everything else has the tier of its rung.
    let tier = if floor == Tier::T0 && rung == Rung::T1 { Tier::T0 } else { rung.tier() };
    let answer = if tier >= Tier::T3 { Answer::Hold } else { Answer::Allow };
    (answer, tier)
}

fn failure(verdict: &Verdict) -> Option<&[Id<kind::Rule>]> {
    match verdict {
        Verdict::Error { rules } => Some(rules),
        Verdict::Allow { .. } | Verdict::Deny { .. } => None,
    }
}

fn add(reasons: &mut Vec<Reason>, rules: &[Id<kind::Rule>], otherwise: &str, effect: ReasonEffect) {
    if rules.is_empty() {
        reasons.extend(reason(otherwise, effect));
    }
    reasons.extend(rules.iter().map(|rule| Reason { rule: rule.clone(), effect }));
}

/// Rule ids built into this crate follow the grammar (tested), so none is ever dropped.
fn reason(rule: &str, effect: ReasonEffect) -> Option<Reason> {
    Id::parse(rule).ok().map(|rule| Reason { rule, effect })
}

fn highest(reasons: &[Reason]) -> Tier {
    let raised = |reason: &Reason| match reason.effect {
        ReasonEffect::Raised(tier) => Some(tier),
        ReasonEffect::Denied
        | ReasonEffect::Deferred
        | ReasonEffect::Permitted
        | ReasonEffect::Forbade
        | ReasonEffect::Failed => None,
    };
    reasons.iter().filter_map(raised).max().unwrap_or(Tier::T5)
}

/// Checks at the claim that nothing is worse than what was decided and approved.
///
/// `fresh` are the facts measured at the claim, `verdicts` the policy's answer to each step's with the oversight `obtained`.
/// Returns every difference; an empty list means go.
#[must_use]
pub fn worse(
    decided: &PlanFacts,
    fresh: &PlanFacts,
    verdicts: &[Verdict],
    obtained: &Oversight,
) -> Vec<Worse> {
    let mut found = Vec::new();
    let missing = Verdict::Error { rules: Vec::new() };
    let verdicts = verdicts.iter().chain(std::iter::repeat(&missing));
    let mut fresh_steps = fresh.steps();
    for (before, verdict) in decided.steps().zip(verdicts) {
        let differences = match fresh_steps.next() {
            Some(now) => worse_step(before, now, verdict, obtained),
            None => vec![Worse::TargetGone],
        };
        for difference in differences {
            if !found.contains(&difference) {
                found.push(difference);
            }
        }
    }
    if fresh_steps.next().is_some() {
        found.push(Worse::Blast);
    }
    found
}

/// What of a step is not what it was: the target, its version, the catalogue's entry, the blast radius.
fn other_than(decided: &Facts, fresh: &Facts) -> Vec<Worse> {
    let mut found = Vec::new();
    match (&decided.target, &fresh.target) {
        (Some(before), Some(now)) if before.id == now.id => {
            if before.version != now.version {
                let parts = before.parts.changed(&now.parts);
                found.push(Worse::Version { decided: before.version, now: now.version, parts });
            }
            found.extend(worse::higher_class(before, now));
        }
        _ => found.push(Worse::TargetGone),
    }
    if decided.action.entry != fresh.action.entry {
        found.push(Worse::CatalogueEntry { decided: decided.action.entry, now: fresh.action.entry });
    }
    found.extend(worse::more_disturbed(&decided.blast, &fresh.blast));
    found
}

/// The guardrails that deny.
fn denying(facts: &Facts) -> Vec<Id<kind::Rule>> {
    let denies = |row: &&Guardrail| row.demand == Demand::Deny && (row.applies)(facts);
    GUARDRAILS.iter().filter(denies).filter_map(|row| Id::parse(row.id).ok()).collect()
}

fn worse_step(decided: &Facts, fresh: &Facts, verdict: &Verdict, obtained: &Oversight) -> Vec<Worse> {
    let mut found = other_than(decided, fresh);
    if decided.trigger.agreement.truth == Truth::Holds && fresh.trigger.agreement.truth != Truth::Holds {
        found.push(Worse::TriggerGone);
    }
    // Whoever approved before the other run began did not see what it did, nor that the budget is spent since.
    let of_late = [
        ("own-doing", fresh.brakes.own_doing.is_some() && fresh.brakes.own_doing != decided.brakes.own_doing),
        ("error-budget-spent", fresh.brakes.error_budget.is_some() && decided.brakes.error_budget.is_none()),
        (
            "dependencies-unread",
            fresh.brakes.dependencies_unread.is_some() && decided.brakes.dependencies_unread.is_none(),
        ),
    ];
    let held = |(rule, _)| Worse::held(Id::parse(rule).into_iter().collect(), &fresh.brakes);
    found.extend(of_late.into_iter().filter(|(_, is_new)| *is_new).map(held));
    match floor(fresh).0 {
        None => found.push(Worse::held(denying(fresh), &fresh.brakes)),
        Some(now) => {
            let enough = Rung::of(now).is_some_and(|rung| obtained.dominates(&rung.oversight()));
            if !enough {
                found.push(Worse::Tier { obtained: tier_of(obtained), now });
            }
            if !verdict.allows() {
                found.push(Worse::Denied);
            }
        }
    }
    found
}

/// The highest tier that an oversight is enough for.
#[must_use]
pub fn tier_of(oversight: &Oversight) -> Tier {
    let enough = Rung::ALL.into_iter().filter(|rung| oversight.dominates(&rung.oversight()));
    enough.map(Rung::tier).max().unwrap_or(Tier::T0)
}
