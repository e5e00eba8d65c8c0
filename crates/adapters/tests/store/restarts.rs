//! What a restart finds: after a clean end, after SIGKILL, beside another gate, and with another copy of the files.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use holdpoint_adapters::store::{OpenError, SqliteConfig, SqliteStore};
use holdpoint_app::port::{Store, StoreError, Txn};
use holdpoint_app::projection::RunFilter;
use holdpoint_app::receipt::Receipt;
use holdpoint_domain::{flow::State, reconcile::Part};
use holdpoint_ledger::key::Ed25519NoteSigner;
use tempfile::TempDir;

use super::records::{Life, at, genesis, id, inputs, kept, passkey, reconciled, started, txn};
use super::sqlite::{ORIGIN, config, fresh, log_key, open, signer};

/// Some of everything that start-up folds.
pub(crate) async fn furnish(store: &dyn Store) {
    let texts = vec![kept("it hangs")];
    store.append(Txn { texts, ..txn(vec![genesis(), started()]) }).await.unwrap();
    let lives: Vec<_> = (1..=4).map(|number| Life::new(&number.to_string(), number)).collect();
    for life in &lives {
        store.append(txn(life.to_permit())).await.unwrap();
    }
    store.append(txn([lives[0].to_applied(), vec![lives[0].succeeded()]].concat())).await.unwrap();
    store.append(txn([lives[1].to_applied(), vec![lives[1].in_doubt()]].concat())).await.unwrap();
    let held = Life::new("held", 5);
    store.append(txn(held.to_hold(1))).await.unwrap();
    store.append(txn(vec![held.approved("ada"), held.asserted("bob", &passkey(1), 7)])).await.unwrap();
    store.append(txn(vec![reconciled(Part::Reported), reconciled(Part::Confirmed)])).await.unwrap();
    while store.head().size < 300 {
        store.append(txn(vec![started(); 32])).await.unwrap();
    }
}

/// Everything that the store answers.
pub(crate) async fn answers(store: &dyn Store) -> String {
    let size = store.head().size;
    let mut all = format!("{:?}\n{:?}\n{:?}\n", store.head().root, store.last_epoch(), store.active_inputs());
    for entry in store.entries(0, u32::MAX).await.unwrap() {
        all.push_str(&format!("{} {}\n", entry.index, String::from_utf8(entry.bytes).unwrap()));
    }
    for states in std::iter::once(vec![]).chain(State::ALL.map(|state| vec![state])) {
        let filter = holdpoint_app::port::PlanFilter { states, limit: 100, ..Default::default() };
        all.push_str(&format!("{:?}\n", store.plans(filter).await.unwrap()));
    }
    for name in ["1", "2", "3", "4", "held"] {
        let life = Life::new(name, 1);
        let history = store.history(&id(&life.plan)).await.unwrap();
        let indexes: Vec<_> = history.iter().map(|entry| entry.index).collect();
        let filter =
            holdpoint_app::port::PlanFilter { hold: Some(id(&life.hold)), limit: 1, ..Default::default() };
        let by_hold = store.plans(filter).await.unwrap();
        all.push_str(&format!("{indexes:?} {:?} {by_hold:?}\n", store.plan(&id(&life.plan)).await.unwrap()));
    }
    let accounts = store.accounts(10).await.unwrap();
    for row in &accounts {
        assert_eq!(store.account(&row.account.digest().unwrap()).await.unwrap().as_ref(), Some(row));
    }
    all.push_str(&format!("{accounts:?}\n"));
    all.push_str(&format!("{:?}\n", store.live_leases().await.unwrap()));
    let mut runs = store.runs(RunFilter { owing: true, since: Some(at(0)), incident: None }).await.unwrap();
    runs.sort_by(|one, other| one.plan.cmp(&other.plan));
    all.push_str(&format!("{runs:?} {}\n", store.claims()));
    all.push_str(&format!("{:?}\n", store.inclusion(3, size).await.unwrap()));
    all
}

