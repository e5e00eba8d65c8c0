//! Approvals: a person's signature over a statement that binds the exact plan.

use serde::{Deserialize, Serialize};

use crate::{
    Commitment, Digest, Id, Tier, Timestamp,
    decision::{Answer, Decision},
    digest::DigestError,
    facts::PlanFacts,
    id::kind,
    plan::{Plan, Requester},
    proof::{Credentials, Proof, ProofError, Proven},
    signature::Purpose,
};

/// Longest life of a hold and of an approval statement.
pub const MAX_APPROVAL_MS: u64 = 24 * 60 * 60 * 1000;

/// A point in the ledger that a signature names, so that whoever keeps the signature can later prove a rewritten log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// The log's origin line.
    pub origin: String,
    /// How many entries it had.
    #[serde(deserialize_with = "crate::digest::whole")]
    pub size: u64,
    /// The root hash over them (RFC 6962).
    pub root: Digest,
}

/// What a hold asks people to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldTerms {
    /// The hold.
    pub hold: Id<kind::Hold>,
    /// The head of the ledger when the hold was made.
    pub head: TreeHead,
    /// The plan's digest.
    pub plan: Digest,
    /// The commitment to the requester's words.
    pub narrative: Commitment,
    /// The digest of the facts: target versions, blast set, tier, catalogue.
    pub facts: Digest,
    /// The digest of the decision.
    pub decision: Digest,
    /// The policy bundle.
    pub policy: Digest,
    /// The tier.
    pub tier: Tier,
    /// Used once.
    pub nonce: Id<kind::Nonce>,
    /// When the hold ends; a statement signed for it ends with it.
    pub expires_at_ms: Timestamp,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Release the hold, as far as this person goes.
    Approve,
    /// Reject the plan. One rejection ends the hold.
    Reject,
}

/// What a person signs: the terms of the hold, who they are, and their choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `holdpoint/approval/v1`.
    pub r#type: StatementType,
    /// The terms.
    pub terms: HoldTerms,
    /// Who signs.
    pub approver: Id<kind::Person>,
    /// Yes or no.
    pub choice: Choice,
}

/// The type tag of [`Statement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatementType {
    /// Version 1.
    #[serde(rename = "holdpoint/approval/v1")]
    V1,
}

/// A statement with the proof that it is the approver's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// What was signed.
    pub statement: Statement,
    /// By the approver's key or passkey, for [`Purpose::Approval`].
    pub signature: Proof,
}

/// A checked statement: the proof that a person who may decide consented to (or rejected) exactly these terms. Nobody can
/// make one but [`SignedStatement::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    // INVARIANT: proof checked against the approver's credentials, terms equal to the hold's, approver not a requester.
    signed: SignedStatement,
    proven: Proven,
}

