//! The contract of the `Store` port. Each function wants an empty store and the key of its log; nothing in here knows which
//! store it is, so that the next one is held to the same.

use holdpoint_app::{
    port::{PlanFilter, Store, StoreError, Txn, store::MAX_TXN_RECORDS},
    receipt::Receipt,
};
use holdpoint_domain::{
    Tier,
    decision::{Answer, Worse},
    flow::State,
    record::{Body, MAX_RECORD_LEN, Record},
};
use holdpoint_ledger::{
    bundle::read_bundle,
    checkpoint,
    hash::leaf_hash,
    key::VerifierKey,
    proof::{verify_consistency, verify_inclusion},
    tile::{bundle_paths, decode_tile, tile_paths},
};

use super::records::{Life, NOW, at, genesis, id, kept, passkey, started, txn};

pub(super) async fn append(store: &dyn Store, records: Vec<Record>) -> u64 {
    store.append(txn(records)).await.unwrap().first_index
}

async fn refused(store: &dyn Store, records: Vec<Record>) -> StoreError {
    let before = store.head();
    let err = store.append(txn(records)).await.unwrap_err();
    assert_eq!(store.head(), before, "a refused transaction moved the head");
    err
}

async fn state(store: &dyn Store, life: &Life) -> Option<State> {
    store.plan(&id(&life.plan)).await.unwrap().map(|row| row.state)
}

pub(crate) async fn appends_in_order_and_without_gaps(store: &dyn Store, log: &VerifierKey) {
    let first = store.append(txn(vec![genesis(), started()])).await.unwrap();
    assert_eq!((first.first_index, first.size), (0, 2));
    let life = Life::new("a", 1);
    let second = store.append(txn(life.to_permit())).await.unwrap();
    assert_eq!((second.first_index, second.size), (2, 5));
    let expected: Vec<_> = [vec![genesis(), started()], life.to_permit()].concat();
    let entries = store.entries(0, 100).await.unwrap();
    let indexes: Vec<_> = entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    for (entry, record) in entries.iter().zip(expected) {
        assert_eq!(entry.bytes, record.bytes().unwrap());
    }
    assert_eq!(store.entries(3, 1).await.unwrap().len(), 1);
    assert!(store.entries(5, 9).await.unwrap().is_empty());
    assert!(store.entries(u64::MAX, u32::MAX).await.unwrap().is_empty());
    let head = checkpoint::open(store.head().checkpoint.as_bytes(), std::slice::from_ref(log)).unwrap();
    assert_eq!((head.size(), head.root()), (store.head().size, store.head().root));
    assert_eq!(head.origin(), store.head().origin);
}

pub(crate) async fn an_empty_log_has_a_signed_head(store: &dyn Store, log: &VerifierKey) {
    let head = checkpoint::open(store.head().checkpoint.as_bytes(), std::slice::from_ref(log)).unwrap();
    assert_eq!(head.size(), 0);
    assert!(store.entries(0, 1).await.unwrap().is_empty());
    assert_eq!(store.last_epoch(), 0);
    assert_eq!(store.active_inputs(), None);
}

pub(crate) async fn all_or_none(store: &dyn Store, _: &VerifierKey) {
    let (good, bad) = (Life::new("good", 1), Life::new("bad", 2));
    // The last record is illegal, so nothing of the four may be seen, nor of the text beside them.
    let records = [good.to_permit(), vec![bad.claimed()]].concat();
    let txn = Txn { records, texts: vec![kept("secret")], ..Txn::default() };
    assert!(matches!(store.append(txn).await, Err(StoreError::Flow(_))));
    assert_eq!(store.head().size, 0);
    assert_eq!(state(store, &good).await, None);
    assert!(store.text(&kept("secret").commitment).await.unwrap().is_none());
    assert_eq!(store.last_epoch(), 0);
    assert_eq!(append(store, good.to_permit()).await, 0);
}

