//! Somebody who took everything that the gate holds: its keys of permits and of the ledger, its certificate, its store. Each test
//! breaks one thing, beside a control in which nothing is broken.

use std::{collections::BTreeMap, fs, time::Duration};

use holdpoint_adapters::{
    remote::{CallError, RoleClient, wire},
    system::{Ed25519Key, KeyUse, Seed, SystemClock},
};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::{
    Digest, Millis, Tier, Timestamp,
    approval::{Choice, HoldTerms, SignedStatement, Statement},
    lease::{LeaseInfo, Scope},
    permit::{Grant, Permit, compact},
    plan::Plan,
    record::{Body, Record},
};
use holdpoint_ledger::{Checkpoint, Hash, SignedCheckpoint, SourceError, TileSource, Tree, leaf_hash};
use serde_json::Value;

use super::{id, scene::Scene};
use crate::suite::consent;

const LIMIT: Duration = Duration::from_secs(60);

/// What the thief has, and what they know of a run that was honest.
struct Thief {
    permit_key: Ed25519Key,
    log_key: Ed25519Key,
    issuer: RoleClient,
    executor: RoleClient,
    observer: RoleClient,
    /// The ledger, entry by entry.
    entries: Vec<Vec<u8>>,
    grant: Grant,
    jws: String,
    plan: Plan,
    /// Where the intent of the honest run is.
    intent: usize,
}

/// No tile of these short logs is full.
struct NoTiles;

impl TileSource for NoTiles {
    fn tile(&self, _: u8, _: u64) -> Result<Option<Vec<Hash>>, SourceError> {
        Ok(None)
    }
}

impl Thief {
    /// Lets an honest restart of `worker` run to its end, stops the gate, and takes what it had.
    async fn after_an_honest_run(scene: &mut Scene) -> Self {
        scene.stage.until("the unit runs", || scene.stage.starts("worker") == 1);
        let (status, proposed) = scene.stage.propose("worker").await;
        assert!([201, 202].contains(&status), "{proposed}");
        if let Some(hold) = proposed["hold"].as_str() {
            let body = serde_json::to_value(consent::signed(&scene.stage, hold).await).unwrap();
            let ada = scene.stage.person("ada");
            assert_eq!(consent::post(&scene.stage, hold, &ada, &body).await, 200);
        }
        let id = proposed["id"].as_str().unwrap().to_owned();
        assert_eq!(scene.stage.ended(&id).await, "succeeded", "{}", scene.stage.log());
        assert_eq!(scene.stage.starts("worker"), 2);
        let entries = entries(scene).await;
        scene.stage.kill();
        let keys = scene.stage.root().join("roles/gate/data/keys");
        let key = |purpose: KeyUse, name: &str| {
            Ed25519Key::from_seed(name, &Seed::load(&purpose.path(&keys)).unwrap()).unwrap()
        };
        let permit_key = key(KeyUse::Permit, "permit-1");
        let records: Vec<_> = entries.iter().map(|bytes| Record::parse(bytes).unwrap()).collect();
        let jws = records.iter().find_map(|record| match &record.body {
            Body::Permitted { jws, .. } => Some(jws.clone()),
            _ => None,
        });
        let jws = jws.unwrap();
        let grant = Permit::open(&jws, &permit_key.public_key()).unwrap().grant().clone();
        let plan = records.iter().find_map(|record| match &record.body {
            Body::Proposed { plan, .. } => Some(Plan::clone(plan)),
            _ => None,
        });
        let intent = records.iter().position(|record| matches!(record.body, Body::Claimed { .. })).unwrap();
        let gate = scene.files("gate");
        let role = |role: &str| RoleClient::new(scene.client(&gate, role), &scene.url(role));
        Self {
            permit_key,
            log_key: key(KeyUse::Checkpoint, "test.example/log"),
            issuer: role("issuer"),
            executor: role("executor"),
            observer: role("observer"),
            entries,
            grant,
            jws,
            plan: plan.unwrap(),
            intent,
        }
    }

