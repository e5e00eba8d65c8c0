//! Introspection: whether a permit, or what was passed on of it, is good now.

use std::collections::BTreeMap;

use holdpoint_app::{
    fake::{
        FakeSigner, Issuing, LEASE_SEED, Setup, Stage,
        controls::{EXECUTOR, id},
        session,
    },
    gate::Controls,
    halt::{halt, resume},
    introspect::{self, Active, GoodFor, introspect},
    port::{Clock as _, Signer as _},
    revoke,
    run::run,
    view::PlanView,
};
use holdpoint_domain::{
    Digest, Id, Millis,
    agent::Registry,
    bearer::{Claims, Detail, Filled, Granted},
    flow::State,
    halt::Reach,
    id::kind,
    narrow::{Chain, Narrowing, extended},
    permit::compact,
    plan::Plan,
};

use super::support::{end_of_halt, poll_until, proposed, run_it, started, wait};

/// The seed of the fake executors' key.
const KEY: u8 = 3;

fn permit(stage: &Stage, plan: &super::support::Plan) -> String {
    wait(PlanView::read(stage.store.as_ref(), plan)).unwrap().permit.unwrap()
}

fn asked(stage: &Stage, token: &str) -> Option<Active> {
    wait(introspect(&stage.gate, token, None)).unwrap()
}

/// What the executor passes on to another key: the first step, for ten seconds.
fn passed_on(stage: &Stage, jws: &str, by: u8) -> String {
    let until = stage.clock.now().plus(Millis::secs(10)).unwrap();
    let holder = FakeSigner::new(by);
    let link = Narrowing {
        parent: Digest::of_bytes(jws.as_bytes()),
        by: holder.public_key(),
        executor: id(EXECUTOR),
        key: FakeSigner::new(77).public_key().thumbprint(),
        steps: [0].into(),
        start_before_ms: until,
        undo_until_ms: until,
    };
    extended(jws, &link, &holder.sign(link.signing_input().unwrap().as_bytes())).unwrap()
}

#[test]
fn inv02_a_permit_is_active_from_its_grant_to_the_end_of_its_run() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let jws = permit(&stage, &plan);
    let active = asked(&stage, &jws).unwrap();
    assert_eq!((active.state, active.plan_id.clone()), (State::Permitted, plan.clone()));
    assert_eq!(
        (active.steps, active.good_for),
        ([0].into(), GoodFor::Apply),
        "the one step that the plan has"
    );
    assert_eq!(active.key, FakeSigner::new(KEY).public_key().thumbprint());
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    assert!(asked(&stage, &jws).is_none());
}

/// A bearer lease as an issuer would sign it: of this id, a minute long; none of these steps where it is a control.
fn bearer(stage: &Stage, by: u8, lease: &Id<kind::Lease>, grant: Option<Granted>) -> String {
    bearer_with(stage, by, lease, grant, Vec::new())
}

fn bearer_with(
    stage: &Stage,
    by: u8,
    lease: &Id<kind::Lease>,
    grant: Option<Granted>,
    authorization_details: Vec<Detail>,
) -> String {
    let now = stage.clock.now().ms().div_euclid(1000);
    let claims = Claims {
        iss: "gate".to_owned(),
        aud: "runner".to_owned(),
        sub: id(EXECUTOR),
        client_id: id(EXECUTOR),
        iat: now,
        nbf: now,
        exp: now + if grant.is_some() { 60 } else { 30 },
        jti: lease.clone(),
        cnf: None,
        grant,
        authorization_details,
    };
    let (named, signer) = (FakeSigner::new(LEASE_SEED).public_key(), FakeSigner::new(by));
    let input = claims.signing_input(&named).unwrap();
    compact(&input, &signer.sign(input.as_bytes()))
}

/// The permit and the plan of a run, as its leases name them.
fn granted(stage: &Stage, plan: &Id<kind::Plan>) -> Granted {
    let jws = permit(stage, plan);
    let grant = Chain::open(&jws, &stage.gate.permit_keys()).unwrap().permit().grant().clone();
    Granted { permit: grant.id, plan: grant.plan, epoch: grant.epoch }
}

