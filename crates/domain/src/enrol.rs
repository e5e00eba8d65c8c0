//! Enrolment: how a person comes by a passkey that counts. An administrator invites them, the invitation is redeemed once, and other
//! administrators approve the passkey as a change of the registry.

use serde::{Deserialize, Serialize};

use crate::{Digest, Id, Timestamp, id::kind};

/// How long an invitation can be redeemed at most.
pub const MAX_INVITATION_MS: u64 = 24 * 60 * 60 * 1000;

/// An invitation to register a passkey: good once, for one person, for whoever knows its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The act by which the passkey will have been enrolled.
    pub act: Id<kind::Act>,
    /// Who is invited.
    pub person: Id<kind::Person>,
    /// Who invited them.
    pub by: Id<kind::Person>,
    /// SHA-256 of the secret, which has 256 bits of its own randomness.
    pub secret: Digest,
    /// It is worth nothing from this time on.
    pub expires_at_ms: Timestamp,
}

/// An invitation, and whether somebody redeemed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvitationState {
    /// The invitation.
    pub invitation: Invitation,
    /// It was redeemed.
    pub redeemed: bool,
}

impl InvitationState {
    /// Whether this secret opens it now. One answer for every reason that it does not.
    #[must_use]
    pub fn opens(&self, secret: &[u8], now: Timestamp) -> bool {
        let in_time = now < self.invitation.expires_at_ms;
        in_time && !self.redeemed && Digest::of_bytes(secret) == self.invitation.secret
    }
}
