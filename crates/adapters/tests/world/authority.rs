//! The executor's own check: each part of it broken one at a time.

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_adapters::{
    executor::{Authority, Refusal, Use, Warrant},
    system::Ed25519Key,
};
use holdpoint_app::port::Work;
use holdpoint_domain::{
    Digest, Tier, Timestamp,
    action::{Action, Catalogue},
    approval::Choice,
    id::kind,
    lease::{LeaseInfo, Scope},
    narrow::{Narrowing, extended},
    permit::Grant,
    plan::{ParamValue, Plan, Step},
};

use super::{
    scene::{
        approve, authority, bound, catalogue, grant, key, lease_info, passkey, plan, sign, signed,
        signed_by_key, unminted,
    },
    support::{NOW_MS, at, id},
};

/// Everything that goes into a check, to break one thing at a time.
struct Scene {
    authority: Authority,
    plan: Plan,
    grant: Grant,
    gate: Ed25519Key,
    /// Changes the compact permit after it was signed.
    tamper: fn(String) -> String,
    lease: LeaseInfo,
    step: usize,
    for_use: Use,
    now: Timestamp,
}

impl Scene {
    /// A sound permit for `action`, approved by these people.
    fn sound(action: &str, tier: Tier, people: &[&str]) -> Self {
        let catalogue = catalogue();
        let plan = plan(&catalogue, action, "web-1", Digest::of_bytes(b"version"));
        let mut grant = grant(&plan, tier, 1);
        if !people.is_empty() {
            approve(&mut grant, people);
        }
        let lease = lease_info(&grant, &plan);
        let authority = authority(catalogue, &["web-1"]);
        let tamper = std::convert::identity;
        let (step, for_use, now) = (0, Use::Apply, at(NOW_MS));
        Self { authority, plan, grant, gate: key("gate"), tamper, lease, step, for_use, now }
    }

    fn check(&self) -> Result<Warrant, Refusal> {
        let jws = (self.tamper)(sign(&self.grant, &self.gate));
        let lease = unminted(self.lease.clone());
        let work = Work { jws: &jws, plan: &self.plan, step: self.step, lease: &lease };
        self.authority.check(&work, self.for_use, self.now)
    }

    /// Replaces the plan's step and has a gate that goes along sign it.
    fn with_step(&mut self, change: impl FnOnce(&mut Step)) {
        let mut step = self.plan.steps()[0].clone();
        change(&mut step);
        self.resign(step, self.plan.trigger().clone());
    }

    fn resign(&mut self, step: Step, trigger: holdpoint_domain::Id<kind::Condition>) {
        let plan = Plan::new(self.plan.requester().clone(), None, trigger, vec![step]).unwrap();
        self.grant.plan = plan.digest().unwrap();
        self.plan = plan;
    }

    /// The executor's own catalogue, with one action changed.
    fn with_own_entry(&mut self, action: &str, change: impl Fn(&mut Action)) {
        let own = &self.authority.pins.catalogue;
        let actions = own.actions().cloned().map(|mut entry| {
            if entry.id.as_str() == action {
                change(&mut entry);
            }
            entry
        });
        let conditions = ["up", "hung"].map(|name| own.condition(&id(name)).unwrap().clone());
        self.authority.pins.catalogue =
            Arc::new(Catalogue::new(actions.collect(), conditions.into()).unwrap());
    }
}

type Break = fn(&mut Scene);

fn expect_refused(base: fn() -> Scene, cases: &[(&str, &str, Break)]) {
    base().check().unwrap();
    for (what, check, change) in cases {
        let mut scene = base();
        change(&mut scene);
        match scene.check() {
            Ok(_) => panic!("{what}: was let through"),
            Err(refusal) => {
                assert_eq!(refusal.check(), *check, "{what}: {}", refusal.line());
                assert!(refusal.line().starts_with(&format!("{check}: ")), "{what}");
            }
        }
    }
}

