//! Enrolment: an administrator invites a person; the person redeems the invitation with a passkey; other administrators approve it
//! as a change of the registry. Only then does it count for anything.

use holdpoint_domain::{
    Digest, Id, Millis,
    actor::Identity,
    change::{ChangeTerms, Control, approvals_needed},
    enrol::{Invitation, InvitationState, MAX_INVITATION_MS},
    id::kind,
    passkey::Passkey,
    record::{Body, Record, Request},
};

use crate::{
    change,
    gate::{Gate, after},
    port::Txn,
    propose::record_refusal,
    refusal::{Blame, Refusal, internal},
    statement::person,
};

/// An invitation with its secret, which stands nowhere else.
#[derive(Clone)]
pub struct Invited {
    /// What the ledger knows of it.
    pub invitation: Invitation,
    /// The secret: 256 bits. Whoever knows it can redeem the invitation.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Invited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invited").field("invitation", &self.invitation).field("secret", &"***").finish()
    }
}

/// Invites a person of the registry to register a passkey. For administrators.
pub async fn invite(gate: &Gate, identity: &Identity, who: &Id<kind::Person>) -> Result<Invited, Refusal> {
    match attempt_invite(gate, identity, who).await {
        Ok(invited) => Ok(invited),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Invite, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt_invite(
    gate: &Gate,
    identity: &Identity,
    who: &Id<kind::Person>,
) -> Result<Invited, Refusal> {
    let by = person(gate, identity)?;
    if !by.administrator {
        let fact = format!("`{}` is not an administrator", by.id);
        let next = "an administrator must invite";
        return Err(Refusal::new(Blame::Forbidden, "not-an-administrator", fact, next));
    }
    if gate.controls.registry.person(who).is_none() {
        let fact = format!("`{who}` is not in the registry");
        let next = "add them by a change of the registry first";
        return Err(Refusal::new(Blame::NotFound, "unknown-person", fact, next));
    }
    somebody_else_approves(gate, &by.id, who)?;
    let mut secret = [0_u8; 32];
    let halves = [gate.ports.ids.unique(), gate.ports.ids.unique()].map(u128::to_be_bytes);
    secret.iter_mut().zip(halves.as_flattened()).for_each(|(byte, random)| *byte = *random);
    let now = gate.now();
    let invitation = Invitation {
        act: gate.fresh("act")?,
        person: who.clone(),
        by: by.id.clone(),
        secret: Digest::of_bytes(&secret),
        expires_at_ms: after(now, Millis::new(MAX_INVITATION_MS).map_err(internal)?)?,
    };
    let body = Body::Invited { invitation: invitation.clone() };
    let records = vec![Record::new(now, identity.actor(), None, body)];
    // If we stop before this returns, nobody knows the secret, and the invitation ends by itself.
    gate.ports.store.append(Txn { records, expect_inputs: Some(gate.inputs), ..Txn::default() }).await?;
    Ok(Invited { invitation, secret })
}

/// Refuses an invitation whose author would also be the only one to approve what comes of it: they could redeem it themselves, and
/// be two people from then on. Where one other administrator is enough, people invite themselves, and that other one approves.
fn somebody_else_approves(gate: &Gate, by: &Id<kind::Person>, who: &Id<kind::Person>) -> Result<(), Refusal> {
    let needed = approvals_needed(&gate.controls.registry, who).map_err(|err| {
        let next = "a passkey needs an administrator beside its owner";
        Refusal::new(Blame::Forbidden, "nobody-else", err.to_string(), next)
    })?;
    if by == who || needed > 1 {
        return Ok(());
    }
    let fact = format!("`{by}` would invite `{who}` and be the only one to approve their passkey");
    let next = "they invite themselves, and you approve it; or have a third administrator";
    Err(Refusal::new(Blame::Forbidden, "invites-and-approves", fact, next))
}

/// The invitation that a secret opens now. Said in the same words whatever is wrong with it.
pub async fn open(gate: &Gate, act: &Id<kind::Act>, secret: &[u8]) -> Result<Invitation, Refusal> {
    let found = gate.ports.store.invitation(act).await?;
    let open = found.filter(|state: &InvitationState| state.opens(secret, gate.now()));
    let known = open.filter(|state| gate.controls.registry.person(&state.invitation.person).is_some());
    known.map(|state| state.invitation).ok_or_else(|| {
        let fact = "this invitation is none, was redeemed, or has ended";
        Refusal::new(Blame::Forbidden, "no-such-invitation", fact, "ask an administrator for another one")
    })
}

/// Redeems an invitation with a passkey whose registration was verified. What comes of it is a change of the registry that other
/// administrators must approve: until then the passkey signs for nobody.
pub async fn redeem(
    gate: &Gate,
    act: &Id<kind::Act>,
    secret: &[u8],
    passkey: Passkey,
) -> Result<ChangeTerms, Refusal> {
    let invitation = open(gate, act, secret).await?;
    let identity = Identity::Person { person: invitation.person.clone() };
    match attempt_redeem(gate, &identity, &invitation, passkey).await {
        Ok(terms) => Ok(terms),
        Err(refusal) => {
            record_refusal(gate, &identity, Request::Enrol, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn attempt_redeem(
    gate: &Gate,
    identity: &Identity,
    invitation: &Invitation,
    passkey: Passkey,
) -> Result<ChangeTerms, Refusal> {
    if passkey.act != invitation.act {
        return Err(internal("a passkey of another act"));
    }
    // Administrators may have left since it was made.
    somebody_else_approves(gate, &invitation.by, &invitation.person)?;
    let files = gate
        .ports
        .inputs
        .with_passkey(&invitation.person, &passkey)
        .map_err(|fault| Refusal::new(Blame::Caller, "bad-passkey", fault, "register another passkey"))?;
    let draft = change::draft(gate, identity, Control::Registry, files, Some(&passkey)).await?;
    let terms = draft.terms;
    let (act, change) = (invitation.act.clone(), terms.id.clone());
    let redeemed = Body::Enrolling { act, passkey: Box::new(passkey), change };
    let mut records = draft.records;
    records.push(Record::new(gate.now(), identity.actor(), None, redeemed));
    // If we stop before this returns, the invitation is still good; after it, it never is again.
    gate.ports
        .store
        .append(Txn { records, texts: draft.texts, expect_inputs: Some(gate.inputs), ..Txn::default() })
        .await?;
    Ok(terms)
}
