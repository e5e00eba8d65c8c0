//! Permits: the one signed grant that an executor acts under, and the only thing it acts under.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    Commitment, Digest, Id, Oversight, Rung, Tier, Timestamp,
    approval::{ApprovalError, Choice, Consent, HoldTerms, SignedStatement, TreeHead},
    decision::{Answer, Decision},
    digest::DigestError,
    id::kind,
    plan::Plan,
    proof::Credentials,
    quorum::{Approver, Missing, Quorum},
    signature::{PublicKey, Signature, Thumbprint},
};

/// Longest time between the grant of a permit and the start of its run.
pub const MAX_START_MS: u64 = 60 * 60 * 1000;
/// Longest compact permit: more than the largest plan's approvals need, far below any body limit.
pub const MAX_PERMIT_LEN: usize = 64 * 1024;
/// The `typ` of the JWS header; no other token of ours has it.
pub const PERMIT_TYP: &str = "holdpoint-permit+jwt";

/// What a permit grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The permit's id.
    pub id: Id<kind::Permit>,
    /// The plan's id.
    pub plan_id: Id<kind::Plan>,
    /// The plan's digest: the bytes that may run.
    pub plan: Digest,
    /// The commitment to the requester's words.
    pub narrative: Commitment,
    /// The digest of the facts it was decided from.
    pub facts: Digest,
    /// The digest of the decision.
    pub decision: Digest,
    /// The policy bundle.
    pub policy: Digest,
    /// The tier.
    pub tier: Tier,
    /// The head of the ledger when it was granted.
    pub head: TreeHead,
    /// The terms that people approved, where the tier needs people.
    pub terms: Option<HoldTerms>,
    /// Their signed statements.
    pub approvals: Vec<SignedStatement>,
    /// The executors that may act under it, each on the steps that are its own, and the key that each must have: the permit in
    /// another's hands is worth nothing.
    pub executors: BTreeMap<Id<kind::Executor>, Thumbprint>,
    /// Used once, by the claim.
    pub nonce: Id<kind::Nonce>,
    /// Grows with every permit: a target that has seen a higher one refuses a lower one.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub epoch: u64,
    /// When it was granted.
    pub granted_at_ms: Timestamp,
    /// The run must start before this.
    pub start_before_ms: Timestamp,
    /// Undo and revocation are authorised until this.
    pub undo_until_ms: Timestamp,
}

/// Everything about a grant that is not in the decision.
#[derive(Debug, Clone)]
pub struct GrantParts {
    /// The permit's id.
    pub id: Id<kind::Permit>,
    /// The plan's id.
    pub plan_id: Id<kind::Plan>,
    /// The commitment to the requester's words.
    pub narrative: Commitment,
    /// The head of the ledger.
    pub head: TreeHead,
    /// Whom the catalogue asks for, beyond the people of the tier.
    pub asked: Option<Quorum>,
    /// Who is in which teams now: whoever is not in here is in none.
    pub teams: BTreeMap<Id<kind::Person>, BTreeSet<Id<kind::Team>>>,
    /// The executors of its steps, and their keys.
    pub executors: BTreeMap<Id<kind::Executor>, Thumbprint>,
    /// The nonce.
    pub nonce: Id<kind::Nonce>,
    /// The fencing epoch.
    pub epoch: u64,
    /// When.
    pub granted_at: Timestamp,
    /// The run must start before this.
    pub start_before: Timestamp,
    /// Undo and revocation until this.
    pub undo_until: Timestamp,
}

/// A permit whose signature was checked. Nobody can make one but [`Permit::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    // INVARIANT: the gate's permit key signed exactly `jws`, which carries `grant`.
    grant: Grant,
    jws: String,
}

/// A permit key that signs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetiredKey {
    /// The key.
    pub key: PublicKey,
    /// Permits that it signed still open if they say that they were granted before this: whoever steals the key afterwards can date
    /// a permit back, but not its start window forward.
    pub granted_before_ms: Timestamp,
}

/// The keys that permits open with: the one that signs now, and those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitKeys {
    current: PublicKey,
    retired: Vec<RetiredKey>,
}