#[test]
fn inv06_each_check_alone_stops_a_permit_without_people() {
    let base = || Scene::sound("process.restart", Tier::T2, &[]);
    let cases: &[(&str, &str, Break)] = &[
        ("another key signed", "permit", |s| s.gate = key("mallory")),
        ("a byte was changed", "permit", |s| s.tamper = |jws| jws.replacen("eyJ", "eyK", 1)),
        ("a fourth part", "permit", |s| s.tamper = |jws| format!("{jws}.x")),
        ("padding", "permit", |s| s.tamper = |jws| format!("{jws}=")),
        ("nothing", "permit", |s| s.tamper = |_| String::new()),
        ("another plan", "plan", |s| {
            s.plan = plan(&s.authority.pins.catalogue, "process.stop", "web-1", Digest::of_bytes(b"version"));
        }),
        ("another version", "plan", |s| {
            s.plan =
                plan(&s.authority.pins.catalogue, "process.restart", "web-1", Digest::of_bytes(b"other"));
        }),
        ("another executor's permit", "executor", |s| s.grant.executors = bound("other")),
        ("another executor's name", "executor", |s| s.authority.name = id("other")),
        ("a permit that is bound to another key", "key", |s| {
            s.grant.executors.insert(id("process"), key("mallory").public_key().thumbprint());
        }),
        ("another key here", "key", |s| s.authority.key = key("mallory").public_key()),
        ("a link that nobody signed", "chain", |s| s.tamper = |jws| format!("{jws}~e30.e30.e30")),
        ("no such step", "step", |s| s.step = 1),
        ("an action that we do not know", "catalogue", |s| {
            s.with_step(|step| step.action = id("process.new"))
        }),
        ("another entry in the plan", "catalogue", |s| {
            s.with_step(|step| step.entry = Digest::of_bytes(b"x"))
        }),
        ("another entry here", "catalogue", |s| {
            s.with_own_entry("process.restart", |entry| entry.title = "changed".to_owned());
        }),
        ("another undo", "catalogue", |s| {
            s.with_step(|step| step.undo = holdpoint_domain::action::UndoKind::None);
        }),
        ("another trigger", "catalogue", |s| {
            let step = s.plan.steps()[0].clone();
            s.resign(step, id("up"));
        }),
        ("a parameter", "parameters", |s| {
            s.with_step(|step| step.params = BTreeMap::from([(id("force"), ParamValue::Bool(true))]));
        }),
        ("a tier below the floor", "floor", |s| s.grant.tier = Tier::T1),
        ("an action that is not listed", "allow-list", |s| {
            s.authority.actions.remove(&id("process.restart"));
        }),
        ("a target that is not listed", "allow-list", |s| s.authority.targets.clear()),
        ("a lease for another permit", "lease", |s| s.lease.permit = id("permit-2")),
        ("a lease for another action", "lease", |s| {
            s.lease.scopes = vec![Scope { action: id("process.stop"), target: id("web-1") }];
        }),
        ("a lease for another target", "lease", |s| s.lease.scopes[0].target = id("web-2")),
        ("a lease for nothing", "lease", |s| s.lease.scopes.clear()),
        ("a lease that is over", "lease", |s| s.lease.expires_at_ms = at(NOW_MS)),
        ("a lease that never was", "lease", |s| s.lease.expires_at_ms = at(0)),
        ("too late to start", "time", |s| {
            s.grant.start_before_ms = at(NOW_MS);
        }),
        ("a start that takes days", "time", |s| s.grant.granted_at_ms = at(NOW_MS - 24 * 60 * 60 * 1000)),
        ("a grant in the future", "time", |s| {
            s.grant.granted_at_ms = at(NOW_MS + 60_001);
            s.grant.start_before_ms = at(NOW_MS + 120_000);
            s.grant.undo_until_ms = at(NOW_MS + 180_000);
        }),
        ("a start before the grant", "time", |s| s.grant.granted_at_ms = s.grant.start_before_ms),
        // 1 ms to settle, 1 ms to soak, 1 ms to settle back and an hour to be undone, from the last start on.
        ("an undo later than the catalogue gives it", "time", |s| {
            s.grant.undo_until_ms = at(s.grant.start_before_ms.ms() + 3 + 60 * 60 * 1000 + 1);
        }),
        ("an undo before the start", "time", |s| s.grant.undo_until_ms = at(NOW_MS + 1)),
    ];
    expect_refused(base, cases);
}

