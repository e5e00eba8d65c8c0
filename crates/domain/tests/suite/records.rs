//! Records: one spelling each, every kind of them, and the bytes that an old ledger has. One long file: a new kind of record is one
//! number, one sample and one line of the table, and all three stand here.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::Signer as _;
use holdpoint_domain::{
    Id, Rung, Tier, Timestamp,
    actor::{Actor, Phase},
    aftercare::Found,
    aftermath::{Aftermath, Baseline, Before, Fate, Gap, Metered, Moved, Surprise, TargetAfter, Unknown},
    approval::Choice,
    blast::Blast,
    change::{Change, Control},
    decision::{Class, Ladder, Verdict, Worse, decide},
    delegation::{Delegation, Within},
    enrol::Invitation,
    facts::{Brakes, Nearness, Neighbour, OverBudget, PlanFacts, Standing},
    flow::Event,
    halt::{Halt, Reach},
    id::kind,
    incident::Told,
    lease::{LeaseInfo, Scope},
    limits::{Area, Footprint},
    narrowing::{Kept, NarrowStatement},
    parts::Changed,
    quorum::Missing,
    reconcile::{Due, Part},
    record::{AgentContext, Body, DoubtWhy, FailWhy, Record, RecordError, Request, Submitted},
    signal::{Measures, Way},
    signature::{Purpose, Signature},
    trigger::{Evidence, EvidenceType, Reading, SignedEvidence, Truth, Why},
};

use super::{
    mutations::mutations,
    quorums::quorum,
    statements::{change_statement, change_terms, reconcile, resolution, resume, review, stated},
    support::{
        NOW, agreement, at, commitment, decision, digest, facts, gate, grant, held_back, id, jws, key, ms,
        one, passkey, pinned_keys, plan, plan_facts, signed, terms,
    },
};

const TABLE: &str = include_str!("../../testdata/records.txt");

/// The place of each variant among the samples. A new variant stops this from compiling: give it the next number, a
/// sample in [`bodies`] and a line in testdata/records.txt.
fn number(body: &Body) -> usize {
    match body {
        Body::Genesis { .. } => 0,
        Body::Started { .. } => 1,
        Body::ChangeProposed { .. } => 2,
        Body::ChangeDecided { .. } => 3,
        Body::Changed { .. } => 4,
        Body::InputRefused { .. } => 5,
        Body::InputRestored { .. } => 6,
        Body::Halted { .. } => 7,
        Body::Resumed { .. } => 8,
        Body::Strangers { .. } => 9,
        Body::Proposed { .. } => 10,
        Body::Measured { .. } => 11,
        Body::Decided { .. } => 12,
        Body::Deferred { .. } => 13,
        Body::Held { .. } => 14,
        Body::Approved { .. } => 15,
        Body::Rejected { .. } => 16,
        Body::Expired => 17,
        Body::Voided { .. } => 18,
        Body::Permitted { .. } => 19,
        Body::Claimed { .. } => 20,
        Body::Leased { .. } => 21,
        Body::LeasedAgain { .. } => 22,
        Body::Revoked { .. } => 23,
        Body::Rehearsed { .. } => 24,
        Body::Applying { .. } => 25,
        Body::Applied { .. } => 26,
        Body::Succeeded { .. } => 27,
        Body::Failed { .. } => 28,
        Body::Undoing { .. } => 29,
        Body::Unwound { .. } => 30,
        Body::NotUndone { .. } => 31,
        Body::Undone { .. } => 32,
        Body::UndoFailed { .. } => 33,
        Body::InDoubt { .. } => 34,
        Body::ReviewOwed { .. } => 35,
        Body::Reviewed { .. } => 36,
        Body::Resolved { .. } => 37,
        Body::Refused { .. } => 38,
        Body::Evaluated { .. } => 39,
        Body::Delegated { .. } => 40,
        Body::RevocationAsked { .. } => 41,
        Body::Invited { .. } => 42,
        Body::Enrolling { .. } => 43,
        Body::Narrowed { .. } => 44,
        Body::Reconciled { .. } => 45,
        Body::Baseline { .. } => 46,
        Body::Aftermath { .. } => 47,
        Body::Incident { .. } => 48,
    }
}

const VARIANTS: usize = 49;

/// The last of those that are about the log, and not about a plan.
const LAST_ABOUT_THE_LOG: usize = 9;

