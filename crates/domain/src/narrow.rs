//! Narrowing: whoever holds a permit passes on less of it, offline, by signing with the key that the permit is bound to.
//!
//! A chain is the compact permit, followed by links, each after a `~`. A link is a compact JWS of type [`NARROWING_TYP`] by
//! the holder of what stands before it. What a chain grants is what its last link grants, and every link grants no more than
//! the one before: fewer steps, a shorter time, another key. Nothing in a link can widen anything, because nothing in it is
//! read but what [`Holding::narrowed`] compares. The nonce stays the permit's: however many chains hang on one permit, the claim
//! spends it once.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    Digest, Id, Timestamp,
    digest::DigestError,
    id::kind,
    permit::{Grant, MAX_PERMIT_LEN, Permit, PermitError, PermitKeys},
    plan::MAX_STEPS,
    signature::{PublicKey, Signature, Thumbprint},
};

/// The `typ` of a link's JWS header; no other token of ours has it.
pub const NARROWING_TYP: &str = "holdpoint-narrowing+jwt";
/// Most links of a chain: an executor, its shard, its worker, and one to spare.
pub const MAX_LINKS: usize = 4;
/// Longest chain: the largest permit, and some hundred bytes a link.
pub const MAX_CHAIN_LEN: usize = MAX_PERMIT_LEN + 4 * 1024;
/// Between a permit and its links: a character that no compact JWS has.
const BETWEEN: char = '~';

/// What somebody holds of a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The executor in whose name it acts: it never changes.
    pub executor: Id<kind::Executor>,
    /// The key of the holder.
    pub key: Thumbprint,
    /// The steps of the plan, by number.
    pub steps: BTreeSet<u32>,
    /// The first step must start before this.
    pub start_before: Timestamp,
    /// Later steps, undo and revocation until this.
    pub undo_until: Timestamp,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowing {
    /// SHA-256 of the chain that it narrows, all of its characters.
    pub parent: Digest,
    /// Whoever narrows: the key that the parent is bound to.
    pub by: PublicKey,
    /// The executor in whose name the parent is held.
    pub executor: Id<kind::Executor>,
    /// The key that the child is bound to.
    pub key: Thumbprint,
    /// The steps that are passed on, at least one.
    pub steps: BTreeSet<u32>,
    /// The start window of the child.
    pub start_before_ms: Timestamp,
    /// The end of the child.
    pub undo_until_ms: Timestamp,
}

/// A permit and its links, all of whose signatures and bounds were checked. Made only by [`Chain::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    // INVARIANT: every link was signed by the holder of what stands before it, and grants no more than that.
    permit: Permit,
    narrowed: Option<Holding>,
}

/// Why a chain grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarrowError {
    /// The permit that it begins with.
    #[error(transparent)]
    Permit(#[from] PermitError),
    /// Too many links, or too long.
    #[error("expected at most {MAX_LINKS} links and {MAX_CHAIN_LEN} characters")]
    TooLong,
    /// Not a compact JWS of ours.
    #[error("link {0}: expected a compact JWS of type `{NARROWING_TYP}` with `alg` EdDSA in canonical form")]
    Malformed(usize),
    /// A link of another chain.
    #[error("link {0} narrows another chain than the one that it stands behind")]
    OtherParent(usize),
    /// Signed by somebody who does not hold the parent.
    #[error("link {0}: expected the signature of the key that what it narrows is bound to")]
    NotTheHolder(usize),
    /// It grants more.
    #[error("link {link} widens {what}: a child grants no more than its parent")]
    Wider {
        /// Which link.
        link: usize,
        /// What it widens.
        what: Widened,
    },
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// What a child would widen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Widened {
    /// Another executor's name.
    #[error("the executor")]
    Executor,
    /// Steps that the parent does not have, or none at all, which would mean nothing or everything.
    #[error("the steps")]
    Steps,
    /// A later start.
    #[error("the start window")]
    Start,
    /// A later end, or one before the start window's.
    #[error("the end")]
    End,
}

impl Holding {
    /// What an executor holds by a permit itself; none if the permit does not name it.
    #[must_use]
    pub fn of(grant: &Grant, executor: &Id<kind::Executor>) -> Option<Self> {
        Some(Self {
            executor: executor.clone(),
            key: *grant.executors.get(executor)?,
            steps: (0..).take(MAX_STEPS).collect(),
            start_before: grant.start_before_ms,
            undo_until: grant.undo_until_ms,
        })
    }