#[tokio::test]
async fn a_reopened_store_answers_the_same_and_keeps_its_guards() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    furnish(&store).await;
    let before = answers(&store).await;
    drop(store);
    for _ in 0..2 {
        let store = open(folder.path()).unwrap();
        assert_eq!(answers(&store).await, before);
        assert_eq!(store.active_inputs(), Some(inputs()));
        assert_eq!(store.text(&kept("it hangs").commitment).await.unwrap().unwrap().text, "it hangs");
        // Used nonce, locked target, decision on a hold, state: all known.
        let mut life = Life::new("1", 1);
        assert!(store.append(txn(vec![life.claimed()])).await.is_err());
        life = Life { target: Life::new("2", 2).target, ..Life::new("new", 6) };
        assert!(store.append(txn([life.to_permit(), vec![life.claimed()]].concat())).await.is_err());
        assert!(store.append(txn(vec![Life::new("held", 5).approved("ada")])).await.is_err());
        assert_eq!(answers(&store).await, before);
    }
    let store = open(folder.path()).unwrap();
    let first = store.append(txn(vec![started()])).await.unwrap().first_index;
    Receipt::fetch(&store, first, &log_key()).await.unwrap();
}

#[tokio::test]
async fn two_gates_cannot_open_one_store() {
    let (store, folder) = fresh();
    assert!(matches!(open(folder.path()), Err(OpenError::InUse { .. })));
    store.append(txn(vec![started()])).await.unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap().head().size, 1);
}

#[tokio::test]
async fn another_log_or_another_key_is_refused() {
    let (store, folder) = fresh();
    store.append(txn(vec![started()])).await.unwrap();
    drop(store);
    let open_as = |origin: &str, name: &str, seed: u8| {
        let signer = Ed25519NoteSigner::from_seed(name, &[seed; 32]).unwrap();
        let config = SqliteConfig { origin: origin.to_owned(), ..config(folder.path()) };
        SqliteStore::open(config, Box::new(signer)).map(|_| ())
    };
    assert!(matches!(open_as(ORIGIN, "other.example/log", 9), Err(OpenError::SignerName { .. })));
    assert!(matches!(open_as("other.example/log", "other.example/log", 9), Err(OpenError::OtherLog { .. })));
    assert!(matches!(open_as(ORIGIN, ORIGIN, 8), Err(OpenError::Head(_))));
    open_as(ORIGIN, ORIGIN, 9).unwrap();
}

#[tokio::test]
async fn a_foreign_or_newer_database_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    let edit = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    edit("CREATE TABLE cats (name TEXT)");
    assert!(matches!(open(folder.path()), Err(OpenError::NotAStore { .. })));
    fs::remove_file(&path).unwrap();
    drop(open(folder.path()).unwrap());
    edit("PRAGMA user_version = 5");
    assert!(matches!(open(folder.path()), Err(OpenError::Newer { known: 4, got: 5 })));
    for never in [0, -1] {
        edit(&format!("PRAGMA user_version = {never}"));
        assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })), "{never}");
    }
    edit("PRAGMA user_version = 4");
    drop(open(folder.path()).unwrap());
    // A trigger would do what no record says.
    edit("CREATE TRIGGER t AFTER INSERT ON plans BEGIN DELETE FROM locks; END");
    assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })));
    fs::write(&path, "not a database, but long enough to be looked at as if it were one").unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })));
}

