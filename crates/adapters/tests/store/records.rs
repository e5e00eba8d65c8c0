//! Legal sequences of records, plain and small: what a plan leaves in the ledger in the course of its life.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_app::port::{KeptText, Txn};
use holdpoint_domain::{
    Commitment, Digest, Id, Tier, Timestamp,
    action::{BlastCap, Reversibility, UndoKind},
    actor::{Actor, Phase},
    aftercare::{Answers, ReviewStatement, ReviewType},
    approval::{Choice, HoldTerms, SignedStatement, Statement, TreeHead},
    blast::Blast,
    decision::{Answer, Decision, DecisionType},
    digest::Salt,
    facts::{
        ActionFacts, Brakes, Facts, FactsType, Inputs, Origin, Principal, Provenance, Standing, TargetFacts,
        TriggerFacts, UndoFacts,
    },
    halt::{Halt, ResumeStatement},
    id::Kind,
    lease::{LeaseInfo, Scope},
    limits::{Area, Footprint},
    parts::Parts,
    passkey::Authenticator,
    plan::{Plan, Requester, Step},
    reconcile::{Account, Due, Part, ReconcileStatement},
    record::{AgentContext, Body, DoubtWhy, FailWhy, Record, Submitted},
    signature::Signature,
    signed::Signed,
    target::Criticality,
    trigger::{Agreement, Truth},
};

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

/// A text that can stand beside the ledger.
pub(crate) fn kept(text: &str) -> KeptText {
    let salt = Salt::new([7; 32]);
    KeptText { commitment: Commitment::to(&salt, text.as_bytes()), salt, text: text.to_owned() }
}

pub(crate) fn inputs() -> Inputs {
    Inputs {
        policy: digest("policy"),
        catalogue: digest("catalogue"),
        inventory: digest("inventory"),
        registry: digest("registry"),
        limits: digest("limits"),
    }
}

/// A transaction of these records.
pub(crate) fn txn(records: Vec<Record>) -> Txn {
    Txn { records, ..Txn::default() }
}

/// A record that is about no plan.
pub(crate) fn started() -> Record {
    record(None, Body::Started { inputs: inputs(), development: false })
}

/// The end of a halt, by Ada.
pub(crate) fn resumed(halt: &Halt) -> Record {
    let statement = ResumeStatement::new("gate.example/log".to_owned(), halt.clone(), id("ada"));
    // The store does not judge who signed; whoever appends has.
    let signature = Signature::from_bytes([0; 64]).into();
    record(None, Body::Resumed { statement: Box::new(Signed { statement, signature }) })
}

/// What ada and bob did outside, as one of the three says it.
pub(crate) fn reconciled(part: Part) -> Record {
    let account = Account {
        origin: "gate.example/log".to_owned(),
        action: None,
        target: id("worker-1"),
        from_ms: at(NOW - 2),
        until_ms: at(NOW - 1),
        people: [id("ada"), id("bob")].into(),
        incident: None,
        words: kept("by hand").commitment,
    };
    let (by, due) = match part {
        Part::Reported => ("ada", Some(Due { due_at_ms: at(NOW + 1), owner: id("sre") })),
        Part::Confirmed => ("bob", None),
        Part::Reviewed | Part::Disputed => ("cyd", None),
    };
    let statement = ReconcileStatement::new(account, part, id(by));
    let signature = Signature::from_bytes([0; 64]).into();
    record(None, Body::Reconciled { statement: Box::new(Signed { statement, signature }), due })
}

/// A passkey of somebody.
pub(crate) fn passkey(seed: u8) -> Authenticator {
    Authenticator::new([seed; 32], "http://localhost:7070", id(&format!("act-{seed}"))).unwrap()
}

pub(crate) fn genesis() -> Record {
    let (origin, administrators, contents) =
        ("gate.example/log".to_owned(), BTreeMap::new(), BTreeMap::new());
    record(None, Body::Genesis { origin, inputs: inputs(), administrators, contents })
}

pub(crate) fn record(plan: Option<&str>, body: Body) -> Record {
    Record::new(at(NOW), Actor::Gate, plan.map(id), body)
}

/// One plan of agent `holmes`, to restart one target.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) plan: String,
    pub(crate) target: String,
    pub(crate) nonce: String,
    pub(crate) hold: String,
    pub(crate) lease: String,
    pub(crate) epoch: u64,
}

