//! The executor for processes: what a permit starts and stops, once, in its version, behind its fence.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use holdpoint_adapters::{
    executor::{
        Dispatch,
        process::{ProcessExecutor, ProcessObserver, Supervisor, Unit, UnitReader},
    },
    lease::{Backends, LeaseTable},
};
use holdpoint_app::port::{
    Acted, ActedPhase, Clock as _, ExecuteError, Executor, Issuer as _, Observation, ObserveError,
    Observer as _, Work,
};
use holdpoint_domain::{
    Digest, Tier,
    action::Catalogue,
    lease::Lease,
    permit::{Grant, Permit},
    plan::Plan,
    target::Target,
};

use super::{
    scene::{
        ORIGIN, approve, authority, catalogue, grant, intent, key, lease_info, pins, plan, receipt, sign,
        unminted,
    },
    supervise::{Yard, exists, kill, pause, pid, sleeper, state, stubborn},
    support::{NOW_MS, StoppedClock, at, id, wait_until},
};

/// An executor with everything around it, as the gate wires it.
struct Stage {
    yard: Yard,
    catalogue: Arc<Catalogue>,
    clock: Arc<StoppedClock>,
    supervisor: Arc<Supervisor>,
    executor: Arc<Dispatch>,
    issuer: Backends,
}

/// A signed permit with its plan and lease.
#[derive(Clone)]
struct Ticket {
    jws: String,
    plan: Plan,
    lease: Lease,
    grant: Grant,
}

impl Ticket {
    fn work(&self) -> Work<'_> {
        Work { jws: &self.jws, plan: &self.plan, step: 0, lease: &self.lease }
    }
}

impl Stage {
    fn new(units: Vec<Unit>) -> Self {
        Self::over(Yard::new(), units)
    }

    fn over(yard: Yard, units: Vec<Unit>) -> Self {
        let (catalogue, clock) = (catalogue(), Arc::new(StoppedClock::new()));
        let table = Arc::new(LeaseTable::new());
        let log = key(ORIGIN).verifier_key().unwrap();
        let issuer = Backends::local(table.clone(), pins(Arc::clone(&catalogue)), log, clock.clone());
        let supervisor = Arc::new(Supervisor::open(yard.path(), units).unwrap());
        supervisor.ensure_started().unwrap();
        let authority = authority(Arc::clone(&catalogue), &["web-1", "web-2", "ghost"]);
        let executor = ProcessExecutor::new(authority, table, Arc::clone(&supervisor), clock.clone());
        let observer = ProcessObserver::new(supervisor.reader());
        let executor = Dispatch::new(Arc::clone(&catalogue))
            .with_executor(id("process"), Arc::new(executor))
            .with_observer(id("process"), Arc::new(observer));
        Self { yard, catalogue, clock, supervisor, executor: Arc::new(executor), issuer }
    }

    /// The gate dies and comes back: the supervisor, the executor and the table of leases are new.
    fn restart(self, units: Vec<Unit>) -> Self {
        let Self { yard, supervisor, executor, .. } = self;
        drop(executor);
        drop(supervisor);
        Self::over(yard, units)
    }

    async fn observe(&self, action: &str, target: &str) -> Observation {
        let target = self::target(target, "process");
        self.executor.observe(self.catalogue.action(&id(action)).unwrap(), &target).await.unwrap()
    }

    async fn version(&self) -> Digest {
        self.observe("process.stop", "web-1").await.version
    }

    async fn ticket(&self, action: &str, target: &str, epoch: u64) -> Ticket {
        let version = self.observe("process.stop", target).await.version;
        let plan = plan(&self.catalogue, action, target, version);
        self.sign(plan, epoch).await
    }

    async fn sign(&self, plan: Plan, epoch: u64) -> Ticket {
        let grant = grant(&plan, Tier::T2, epoch);
        let jws = sign(&grant, &key("gate"));
        let permit = Permit::open(&jws, &key("gate").public_key()).unwrap();
        let receipt = receipt(&intent(&grant), &key(ORIGIN));
        let lease = self.issuer.issue(lease_info(&grant, &plan), &permit, &receipt, &plan).await.unwrap();
        Ticket { jws, plan, lease, grant }
    }

