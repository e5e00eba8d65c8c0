//! What the suites share: ids, digests, keys, and one plain example of everything that has bytes.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer as _, SigningKey};
use holdpoint_domain::{
    Commitment, Digest, Id, Millis, Oversight, Rung, Tier, Timestamp,
    action::{BlastCap, Reversibility, UndoKind},
    actor::Phase,
    approval::{Choice, Consent, HoldTerms, SignedStatement, Statement, TreeHead},
    blast::Blast,
    decision::{Answer, Decision, DecisionType, Ladder, Verdict, Worse, decide, worse},
    dependencies::Unread,
    digest::Salt,
    facts::{
        ActionFacts, Brakes, Facts, FactsType, Inputs, Nearness, Neighbour, Origin, OverBudget, PlanFacts,
        Principal, Provenance, Standing, TargetFacts, TriggerFacts, Tripped, UndoFacts,
    },
    id::{Kind, kind},
    parts::Parts,
    passkey::{Assertion, Authenticator},
    permit::{Grant, GrantParts, Permit, PermitError},
    plan::{MAX_STEPS, ParamValue, Plan, Requester, Step},
    proof::{Credentials, Proof},
    signature::{PublicKey, Signature},
    target::Criticality,
    trigger::{Agreement, Truth},
};

/// The time at which everything in the suites happens.
pub(crate) const NOW: u64 = 1_700_000_000_000;

pub(crate) fn id<K: Kind>(text: &str) -> Id<K> {
    Id::parse(text).unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of_bytes(text.as_bytes())
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

pub(crate) fn ms(ms: u64) -> Millis {
    Millis::new(ms).unwrap()
}

pub(crate) fn commitment(text: &str) -> Commitment {
    Commitment::to(&Salt::new([1; 32]), text.as_bytes())
}

/// A signing key for each number. 1 to 9 are people, 100 is the gate.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn gate() -> SigningKey {
    key(100)
}

/// The key of the executor that [`parts`] names.
pub(crate) fn executor() -> SigningKey {
    key(101)
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes()).unwrap()
}

/// The people of the suites, and the number of each one's key.
pub(crate) const PEOPLE: [(&str, u8); 4] = [("ada", 1), ("bob", 2), ("cyd", 3), ("dee", 4)];

/// The console that everybody's passkeys are registered at.
pub(crate) const CONSOLE: &str = "http://localhost:7070";

/// The passkey of one of [`PEOPLE`], enrolled by an act of its own.
pub(crate) fn passkey(person: &str) -> Authenticator {
    Authenticator::new([100 + number(person); 32], CONSOLE, id(&format!("act-{person}"))).unwrap()
}

fn number(person: &str) -> u8 {
    PEOPLE.iter().find(|(name, _)| *name == person).unwrap().1
}

/// Keys and passkeys as an executor pins them.
pub(crate) fn pinned() -> BTreeMap<Id<kind::Person>, Credentials> {
    let both =
        |name, number| Credentials { key: Some(public(&key(number))), passkeys: vec![passkey(name).passkey] };
    PEOPLE.iter().map(|(name, number)| (id(name), both(name, *number))).collect()
}

/// Keys alone.
pub(crate) fn pinned_keys() -> BTreeMap<Id<kind::Person>, Credentials> {
    PEOPLE.iter().map(|(name, number)| (id(name), public(&key(*number)).into())).collect()
}

/// A restart of a stateless worker with three replicas, trigger proven, nothing in the way, by an accepted agent.
pub(crate) fn facts() -> Facts {
    Facts {
        r#type: FactsType::V1,
        principal: Principal {
            agent: id("holmes"),
            team: id("sre-agents"),
            phase: Phase::Decide,
            attested_build: Some(digest("build")),
            accepted: true,
            on_behalf_of: Some(id("dee")),
            on_behalf_of_teams: BTreeSet::new(),
            via: Vec::new(),
        },
        action: ActionFacts {
            id: id("process.restart"),
            entry: digest("entry"),
            reversibility: Reversibility::Reversible,
            idempotent: true,
            touches: BTreeMap::new(),
            tier: Tier::T1,
            approvals: None,
            additive: false,
            undo: UndoKind::SelfHeals,
            cap: BlastCap {
                targets: 2,
                services: 3,
                critical: 1,
                environments: 1,
                replica_share_percent: 50,
            },
        },
        target: Some(TargetFacts {
            id: id("worker-1"),
            service: id("worker"),
            environment: id("production"),
            owner: id("sre"),
            criticality: Criticality::Medium,
            data_classes: BTreeSet::from([id("telemetry")]),
            data_domain: None,
            stateless: true,
            replicas: 3,
            down: false,
            version: digest("version"),
            parts: Parts::default(),
        }),
        trigger: TriggerFacts {
            condition: id("process.hung"),
            agreement: agreement(Truth::Holds),
            evidence: digest("evidence"),
        },
        blast: blast(1, 1, 0, 34),
        undo: UndoFacts { computed: true },
        provenance: Provenance { target: Origin::Clean, action: Origin::Clean, scope: Origin::Clean },
        standing: Standing::None,
        brakes: Brakes::OFF,
        inputs: Inputs {
            policy: digest("policy"),
            catalogue: digest("catalogue"),
            inventory: digest("inventory"),
            registry: digest("registry"),
            limits: digest("limits"),
        },
        at_ms: at(NOW),
    }
}

