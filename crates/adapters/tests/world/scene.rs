//! Permits as a gate would sign them, and everything that an executor and an issuer check them against.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_adapters::{
    executor::{Authority, Pins},
    system::{Ed25519Key, Seed},
};
use holdpoint_app::receipt::Receipt;
use holdpoint_domain::{
    Commitment, Digest, Id, Tier,
    action::{Action, Catalogue, UndoKind},
    actor::Actor,
    approval::{Choice, HoldTerms, SignedStatement, Statement, TreeHead},
    digest::Salt,
    id::kind,
    lease::{Lease, LeaseInfo, LeaseSecret, Scope},
    passkey::Authenticator,
    permit::Grant,
    plan::{Plan, Requester, Step},
    proof::Credentials,
    quorum::Quorum,
    record::{Body, Record},
    signature::Thumbprint,
    trigger::Condition,
};
use holdpoint_ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    hash::leaf_hash,
};
use serde_json::json;

use super::support::{NOW_MS, at, id};

pub(crate) const ORIGIN: &str = "gate.example/log";

pub(crate) fn key(name: &str) -> Ed25519Key {
    let mut seed = [7_u8; 32];
    for (byte, letter) in seed.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    Ed25519Key::from_seed(name, &Seed::from_bytes(seed)).unwrap()
}

/// Actions of every kind that matters here.
pub(crate) fn catalogue() -> Arc<Catalogue> {
    let action = |id: &str, executor: &str, tier: &str, reversibility: &str, undo: &str| -> Action {
        serde_json::from_value(json!({
            "id": id, "title": "a test", "executor": executor, "reversibility": reversibility, "idempotent": true,
            "tier": tier, "undo": undo, "undo_window_ms": 3_600_000, "verify": "up", "triggers": ["hung"],
            "soak_ms": 1, "settle_ms": 1,
            "cap": {"targets": 1, "services": 1, "critical": 1, "replica_share_percent": 100},
        }))
        .unwrap()
    };
    let condition = |id: &str| -> Condition {
        serde_json::from_value(json!({"id": id, "title": "a test", "needs": 1, "probes": [
            {"endpoint": "unit", "timeout_ms": 1000, "check": {"kind": "process", "expect": "running"}}
        ]}))
        .unwrap()
    };
    let mut purge = action("process.purge", "process", "T3", "irreversible", "none");
    purge.approvals = Some(Quorum::new(3, Vec::new()).unwrap());
    let actions = vec![
        purge,
        action("process.restart", "process", "T2", "reversible", "self_heals"),
        action("process.stop", "process", "T2", "reversible", "inverse"),
        action("process.wipe", "process", "T3", "irreversible", "none"),
        action("process.grant", "process", "T4", "reversible", "inverse"),
        action("process.never", "process", "T5", "reversible", "inverse"),
        action("other.act", "other", "T2", "reversible", "inverse"),
    ];
    Arc::new(Catalogue::new(actions, vec![condition("up"), condition("hung")]).unwrap())
}

pub(crate) fn plan(catalogue: &Catalogue, action: &str, target: &str, version: Digest) -> Plan {
    let entry = catalogue.action(&id(action)).unwrap();
    let step = Step {
        action: id(action),
        entry: entry.digest().unwrap(),
        target: id(target),
        expected_version: version,
        params: BTreeMap::new(),
        undo: entry.undo,
    };
    let requester = Requester { on_behalf_of: Some(id("ada")), ..Requester::alone(id("holmes")) };
    Plan::new(requester, None, id("hung"), vec![step]).unwrap()
}

/// An executor and the key that its permits are bound to: the same for all of them here.
pub(crate) fn bound(executor: &str) -> BTreeMap<Id<kind::Executor>, Thumbprint> {
    BTreeMap::from([(id(executor), key("executor").public_key().thumbprint())])
}

/// A grant for a plan, as the gate would make it: fifteen minutes to start, an hour to undo.
pub(crate) fn grant(plan: &Plan, tier: Tier, epoch: u64) -> Grant {
    let head = TreeHead { origin: ORIGIN.to_owned(), size: 1, root: Digest::of_bytes(b"root") };
    Grant {
        id: id(&format!("permit-{epoch}")),
        plan_id: id(&format!("plan-{epoch}")),
        plan: plan.digest().unwrap(),
        narrative: Commitment::to(&Salt::new([0; 32]), b"because"),
        facts: Digest::of_bytes(b"facts"),
        decision: Digest::of_bytes(b"decision"),
        policy: Digest::of_bytes(b"policy"),
        tier,
        head,
        terms: None,
        approvals: Vec::new(),
        executors: bound("process"),
        nonce: id(&format!("nonce-{epoch}")),
        epoch,
        granted_at_ms: at(NOW_MS - 1000),
        start_before_ms: at(NOW_MS + 15 * 60 * 1000),
        undo_until_ms: at(NOW_MS + 60 * 60 * 1000),
    }
}

/// Ends a grant's undo where the catalogue ends it for a step of this action, as the gate does.
pub(crate) fn within(grant: &mut Grant, entry: &Action) {
    let longest = entry.undoable_until(grant.start_before_ms).unwrap();
    grant.undo_until_ms = grant.undo_until_ms.min(longest);
}

/// Adds the terms of a hold and these people's signatures to a grant.
pub(crate) fn approve(grant: &mut Grant, people: &[&str]) {
    let terms = HoldTerms {
        hold: id("hold-1"),
        head: grant.head.clone(),
        plan: grant.plan,
        narrative: grant.narrative,
        facts: grant.facts,
        decision: grant.decision,
        policy: grant.policy,
        tier: grant.tier,
        nonce: id("nonce-of-the-hold"),
        expires_at_ms: at(NOW_MS + 60_000),
    };
    grant.approvals = people.iter().map(|person| signed(&terms, person, Choice::Approve)).collect();
    grant.terms = Some(terms);
}