    /// The same permit with another lease, as after a restart of the gate.
    async fn lease_again(&self, ticket: &Ticket) -> Ticket {
        let permit = Permit::open(&ticket.jws, &key("gate").public_key()).unwrap();
        let receipt = receipt(&intent(&ticket.grant), &key(ORIGIN));
        let mut info = lease_info(&ticket.grant, &ticket.plan);
        let now = self.clock.now();
        info.id = id(&format!("again-{}-{}", ticket.grant.epoch, now.ms()));
        info.expires_at_ms = at(now.ms() + 10 * 60 * 1000);
        let lease = self.issuer.issue(info, &permit, &receipt, &ticket.plan).await.unwrap();
        Ticket { lease, ..ticket.clone() }
    }

    fn pid(&self) -> u64 {
        pid(self.yard.path(), "web-1")
    }
}

fn target(name: &str, executor: &str) -> Target {
    Target {
        id: id(name),
        service: id("web"),
        executor: id(executor),
        endpoints: [].into(),
        labels: [].into(),
        shares: [].into(),
    }
}

fn acted(epoch: u64, phase: ActedPhase) -> Option<(u64, ActedPhase)> {
    Some((epoch, phase))
}

/// Which run acted last, and how far it got.
fn last(seen: &Observation) -> Option<(u64, ActedPhase)> {
    seen.acted.map(|Acted { epoch, phase, .. }| (epoch, phase))
}

fn refused_by(result: &Result<(), ExecuteError>, check: &str) {
    match result {
        Err(ExecuteError::Refused(why)) => assert!(why.starts_with(&format!("{check}: ")), "{why}"),
        other => panic!("expected a refusal by `{check}`, got {other:?}"),
    }
}

#[tokio::test]
async fn restart_replaces_the_process_once() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let before = stage.observe("process.restart", "web-1").await;
    assert!(!before.down && before.undo_computed && before.acted.is_none());
    let old = stage.pid();
    let ticket = stage.ticket("process.restart", "web-1", 5).await;

    stage.executor.rehearse(ticket.work()).await.unwrap();
    assert_eq!(stage.observe("process.restart", "web-1").await, before, "a rehearsal touches nothing");

    stage.executor.apply(ticket.work()).await.unwrap();
    let after = stage.observe("process.restart", "web-1").await;
    assert_ne!(after.version, before.version);
    assert!(!after.down && last(&after) == acted(5, ActedPhase::Applied));
    assert!(!is_alive(old));
    let new = stage.pid();

    // inv02: the same permit again does nothing, whatever happened to the target since.
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!((stage.pid(), stage.version().await), (new, after.version));
}

#[tokio::test]
async fn stop_and_undo() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let old = stage.pid();
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let stopped = stage.observe("process.stop", "web-1").await;
    assert!(stopped.down && !stopped.undo_computed && !is_alive(old));
    assert_eq!(last(&stopped), acted(1, ActedPhase::Applied));
    assert_eq!(stage.supervisor.ensure_started().unwrap(), [], "what a permit stopped stays stopped");

    stage.executor.undo(ticket.work(), &stopped.version).await.unwrap();
    let undone = stage.observe("process.stop", "web-1").await;
    assert!(!undone.down && last(&undone) == acted(1, ActedPhase::Undone));
    // Undoing twice does nothing; applying after an undo is refused.
    stage.executor.undo(ticket.work(), &stopped.version).await.unwrap();
    refused_by(&stage.executor.apply(ticket.work()).await, "phase");
    assert_eq!(stage.version().await, undone.version);
}

#[tokio::test]
async fn undo_of_a_restart_leaves_a_running_process_alone() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let ticket = stage.ticket("process.restart", "web-1", 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let (pid, after) = (stage.pid(), stage.version().await);
    stage.executor.undo(ticket.work(), &after).await.unwrap();
    assert_eq!(stage.pid(), pid);
    assert_eq!(last(&stage.observe("process.restart", "web-1").await), acted(1, ActedPhase::Undone));
}

#[tokio::test]
async fn inv02_undo_never_overwrites_what_somebody_changed_since() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let first = stage.ticket("process.stop", "web-1", 1).await;
    // Nothing was done yet, so there is nothing to undo.
    refused_by(&stage.executor.undo(first.work(), &stage.version().await).await, "phase");
    stage.executor.apply(first.work()).await.unwrap();
    let left = stage.version().await;
    refused_by(&stage.executor.undo(first.work(), &Digest::of_bytes(b"another")).await, "version");
    // Somebody else's run brings the unit back.
    let second = stage.ticket("process.restart", "web-1", 2).await;
    stage.executor.apply(second.work()).await.unwrap();
    let theirs = stage.version().await;
    refused_by(&stage.executor.undo(first.work(), &left).await, "epoch");
    refused_by(&stage.executor.undo(first.work(), &theirs).await, "epoch");
    assert_eq!(stage.version().await, theirs);
}

