//! Facts: everything a decision is made from, snapshotted and digested.
//!
//! No text of an agent or of a monitored system can be in here: every field is a number, a yes or no, a word out of a
//! closed list, a digest, or an identifier that the gate resolved itself. The model's confidence, the agent's severity,
//! reasons and summaries, alert texts and tool annotations are not facts.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    Digest, Id, Tier, Timestamp,
    action::{Action, BlastCap, Effect, Reversibility, State, UndoKind},
    actor::Phase,
    blast::Blast,
    canonical::KNOWN,
    dependencies::Unread,
    digest::{DigestError, canonical},
    fate::Shared,
    id::kind,
    parts::Parts,
    plan::{MAX_STEPS, PlanError},
    quorum::Quorum,
    target::{Criticality, Service},
    trigger::{Agreement, Truth},
};

/// The facts of a plan: one [`Facts`] a step, in the order of the steps. Principal, blast radius, brakes and inputs are those of
/// the whole plan and stand in each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Facts>")]
pub struct PlanFacts {
    // INVARIANT: 1 to MAX_STEPS.
    first: Facts,
    rest: Vec<Facts>,
    // INVARIANT: of these steps, which never change.
    encoded: Encoded,
}

/// The canonical bytes of facts, once somebody wanted them: what a decision digests is in its record, too. They say nothing that
/// the facts do not say, so that they do not count in a comparison.
#[derive(Clone, Default)]
struct Encoded(OnceLock<Arc<[u8]>>);

/// Everything a decision about one step is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// `holdpoint/facts/v1`.
    pub r#type: FactsType,
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub action: ActionFacts,
    /// On what; none when the inventory does not know the target.
    pub target: Option<TargetFacts>,
    /// Whether the gate's own probes prove the trigger.
    pub trigger: TriggerFacts,
    /// What it can disturb.
    pub blast: Blast,
    /// Whether it can be undone.
    pub undo: UndoFacts,
    /// Which plan fields the gate derived itself.
    pub provenance: Provenance,
    /// The track record.
    pub standing: Standing,
    /// What holds things back.
    pub brakes: Brakes,
    /// The control inputs that this was decided under.
    pub inputs: Inputs,
    /// When.
    pub at_ms: Timestamp,
}

/// The type tag of [`Facts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactsType {
    /// Version 1.
    #[serde(rename = "holdpoint/facts/v1")]
    V1,
}

/// Who asks, from the verified identity and the agent registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The agent.
    pub agent: Id<kind::Agent>,
    /// Its team.
    pub team: Id<kind::Team>,
    /// The phase of the identity that asked.
    pub phase: Phase,
    /// The digest of model, prompt and tools, when the operator attested it.
    pub attested_build: Option<Digest>,
    /// Its owner's team accepted in the registry that it acts without a track record.
    pub accepted: bool,
    /// The person at the head of the delegation chain.
    pub on_behalf_of: Option<Id<kind::Person>>,
    /// The teams that this person is in, for rules about them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub on_behalf_of_teams: BTreeSet<Id<kind::Team>>,
    /// The agents between that person and [`Self::agent`], the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Deputy>,
}

/// An agent in the middle of a delegation chain: what is asked for must be allowed to it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deputy {
    /// The agent.
    pub agent: Id<kind::Agent>,
    /// Its team.
    pub team: Id<kind::Team>,
}

/// What the catalogue says about the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionFacts {
    /// The action.
    pub id: Id<kind::Action>,
    /// The digest of its catalogue entry.
    pub entry: Digest,
    /// Whether its effect can be taken back.
    pub reversibility: Reversibility,
    /// Whether doing it twice is the same as once.
    pub idempotent: bool,
    /// State that it touches, and how.
    pub touches: std::collections::BTreeMap<State, Effect>,
    /// The catalogue's tier.
    pub tier: Tier,
    /// Whom the catalogue asks for beyond the people of the tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Quorum>,
    /// Only adds.
    pub additive: bool,
    /// How it is undone.
    pub undo: UndoKind,
    /// The most that one plan may disturb.
    pub cap: BlastCap,
}

/// What the inventory and the observer say about the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetFacts {
    /// The target.
    pub id: Id<kind::Target>,
    /// Its service.
    pub service: Id<kind::Service>,
    /// Where it runs.
    pub environment: Id<kind::Environment>,
    /// The team that owns it.
    pub owner: Id<kind::Team>,
    /// How much depends on it.
    pub criticality: Criticality,
    /// Classes of data that it holds.
    pub data_classes: BTreeSet<Id<kind::DataClass>>,
    /// The set of data that it keeps, or keeps a copy of.
    pub data_domain: Option<Id<kind::DataDomain>>,
    /// Whether an instance can be lost without losing state.
    pub stateless: bool,
    /// Instances of the service.
    pub replicas: u32,
    /// The observer found it down.
    pub down: bool,
    /// Its relevant version: a digest of what the action depends on.
    pub version: Digest,
    /// What the version is made of, for people.
    #[serde(default, skip_serializing_if = "Parts::is_empty")]
    pub parts: Parts,
}