impl Life {
    /// A plan with a target, a nonce, a hold and a lease of its own.
    pub(crate) fn new(name: &str, epoch: u64) -> Self {
        let of = |what: &str| format!("{what}-{name}");
        Self {
            plan: of("plan"),
            target: of("target"),
            nonce: of("nonce"),
            hold: of("hold"),
            lease: of("lease"),
            epoch,
        }
    }

    pub(crate) fn record(&self, body: Body) -> Record {
        record(Some(&self.plan), body)
    }

    pub(crate) fn proposed(&self) -> Record {
        let plan = Plan::new(
            Requester::alone(id("holmes")),
            None,
            id("process.hung"),
            vec![Step {
                action: id("process.restart"),
                entry: digest("entry"),
                target: id(&self.target),
                expected_version: digest("version"),
                params: BTreeMap::new(),
                undo: UndoKind::SelfHeals,
            }],
        );
        let context = AgentContext {
            prompt: Submitted::Withheld,
            model: Submitted::Withheld,
            transcript: Submitted::Withheld,
        };
        let narrative = kept("it hangs").commitment;
        self.record(Body::Proposed { plan: Box::new(plan.unwrap()), narrative, context })
    }

    pub(crate) fn decided(&self, answer: Answer, tier: Tier) -> Record {
        let decision = Decision {
            r#type: DecisionType::V1,
            answer,
            tier,
            floor: tier,
            reasons: vec![],
            facts: digest("facts"),
            policy: digest("policy"),
        };
        self.record(Body::Decided { decision: Box::new(decision), facts: Box::new(self.facts().into()) })
    }

    pub(crate) fn deferred(&self, next_at_ms: u64, expires_at_ms: u64) -> Record {
        self.record(Body::Deferred { next_at_ms: at(next_at_ms), expires_at_ms: at(expires_at_ms) })
    }

    pub(crate) fn held(&self, until: u64) -> Record {
        let terms = HoldTerms { expires_at_ms: at(until), ..self.terms() };
        self.record(Body::Held { terms: Box::new(terms) })
    }

    pub(crate) fn approved(&self, person: &str) -> Record {
        self.record(Body::Approved { statement: self.statement(person, Choice::Approve) })
    }

    /// An approval by a passkey, at a counter.
    pub(crate) fn asserted(&self, person: &str, passkey: &Authenticator, counter: u32) -> Record {
        let statement = Statement::new(self.terms(), id(person), Choice::Approve);
        let signature = passkey.sign(&statement.signing_bytes().unwrap(), counter).into();
        self.record(Body::Approved { statement: Box::new(SignedStatement { statement, signature }) })
    }

    pub(crate) fn rejected(&self, person: &str) -> Record {
        self.record(Body::Rejected { statement: self.statement(person, Choice::Reject) })
    }

    pub(crate) fn permitted(&self) -> Record {
        self.record(Body::Permitted {
            jws: "header.payload.signature".to_owned(),
            nonce: id(&self.nonce),
            epoch: self.epoch,
        })
    }

    pub(crate) fn claimed(&self) -> Record {
        self.record(Body::Claimed {
            permit: id("permit-1"),
            permit_digest: Digest::of_bytes(b"permit"),
            nonce: id(&self.nonce),
            epoch: self.epoch,
            executors: BTreeSet::from([id("process")]),
            facts: Box::new(self.facts().into()),
            footprint: Box::new(self.footprint()),
        })
    }

