//! Approve and reject: a person's signed statement releases a hold, or ends it.

use holdpoint_domain::{
    Id, Tier,
    actor::Identity,
    agent::Person,
    approval::{Choice, Consent, HoldTerms, SignedStatement},
    decision::Verdict,
    flow::State,
    id::kind,
    permit::PermitError,
    quorum::{Approver, MAX_APPROVALS, Missing, Quorum},
    record::{Body, Record, Request},
};

use crate::{
    break_glass,
    gate::Gate,
    gather,
    port::{ApproveQuestion, PlanFilter, StoreError, Txn},
    propose::{Case, permitted, record_refusal},
    refusal::{Blame, Refusal, internal},
    view::PlanView,
};

/// How often a statement is tried again when another person decided at the same moment.
const MAX_TRIES: u32 = 8;

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The plan.
    pub plan: Id<kind::Plan>,
    /// Where the plan is now.
    pub state: State,
    /// Approvals that count.
    pub approvals: u32,
    /// How many the plan needs, by its tier and the catalogue.
    pub needed: u32,
    /// What is missing; none when nothing is, or when somebody rejected.
    pub missing: Option<Missing>,
}

/// Takes a person's statement on a hold. The identity is the session that brings it; the consent is the signature.
pub async fn decide_hold(
    gate: &Gate,
    identity: &Identity,
    hold: &Id<kind::Hold>,
    signed: SignedStatement,
) -> Result<Decided, Refusal> {
    let mut tries = 0;
    let refusal = loop {
        match attempt(gate, identity, hold, signed.clone()).await {
            Ok(decided) => return Ok(decided),
            // Somebody else decided between our read and our append: look again at what they left.
            Err(Attempt::Raced) if tries < MAX_TRIES => tries = tries.saturating_add(1),
            Err(Attempt::Raced) => {
                let fact = "others keep deciding on this hold at the same moment";
                break Refusal::new(Blame::Conflict, "too-late", fact, "try again");
            }
            Err(Attempt::Refused(refusal)) => break refusal,
        }
    };
    record_refusal(gate, identity, Request::Decide, &refusal).await?;
    Err(refusal)
}