pub(crate) async fn inv02_every_illegal_event_is_refused(store: &dyn Store, _: &VerifierKey) {
    let life = Life::new("a", 1);
    assert!(
        matches!(refused(store, vec![life.permitted()]).await, StoreError::Flow(err) if err.state == State::New)
    );
    append(store, vec![life.proposed()]).await;
    let again = refused(store, vec![life.proposed()]).await;
    assert!(matches!(again, StoreError::Flow(err) if err.state == State::Proposed));
    for skipped in [life.permitted(), life.claimed(), life.leased(), life.succeeded(), life.in_doubt()] {
        assert!(matches!(refused(store, vec![skipped]).await, StoreError::Flow(_)));
    }
    append(store, vec![life.decided(Answer::Deny, Tier::T5)]).await;
    for late in [life.decided(Answer::Allow, Tier::T1), life.permitted(), life.record(Body::Expired)] {
        assert!(
            matches!(refused(store, vec![late]).await, StoreError::Flow(err) if err.state == State::Denied)
        );
    }
    // Records that need a plan, without one.
    for orphan in [life.proposed(), life.leased(), life.held(NOW)] {
        let orphan = Record { plan: None, ..orphan };
        assert!(matches!(refused(store, vec![orphan]).await, StoreError::Flow(_)));
    }
    let ghost = Life::new("ghost", 9);
    assert!(matches!(refused(store, vec![ghost.held(NOW)]).await, StoreError::Flow(_)));
}

pub(crate) async fn a_plan_that_moved_on_is_a_conflict(store: &dyn Store, _: &VerifierKey) {
    let life = Life::new("a", 1);
    append(store, vec![started()]).await;
    let seen = append(store, vec![life.proposed()]).await;
    let expecting = |index| Txn {
        expect: Some((id(&life.plan), index)),
        ..txn(vec![life.decided(Answer::Defer, Tier::T1), life.deferred(NOW, NOW)])
    };
    for wrong in [seen - 1, seen + 1] {
        assert_eq!(store.append(expecting(wrong)).await, Err(StoreError::Conflict(id(&life.plan))));
    }
    store.append(expecting(seen)).await.unwrap();
    assert_eq!(store.append(expecting(seen)).await, Err(StoreError::Conflict(id(&life.plan))));
    // Records that only inform move it on too: they may be what the caller has to read.
    append(store, vec![life.revoked()]).await;
    assert_eq!(store.append(expecting(seen + 2)).await, Err(StoreError::Conflict(id(&life.plan))));
    let unknown = Txn { expect: Some((id("plan-nobody"), 0)), ..txn(vec![started()]) };
    assert_eq!(store.append(unknown).await, Err(StoreError::Conflict(id("plan-nobody"))));
}

pub(crate) async fn t05_a_nonce_is_granted_once_and_used_by_its_plan(store: &dyn Store, _: &VerifierKey) {
    let (a, b) = (Life::new("a", 1), Life::new("b", 2));
    append(store, a.to_permit()).await;
    // Granted again, to another plan.
    let copy = Life { nonce: a.nonce.clone(), ..b.clone() };
    assert_eq!(refused(store, copy.to_permit()).await, StoreError::Nonce(id(&a.nonce)));
    append(store, b.to_permit()).await;
    // Used by another plan, or never granted.
    assert_eq!(refused(store, vec![copy.claimed()]).await, StoreError::Nonce(id(&a.nonce)));
    let forged = Life { nonce: "nonce-forged".to_owned(), ..b.clone() };
    assert_eq!(refused(store, vec![forged.claimed()]).await, StoreError::Nonce(id("nonce-forged")));
    append(store, vec![a.claimed()]).await;
    assert_eq!(state(store, &a).await, Some(State::Claimed));
}

pub(crate) async fn inv02_one_run_at_a_time_holds_a_target(store: &dyn Store, _: &VerifierKey) {
    let a = Life::new("a", 1);
    let b = Life { target: a.target.clone(), ..Life::new("b", 2) };
    let c = Life { target: a.target.clone(), ..Life::new("c", 3) };
    for life in [&a, &b, &c] {
        append(store, life.to_permit()).await;
    }
    append(store, a.to_applied()).await;
    let busy = StoreError::TargetBusy { target: id(&a.target), by: id(&a.plan) };
    assert_eq!(refused(store, vec![b.claimed()]).await, busy);
    append(store, vec![a.succeeded()]).await;
    append(store, vec![b.claimed()]).await;
    append(store, vec![b.failed()]).await;
    append(store, c.to_applied()).await;
    append(store, vec![c.in_doubt()]).await;
    // Nobody knows how the target is: the lock stays.
    let d = Life { target: a.target.clone(), ..Life::new("d", 4) };
    append(store, d.to_permit()).await;
    assert!(
        matches!(refused(store, vec![d.claimed()]).await, StoreError::TargetBusy { by, .. } if by == id(&c.plan))
    );
}