    /// What its run counts as.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint {
            sums: BTreeMap::new(),
            agent: id("holmes"),
            via: BTreeSet::new(),
            teams: BTreeSet::new(),
            incident: None,
            concerned: BTreeSet::new(),
            actions: BTreeSet::from([id("process.restart")]),
            steps: 1,
            environments: BTreeSet::from([id("production")]),
            data_domains: BTreeSet::new(),
            deletes: BTreeSet::new(),
            direct: BTreeSet::new(),
            area: Area::default(),
        }
    }

    pub(crate) fn leased(&self) -> Record {
        self.record(Body::Leased { lease: self.lease() })
    }

    pub(crate) fn lease(&self) -> LeaseInfo {
        LeaseInfo {
            id: id(&self.lease),
            backend: None,
            permit: id("permit-1"),
            scopes: vec![Scope { action: id("process.restart"), target: id(&self.target) }],
            expires_at_ms: at(NOW + 60_000),
        }
    }

    pub(crate) fn revoked(&self) -> Record {
        self.record(Body::Revoked { lease: id(&self.lease) })
    }

    pub(crate) fn failed(&self) -> Record {
        self.record(Body::Failed { why: FailWhy::Interrupted })
    }

    pub(crate) fn in_doubt(&self) -> Record {
        self.record(Body::InDoubt { why: DoubtWhy::Unobservable })
    }

    pub(crate) fn succeeded(&self) -> Record {
        self.record(Body::Succeeded { evidence: digest("evidence") })
    }

    /// A review that says yes twice, and lets the agent go on or not.
    pub(crate) fn reviewed(&self, may_go_on: bool) -> Record {
        let statement = ReviewStatement {
            r#type: ReviewType::V1,
            plan: id(&self.plan),
            digest: digest("plan"),
            seen: 1,
            reviewer: id("ada"),
            answers: Answers { trigger_was_real: true, did_what_it_should: true, may_go_on },
        };
        let statement = Box::new(Signed { statement, signature: Signature::from_bytes([0; 64]).into() });
        self.record(Body::Reviewed { statement, note: Submitted::Withheld })
    }

    /// From the proposal to the permit, without people.
    pub(crate) fn to_permit(&self) -> Vec<Record> {
        vec![self.proposed(), self.decided(Answer::Allow, Tier::T1), self.permitted()]
    }

    /// From the claim to the observed effect.
    pub(crate) fn to_applied(&self) -> Vec<Record> {
        vec![
            self.claimed(),
            self.leased(),
            self.record(Body::Rehearsed { steps: 1 }),
            self.record(Body::Applying { step: 0, before: digest("version") }),
            self.record(Body::Applied { step: 0, after: digest("after"), last: true }),
        ]
    }

    /// From the proposal to a hold of T4, which needs two people.
    pub(crate) fn to_hold(&self, until: u64) -> Vec<Record> {
        vec![self.proposed(), self.decided(Answer::Hold, Tier::T4), self.held(until)]
    }

    fn terms(&self) -> HoldTerms {
        HoldTerms {
            hold: id(&self.hold),
            head: TreeHead { origin: "gate.example/log".to_owned(), size: 0, root: digest("root") },
            plan: digest("plan"),
            narrative: kept("it hangs").commitment,
            facts: digest("facts"),
            decision: digest("decision"),
            policy: digest("policy"),
            tier: Tier::T4,
            nonce: id("consent-1"),
            expires_at_ms: at(NOW + 60_000),
        }
    }

    fn statement(&self, person: &str, choice: Choice) -> Box<SignedStatement> {
        let statement = Statement::new(self.terms(), id(person), choice);
        // The store does not judge consent; whoever appends has.
        Box::new(SignedStatement { statement, signature: Signature::from_bytes([0; 64]).into() })
    }

    fn facts(&self) -> Facts {
        Facts {
            r#type: FactsType::V1,
            principal: Principal {
                agent: id("holmes"),
                team: id("sre-agents"),
                phase: Phase::Decide,
                attested_build: None,
                accepted: true,
                on_behalf_of: None,
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
                    targets: 1,
                    services: 1,
                    critical: 0,
                    environments: 1,
                    replica_share_percent: 50,
                },
            },
            target: Some(TargetFacts {
                id: id(&self.target),
                service: id("web"),
                environment: id("production"),
                owner: id("web-team"),
                criticality: Criticality::Medium,
                data_classes: BTreeSet::new(),
                data_domain: None,
                stateless: true,
                replicas: 3,
                down: false,
                version: digest("version"),
                parts: Parts::default(),
            }),
            trigger: TriggerFacts {
                condition: id("process.hung"),
                agreement: Agreement { truth: Truth::Holds, needed: 1, holding: 1, sources: 1 },
                evidence: digest("evidence"),
            },
            blast: Blast {
                targets: BTreeSet::from([id(&self.target)]),
                services: BTreeSet::new(),
                critical: BTreeSet::new(),
                unknown: BTreeSet::new(),
                environments: BTreeSet::new(),
                replica_share_percent: 10,
            },
            undo: UndoFacts { computed: true },
            provenance: Provenance { target: Origin::Clean, action: Origin::Clean, scope: Origin::Clean },
            standing: Standing::None,
            brakes: Brakes::OFF,
            inputs: inputs(),
            at_ms: at(NOW),
        }
    }
}
