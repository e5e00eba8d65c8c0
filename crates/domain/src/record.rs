//! Records: the entries of the ledger. They are the source of truth; every state is a fold over them.
//!
//! One file over 600 lines: it is one list, and three exhaustive readings of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Commitment, Digest, Id, Timestamp,
    actor::Actor,
    aftercare::{ResolutionStatement, ReviewStatement},
    aftermath::{Aftermath, Baseline},
    approval::{HoldTerms, SignedStatement},
    change::{Change, ChangeStatement, ChangeTerms, Control},
    decision::{Decision, Worse},
    delegation::Delegation,
    digest::DigestError,
    enrol::Invitation,
    facts::{Inputs, PlanFacts},
    flow::Event,
    halt::{Halt, ResumeStatement},
    id::kind,
    incident::Told,
    lease::LeaseInfo,
    limits::Footprint,
    narrowing::NarrowStatement,
    passkey::{CredentialId, Passkey},
    plan::Plan,
    proof::{Credentials, Proof},
    reconcile::{Due, ReconcileStatement},
    signed::Signed,
    trigger::SignedEvidence,
};

mod why;

pub use why::{DoubtWhy, FailWhy, Request};

/// Largest record. The log's format ends at 65,535 bytes an entry (C2SP tlog-tiles); we stop before.
pub const MAX_RECORD_LEN: usize = 60_000;

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `holdpoint/record/v1`.
    pub r#type: RecordType,
    /// When, by the gate's clock. Order is the ledger's index, not this.
    pub at_ms: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// The plan that it is about.
    pub plan: Option<Id<kind::Plan>>,
    /// What happened.
    pub body: Body,
}

/// The type tag of [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordType {
    /// Version 1.
    #[serde(rename = "holdpoint/record/v1")]
    V1,
}

/// A part of an agent's context: what it was told, and what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Submitted {
    /// It was submitted; the text stands beside the ledger.
    Committed(Commitment),
    /// The agent did not submit it.
    Withheld,
}