enum Attempt {
    Raced,
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Attempt {
    fn from(err: E) -> Self {
        Self::Refused(err.into())
    }
}

async fn attempt(
    gate: &Gate,
    identity: &Identity,
    hold: &Id<kind::Hold>,
    signed: SignedStatement,
) -> Result<Decided, Attempt> {
    let (view, consent) = eligible(gate, identity, hold, signed).await?;
    let (decision, facts) = view.decided.as_ref().ok_or_else(|| internal("a hold without a decision"))?;
    let by_person = |body| Record::new(gate.now(), identity.actor(), Some(view.id.clone()), body);
    let statement = Box::new(consent.signed().clone());

    let mut consents = earlier(gate, &view);
    let mut records = Vec::new();
    let quorum = Quorum::of(decision, &view.plan, facts);
    let mut missing = None;
    let state = match consent.choice() {
        Choice::Reject => {
            records.push(by_person(Body::Rejected { statement }));
            State::Rejected
        }
        Choice::Approve => {
            of_another_act(&consents, &consent)?;
            records.push(by_person(Body::Approved { statement }));
            let before = quorum.missing(&approvers(gate, &consents));
            consents.push(consent);
            missing = quorum.missing(&approvers(gate, &consents));
            not_one_too_many(&consents, before.as_ref(), missing.as_ref())?;
            if missing.is_none() {
                let resolved = gather::resolve_plan(gate, &view.plan)?;
                let (id, plan, narrative) = (&view.id, &view.plan, &view.narrative);
                let permit = Case { id, plan, narrative, resolved: &resolved }
                    .grant(gate, decision, facts, &consents)?;
                records.push(gate.record(&view.id, permitted(&permit)));
                State::Permitted
            } else {
                State::Held
            }
        }
    };
    let expect = Some((view.id.clone(), view.last_index()));
    // If we stop before this returns, the approval was not taken; after it, it stands, and so does a permit with it.
    match gate
        .ports
        .store
        .append(Txn { records, expect, expect_inputs: Some(gate.inputs), ..Txn::default() })
        .await
    {
        Ok(_) => {
            let (approvals, needed) = (count(&consents), quorum.needed());
            Ok(Decided { plan: view.id, state, approvals, needed, missing })
        }
        Err(StoreError::Conflict(_) | StoreError::Epoch { .. }) => Err(Attempt::Raced),
        Err(err) => Err(Attempt::Refused(err.into())),
    }
}

/// Everything that makes a statement count: the hold waits, the session is the signer's, the signature is over the hold's
/// exact terms by the signer's registered key and in time, the signer is no requester, and policy lets them.
async fn eligible(
    gate: &Gate,
    identity: &Identity,
    hold: &Id<kind::Hold>,
    signed: SignedStatement,
) -> Result<(PlanView, Consent), Refusal> {
    let Identity::Person { person } = identity else {
        let fact = "agents and models never approve";
        return Err(Refusal::new(Blame::Forbidden, "approver-is-an-agent", fact, "a person must decide"));
    };
    let view = find(gate, hold).await?;
    let Some(terms) = view.terms.clone().filter(|terms| terms.hold == *hold) else {
        return Err(internal("a hold without terms"));
    };
    if view.state != State::Held {
        let fact = format!("plan `{}` is `{}` and does not wait for people", view.id, view.state);
        return Err(Refusal::new(Blame::Conflict, "not-held", fact, "look at the plan as it is now"));
    }
    if signed.statement.approver != *person {
        let fact = format!(
            "the session is `{person}`'s, the statement is signed as `{}`",
            signed.statement.approver
        );
        return Err(Refusal::new(Blame::Forbidden, "other-approver", fact, "sign as yourself"));
    }
    let registered = gate.controls.registry.person(person).ok_or_else(|| {
        let fact = format!("`{person}` is not in the registry");
        Refusal::new(Blame::Forbidden, "unknown-person", fact, "be enrolled first")
    })?;
    if view.statements.iter().any(|earlier| earlier.statement.approver == *person) {
        let fact = format!("`{person}` has decided on hold `{hold}` before");
        return Err(Refusal::new(Blame::Conflict, "decided-before", fact, "another person must decide"));
    }
    let consent = signed
        .check(&terms, &registered.credentials(), view.plan.requester(), gate.now())
        .map_err(|err| {
            Refusal::new(
                Blame::Forbidden,
                "statement-refused",
                with_source(&err),
                "read the hold again and sign anew",
            )
        })?;
    strong_enough(gate, &terms, &consent)?;
    permitted_by_policy(gate, registered, &view, consent.proven().strong().is_some())?;
    Ok((view, consent))
}

/// What policy says to a person who would decide on the plan of a hold; a denial for a plan that never waited.
/// `approvals` is how many count before theirs.
pub(crate) fn verdict(
    gate: &Gate,
    person: &Person,
    view: &PlanView,
    approvals: u32,
    strong: bool,
) -> Verdict {
    if view.plan.requester().is_emergency() {
        return gate.ports.judge.may_break_glass(person);
    }
    let (Some(terms), Some((_, facts))) = (&view.terms, &view.decided) else {
        return Verdict::Deny { rules: Vec::new() };
    };
    let owns_agent = gate.owns_one_of(&person.id, view.plan.requester());
    // Whoever approves a plan approves every step of it.
    let verdicts = facts.steps().map(|facts| {
        gate.ports.judge.may_approve(ApproveQuestion {
            person,
            tier: terms.tier,
            approvals,
            owns_agent,
            strong,
            facts,
        })
    });
    let verdict = verdicts.into_iter().find(|verdict| !verdict.allows());
    verdict.unwrap_or(Verdict::Allow { rules: Vec::new() })
}

/// Asks policy whether a person may decide on the plan of a hold; `strong` is whether they sign with a passkey.
pub(crate) fn permitted_by_policy(
    gate: &Gate,
    registered: &Person,
    view: &PlanView,
    strong: bool,
) -> Result<(), Refusal> {
    if view.plan.requester().is_emergency() {
        return break_glass::may(gate, registered);
    }
    let person = &registered.id;
    match verdict(gate, registered, view, counted(gate, view), strong) {
        Verdict::Allow { .. } => Ok(()),
        Verdict::Deny { rules } | Verdict::Error { rules } => {
            let rules: Vec<_> = rules.iter().map(|rule| format!("`{rule}`")).collect();
            let why = if rules.is_empty() {
                "no rule permits it".to_owned()
            } else {
                format!("rules {}", rules.join(", "))
            };
            let fact = format!("policy does not let `{person}` decide on this hold: {why}");
            Err(Refusal::new(
                Blame::Forbidden,
                "may-not-approve",
                fact,
                "somebody whom policy lets must decide",
            ))
        }
    }
}

/// From T4 on, an approval is a passkey's, and two people have some that different acts enrolled. A rejection needs neither.
fn strong_enough(gate: &Gate, terms: &HoldTerms, consent: &Consent) -> Result<(), Refusal> {
    if terms.tier < Tier::T4 || consent.choice() == Choice::Reject {
        return Ok(());
    }
    if !gate.controls.registry.has_two_with_passkeys() {
        let fact = format!(
            "fewer than two people have passkeys that different acts enrolled: tier {} is unavailable",
            terms.tier
        );
        let next = "have people enrolled: `holdpoint people invite`";
        return Err(Refusal::new(Blame::Forbidden, "t4-unavailable", fact, next));
    }
    if consent.proven().strong().is_none() {
        let fact =
            format!("tier {} needs fresh strong authentication, and a key in a file is none", terms.tier);
        return Err(Refusal::new(
            Blame::Forbidden,
            "needs-a-passkey",
            fact,
            "approve it in the console, with a passkey",
        ));
    }
    Ok(())
}

/// The plan that waits under a hold, or once did.
pub async fn find(gate: &Gate, hold: &Id<kind::Hold>) -> Result<PlanView, Refusal> {
    let filter = PlanFilter { hold: Some(hold.clone()), limit: 1, ..PlanFilter::default() };
    let row = gate.ports.store.plans(filter).await?.into_iter().next().ok_or_else(|| {
        let fact = format!("there is no hold `{hold}`");
        Refusal::new(Blame::NotFound, "no-such-hold", fact, "list the requests to find its id")
    })?;
    PlanView::read(gate.ports.store.as_ref(), &row.id).await
}

/// Earlier statements, checked again with the keys, teams and roles of now: somebody who lost what lets them decide does not
/// count any more.
fn earlier(gate: &Gate, view: &PlanView) -> Vec<Consent> {
    let Some(terms) = &view.terms else { return Vec::new() };
    let mut consents = Vec::new();
    for signed in &view.statements {
        let Some(person) = gate.controls.registry.person(&signed.statement.approver) else { continue };
        if let Ok(consent) =
            signed.clone().check(terms, &person.credentials(), view.plan.requester(), gate.now())
            && verdict(gate, person, view, len(&consents), consent.proven().strong().is_some()).allows()
        {
            consents.push(consent);
        }
    }
    consents
}

/// How many approvals count now.
pub(crate) fn counted(gate: &Gate, view: &PlanView) -> u32 {
    len(&earlier(gate, view))
}

fn len(consents: &[Consent]) -> u32 {
    u32::try_from(consents.len()).unwrap_or(u32::MAX)
}

/// Whoever approved, with the teams that they are in now.
fn approvers<'a>(gate: &'a Gate, consents: &[Consent]) -> Vec<Approver<'a>> {
    let approved = consents.iter().filter(|consent| consent.choice() == Choice::Approve);
    let people = approved.filter_map(|consent| gate.controls.registry.person(consent.approver()));
    people.map(|person| Approver { person: &person.id, teams: &person.teams }).collect()
}

