//! Strangers: counted, summed up once an interval, and never able to fill the ledger.

use holdpoint_app::{
    fake::{Setup, Stage, controls::id},
    strangers::{INTERVAL, Strangers},
};
use holdpoint_domain::{Millis, record::Body};

use super::support::{audit, count, started, wait};

fn sealed(stage: &Stage, strangers: &Strangers) {
    wait(strangers.seal(&stage.gate)).unwrap();
}

/// Sums of all records: how many kinds, and how many requests.
fn told(stage: &Stage) -> Vec<(usize, u64)> {
    let sums = stage.store.records().into_iter().filter_map(|record| match record.body {
        Body::Strangers { turned_away, .. } => Some((turned_away.len(), turned_away.values().sum())),
        _ => None,
    });
    sums.collect()
}

#[test]
fn inv11_any_number_of_strangers_makes_one_record_an_interval() {
    let (stage, strangers) = (started(Setup::default()), Strangers::default());
    sealed(&stage, &strangers);
    for _ in 0..3 {
        for _ in 0..10_000 {
            strangers.count(&id("no-such-token"));
        }
        strangers.count(&id("malformed"));
        for _ in 0..5 {
            sealed(&stage, &strangers);
        }
        stage.clock.advance(INTERVAL);
        for _ in 0..5 {
            sealed(&stage, &strangers);
        }
    }
    assert_eq!(told(&stage), [(2, 10_001); 3]);
    // Nobody came: nothing is written.
    stage.clock.advance(INTERVAL);
    sealed(&stage, &strangers);
    assert_eq!(count(&stage, "strangers"), 3);
    audit(&stage);
}

#[test]
fn inv11_kinds_are_bounded_and_a_record_of_all_of_them_fits() {
    let (stage, strangers) = (started(Setup::default()), Strangers::default());
    sealed(&stage, &strangers);
    for number in 0..10_000 {
        strangers.count(&id(&format!("a-rule-with-a-long-name-that-somebody-made-up-{number}")));
    }
    stage.clock.advance(INTERVAL);
    sealed(&stage, &strangers);
    assert_eq!(told(&stage), [(64, 64)]);
    audit(&stage);
}

#[test]
fn inv11_counts_that_find_no_room_are_kept_with_the_time_they_began() {
    let (stage, strangers) = (started(Setup::default()), Strangers::default());
    sealed(&stage, &strangers);
    let began = stage.gate.ports.clock.now();
    strangers.count(&id("no-such-token"));
    stage.store.fill(10);
    stage.clock.advance(INTERVAL);
    wait(strangers.seal(&stage.gate)).unwrap_err();
    strangers.count(&id("no-such-token"));
    stage.clock.advance(INTERVAL);
    wait(strangers.seal(&stage.gate)).unwrap_err();
    stage.store.make_room();
    sealed(&stage, &strangers);
    assert_eq!(told(&stage), [(1, 2)]);
    let Body::Strangers { from_ms, until_ms, .. } = stage.store.records().pop().unwrap().body else {
        panic!("the last record tells of strangers")
    };
    assert_eq!((from_ms, until_ms), (began, stage.gate.ports.clock.now()));
}

#[test]
fn inv11_a_clock_that_was_set_back_does_not_hide_them() {
    let (stage, strangers) = (started(Setup::default()), Strangers::default());
    sealed(&stage, &strangers);
    strangers.count(&id("no-such-token"));
    stage.clock.step_back(Millis::secs(3_600));
    sealed(&stage, &strangers);
    assert_eq!(told(&stage), [(1, 1)]);
}