/// A store of before there were passkeys gets the table of their counters, and keeps everything else.
#[tokio::test]
async fn t11_a_store_of_version_1_opens_and_counts_from_then_on() {
    let folder = TempDir::new().unwrap();
    let (path, next) = (folder.path().join("store.db"), Life::new("next", 7));
    let edit = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let store = open(folder.path()).unwrap();
    furnish(&store).await;
    store.append(txn(next.to_hold(9))).await.unwrap();
    let before = answers(&store).await;
    drop(store);
    edit("DROP TABLE passkeys_used; DROP TABLE invitations; DROP TABLE accounts; PRAGMA user_version = 1");
    for _ in 0..2 {
        let store = open(folder.path()).unwrap();
        assert_eq!(answers(&store).await, before);
        // The counters are those of the log.
        let stale = store.append(txn(vec![next.asserted("bob", &passkey(1), 7)])).await;
        assert!(matches!(stale, Err(StoreError::Counter { last: 7, got: 7, .. })), "{stale:?}");
    }
    let version = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = version.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
    open(folder.path()).unwrap().append(txn(vec![next.asserted("bob", &passkey(1), 8)])).await.unwrap();
    // A version 1 with something of its own is as wrong as it was.
    edit(
        "DROP TABLE passkeys_used; DROP TABLE invitations; DROP TABLE accounts; CREATE TABLE cats (name TEXT); PRAGMA user_version = 1",
    );
    assert!(matches!(open(folder.path()), Err(OpenError::Corrupt { .. })));
}

/// A store of before anything done outside could be recorded gets the table for it.
#[tokio::test]
async fn a_store_of_version_2_opens_and_takes_what_was_done_outside() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    furnish(&store).await;
    let before = answers(&store).await;
    drop(store);
    let conn = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    conn.execute_batch("DROP TABLE accounts; PRAGMA user_version = 2").unwrap();
    drop(conn);
    let store = open(folder.path()).unwrap();
    assert_eq!(answers(&store).await, before);
    let again = store.append(txn(vec![reconciled(Part::Confirmed)])).await;
    assert!(matches!(again, Err(StoreError::AccountNotOpen(_))), "{again:?}");
    store.append(txn(vec![reconciled(Part::Disputed)])).await.unwrap();
    assert_eq!(store.accounts(1).await.unwrap()[0].state(), Part::Disputed);
}

/// A store of when runs were found by their claim finds them by their end.
#[tokio::test]
async fn a_store_of_version_3_opens_and_has_its_runs() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    furnish(&store).await;
    let before = answers(&store).await;
    drop(store);
    let conn = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    conn.execute_batch(
        "DROP INDEX runs_by_time; ALTER TABLE runs RENAME COLUMN last_at TO claimed_at;
         CREATE INDEX runs_by_time ON runs (claimed_at); PRAGMA user_version = 3",
    )
    .unwrap();
    drop(conn);
    let store = open(folder.path()).unwrap();
    assert_eq!(answers(&store).await, before);
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

async fn grow(folder: &Path, count: usize) -> u64 {
    let store = open(folder).unwrap();
    for _ in 0..count {
        store.append(txn(vec![started()])).await.unwrap();
    }
    store.head().size
}

#[tokio::test]
async fn inv11_an_older_copy_of_the_store_is_refused() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (live, kept) = (folder.path(), copies.path());
    grow(live, 5).await;
    copy(live, kept, &["store.db"]);
    grow(live, 2).await;
    copy(kept, live, &["store.db"]);
    match open(live) {
        Err(err @ OpenError::OlderThanRemembered { remembered: 7, stored: 5 }) => {
            assert_eq!(
                err.to_string(),
                "the store has 5 entries, but a checkpoint over 7 was signed: this is an older copy"
            );
            assert!(err.hint().contains("newest copy"));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    // An empty one is the oldest copy.
    fs::remove_file(live.join("store.db")).unwrap();
    assert!(matches!(open(live), Err(OpenError::OlderThanRemembered { remembered: 7, stored: 0 })));
}

#[tokio::test]
async fn inv11_a_forked_log_is_refused() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (live, kept) = (folder.path(), copies.path());
    grow(live, 5).await;
    copy(live, kept, &["store.db", "store.db.head"]);
    // One history goes on here, another one on the copy, with the same key.
    grow(live, 2).await;
    let store = open(kept).unwrap();
    store.append(txn(vec![Life::new("other", 1).proposed(), started()])).await.unwrap();
    store.append(txn(vec![started(); 4])).await.unwrap();
    drop(store);
    copy(kept, live, &["store.db"]);
    let opened = open(live).map(|_| ());
    // Both slots remember another history; the first contradiction is named.
    assert!(matches!(opened, Err(OpenError::Forked { size: 6 })), "{opened:?}");
}