/// The entry asks for three people, and the executor has a catalogue of its own: a gate that says that fewer are enough, or that an
/// entry asks for nobody, finds no executor that goes along.
#[test]
fn inv06_a_permit_with_fewer_people_than_its_entry_asks_for_is_refused() {
    let base = || Scene::sound("process.purge", Tier::T3, &["ben", "cleo", "dan"]);
    let cases: &[(&str, &str, Break)] = &[
        ("nobody", "approvals", |s| approve(&mut s.grant, &[])),
        ("one", "approvals", |s| approve(&mut s.grant, &["ben"])),
        ("two", "approvals", |s| approve(&mut s.grant, &["ben", "cleo"])),
        ("one of them twice", "approvals", |s| approve(&mut s.grant, &["ben", "cleo", "ben"])),
        ("the requester's person among them", "approvals", |s| {
            approve(&mut s.grant, &["ben", "cleo", "ada"]);
        }),
        ("a key that is not pinned any more", "approvals", |s| {
            s.authority.pins.approvers.remove(&id("dan"));
        }),
        ("at T4, keys in files", "approvals", |s| {
            s.grant.tier = Tier::T4;
            approve(&mut s.grant, &["ben", "cleo"]);
            let terms = s.grant.terms.clone().unwrap();
            s.grant.approvals.push(signed_by_key(&terms, "dan"));
        }),
        ("a plan of an entry that asks for nobody", "catalogue", |s| {
            let mut entry = s.authority.pins.catalogue.action(&id("process.purge")).unwrap().clone();
            entry.approvals = None;
            s.with_step(|step| step.entry = entry.digest().unwrap());
            approve(&mut s.grant, &["ben"]);
        }),
    ];
    expect_refused(base, cases);
}

/// What the executor passes on of the permit in a chain: to the key of a worker, with these bounds.
fn passed_on(s: &Scene, change: impl FnOnce(&mut Narrowing)) -> String {
    let parent = sign(&s.grant, &s.gate);
    let holder = key("executor");
    let mut link = Narrowing {
        parent: Digest::of_bytes(parent.as_bytes()),
        by: holder.public_key(),
        executor: id("process"),
        key: key("worker").public_key().thumbprint(),
        steps: [0].into(),
        start_before_ms: at(NOW_MS + 1000),
        undo_until_ms: at(NOW_MS + 2000),
    };
    change(&mut link);
    let signature = holder.sign(link.signing_input().unwrap().as_bytes());
    extended(&parent, &link, &signature).unwrap()
}

#[test]
fn inv06_what_was_passed_on_is_checked_like_the_permit() {
    let check = |chain: &str, scene: &Scene| {
        let lease = unminted(scene.lease.clone());
        let work = Work { jws: chain, plan: &scene.plan, step: 0, lease: &lease };
        scene.authority.check(&work, scene.for_use, scene.now).map_err(|refusal| refusal.check())
    };
    let mut scene = Scene::sound("process.restart", Tier::T2, &[]);
    let chain = passed_on(&scene, |_| ());
    assert_eq!(check(&chain, &scene).unwrap_err(), "key", "it is the worker's now");
    scene.authority.key = key("worker").public_key();
    assert!(check(&chain, &scene).is_ok());
    assert_eq!(
        check(&sign(&scene.grant, &scene.gate), &scene).unwrap_err(),
        "key",
        "the permit is not the worker's"
    );
    scene.now = at(NOW_MS + 1000);
    assert_eq!(check(&chain, &scene).unwrap_err(), "time", "the start window is the child's");
    scene.for_use = Use::Undo;
    assert!(check(&chain, &scene).is_ok());
    scene.now = at(NOW_MS + 2000);
    assert_eq!(check(&chain, &scene).unwrap_err(), "time", "so is the end");

    scene.now = at(NOW_MS);
    // The first step that is held has the start window, whatever its number.
    let later = passed_on(&scene, |link| link.steps = [0, 1].into());
    assert!(check(&later, &scene).is_ok());
    let other_step = passed_on(&scene, |link| link.steps = [1].into());
    assert_eq!(check(&other_step, &scene).unwrap_err(), "step");
    let wider = passed_on(&scene, |link| link.undo_until_ms = at(NOW_MS + 60 * 60 * 1000 + 1));
    assert_eq!(check(&wider, &scene).unwrap_err(), "chain");
}

