//! Words for people: reasons, outcomes and the lines of a timeline.

use holdpoint_app::port::Hint;
use holdpoint_domain::{
    Timestamp,
    approval::Choice,
    decision::{Reason, ReasonEffect, Worse, rule},
    facts::{Brakes, Nearness, PlanFacts, Tripped},
    guardrail::{CATALOGUE_TIER, GUARDRAILS, NO_STANDING},
    reconcile::Part,
    record::{Body, DoubtWhy, FailWhy, Request},
};

use super::{aftermath, wire};
use crate::moment::clock_time;

/// Rules of the gate itself that are no rows of the table of guardrails: rule, fact, what to do next.
const OWN_RULES: [(&str, &str, &str); 6] = [
    (
        CATALOGUE_TIER,
        "the catalogue, or what was earned, gives the action this tier",
        "nothing: every action has a tier",
    ),
    (
        NO_STANDING,
        "the agent has neither a track record nor its owner's acceptance",
        "have its owner's team accept it in the registry",
    ),
    (
        rule::NOTHING_PERMITS,
        "no policy rule permits it, with any oversight",
        "see the hints for what would have had to be different",
    ),
    (
        rule::NOT_MONOTONE,
        "the policy allows it with less oversight and not with more",
        "the operator must correct the policy",
    ),
    (rule::POLICY_FAILED, "the policy could not be evaluated", "the operator must look at the policy engine"),
    (
        rule::TRIGGER_INDETERMINATE,
        "nobody can tell whether the trigger holds",
        "wait: the gate measures again",
    ),
];

/// A reason with its words.
pub(crate) fn reason(reason: &Reason) -> wire::Reason {
    let id = reason.rule.as_str();
    let guardrail = GUARDRAILS.iter().find(|guardrail| guardrail.id == id).map(|row| (row.fact, row.next));
    let own = || OWN_RULES.iter().find(|row| row.0 == id).map(|row| (row.1, row.2));
    let (fact, next) = guardrail.or_else(own).unwrap_or(match reason.effect {
        ReasonEffect::Permitted => ("a rule of the policy permits it", "nothing"),
        ReasonEffect::Forbade | ReasonEffect::Denied => {
            ("a rule of the policy forbids it", "see the rule in the policy")
        }
        ReasonEffect::Failed => {
            ("a rule of the policy could not be evaluated", "the operator must correct the policy")
        }
        ReasonEffect::Deferred => ("nobody can tell yet", "the gate measures again"),
        ReasonEffect::Raised(_) => ("a rule raised the tier", "see the rule"),
    });
    wire::Reason {
        rule: reason.rule.clone(),
        effect: reason.effect,
        fact: fact.to_owned(),
        next: next.to_owned(),
    }
}

/// Whose word each of what a plan was decided from is.
pub(crate) fn provenance(facts: &PlanFacts) -> Vec<wire::Sourced> {
    holdpoint_domain::provenance::of(facts).into_iter().map(Into::into).collect()
}

/// Says which run, budget or limit it is that holds a plan back, and until when.
pub(crate) fn specify(reasons: &mut [wire::Reason], facts: &PlanFacts) {
    for one in reasons {
        *one = specified(one.clone(), facts);
    }
}

/// A reason that says which run, budget or limit it is.
pub(crate) fn specified(mut reason: wire::Reason, facts: &PlanFacts) -> wire::Reason {
    let first = facts.first();
    if let Some(which) = which(reason.rule.as_str(), &first.brakes, Some(first.at_ms)) {
        reason.fact = format!("{}: {which}", reason.fact);
    }
    reason
}

/// What is worse at the claim, with the run, budget or limit that holds it back.
pub(crate) fn worse(worse: &Worse) -> String {
    let Worse::Held { rules, brakes: Some(brakes) } = worse else { return worse.to_string() };
    let which: Vec<_> = rules.iter().filter_map(|rule| which(rule.as_str(), brakes, None)).collect();
    if which.is_empty() { worse.to_string() } else { format!("{worse}: {}", which.join("; ")) }
}