/// The agent's context, as commitments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentContext {
    /// The prompt.
    pub prompt: Submitted,
    /// The model.
    pub model: Submitted,
    /// The transcript.
    pub transcript: Submitted,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// The log begins: its origin, and the control inputs in force.
    Genesis {
        /// The log's origin line.
        origin: String,
        /// Digests of the control inputs.
        inputs: Inputs,
        /// The first administrators and what they sign with: who may approve changes from now on.
        administrators: BTreeMap<Id<kind::Person>, Credentials>,
        /// The commitments to the control inputs' contents, which are kept beside the ledger.
        contents: BTreeMap<Control, Commitment>,
    },
    /// The gate began to serve.
    Started {
        /// The control inputs in force.
        inputs: Inputs,
        /// A development flag is in force.
        development: bool,
    },
    /// A person proposed another control input.
    ChangeProposed {
        /// What administrators are asked to sign.
        terms: Box<ChangeTerms>,
    },
    /// An administrator decided on a change.
    ChangeDecided {
        /// Their statement.
        statement: Box<Signed<ChangeStatement>>,
    },
    /// A control input was replaced.
    Changed {
        /// The change.
        change: Change,
        /// Passkeys that signed until now and do not any more, for they are not in the registry that comes in force. None where another
        /// input was replaced, and in records of before this was written down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retired: Option<BTreeSet<CredentialId>>,
    },
    /// A control input on disk is not the one in force. That one stays in force, and T1 and T2 are suspended.
    InputRefused {
        /// Which one.
        control: Control,
        /// The digest of what is on disk; none when it does not load.
        found: Option<Digest>,
    },
    /// What is on disk is what is in force again.
    InputRestored {
        /// Which one.
        control: Control,
    },
    /// Somebody halted everything.
    Halted {
        /// The halt.
        halt: Halt,
    },
    /// A person let it go on.
    Resumed {
        /// Their statement.
        statement: Box<Signed<ResumeStatement>>,
    },
    /// Requests of nobody that the gate knows, in an interval: how many of each kind were turned away.
    Strangers {
        /// From when.
        from_ms: Timestamp,
        /// Until when.
        until_ms: Timestamp,
        /// How many, by why they were turned away.
        turned_away: BTreeMap<Id<kind::Rule>, u64>,
    },
    /// A source outside told of an incident: it began, goes on otherwise than before, or is over.
    Incident {
        /// What it told.
        told: Box<Told>,
    },
    /// An administrator invited somebody to register a passkey.
    Invited {
        /// The invitation, without its secret.
        invitation: Invitation,
    },
    /// Somebody redeemed an invitation with a passkey, which a change of the registry asks for.
    Enrolling {
        /// The invitation.
        act: Id<kind::Act>,
        /// The passkey.
        passkey: Box<Passkey>,
        /// The change that others must approve.
        change: Id<kind::Change>,
    },
    /// Somebody has an agent act for them.
    Delegated {
        /// Who acts for whom.
        delegation: Box<Delegation>,
    },
    /// A plan was frozen.
    Proposed {
        /// The plan.
        plan: Box<Plan>,
        /// The requester's words.
        narrative: Commitment,
        /// The agent's context.
        context: AgentContext,
    },
    /// The observer measured a condition.
    Measured {
        /// What it measured, signed.
        evidence: Box<SignedEvidence>,
    },
    /// The gate decided. Its answer is the event.
    Decided {
        /// The decision.
        decision: Box<Decision>,
        /// What it was made from.
        facts: Box<PlanFacts>,
    },
    /// The gate will measure again.
    Deferred {
        /// When.
        next_at_ms: Timestamp,
        /// When it gives up.
        expires_at_ms: Timestamp,
    },
    /// The plan waits for people.
    Held {
        /// What they are asked to sign.
        terms: Box<HoldTerms>,
    },
    /// A person approved.
    Approved {
        /// Their statement.
        statement: Box<SignedStatement>,
    },
    /// A person rejected.
    Rejected {
        /// Their statement.
        statement: Box<SignedStatement>,
    },
    /// A person asked for less of the plan: this one ends, with the approvals that it had.
    Narrowed {
        /// Their statement.
        statement: Box<Signed<NarrowStatement>>,
        /// The plan that it became.
        into: Id<kind::Plan>,
    },
    /// The plan's time ran out.
    Expired,
    /// Something was worse at the claim.
    Voided {
        /// What.
        worse: Vec<Worse>,
    },
    /// A permit was granted.
    Permitted {
        /// The compact JWS.
        jws: String,
        /// Its nonce, which the claim uses up.
        nonce: Id<kind::Nonce>,
        /// Its fencing epoch.
        #[serde(deserialize_with = "crate::digest::whole")]
        epoch: u64,
    },
    /// The intent: the run is open, and apply, undo and revocation are authorised by this record.
    Claimed {
        /// The permit.
        permit: Id<kind::Permit>,
        /// The digest of its JWS: no other permit, whatever it is called, has this intent.
        permit_digest: Digest,
        /// Its nonce, used up now.
        nonce: Id<kind::Nonce>,
        /// Its fencing epoch.
        #[serde(deserialize_with = "crate::digest::whole")]
        epoch: u64,
        /// The executors that act under it.
        executors: BTreeSet<Id<kind::Executor>>,
        /// The facts measured at the claim.
        facts: Box<PlanFacts>,
        /// What it counts as in budgets.
        footprint: Box<Footprint>,
    },
    /// A credential was leased.
    Leased {
        /// What everybody may know of it.
        lease: LeaseInfo,
    },
    /// A further credential was leased under the same intent: of another backend, or for the undo after the first one ended.
    LeasedAgain {
        /// What everybody may know of it.
        lease: LeaseInfo,
    },
    /// A person asked for the end of a lease. Nobody uses it from here on; its end is a record of its own.
    RevocationAsked {
        /// The lease.
        lease: Id<kind::Lease>,
    },
    /// A lease ended, and a failed use proved it.
    Revoked {
        /// The lease.
        lease: Id<kind::Lease>,
    },
    /// The dry runs passed: of each step, and of its undo.
    Rehearsed {
        /// How many steps.
        steps: u32,
    },
    /// The effect of a step begins. Written before anything is touched.
    Applying {
        /// The step.
        step: u32,
        /// The version that the target has.
        before: Digest,
    },
    /// The effect was observed.
    Applied {
        /// The step.
        step: u32,
        /// The version that our effect left.
        after: Digest,
        /// It was the last step.
        last: bool,
    },
    /// The result was measured and is good.
    Succeeded {
        /// The digest of the last evidence.
        evidence: Digest,
    },
    /// The run ended and nothing is left changed.
    Failed {
        /// Why, out of a closed list.
        why: FailWhy,
    },
    /// The undo begins. Written before anything is touched.
    Undoing {
        /// The step.
        step: u32,
        /// The version that the target has: the one that our effect left.
        from: Digest,
        /// Why, out of a closed list.
        why: FailWhy,
    },
    /// The undo of a step was observed, and there are earlier ones.
    Unwound {
        /// The step.
        step: u32,
        /// The version that its target has now.
        version: Digest,
    },
    /// A step could not be undone, and the earlier ones are undone all the same. The run ends as `undo_failed`.
    NotUndone {
        /// The step.
        step: u32,
        /// Why, out of a closed list.
        why: FailWhy,
    },
    /// The last undo was observed.
    Undone {
        /// The version that the target has now.
        version: Digest,
    },
    /// The undo did not work.
    UndoFailed {
        /// Why, out of a closed list.
        why: FailWhy,
    },
    /// Nobody knows what happened; a person must look.
    InDoubt {
        /// Why, out of a closed list.
        why: DoubtWhy,
    },
    /// What all services were like right before the run. Nothing is decided from it.
    Baseline {
        /// What was measured.
        baseline: Box<Baseline>,
    },
    /// What changed and which services moved, measured when the run was over, beside the estimate. Nothing is decided from it.
    Aftermath {
        /// What came of the comparison.
        aftermath: Box<Aftermath>,
    },
    /// A person owes a look at a run that had none before.
    ReviewOwed {
        /// By when.
        due_at_ms: Timestamp,
        /// The team that owns the target.
        owner: Id<kind::Team>,
    },
    /// A person looked at a run that was over.
    Reviewed {
        /// Their statement.
        statement: Box<Signed<ReviewStatement>>,
        /// Their words.
        note: Submitted,
    },
    /// A person said how a run in doubt ended.
    Resolved {
        /// Their statement.
        statement: Box<Signed<ResolutionStatement>>,
        /// Their words.
        note: Submitted,
    },
    /// A person says what was done outside of Holdpoint, or confirms or looks at what another one said. It permits nothing.
    Reconciled {
        /// Their statement.
        statement: Box<Signed<ReconcileStatement>>,
        /// The look that is owed from now on; with the report alone.
        due: Option<Due>,
    },
    /// Whether an agent may do something that changes nothing was asked and answered, without a plan: nothing was measured
    /// and nothing runs. The answer is in the decision.
    Evaluated {
        /// The decision.
        decision: Box<Decision>,
        /// What it was made from.
        facts: Box<PlanFacts>,
    },
    /// A request was refused before it touched a plan's state.
    Refused {
        /// What was asked.
        request: Request,
        /// The rule that refused it.
        rule: Id<kind::Rule>,
    },
}