fn evidence() -> SignedEvidence {
    let reading = |endpoint: &str, value, why| Reading {
        endpoint: id(endpoint),
        source: id("node"),
        truth: Truth::Holds,
        why,
        value,
        age_ms: ms(12),
    };
    let evidence = Evidence {
        r#type: EvidenceType::V1,
        condition: id("process.hung"),
        target: id("worker-1"),
        measured_at_ms: at(NOW),
        readings: vec![reading("http", None, Why::TimedOut), reading("metrics", Some(0.5), Why::Measured)],
        agreement: agreement(Truth::Holds),
    };
    let bytes = Purpose::Evidence.signing_bytes(&evidence.bytes().unwrap());
    let signature = Signature::from_bytes(key(101).sign(&bytes).to_bytes());
    SignedEvidence { evidence, signature }
}

/// One of each kind, with who makes it.
fn bodies() -> Vec<(Actor, Body)> {
    let inputs = facts().inputs;
    let held = decision(Rung::T3);
    let terms = terms(&held);
    let permit = grant(Rung::T3, &["ada"]).unwrap();
    let lease = LeaseInfo {
        id: id("lease-1"),
        backend: None,
        permit: id("permit-1"),
        scopes: vec![Scope { action: id("process.restart"), target: id("worker-1") }],
        expires_at_ms: at(NOW + 60_000),
    };
    let agent = || Actor::Agent { agent: id("holmes"), phase: Phase::Decide };
    let person = |name: &str| Actor::Person { person: id(name) };
    let executor = || Actor::Executor { executor: id("process") };
    let context = AgentContext {
        prompt: Submitted::Committed(commitment("prompt")),
        model: Submitted::Committed(commitment("model")),
        transcript: Submitted::Withheld,
    };
    let change = Change {
        id: id("change-1"),
        control: Control::Policy,
        old: digest("policy"),
        new: digest("new"),
        author: id("ada"),
    };
    let footprint = Footprint {
        sums: BTreeMap::from([(id("rows"), 30)]),
        agent: id("holmes"),
        via: BTreeSet::new(),
        incident: Some(id("inc-42")),
        concerned: BTreeSet::from([id("am-42")]),
        teams: BTreeSet::from([id("sre")]),
        actions: BTreeSet::from([id("process.restart")]),
        steps: 1,
        environments: BTreeSet::from([id("production")]),
        data_domains: BTreeSet::from([id("orders")]),
        deletes: BTreeSet::from([id("orders-db")]),
        direct: BTreeSet::from([id("orders-db")]),
        area: Area {
            services: BTreeSet::from([id("orders"), id("orders-db")]),
            shares: BTreeSet::new(),
            everywhere: true,
        },
    };
    let note = Submitted::Committed(commitment("looked at the graphs"));
    let worse = vec![
        Worse::TargetGone,
        Worse::Version { decided: digest("version"), now: digest("other"), parts: Vec::new() },
        Worse::Version {
            decided: digest("version"),
            now: digest("other"),
            parts: vec![Changed { part: "state".to_owned(), decided: Some("ENABLED".to_owned()), now: None }],
        },
        Worse::CatalogueEntry { decided: digest("entry"), now: digest("other") },
        Worse::Blast,
        Worse::TriggerGone,
        Worse::Denied,
        Worse::held_by("halted"),
        Worse::Held {
            rules: vec![id("neighbourhood-busy")],
            brakes: Some(Box::new(Brakes {
                neighbour: Some(Neighbour {
                    plan: id("plan-2"),
                    service: Some(id("orders")),
                    shared: None,
                    why: Nearness::CoolingDown,
                    until_ms: Some(at(9)),
                }),
                ..Brakes::OFF
            })),
        },
        Worse::Class { what: Class::Criticality, decided: "high".to_owned(), now: "critical".to_owned() },
        Worse::Disturbs {
            services: BTreeSet::from([id("web")]),
            targets: BTreeSet::new(),
            environments: BTreeSet::new(),
            replica_share_percent: Some((34, 67)),
        },
        Worse::Tier { obtained: Tier::T2, now: Tier::T3 },
    ];
    let (before, after) = (digest("version"), digest("after"));
    vec![
        (
            Actor::Gate,
            Body::Genesis {
                origin: "holdpoint.example/log".into(),
                inputs,
                administrators: pinned_keys(),
                contents: Control::ALL.map(|control| (control, commitment(control.as_str()))).into(),
            },
        ),
        (Actor::Gate, Body::Started { inputs, development: true }),
        (person("ada"), Body::ChangeProposed { terms: Box::new(change_terms()) }),
        (person("bob"), Body::ChangeDecided { statement: Box::new(stated(change_statement(), &key(2))) }),
        (person("bob"), Body::Changed { change, retired: None }),
        (Actor::Gate, Body::InputRefused { control: Control::Policy, found: Some(digest("found")) }),
        (Actor::Gate, Body::InputRestored { control: Control::Policy }),
        (
            person("cyd"),
            Body::Halted { halt: Halt { reach: Reach::Hard, by: Some(id("cyd")), at_ms: at(NOW) } },
        ),
        (person("bob"), Body::Resumed { statement: Box::new(stated(resume(), &key(2))) }),
        (
            Actor::Gate,
            Body::Strangers {
                from_ms: at(NOW - 60_000),
                until_ms: at(NOW),
                turned_away: BTreeMap::from([(id("no-token"), 3), (id("unknown-agent"), 1)]),
            },
        ),
        (
            agent(),
            Body::Proposed { plan: Box::new(plan()), narrative: commitment("the worker hangs"), context },
        ),
        (Actor::Observer, Body::Measured { evidence: Box::new(evidence()) }),
        (Actor::Gate, Body::Decided { decision: Box::new(held), facts: Box::new(one(&facts())) }),
        (Actor::Gate, Body::Deferred { next_at_ms: at(NOW + 1), expires_at_ms: at(NOW + 2) }),
        (Actor::Gate, Body::Held { terms: Box::new(terms.clone()) }),
        (person("ada"), Body::Approved { statement: Box::new(signed(&terms, "ada", Choice::Approve)) }),
        (person("bob"), Body::Rejected { statement: Box::new(signed(&terms, "bob", Choice::Reject)) }),
        (Actor::Gate, Body::Expired),
        (Actor::Gate, Body::Voided { worse }),
        (Actor::Gate, Body::Permitted { jws: jws(&permit, &gate()), nonce: id("nonce-2"), epoch: 7 }),
        (
            executor(),
            Body::Claimed {
                permit: id("permit-1"),
                permit_digest: digest("permit"),
                nonce: id("nonce-2"),
                epoch: 7,
                executors: BTreeSet::from([id("process")]),
                facts: Box::new(plan_facts(2)),
                footprint: Box::new(footprint),
            },
        ),
        (Actor::Issuer, Body::Leased { lease: lease.clone() }),
        (Actor::Issuer, Body::LeasedAgain { lease }),
        (Actor::Issuer, Body::Revoked { lease: id("lease-1") }),
        (executor(), Body::Rehearsed { steps: 2 }),
        (executor(), Body::Applying { step: 0, before }),
        (Actor::Observer, Body::Applied { step: 0, after, last: true }),
        (Actor::Gate, Body::Succeeded { evidence: digest("evidence") }),
        (Actor::Gate, Body::Failed { why: FailWhy::NoEffect }),
        (executor(), Body::Undoing { step: 0, from: after, why: FailWhy::NotVerified }),
        (Actor::Observer, Body::Unwound { step: 1, version: before }),
        (Actor::Gate, Body::NotUndone { step: 1, why: FailWhy::NoUndo }),
        (Actor::Observer, Body::Undone { version: before }),
        (Actor::Gate, Body::UndoFailed { why: FailWhy::NoUndo }),
        (Actor::Gate, Body::InDoubt { why: DoubtWhy::ChangedSince }),
        (Actor::Gate, Body::ReviewOwed { due_at_ms: at(NOW + 9), owner: id("sre") }),
        (person("bob"), Body::Reviewed { statement: Box::new(stated(review(), &key(2))), note }),
        (
            person("bob"),
            Body::Resolved { statement: Box::new(stated(resolution(), &key(2))), note: Submitted::Withheld },
        ),
        (agent(), Body::Refused { request: Request::Claim, rule: id("wrong-phase") }),
        (
            Actor::Gate,
            Body::Evaluated { decision: Box::new(decision(Rung::T1)), facts: Box::new(one(&facts())) },
        ),
        (
            person("dee"),
            Body::Delegated {
                delegation: Box::new(Delegation {
                    id: id("delegation-1"),
                    head: Some(id("dee")),
                    via: vec![id("watson")],
                    to: id("holmes"),
                    within: Within { actions: Some([id("process.restart")].into()), targets: None },
                    made_at_ms: at(NOW),
                    until_ms: at(NOW + 60_000),
                }),
            },
        ),
        (person("ada"), Body::RevocationAsked { lease: id("lease-1") }),
        (
            person("ada"),
            Body::Invited {
                invitation: Invitation {
                    act: id("act-1"),
                    person: id("bob"),
                    by: id("ada"),
                    secret: digest("a secret"),
                    expires_at_ms: at(NOW + 60_000),
                },
            },
        ),
        (
            person("bob"),
            Body::Enrolling {
                act: id("act-1"),
                passkey: Box::new(passkey("bob").passkey),
                change: id("change-1"),
            },
        ),
        (
            person("bob"),
            Body::Narrowed {
                statement: Box::new(stated(
                    NarrowStatement::new(
                        terms.clone(),
                        id("bob"),
                        vec![Kept { step: 0, params: BTreeMap::new() }],
                    ),
                    &key(2),
                )),
                into: id("plan-2"),
            },
        ),
        (
            person("bob"),
            Body::Reconciled {
                statement: Box::new(stated(reconcile(), &key(2))),
                due: Some(Due { due_at_ms: at(NOW + 9), owner: id("sre") }),
            },
        ),
        (Actor::Observer, Body::Baseline { baseline: Box::new(baseline()) }),
        (Actor::Observer, Body::Aftermath { aftermath: Box::new(aftermath()) }),
        (
            Actor::Gate,
            Body::Incident {
                told: Box::new(Told {
                    incident: id("am-42"),
                    source: id("prod-alerts"),
                    firing: 2,
                    services: BTreeSet::from([id("orders"), id("worker")]),
                    everywhere: false,
                    words: commitment("the queue grows"),
                }),
            },
        ),
    ]
}