fn which(rule: &str, brakes: &Brakes, now: Option<Timestamp>) -> Option<String> {
    let until =
        |time: Option<Timestamp>| time.map_or_else(String::new, |at| format!(", until {}", clock_time(at)));
    match rule {
        "over-budget" => {
            brakes.over_budget.as_ref().map(|over| format!("`{}`{}", over.budget, until(over.until_ms)))
        }
        "over-plan-limit" => brakes.plan_limit.as_ref().map(|limit| format!("`{limit}`")),
        "neighbourhood-busy" => brakes.neighbour.as_ref().map(|near| {
            let at = match (&near.service, &near.shared) {
                (Some(service), _) => format!(" at service `{service}`"),
                (None, Some(shared)) => {
                    format!(" on {} `{}`, which both share", shared.kind.word(), shared.name)
                }
                (None, None) => String::new(),
            };
            let why = match near.why {
                Nearness::Running => "is under way or in doubt",
                Nearness::CoolingDown => "has to settle",
            };
            format!("plan `{}`{at} {why}{}", near.plan, until(near.until_ms))
        }),
        "breaker-open" => brakes.breaker.as_ref().map(|tripped| {
            let Tripped { action, environment, bad, until_ms } = tripped;
            format!("{bad} bad runs of `{action}` in `{environment}`{}", until(*until_ms))
        }),
        "own-doing" => brakes.own_doing.as_ref().map(|plan| format!("plan `{plan}`")),
        "error-budget-spent" => brakes.error_budget.as_ref().map(|budget| format!("`{budget}`")),
        "dependencies-unread" => brakes.dependencies_unread.as_ref().map(|unread| match unread.read_at_ms {
            Some(at) => {
                let ago = now.map_or_else(String::new, |now| format!(", {} ago", now.since(at)));
                format!("`{}`, last read {}{ago}", unread.source, clock_time(at))
            }
            None => format!("`{}`, never read", unread.source),
        }),
        _ => None,
    }
}

/// Puts what the authors of rules say into the reasons, and returns what was not met.
pub(crate) fn hints(hints: Vec<Hint>, reasons: &mut [wire::Reason]) -> Vec<wire::Hint> {
    // A rule of the policy speaks for itself, where its author wrote `@why` and `@next`.
    for reason in reasons {
        if let Some(hint) = hints.iter().find(|hint| hint.rule == reason.rule) {
            hint.why.iter().for_each(|why| reason.fact.clone_from(why));
            hint.next.iter().for_each(|next| reason.next.clone_from(next));
        }
    }
    let unmet = hints.into_iter().filter(|hint| !hint.unmet.is_empty());
    unmet.map(|hint| wire::Hint { rule: hint.rule, unmet: hint.unmet }).collect()
}

/// The reason that a denial is told with: the first one that stands in the way.
pub(crate) fn decisive(reasons: &[wire::Reason]) -> Option<&wire::Reason> {
    reasons.iter().find(|reason| match reason.effect {
        ReasonEffect::Denied | ReasonEffect::Forbade | ReasonEffect::Failed => true,
        ReasonEffect::Raised(_) | ReasonEffect::Permitted | ReasonEffect::Deferred => false,
    })
}

/// Why a run, or its undo, failed.
pub(crate) const fn failure(why: FailWhy) -> &'static str {
    match why {
        FailWhy::Refused => "the executor refused the permit",
        FailWhy::NoLease => "no credential could be leased",
        FailWhy::Rehearsal => "the dry run failed",
        FailWhy::Version => "the target was not in the expected version",
        FailWhy::NoEffect => "the executor tried, and nothing changed",
        FailWhy::Interrupted => "the gate was interrupted before the effect began",
        FailWhy::NotVerified => "the result did not verify in time",
        FailWhy::Regressed => "what held before does not hold any more",
        FailWhy::Halted => "somebody halted everything",
        FailWhy::Braked => "a freeze began between two steps",
        FailWhy::NoUndo => "nothing can undo it",
    }
}