#[tokio::test]
async fn the_version_is_checked_at_the_write() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let ticket = stage.ticket("process.restart", "web-1", 1).await;
    kill(stage.pid());
    wait_until("it is gone", || !exists(pid(stage.yard.path(), "web-1")));
    refused_by(&stage.executor.rehearse(ticket.work()).await, "version");
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    let seen = stage.observe("process.restart", "web-1").await;
    assert!(seen.down && seen.acted.is_none());
    // A permit for the unit as it is brings it back.
    let ticket = stage.ticket("process.restart", "web-1", 2).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    assert!(!stage.observe("process.restart", "web-1").await.down);
}

#[tokio::test]
async fn what_does_not_run_cannot_be_stopped() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    kill(stage.pid());
    wait_until("it is gone", || !exists(pid(stage.yard.path(), "web-1")));
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    refused_by(&stage.executor.rehearse(ticket.work()).await, "operation");
    refused_by(&stage.executor.apply(ticket.work()).await, "operation");
    assert_eq!(stage.observe("process.stop", "web-1").await.acted, None);
}

#[tokio::test]
async fn t09_an_older_permit_is_fenced_at_the_write() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let version = stage.version().await;
    let older = stage.sign(plan(&stage.catalogue, "process.stop", "web-1", version), 7).await;
    let newer = stage.ticket("process.restart", "web-1", 8).await;
    stage.executor.rehearse(older.work()).await.unwrap();
    stage.executor.apply(newer.work()).await.unwrap();
    let after = stage.version().await;
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    refused_by(&stage.executor.rehearse(older.work()).await, "epoch");
    refused_by(&stage.executor.undo(older.work(), &after).await, "epoch");
    assert_eq!(stage.version().await, after);

    // The fence is the target's own memory: it outlives the gate.
    let stage = stage.restart(vec![sleeper("web-1")]);
    let again = stage.lease_again(&older).await;
    refused_by(&stage.executor.apply(again.work()).await, "epoch");

    // The same epoch under another permit is a gate that was restored from a copy.
    let mut twin = stage.ticket("process.stop", "web-1", 8).await;
    twin.grant.id = id("permit-twin");
    twin.jws = sign(&twin.grant, &key("gate"));
    let twin = stage.lease_again(&twin).await;
    refused_by(&stage.executor.apply(twin.work()).await, "epoch");
    assert_eq!(stage.version().await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_a_permit_that_waited_at_the_lock_is_checked_after_it() {
    // The stop takes its grace, because the unit takes no hint; everything else waits at the unit's lock meanwhile.
    let stage = Arc::new(Stage::new(vec![stubborn("web-1")]));
    let log = stage.yard.path().join("web-1.log");
    wait_until("the unit is ready", || fs::read_to_string(&log).unwrap().contains("ready"));
    let version = stage.version().await;
    let older = stage.sign(plan(&stage.catalogue, "process.stop", "web-1", version), 1).await;
    let revoked = stage.sign(plan(&stage.catalogue, "process.stop", "web-1", version), 3).await;
    let newer = stage.sign(plan(&stage.catalogue, "process.restart", "web-1", version), 2).await;
    let apply = |ticket: Ticket| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move { stage.executor.apply(ticket.work()).await })
    };
    let first = apply(newer);
    wait_until("the newer permit holds the lock", || fs::read_to_string(&log).unwrap().contains("heard"));
    let (second, third) = (apply(older), apply(revoked.clone()));
    stage.issuer.revoke(None, &revoked.lease.info.id).await.unwrap();
    first.await.unwrap().unwrap();
    refused_by(&second.await.unwrap(), "epoch");
    // Revoked before it got the lock, or by then fenced by nothing but its version: it did nothing either way.
    assert!(matches!(third.await.unwrap(), Err(ExecuteError::Refused(_))));
    assert_eq!(last(&stage.observe("process.restart", "web-1").await), acted(2, ActedPhase::Applied));
}