/// Most retired keys: each one costs a verification of what is not signed by the current one.
pub const MAX_RETIRED: usize = 4;

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// The decision was not to allow, and not to hold.
    #[error("expected a decision to allow or hold, got `{0}`")]
    NotAllowed(Answer),
    /// Too few people.
    #[error("expected {needed} approvals at tier {tier}, got {got}")]
    Approvals {
        /// The tier.
        tier: Tier,
        /// How many are needed.
        needed: u32,
        /// How many count.
        got: u32,
    },
    /// The people are enough, and not those whom the catalogue asks for.
    #[error("the catalogue asks for {0}")]
    Missing(Missing),
    /// One of them rejected.
    #[error("`{0}` rejected the plan")]
    Rejected(Id<kind::Person>),
    /// T4 without strong authentication.
    #[error("tier T4 needs fresh strong authentication by passkeys of {needed} people, got {got}")]
    NotStrong {
        /// How many people.
        needed: u32,
        /// How many signed with a passkey.
        got: u32,
    },
    /// Two people whom one act enrolled: it could have been one.
    #[error(
        "the passkeys of these approvers were enrolled by one act: tier T4 needs people who were enrolled by different ones"
    )]
    OneAct,
    /// An approval of another decision.
    #[error("an approval is about another decision, plan or facts")]
    OtherDecision,
    /// An approval that does not hold, or whose approver has no pinned key.
    #[error("an approval in the permit does not hold: {0}")]
    Approval(#[source] ApprovalError),
    /// An approver whose key was not pinned.
    #[error("no key is pinned for approver `{0}`")]
    UnknownApprover(Id<kind::Person>),
    /// Times in the wrong order, or too long a life.
    #[error("expected granted < start_before <= undo_until and a start within {MAX_START_MS} ms")]
    Times,
    /// Another plan than the permit's.
    #[error("the plan is not the one that the permit names: expected digest {expected}, got {got}")]
    OtherPlan {
        /// In the permit.
        expected: Digest,
        /// Of the plan at hand.
        got: Digest,
    },
    /// Not a compact JWS of ours.
    #[error("expected a compact JWS of type `{PERMIT_TYP}` with `alg` EdDSA, got something else")]
    Malformed,
    /// Another key made it, or somebody changed it.
    #[error("the permit's signature does not hold")]
    Signature,
    /// A retired key signed it, and it says that it was granted later.
    #[error("a retired key signed the permit, which was granted after its time")]
    Retired,
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl From<PublicKey> for PermitKeys {
    fn from(current: PublicKey) -> Self {
        Self { current, retired: Vec::new() }
    }
}

impl PermitKeys {
    /// Of more retired keys than [`MAX_RETIRED`], the first ones count.
    #[must_use]
    pub fn new(current: PublicKey, mut retired: Vec<RetiredKey>) -> Self {
        retired.truncate(MAX_RETIRED);
        Self { current, retired }
    }

    /// The key that signs now.
    #[must_use]
    pub const fn current(&self) -> &PublicKey {
        &self.current
    }

    /// Those before it.
    #[must_use]
    pub fn retired(&self) -> &[RetiredKey] {
        &self.retired
    }

    /// Opens a permit with whichever of them signed it. The id in its header chooses nothing.
    pub fn open(&self, jws: &str) -> Result<Permit, PermitError> {
        let mut opened = Permit::open(jws, &self.current);
        for old in &self.retired {
            if opened != Err(PermitError::Signature) {
                break;
            }
            opened = Permit::open(jws, &old.key).and_then(|permit| {
                let in_its_time = permit.grant.granted_at_ms < old.granted_before_ms;
                if in_its_time { Ok(permit) } else { Err(PermitError::Retired) }
            });
        }
        opened
    }
}

impl GrantParts {
    /// What of the catalogue's demands these consents leave open.
    fn missing(&self, consents: &[Consent]) -> Option<Missing> {
        let nowhere = BTreeSet::new();
        let people = consents.iter().map(Consent::approver);
        let approvers: Vec<_> = people
            .map(|person| Approver { person, teams: self.teams.get(person).unwrap_or(&nowhere) })
            .collect();
        self.asked.as_ref()?.missing(&approvers)
    }
}

impl Grant {
    /// A grant from a decision and the consents that its tier needs. The only way to one.
    pub fn new(
        decision: &Decision,
        plan: &Plan,
        consents: &[Consent],
        parts: GrantParts,
    ) -> Result<Self, PermitError> {
        let needed = match decision.answer {
            Answer::Allow => needed(decision.tier),
            // A hold waits for somebody, whatever its tier says.
            Answer::Hold => needed(decision.tier).max(1),
            Answer::Deny | Answer::Defer => return Err(PermitError::NotAllowed(decision.answer)),
        };
        let in_order = parts.granted_at < parts.start_before && parts.start_before <= parts.undo_until;
        if !in_order || parts.start_before.since(parts.granted_at).ms() > MAX_START_MS {
            return Err(PermitError::Times);
        }
        let (plan_digest, decision_digest) = (plan.digest()?, decision.digest()?);
        let terms = consents.first().map(Consent::terms);
        let fits = |terms: &HoldTerms| {
            terms.plan == plan_digest
                && terms.decision == decision_digest
                && terms.narrative == parts.narrative
                && terms.facts == decision.facts
                && terms.policy == decision.policy
                && terms.tier == decision.tier
        };
        // One hold: consents to two holds of one plan never add up.
        if !consents.iter().all(|consent| Some(consent.terms()) == terms && fits(consent.terms())) {
            return Err(PermitError::OtherDecision);
        }
        in_time(terms, parts.granted_at)?;
        count(decision.tier, needed.max(parts.asked.as_ref().map_or(0, Quorum::needed)), consents)?;
        if let Some(missing) = parts.missing(consents) {
            return Err(PermitError::Missing(missing));
        }
        Ok(Self {
            id: parts.id,
            plan_id: parts.plan_id,
            plan: plan_digest,
            narrative: parts.narrative,
            facts: decision.facts,
            decision: decision_digest,
            policy: decision.policy,
            tier: decision.tier,
            head: parts.head,
            terms: terms.cloned(),
            approvals: consents.iter().map(|consent| consent.signed().clone()).collect(),
            executors: parts.executors,
            nonce: parts.nonce,
            epoch: parts.epoch,
            granted_at_ms: parts.granted_at,
            start_before_ms: parts.start_before,
            undo_until_ms: parts.undo_until,
        })
    }

    /// The JWS signing input (RFC 7515 section 5.1): protected header and canonical payload, in base64url.
    pub fn signing_input(&self, key_id: &str) -> Result<String, DigestError> {
        let header =
            crate::digest::canonical(&serde_json::json!({"alg": "EdDSA", "kid": key_id, "typ": PERMIT_TYP}))?;
        let payload = crate::digest::canonical(self)?;
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)))
    }
}

