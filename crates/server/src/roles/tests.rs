//! Which halt reaches which permit, in a role of its own.

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex};

use holdpoint_adapters::system::FileLatch;
use holdpoint_app::{
    approve::decide_hold,
    break_glass::{Emergency, break_glass},
    fake::{Stage, controls::id, decider, session, statement},
    port::{Clock as _, Latch as _},
    propose::propose,
    start::start,
};
use holdpoint_domain::{
    Id, Millis, Timestamp,
    approval::Choice,
    halt::{Halt, Reach},
    id::kind,
    narrow::Chain,
    plan::Plan,
};

use super::Halts;

/// A permit, as a role opens it, and its plan.
type Permitted = (Chain, Plan);

async fn opened(stage: &Stage, plan: &Id<kind::Plan>) -> Permitted {
    let view = stage.view(plan).await.unwrap();
    (Chain::open(&view.permit.unwrap(), &stage.gate.permit_keys()).unwrap(), view.plan)
}

/// What an agent was permitted, what people released beyond policy, and when both were granted.
async fn permits() -> (Permitted, Permitted, Timestamp) {
    let stage = Stage::default();
    start(&stage.gate).await.unwrap();
    let proposal = stage.proposal("flag.switch", "worker-1");
    let proposed = propose(&stage.gate, &decider("healer").into(), proposal).await.unwrap();
    let ordinary = opened(&stage, &proposed.id).await;
    let wanted = Emergency {
        action: id("flag.switch"),
        target: id("worker-2"),
        params: BTreeMap::new(),
        incident: None,
        reason: "the worker hangs and nobody can wait".to_owned(),
    };
    let asked = break_glass(&stage.gate, &session("alice"), wanted).await.unwrap();
    let terms = asked.terms.unwrap();
    for person in ["bob", "carol"] {
        let said = statement(person, &terms, Choice::Approve);
        decide_hold(&stage.gate, &session(person), &terms.hold, said).await.unwrap();
    }
    (ordinary, opened(&stage, &asked.id).await, stage.clock.now())
}

fn halts(dir: &Path) -> Halts {
    let at = |name: &str| FileLatch::new(dir.join(name));
    Halts { gate: at("halt-of-gate"), own: at("halt"), heard_at: Mutex::default() }
}

#[tokio::test]
async fn inv15_a_role_honours_every_halt_but_one_that_those_who_broke_the_glass_knew() {
    use Reach::{Hard, Soft};
    let (ordinary, emergency, granted) = permits().await;
    let tick = Millis::new(1).unwrap();
    let before = Timestamp::from_ms(granted.ms() - tick.ms()).unwrap();
    let after = granted.plus(tick).unwrap();
    // The gate's halt and its time; the role's own; how far it reaches for what an agent does, and for what people released.
    let cases = [
        (None, None, None, None),
        (Some((Soft, before)), None, Some(Soft), None),
        (Some((Hard, before)), None, Some(Hard), None),
        (Some((Soft, granted)), None, Some(Soft), Some(Soft)),
        (Some((Soft, after)), None, Some(Soft), Some(Soft)),
        (Some((Hard, after)), None, Some(Hard), Some(Hard)),
        (None, Some(Soft), Some(Soft), Some(Soft)),
        (None, Some(Hard), Some(Hard), Some(Hard)),
        (Some((Hard, before)), Some(Soft), Some(Hard), Some(Soft)),
        (Some((Soft, before)), Some(Hard), Some(Hard), Some(Hard)),
        (Some((Hard, after)), Some(Soft), Some(Hard), Some(Hard)),
    ];
    for (of_gate, own, for_agents, for_people) in cases {
        let dir = tempfile::tempdir().unwrap();
        let halts = halts(dir.path());
        if let Some((reach, at_ms)) = of_gate {
            halts.told(Some(&Halt { reach, by: Some(id("alice")), at_ms }), at_ms).unwrap();
        }
        if let Some(reach) = own {
            // Whoever has the machine in front of them.
            halts.own.set(&Halt { reach, by: None, at_ms: before }).unwrap();
        }
        let reach = |(chain, plan): &Permitted| halts.reach_for(chain, plan);
        let found = (reach(&ordinary), reach(&emergency));
        assert_eq!(found, (for_agents, for_people), "{of_gate:?} {own:?}");
    }
}

#[tokio::test]
async fn inv15_a_file_that_somebody_puts_into_a_roles_folder_stops_what_people_released_too() {
    let (ordinary, emergency, _) = permits().await;
    for name in ["halt", "halt-of-gate"] {
        let dir = tempfile::tempdir().unwrap();
        let halts = halts(dir.path());
        assert_eq!(halts.reach_for(&emergency.0, &emergency.1), None);
        fs::write(dir.path().join(name), "").unwrap();
        for (chain, plan) in [&ordinary, &emergency] {
            assert_eq!(halts.reach_for(chain, plan), Some(Reach::Soft), "{name}");
        }
    }
}

#[tokio::test]
async fn inv15_what_the_gate_says_of_a_later_halt_reaches_what_an_earlier_one_left_alone() {
    let (_, (chain, plan), granted) = permits().await;
    let dir = tempfile::tempdir().unwrap();
    let halts = halts(dir.path());
    let halt = |reach, ms| Halt { reach, by: Some(id("alice")), at_ms: Timestamp::from_ms(ms).unwrap() };
    let (before, after) = (halt(Reach::Hard, granted.ms() - 5), halt(Reach::Soft, granted.ms() + 5));
    halts.told(Some(&before), before.at_ms).unwrap();
    assert_eq!(halts.reach_for(&chain, &plan), None);
    halts.told(Some(&after), after.at_ms).unwrap();
    // A halt never softens: the hard one goes on, with the time of the later one.
    assert_eq!(halts.reach_for(&chain, &plan), Some(Reach::Hard));
}