/// Whether the trigger is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerFacts {
    /// The condition that the plan names.
    pub condition: Id<kind::Condition>,
    /// What the gate's own probes say about it.
    pub agreement: Agreement,
    /// The digest of the evidence.
    pub evidence: Digest,
}

/// Whether the effect can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoFacts {
    /// The inverse is known and the state before was captured, or the target heals itself.
    pub computed: bool,
}

/// Where a plan field's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The gate derived the same value itself.
    Clean,
    /// Only the agent says so.
    Tainted,
}

/// The origin of the fields that decide what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The target.
    pub target: Origin,
    /// The action.
    pub action: Origin,
    /// Parameters and extent.
    pub scope: Origin,
}

impl Provenance {
    /// Whether any of them is tainted.
    #[must_use]
    pub fn tainted(&self) -> bool {
        [self.target, self.action, self.scope].contains(&Origin::Tainted)
    }
}

/// The statistical track record of this attested build with this action in this environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing was earned.
    None,
    /// The track record has earned this tier, and people granted it.
    Earned(Tier),
}

/// What holds things back, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brakes {
    /// Somebody halted everything.
    pub halted: bool,
    /// A freeze window is open.
    pub frozen: bool,
    /// T1 and T2 are suspended for this action and agent until a person has looked.
    pub suspended: bool,
    /// A budget is used up.
    pub over_budget: Option<OverBudget>,
    /// Data that this deletes has a backup, or is one, whose other half was or would be deleted as well.
    pub counterpart_deleted: bool,
    /// A control input on disk is not the one in force: broken, or never approved.
    pub input_refused: bool,
    /// It would disturb more than the operator lets one plan disturb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_limit: Option<Id<kind::Budget>>,
    /// Another run is too near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<Neighbour>,
    /// A run of ours in the same neighbourhood, whose doing this may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_doing: Option<Id<kind::Plan>>,
    /// The action went badly too often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Tripped>,
    /// An error budget of which nothing is left, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_budget: Option<Id<kind::Budget>>,
    /// A source of dependencies that was not read for too long, or never: more may be disturbed than anybody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies_unread: Option<Unread>,
}

/// A run that is too near: it is under way where this one would act, or was just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Its plan.
    pub plan: Id<kind::Plan>,
    /// The first service that both of them touch; none where they touch in something else.
    pub service: Option<Id<kind::Service>>,
    /// What targets of both have in common where no service is; none here and no service where one of them touches more services than
    /// are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Shared>,
    /// In which way.
    pub why: Nearness,
    /// When it is over; none when that waits for the run to end.
    pub until_ms: Option<Timestamp>,
}

/// In which way a run is too near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// It is under way, or in doubt.
    Running,
    /// It ended, and what it touched settles.
    CoolingDown,
}

/// An action that went badly too often in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tripped {
    /// The action.
    pub action: Id<kind::Action>,
    /// The environment.
    pub environment: Id<kind::Environment>,
    /// How many bad runs there were.
    pub bad: u32,
    /// When so many of them have left the window that it is done again, unless people let it go on before.
    pub until_ms: Option<Timestamp>,
}

/// A budget that is used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverBudget {
    /// Which one.
    pub budget: Id<kind::Budget>,
    /// When it frees up; none when that waits for runs to end.
    pub until_ms: Option<Timestamp>,
}

impl Brakes {
    /// Nothing holds anything back.
    pub const OFF: Self = Self {
        halted: false,
        frozen: false,
        suspended: false,
        over_budget: None,
        counterpart_deleted: false,
        input_refused: false,
        plan_limit: None,
        neighbour: None,
        own_doing: None,
        breaker: None,
        error_budget: None,
        dependencies_unread: None,
    };

    /// Whether they name a run, budget, limit or source, and not only that something holds back.
    #[must_use]
    pub fn name_something(&self) -> bool {
        let Self { halted, frozen, suspended, counterpart_deleted, input_refused, .. } = *self;
        *self != Self { halted, frozen, suspended, counterpart_deleted, input_refused, ..Self::OFF }
    }
}

/// Digests of the control inputs in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The policy bundle.
    pub policy: Digest,
    /// The catalogue.
    pub catalogue: Digest,
    /// The inventory.
    pub inventory: Digest,
    /// People, agents and trust roots.
    pub registry: Digest,
    /// Budgets and freezes.
    pub limits: Digest,
}

impl PlanFacts {
    /// The facts of all steps of a plan.
    pub fn new(steps: Vec<Facts>) -> Result<Self, PlanError> {
        let count = steps.len();
        let mut steps = steps.into_iter();
        match steps.next() {
            Some(first) if count <= MAX_STEPS => {
                Ok(Self { first, rest: steps.collect(), encoded: Encoded::default() })
            }
            Some(_) | None => Err(PlanError::Steps(count)),
        }
    }