fn baseline() -> Baseline {
    let said = Metered {
        signal: id("errors"),
        why: Why::Measured,
        values: [(id("shop"), 0.25), (id("payments"), 0.0)].into(),
        strangers: 2,
    };
    let slow = Metered::unknown(id("latency"), Why::TimedOut);
    let before = |said| Before { definition: digest("a signal"), said };
    let beside = [(id("worker-2"), Some(digest("one"))), (id("worker-3"), None)].into();
    Baseline { signals: vec![before(said), before(slow)], beside, left_out: 0 }
}

fn aftermath() -> Aftermath {
    let moved = |service, way, estimated| Moved {
        service: id(service),
        signal: id("errors"),
        measures: Measures::ErrorRatio,
        before: 0.25,
        after: if way == Way::Worse { 0.5 } else { 0.0 },
        way,
        estimated,
    };
    let unknown = |service: Option<&str>, gap, why| Unknown {
        signal: id("latency"),
        service: service.map(id),
        gap,
        why,
    };
    let target =
        |target, acted_on, expected, fate| TargetAfter { target: id(target), acted_on, expected, fate };
    Aftermath {
        moved: vec![moved("payments", Way::Worse, false), moved("shop", Way::Better, true)],
        still: 1,
        unknown: vec![
            unknown(None, Gap::Before, Some(Why::TimedOut)),
            unknown(Some("shop"), Gap::After, Some(Why::NoData)),
            unknown(None, Gap::Redefined, None),
            unknown(None, Gap::Interrupted, None),
        ],
        targets: vec![
            target("worker-1", true, true, Fate::Same),
            target("worker-2", false, false, Fate::Changed),
            target("worker-3", false, false, Fate::Unseen),
        ],
        surprises: vec![
            Surprise::MovedOutside { service: id("payments"), signal: id("errors") },
            Surprise::NotChanged { target: id("worker-1") },
            Surprise::ChangedBeside { target: id("worker-2") },
        ],
        strangers: 2,
        left_out: 0,
    }
}

