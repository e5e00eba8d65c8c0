//! A permit starts one run: under contention, after a restart, and after many others.

use std::sync::Arc;

use holdpoint_app::port::{Store, StoreError, Txn};
use holdpoint_domain::flow::State;
use tempfile::TempDir;

use super::records::{Life, id, started, txn};
use super::sqlite::{fresh, open};

#[tokio::test(flavor = "multi_thread")]
async fn inv02_t05_a_thousand_claims_of_one_permit_start_one_run() {
    let (store, _folder) = fresh();
    let store: Arc<dyn Store> = Arc::new(store);
    let life = Life::new("a", 1);
    store.append(txn(life.to_permit())).await.unwrap();
    let claims: Vec<_> = (0..1_000)
        .map(|number| {
            // Some beside other records, some with an expectation that holds for all of them.
            let expect = (number % 2 == 0).then(|| (id(&life.plan), 2));
            let records =
                if number % 3 == 0 { vec![started(), life.claimed()] } else { vec![life.claimed()] };
            let (store, claim) = (Arc::clone(&store), Txn { expect, ..txn(records) });
            tokio::spawn(async move { store.append(claim).await })
        })
        .collect();
    let mut started_runs = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Ok(_) => started_runs += 1,
            Err(StoreError::Flow(err)) => assert_eq!(err.state, State::Claimed),
            Err(StoreError::Conflict(plan)) => assert_eq!(plan, id(&life.plan)),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(started_runs, 1);
    let history = store.history(&id(&life.plan)).await.unwrap();
    assert_eq!(history.len(), 4, "three records to the permit and one claim");
}

#[tokio::test(flavor = "multi_thread")]
async fn t06_a_used_nonce_is_refused_after_many_others_and_after_a_restart() {
    const OTHERS: u64 = 500;
    let folder = TempDir::new().unwrap();
    let first = Life::new("first", 1);
    {
        let store: Arc<dyn Store> = Arc::new(open(folder.path()).unwrap());
        store.append(txn(first.to_permit())).await.unwrap();
        store.append(txn(vec![first.claimed(), first.failed()])).await.unwrap();
        for batch in (2..OTHERS + 2).collect::<Vec<_>>().chunks(25) {
            // In order, since epochs must grow: so few futures are polled from the first to the last.
            let records: Vec<_> = batch.iter().map(|epoch| Life::new(&epoch.to_string(), *epoch)).collect();
            let appends = records
                .iter()
                .map(|life| store.append(txn([life.to_permit(), vec![life.claimed()]].concat())));
            for answer in futures_util::future::join_all(appends).await {
                answer.unwrap();
            }
        }
        replay(store.as_ref(), &first, "before").await;
    }
    let store = open(folder.path()).unwrap();
    replay(&store, &first, "after").await;
    assert_eq!(store.last_epoch(), OTHERS + 3);
}

/// Whatever plan brings the nonce, and whether it is granted or used again.
async fn replay(store: &dyn Store, first: &Life, name: &str) {
    let epoch = store.last_epoch() + 1;
    let used = Err(StoreError::Nonce(id(&first.nonce)));
    let copy = Life { nonce: first.nonce.clone(), ..Life::new(name, epoch) };
    assert_eq!(store.append(txn(copy.to_permit())).await, used);
    let own = Life::new(name, epoch);
    store.append(txn(own.to_permit())).await.unwrap();
    assert_eq!(store.append(txn(vec![copy.claimed()])).await, used);
    assert!(matches!(store.append(txn(vec![first.claimed()])).await, Err(StoreError::Flow(_))));
}