    /// A plan for the same, on the target as it is now: the thief has the gate's way to the observer, too.
    async fn plan_now(&self, scene: &Scene) -> Plan {
        let step = self.plan.steps()[0].clone();
        let inventory: Value =
            serde_saphyr::from_str(&fs::read_to_string(scene.stage.path("inventory.yaml")).unwrap()).unwrap();
        let place =
            inventory["targets"].as_array().unwrap().iter().find(|target| target["id"] == "worker").unwrap();
        let place: holdpoint_domain::target::Target = serde_json::from_value(place.clone()).unwrap();
        let ask = wire::Observe {
            action: step.action.clone(),
            entry: step.entry,
            target: step.target.clone(),
            place: Digest::of(&place).unwrap(),
            nonce: Digest::of_bytes(b"any"),
        };
        let seen: wire::Answered<wire::Seen> = self.observer.call("/v1/observe", &ask, LIMIT).await.unwrap();
        let seen: holdpoint_app::port::Observation = seen.answer.into();
        let step = holdpoint_domain::plan::Step { expected_version: seen.version, ..step };
        Plan::new(self.plan.requester().clone(), None, self.plan.trigger().clone(), vec![step]).unwrap()
    }

    /// A grant of the thief's own for a plan, without people.
    fn grant(&self, plan: &Plan, number: u64) -> Grant {
        let now = SystemClock::new().now();
        let after = |secs: u32| now.plus(Millis::secs(secs)).unwrap();
        Grant {
            id: id(&format!("permit-stolen-{number}")),
            plan_id: id(&format!("plan-stolen-{number}")),
            plan: plan.digest().unwrap(),
            tier: Tier::T2,
            terms: None,
            approvals: Vec::new(),
            nonce: id(&format!("nonce-stolen-{number}")),
            epoch: self.grant.epoch + number,
            granted_at_ms: Timestamp::from_ms(now.ms() - 10).unwrap(),
            start_before_ms: after(300),
            undo_until_ms: after(300),
            ..self.grant.clone()
        }
    }

    fn sign(&self, grant: &Grant) -> String {
        let input = grant.signing_input("permit-1").unwrap();
        compact(&input, &self.permit_key.sign(input.as_bytes()))
    }

    /// The intent of a grant's run, as the gate would record it.
    fn record_of(&self, grant: &Grant) -> Vec<u8> {
        let honest = Record::parse(&self.entries[self.intent]).unwrap();
        let Body::Claimed { facts, footprint, .. } = honest.body else { panic!("no intent") };
        let body = Body::Claimed {
            permit: grant.id.clone(),
            permit_digest: Digest::of_bytes(self.sign(grant).as_bytes()),
            nonce: grant.nonce.clone(),
            epoch: grant.epoch,
            executors: grant.executors.keys().cloned().collect(),
            facts,
            footprint,
        };
        Record::new(honest.at_ms, honest.actor, Some(grant.plan_id.clone()), body).bytes().unwrap()
    }

    /// The proof of entry `index` of a ledger, which the thief signs, from `old_size` on.
    fn proof(&self, entries: &[Vec<u8>], index: usize, old_size: u64) -> wire::Intent {
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut tree = Tree::new();
        tree.append_all(&leaves).unwrap();
        let size = tree.size();
        let head = Checkpoint::new("test.example/log", size, tree.root()).unwrap();
        let at = u64::try_from(index).unwrap();
        let texts = |hashes: Vec<Hash>| hashes.iter().map(ToString::to_string).collect();
        let consistency = if old_size == 0 || old_size > size {
            Vec::new()
        } else {
            tree.consistency_proof(&NoTiles, old_size, size).unwrap()
        };
        wire::Intent {
            index: at,
            entry: String::from_utf8(entries[index].clone()).unwrap(),
            inclusion: texts(tree.inclusion_proof(&NoTiles, at, size).unwrap()),
            checkpoint: SignedCheckpoint::sign(&head, &[&self.log_key]).unwrap().to_string(),
            old_size,
            consistency: texts(consistency),
        }
    }