fn records() -> Vec<Record> {
    let about_no_plan = |body: &Body| {
        number(body) <= LAST_ABOUT_THE_LOG
            || matches!(
                body,
                Body::Evaluated { .. }
                    | Body::Delegated { .. }
                    | Body::Invited { .. }
                    | Body::Enrolling { .. }
                    | Body::Reconciled { .. }
                    | Body::Incident { .. }
            )
    };
    let plan = |body: &Body| -> Option<Id<kind::Plan>> { (!about_no_plan(body)).then(|| id("plan-1")) };
    bodies().into_iter().map(|(actor, body)| Record::new(at(NOW), actor, plan(&body), body)).collect()
}

#[test]
fn every_kind_of_record_is_read_back_from_its_bytes() {
    let numbers: Vec<_> = records().iter().map(|record| number(&record.body)).collect();
    assert_eq!(numbers, (0..VARIANTS).collect::<Vec<_>>(), "one sample of each variant");
    let words: BTreeSet<_> = records().iter().map(|record| record.body.word()).collect();
    assert_eq!(words.len(), VARIANTS, "two variants with one word");
    for record in records() {
        let bytes = record.bytes().unwrap();
        assert!(bytes.len() < holdpoint_domain::record::MAX_RECORD_LEN);
        assert_eq!(Record::parse(&bytes), Ok(record.clone()), "{}", record.body.word());
        let kind = format!("\"kind\":\"{}\"", record.body.word());
        let is_evaluation = matches!(record.body, Body::Evaluated { .. });
        assert_eq!(Record::is_evaluation(&bytes), is_evaluation, "{kind}");
        assert!(String::from_utf8(bytes).unwrap().contains(&kind), "the word is the one in the bytes");
    }
}

