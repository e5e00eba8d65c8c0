//! What people sign about what was done outside of Holdpoint.

use std::collections::BTreeSet;

use holdpoint_domain::reconcile;
use schemars::JsonSchema;

use super::{Digest, Name, Proof, Time, Words};

/// What was done outside of Holdpoint, by whom and when.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct Account {
    /// The log that it is for.
    origin: String,
    /// The action of the catalogue that was done by hand; none where the catalogue has none like it.
    action: Option<Name>,
    /// What it was done to.
    target: Name,
    /// When it began, as people remember it.
    from_ms: Time,
    /// When it was over.
    until_ms: Time,
    /// Who did it: two at least.
    people: BTreeSet<Name>,
    /// The incident.
    incident: Option<Name>,
    /// The commitment to their words.
    words: Digest,
}

/// What those who did it say, in their own words.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct AccountWords {
    /// What was done.
    did: String,
    /// Why it could not wait.
    reason: String,
    /// The state that they found.
    before: String,
    /// The state that they left.
    after: String,
}

/// What a person says about an account.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct ReconcileStatement {
    /// The type tag.
    r#type: Words<reconcile::ReconcileType>,
    /// The account.
    account: Account,
    /// What they say about it.
    part: Words<reconcile::Part>,
    /// Who says it.
    by: Name,
}

/// A statement about what was done outside with the proof over its canonical JSON (RFC 8785), with the domain separation of
/// reconciliations.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::http) struct SignedReconcileStatement {
    /// What was signed.
    statement: ReconcileStatement,
    /// By the person's key or passkey.
    signature: Proof,
}