    /// The first step's: whoever looks at what is the same in all of them looks here.
    #[must_use]
    pub const fn first(&self) -> &Facts {
        &self.first
    }

    /// Each step's, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Facts> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The digest that decisions and approvals name.
    pub fn digest(&self) -> Result<Digest, DigestError> {
        self.encoded().map(|bytes| Digest::of_bytes(&bytes))
    }

    /// The canonical bytes.
    pub(crate) fn encoded(&self) -> Result<Arc<[u8]>, DigestError> {
        if let Some(bytes) = self.encoded.0.get() {
            return Ok(Arc::clone(bytes));
        }
        let bytes = canonical(self)?;
        Ok(Arc::clone(self.encoded.0.get_or_init(|| bytes.into())))
    }
}

impl PartialEq for Encoded {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Encoded {}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl From<Facts> for PlanFacts {
    fn from(first: Facts) -> Self {
        Self { first, rest: Vec::new(), encoded: Encoded::default() }
    }
}

impl From<PlanFacts> for Vec<Facts> {
    fn from(facts: PlanFacts) -> Self {
        std::iter::once(facts.first).chain(facts.rest).collect()
    }
}

impl Serialize for PlanFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(KNOWN, &Steps(self))
    }
}

/// One after the other.
struct Steps<'f>(&'f PlanFacts);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.steps())
    }
}

impl TryFrom<Vec<Facts>> for PlanFacts {
    type Error = PlanError;
    fn try_from(steps: Vec<Facts>) -> Result<Self, PlanError> {
        Self::new(steps)
    }
}

impl ActionFacts {
    /// The facts of a catalogue entry.
    pub fn of(action: &Action) -> Result<Self, DigestError> {
        Ok(Self {
            id: action.id.clone(),
            entry: action.digest()?,
            reversibility: action.reversibility,
            idempotent: action.idempotent,
            touches: action.touches.clone(),
            tier: action.tier,
            approvals: action.approvals.clone(),
            additive: action.additive,
            undo: action.undo,
            cap: action.cap,
        })
    }
}

impl TargetFacts {
    /// The facts of a target of `service`, with what the observer saw.
    #[must_use]
    pub fn of(id: Id<kind::Target>, service: &Service, replicas: u32, down: bool, version: Digest) -> Self {
        Self {
            id,
            service: service.id.clone(),
            environment: service.environment.clone(),
            owner: service.owner.clone(),
            criticality: service.criticality,
            data_classes: service.data_classes.clone(),
            data_domain: service.data_domain.clone(),
            stateless: service.stateless,
            replicas,
            down,
            version,
            parts: Parts::default(),
        }
    }
}

impl Facts {
    /// The facts that policy is asked about. Where the trigger cannot be told, policy is asked what it would say if it held:
    /// the answer to such a plan is never better than "measure again", and a rule that wants a proven trigger must not turn
    /// "nobody can tell yet" into "no".
    #[must_use]
    pub fn for_policy(&self) -> std::borrow::Cow<'_, Self> {
        if self.trigger.agreement.truth != Truth::Indeterminate {
            return std::borrow::Cow::Borrowed(self);
        }
        let mut hoped = self.clone();
        hoped.trigger.agreement.truth = Truth::Holds;
        hoped.provenance.target = Origin::Clean;
        hoped.provenance.action = Origin::Clean;
        std::borrow::Cow::Owned(hoped)
    }

    /// The same question as each agent of the chain between the head and the one that asks would put it. What is allowed is what
    /// is allowed to all of them.
    pub fn as_deputies(&self) -> impl Iterator<Item = Self> + '_ {
        self.principal.via.iter().map(|deputy| {
            let mut facts = self.clone();
            facts.principal.agent = deputy.agent.clone();
            facts.principal.team = deputy.team.clone();
            // It does not ask by itself: nothing that is known of its workload counts here.
            facts.principal.attested_build = None;
            facts
        })
    }

    /// The tier that the track record has earned. An unattested build earns nothing, whatever the ledger says.
    #[must_use]
    pub fn earned(&self) -> Option<Tier> {
        match (self.standing, &self.principal.attested_build) {
            (Standing::Earned(tier), Some(_)) => Some(tier),
            (Standing::Earned(_), None) | (Standing::None, _) => None,
        }
    }

    /// Whether there is an undo that counts: the gate can put the state before back, or the target heals itself.
    #[must_use]
    pub fn has_undo(&self) -> bool {
        let heals = || {
            self.target
                .as_ref()
                .is_some_and(|target| target.stateless && (target.replicas >= 2 || target.down))
        };
        self.undo.computed
            && (self.action.undo.restores() || (self.action.undo == UndoKind::SelfHeals && heals()))
    }
}