pub(crate) async fn inv05_one_decision_of_a_person_on_a_hold(store: &dyn Store, _: &VerifierKey) {
    let life = Life::new("a", 1);
    append(store, life.to_hold(NOW + 60_000)).await;
    append(store, vec![life.approved("ada")]).await;
    let again = StoreError::DecidedBefore { hold: id(&life.hold), person: id("ada") };
    assert_eq!(refused(store, vec![life.approved("ada")]).await, again);
    assert_eq!(refused(store, vec![life.rejected("ada")]).await, again);
    // Twice in one transaction is twice.
    assert!(matches!(
        refused(store, vec![life.approved("bob"), life.approved("bob")]).await,
        StoreError::DecidedBefore { .. }
    ));
    append(store, vec![life.approved("bob"), life.permitted()]).await;
    assert_eq!(state(store, &life).await, Some(State::Permitted));
}

pub(crate) async fn inv05_t11_counters_of_passkeys_only_grow(store: &dyn Store, _: &VerifierKey) {
    let lives: Vec<_> = (1..=6).map(|number| Life::new(&number.to_string(), number)).collect();
    for life in &lives {
        append(store, life.to_hold(NOW + 60_000)).await;
    }
    let (one, other) = (passkey(1), passkey(2));
    append(store, vec![lives[0].asserted("ada", &one, 7)]).await;
    for got in [7, 6, 0] {
        let copy = StoreError::Counter { passkey: one.passkey.id.clone(), last: 7, got };
        assert_eq!(refused(store, vec![lives[1].asserted("ada", &one, got)]).await, copy);
    }
    // Nothing of what was refused is remembered; another passkey has a counter of its own, or none.
    append(store, vec![lives[1].asserted("ada", &one, 8), lives[1].asserted("bob", &other, 0)]).await;
    append(store, vec![lives[2].asserted("bob", &other, 0)]).await;
    append(store, vec![lives[3].asserted("bob", &other, u32::MAX)]).await;
    let over = StoreError::Counter { passkey: other.passkey.id.clone(), last: u32::MAX, got: 0 };
    assert_eq!(refused(store, vec![lives[4].asserted("bob", &other, 0)]).await, over);
    // In one transaction as in two.
    let twice = vec![lives[4].asserted("ada", &one, 9), lives[5].asserted("ada", &one, 9)];
    let copy = StoreError::Counter { passkey: one.passkey.id, last: 9, got: 9 };
    assert_eq!(refused(store, twice).await, copy);
    append(store, vec![lives[4].asserted("ada", &passkey(1), 9)]).await;
}

pub(crate) async fn epochs_only_grow(store: &dyn Store, _: &VerifierKey) {
    append(store, Life::new("a", 5).to_permit()).await;
    assert_eq!(store.last_epoch(), 5);
    for epoch in [0, 4, 5] {
        let late = Life::new("late", epoch);
        assert_eq!(refused(store, late.to_permit()).await, StoreError::Epoch { last: 5, got: epoch });
    }
    let both = [Life::new("b", 7).to_permit(), Life::new("c", 6).to_permit()].concat();
    assert_eq!(refused(store, both).await, StoreError::Epoch { last: 7, got: 6 });
    assert_eq!(store.last_epoch(), 5);
    append(store, Life::new("d", 6).to_permit()).await;
    assert_eq!(store.last_epoch(), 6);
}

pub(crate) async fn what_is_too_large_is_refused(store: &dyn Store, _: &VerifierKey) {
    let many = vec![started(); MAX_TXN_RECORDS + 1];
    assert!(matches!(
        refused(store, many).await,
        StoreError::TooLarge { limit: MAX_TXN_RECORDS, got: 33, .. }
    ));
    let life = Life::new("a", 1);
    append(store, vec![life.proposed()]).await;
    let large = life.record(Body::Voided { worse: vec![Worse::TargetGone; MAX_RECORD_LEN / 4] });
    assert!(matches!(refused(store, vec![large]).await, StoreError::TooLarge { limit: MAX_RECORD_LEN, .. }));
    append(store, vec![started(); MAX_TXN_RECORDS]).await;
}

pub(crate) async fn t18_a_record_that_reads_differently_is_refused(store: &dyn Store, _: &VerifierKey) {
    // 2^53 + 1 is not a JSON number that everybody reads alike: RFC 8785 writes its neighbour.
    let epoch = (1 << 53) + 1;
    let life = Life::new("a", epoch);
    assert!(matches!(refused(store, life.to_permit()).await, StoreError::Corrupt(_)));
    assert_eq!(store.last_epoch(), 0);
}

