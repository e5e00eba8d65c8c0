//! A directory of files, executors over them, and permits for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::{
    executor::Authority,
    lease::{Backends, LeaseTable},
};
use holdpoint_app::port::{
    Acted, ActedPhase, Clock as _, ExecuteError, Executor, Issuer as _, Observation, ObserveError, Observer,
    Preview, Work,
};
use holdpoint_domain::{
    Digest, Tier,
    action::{Action, Catalogue},
    lease::Lease,
    permit::{Grant, Permit},
    plan::{ParamValue, Plan, Requester, Step},
    target::Target,
    trigger::Condition,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    scene::{ORIGIN, approve, bound, grant, intent, key, lease_info, pins, receipt, sign, within},
    support::{StoppedClock, at, id},
};

/// A parameter's name and value.
pub(crate) type Param = (&'static str, ParamValue);

/// Everything around one executor, as the gate wires it.
pub(crate) struct Stage {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) clock: Arc<StoppedClock>,
    pub(crate) executor: Box<dyn Executor>,
    pub(crate) observer: Box<dyn Observer>,
    catalogue: Arc<Catalogue>,
    issuer: Backends,
    name: &'static str,
}

/// What an executor is made of.
pub(crate) struct Parts {
    pub(crate) authority: Authority,
    pub(crate) leases: Arc<LeaseTable>,
    pub(crate) clock: Arc<StoppedClock>,
}

/// A signed permit with its plan and lease.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) jws: String,
    pub(crate) plan: Plan,
    pub(crate) lease: Lease,
    pub(crate) grant: Grant,
}

impl Ticket {
    pub(crate) fn work(&self) -> Work<'_> {
        Work { jws: &self.jws, plan: &self.plan, step: 0, lease: &self.lease }
    }
}

pub(crate) fn catalogue() -> Arc<Catalogue> {
    let action = |id: &str, executor: &str, undo: &str, more: Value| -> Action {
        let mut entry = json!({
            "id": id, "title": "a test", "executor": executor, "reversibility": "reversible", "idempotent": true,
            "tier": "T2", "undo": undo, "undo_window_ms": 3_600_000, "verify": "up", "triggers": ["hung"],
            "soak_ms": 1, "settle_ms": 1,
            "cap": {"targets": 1, "services": 1, "critical": 1, "replica_share_percent": 100},
        });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(entry).unwrap()
    };
    let condition = |id: &str| -> Condition {
        serde_json::from_value(json!({"id": id, "title": "a test", "needs": 1, "probes": [
            {"endpoint": "health", "timeout_ms": 1000, "check": {"kind": "http", "expect": "ok"}}
        ]}))
        .unwrap()
    };
    let variant = json!({"params": {"variant": {"type": "choice", "of": ["on", "off", "blue", "nowhere"]}}});
    let pool = json!({"pool_size": {"type": "int", "min": 0, "max": 100_000}});
    let all = json!({
        "pool_size": {"type": "int", "min": 0, "max": 100_000}, "fast": {"type": "bool"},
        "level": {"type": "choice", "of": ["info", "debug"]},
    });
    let rotates = json!({
        "touches": {"secrets": "rotates"}, "tier": "T4", "reversibility": "irreversible", "idempotent": false,
    });
    let actions = vec![
        action("flags.disable", "flags", "snapshot", json!({})),
        action("flags.enable", "flags", "snapshot", json!({})),
        action("flags.set-variant", "flags", "snapshot", variant.clone()),
        action("flags.disable-all", "flags", "snapshot", json!({})),
        action("config.set-pool", "config", "snapshot", json!({"params": pool})),
        action("config.set-all", "config", "snapshot", json!({"params": all})),
        action("config.touch", "config", "snapshot", json!({})),
        action("config.set-variant", "config", "snapshot", variant),
        action("secret.rotate", "secret", "none", rotates),
        action("job.clear-cache", "job", "inverse", json!({"params": all_of_a_job()})),
        action("job.purge", "job", "none", json!({"tier": "T3"})),
        action("nginx.isolate", "nginx", "inverse", json!({})),
        action("nginx.restore", "nginx", "inverse", json!({})),
        action("nginx.drain", "nginx", "inverse", json!({})),
    ];
    Arc::new(Catalogue::new(actions, vec![condition("up"), condition("hung")]).unwrap())
}

/// A parameter of each type that a job is given.
fn all_of_a_job() -> Value {
    json!({
        "keep": {"type": "int", "min": 0, "max": 10}, "force": {"type": "bool"},
        "scope": {"type": "choice", "of": ["all", "stale"]},
    })
}

