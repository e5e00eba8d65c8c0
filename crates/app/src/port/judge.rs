//! The policy engine, as the use cases see it.

use holdpoint_domain::{
    Digest, Id, Oversight, Tier,
    agent::Person,
    decision::{Ladder, Verdict},
    facts::Facts,
    id::kind,
};

/// Who wants to decide on a hold, and on what.
#[derive(Debug, Clone, Copy)]
pub struct ApproveQuestion<'a> {
    /// The person.
    pub person: &'a Person,
    /// The tier of the hold.
    pub tier: Tier,
    /// Approvals that it has.
    pub approvals: u32,
    /// The person answers for the agent that asked.
    pub owns_agent: bool,
    /// A development flag is in force.
    pub development: bool,
    /// The facts of the decision.
    pub facts: &'a Facts,
}

/// What stands in the way: a rule that forbids, or one that would have permitted and what it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The rule.
    pub rule: Id<kind::Rule>,
    /// Why it stands in the way, in the words of its author.
    pub why: Option<String>,
    /// What can be done about it, in the words of its author.
    pub next: Option<String>,
    /// Which of its conditions were not met, in the words of the policy file.
    pub unmet: Vec<String>,
}

/// Policy-as-code. Pure: the same facts give the same answer. Any failure inside is a [`Verdict::Error`], and so is an
/// answer that comes after the engine's deadline.
pub trait Judge: Send + Sync {
    /// The digest of the bundle in force.
    fn digest(&self) -> Digest;

    /// The answers on all rungs, over one build of entities and context.
    fn ladder(&self, facts: &Facts) -> Ladder;

    /// As [`Self::ladder`] for facts about a target that nobody looked at; none where a rule that concerns them looks at what only
    /// that would tell.
    fn ladder_unseen(&self, facts: &Facts) -> Option<Ladder>;

    /// The answer with the oversight that was really obtained.
    fn ask(&self, facts: &Facts, oversight: &Oversight) -> Verdict;

    /// Whether a person may decide on a hold.
    fn may_approve(&self, question: ApproveQuestion<'_>) -> Verdict;

    /// Whether a person may read the whole ledger.
    fn may_read(&self, person: &Person) -> Verdict;

    /// Whether a person may use the console.
    fn may_use_console(&self, person: &Person) -> Verdict;

    /// For a denial: what would have had to be different. Not on the hot path.
    fn hints(&self, facts: &Facts) -> Vec<Hint>;
}