fn planned(stage: &Stage, plan: &Id<kind::Plan>) -> Plan {
    wait(PlanView::read(stage.store.as_ref(), plan)).unwrap().plan
}

fn lease_asked(stage: &Stage, token: &str) -> bool {
    wait(introspect::lease(&stage.gate, token)).unwrap().is_some()
}

#[test]
fn inv08_a_bearer_lease_is_active_while_its_run_needs_it_and_nobody_ends_it() {
    let stage = started(Setup::default());
    stage.world.issuing(Issuing { lasting: true, ..Issuing::default() });
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "rehearsed");
    let lease = stage.world.live_leases()[0].clone();
    let grant = || Some(granted(&stage, &plan));
    let token = bearer(&stage, LEASE_SEED, &lease, grant());
    assert!(lease_asked(&stage, &token));
    // Another key, another lease, a text that is none, and a permit's key.
    assert!(!lease_asked(&stage, &bearer(&stage, 66, &lease, grant())));
    assert!(!lease_asked(&stage, &bearer(&stage, 1, &lease, grant())));
    assert!(!lease_asked(&stage, &bearer(&stage, LEASE_SEED, &id("lease-9"), grant())));
    for garbage in ["", "a.b.c", &token[1..], &format!("{token}="), &permit(&stage, &plan)] {
        assert!(!lease_asked(&stage, garbage), "{garbage}");
    }
    // Whoever stole the issuer's key and copies the id of a lease that lives: another permit, another plan, another step.
    let honest = granted(&stage, &plan);
    let others = [
        Granted { permit: id("permit-of-another"), ..honest.clone() },
        Granted { plan: Digest::of_bytes(b"another"), ..honest.clone() },
    ];
    for other in others {
        assert!(!lease_asked(&stage, &bearer(&stage, LEASE_SEED, &lease, Some(other.clone()))), "{other:?}");
    }
    let detail = |action: &str, target: &str, parameters: serde_json::Value| -> Detail {
        serde_json::from_value(serde_json::json!({"type": "holdpoint_job", "actions": [action],
            "identifier": target, "parameters": parameters, "runs": []}))
        .unwrap()
    };
    let step = &planned(&stage, &plan).steps()[0].clone();
    let parameters: BTreeMap<_, _> =
        step.params.iter().map(|(name, value)| (name, Filled::of(value).unwrap())).collect();
    let parameters = serde_json::to_value(parameters).unwrap();
    let with = |detail: Detail| bearer_with(&stage, LEASE_SEED, &lease, Some(honest.clone()), vec![detail]);
    assert!(lease_asked(&stage, &with(detail("flag.switch", "worker-1", parameters.clone()))));
    for other in [
        detail("process.restart", "worker-1", parameters.clone()),
        detail("flag.switch", "worker-2", parameters),
        detail("flag.switch", "worker-1", serde_json::json!({"more": true})),
    ] {
        assert!(!lease_asked(&stage, &with(other.clone())), "{other:?}");
    }
    // A control opens nothing, whatever lives.
    assert!(lease_asked(&stage, &bearer(&stage, LEASE_SEED, &id("control-1"), None)));

    wait(halt(&stage.gate, &session("carol"), Reach::Hard)).unwrap();
    assert!(!lease_asked(&stage, &token));
    wait(resume(&stage.gate, &session("bob"), end_of_halt(&stage, "bob"))).unwrap();
    assert!(lease_asked(&stage, &token));
    // Somebody wants its end. It is not proven yet, and nobody who asks is told that it is good.
    assert_eq!(wait(revoke::ask(&stage.gate, &session("carol"), &lease)), Ok(false));
    assert_eq!(stage.world.live_leases().len(), 1);
    assert!(!lease_asked(&stage, &token));
}

#[test]
fn t25_a_bearer_lease_is_not_active_after_its_end_and_a_control_lives_shortly() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "rehearsed");
    let lease = stage.world.live_leases()[0].clone();
    let token = bearer(&stage, LEASE_SEED, &lease, Some(granted(&stage, &plan)));
    let control = bearer(&stage, LEASE_SEED, &id("control-1"), None);
    assert!(lease_asked(&stage, &token) && lease_asked(&stage, &control));
    stage.clock.advance(Millis::secs(31));
    assert!(lease_asked(&stage, &token) && !lease_asked(&stage, &control));
    stage.clock.advance(Millis::secs(30));
    assert!(!lease_asked(&stage, &token));
}