impl Stage {
    /// A stage over `dir`; `make` makes the executor and its observer.
    pub(crate) fn over(
        dir: Arc<TempDir>,
        name: &'static str,
        targets: &[&str],
        make: impl FnOnce(Parts) -> (Box<dyn Executor>, Box<dyn Observer>),
    ) -> Self {
        let (catalogue, clock) = (catalogue(), Arc::new(StoppedClock::new()));
        let leases = Arc::new(LeaseTable::new());
        let pins = pins(Arc::clone(&catalogue));
        let log = key(ORIGIN).verifier_key().unwrap();
        let issuer = Backends::local(leases.clone(), pins.clone(), log, clock.clone());
        let actions: BTreeSet<_> = catalogue.actions().map(|action| action.id.clone()).collect();
        let targets = targets.iter().map(|target| id(target)).collect();
        let authority =
            Authority { name: id(name), key: key("executor").public_key(), pins, actions, targets };
        let (executor, observer) = make(Parts { authority, leases, clock: clock.clone() });
        Self { dir, clock, executor, observer, catalogue, issuer, name }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What an action would change of a target as it is now.
    pub(crate) async fn preview(&self, action: &str, target: &str, params: &[Param]) -> Preview {
        let entry = self.catalogue.action(&id(action)).unwrap();
        let step = Step {
            action: id(action),
            entry: entry.digest().unwrap(),
            target: id(target),
            expected_version: Digest::of_bytes(b"any"),
            params: params.iter().map(|(name, value)| (id(name), value.clone())).collect(),
            undo: entry.undo,
        };
        let target = Target {
            id: id(target),
            service: id("web"),
            executor: id(self.name),
            endpoints: [].into(),
            labels: [].into(),
            shares: [].into(),
        };
        self.observer.preview(entry, &target, &step).await.unwrap().unwrap()
    }

    pub(crate) async fn try_observe(&self, action: &str, target: &str) -> Result<Observation, ObserveError> {
        let target = Target {
            id: id(target),
            service: id("web"),
            executor: id(self.name),
            endpoints: [].into(),
            labels: [].into(),
            shares: [].into(),
        };
        self.observer.observe(self.catalogue.action(&id(action)).unwrap(), &target).await
    }

    pub(crate) async fn observe(&self, action: &str, target: &str) -> Observation {
        self.try_observe(action, target).await.unwrap()
    }

    /// A permit for an action on a target as it is now.
    pub(crate) async fn ticket(&self, action: &str, target: &str, params: &[Param], epoch: u64) -> Ticket {
        let version = self.observe(action, target).await.version;
        self.ticket_for(action, target, params, epoch, version).await
    }

    pub(crate) async fn ticket_for(
        &self,
        action: &str,
        target: &str,
        params: &[Param],
        epoch: u64,
        version: Digest,
    ) -> Ticket {
        let entry = self.catalogue.action(&id(action)).unwrap();
        let step = Step {
            action: id(action),
            entry: entry.digest().unwrap(),
            target: id(target),
            expected_version: version,
            params: params.iter().map(|(name, value)| (id(name), value.clone())).collect::<BTreeMap<_, _>>(),
            undo: entry.undo,
        };
        let requester = Requester { on_behalf_of: Some(id("ada")), ..Requester::alone(id("holmes")) };
        let plan = Plan::new(requester, None, id("hung"), vec![step]).unwrap();
        let mut grant = grant(&plan, entry.tier, epoch);
        within(&mut grant, entry);
        grant.executors = bound(self.name);
        if entry.tier == Tier::T4 {
            approve(&mut grant, &["ben", "cleo"]);
        }
        let jws = sign(&grant, &key("gate"));
        self.leased(jws, plan, grant, "lease").await
    }

    async fn leased(&self, jws: String, plan: Plan, grant: Grant, lease: &str) -> Ticket {
        let permit = Permit::open(&jws, &key("gate").public_key()).unwrap();
        let receipt = receipt(&intent(&grant), &key(ORIGIN));
        let mut info = lease_info(&grant, &plan);
        info.id = id(&format!("{lease}-{}", grant.id));
        info.expires_at_ms = at(self.clock.now().ms() + 10 * 60 * 1000);
        let lease = self.issuer.issue(info, &permit, &receipt, &plan).await.unwrap();
        Ticket { jws, plan, lease, grant }
    }

    /// The same permit with another lease, as after a restart of the gate.
    pub(crate) async fn lease_again(&self, ticket: &Ticket) -> Ticket {
        let Ticket { jws, plan, grant, .. } = ticket.clone();
        self.leased(jws, plan, grant, "again").await
    }

    /// Another permit of the same epoch, as from a gate that was restored from a copy.
    pub(crate) async fn twin(&self, ticket: &Ticket) -> Ticket {
        let mut grant = ticket.grant.clone();
        grant.id = id("permit-twin");
        let jws = sign(&grant, &key("gate"));
        self.leased(jws, ticket.plan.clone(), grant, "twin").await
    }

    pub(crate) async fn revoke(&self, ticket: &Ticket) {
        self.issuer.revoke(None, &ticket.lease.info.id).await.unwrap();
    }
}

/// The state file of a target.
pub(crate) fn state(dir: &Path, target: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(format!("state/{target}.json"))).unwrap()).unwrap()
}

pub(crate) fn write_state(dir: &Path, target: &str, state: &Value) {
    fs::write(dir.join(format!("state/{target}.json")), state.to_string()).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Which run acted last, and how far it got.
pub(crate) fn last(seen: &Observation) -> Option<(u64, ActedPhase)> {
    seen.acted.map(|Acted { epoch, phase, .. }| (epoch, phase))
}

pub(crate) fn refused_by(result: &Result<(), ExecuteError>, check: &str) {
    match result {
        Err(ExecuteError::Refused(why)) => assert!(why.starts_with(&format!("{check}: ")), "{why}"),
        other => panic!("expected a refusal by `{check}`, got {other:?}"),
    }
}

/// The reason of a failure that touched nothing.
pub(crate) fn not_done(result: &Result<(), ExecuteError>) -> String {
    match result {
        Err(ExecuteError::NotDone(why)) => why.clone(),
        other => panic!("expected that nothing was done, got {other:?}"),
    }
}

/// The reason why nobody knows.
pub(crate) fn unknown(result: &Result<(), ExecuteError>) -> String {
    match result {
        Err(ExecuteError::Unknown(why)) => why.clone(),
        other => panic!("expected that nobody knows, got {other:?}"),
    }
}