#[tokio::test]
async fn a_unit_that_takes_no_hint_is_killed_with_its_whole_group() {
    let stage = Stage::new(vec![stubborn("web-1")]);
    let log = stage.yard.path().join("web-1.log");
    wait_until("the unit is ready", || fs::read_to_string(&log).unwrap().contains("ready"));
    let text = fs::read_to_string(&log).unwrap();
    let child: u64 = text.split("child ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let leader = stage.pid();
    assert!(exists(child) && exists(leader));
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains("heard"), "it was asked first");
    wait_until("both are gone", || !exists(leader) && !is_alive(child));
}

/// Whether a process lives: in a container without an init, what is left of an orphan may stay a zombie.
fn is_alive(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| !text.contains(") Z "))
}

#[tokio::test]
async fn a_stopped_process_is_woken_to_end() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let pid = stage.pid();
    pause(pid);
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn inv08_the_lease_is_checked_at_the_use() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    let version = stage.version().await;
    let mut guessed = ticket.clone();
    guessed.lease.secret = holdpoint_domain::lease::LeaseSecret::new("guessed".to_owned());
    refused_by(&stage.executor.apply(guessed.work()).await, "lease");
    stage.clock.set_ms(ticket.lease.info.expires_at_ms.ms());
    refused_by(&stage.executor.apply(ticket.work()).await, "lease");
    stage.clock.set_ms(NOW_MS);
    stage.issuer.revoke(None, &ticket.lease.info.id).await.unwrap();
    refused_by(&stage.executor.apply(ticket.work()).await, "lease");
    refused_by(&stage.executor.rehearse(ticket.work()).await, "lease");
    refused_by(&stage.executor.undo(ticket.work(), &version).await, "lease");
    assert_eq!(stage.version().await, version);
    assert!(
        !stage.yard.path().join("web-1.json").exists()
            || state(stage.yard.path(), "web-1")["acted"].is_null()
    );
}

#[tokio::test]
async fn inv02_an_undo_is_still_possible_after_a_restart_and_after_the_start_window() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.version().await;
    let stage = stage.restart(vec![sleeper("web-1")]);
    assert_eq!(stage.version().await, left, "a restart of the gate changes nothing about the target");
    stage.clock.set_ms(ticket.grant.start_before_ms.ms());
    refused_by(&stage.executor.undo(ticket.work(), &left).await, "lease");
    let again = stage.lease_again(&ticket).await;
    refused_by(&stage.executor.apply(again.work()).await, "time");
    stage.executor.undo(again.work(), &left).await.unwrap();
    assert!(!stage.observe("process.stop", "web-1").await.down);
}

#[tokio::test]
async fn inv03_a_crash_half_way_shows_as_begun() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let ticket = stage.ticket("process.restart", "web-1", 4).await;
    let expected = stage.version().await;
    // What is on disk after the announcement and before the effect.
    let path = stage.yard.path().join("web-1.json");
    let mut begun = state(stage.yard.path(), "web-1");
    begun["highest_epoch"] = 4.into();
    begun["acted"] = serde_json::json!({"epoch": 4, "permit": "permit-4", "phase": "begun"});
    begun["starting"] = "a-mark".into();
    fs::write(&path, begun.to_string()).unwrap();
    let stage = stage.restart(vec![sleeper("web-1")]);
    let seen = stage.observe("process.restart", "web-1").await;
    assert_eq!((seen.version, last(&seen)), (expected, acted(4, ActedPhase::Begun)));
    // The version is exactly the one before, so the same permit may try again.
    let again = stage.lease_again(&ticket).await;
    stage.executor.apply(again.work()).await.unwrap();

    // After the old process was ended and before the new one was started.
    begun["process"] = state(stage.yard.path(), "web-1")["process"].clone();
    fs::write(&path, begun.to_string()).unwrap();
    kill(stage.pid());
    let gone = stage.pid();
    wait_until("it is gone", || !exists(gone));
    let stage = stage.restart(vec![sleeper("web-1")]);
    let seen = stage.observe("process.restart", "web-1").await;
    assert!(seen.down && last(&seen) == acted(4, ActedPhase::Begun), "a unit in doubt is started by nobody");
    let again = stage.lease_again(&ticket).await;
    refused_by(&stage.executor.apply(again.work()).await, "version");
    stage.executor.undo(again.work(), &seen.version).await.unwrap();
    assert!(!stage.observe("process.restart", "web-1").await.down);
}