#[test]
fn inv04_approvals_are_checked_against_keys_pinned_apart_from_the_gate() {
    let base = || Scene::sound("process.wipe", Tier::T3, &["ben"]);
    let cases: &[(&str, &str, Break)] = &[
        ("nobody", "approvals", |s| approve(&mut s.grant, &[])),
        ("no terms", "approvals", |s| s.grant.terms = None),
        ("no key is pinned", "approvals", |s| {
            s.authority.pins.approvers.remove(&id("ben"));
        }),
        ("another key is pinned", "approvals", |s| {
            s.authority.pins.approvers.insert(id("ben"), key("mallory").public_key().into());
        }),
        ("a stranger", "approvals", |s| approve(&mut s.grant, &["mallory"])),
        ("the requester's person", "approvals", |s| approve(&mut s.grant, &["ada"])),
        ("a rejection", "approvals", |s| {
            let terms = s.grant.terms.clone().unwrap();
            s.grant.approvals.push(signed(&terms, "cleo", Choice::Reject));
        }),
        ("a rejection in place of the approval", "approvals", |s| {
            let terms = s.grant.terms.clone().unwrap();
            s.grant.approvals = vec![signed(&terms, "ben", Choice::Reject)];
        }),
        ("an approval of another plan", "approvals", |s| {
            s.with_step(|step| step.expected_version = Digest::of_bytes(b"other"));
        }),
        ("an approval of another decision", "approvals", |s| s.grant.decision = Digest::of_bytes(b"other")),
        ("an approval of other facts", "approvals", |s| s.grant.facts = Digest::of_bytes(b"other")),
        ("an approval under another policy", "approvals", |s| s.grant.policy = Digest::of_bytes(b"other")),
        ("an approval of a lower tier", "approvals", |s| s.grant.tier = Tier::T4),
        ("terms that were signed otherwise", "approvals", |s| {
            if let Some(terms) = &mut s.grant.terms {
                terms.nonce = id("another");
            }
        }),
        ("an approval that ran out before the grant", "approvals", |s| {
            s.grant.granted_at_ms = s.grant.terms.as_ref().unwrap().expires_at_ms;
        }),
        ("a gate that says T2", "floor", |s| {
            s.grant.tier = Tier::T2;
            s.grant.terms = None;
            s.grant.approvals.clear();
        }),
    ];
    expect_refused(base, cases);
}

#[test]
fn inv04_a_gate_cannot_talk_an_action_down() {
    // Two people with passkeys that different acts enrolled, as the executor has them pinned.
    let two = |people: &[&str], change: fn(&mut Scene)| {
        let mut scene = Scene::sound("process.grant", Tier::T4, &[]);
        approve(&mut scene.grant, people);
        change(&mut scene);
        scene.check().map_err(|refusal| refusal.check())
    };
    assert!(two(&["ben", "cleo"], |_| ()).is_ok());
    assert_eq!(two(&["ben"], |_| ()).unwrap_err(), "approvals");
    assert_eq!(two(&["ben", "ben"], |_| ()).unwrap_err(), "approvals");
    let by_keys = |scene: &mut Scene| {
        let terms = scene.grant.terms.clone().unwrap();
        scene.grant.approvals = ["ben", "cleo"].map(|person| signed_by_key(&terms, person)).into();
    };
    assert_eq!(two(&["ben", "cleo"], by_keys).unwrap_err(), "approvals");
    let one_by_key = |scene: &mut Scene| {
        let terms = scene.grant.terms.clone().unwrap();
        scene.grant.approvals[1] = signed_by_key(&terms, "cleo");
    };
    assert_eq!(two(&["ben", "cleo"], one_by_key).unwrap_err(), "approvals");
    let of_one_act = |scene: &mut Scene| {
        let cleo = scene.authority.pins.approvers.get_mut(&id("cleo")).unwrap();
        cleo.passkeys[0].act = id("act-ben");
    };
    assert_eq!(two(&["ben", "cleo"], of_one_act).unwrap_err(), "approvals");
    let another_passkey = |scene: &mut Scene| {
        let cleo = scene.authority.pins.approvers.get_mut(&id("cleo")).unwrap();
        cleo.passkeys = vec![passkey("mallory").passkey];
    };
    assert_eq!(two(&["ben", "cleo"], another_passkey).unwrap_err(), "approvals");

    let never = Scene::sound("process.never", Tier::T5, &["ben", "cleo"]);
    assert_eq!(never.check().unwrap_err().check(), "floor");
    let other = Scene::sound("other.act", Tier::T2, &[]);
    assert_eq!(other.check().unwrap_err().check(), "executor");
}

#[test]
fn inv02_undo_has_an_end_of_its_own() {
    let mut scene = Scene::sound("process.stop", Tier::T2, &[]);
    scene.lease.expires_at_ms = at(NOW_MS + 24 * 60 * 60 * 1000);
    let check = |scene: &Scene| scene.check().map(|_| ()).map_err(|refusal| refusal.check());

    scene.now = scene.grant.start_before_ms;
    assert_eq!(check(&scene), Err("time"));
    scene.for_use = Use::Undo;
    assert_eq!(check(&scene), Ok(()));
    scene.now = scene.grant.undo_until_ms;
    assert_eq!(check(&scene), Err("time"));

    // What was in time when it was checked is asked again right before the write.
    scene.now = at(NOW_MS);
    let warrant = scene.check().unwrap();
    assert!(warrant.in_time(at(scene.grant.undo_until_ms.ms() - 1)).is_ok());
    assert_eq!(warrant.in_time(scene.grant.undo_until_ms).unwrap_err().check(), "time");
}