    fn lease_of(&self, grant: &Grant, plan: &Plan) -> LeaseInfo {
        let scope = |step: &holdpoint_domain::plan::Step| Scope {
            action: step.action.clone(),
            target: step.target.clone(),
        };
        LeaseInfo {
            id: id(&format!("lease-of-{}", grant.id)),
            backend: None,
            permit: grant.id.clone(),
            scopes: plan.steps().iter().map(scope).collect(),
            expires_at_ms: SystemClock::new().now().plus(Millis::secs(120)).unwrap().min(grant.undo_until_ms),
        }
    }

    /// Asks the issuer for a lease, then the executor for the step; with a lease of its own making where there is none. Each may
    /// name the size that it wants the ledger proven from.
    async fn act(
        &self,
        grant: &Grant,
        plan: &Plan,
        ledger: &[Vec<u8>],
        index: usize,
    ) -> [Result<wire::Outcome, CallError>; 2] {
        let (jws, info) = (self.sign(grant), self.lease_of(grant, plan));
        self.act_with(&jws, info, plan, ledger, index).await
    }

    async fn act_with(
        &self,
        jws: &str,
        info: LeaseInfo,
        plan: &Plan,
        ledger: &[Vec<u8>],
        index: usize,
    ) -> [Result<wire::Outcome, CallError>; 2] {
        let leased = self.proven(ledger, index, async |intent| {
            let body = wire::Issue { info: info.clone(), jws: jws.to_owned(), plan: plan.clone(), intent };
            self.issuer.call::<wire::Sealed>("/v1/leases", &body, LIMIT).await
        });
        let leased = leased.await;
        let sealed = leased.as_ref().map_or("AAAA.AAAA".to_owned(), |lease| lease.sealed.clone());
        let done = self.proven(ledger, index, async |intent| {
            let body = wire::Work {
                jws: jws.to_owned(),
                plan: plan.clone(),
                step: 0,
                lease: info.clone(),
                sealed: sealed.clone(),
                from: None,
                intent,
            };
            self.executor.call::<wire::Outcome>("/v1/steps/apply", &body, LIMIT).await
        });
        [leased.map(|_| wire::Outcome::Done), done.await]
    }

    async fn proven<T>(
        &self,
        ledger: &[Vec<u8>],
        index: usize,
        ask: impl AsyncFn(wire::Intent) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        match ask(self.proof(ledger, index, 0)).await {
            Err(CallError::Behind { size }) => ask(self.proof(ledger, index, size)).await,
            answer => answer,
        }
    }
}

async fn entries(scene: &Scene) -> Vec<Vec<u8>> {
    let token = scene.stage.person("ada");
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let url = scene.stage.url(&format!("/v1/ledger/entries?first={}&limit=200", found.len()));
        let text = crate::suite::stage::client()
            .get(url)
            .bearer_auth(&token)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        // The records byte for byte: they are hashed as they stand.
        let page: Page = serde_json::from_str(&text).unwrap();
        if page.entries.is_empty() {
            return found;
        }
        found.extend(page.entries.iter().map(|entry| entry.record.get().as_bytes().to_vec()));
    }
}

#[derive(serde::Deserialize)]
struct Page {
    entries: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    record: Box<serde_json::value::RawValue>,
}

/// Both must refuse, for this reason, and nothing may have happened.
fn assert_refused(scene: &Scene, what: &str, answers: &[Result<wire::Outcome, CallError>; 2], reason: &str) {
    for (role, answer) in ["issuer", "executor"].iter().zip(answers) {
        match answer {
            Err(CallError::Refused { detail, .. }) => {
                assert!(detail.contains(reason), "{what}: {role}: {detail}")
            }
            other => panic!("{what}: {role}: {other:?}"),
        }
    }
    assert_eq!(scene.stage.starts("worker"), 2, "{what}: the target was touched");
}

/// The effect is there, once. What was started says so itself, and nobody waited for that.
fn has_started_again(scene: &Scene) {
    scene.stage.until("the unit runs anew", || scene.stage.starts("worker") >= 3);
    assert_eq!(scene.stage.starts("worker"), 3);
}