/// Whom a plan waits for, or waited for; none for one that was never decided on.
#[must_use]
pub fn quorum(view: &PlanView) -> Option<Quorum> {
    let (decision, facts) = view.decided.as_ref()?;
    Some(Quorum::of(decision, &view.plan, facts))
}

/// What is missing on a plan that waits, by keys and teams as they are registered now; none for one that does not wait.
#[must_use]
pub fn missing(gate: &Gate, view: &PlanView) -> Option<Missing> {
    let quorum = quorum(view).filter(|_| view.state == State::Held)?;
    quorum.missing(&approvers(gate, &earlier(gate, view)))
}

/// A permit carries every approval, and has no room for everybody: when many have approved, only those do who bring it nearer.
fn not_one_too_many(
    consents: &[Consent],
    before: Option<&Missing>,
    after: Option<&Missing>,
) -> Result<(), Refusal> {
    if count(consents) > MAX_APPROVALS
        && let (Some(before), Some(after)) = (before, after)
        && after.approvals >= before.approvals
    {
        let fact = format!("{MAX_APPROVALS} people or more have approved, and what is missing is {after}");
        let next = "somebody of the teams that are missing must approve";
        return Err(Refusal::new(Blame::Conflict, "enough-of-others", fact, next));
    }
    Ok(())
}

/// Two passkeys that one act enrolled may be one person's: the second one adds nothing, and recorded it would only stand in the way.
fn of_another_act(earlier: &[Consent], consent: &Consent) -> Result<(), Refusal> {
    let act = |consent: &Consent| consent.proven().strong().map(|asserted| asserted.act().clone());
    let same = |before: &Consent| before.terms().tier >= Tier::T4 && act(before) == act(consent);
    if act(consent).is_some() && earlier.iter().any(same) {
        let next = "the hold stays; somebody whom another act enrolled must approve";
        return Err(Refusal::new(Blame::Conflict, "no-permit", PermitError::OneAct.to_string(), next));
    }
    Ok(())
}

fn count(consents: &[Consent]) -> u32 {
    u32::try_from(consents.iter().filter(|consent| consent.choice() == Choice::Approve).count())
        .unwrap_or(u32::MAX)
}

fn with_source(err: &dyn std::error::Error) -> String {
    err.source().map_or_else(|| err.to_string(), |source| format!("{err}: {source}"))
}