pub(crate) async fn a_plan_row_follows_its_records(store: &dyn Store, _: &VerifierKey) {
    let life = Life::new("a", 1);
    append(store, vec![started()]).await;
    append(store, vec![life.proposed()]).await;
    let row = store.plan(&id(&life.plan)).await.unwrap().unwrap();
    assert_eq!((row.first_index, row.last_index, row.state), (1, 1, State::Proposed));
    assert_eq!((row.agent, row.action, row.target), (id("holmes"), id("process.restart"), id(&life.target)));
    assert_eq!((row.tier, row.hold, row.proposed_at), (None, None, at(NOW)));
    assert_eq!((row.deadline, row.next_at), (None, None));

    append(store, vec![life.decided(Answer::Defer, Tier::T3), life.deferred(NOW + 5, NOW + 9)]).await;
    let row = store.plan(&id(&life.plan)).await.unwrap().unwrap();
    assert_eq!((row.last_index, row.state, row.tier), (3, State::Deferred, Some(Tier::T3)));
    assert_eq!((row.next_at, row.deadline), (Some(at(NOW + 5)), Some(at(NOW + 9))));

    append(store, vec![life.decided(Answer::Hold, Tier::T4), life.held(NOW + 70)]).await;
    let row = store.plan(&id(&life.plan)).await.unwrap().unwrap();
    assert_eq!((row.state, row.tier), (State::Held, Some(Tier::T4)));
    assert_eq!((row.hold, row.deadline, row.next_at), (Some(id(&life.hold)), Some(at(NOW + 70)), None));

    append(store, vec![life.rejected("ada")]).await;
    let row = store.plan(&id(&life.plan)).await.unwrap().unwrap();
    assert_eq!((row.state, row.deadline, row.hold), (State::Rejected, None, Some(id(&life.hold))));
    assert_eq!((row.first_index, row.last_index), (1, 6));
    assert!(store.plan(&id("plan-nobody")).await.unwrap().is_none());
}

pub(crate) async fn plans_are_listed_newest_first(store: &dyn Store, _: &VerifierKey) {
    let lives: Vec<_> = (1..=6).map(|number| Life::new(&number.to_string(), number)).collect();
    for life in &lives {
        append(store, life.to_hold(NOW)).await;
    }
    append(store, vec![lives[1].rejected("ada")]).await;
    append(store, vec![lives[3].record(Body::Expired)]).await;
    let list = async |filter: PlanFilter| -> Vec<String> {
        let rows = store.plans(filter).await.unwrap();
        rows.into_iter().map(|row| row.id.as_str().trim_start_matches("plan-").to_owned()).collect()
    };
    let all = PlanFilter { limit: 100, ..PlanFilter::default() };
    assert_eq!(list(all.clone()).await, ["6", "5", "4", "3", "2", "1"]);
    assert_eq!(list(PlanFilter { limit: 2, ..all.clone() }).await, ["6", "5"]);
    assert!(list(PlanFilter { limit: 0, ..all.clone() }).await.is_empty());
    let theirs = store.plan(&id("plan-1")).await.unwrap().unwrap().agent;
    for (agent, expected) in [(theirs, &["6", "5", "3", "1"][..]), (id("nobody"), &[])] {
        let held = PlanFilter { states: vec![State::Held], agent: Some(agent), ..all.clone() };
        assert_eq!(list(held).await, expected);
    }
    let oldest = PlanFilter { oldest_first: true, ..all.clone() };
    assert_eq!(list(PlanFilter { limit: 2, ..oldest.clone() }).await, ["1", "2"]);
    let waiting = vec![State::Held, State::Rejected];
    assert_eq!(list(PlanFilter { states: waiting, limit: 3, ..oldest }).await[..1], ["1"]);
    let held = PlanFilter { states: vec![State::Held], ..all.clone() };
    assert_eq!(list(held.clone()).await, ["6", "5", "3", "1"]);
    let ended =
        PlanFilter { states: vec![State::Rejected, State::Held, State::Expired], limit: 4, ..all.clone() };
    assert_eq!(list(ended).await, ["6", "5", "4", "3"]);
    assert_eq!(list(PlanFilter { hold: Some(id("hold-4")), ..all.clone() }).await, ["4"]);
    assert!(list(PlanFilter { hold: Some(id("hold-4")), ..held }).await.is_empty());
    assert!(list(PlanFilter { hold: Some(id("hold-9")), ..all }).await.is_empty());
}