pub(crate) fn agreement(truth: Truth) -> Agreement {
    let holding = if truth == Truth::Holds { 2 } else { 0 };
    Agreement { truth, needed: 2, holding, sources: 2 }
}

/// A blast radius of so many targets, services and critical services.
pub(crate) fn blast(targets: u32, services: u32, critical: u32, replica_share_percent: u32) -> Blast {
    fn some<K: Kind>(what: &str, count: u32) -> BTreeSet<Id<K>> {
        (1..=count).map(|number| id(&format!("{what}-{number}"))).collect()
    }
    Blast {
        targets: some("worker", targets),
        services: some("service", services),
        critical: some("service", critical),
        unknown: BTreeSet::new(),
        environments: BTreeSet::from([id("production")]),
        replica_share_percent,
    }
}

pub(crate) fn allow(rule: &str) -> Verdict {
    Verdict::Allow { rules: vec![id(rule)] }
}

/// A policy that allows from one rung on.
pub(crate) fn allow_from(first: Rung) -> Ladder {
    let on = |rung: Rung, rule| if rung >= first { allow(rule) } else { Verdict::Deny { rules: vec![] } };
    Ladder {
        t1: on(Rung::T1, "permit-t1"),
        t2: on(Rung::T2, "permit-t2"),
        t3: on(Rung::T3, "permit-t3"),
        t4: on(Rung::T4, "permit-t4"),
    }
}

/// The facts of a plan of one step.
pub(crate) fn one(facts: &Facts) -> PlanFacts {
    facts.clone().into()
}

/// The facts of a plan of so many steps: of [`steps`], each as harmless as [`facts`].
pub(crate) fn plan_facts(count: usize) -> PlanFacts {
    let targets: BTreeSet<_> = steps(count).into_iter().map(|step| step.target).collect();
    let facts = steps(count).into_iter().map(|step| {
        let mut facts = facts();
        (facts.action.id, facts.action.entry, facts.action.undo) = (step.action, step.entry, step.undo);
        let target = facts.target.as_mut().unwrap();
        (target.id, target.version) = (step.target, step.expected_version);
        facts.blast.targets = targets.clone();
        facts.action.cap.targets = u32::try_from(MAX_STEPS).unwrap();
        facts
    });
    PlanFacts::new(facts.collect()).unwrap()
}

/// So many steps, each with another action on another target; the first is that of [`plan`].
pub(crate) fn steps(count: usize) -> Vec<Step> {
    let first = plan().steps()[0].clone();
    let step = |number: usize| Step {
        action: id(&format!("process.action-{number}")),
        entry: digest(&format!("entry-{number}")),
        target: id(&format!("worker-{number}")),
        expected_version: digest(&format!("version-{number}")),
        ..first.clone()
    };
    std::iter::once(first.clone()).chain((2..).map(step)).take(count).collect()
}

/// The decision on a plan of one step.
pub(crate) fn decide_one(facts: &Facts, ladder: &Ladder) -> Decision {
    decide(&one(facts), std::slice::from_ref(ladder)).unwrap()
}

/// What is worse about a plan of one step.
pub(crate) fn worse_one(
    decided: &Facts,
    fresh: &Facts,
    verdict: &Verdict,
    obtained: &Oversight,
) -> Vec<Worse> {
    worse(&one(decided), &one(fresh), std::slice::from_ref(verdict), obtained)
}

/// A budget that is used up for another minute.
pub(crate) fn over_budget() -> OverBudget {
    OverBudget { budget: id("hourly"), until_ms: Some(at(NOW + 60_000)) }
}

/// Everything that limits hold against a plan beside its budgets.
pub(crate) fn held_back() -> Brakes {
    let (action, environment) = (id("process.restart"), id("production"));
    Brakes {
        plan_limit: Some(id("small")),
        neighbour: Some(Neighbour {
            plan: id("plan-2"),
            service: Some(id("web")),
            shared: None,
            why: Nearness::CoolingDown,
            until_ms: Some(at(NOW)),
        }),
        own_doing: Some(id("plan-2")),
        breaker: Some(Tripped { action, environment, bad: 3, until_ms: Some(at(NOW)) }),
        error_budget: Some(id("slo")),
        dependencies_unread: Some(Unread { source: id("traces"), read_at_ms: Some(at(NOW - 60_000)) }),
        ..Brakes::OFF
    }
}

/// The decision on the plain facts when policy allows from `first`.
pub(crate) fn decision(first: Rung) -> Decision {
    decide_one(&facts(), &allow_from(first))
}

/// A decision that `decide` never makes, to see that nothing downstream relies on that.
pub(crate) fn raw_decision(answer: Answer, tier: Tier) -> Decision {
    Decision {
        r#type: DecisionType::V1,
        answer,
        tier,
        floor: tier,
        reasons: vec![],
        facts: one(&facts()).digest().unwrap(),
        policy: digest("policy"),
    }
}