    /// What is left of this holding after a link, if the link grants no more. Signatures are the caller's concern.
    pub fn narrowed(&self, link: &Narrowing) -> Result<Self, Widened> {
        if link.executor != self.executor {
            return Err(Widened::Executor);
        }
        if link.steps.is_empty() || !link.steps.is_subset(&self.steps) {
            return Err(Widened::Steps);
        }
        if link.start_before_ms > self.start_before {
            return Err(Widened::Start);
        }
        if link.undo_until_ms > self.undo_until || link.undo_until_ms < link.start_before_ms {
            return Err(Widened::End);
        }
        Ok(Self {
            executor: self.executor.clone(),
            key: link.key,
            steps: link.steps.clone(),
            start_before: link.start_before_ms,
            undo_until: link.undo_until_ms,
        })
    }
}

impl Narrowing {
    /// The JWS signing input: header and canonical payload, in base64url.
    pub fn signing_input(&self) -> Result<String, DigestError> {
        let kid = self.by.thumbprint().to_string();
        let header = serde_json::json!({"alg": "EdDSA", "kid": kid, "typ": NARROWING_TYP});
        let (header, payload) = (crate::digest::canonical(&header)?, crate::digest::canonical(self)?);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)))
    }
}

/// The chain with one link more: `signature` is the holder's, over [`Narrowing::signing_input`].
pub fn extended(parent: &str, link: &Narrowing, signature: &Signature) -> Result<String, DigestError> {
    let link = crate::permit::compact(&link.signing_input()?, signature);
    Ok(format!("{parent}{BETWEEN}{link}"))
}

impl Chain {
    /// Opens a chain: the permit with a key of the gate, and then each link with the key that what stands before it is bound to.
    pub fn open(text: &str, gate: &PermitKeys) -> Result<Self, NarrowError> {
        if text.len() > MAX_CHAIN_LEN || text.matches(BETWEEN).count() > MAX_LINKS {
            return Err(NarrowError::TooLong);
        }
        let mut parts = text.split(BETWEEN);
        let permit = gate.open(parts.next().unwrap_or_default())?;
        let mut narrowed = None;
        // Everything before the separator that the link at hand stands behind.
        let mut end = permit.jws().len();
        for (number, part) in parts.enumerate() {
            let link = read(part, number)?;
            let parent = text.get(..end).unwrap_or_default();
            if link.narrowing.parent != Digest::of_bytes(parent.as_bytes()) {
                return Err(NarrowError::OtherParent(number));
            }
            let held = match narrowed.take() {
                Some(held) => held,
                None => Holding::of(permit.grant(), &link.narrowing.executor)
                    .ok_or(NarrowError::Wider { link: number, what: Widened::Executor })?,
            };
            let by = &link.narrowing.by;
            if by.thumbprint() != held.key || link.signature.verify_raw(by, link.signed.as_bytes()).is_err() {
                return Err(NarrowError::NotTheHolder(number));
            }
            let less = held.narrowed(&link.narrowing);
            narrowed = Some(less.map_err(|what| NarrowError::Wider { link: number, what })?);
            end = end.saturating_add(BETWEEN.len_utf8()).saturating_add(part.len());
        }
        Ok(Self { permit, narrowed })
    }

    /// The permit.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }

    /// What is held in an executor's name; none if the chain gives it nothing.
    #[must_use]
    pub fn holding(&self, executor: &Id<kind::Executor>) -> Option<Holding> {
        match &self.narrowed {
            Some(held) => (held.executor == *executor).then(|| held.clone()),
            None => Holding::of(self.permit.grant(), executor),
        }
    }
}

struct Link<'a> {
    narrowing: Narrowing,
    signed: &'a str,
    signature: Signature,
}

/// The one spelling of a link: the header that [`Narrowing::signing_input`] writes, and the payload in canonical form.
fn read(text: &str, number: usize) -> Result<Link<'_>, NarrowError> {
    let malformed = || NarrowError::Malformed(number);
    let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
    let (_, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
    let narrowing: Narrowing = serde_json::from_slice(&decode(payload)?).map_err(|_| malformed())?;
    if narrowing.signing_input().ok().as_deref() != Some(signed) {
        return Err(malformed());
    }
    let raw = decode(signature)?.try_into().map_err(|_| malformed())?;
    Ok(Link { narrowing, signed, signature: Signature::from_bytes(raw) })
}