#[tokio::test]
async fn inv01_nothing_is_touched_when_the_state_cannot_be_written() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let before = stage.observe("process.stop", "web-1").await;
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    // Writing the temporary file fails for any user, root included: a directory is in its place.
    fs::create_dir(stage.yard.path().join(".web-1.json.tmp")).unwrap();
    let applied = stage.executor.apply(ticket.work()).await;
    assert!(matches!(applied, Err(ExecuteError::NotDone(_))), "{applied:?}");
    assert_eq!(stage.observe("process.stop", "web-1").await, before);
    fs::remove_dir(stage.yard.path().join(".web-1.json.tmp")).unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
}

#[tokio::test]
async fn a_program_that_cannot_be_started_again_is_not_stopped() {
    let yard = Yard::new();
    let program = yard.path().join("program");
    symlink("/bin/sleep", &program).unwrap();
    let unit = super::supervise::unit("web-1", &[&program.display().to_string(), "1000"], &[]);
    let stage = Stage::over(yard, vec![unit]);
    let before = stage.observe("process.restart", "web-1").await;
    let ticket = stage.ticket("process.restart", "web-1", 1).await;
    fs::remove_file(&program).unwrap();
    for result in [stage.executor.rehearse(ticket.work()).await, stage.executor.apply(ticket.work()).await] {
        assert!(matches!(result, Err(ExecuteError::NotDone(_))), "{result:?}");
    }
    assert_eq!(stage.observe("process.restart", "web-1").await, before);
}

#[tokio::test]
async fn what_nobody_here_can_do_is_refused() {
    let stage = Stage::new(vec![sleeper("web-1"), sleeper("web-2")]);
    let version = stage.version().await;
    // An action of this executor's catalogue that it has no operation for, approved and all.
    let wipe = plan(&stage.catalogue, "process.wipe", "web-1", version);
    let mut permit = grant(&wipe, Tier::T3, 2);
    approve(&mut permit, &["ben"]);
    let lease = unminted(lease_info(&permit, &wipe));
    let wiping = Ticket { jws: sign(&permit, &key("gate")), plan: wipe, lease, grant: permit };
    refused_by(&stage.executor.apply(wiping.work()).await, "operation");
    let ticket = stage.ticket("process.stop", "web-1", 1).await;
    // A unit that is on the list and not configured.
    let ghost = stage.sign(plan(&stage.catalogue, "process.stop", "ghost", version), 3).await;
    refused_by(&stage.executor.apply(ghost.work()).await, "unit");
    // An executor that is not here.
    let other = plan(&stage.catalogue, "other.act", "web-1", version);
    let work = Work { plan: &other, ..ticket.work() };
    refused_by(&stage.executor.apply(work).await, "executor");
    refused_by(&stage.executor.rehearse(Work { step: 9, ..ticket.work() }).await, "step");
    assert_eq!(stage.version().await, version);

    // And for looking.
    let entry = |name: &str| stage.catalogue.action(&id(name)).unwrap().clone();
    let observe = async |action: &str, target: &Target| stage.executor.observe(&entry(action), target).await;
    let no_reader = |observed| matches!(observed, Err(ObserveError::NoReader(_)));
    assert!(no_reader(observe("other.act", &target("web-1", "other")).await));
    assert!(no_reader(observe("other.act", &target("web-1", "process")).await));
    assert!(no_reader(observe("process.stop", &target("web-1", "other")).await));
    let unknown = observe("process.stop", &target("web-9", "process")).await;
    assert_eq!(unknown, Err(ObserveError::Unknown(id("web-9"))));
    assert!(!observe("process.wipe", &target("web-1", "process")).await.unwrap().undo_computed);
}

#[tokio::test]
async fn a_unit_with_other_arguments_has_another_version() {
    let stage = Stage::new(vec![sleeper("web-1")]);
    let version = stage.version().await;
    let other = super::supervise::unit("web-1", &["/bin/sleep", "1001"], &[]);
    let reader = UnitReader::new(stage.yard.path().to_owned(), vec![other]).unwrap();
    let seen = reader.look(&id("web-1")).unwrap().unwrap();
    assert!(
        seen.runs && seen.version != version,
        "a restart would start something else than what was approved"
    );
}