/// Why nobody knows how a run ended.
pub(crate) const fn doubt(why: DoubtWhy) -> &'static str {
    match why {
        DoubtWhy::OtherVersion => "the target is neither as it was nor as our effect leaves it",
        DoubtWhy::ChangedSince => "somebody changed the target after our effect",
        DoubtWhy::Unobservable => "the target cannot be observed",
        DoubtWhy::HaltedHard => "somebody halted everything, undos included",
        DoubtWhy::MayStillHappen => "the executor did not say how it ended, and the effect may still come",
    }
}

/// A record as a line of a timeline.
pub(crate) fn moment(body: &Body) -> String {
    match body {
        Body::Genesis { .. } => "the log begins".to_owned(),
        Body::Started { .. } => "the gate began to serve".to_owned(),
        Body::ChangeProposed { terms } => {
            format!("proposed another {} as change {}", terms.control, terms.id)
        }
        Body::ChangeDecided { statement } => {
            let said = match statement.statement.choice {
                Choice::Approve => "approved",
                Choice::Reject => "rejected",
            };
            format!("{said} change {}", statement.statement.terms.id)
        }
        Body::Changed { change, retired } => {
            let gone: String =
                retired.iter().flatten().map(|id| format!("; passkey {id} signs no more")).collect();
            format!("the {} was replaced by change {}{gone}", change.control, change.id)
        }
        Body::InputRefused { control, .. } => {
            format!("the {control} on disk is not the one in force: T1 and T2 are suspended")
        }
        Body::InputRestored { control } => format!("the {control} on disk is the one in force again"),
        Body::Halted { halt } => format!("halted everything ({})", halt.reach),
        Body::Resumed { .. } => "let it go on".to_owned(),
        Body::Invited { invitation } => {
            format!("invited {} to register a passkey, as act {}", invitation.person, invitation.act)
        }
        Body::Enrolling { act, passkey, change } => {
            format!("registered passkey {} by act {act}; change {change} asks for it", passkey.id)
        }
        Body::Delegated { delegation } => {
            let head = delegation.head.as_ref().map(|head| format!(" for {head}")).unwrap_or_default();
            let via: String = delegation.via.iter().map(|agent| format!(" by way of {agent}")).collect();
            format!("agent {} acts{head}{via}", delegation.to)
        }
        Body::Strangers { turned_away, .. } => {
            let count = turned_away.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
            format!("{count} requests of nobody that the gate knows were turned away")
        }
        Body::Incident { told } if told.firing == 0 => {
            format!("incident {} is over, says {}", told.incident, told.source)
        }
        Body::Incident { told } => {
            let (incident, source, firing) = (&told.incident, &told.source, told.firing);
            format!("incident {incident}: {firing} alerts fire, says {source}")
        }
        Body::Proposed { .. } => "proposed the plan".to_owned(),
        Body::Measured { evidence } => {
            let agreement = evidence.evidence.agreement;
            let (holding, sources) = (agreement.holding, agreement.sources);
            format!(
                "measured {}: {holding} of {sources} sources say that it holds",
                evidence.evidence.condition
            )
        }
        Body::Decided { decision, .. } => format!("decided: {} at {}", decision.answer, decision.tier),
        Body::Deferred { .. } => "will measure again".to_owned(),
        Body::Held { terms } => format!("waits for people under hold {}", terms.hold),
        Body::Approved { .. } => "approved".to_owned(),
        Body::Rejected { .. } => "rejected".to_owned(),
        Body::Narrowed { into, .. } => format!("narrowed to plan {into}"),
        Body::Expired => "its time ran out".to_owned(),
        Body::Voided { worse: found } => {
            let found: Vec<_> = found.iter().map(worse).collect();
            format!("void: {}", found.join("; "))
        }
        Body::Permitted { epoch, .. } => format!("granted a permit with epoch {epoch}"),
        Body::Claimed { permit, .. } => format!("claimed permit {permit}"),
        Body::Leased { lease } => format!("leased credential {}", lease.id),
        Body::LeasedAgain { lease } => format!("leased a further credential {}", lease.id),
        Body::RevocationAsked { lease } => format!("asked for the end of credential {lease}"),
        Body::Revoked { lease } => format!("revoked credential {}, and a failed use proved it", lease),
        Body::Rehearsed { .. } => "the dry run passed, and that of its undo".to_owned(),
        Body::Applying { step, .. } => format!("the effect of step {} begins", human(*step)),
        Body::Applied { step, .. } => format!("the effect of step {} was observed", human(*step)),
        Body::Succeeded { .. } => "succeeded: the result was measured".to_owned(),
        Body::Failed { why } => format!("failed, nothing is left changed: {}", failure(*why)),
        Body::Undoing { step, why, .. } => {
            format!("the undo of step {} begins: {}", human(*step), failure(*why))
        }
        Body::NotUndone { step, why } => {
            format!("step {} could not be undone: {}", human(*step), failure(*why))
        }
        Body::Unwound { step, .. } => format!("step {} was undone", human(*step)),
        Body::Undone { .. } => "undone".to_owned(),
        Body::UndoFailed { why } => format!("the undo failed: {}", failure(*why)),
        Body::InDoubt { why } => format!("in doubt: {}", doubt(*why)),
        Body::Baseline { baseline } => aftermath::before(baseline),
        Body::Aftermath { aftermath: found } => aftermath::after(found),
        Body::ReviewOwed { owner, .. } => format!("team {owner} owes a review"),
        Body::Reviewed { statement, .. } => {
            let goes_on = if statement.statement.answers.may_go_on { "may" } else { "may not" };
            format!("reviewed: the agent {goes_on} go on doing this by itself")
        }
        Body::Resolved { statement, .. } => {
            format!("resolved: found {}", statement.statement.found.as_str().replace('_', " "))
        }
        Body::Reconciled { statement, .. } => {
            let (account, part) = (&statement.statement.account, statement.statement.part);
            let action = account.action.as_ref().map_or("something", |action| action.as_str());
            let said = match part {
                Part::Reported => "reported that they did",
                Part::Confirmed => "confirmed that they did",
                Part::Reviewed => "looked, and found as it was told that people did",
                Part::Disputed => "looked, and DISPUTED that people did",
            };
            format!("{said} {action} on {}, outside of Holdpoint", account.target)
        }
        Body::Evaluated { decision, .. } => {
            format!("evaluated without a plan: {} at {}", decision.answer, decision.tier)
        }
        Body::Refused { request, rule } => {
            let request = match request {
                Request::Propose => "to propose",
                Request::Decide => "to decide",
                Request::Narrow => "to narrow a plan",
                Request::BreakGlass => "to act beyond policy",
                Request::Delegate => "to delegate",
                Request::Invite => "to invite",
                Request::Enrol => "to register a passkey",
                Request::Claim => "to claim",
                Request::Change => "to propose a change",
                Request::DecideChange => "to decide on a change",
                Request::Review => "to review",
                Request::Resolve => "to resolve",
                Request::Reconcile => "to record what was done outside",
                Request::Halt => "to halt",
                Request::Resume => "to resume",
                Request::Evaluate => "to have an action evaluated",
                Request::Revoke => "to end a lease",
            };
            format!("was refused {request}: rule {rule}")
        }
    }
}

/// People count from one.
fn human(step: u32) -> u32 {
    step.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use holdpoint_domain::Id;

    use super::*;

    #[test]
    fn every_rule_of_the_gate_has_words_of_its_own() {
        let rules = GUARDRAILS.iter().map(|row| row.id).chain(OWN_RULES.map(|row| row.0));
        for id in rules {
            let told = reason(&Reason { rule: Id::parse(id).unwrap(), effect: ReasonEffect::Denied });
            assert!(!told.fact.starts_with("a rule"), "{id}: {}", told.fact);
            assert!(!told.next.is_empty(), "{id}");
        }
    }
}