/// Somebody's statement on a hold: by their passkey from T4 on, by their key below.
pub(crate) fn signed(terms: &HoldTerms, person: &str, choice: Choice) -> SignedStatement {
    let statement = Statement::new(terms.clone(), id(person), choice);
    let bytes = statement.signing_bytes().unwrap();
    let signature = if terms.tier >= Tier::T4 {
        passkey(person).sign(&bytes, 0).into()
    } else {
        key(person).sign(&bytes).into()
    };
    SignedStatement { statement, signature }
}

/// Somebody's statement on a hold, signed with the key in their file whatever the tier.
pub(crate) fn signed_by_key(terms: &HoldTerms, person: &str) -> SignedStatement {
    let statement = Statement::new(terms.clone(), id(person), Choice::Approve);
    let signature = key(person).sign(&statement.signing_bytes().unwrap()).into();
    SignedStatement { statement, signature }
}

/// Somebody's passkey, enrolled by an act of its own.
pub(crate) fn passkey(person: &str) -> Authenticator {
    let seed = *Digest::of_bytes(person.as_bytes()).as_bytes();
    Authenticator::new(seed, "http://localhost:7070", id(&format!("act-{person}"))).unwrap()
}

pub(crate) fn sign(grant: &Grant, gate: &Ed25519Key) -> String {
    let input = grant.signing_input(gate.name()).unwrap();
    let signature = gate.sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}

pub(crate) fn pins(catalogue: Arc<Catalogue>) -> Pins {
    let approvers = ["ada", "ben", "cleo", "dan"].map(|person| {
        let passkeys = vec![passkey(person).passkey];
        (id(person), Credentials { key: Some(key(person).public_key()), passkeys })
    });
    Pins { gate: key("gate").public_key().into(), approvers: approvers.into(), catalogue }
}

/// An authority over everything in the catalogue, for target `web-1` and those named.
pub(crate) fn authority(catalogue: Arc<Catalogue>, targets: &[&str]) -> Authority {
    let actions: BTreeSet<Id<kind::Action>> = catalogue.actions().map(|action| action.id.clone()).collect();
    Authority {
        name: id("process"),
        key: key("executor").public_key(),
        pins: pins(catalogue),
        actions,
        targets: targets.iter().map(|target| id(target)).collect(),
    }
}

/// The words of a lease for a grant and its plan.
pub(crate) fn lease_info(grant: &Grant, plan: &Plan) -> LeaseInfo {
    let scope = |step: &Step| Scope { action: step.action.clone(), target: step.target.clone() };
    LeaseInfo {
        id: id(&format!("lease-{}", grant.epoch)),
        backend: None,
        permit: grant.id.clone(),
        scopes: plan.steps().iter().map(scope).collect(),
        expires_at_ms: at(NOW_MS + 10 * 60 * 1000),
    }
}

pub(crate) fn unminted(info: LeaseInfo) -> Lease {
    Lease { info, secret: LeaseSecret::new("nobody minted this".to_owned()) }
}

/// The record of the intent of a grant's run.
pub(crate) fn intent(grant: &Grant) -> Record {
    let digest = Digest::of_bytes(b"input");
    let facts = json!({
        "type": "holdpoint/facts/v1",
        "principal": {"agent": "holmes", "team": "sre", "phase": "decide", "attested_build": null, "accepted": true,
            "on_behalf_of": null},
        "action": {"id": "process.stop", "entry": digest, "reversibility": "reversible", "idempotent": true,
            "touches": {}, "tier": "T2", "additive": false, "undo": UndoKind::Inverse,
            "cap": {"targets": 1, "services": 1, "critical": 1, "environments": 1,
                "replica_share_percent": 100}},
        "target": null,
        "trigger": {"condition": "hung", "evidence": digest,
            "agreement": {"truth": "holds", "needed": 1, "holding": 1, "sources": 1}},
        "blast": {"targets": [], "services": [], "critical": [], "unknown": [], "environments": [],
            "replica_share_percent": 0},
        "undo": {"computed": true},
        "provenance": {"target": "clean", "action": "clean", "scope": "clean"},
        "standing": "none",
        "brakes": {"halted": false, "frozen": false, "suspended": false, "over_budget": null,
            "counterpart_deleted": false, "input_refused": false},
        "inputs": {"policy": digest, "catalogue": digest, "inventory": digest, "registry": digest,
            "limits": digest},
        "at_ms": NOW_MS,
    });
    let footprint = json!({"agent": "holmes", "incident": null, "actions": ["process.stop"], "environments": [],
        "data_domains": [], "deletes": []});
    let body = Body::Claimed {
        permit: grant.id.clone(),
        permit_digest: Digest::of_bytes(sign(grant, &key("gate")).as_bytes()),
        nonce: grant.nonce.clone(),
        epoch: grant.epoch,
        executors: grant.executors.keys().cloned().collect(),
        facts: serde_json::from_value(json!([facts])).unwrap(),
        footprint: serde_json::from_value(footprint).unwrap(),
    };
    Record::new(at(NOW_MS), Actor::Gate, Some(grant.plan_id.clone()), body)
}

/// A receipt for a record in a log of one entry, whose checkpoint `log` signed.
pub(crate) fn receipt(record: &Record, log: &Ed25519Key) -> Receipt {
    let entry = record.bytes().unwrap();
    let checkpoint = Checkpoint::new(log.name(), 1, leaf_hash(&entry)).unwrap();
    let signed = SignedCheckpoint::sign(&checkpoint, &[log]).unwrap();
    Receipt::check(&entry, 0, Vec::new(), &signed.to_string(), &log.verifier_key().unwrap()).unwrap()
}