/// What a kind of record says when there is less to say, or something else: read back as well.
#[test]
fn records_with_less_in_them_are_read_back() {
    let halt = |reach, by| Body::Halted { halt: Halt { reach, by, at_ms: at(NOW) } };
    let empty = Footprint {
        sums: BTreeMap::new(),
        agent: id("holmes"),
        via: BTreeSet::new(),
        teams: BTreeSet::new(),
        incident: None,
        concerned: BTreeSet::new(),
        actions: BTreeSet::new(),
        steps: 0,
        environments: BTreeSet::new(),
        data_domains: BTreeSet::new(),
        deletes: BTreeSet::new(),
        direct: BTreeSet::new(),
        area: Area::default(),
    };
    let mut over = facts();
    let over_budget = Some(OverBudget { budget: id("hourly"), until_ms: None });
    over.brakes = Brakes { over_budget, ..held_back() };
    over.brakes.neighbour.as_mut().unwrap().service = None;
    let short = [vec![], quorum(1, &[&["dba"]]).groups().to_vec()]
        .map(|groups| Worse::Approvals { missing: Missing { approvals: 1, groups } });
    let bodies = [
        Body::InputRefused { control: Control::Limits, found: None },
        Body::Voided { worse: short.to_vec() },
        halt(Reach::Soft, None),
        halt(Reach::Soft, Some(id("cyd"))),
        halt(Reach::Hard, None),
        Body::Applied { step: 3, after: digest("after"), last: false },
        Body::Changed {
            change: Change {
                id: id("change-2"),
                control: Control::Registry,
                old: digest("registry"),
                new: digest("new"),
                author: id("ada"),
            },
            retired: Some([passkey("bob").passkey.id].into()),
        },
        Body::Strangers { from_ms: at(0), until_ms: at(0), turned_away: BTreeMap::new() },
        Body::Genesis {
            origin: String::new(),
            inputs: facts().inputs,
            administrators: BTreeMap::new(),
            contents: BTreeMap::new(),
        },
        Body::Claimed {
            permit: id("permit-1"),
            permit_digest: digest("permit"),
            nonce: id("nonce-2"),
            epoch: 0,
            executors: BTreeSet::new(),
            facts: Box::new(one(&over)),
            footprint: Box::new(empty),
        },
    ];
    // The store does not read these back before it keeps them.
    let mut least = facts();
    (least.target, least.principal.attested_build, least.principal.on_behalf_of) = (None, None, None);
    least.action.touches.clear();
    least.blast = Blast {
        targets: BTreeSet::new(),
        services: BTreeSet::new(),
        critical: BTreeSet::new(),
        unknown: BTreeSet::new(),
        environments: BTreeSet::new(),
        ..least.blast
    };
    let mut most = over.clone();
    most.action.approvals = Some(quorum(3, &[&["dba", "platform"], &["security"]]));
    most.standing = Standing::Earned(Tier::T1);
    most.trigger.agreement.truth = Truth::Indeterminate;
    most.at_ms = Timestamp::from_ms(holdpoint_domain::digest::MAX_WHOLE).unwrap();
    let evaluations = [least, most, over].map(|facts| {
        let facts = PlanFacts::from(facts);
        let ladder = Ladder::all(&Verdict::Deny { rules: vec![id("rule-1")] });
        let decision = Box::new(decide(&facts, &[ladder]).unwrap());
        Body::Evaluated { decision, facts: Box::new(facts) }
    });
    for body in bodies.into_iter().chain(evaluations) {
        let is_evaluation = matches!(body, Body::Evaluated { .. });
        let record = Record::new(at(NOW), Actor::Gate, None, body);
        let bytes = record.bytes().unwrap();
        assert_eq!(Record::is_evaluation(&bytes), is_evaluation);
        assert_eq!(Record::parse(&bytes), Ok(record));
    }
}

