//! The disk: full, failing, and failing after it has done what was asked.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use holdpoint_adapters::store::{Fault, FaultPoint, Faults, OpenError, SqliteStore};
use holdpoint_app::port::{Store, StoreError, Txn};
use holdpoint_domain::{flow::State, record::Record};
use tempfile::TempDir;

use super::records::{Life, id, started, txn};
use super::sqlite::{open, open_with};

/// Faults in the order in which they strike, one a commit; `None` lets a commit pass.
#[derive(Default)]
struct Script(VecDeque<Option<(FaultPoint, Fault)>>);

impl Script {
    fn then(mut self, fault: Option<(FaultPoint, Fault)>) -> Self {
        self.0.push_back(fault);
        self
    }
}

impl Faults for Script {
    fn at(&mut self, point: FaultPoint) -> Option<Fault> {
        let next = *self.0.front()?;
        let strikes = next.is_some_and(|(strikes_at, _)| strikes_at == point);
        if strikes || (next.is_none() && point == FaultPoint::AfterCommit) {
            self.0.pop_front();
        }
        next.filter(|_| strikes).map(|(_, fault)| fault)
    }
}

const FULL: Option<(FaultPoint, Fault)> = Some((FaultPoint::BeforeCommit, Fault::Full));
const BROKEN: Option<(FaultPoint, Fault)> = Some((FaultPoint::BeforeCommit, Fault::Broken));
const DONE_BUT_BROKEN: Option<(FaultPoint, Fault)> = Some((FaultPoint::AfterCommit, Fault::Broken));

fn essential(records: Vec<Record>) -> Txn {
    Txn { essential: true, ..txn(records) }
}

fn reserve_of(folder: &Path) -> std::path::PathBuf {
    folder.join("store.db.reserve")
}

#[tokio::test]
async fn inv01_on_a_full_disk_nothing_is_appended_and_the_store_goes_on() {
    let folder = TempDir::new().unwrap();
    let store = open_with(folder.path(), Script::default().then(None).then(FULL).then(None));
    let life = Life::new("a", 1);
    store.append(txn(vec![life.proposed()])).await.unwrap();
    let before = store.head();
    assert!(matches!(store.append(txn(vec![started()])).await, Err(StoreError::Full(_))));
    assert_eq!(store.head(), before);
    assert_eq!(store.entries(0, 10).await.unwrap().len(), 1);
    assert!(reserve_of(folder.path()).exists(), "an ordinary transaction has no claim on the reserve");
    assert_eq!(store.append(txn(vec![started()])).await.unwrap().first_index, 1);
    drop(store);
    assert_eq!(open(folder.path()).unwrap().head().size, 2);
}

#[tokio::test]
async fn inv01_what_must_be_recorded_goes_into_the_reserve() {
    let folder = TempDir::new().unwrap();
    let store = open_with(folder.path(), Script::default().then(None).then(FULL).then(None));
    let life = Life::new("a", 1);
    store.append(txn([life.to_permit(), vec![life.claimed()]].concat())).await.unwrap();
    store.append(essential(vec![life.failed()])).await.unwrap();
    assert_eq!(store.plan(&id(&life.plan)).await.unwrap().unwrap().state, State::Failed);
    assert!(!reserve_of(folder.path()).exists());
    // There is room again: the reserve comes first, then the rest.
    store.append(txn(vec![started()])).await.unwrap();
    assert_eq!(fs::metadata(reserve_of(folder.path())).unwrap().len(), 128 * 1024);
}

#[tokio::test]
async fn without_room_for_the_reserve_only_the_essential_is_taken() {
    let folder = TempDir::new().unwrap();
    // A folder in its place: the reserve cannot be made.
    fs::create_dir(reserve_of(folder.path())).unwrap();
    fs::write(reserve_of(folder.path()).join("in-the-way"), "").unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(store.append(txn(vec![started()])).await, Err(StoreError::Full(_))));
    assert_eq!(store.append(essential(vec![started()])).await.unwrap().first_index, 0);
    fs::remove_dir_all(reserve_of(folder.path())).unwrap();
    assert_eq!(store.append(txn(vec![started()])).await.unwrap().first_index, 1);
}

#[tokio::test]
async fn inv01_a_failed_commit_closes_the_store() {
    let folder = TempDir::new().unwrap();
    let store = open_with(folder.path(), Script::default().then(None).then(BROKEN));
    store.append(txn(vec![started()])).await.unwrap();
    let before = store.head();
    for _ in 0..3 {
        assert!(matches!(store.append(txn(vec![started()])).await, Err(StoreError::Closed(_))));
        assert!(matches!(store.append(essential(vec![started()])).await, Err(StoreError::Closed(_))));
    }
    assert_eq!(store.head(), before);
    drop(store);
    assert_eq!(open(folder.path()).unwrap().head().size, 1);
}

#[tokio::test]
async fn inv03_done_but_not_reported_is_found_by_the_restart() {
    let folder = TempDir::new().unwrap();
    let store = open_with(folder.path(), Script::default().then(None).then(DONE_BUT_BROKEN));
    let life = Life::new("a", 1);
    store.append(txn(life.to_permit())).await.unwrap();
    // Nobody may start anything on this answer, nor take it for a refusal.
    assert!(matches!(store.append(txn(vec![life.claimed()])).await, Err(StoreError::Closed(_))));
    assert_eq!(store.head().size, 3, "what was not reported is not shown");
    assert_eq!(store.history(&id(&life.plan)).await.unwrap().len(), 3);
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.plan(&id(&life.plan)).await.unwrap().unwrap().state, State::Claimed);
    assert!(matches!(store.append(txn(vec![life.claimed()])).await, Err(StoreError::Flow(_))));
}