#[tokio::test]
async fn inv11_a_store_that_nothing_remembers_is_refused() {
    let folder = TempDir::new().unwrap();
    let head = folder.path().join("store.db.head");
    // An empty log has nothing to remember.
    drop(open(folder.path()).unwrap());
    fs::remove_file(&head).unwrap();
    let size = grow(folder.path(), 3).await;

    let whole = fs::read(&head).unwrap();
    let garbled: Vec<u8> = whole.iter().map(|byte| byte ^ 1).collect();
    for bytes in [None, Some(Vec::new()), Some(garbled), Some(vec![0xff; 8192])] {
        let _ = fs::remove_file(&head);
        if let Some(bytes) = bytes {
            fs::write(&head, bytes).unwrap();
        }
        let refused = open(folder.path());
        assert!(matches!(refused, Err(OpenError::NothingRemembered { size: 3, .. })), "{:?}", refused.err());
    }
    // A write that was torn leaves the other slot.
    for torn in [100, 4096 + 100] {
        let mut bytes = whole.clone();
        bytes[torn] ^= 1;
        fs::write(&head, bytes).unwrap();
        drop(open(folder.path()).unwrap());
    }
    // A person has compared the head and vouches for it.
    fs::remove_file(&head).unwrap();
    let accepted =
        SqliteStore::danger_accept_head(&folder.path().join("store.db"), ORIGIN, &signer()).unwrap();
    assert_eq!(accepted.size, size);
    assert_eq!(open(folder.path()).unwrap().head().size, size);
}

#[tokio::test]
async fn a_person_cannot_accept_a_head_below_a_remembered_one() {
    let (folder, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    grow(folder.path(), 1).await;
    copy(folder.path(), copies.path(), &["store.db"]);
    grow(folder.path(), 1).await;
    copy(copies.path(), folder.path(), &["store.db"]);
    let accepted = SqliteStore::danger_accept_head(&folder.path().join("store.db"), ORIGIN, &signer());
    assert!(matches!(accepted, Err(OpenError::OlderThanRemembered { .. })));
}

const CHILD: &str = "HOLDPOINT_STORE_TO_BE_KILLED";

/// Runs in a process of its own, which [`inv01_what_was_acknowledged_survives_sigkill`] kills. As a test it does nothing.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&folder)).unwrap();
    let appends = (0..8).map(|task| {
        let store = &store;
        async move {
            for number in 0.. {
                let life = Life::new(&format!("{task}-{number}"), 1);
                let appended = store.append(txn(vec![life.proposed(), started()])).await.unwrap();
                println!("acknowledged {} {}", life.plan, appended.first_index);
            }
        }
    });
    futures_util::future::join_all(appends).await;
}

#[tokio::test]
async fn inv01_what_was_acknowledged_survives_sigkill() {
    for acknowledged in [1, 40, 200] {
        let folder = TempDir::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::restarts::child_that_is_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines = lines.filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
        let mut seen: Vec<String> = Vec::new();
        for line in lines {
            seen.push(line);
            if seen.len() == acknowledged {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen.len() >= acknowledged, "the child ended after {} records", seen.len());

        let store = open(folder.path()).unwrap();
        for line in seen {
            // The last line may be cut.
            let Some((plan, index)) = line.split_once(' ') else { continue };
            let Ok(index) = index.parse::<u64>() else { continue };
            let row = store.plan(&id(plan)).await.unwrap().unwrap();
            assert!(row.first_index == index || row.first_index.to_string().starts_with(&index.to_string()));
            Receipt::fetch(&store, row.first_index, &log_key()).await.unwrap();
        }
        store.append(txn(vec![started()])).await.unwrap();
    }
}