/// The words of the closed lists in the ledger. A word that is gone or renamed makes old records unreadable.
#[test]
fn words_of_closed_lists_stay() {
    fn all<T: serde::Serialize + serde::de::DeserializeOwned>(words: &[&str]) {
        for word in words {
            let value = serde_json::Value::from(*word);
            let read: T = serde_json::from_value(value.clone()).unwrap_or_else(|err| panic!("{word}: {err}"));
            assert_eq!(serde_json::to_value(read).unwrap(), value);
        }
    }
    let requests = "propose decide narrow break_glass claim change decide_change review resolve reconcile halt resume delegate invite enrol evaluate revoke";
    let fails = "refused no_lease rehearsal version no_effect interrupted not_verified regressed halted braked no_undo";
    let doubts = "other_version changed_since unobservable may_still_happen halted_hard";
    let split = |words: &'static str| words.split(' ').collect::<Vec<_>>();
    all::<Request>(&split(requests));
    all::<FailWhy>(&split(fails));
    all::<DoubtWhy>(&split(doubts));
    all::<Reach>(&[Reach::Soft, Reach::Hard].map(Reach::as_str));
    all::<Found>(&[Found::AsBefore, Found::AsPlanned, Found::PutRight].map(Found::as_str));
    all::<Part>(&Part::ALL.map(Part::as_str));
    all::<Control>(&Control::ALL.map(Control::as_str));
}

/// What stands in a ledger stays readable. A line that differs is a change of the format: a new version, not an edit.
#[test]
fn the_bytes_of_every_kind_of_record_are_the_recorded_ones() {
    let actual: String =
        records().iter().map(|record| String::from_utf8(record.bytes().unwrap()).unwrap() + "\n").collect();
    assert!(actual == TABLE, "{actual}\nThe lines above differ from testdata/records.txt");
    for line in TABLE.lines() {
        Record::parse(line.as_bytes()).unwrap();
    }
}

/// Every event of the flow has a record that makes it.
#[test]
fn every_event_has_its_record() {
    let mut made: BTreeSet<_> = records().iter().filter_map(|record| record.body.event()).collect();
    for rung in [Rung::T1, Rung::T3] {
        let decision = decision(rung);
        made.extend(Body::Decided { decision: Box::new(decision), facts: Box::new(one(&facts())) }.event());
    }
    made.extend(Body::Applied { step: 0, after: digest("after"), last: false }.event());
    let refused = [holdpoint_domain::decision::Answer::Deny, holdpoint_domain::decision::Answer::Defer];
    for answer in refused {
        let decision = super::support::raw_decision(answer, Tier::T3);
        made.extend(Body::Decided { decision: Box::new(decision), facts: Box::new(one(&facts())) }.event());
    }
    let missing: Vec<_> = Event::ALL.into_iter().filter(|event| !made.contains(event)).collect();
    assert_eq!(missing, []);
}