#[tokio::test]
async fn inv04_a_stolen_gate_cannot_forge_consent() {
    let mut scene = Scene::started("T3");
    let thief = Thief::after_an_honest_run(&mut scene).await;
    let plan = thief.plan_now(&scene).await;
    // On record, in a ledger that continues what everybody saw: only the consent is wrong.
    let act = async |grant: &Grant| {
        let ledger = [thief.entries.clone(), vec![thief.record_of(grant)]].concat();
        thief.act(grant, &plan, &ledger, thief.entries.len()).await
    };
    let nobody = thief.grant(&plan, 1);
    assert_refused(&scene, "a tier below the floor", &act(&nobody).await, "floor");
    let nobody = Grant { tier: Tier::T3, ..nobody };
    assert_refused(&scene, "nobody's consent", &act(&nobody).await, "approvals");
    // Terms as the gate would make them, signed by somebody else in Ada's name.
    let terms = HoldTerms {
        plan: nobody.plan,
        nonce: id("once-stolen"),
        expires_at_ms: nobody.start_before_ms,
        ..thief.grant.terms.clone().unwrap()
    };
    let forge = |key: &Ed25519Key, person: &str| {
        let statement = Statement::new(terms.clone(), id(person), Choice::Approve);
        let signature = key.sign(&statement.signing_bytes().unwrap()).into();
        Grant {
            terms: Some(terms.clone()),
            approvals: vec![SignedStatement { statement, signature }],
            ..nobody.clone()
        }
    };
    let own = Ed25519Key::from_seed("approval", &Seed::fresh()).unwrap();
    assert_refused(&scene, "forged by a fresh key", &act(&forge(&own, "ada")).await, "approvals");
    assert_refused(
        &scene,
        "forged by the permit key",
        &act(&forge(&thief.permit_key, "ada")).await,
        "approvals",
    );
    assert_refused(&scene, "somebody whom nobody pinned", &act(&forge(&own, "mallory")).await, "approvals");
    // What Ada once signed, for the plan of that time.
    let earlier = Grant {
        terms: thief.grant.terms.clone(),
        approvals: thief.grant.approvals.clone(),
        ..nobody.clone()
    };
    assert_refused(&scene, "an earlier consent", &act(&earlier).await, "approvals");
    // The control: Ada signs these very terms.
    let ada = Seed::load(&scene.stage.root().join("people/ada.key")).unwrap();
    let ada = Ed25519Key::from_seed("approval", &ada).unwrap();
    let [leased, done] = act(&forge(&ada, "ada")).await;
    assert!(leased.is_ok() && matches!(done, Ok(wire::Outcome::Done)), "{leased:?} {done:?}");
    has_started_again(&scene);
}