#[test]
fn inv15_no_permit_is_active_in_a_halt() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let jws = permit(&stage, &plan);
    let carol = session("carol");
    wait(halt(&stage.gate, &carol, Reach::Soft)).unwrap();
    assert!(asked(&stage, &jws).is_none());
    let administrator = session("bob");
    wait(resume(&stage.gate, &administrator, end_of_halt(&stage, "bob"))).unwrap();
    assert!(asked(&stage, &jws).is_some());
}

#[test]
fn t26_a_permit_that_is_void_or_over_is_not_active() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let jws = permit(&stage, &plan);
    stage.clock.advance(Millis::secs(61));
    assert!(asked(&stage, &jws).is_none(), "before anybody has looked");
    assert_eq!(run_it(&stage, &plan), Ok(State::Expired));
    assert!(asked(&stage, &jws).is_none());
    for garbage in ["", "~", "a.b.c", &jws[1..], &format!("{jws}~"), &format!("{jws}~a.b.c")] {
        assert!(asked(&stage, garbage).is_none(), "{garbage}");
    }
}

#[test]
fn inv06_what_was_passed_on_is_active_as_far_as_it_goes() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let jws = permit(&stage, &plan);
    let chain = passed_on(&stage, &jws, KEY);
    let active = asked(&stage, &chain).unwrap();
    assert_eq!(active.key, FakeSigner::new(77).public_key().thumbprint());
    assert_eq!(active.steps, [0].into());
    assert!(asked(&stage, &passed_on(&stage, &jws, 78)).is_none(), "by somebody who does not hold it");
    let other = wait(introspect(&stage.gate, &chain, Some(&id("other")))).unwrap();
    assert!(other.is_none(), "in another executor's name");
    stage.clock.advance(Millis::secs(10));
    assert!(asked(&stage, &chain).is_none(), "the child is over");
    assert!(asked(&stage, &jws).is_some(), "the permit is not");
}

#[test]
fn inv15_in_a_halt_a_permit_is_good_for_the_undo_alone() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let jws = permit(&stage, &plan);
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "rehearsed");
    assert_eq!(asked(&stage, &jws).map(|active| active.good_for), Some(GoodFor::Apply));
    wait(halt(&stage.gate, &session("carol"), Reach::Soft)).unwrap();
    assert!(asked(&stage, &jws).is_none(), "nothing more is applied");

    let stage = started(Setup::default());
    let plan = proposed(&stage, "flag.switch", "worker-1").id;
    let jws = permit(&stage, &plan);
    let mut running = Box::pin(run(&stage.gate, &plan));
    poll_until(&stage, &mut running, "applied");
    wait(halt(&stage.gate, &session("carol"), Reach::Soft)).unwrap();
    assert_eq!(asked(&stage, &jws).map(|active| active.good_for), Some(GoodFor::Undo));
    wait(halt(&stage.gate, &session("carol"), Reach::Hard)).unwrap();
    assert!(asked(&stage, &jws).is_none());
}

/// Nobody has looked yet: the answer is that of now.
#[test]
fn t26_a_permit_of_somebody_who_left_or_of_a_replaced_key_is_not_active() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    let jws = permit(&stage, &plan);
    let after = |change: fn(&mut Controls)| {
        let mut controls = stage.setup.parts.clone().check();
        change(&mut controls);
        let gate = stage.gate.under(stage.gate.ports.clone(), controls).unwrap();
        wait(introspect(&gate, &jws, None)).unwrap()
    };
    assert!(after(|_| ()).is_some());
    assert!(after(|controls| controls.registry = Registry::new(Vec::new(), Vec::new()).unwrap()).is_none());
    let replaced = after(|controls| {
        let key = FakeSigner::new(78).public_key();
        controls.executor_keys.values_mut().for_each(|old| *old = key.clone());
    });
    assert!(replaced.is_none());
}
