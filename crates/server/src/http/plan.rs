//! A plan as people and agents see it over HTTP.

use holdpoint_app::{
    approve,
    gate::Gate,
    port::{Hint, PlanRow},
    view::PlanView,
};
use holdpoint_domain::{
    Rung,
    approval::{Choice, HoldTerms},
    decision::{Answer, Decision, Reason, ReasonEffect, rule, tier_of},
    facts::PlanFacts,
    plan::Narrative,
    quorum::Quorum,
    text::visible,
};

use super::{problem::Problem, wire, words};

/// A row of a list.
pub(super) fn summary(row: PlanRow) -> wire::PlanSummary {
    wire::PlanSummary {
        id: row.id,
        state: row.state,
        agent: row.agent,
        action: row.action,
        target: row.target,
        tier: row.tier,
        hold: row.hold,
        proposed_at_ms: row.proposed_at,
        deadline_ms: row.deadline,
        next_at_ms: row.next_at,
        last_index: row.last_index,
    }
}

/// Everything about a plan.
pub(super) async fn detail(gate: &Gate, view: PlanView) -> Result<wire::PlanDetail, Problem> {
    let decision = view.decided.as_ref().map(|(decision, _)| decision);
    let mut reasons: Vec<_> =
        decision.map_or_else(Vec::new, |decision| decision.reasons.iter().map(words::reason).collect());
    let hints = words::hints(hints(gate, &view), &mut reasons);
    if let Some((_, facts)) = &view.decided {
        words::specify(&mut reasons, facts);
    }
    Ok(wire::PlanDetail {
        state: view.state,
        answer: view.answer(),
        tier: view.tier(),
        floor: decision.map(|decision| decision.floor),
        reasons,
        hints,
        provenance: view.decided.as_ref().map_or_else(Vec::new, |(_, facts)| words::provenance(facts)),
        plan_digest: view.plan.digest().map_err(|err| Problem::internal(&err))?,
        narrative: narrative(gate, &view).await?,
        hold: view.terms.clone().map(|terms| hold(gate, terms, &view)),
        permit: view.permit.as_deref().and_then(|jws| permit(gate, jws)),
        run: wire::Run {
            failed: view.failed.map(|why| words::failure(why).to_owned()),
            doubt: view.doubt.map(|why| words::doubt(why).to_owned()),
            worse: view.worse.iter().map(words::worse).collect(),
        },
        review_due_ms: view.review_due,
        aftermath: view.aftermath.clone(),
        timeline: timeline(&view),
        facts: view.decided.map(|(_, facts)| facts),
        evidence: view.evidence,
        plan: view.plan,
        id: view.id,
    })
}

/// What would have had to be different; only said under the very policy that denied it.
fn hints(gate: &Gate, view: &PlanView) -> Vec<Hint> {
    let denied = view.decided.as_ref().filter(|(decision, _)| {
        decision.answer == Answer::Deny && decision.policy == gate.ports.judge.digest()
    });
    denied.map_or_else(Vec::new, |(_, facts)| gate.hints(facts))
}

/// What denied facts would be allowed with: which rules deny whatever oversight there is, and the lowest rung on which policy
/// allows every step.
pub(super) fn allowed_with(gate: &Gate, decision: &Decision, facts: &PlanFacts) -> wire::AllowedWith {
    let denies = |reason: &&Reason| {
        matches!(reason.effect, ReasonEffect::Denied | ReasonEffect::Forbade | ReasonEffect::Failed)
            && reason.rule.as_str() != rule::NOTHING_PERMITS
    };
    let without = decision.reasons.iter().filter(denies).map(|reason| reason.rule.clone()).collect();
    let ladders = gate.ladders(facts);
    let allows = |rung: &Rung| ladders.iter().all(|ladder| ladder.on(*rung).allows());
    let tier = Rung::ALL.into_iter().find(allows).map(|rung| tier_of(&rung.oversight()));
    wire::AllowedWith { without, tier }
}

/// A plan as those see it who are asked to sign; none when it never waited for anybody.
pub(super) async fn hold_detail(gate: &Gate, view: PlanView) -> Result<Option<wire::HoldDetail>, Problem> {
    let narrative = narrative(gate, &view).await?;
    let Some(terms) = view.terms.clone() else { return Ok(None) };
    let wire::Hold { id, terms, needed, groups, missing, approvals, rejections } = hold(gate, terms, &view);
    let Some((decision, facts)) = view.decided else { return Ok(None) };
    let mut reasons: Vec<_> = decision.reasons.iter().map(words::reason).collect();
    words::specify(&mut reasons, &facts);
    Ok(Some(wire::HoldDetail {
        id,
        plan_id: view.id,
        state: view.state,
        terms,
        plan: view.plan,
        provenance: words::provenance(&facts),
        facts,
        reasons,
        decision,
        evidence: view.evidence,
        narrative,
        needed,
        groups,
        missing,
        approvals,
        rejections,
    }))
}

/// The requester's words from beside the ledger, if they are still there and still what was committed to.
async fn narrative(gate: &Gate, view: &PlanView) -> Result<Option<wire::Words>, Problem> {
    let Some(kept) = gate.ports.store.text(&view.narrative).await? else { return Ok(None) };
    if !view.narrative.opens_to(&kept.salt, kept.text.as_bytes()) {
        return Err(Problem::internal(&"a kept text does not open its commitment"));
    }
    let narrative: Narrative = serde_json::from_str(&kept.text).map_err(|err| Problem::internal(&err))?;
    Ok(Some(wire::Words {
        untrusted: true,
        summary: visible(&narrative.summary),
        reason: visible(&narrative.reason),
        confidence: narrative.confidence.as_deref().map(visible),
    }))
}

fn hold(gate: &Gate, terms: HoldTerms, view: &PlanView) -> wire::Hold {
    let of = |choice: Choice| {
        let chose = view.statements.iter().filter(move |signed| signed.statement.choice == choice);
        chose.map(|signed| signed.statement.approver.clone()).collect()
    };
    let quorum = approve::quorum(view);
    wire::Hold {
        id: terms.hold.clone(),
        needed: quorum.as_ref().map_or(1, Quorum::needed),
        groups: quorum.map_or_else(Vec::new, |quorum| quorum.groups().to_vec()),
        missing: approve::missing(gate, view),
        approvals: of(Choice::Approve),
        rejections: of(Choice::Reject),
        terms,
    }
}

/// None for one of a key that is not believed any more, or of an earlier version: it starts nothing.
fn permit(gate: &Gate, jws: &str) -> Option<wire::PermitSummary> {
    let permit = gate.permit_keys().open(jws).ok()?;
    let grant = permit.grant();
    Some(wire::PermitSummary {
        id: grant.id.clone(),
        start_before_ms: grant.start_before_ms,
        undo_until_ms: grant.undo_until_ms,
        executors: grant.executors.keys().cloned().collect(),
        epoch: grant.epoch,
    })
}

fn timeline(view: &PlanView) -> Vec<wire::Moment> {
    let moments = view.records.iter().map(|(index, record)| wire::Moment {
        index: *index,
        at_ms: record.at_ms,
        actor: record.actor.to_string(),
        what: words::moment(&record.body),
    });
    moments.collect()
}
