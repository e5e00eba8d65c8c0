//! Break-glass: people run a catalogued action beyond policy, also in a halt or a freeze. It is held like anything at T4, and two
//! people release it with passkeys; what they cannot do is act on another target, version or catalogue entry than they saw. No
//! agent can ask for it: a plan of this kind is made here, from a person's session, and nowhere else.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Id,
    actor::{Identity, Phase},
    agent::Person,
    id::kind,
    plan::{Narrative, ParamValue, Requester},
    record::{AgentContext, Request, Submitted},
};

use crate::{
    gate::Gate,
    gather::{self, Wish},
    port::Txn,
    propose::{Frozen, Proposed, freeze_and_decide, keep_narrative, record_refusal},
    refusal::{Blame, Refusal, internal},
    statement::person,
};

/// The least that counts as a reason.
const MIN_REASON_CHARS: usize = 12;

/// What somebody wants to do in an emergency.
#[derive(Debug, Clone)]
pub struct Emergency {
    /// The action.
    pub action: Id<kind::Action>,
    /// The target.
    pub target: Id<kind::Target>,
    /// Parameters.
    pub params: BTreeMap<Id<kind::Param>, ParamValue>,
    /// The incident.
    pub incident: Option<Id<kind::Incident>>,
    /// Why, for whoever approves and reviews.
    pub reason: String,
}

/// Asks for an action beyond policy. It waits for two people whom policy lets break the glass.
pub async fn break_glass(gate: &Gate, identity: &Identity, wanted: Emergency) -> Result<Proposed, Refusal> {
    match attempt(gate, identity, wanted).await {
        Ok(proposed) => Ok(proposed),
        Err(refusal) => {
            record_refusal(gate, identity, Request::BreakGlass, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(gate: &Gate, identity: &Identity, wanted: Emergency) -> Result<Proposed, Refusal> {
    let person = person(gate, identity)?;
    may(gate, person)?;
    if !gate.controls.registry.has_two_with_passkeys() {
        let fact = "fewer than two people have passkeys that different acts enrolled";
        let next = "have people enrolled: `holdpoint people invite`";
        return Err(Refusal::new(Blame::Forbidden, "t4-unavailable", fact, next));
    }
    if wanted.reason.trim().chars().count() < MIN_REASON_CHARS {
        let fact = format!("expected a reason of at least {MIN_REASON_CHARS} characters");
        let next = "say what is broken and why this cannot wait";
        return Err(Refusal::new(Blame::Caller, "no-reason", fact, next));
    }
    let Emergency { action, target, params, incident, reason } = wanted;
    let found = gate.controls.catalogue.action(&action);
    let found = found.ok_or_else(|| crate::preview::no_such_action(&action))?;
    let trigger = found.triggers.iter().next().cloned().ok_or_else(|| {
        let fact = format!("action `{action}` has no condition that could be measured");
        Refusal::new(Blame::Caller, "no-trigger", fact, "name another action")
    })?;
    let wishes = [Wish { action, target, params }];
    let requester = Requester::in_emergency(person.id.clone()).map_err(internal)?;
    let resolved = gather::resolve(gate, &requester, Phase::Decide, &trigger, &wishes)?;
    let mut texts = Vec::new();
    let narrative = Narrative { reason, ..Narrative::default() };
    let narrative = keep_narrative(gate, &narrative, &mut texts)?;
    let nothing = Submitted::Withheld;
    let context = AgentContext { prompt: nothing, model: nothing, transcript: nothing };
    let frozen = Frozen { actor: identity.actor(), id: gate.fresh("plan")?, narrative, context, texts };
    let txn = Txn { expect_inputs: Some(gate.inputs), ..Txn::default() };
    let done = freeze_and_decide(gate, &resolved, &wishes, requester, incident, frozen, txn).await;
    done.map_err(Into::into)
}

/// Whether policy lets a person break the glass.
pub(crate) fn may(gate: &Gate, person: &Person) -> Result<(), Refusal> {
    if gate.ports.judge.may_break_glass(person).allows() {
        return Ok(());
    }
    let fact = format!("no rule of the policy lets `{}` break the glass, or one forbids it", person.id);
    let next = "ask an administrator for a rule that permits `Action::\"break-glass\"`";
    Err(Refusal::new(Blame::Forbidden, "may-not-break-glass", fact, next))
}