impl Record {
    /// A record.
    #[must_use]
    pub const fn new(at: Timestamp, actor: Actor, plan: Option<Id<kind::Plan>>, body: Body) -> Self {
        Self { r#type: RecordType::V1, at_ms: at, actor, plan, body }
    }

    /// The canonical bytes: the ledger's entry.
    pub fn bytes(&self) -> Result<Vec<u8>, DigestError> {
        let known = self.body.facts().map(PlanFacts::encoded).transpose()?;
        crate::digest::canonical_with(self, known)
    }

    /// Whether an entry in canonical form is an evaluation, told by its last bytes: names are in order, and inside of a string
    /// quotes would be escaped. There can be millions of them, none of which changes anything.
    #[must_use]
    pub fn is_evaluation(bytes: &[u8]) -> bool {
        bytes.ends_with(br#","kind":"evaluated"},"plan":null,"type":"holdpoint/record/v1"}"#)
    }

    /// Reads an entry. Refuses what is not in canonical form, so that one record has one spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self =
            serde_json::from_slice(bytes).map_err(|err| RecordError::Malformed(err.to_string()))?;
        if record.bytes()? == bytes { Ok(record) } else { Err(RecordError::NotCanonical) }
    }
}

/// An entry that is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON of the right shape.
    #[error("not a record: {0}")]
    Malformed(String),
    /// The right shape in another spelling.
    #[error("the record is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Body {
    /// The proof of the person who said it, where somebody did.
    #[must_use]
    pub fn proof(&self) -> Option<&Proof> {
        if let Self::Approved { statement } | Self::Rejected { statement } = self {
            Some(&statement.signature)
        } else if let Self::ChangeDecided { statement } = self {
            Some(&statement.signature)
        } else if let Self::Reviewed { statement, .. } = self {
            Some(&statement.signature)
        } else if let Self::Resolved { statement, .. } = self {
            Some(&statement.signature)
        } else if let Self::Narrowed { statement, .. } = self {
            Some(&statement.signature)
        } else if let Self::Resumed { statement } = self {
            Some(&statement.signature)
        } else if let Self::Reconciled { statement, .. } = self {
            Some(&statement.signature)
        } else {
            None
        }
    }

