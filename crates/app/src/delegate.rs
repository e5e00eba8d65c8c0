//! Delegate: the gate signs who acts for whom, on record, and reads it again.

use holdpoint_domain::{
    Id, Millis,
    actor::{Identity, Party, Phase},
    delegation::{Delegation, Delegator, MAX_TOKEN_LEN, Wanted, Within},
    id::kind,
    record::{Body, Record, Request},
};

use crate::{
    gate::Gate,
    port::Txn,
    propose::record_refusal,
    refusal::{Blame, Refusal, internal},
    requester,
};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    /// The agent that is to act for them.
    pub to: Id<kind::Agent>,
    /// Within what.
    pub within: Within,
    /// For how long.
    pub life: Millis,
}

/// A delegation and its token.
#[derive(Debug, Clone)]
pub struct Delegated {
    /// What was delegated.
    pub delegation: Delegation,
    /// The token: a compact JWS, good for nothing without the identity of the agent that it names.
    pub token: String,
    /// The ledger index of its record.
    pub index: u64,
}

/// Has an agent act for the caller, or for whomever the caller acts for. Recorded before the token is given out.
pub async fn delegate(gate: &Gate, party: &Party, wanted: NewDelegation) -> Result<Delegated, Refusal> {
    match attempt(gate, party, wanted).await {
        Ok(delegated) => Ok(delegated),
        Err(refusal) => {
            record_refusal(gate, &party.identity, Request::Delegate, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt(gate: &Gate, party: &Party, wanted: NewDelegation) -> Result<Delegated, Refusal> {
    let by = match &party.identity {
        Identity::Person { person } if gate.controls.registry.person(person).is_some() => {
            Delegator::Person(person)
        }
        Identity::Person { person } => {
            let fact = format!("person `{person}` is not in the registry");
            return Err(Refusal::new(Blame::Forbidden, "unknown-delegator", fact, "be registered first"));
        }
        Identity::Agent { agent, phase } => {
            if *phase != Phase::Decide {
                let fact = format!("this identity is for phase `{phase}`, delegating needs `decide`");
                let next = "delegate with the agent's `decide` identity";
                return Err(Refusal::new(Blame::Forbidden, "wrong-phase", fact, next));
            }
            requester::of(gate, agent, party)?;
            Delegator::Agent(agent, party.delegation.as_ref())
        }
    };
    requester::known(gate, &wanted.to, Phase::Decide)?;
    let NewDelegation { to, within, life } = wanted;
    let now = gate.now();
    let delegation = Delegation::new(by, Wanted { id: gate.fresh("delegation")?, to, within, life }, now)
        .map_err(|err| {
            let next = "delegate within what you may do yourself, for a shorter time or to somebody else";
            Refusal::new(Blame::Caller, "bad-delegation", err.to_string(), next)
        })?;
    let key = &gate.ports.delegation_key;
    let input = delegation.signing_input(&key.public_key(), &gate.settings.naming)?;
    let signature = key.sign(input.as_bytes());
    let verified = signature.verify_raw(&key.public_key(), input.as_bytes());
    verified.map_err(|_| internal("the key of delegations does not sign"))?;
    let token = holdpoint_domain::permit::compact(&input, &signature);
    if token.len() > MAX_TOKEN_LEN {
        let fact = format!("the token would have {} bytes: expected at most {MAX_TOKEN_LEN}", token.len());
        return Err(Refusal::new(Blame::Caller, "bad-delegation", fact, "name fewer actions and targets"));
    }
    let body = Body::Delegated { delegation: Box::new(delegation.clone()) };
    let record = Record::new(now, party.identity.actor(), None, body);
    // If we stop before this returns, nobody has the token.
    let appended = gate.ports.store.append(Txn { records: vec![record], ..Txn::default() }).await?;
    Ok(Delegated { delegation, token, index: appended.first_index })
}

/// Reads the token that somebody brought beside their identity. Whoever the registry has and who brings one that is not good is on
/// record: tokens are not tried in silence.
pub async fn brought(gate: &Gate, identity: &Identity, token: &str) -> Result<Delegation, Refusal> {
    let opened = match identity {
        Identity::Agent { agent, .. } => open(gate, token, agent),
        Identity::Person { .. } => {
            let fact = "a person acts for nobody: delegations are to agents";
            Err(Refusal::new(Blame::Caller, "bad-delegation", fact, "ask without the token"))
        }
    };
    if let Err(refusal) = &opened {
        record_refusal(gate, identity, Request::Delegate, refusal).await?;
    }
    opened
}

/// Reads the token that an agent brought beside its identity.
pub fn open(gate: &Gate, token: &str, agent: &Id<kind::Agent>) -> Result<Delegation, Refusal> {
    let key = gate.ports.delegation_key.public_key();
    let opened = Delegation::open(token, &key, &gate.settings.naming, agent, gate.now());
    opened.map_err(|err| {
        let next = "ask whoever delegates for a new token, or ask without one";
        Refusal::new(Blame::Forbidden, "bad-delegation", err.to_string(), next)
    })
}