/// Whether the hold was still open when the permit was granted.
fn in_time(terms: Option<&HoldTerms>, granted: Timestamp) -> Result<(), PermitError> {
    match terms {
        Some(terms) if granted >= terms.expires_at_ms => {
            let expired = terms.expires_at_ms;
            Err(PermitError::Approval(ApprovalError::Expired { expired, now: granted }))
        }
        Some(_) | None => Ok(()),
    }
}

/// How many people a tier needs.
#[must_use]
pub const fn needed(tier: Tier) -> u32 {
    match Rung::of(tier) {
        Some(rung) => rung.oversight().approvals,
        None => u32::MAX,
    }
}

/// What consents amount to.
struct Counted {
    approvals: u32,
    strong: bool,
}

/// Counts distinct approvers, each once; a rejection among them wins. From T4 on, only those count who signed with a passkey, and
/// no two by one act of enrolment.
fn count(tier: Tier, needed: u32, consents: &[Consent]) -> Result<Counted, PermitError> {
    let mut people = BTreeSet::new();
    let (mut strong, mut acts) = (BTreeSet::new(), BTreeSet::new());
    for consent in consents {
        match consent.choice() {
            Choice::Reject => return Err(PermitError::Rejected(consent.approver().clone())),
            Choice::Approve => people.insert(consent.approver()),
        };
        if let Some(asserted) = consent.proven().strong() {
            strong.insert(consent.approver());
            acts.insert(asserted.act());
        }
    }
    let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let (approvals, by_passkey) = (number(people.len()), number(strong.len()));
    if approvals < needed {
        return Err(PermitError::Approvals { tier, needed, got: approvals });
    }
    let is_strong = by_passkey >= needed.max(1);
    if tier >= Tier::T4 {
        if !is_strong {
            return Err(PermitError::NotStrong { needed, got: by_passkey });
        }
        if number(acts.len()) < needed {
            return Err(PermitError::OneAct);
        }
    }
    Ok(Counted { approvals, strong: is_strong })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    #[allow(dead_code, reason = "there is one permit key; the id is for people and for outside verifiers")]
    kid: String,
    typ: String,
}