    /// What the record does to its plan's state; none for records that only inform.
    #[must_use]
    pub const fn event(&self) -> Option<Event> {
        use crate::decision::Answer;
        match self {
            Self::Proposed { .. } => Some(Event::Propose),
            Self::Decided { decision, .. } => Some(match decision.answer {
                Answer::Allow => Event::Allow,
                Answer::Hold => Event::Hold,
                Answer::Deny => Event::Deny,
                Answer::Defer => Event::Defer,
            }),
            Self::Approved { .. } => Some(Event::Approve),
            Self::Rejected { .. } => Some(Event::Reject),
            Self::Expired => Some(Event::Expire),
            Self::Voided { .. } | Self::Narrowed { .. } => Some(Event::Void),
            Self::Permitted { .. } => Some(Event::Permit),
            Self::Claimed { .. } => Some(Event::Claim),
            Self::Leased { .. } => Some(Event::Lease),
            Self::Rehearsed { .. } => Some(Event::Rehearse),
            Self::Applying { .. } => Some(Event::Apply),
            Self::Applied { last: false, .. } => Some(Event::Advance),
            Self::Applied { last: true, .. } => Some(Event::Observe),
            Self::Succeeded { .. } => Some(Event::Succeed),
            Self::Failed { .. } => Some(Event::Fail),
            Self::Undoing { .. } => Some(Event::Undo),
            Self::Unwound { .. } | Self::NotUndone { .. } => Some(Event::Unwind),
            Self::Undone { .. } => Some(Event::FinishUndo),
            Self::UndoFailed { .. } => Some(Event::FailUndo),
            Self::InDoubt { .. } => Some(Event::Doubt),
            Self::Resolved { .. } => Some(Event::Resolve),
            Self::Genesis { .. }
            | Self::Started { .. }
            | Self::ChangeProposed { .. }
            | Self::ChangeDecided { .. }
            | Self::Changed { .. }
            | Self::InputRefused { .. }
            | Self::InputRestored { .. }
            | Self::Halted { .. }
            | Self::Resumed { .. }
            | Self::Strangers { .. }
            | Self::Incident { .. }
            | Self::Delegated { .. }
            | Self::Invited { .. }
            | Self::Enrolling { .. }
            | Self::Reviewed { .. }
            | Self::Measured { .. }
            | Self::Deferred { .. }
            | Self::Held { .. }
            | Self::LeasedAgain { .. }
            | Self::RevocationAsked { .. }
            | Self::Revoked { .. }
            | Self::ReviewOwed { .. }
            | Self::Baseline { .. }
            | Self::Aftermath { .. }
            | Self::Reconciled { .. }
            | Self::Evaluated { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// It is about the end of a lease, which comes when it comes: it moves nothing, whatever the run is doing.
    #[must_use]
    pub const fn is_end_of_lease(&self) -> bool {
        matches!(self, Self::RevocationAsked { .. } | Self::Revoked { .. })
    }

    /// The facts in it: no record has those of two plans.
    const fn facts(&self) -> Option<&PlanFacts> {
        if let Self::Decided { facts, .. } | Self::Claimed { facts, .. } | Self::Evaluated { facts, .. } =
            self
        {
            Some(facts)
        } else {
            None
        }
    }

    /// The word in the record, for people and filters.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Genesis { .. } => "genesis",
            Self::Started { .. } => "started",
            Self::ChangeProposed { .. } => "change_proposed",
            Self::ChangeDecided { .. } => "change_decided",
            Self::Changed { .. } => "changed",
            Self::InputRefused { .. } => "input_refused",
            Self::InputRestored { .. } => "input_restored",
            Self::Halted { .. } => "halted",
            Self::Resumed { .. } => "resumed",
            Self::Strangers { .. } => "strangers",
            Self::Incident { .. } => "incident",
            Self::Delegated { .. } => "delegated",
            Self::Invited { .. } => "invited",
            Self::Enrolling { .. } => "enrolling",
            Self::Proposed { .. } => "proposed",
            Self::Measured { .. } => "measured",
            Self::Decided { .. } => "decided",
            Self::Deferred { .. } => "deferred",
            Self::Held { .. } => "held",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Expired => "expired",
            Self::Voided { .. } => "voided",
            Self::Narrowed { .. } => "narrowed",
            Self::Permitted { .. } => "permitted",
            Self::Claimed { .. } => "claimed",
            Self::Leased { .. } => "leased",
            Self::LeasedAgain { .. } => "leased_again",
            Self::RevocationAsked { .. } => "revocation_asked",
            Self::Revoked { .. } => "revoked",
            Self::Rehearsed { .. } => "rehearsed",
            Self::Applying { .. } => "applying",
            Self::Applied { .. } => "applied",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Undoing { .. } => "undoing",
            Self::Unwound { .. } => "unwound",
            Self::NotUndone { .. } => "not_undone",
            Self::Undone { .. } => "undone",
            Self::UndoFailed { .. } => "undo_failed",
            Self::InDoubt { .. } => "in_doubt",
            Self::ReviewOwed { .. } => "review_owed",
            Self::Baseline { .. } => "baseline",
            Self::Aftermath { .. } => "aftermath",
            Self::Reviewed { .. } => "reviewed",
            Self::Resolved { .. } => "resolved",
            Self::Reconciled { .. } => "reconciled",
            Self::Evaluated { .. } => "evaluated",
            Self::Refused { .. } => "refused",
        }
    }
}