/// A plan in which every optional field has a value.
pub(crate) fn plan() -> Plan {
    let params = [
        ("drain", ParamValue::Bool(true)),
        ("grace-secs", ParamValue::Int(30)),
        ("mode", ParamValue::Choice(id("soft"))),
        ("token", ParamValue::Secret(commitment("hunter2"))),
    ];
    Plan::new(
        Requester { on_behalf_of: Some(id("dee")), ..Requester::alone(id("holmes")) },
        Some(id("inc-42")),
        id("process.hung"),
        vec![Step {
            action: id("process.restart"),
            entry: digest("entry"),
            target: id("worker-1"),
            expected_version: digest("version"),
            params: params.into_iter().map(|(name, value)| (id(name), value)).collect(),
            undo: UndoKind::SelfHeals,
        }],
    )
    .unwrap()
}

pub(crate) fn head() -> TreeHead {
    TreeHead { origin: "holdpoint.example/log".into(), size: 17, root: digest("root") }
}

/// The terms of the hold on [`plan`] after `decision`.
pub(crate) fn terms(decision: &Decision) -> HoldTerms {
    HoldTerms {
        hold: id("hold-1"),
        head: head(),
        plan: plan().digest().unwrap(),
        narrative: commitment("the worker hangs"),
        facts: decision.facts,
        decision: decision.digest().unwrap(),
        policy: decision.policy,
        tier: decision.tier,
        nonce: id("nonce-1"),
        expires_at_ms: at(NOW + 60_000),
    }
}

/// A statement of one of [`PEOPLE`]: from T4 on with their passkey, below with their key.
pub(crate) fn signed(terms: &HoldTerms, person: &str, choice: Choice) -> SignedStatement {
    if terms.tier >= Tier::T4 {
        asserted_by(terms, person, choice, &passkey(person))
    } else {
        signed_by(terms, person, choice, &key(number(person)))
    }
}

/// A statement in the name of `person`, signed with whatever passkey.
pub(crate) fn asserted_by(
    terms: &HoldTerms,
    person: &str,
    choice: Choice,
    passkey: &Authenticator,
) -> SignedStatement {
    let statement = Statement::new(terms.clone(), id(person), choice);
    let signature = passkey.sign(&statement.signing_bytes().unwrap(), 0).into();
    SignedStatement { statement, signature }
}

/// The assertion in a statement.
pub(crate) fn assertion(signed: &mut SignedStatement) -> &mut Assertion {
    match &mut signed.signature {
        Proof::Passkey(assertion) => assertion,
        Proof::Key(_) => panic!("signed with a key"),
    }
}

/// A statement in the name of `person`, signed with whatever key.
pub(crate) fn signed_by(
    terms: &HoldTerms,
    person: &str,
    choice: Choice,
    key: &SigningKey,
) -> SignedStatement {
    let statement = Statement::new(terms.clone(), id(person), choice);
    let signature = key.sign(&statement.signing_bytes().unwrap());
    SignedStatement { statement, signature: Signature::from_bytes(signature.to_bytes()).into() }
}

/// The consent of one of [`PEOPLE`].
pub(crate) fn consent(terms: &HoldTerms, person: &str, choice: Choice) -> Consent {
    counted(signed(terms, person, choice), terms)
}

/// A statement of one of [`PEOPLE`], checked.
pub(crate) fn counted(signed: SignedStatement, terms: &HoldTerms) -> Consent {
    let credentials = pinned()[&signed.statement.approver].clone();
    signed.check(terms, &credentials, plan().requester(), at(NOW)).unwrap()
}

pub(crate) fn parts() -> GrantParts {
    GrantParts {
        id: id("permit-1"),
        plan_id: id("plan-1"),
        narrative: commitment("the worker hangs"),
        head: head(),
        asked: None,
        teams: BTreeMap::new(),
        executors: BTreeMap::from([(id("process"), public(&executor()).thumbprint())]),
        nonce: id("nonce-2"),
        epoch: 7,
        granted_at: at(NOW + 1_000),
        start_before: at(NOW + 31_000),
        undo_until: at(NOW + 91_000),
    }
}

/// The grant on [`plan`] that policy allows from `first` on, with these approvers.
pub(crate) fn grant(first: Rung, approvers: &[&str]) -> Result<Grant, PermitError> {
    let decision = decision(first);
    let terms = terms(&decision);
    let consents: Vec<_> = approvers.iter().map(|who| consent(&terms, who, Choice::Approve)).collect();
    Grant::new(&decision, &plan(), &consents, parts())
}

/// The compact form of a grant, signed with `key`.
pub(crate) fn jws(grant: &Grant, key: &SigningKey) -> String {
    let input = grant.signing_input("permits-1").unwrap();
    let signature = key.sign(input.as_bytes()).to_bytes();
    format!("{input}.{}", base64url(&signature))
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn permit(grant: &Grant) -> Permit {
    Permit::open(&jws(grant, &gate()), &public(&gate())).unwrap()
}