#[tokio::test]
async fn inv06_inv11_t39_a_stolen_gate_cannot_rewrite_the_ledger_or_act_off_the_record() {
    let mut scene = Scene::started("T1");
    let thief = Thief::after_an_honest_run(&mut scene).await;
    let plan = thief.plan_now(&scene).await;
    // An action that needs no person, so that only the record is wrong.
    let grant = thief.grant(&plan, 1);
    let record = thief.record_of(&grant);
    let end = thief.entries.len();

    // Off the record: the intent of another run, any other record, an intent that is not in the tree.
    let ledger = [thief.entries.clone(), vec![record.clone()]].concat();
    assert_refused(
        &scene,
        "another run's intent",
        &thief.act(&grant, &plan, &ledger, thief.intent).await,
        "not the intent",
    );
    // A permit of the thief's own under every name of the honest one, whose intent is there for all to see.
    let renamed = Grant {
        id: thief.grant.id.clone(),
        plan_id: thief.grant.plan_id.clone(),
        nonce: thief.grant.nonce.clone(),
        epoch: thief.grant.epoch,
        ..grant.clone()
    };
    assert_refused(
        &scene,
        "the honest run's names",
        &thief.act(&renamed, &plan, &thief.entries, thief.intent).await,
        "not the intent",
    );
    assert_refused(&scene, "the genesis", &thief.act(&grant, &plan, &ledger, 0).await, "not the intent");
    let absent = async |intent: wire::Intent| {
        let honest = thief.proof(&thief.entries, thief.intent, intent.old_size);
        wire::Intent { entry: String::from_utf8(record.clone()).unwrap(), ..honest }
    };
    let jws = thief.sign(&grant);
    let body = wire::Issue {
        info: thief.lease_of(&grant, &plan),
        jws: jws.clone(),
        plan: plan.clone(),
        intent: absent(thief.proof(&ledger, end, 0)).await,
    };
    let answer = thief.issuer.call::<wire::Sealed>("/v1/leases", &body, LIMIT).await;
    assert!(
        matches!(&answer, Err(CallError::Refused { detail, .. }) if detail.contains("not proven")),
        "{answer:?}"
    );

    // Another history, signed with the very key of the log: longer than the one that was seen, as long, and shorter.
    let mut forked = ledger.clone();
    forked[thief.intent] = thief.record_of(&thief.grant(&plan, 9));
    assert_refused(&scene, "a fork", &thief.act(&grant, &plan, &forked, end).await, "does not continue");
    let mut short = thief.entries[..2].to_vec();
    short.push(record.clone());
    for answer in thief.act(&grant, &plan, &short, 2).await {
        assert!(matches!(answer, Err(CallError::Refused { .. } | CallError::Behind { .. })), "{answer:?}");
    }
    assert_eq!(scene.stage.starts("worker"), 2);
    // It is kept, and said loudly.
    for role in ["issuer", "executor"] {
        let ledger = fs::read_dir(scene.stage.path(&format!("roles/{role}/data/ledger"))).unwrap();
        let kept =
            ledger.flatten().filter(|file| file.file_name().to_string_lossy().ends_with(".evidence")).count();
        assert!(kept >= 1, "{role}");
        assert!(scene.log(role).contains("CONTRADICTS ITSELF"), "{}", scene.log(role));
    }
    // They remember after a kill.
    for role in ["issuer", "executor"] {
        scene.kill(role);
        scene.start(role, None);
    }
    assert_refused(
        &scene,
        "a fork after a restart",
        &thief.act(&grant, &plan, &forked, end).await,
        "does not continue",
    );

    // The control, and what a stolen gate keeps: on the record, it can have done what needs no person.
    let [leased, done] = thief.act(&grant, &plan, &ledger, end).await;
    assert!(leased.is_ok() && matches!(done, Ok(wire::Outcome::Done)), "{leased:?} {done:?}");
    has_started_again(&scene);
}

#[tokio::test]
async fn inv06_t09_a_stolen_gate_cannot_replay_a_permit_or_use_anothers() {
    let mut scene = Scene::started("T1");
    let thief = Thief::after_an_honest_run(&mut scene).await;
    // The permit of the honest run, with its own intent, again: it may be leased for an undo, and does nothing.
    let info = thief.lease_of(&thief.grant, &thief.plan);
    let [_, again] = thief.act_with(&thief.jws, info, &thief.plan, &thief.entries, thief.intent).await;
    assert!(!matches!(again, Err(CallError::Unknown(_))), "{again:?}");
    assert_eq!(scene.stage.starts("worker"), 2, "a replay restarted it: {again:?}");

    // One that names another executor, is over, or was signed by another key: on record each time, one after the other.
    let plan = thief.plan_now(&scene).await;
    let past = SystemClock::new().now();
    let others = BTreeMap::from([(id("flags"), thief.permit_key.public_key().thumbprint())]);
    let over = thief.grant(&plan, 1);
    let over = Grant {
        granted_at_ms: Timestamp::from_ms(past.ms() - 2_000).unwrap(),
        start_before_ms: Timestamp::from_ms(past.ms() - 1_000).unwrap(),
        undo_until_ms: Timestamp::from_ms(past.ms() - 1_000).unwrap(),
        ..over
    };
    let forged = thief.grant(&plan, 2);
    let elsewhere = Grant { executors: others, ..thief.grant(&plan, 3) };
    let records = [&over, &forged, &elsewhere].map(|grant| thief.record_of(grant));
    let ledger = [thief.entries.clone(), records.to_vec()].concat();
    let at = thief.entries.len();
    for answer in thief.act(&over, &plan, &ledger, at).await {
        assert!(
            matches!(answer, Err(CallError::Refused { .. }) | Ok(wire::Outcome::Refused { .. })),
            "{answer:?}"
        );
    }
    let input = forged.signing_input("permit-1").unwrap();
    let own = Ed25519Key::from_seed("permit-1", &Seed::fresh()).unwrap();
    let jws = compact(&input, &own.sign(input.as_bytes()));
    let answers = thief.act_with(&jws, thief.lease_of(&forged, &plan), &plan, &ledger, at + 1).await;
    assert_refused(&scene, "another key's permit", &answers, "permit: ");
    let [_, done] = thief.act(&elsewhere, &plan, &ledger, at + 2).await;
    match done {
        Ok(wire::Outcome::Refused { why }) => assert!(why.contains("executor"), "{why}"),
        other => panic!("another executor's permit: {other:?}"),
    }
    assert_eq!(scene.stage.starts("worker"), 2);
}

