//! Permits and delegations, for those who check them elsewhere.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Digest, Id, Millis, Timestamp,
    bearer::{Claims, Detail, Granted, LEASE_TYP},
    flow::State,
    id::kind,
    signature::PublicKey,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::schema;

/// The public keys of the gate, by purpose. Compare them with a copy that came another way before trusting them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Keys {
    /// The log's origin line.
    pub(crate) origin: String,
    /// The key of the log's checkpoints, as a C2SP verifier key.
    pub(crate) log_key: String,
    /// The key of permits.
    #[schemars(with = "schema::PublicKey")]
    pub(crate) permit_key: PublicKey,
    /// The id of the permit key in JWS headers: its thumbprint (RFC 7638).
    pub(crate) permit_key_id: String,
    /// The key of delegations.
    #[schemars(with = "schema::PublicKey")]
    pub(crate) delegation_key: PublicKey,
    /// The key of evidence.
    #[schemars(with = "schema::PublicKey")]
    pub(crate) evidence_key: PublicKey,
}

/// A key set (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct JwkSet {
    /// The keys.
    pub(crate) keys: Vec<Jwk>,
}

/// An Ed25519 key (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Jwk {
    /// `OKP`.
    pub(crate) kty: String,
    /// `Ed25519`.
    pub(crate) crv: String,
    /// `EdDSA`.
    pub(crate) alg: String,
    /// `sig`.
    pub(crate) r#use: String,
    /// The thumbprint (RFC 7638), which stands in the headers of what it signs.
    pub(crate) kid: String,
    /// The public key.
    pub(crate) x: String,
    /// What it signs, and nothing else: `holdpoint:permits`, `holdpoint:delegations` or `holdpoint:leases`.
    #[serde(rename = "urn:holdpoint:purpose")]
    pub(crate) purpose: String,
}

/// The body of `POST /v1/introspection`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewIntrospection {
    /// A permit, or what was passed on of one.
    pub(crate) token: String,
    /// The executor in whose name it is brought; not needed where it names one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) executor: Option<Id<kind::Executor>>,
}

/// Whether a permit or a bearer lease is good now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Introspection {
    /// Good now. If not, nothing else is said.
    pub(crate) active: bool,
    /// What it grants.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(crate) permit: Option<ActivePermit>,
    /// What a lease says.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<ActiveLease>,
}

/// What an active bearer lease says: its claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ActiveLease {
    /// The type of the token's header.
    pub(crate) token_type: String,
    /// The issuer.
    pub(crate) iss: String,
    /// The one audience: whoever asks must be it.
    pub(crate) aud: String,
    /// The executor.
    #[schemars(with = "schema::Name")]
    pub(crate) sub: Id<kind::Executor>,
    /// The same.
    #[schemars(with = "schema::Name")]
    pub(crate) client_id: Id<kind::Executor>,
    /// The lease's id.
    #[schemars(with = "schema::Name")]
    pub(crate) jti: Id<kind::Lease>,
    /// When it was made, in seconds.
    pub(crate) iat: u64,
    /// It is no good before this, in seconds.
    pub(crate) nbf: u64,
    /// When it ends, in seconds.
    pub(crate) exp: u64,
    /// The key that whoever brings it must prove to have, where it is bound (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnf: Option<Confirmation>,
    /// The permit, the plan's digest and the fencing epoch; none in a control, which opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub(crate) grant: Option<Granted>,
    /// Exactly the steps (RFC 9396); none in a control.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub(crate) authorization_details: Vec<Detail>,
}

impl ActiveLease {
    /// What a token says.
    pub(crate) fn of(claims: Claims) -> Self {
        Self {
            token_type: LEASE_TYP.to_owned(),
            iss: claims.iss,
            aud: claims.aud,
            sub: claims.sub,
            client_id: claims.client_id,
            jti: claims.jti,
            iat: claims.iat,
            nbf: claims.nbf,
            exp: claims.exp,
            cnf: claims.cnf.map(|cnf| Confirmation { jkt: cnf.jkt.to_string() }),
            grant: claims.grant,
            authorization_details: claims.authorization_details,
        }
    }
}