/// Why a statement does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Other terms than the hold's: another plan, other facts, another hold.
    #[error("the statement is about other terms than the hold's: `{0}` differs")]
    OtherTerms(&'static str),
    /// Too late.
    #[error("the hold ended at {} ms, it is {} ms now", expired.ms(), now.ms())]
    Expired {
        /// When it ended.
        expired: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// The person that the requester acts for, or one who narrowed the plan.
    #[error("`{0}` is a requester of this plan and cannot decide on it")]
    Requester(Id<kind::Person>),
    /// The signature does not hold.
    #[error("the approval's signature does not hold")]
    Signature(#[from] ProofError),
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Statement {
    /// The statement of one person on the terms of a hold.
    #[must_use]
    pub const fn new(terms: HoldTerms, approver: Id<kind::Person>, choice: Choice) -> Self {
        Self { r#type: StatementType::V1, terms, approver, choice }
    }

    /// The bytes that the approver signs.
    pub fn signing_bytes(&self) -> Result<Vec<u8>, DigestError> {
        crate::digest::canonical(self).map(|bytes| Purpose::Approval.signing_bytes(&bytes))
    }
}

impl SignedStatement {
    /// Checks the statement against the hold's terms, the approver's registered credentials, the time and the requesters.
    pub fn check(
        self,
        terms: &HoldTerms,
        credentials: &Credentials,
        requester: &Requester,
        now: Timestamp,
    ) -> Result<Consent, ApprovalError> {
        if now >= terms.expires_at_ms {
            return Err(ApprovalError::Expired { expired: terms.expires_at_ms, now });
        }
        self.check_signed(terms, credentials, requester)
    }

    /// As [`Self::check`], for a statement that was in time when the ledger recorded it: what an executor checks.
    pub fn check_signed(
        self,
        terms: &HoldTerms,
        credentials: &Credentials,
        requester: &Requester,
    ) -> Result<Consent, ApprovalError> {
        if let Some(field) = difference(&self.statement.terms, terms) {
            return Err(ApprovalError::OtherTerms(field));
        }
        let approver = &self.statement.approver;
        if requester.is_one(approver) {
            return Err(ApprovalError::Requester(approver.clone()));
        }
        let proven = credentials.check(&self.signature, &self.statement.signing_bytes()?)?;
        Ok(Consent { signed: self, proven })
    }
}

fn difference(signed: &HoldTerms, hold: &HoldTerms) -> Option<&'static str> {
    let HoldTerms { hold: id, head, plan, narrative, facts, decision, policy, tier, nonce, expires_at_ms } =
        hold;
    let checks = [
        (signed.hold == *id, "hold"),
        (signed.head == *head, "head"),
        (signed.plan == *plan, "plan"),
        (signed.narrative == *narrative, "narrative"),
        (signed.facts == *facts, "facts"),
        (signed.decision == *decision, "decision"),
        (signed.policy == *policy, "policy"),
        (signed.tier == *tier, "tier"),
        (signed.nonce == *nonce, "nonce"),
        (signed.expires_at_ms == *expires_at_ms, "expires_at_ms"),
    ];
    checks.into_iter().find_map(|(same, field)| (!same).then_some(field))
}

/// Checks that terms, plan, facts and decision belong together: what a person must know before signing the terms, and
/// what no digest alone can tell them. A gate that shows the facts of one plan beside another is found here.
pub fn belong_together(
    terms: &HoldTerms,
    plan: &Plan,
    facts: &PlanFacts,
    decision: &Decision,
) -> Result<(), ApprovalError> {
    let mut checks = vec![
        (plan.digest()? == terms.plan, "plan"),
        (facts.digest()? == terms.facts && decision.facts == terms.facts, "facts"),
        (decision.digest()? == terms.decision, "decision"),
        (decision.policy == terms.policy, "policy"),
        (decision.tier == terms.tier && decision.answer == Answer::Hold, "tier"),
        (plan.steps().len() == facts.steps().count(), "steps"),
    ];
    for (step, facts) in plan.steps().iter().zip(facts.steps()) {
        let target = facts.target.as_ref();
        checks.extend([
            (facts.inputs.policy == terms.policy, "policy"),
            (*plan.trigger() == facts.trigger.condition, "trigger"),
            (plan.requester().agent == facts.principal.agent, "agent"),
            (plan.requester().on_behalf_of == facts.principal.on_behalf_of, "on_behalf_of"),
            (plan.requester().via.iter().eq(facts.principal.via.iter().map(|deputy| &deputy.agent)), "via"),
            (plan.targets().is_subset(&facts.blast.targets), "blast"),
            (step.action == facts.action.id && step.entry == facts.action.entry, "action"),
            (step.undo == facts.action.undo, "undo"),
            (target.is_some_and(|target| target.id == step.target), "target"),
            (target.is_some_and(|target| target.version == step.expected_version), "expected_version"),
        ]);
    }
    checks
        .into_iter()
        .find(|(same, _)| !same)
        .map_or(Ok(()), |(_, field)| Err(ApprovalError::OtherTerms(field)))
}

impl Consent {
    /// The person.
    #[must_use]
    pub const fn approver(&self) -> &Id<kind::Person> {
        &self.signed.statement.approver
    }

    /// Yes or no.
    #[must_use]
    pub const fn choice(&self) -> Choice {
        self.signed.statement.choice
    }

    /// The terms.
    #[must_use]
    pub const fn terms(&self) -> &HoldTerms {
        &self.signed.statement.terms
    }

    /// How it was proven.
    #[must_use]
    pub const fn proven(&self) -> &Proven {
        &self.proven
    }

    /// The statement and its signature, for the ledger and for executors.
    #[must_use]
    pub const fn signed(&self) -> &SignedStatement {
        &self.signed
    }
}