#[tokio::test]
async fn inv04_t05_a_stolen_gate_makes_no_second_permit_of_one_consent() {
    use holdpoint_adapters::step::{Moment, Step};
    let mut scene = Scene::laid_out("T3", "development: true");
    for role in super::scene::OTHERS {
        scene.start(role, None);
    }
    scene.stage.start();
    let thief = Thief::after_an_honest_run(&mut scene).await;
    let plan = thief.plan_now(&scene).await;
    // Consent of a person to the plan as it would run now, and two permits over it: each signed, each on record.
    let grant = Grant { tier: Tier::T3, ..thief.grant(&plan, 1) };
    let terms = HoldTerms {
        plan: grant.plan,
        nonce: id("once-for-both"),
        expires_at_ms: grant.start_before_ms,
        ..thief.grant.terms.clone().unwrap()
    };
    let ada = Seed::load(&scene.stage.root().join("people/ada.key")).unwrap();
    let ada = Ed25519Key::from_seed("approval", &ada).unwrap();
    let statement = Statement::new(terms.clone(), id("ada"), Choice::Approve);
    let signature = ada.sign(&statement.signing_bytes().unwrap()).into();
    let approvals = vec![SignedStatement { statement, signature }];
    let first = Grant { terms: Some(terms), approvals, ..grant };
    let second =
        Grant { id: id("permit-second"), nonce: id("nonce-second"), epoch: first.epoch + 1, ..first.clone() };
    let ledger = [thief.entries.clone(), vec![thief.record_of(&first), thief.record_of(&second)]].concat();
    let at = thief.entries.len();
    let lease = async |grant: &Grant, index: usize| {
        let (jws, info) = (thief.sign(grant), thief.lease_of(grant, &plan));
        let ask = async |intent| {
            let body = wire::Issue { info: info.clone(), jws: jws.clone(), plan: plan.clone(), intent };
            thief.issuer.call::<wire::Sealed>("/v1/leases", &body, LIMIT).await
        };
        thief.proven(&ledger, index, ask).await
    };
    // An issuer that is killed around its memory of the consent: the first permit is leased for again, and stays the only one.
    for moment in [Moment::Before, Moment::Unreported] {
        scene.kill("issuer");
        scene.start("issuer", Some(&crate::suite::crash::drill(Step::ConsentKeep, moment, 1)));
        assert!(lease(&first, at).await.is_err(), "{moment:?}");
        scene.started_anew("issuer");
    }
    // The lease of before may have come to the book: another one of the same permit.
    let again = LeaseInfo { id: id("lease-again"), ..thief.lease_of(&first, &plan) };
    let [leased, done] = thief.act_with(&thief.sign(&first), again, &plan, &ledger, at).await;
    assert!(leased.is_ok() && matches!(done, Ok(wire::Outcome::Done)), "{leased:?} {done:?}");
    has_started_again(&scene);
    let refused = |answer: Result<wire::Sealed, CallError>| match answer {
        Err(CallError::Refused { detail, .. }) => assert!(detail.contains("one consent"), "{detail}"),
        other => panic!("{other:?}"),
    };
    refused(lease(&second, at + 1).await);
    scene.kill("issuer");
    scene.start("issuer", None);
    refused(lease(&second, at + 1).await);
    assert!(scene.log("issuer").contains("A SECOND PERMIT"), "{}", scene.log("issuer"));
}
