//! Who asks: the agent, its build, and those whom it acts for, all of them as the registry has them now.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Timestamp,
    actor::{Party, Phase},
    agent::{Agent, Person},
    delegation::Delegation,
    facts::{Deputy, Principal},
    id::kind,
    plan::Requester,
};

use crate::{
    gate::Gate,
    refusal::{Blame, Refusal},
};

/// Everybody that a plan is asked for by, resolved.
pub(crate) struct Askers<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) via: Vec<&'a Agent>,
    /// The person at the head of the chain.
    pub(crate) head: Option<&'a Person>,
}

/// Who a party is in a plan. The build is the one that its selectors attest now; the plan is bound to it.
pub(crate) fn of(gate: &Gate, agent: &Id<kind::Agent>, party: &Party) -> Result<Requester, Refusal> {
    let registered = known(gate, agent, Phase::Decide)?;
    let (head, via) = party
        .delegation
        .as_ref()
        .map_or((None, Vec::new()), |delegation| (delegation.head.clone(), delegation.via.clone()));
    Ok(Requester {
        agent: agent.clone(),
        on_behalf_of: head,
        via,
        build: registered.build_of(&party.selectors),
        narrowed_by: BTreeSet::new(),
        opened_by: None,
    })
}

/// Refuses what the delegation does not cover.
pub(crate) fn stays_within(
    delegation: &Delegation,
    action: &Id<kind::Action>,
    target: &Id<kind::Target>,
) -> Result<(), Refusal> {
    if delegation.within.covers(action, target) {
        return Ok(());
    }
    let fact =
        format!("delegation `{}` does not cover action `{action}` on target `{target}`", delegation.id);
    let next = "ask whoever delegated for more, or stay within it";
    Err(Refusal::new(Blame::Forbidden, "beyond-delegation", fact, next))
}

/// Finds everybody in the registry: the agent in its phase, those in between in phase `decide`, and the head.
pub(crate) fn resolve<'a>(
    gate: &'a Gate,
    requester: &Requester,
    phase: Phase,
) -> Result<Askers<'a>, Refusal> {
    let agent = match &requester.opened_by {
        None => known(gate, &requester.agent, phase)?,
        Some(person) if gate.controls.registry.person(person).is_some() => gate.emergency(),
        Some(person) => {
            let fact = format!("person `{person}`, who breaks the glass, is not in the registry");
            return Err(Refusal::new(Blame::Forbidden, "unknown-person", fact, "somebody else must ask"));
        }
    };
    let via =
        requester.via.iter().map(|agent| known(gate, agent, Phase::Decide)).collect::<Result<_, _>>()?;
    let head = requester.on_behalf_of.as_ref().map(|head| (head, gate.controls.registry.person(head)));
    if let Some((head, None)) = head {
        let fact = format!("person `{head}`, whom agent `{}` acts for, is not in the registry", agent.id);
        let next = "act for somebody who is there, or for nobody";
        return Err(Refusal::new(Blame::Forbidden, "unknown-delegator", fact, next));
    }
    Ok(Askers { agent, via, head: head.and_then(|(_, person)| person) })
}

/// Whether everybody is still there, in their roles.
pub(crate) fn is_there(gate: &Gate, requester: &Requester) -> bool {
    resolve(gate, requester, Phase::Decide).is_ok()
}

/// An agent of the registry that is registered for a phase and has not expired.
pub(crate) fn known<'a>(gate: &'a Gate, agent: &Id<kind::Agent>, phase: Phase) -> Result<&'a Agent, Refusal> {
    let registry = &gate.controls.registry;
    let refused = |rule, fact: String, next| Err(Refusal::new(Blame::Forbidden, rule, fact, next));
    let Some(registered) = registry.agent(agent) else {
        let fact = format!("agent `{agent}` is not in the registry");
        return refused("unknown-agent", fact, "have its owner register it");
    };
    if let Some(end) = expired(registered, gate.now()) {
        let fact = format!("the registration of agent `{agent}` ended at {} ms", end.ms());
        return refused("agent-expired", fact, "have its owner renew it by a change of the registry");
    }
    if !registered.phases.contains(&phase) {
        let fact = format!("agent `{agent}` is not registered for phase `{phase}`");
        return refused("wrong-phase", fact, "use an identity of a phase it is registered for");
    }
    Ok(registered)
}

fn expired(agent: &Agent, now: Timestamp) -> Option<Timestamp> {
    agent.expires_at_ms.filter(|end| now >= *end)
}

impl Askers<'_> {
    /// What the facts say of them. Without a track record it acts at its tiers only if that was accepted for all of them.
    pub(crate) fn principal(&self, requester: &Requester, phase: Phase) -> Principal {
        let deputy = |agent: &&Agent| Deputy { agent: agent.id.clone(), team: agent.team.clone() };
        Principal {
            agent: self.agent.id.clone(),
            team: self.agent.team.clone(),
            phase,
            // A build that the operator took back is attested no more, whatever the plan says.
            attested_build: requester.build.filter(|build| self.agent.attests(build)),
            accepted: self.agent.accepted && self.via.iter().all(|agent| agent.accepted),
            on_behalf_of: requester.on_behalf_of.clone(),
            on_behalf_of_teams: self.head.map(|person| person.teams.clone()).unwrap_or_default(),
            via: self.via.iter().map(deputy).collect(),
        }
    }
}