pub(crate) async fn a_history_is_the_plans_records_only(store: &dyn Store, _: &VerifierKey) {
    let (a, b) = (Life::new("a", 1), Life::new("b", 2));
    append(store, vec![a.proposed(), started(), b.proposed()]).await;
    append(store, vec![b.decided(Answer::Deny, Tier::T5), a.decided(Answer::Deny, Tier::T5)]).await;
    let history = store.history(&id(&a.plan)).await.unwrap();
    assert_eq!(history.iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(history[1].bytes, a.decided(Answer::Deny, Tier::T5).bytes().unwrap());
    assert!(store.history(&id("plan-nobody")).await.unwrap().is_empty());
}

pub(crate) async fn inv12_texts_stand_beside_the_ledger(store: &dyn Store, _: &VerifierKey) {
    let text = kept("the worker hangs, restart it");
    let txn = Txn { texts: vec![text.clone()], ..txn(vec![started()]) };
    store.append(txn.clone()).await.unwrap();
    let found = store.text(&text.commitment).await.unwrap().unwrap();
    assert_eq!((found.commitment, &found.salt, &found.text), (text.commitment, &text.salt, &text.text));
    assert!(store.text(&kept("another").commitment).await.unwrap().is_none());
    // The same text again is the same text.
    store.append(txn).await.unwrap();
    // A text that its commitment does not commit to is nobody's.
    let forged = Txn {
        texts: vec![holdpoint_app::port::KeptText { text: "restart everything".to_owned(), ..text }],
        ..Txn::default()
    };
    assert!(store.append(forged).await.is_err());
    for entry in store.entries(0, 10).await.unwrap() {
        assert!(!String::from_utf8(entry.bytes).unwrap().contains("hangs"));
    }
}

pub(crate) async fn inv08_a_lease_lives_until_it_is_proven_dead(store: &dyn Store, _: &VerifierKey) {
    let (a, b) = (Life::new("a", 1), Life::new("b", 2));
    for life in [&a, &b] {
        append(store, life.to_permit()).await;
        append(store, life.to_applied()).await;
    }
    let live = vec![(id(&a.plan), a.lease()), (id(&b.plan), b.lease())];
    assert_eq!(store.live_leases().await.unwrap(), live);
    append(store, vec![a.succeeded()]).await;
    assert_eq!(store.live_leases().await.unwrap(), live, "the end of a run proves nothing of its lease");
    append(store, vec![a.revoked()]).await;
    assert_eq!(store.live_leases().await.unwrap(), live[1..]);
    let again = Life { lease: "lease-again".to_owned(), ..b.clone() };
    append(store, vec![b.record(Body::LeasedAgain { lease: again.lease() }), b.revoked()]).await;
    assert_eq!(store.live_leases().await.unwrap(), [(id(&b.plan), again.lease())]);
}

pub(crate) async fn inv11_receipts_verify(store: &dyn Store, log: &VerifierKey) {
    append(store, vec![genesis()]).await;
    for number in 0..40 {
        append(store, vec![started(); 8]).await;
        append(store, vec![Life::new(&number.to_string(), number + 1).proposed()]).await;
    }
    let size = store.head().size;
    for index in [0, 1, 7, 8, 254, 255, 256, 257, size - 1] {
        let receipt = Receipt::fetch(store, index, log).await.unwrap();
        assert_eq!(receipt.index(), index);
    }
    assert!(Receipt::fetch(store, size, log).await.is_err());
}

pub(crate) async fn inv11_proofs_are_those_of_the_ledger(store: &dyn Store, _: &VerifierKey) {
    let mut heads = vec![store.head()];
    for size in [1, 2, 7, 30, 31, 32, 32, 32, 32, 32, 31, 32, 32] {
        append(store, vec![started(); size]).await;
        heads.push(store.head());
    }
    let last = heads.last().unwrap();
    let leaf = leaf_hash(&started().bytes().unwrap());
    for head in &heads {
        for index in (0..head.size).step_by(13) {
            let proof = store.inclusion(index, head.size).await.unwrap();
            verify_inclusion(leaf, index, head.size, head.root, &proof).unwrap();
        }
        let proof = store.consistency(head.size, last.size).await.unwrap();
        verify_consistency(head.size, head.root, last.size, last.root, &proof).unwrap();
    }
    let (size, beyond) = (last.size, last.size + 1);
    assert!(matches!(store.inclusion(size, size).await, Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.inclusion(0, beyond).await, Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.consistency(1, beyond).await, Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.consistency(2, 1).await, Err(StoreError::TooLarge { .. })));
}

pub(crate) async fn inv11_log_files_are_the_static_layout(store: &dyn Store, log: &VerifierKey) {
    for number in 0..20_u64 {
        let records = if number == 0 { vec![genesis()] } else { vec![started(); 32] };
        append(store, records).await;
    }
    let head = store.head();
    let file = async |path: &str| store.log_file(path).await.unwrap();
    assert_eq!(file("checkpoint").await.unwrap(), head.checkpoint.as_bytes());
    let mut leaves = Vec::new();
    for path in bundle_paths(head.size) {
        let bundle = file(&path.to_string()).await.unwrap();
        let entries: Vec<_> = read_bundle(&bundle).map(|entry| leaf_hash(entry.unwrap())).collect();
        assert_eq!(entries.len(), path.width());
        leaves.extend(entries);
    }
    let mut tiles = Vec::new();
    for path in tile_paths(head.size) {
        tiles.extend(decode_tile(&file(&path.to_string()).await.unwrap(), path.width()).unwrap());
    }
    assert_eq!(tiles[..leaves.len()], leaves);
    assert_eq!(tiles.len(), leaves.len() + usize::try_from(head.size / 256).unwrap());
    // Partial files of every size that the tree has had; none that it has not reached.
    assert_eq!(file("tile/0/000.p/3").await.unwrap(), file("tile/0/000").await.unwrap()[..96]);
    assert_eq!(file("tile/1/000.p/1").await.unwrap(), file("tile/1/000.p/2").await.unwrap()[..32]);
    assert_eq!(read_bundle(&file("tile/entries/001.p/5").await.unwrap()).count(), 5);
    let width = head.size % 256;
    assert!(file(&format!("tile/0/002.p/{width}")).await.is_some());
    for path in [
        &format!("tile/0/002.p/{}", width + 1),
        &format!("tile/entries/002.p/{}", width + 1),
        "tile/0/002",
        "tile/0/003",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/63/000",
        "tile/0/x18446/x744073/x709551/615",
        "tile/entries/x018/x446/x744/x073/x709/x551/615",
        "tile/0/0",
        "tile/0/000.p/256",
        "../head",
        "",
    ] {
        assert_eq!(file(path).await, None, "`{path}` was served");
    }
    assert!(checkpoint::open(&file("checkpoint").await.unwrap(), std::slice::from_ref(log)).is_ok());
}

pub(crate) async fn followers_are_told_after_the_sync(store: &dyn Store, _: &VerifierKey) {
    append(store, vec![started()]).await;
    assert_eq!(store.grown(0).await, 1, "what was appended before is told at once");
    let follow = async {
        let mut seen = 1;
        while seen < 4 {
            seen = store.grown(seen).await;
            let entries = store.entries(0, 100).await.unwrap();
            assert!(entries.len() as u64 >= seen, "told of {seen} entries, saw {}", entries.len());
        }
        seen
    };
    let produce = async {
        for _ in 0..3 {
            append(store, vec![started()]).await;
        }
    };
    assert_eq!(futures_util::future::join(follow, produce).await.0, 4);
}

pub(crate) async fn concurrent_appends_get_one_order(store: &dyn Store, log: &VerifierKey) {
    let lives: Vec<_> = (0..64).map(|number| Life::new(&number.to_string(), 1)).collect();
    let appends = lives.iter().map(|life| async {
        let proposed = append(store, vec![life.proposed(), started()]).await;
        // All of them bring epoch 1: the first one wins, the others leave nothing.
        let decided = vec![life.decided(Answer::Allow, Tier::T1), life.permitted()];
        (proposed, store.append(txn(decided)).await)
    });
    let answers = futures_util::future::join_all(appends).await;
    let granted = answers.iter().filter(|(_, granted)| granted.is_ok()).count();
    assert_eq!(granted, 1);
    let refused = answers.iter().filter(|(_, granted)| matches!(granted, Err(StoreError::Epoch { .. })));
    assert_eq!(refused.count(), 63);
    assert_eq!(store.head().size, 64 * 2 + 2);
    for ((first, _), life) in answers.iter().zip(&lives) {
        let receipt = Receipt::fetch(store, *first, log).await.unwrap();
        assert_eq!(*receipt.record(), life.proposed());
    }
}
