//! The store in memory keeps what the port promises, so that what is proven over it means something.

use holdpoint_app::{
    fake::{Failure, Setup, Stage, When, schedule::poll_at_most},
    port::{Store as _, StoreError, Txn},
    receipt::Receipt,
};
use holdpoint_domain::{
    actor::Actor,
    record::{Body, Record, Request},
};
use holdpoint_ledger::{TilePath, bundle::read_bundle, hash::Hash, leaf_hash, verify_consistency};

use super::support::{audit, proposed, run_it, started, wait};

fn refused(stage: &Stage) -> Record {
    let body =
        Body::Refused { request: Request::Claim, rule: holdpoint_app::fake::controls::id("some-rule") };
    Record::new(stage.gate.ports.clock.now(), Actor::Gate, None, body)
}

fn txn(stage: &Stage, essential: bool) -> Txn {
    Txn { records: vec![refused(stage)], essential, ..Txn::default() }
}

/// A stage whose log has more than one full tile.
fn long() -> Stage {
    let stage = started(Setup::default());
    for _ in 0..20 {
        let txn = Txn { records: vec![refused(&stage); 30], ..Txn::default() };
        wait(stage.store.append(txn)).unwrap();
    }
    stage
}

#[test]
fn a_long_log_is_sound_after_a_restart_and_proves_its_entries() {
    let mut stage = long();
    let old = stage.store.head();
    stage.restart();
    assert_eq!(stage.store.head(), old);
    let plan = proposed(&stage, "process.restart", "worker-1").id;
    run_it(&stage, &plan).unwrap();
    audit(&stage);
    let head = stage.store.head();
    for index in (0..head.size).step_by(37) {
        wait(Receipt::fetch(stage.store.as_ref(), index, &stage.store.log_key())).unwrap();
    }
    let proof = wait(stage.store.consistency(old.size, head.size)).unwrap();
    verify_consistency(old.size, old.root, head.size, head.root, &proof).unwrap();
}

#[test]
fn inv11_the_static_files_hold_the_whole_log() {
    let stage = long();
    let (head, entries) = (stage.store.head(), stage.store.all_entries());
    let file = |path: &str| wait(stage.store.log_file(path)).unwrap();
    assert_eq!(file("checkpoint").unwrap(), head.checkpoint.as_bytes());
    let mut read = 0;
    for path in holdpoint_ledger::tile::bundle_paths(head.size) {
        let bytes = file(&path.to_string()).unwrap();
        for entry in read_bundle(&bytes) {
            assert_eq!(entry.unwrap(), entries[read]);
            read += 1;
        }
    }
    assert_eq!(read as u64, head.size);
    for path in holdpoint_ledger::tile::tile_paths(head.size) {
        let bytes = file(&path.to_string()).unwrap();
        assert_eq!(bytes.len(), path.width() * Hash::BYTES);
    }
    let first = file(&TilePath::hashes(0, 0, 3).unwrap().to_string()).unwrap();
    let leaves: Vec<u8> = entries[..3].iter().flat_map(|entry| *leaf_hash(entry).as_bytes()).collect();
    assert_eq!(first, leaves, "a partial tile stays when it is full");
    for path in ["tile/0/999", "tile/entries/999", "tile/7/000", "nonsense", ""] {
        assert_eq!(file(path), None, "{path}");
    }
}

#[test]
fn faults_strike_once_and_as_they_say() {
    let mut stage = started(Setup::default());
    let size = stage.store.head().size;
    stage.store.fail(When::Nth(1), Failure::Full);
    wait(stage.store.append(txn(&stage, false))).unwrap();
    assert!(matches!(wait(stage.store.append(txn(&stage, false))), Err(StoreError::Full(_))));
    wait(stage.store.append(txn(&stage, false))).unwrap();
    assert_eq!(stage.store.head().size, size + 2);

    stage.store.fail(When::Nth(0), Failure::DoneButClosed);
    assert!(matches!(wait(stage.store.append(txn(&stage, false))), Err(StoreError::Closed(_))));
    assert!(matches!(wait(stage.store.append(txn(&stage, true))), Err(StoreError::Closed(_))));
    assert!(matches!(wait(stage.store.entries(0, 1)), Err(StoreError::Closed(_))));
    let old = std::sync::Arc::clone(&stage.store);
    stage.restart();
    assert_eq!(stage.store.head().size, size + 3);
    wait(stage.store.append(txn(&stage, false))).unwrap();
    // Two processes never write one log.
    assert!(matches!(wait(old.append(txn(&stage, false))), Err(StoreError::Closed(_))));
    audit(&stage);
}

#[test]
fn the_reserve_is_for_what_must_be_recorded() {
    let stage = started(Setup::default());
    stage.store.fill(2);
    for essential in [true, true] {
        assert!(matches!(wait(stage.store.append(txn(&stage, false))), Err(StoreError::Full(_))));
        wait(stage.store.append(txn(&stage, essential))).unwrap();
    }
    assert!(matches!(wait(stage.store.append(txn(&stage, true))), Err(StoreError::Full(_))));
    stage.store.make_room();
    wait(stage.store.append(txn(&stage, false))).unwrap();
}

#[test]
fn followers_see_nothing_before_it_is_there() {
    let stage = started(Setup::default());
    let size = stage.store.head().size;
    let mut grown = Box::pin(stage.store.grown(size));
    assert_eq!(poll_at_most(&mut grown, 100), None);
    wait(stage.store.append(txn(&stage, false))).unwrap();
    assert_eq!(wait(grown), size + 1);
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let stage = started(Setup::default());
    let plan = proposed(&stage, "process.restart", "worker-1");
    let head = stage.store.head();
    // The second record is illegal for a plan that waits for its claim.
    let body = |body| Record::new(stage.gate.ports.clock.now(), Actor::Gate, Some(plan.id.clone()), body);
    let records = vec![refused(&stage), body(Body::Rehearsed { steps: 1 })];
    let appended = wait(stage.store.append(Txn { records, ..Txn::default() }));
    assert!(matches!(appended, Err(StoreError::Flow(_))), "{appended:?}");
    let expect = Some((plan.id.clone(), 0));
    let records = vec![body(Body::Expired)];
    let appended = wait(stage.store.append(Txn { records, expect, ..Txn::default() }));
    assert!(matches!(appended, Err(StoreError::Conflict(_))), "{appended:?}");
    let records = vec![refused(&stage); 33];
    let appended = wait(stage.store.append(Txn { records, ..Txn::default() }));
    assert!(matches!(appended, Err(StoreError::TooLarge { .. })), "{appended:?}");
    assert_eq!(stage.store.head(), head);
    audit(&stage);
}