const CHILD: &str = "HOLDPOINT_STORE_ON_A_FULL_DISK";
const PASSED: &str = "the full disk was survived";

/// A real full disk: a small file system of its own, in a mount namespace of its own, so that nothing is left behind.
#[test]
fn inv01_a_disk_that_is_really_full() {
    let folder = TempDir::new().unwrap();
    let run = |unshare: &[&str]| {
        Command::new("unshare")
            .args(unshare)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "store::disk::child_on_a_full_disk", "--nocapture"])
            .env(CHILD, folder.path())
            .output()
    };
    let may = |unshare: &[&str]| {
        let mount = ["sh", "-c", "mount -t tmpfs -o size=1m none \"$0\""];
        let tried = Command::new("unshare").args(unshare).args(mount).arg(folder.path()).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(ways) = [["--mount"].as_slice(), &["--user", "--map-root-user", "--mount"]]
        .into_iter()
        .find(|ways| may(ways))
    else {
        println!("this machine lets us mount nothing: the scripted faults above have to do");
        return;
    };
    let output = run(ways).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(PASSED),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs in the mount namespace of [`inv01_a_disk_that_is_really_full`]. As a test it does nothing.
#[tokio::test]
async fn child_on_a_full_disk() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let folder = Path::new(&folder);
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(folder).status();
    assert!(mount.unwrap().success());

    let store = open(folder).unwrap();
    let life = Life::new("a", 1);
    store.append(txn([life.to_permit(), vec![life.claimed()]].concat())).await.unwrap();
    let filler = folder.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}

    let acknowledged = until_full(&store).await;
    let head = store.head();
    assert_eq!(head.size, acknowledged);
    assert!(matches!(store.append(txn(vec![started(); 32])).await, Err(StoreError::Full(_))));
    assert_eq!(store.head(), head);
    // The run that is under way can still be ended and recorded, and nothing new is taken on.
    store.append(essential(vec![life.failed()])).await.unwrap();
    assert!(!reserve_of(folder).exists());
    while file.write_all(&[1; 4096]).is_ok() {}
    assert!(matches!(store.append(txn(vec![started(); 32])).await, Err(StoreError::Full(_))));

    drop(file);
    fs::remove_file(&filler).unwrap();
    assert_eq!(store.append(txn(vec![started()])).await.unwrap().first_index, head.size + 1);
    assert!(reserve_of(folder).exists());
    drop(store);
    let store = open(folder).unwrap();
    assert_eq!(store.head().size, head.size + 2);
    assert_eq!(store.plan(&id(&life.plan)).await.unwrap().unwrap().state, State::Failed);
    println!("{PASSED}");
}

/// Appends until there is no room, and returns how many entries were acknowledged.
async fn until_full(store: &SqliteStore) -> u64 {
    let mut size = store.head().size;
    for _ in 0..10_000 {
        match store.append(txn(vec![started(); 32])).await {
            Ok(appended) => size = appended.size,
            Err(StoreError::Full(_)) => return size,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk did not fill up");
}

const LOCKER: &str = "HOLDPOINT_STORE_TO_LOCK";

/// Another process has the database for itself for longer than the store waits: refused, not closed, and nothing is lost.
#[tokio::test]
async fn inv01_a_database_that_another_process_locked_is_closed_for_no_longer_than_that() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    let life = Life::new("a", 1);
    store.append(txn([life.to_permit(), vec![life.claimed()]].concat())).await.unwrap();
    let before = store.head();
    let mut locker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::disk::child_that_locks_the_database", "--nocapture"])
        .env(LOCKER, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(locker.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("locked")));

    let refused = store.append(txn(vec![started()])).await;
    assert!(matches!(&refused, Err(StoreError::Full(why)) if why.contains("locked")), "{refused:?}");
    assert_eq!((store.head(), store.closed()), (before.clone(), None));
    // What was synced can be read all the while, and a second gate does not come in by the back door.
    assert_eq!(store.history(&id(&life.plan)).await.unwrap().len(), 4);
    assert!(matches!(open(folder.path()).map(|_| ()), Err(OpenError::InUse { .. })));

    drop(locker.stdin.take());
    assert!(locker.wait().unwrap().success());
    store.append(essential(vec![life.failed()])).await.unwrap();
    store.append(txn(vec![started()])).await.unwrap();
    assert!(reserve_of(folder.path()).exists());
    drop(store);
    assert_eq!(open(folder.path()).unwrap().head().size, before.size + 2);
}

/// Locks the database of [`inv01_a_database_that_another_process_locked_is_closed_for_no_longer_than_that`] until its
/// standard input ends. As a test it does nothing.
#[test]
fn child_that_locks_the_database() {
    let Some(folder) = std::env::var_os(LOCKER) else { return };
    let conn = rusqlite::Connection::open(Path::new(&folder).join("store.db")).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    println!("locked");
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).unwrap();
}