impl Permit {
    /// Opens a compact permit: checks header, signature and payload. Refuses every other `alg` and `typ`, unknown
    /// fields, padding, and a payload that is not in canonical form.
    pub fn open(jws: &str, key: &PublicKey) -> Result<Self, PermitError> {
        let mut parts = jws.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PermitError::Malformed);
        };
        if jws.len() > MAX_PERMIT_LEN {
            return Err(PermitError::Malformed);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| PermitError::Malformed);
        let raw: [u8; 64] = decode(signature)?.try_into().map_err(|_| PermitError::Malformed)?;
        let signed =
            jws.get(..header.len().saturating_add(1).saturating_add(payload.len())).unwrap_or_default();
        Signature::from_bytes(raw).verify_raw(key, signed.as_bytes()).map_err(|_| PermitError::Signature)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| PermitError::Malformed)?;
        if header.alg != "EdDSA" || header.typ != PERMIT_TYP {
            return Err(PermitError::Malformed);
        }
        let payload = decode(payload)?;
        let grant: Grant = serde_json::from_slice(&payload).map_err(|_| PermitError::Malformed)?;
        // What has no canonical form was not encoded by us.
        if crate::digest::canonical(&grant).map_err(|_| PermitError::Malformed)? != payload {
            return Err(PermitError::Malformed);
        }
        Ok(Self { grant, jws: jws.to_owned() })
    }

    /// What it grants.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The digest of its compact JWS: these bytes, and no others of the same names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(self.jws.as_bytes())
    }

    /// The compact JWS.
    #[must_use]
    pub fn jws(&self) -> &str {
        &self.jws
    }

    /// Whether `plan`, encoded anew, is the plan that was permitted.
    pub fn check_plan(&self, plan: &Plan) -> Result<(), PermitError> {
        let got = plan.digest()?;
        if got == self.grant.plan {
            Ok(())
        } else {
            Err(PermitError::OtherPlan { expected: self.grant.plan, got })
        }
    }

    /// Checks the approvers' statements against credentials pinned apart from the gate, for a plan that needs at least `floor`, and at
    /// least `people`.
    /// Returns the oversight that they amount to. A gate whose key was stolen can sign a permit, but not this.
    pub fn check_consents(
        &self,
        plan: &Plan,
        floor: Tier,
        people: u32,
        credentials: &BTreeMap<Id<kind::Person>, Credentials>,
    ) -> Result<Oversight, PermitError> {
        self.check_plan(plan)?;
        in_time(self.grant.terms.as_ref(), self.grant.granted_at_ms)?;
        // Terms that nobody signed bind nobody: they are no part of an honest permit.
        if self.grant.terms.is_some() == self.grant.approvals.is_empty() {
            return Err(PermitError::OtherDecision);
        }
        let tier = self.grant.tier.max(floor);
        let mut consents = Vec::new();
        for signed in &self.grant.approvals {
            let Some(terms) = &self.grant.terms else { return Err(PermitError::OtherDecision) };
            let bound = terms.plan == self.grant.plan
                && terms.decision == self.grant.decision
                && terms.facts == self.grant.facts
                && terms.narrative == self.grant.narrative
                && terms.policy == self.grant.policy
                && terms.tier == self.grant.tier;
            if !bound {
                return Err(PermitError::OtherDecision);
            }
            let approver = &signed.statement.approver;
            let theirs =
                credentials.get(approver).ok_or_else(|| PermitError::UnknownApprover(approver.clone()))?;
            consents.push(
                signed
                    .clone()
                    .check_signed(terms, theirs, plan.requester())
                    .map_err(PermitError::Approval)?,
            );
        }
        let Counted { approvals, strong } = count(tier, needed(tier).max(people), &consents)?;
        Ok(Oversight { review_promised: self.grant.tier >= Tier::T2, approvals, strong, fresh: strong })
    }
}

/// The signing input, the payload in base64url and the signature of a compact JWS; none for what is none.
pub(crate) fn parts(jws: &str) -> Option<(&str, &str, Signature)> {
    let (signed, signature) = jws.rsplit_once('.')?;
    let (_, payload) = signed.split_once('.')?;
    let raw: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
    Some((signed, payload, Signature::from_bytes(raw)))
}

/// The compact JWS of a signing input and its signature.
#[must_use]
pub fn compact(signing_input: &str, signature: &Signature) -> String {
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}
