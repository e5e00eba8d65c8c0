//! What all statements of people have in common: a session of the one who signed, a person in the registry, a signature by their
//! registered key.

use holdpoint_domain::{
    Id,
    actor::Identity,
    agent::Person,
    id::kind,
    signed::{Signed, Statement},
};

use crate::{
    gate::Gate,
    refusal::{Blame, Refusal},
};

/// The person behind an identity, as the registry has them. Agents and models are nobody here.
pub(crate) fn person<'g>(gate: &'g Gate, identity: &Identity) -> Result<&'g Person, Refusal> {
    let Identity::Person { person } = identity else {
        let fact = "agents and models never decide for people";
        return Err(Refusal::new(Blame::Forbidden, "not-a-person", fact, "a person must do this"));
    };
    gate.controls.registry.person(person).ok_or_else(|| {
        let fact = format!("`{person}` is not in the registry");
        Refusal::new(Blame::Forbidden, "unknown-person", fact, "be enrolled first")
    })
}

/// Checks that the session is the signer's and that the signature holds; returns the signer.
pub(crate) fn signer<'g, T: Statement>(
    gate: &'g Gate,
    identity: &Identity,
    signed: &Signed<T>,
) -> Result<&'g Person, Refusal> {
    let person = person(gate, identity)?;
    if signed.statement.by() != &person.id {
        let fact = format!(
            "the session is `{}`'s, the statement is signed as `{}`",
            person.id,
            signed.statement.by()
        );
        return Err(Refusal::new(Blame::Forbidden, "other-signer", fact, "sign as yourself"));
    }
    signed.check(&person.credentials()).map_err(|err| {
        Refusal::new(Blame::Forbidden, "statement-refused", err.to_string(), "read it again and sign anew")
    })?;
    Ok(person)
}

/// Whether a person may look after the runs on a team's targets: members of the team, and administrators; never the person
/// who answers for the agent.
pub(crate) fn looks_after(
    gate: &Gate,
    person: &Person,
    agent: &Id<kind::Agent>,
    owners: &[&Id<kind::Team>],
) -> Result<(), Refusal> {
    let refuse = |fact: String, next: &'static str| {
        Err(Refusal::new(Blame::Forbidden, "may-not-look-after", fact, next))
    };
    let answers = gate.controls.registry.agent(agent).is_some_and(|agent| agent.owner == person.id);
    if answers {
        let fact = format!("`{}` answers for agent `{agent}`, whose run this is", person.id);
        return refuse(fact, "somebody else must look");
    }
    if person.administrator || owners.iter().all(|team| person.teams.contains(*team)) {
        return Ok(());
    }
    let teams: Vec<_> = owners.iter().map(|team| format!("`{team}`")).collect();
    let fact = format!("`{}` is neither an administrator nor in {}", person.id, teams.join(" and "));
    refuse(fact, "somebody of the team that owns the target, or an administrator, must look")
}