/// What an active permit grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ActivePermit {
    /// The type of the permit's header.
    pub(crate) token_type: String,
    /// The gate: the log's origin.
    pub(crate) iss: String,
    /// The permit's id.
    #[schemars(with = "schema::Name")]
    pub(crate) jti: Id<kind::Permit>,
    /// When it was granted, in seconds.
    pub(crate) iat: u64,
    /// When it ends, in seconds.
    pub(crate) exp: u64,
    /// The key that whoever brings it must prove to have (RFC 7800).
    pub(crate) cnf: Confirmation,
    /// The executor.
    #[schemars(with = "schema::Name")]
    pub(crate) executor: Id<kind::Executor>,
    /// The plan.
    #[schemars(with = "schema::Name")]
    pub(crate) plan_id: Id<kind::Plan>,
    /// Its digest: the bytes that may run.
    #[schemars(with = "schema::Digest")]
    pub(crate) plan: Digest,
    /// Where the plan is in its life.
    #[schemars(with = "schema::Words<State>")]
    pub(crate) state: State,
    /// The fencing epoch: a target that has seen a higher one refuses it.
    pub(crate) epoch: u64,
    /// The steps that are this executor's, by number.
    pub(crate) steps: BTreeSet<u32>,
    /// What it is good for now.
    pub(crate) good_for: GoodFor,
    /// The first step must start before this.
    #[schemars(with = "schema::Time")]
    pub(crate) start_before_ms: Timestamp,
    /// Later steps, undo and revocation until this.
    #[schemars(with = "schema::Time")]
    pub(crate) undo_until_ms: Timestamp,
}

/// What a permit is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GoodFor {
    /// To start, and to apply steps.
    Apply,
    /// To take back what was applied, and nothing else.
    Undo,
}

/// The key of a permit's holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Confirmation {
    /// Its thumbprint (RFC 7638, RFC 9449).
    pub(crate) jkt: String,
}

/// The body of `POST /v1/sign-in-links`: nothing, since the caller's token says whose browser it will be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSignInLink {}

/// A link that signs a browser in to the console. Told once, to whoever asked for it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SignInLink {
    /// The link, whose secret stands behind `#`.
    pub(crate) link: String,
    /// It is worth nothing from then on.
    #[schemars(with = "schema::Time")]
    pub(crate) expires_at_ms: Timestamp,
}

/// The body of `POST /v1/invitations`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvitation {
    /// Who is to register a passkey: somebody of the registry.
    #[schemars(with = "schema::Name")]
    pub(crate) person: Id<kind::Person>,
}

/// An invitation. Its secret is told once, to whoever asked for it, and to nobody else.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Invited {
    /// The act by which the passkey will have been enrolled.
    #[schemars(with = "schema::Name")]
    pub(crate) act: Id<kind::Act>,
    /// Who is invited.
    #[schemars(with = "schema::Name")]
    pub(crate) person: Id<kind::Person>,
    /// It is worth nothing from then on.
    #[schemars(with = "schema::Time")]
    pub(crate) expires_at_ms: Timestamp,
    /// The secret of the link, in base64url.
    pub(crate) secret: String,
    /// Where the console is, if there is one.
    pub(crate) console: Option<String>,
}

/// The body of `POST /v1/delegations`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDelegation {
    /// The agent that is to act for the caller, or for whomever the caller acts for.
    #[schemars(with = "schema::Name")]
    pub(crate) to: Id<kind::Agent>,
    /// Only these actions; as many as the caller has when there is no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::Name>>")]
    pub(crate) actions: Option<Vec<Id<kind::Action>>>,
    /// Only these targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::Name>>")]
    pub(crate) targets: Option<Vec<Id<kind::Target>>>,
    /// For how long: eight hours at most.
    #[schemars(with = "schema::Span")]
    pub(crate) life_ms: Millis,
}

/// A delegation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Delegated {
    /// Its id.
    #[schemars(with = "schema::Name")]
    pub(crate) id: Id<kind::Delegation>,
    /// The person at the head of the chain.
    #[schemars(with = "Option<schema::Name>")]
    pub(crate) head: Option<Id<kind::Person>>,
    /// The agents between them and the one that acts, the first one first.
    #[schemars(with = "Vec<schema::Name>")]
    pub(crate) via: Vec<Id<kind::Agent>>,
    /// The agent that acts.
    #[schemars(with = "schema::Name")]
    pub(crate) to: Id<kind::Agent>,
    /// When it ends.
    #[schemars(with = "schema::Time")]
    pub(crate) until_ms: Timestamp,
    /// The token for the header `Holdpoint-Delegation`, beside the agent's own identity.
    pub(crate) token: String,
    /// The ledger index of its record.
    pub(crate) index: u64,
}