#[test]
fn inv11_a_record_has_one_spelling() {
    for record in records() {
        let word = record.body.word();
        let good = String::from_utf8(record.bytes().unwrap()).unwrap();
        let inner = &good[1..good.len() - 1];
        let spellings = [
            ("a space", format!("{{ {inner}}}")),
            ("a line end", format!("{good}\n")),
            (
                "another order",
                format!(
                    "{{\"type\":\"holdpoint/record/v1\",{}}}",
                    inner.replace(",\"type\":\"holdpoint/record/v1\"", "")
                ),
            ),
            ("an escape", good.replacen("at_ms", "at\\u005fms", 1)),
            (
                "another form of a number",
                good.replace(&format!("\"at_ms\":{NOW}"), &format!("\"at_ms\":{NOW}.0")),
            ),
            ("a key twice", format!("{{\"at_ms\":{NOW},{inner}}}")),
            ("an actor twice", format!("{{\"actor\":{{\"kind\":\"gate\"}},{inner}}}")),
            ("a kind twice", good.replacen("\"kind\":", "\"kind\":\"expired\",\"kind\":", 1)),
            ("an unknown key", format!("{{{inner},\"zz\":0}}")),
            ("an unknown key in the actor", good.replacen("\"actor\":{", "\"actor\":{\"aa\":0,", 1)),
            ("an unknown key in the body", good.replacen("\"body\":{", "\"body\":{\"aa\":0,", 1)),
            ("something after it", format!("{good}{good}")),
            ("a byte order mark", format!("\u{feff}{good}")),
        ];
        for (what, other) in spellings {
            assert_ne!(other, good, "{word}: {what}");
            assert!(Record::parse(other.as_bytes()).is_err(), "{word}: {what} was read");
        }
    }
}

/// Duplicate keys deep inside, in structs as well as in maps, where the last one would win.
#[test]
fn t19_no_key_stands_twice_in_a_record() {
    let find = |word: &str| {
        let record = records().into_iter().find(|record| record.body.word() == word).unwrap();
        String::from_utf8(record.bytes().unwrap()).unwrap()
    };
    for (word, once, twice) in [
        ("decided", "\"tier\":\"T3\"", "\"tier\":\"T1\",\"tier\":\"T3\""),
        ("decided", "\"touches\":{}", "\"touches\":{\"rbac\":\"grants\",\"rbac\":\"reads\"}"),
        ("decided", "\"halted\":false", "\"halted\":true,\"halted\":false"),
        ("proposed", "\"drain\":{", "\"drain\":{\"bool\":false},\"drain\":{"),
        ("proposed", "\"undo\":\"self_heals\"", "\"undo\":\"none\",\"undo\":\"self_heals\""),
        ("genesis", "\"policy\":\"", "\"policy\":\"x\",\"policy\":\""),
        ("strangers", "\"no-token\":3", "\"no-token\":4,\"no-token\":3"),
        ("reviewed", "\"may_go_on\":", "\"may_go_on\":true,\"may_go_on\":"),
        ("held", "\"tier\":\"T3\"", "\"tier\":\"T3\",\"tier\":\"T3\""),
    ] {
        let good = find(word);
        assert!(good.contains(once), "{word}: {good}");
        assert!(Record::parse(good.replace(once, twice).as_bytes()).is_err(), "{word}: {twice} was read");
    }
}

#[test]
fn inv11_every_change_to_a_record_is_another_record_or_none() {
    for record in records() {
        let bytes = record.bytes().unwrap();
        let value = serde_json::from_slice(&bytes).unwrap();
        for (path, changed) in mutations(&value) {
            if serde_json::from_value::<Record>(changed.clone()).is_err() {
                continue;
            }
            let changed = holdpoint_domain::digest::canonical(&changed).unwrap();
            if let Ok(other) = Record::parse(&changed) {
                assert_ne!(other, record, "{path}");
                assert_eq!(other.bytes().unwrap(), changed, "{path}");
            }
        }
    }
}

#[test]
fn t30_bytes_that_are_no_record() {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"at_ms\":{}", "9".repeat(100_000));
    for bytes in [&b""[..], b"{}", b"null", b"\xff\xfe", b"{\"type\":", deep.as_bytes(), long.as_bytes()] {
        assert!(matches!(Record::parse(bytes), Err(RecordError::Malformed(_))));
    }
    // The words of another version, or of another kind of value, are not ours.
    let good = String::from_utf8(records()[0].bytes().unwrap()).unwrap();
    for other in ["holdpoint/record/v2", "holdpoint/plan/v1", ""] {
        let bytes = good.replace("holdpoint/record/v1", other);
        assert!(Record::parse(bytes.as_bytes()).is_err(), "{other}");
    }
}
