//! Permits and leases for sessions of a database, as a gate would make them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdpoint_adapters::{
    executor::{
        Authority,
        postgres::{Database, DatabaseExecutor, DatabaseObserver, Databases},
    },
    lease::{Backend, Backends, LeaseTable, PostgresRoles, PostgresSpec},
    postgres::{CANCEL, TERMINATE},
    system::Seed,
};
use holdpoint_app::port::{IssueError, Issuer as _, Observer as _, Work};
use holdpoint_domain::{
    Digest, Id, Tier,
    action::{Action, Catalogue},
    id::kind,
    lease::{Lease, LeaseInfo, Scope, Terms, Ttl},
    permit::Permit,
    plan::{ParamValue, Plan, Requester, Step},
    target::Target,
    trigger::Condition,
};
use serde_json::json;

use super::server::{Named, Place};
use crate::world::{
    scene::{ORIGIN, approve, bound, grant, intent, key, pins, receipt, sign, within},
    support::{NOW_MS, StoppedClock, at, id},
};

pub(in crate::world) struct Desk {
    pub(in crate::world) issuer: Backends,
    pub(in crate::world) roles: Arc<dyn Backend>,
    pub(in crate::world) clock: Arc<StoppedClock>,
    pub(in crate::world) catalogue: Arc<Catalogue>,
    pub(in crate::world) databases: Arc<Databases>,
}

/// A permit with its plan and its lease.
pub(in crate::world) struct Ticket {
    pub(in crate::world) plan: Plan,
    pub(in crate::world) lease: Lease,
    jws: String,
}

impl Ticket {
    pub(in crate::world) fn work(&self) -> Work<'_> {
        Work { jws: &self.jws, plan: &self.plan, step: 0, lease: &self.lease }
    }

    /// The user and the password of the lease.
    pub(in crate::world) fn login(&self) -> (String, String) {
        let login: serde_json::Value = serde_json::from_str(self.lease.secret.expose()).unwrap();
        (login["user"].as_str().unwrap().to_owned(), login["password"].as_str().unwrap().to_owned())
    }
}

pub(in crate::world) fn catalogue() -> Arc<Catalogue> {
    let number = json!({"type": "int", "min": 1, "max": 9_007_199_254_740_991_i64});
    let action = |id: &str| -> Action {
        serde_json::from_value(json!({
            "id": id, "title": "a test", "executor": "postgres", "reversibility": "irreversible",
            "idempotent": true, "tier": "T3", "undo": "none", "undo_window_ms": 60_000, "verify": "up",
            "triggers": ["hung"], "soak_ms": 1, "settle_ms": 1,
            "params": {"pid": number, "started_us": number},
            "cap": {"targets": 1, "services": 1, "critical": 1, "replica_share_percent": 100},
        }))
        .unwrap()
    };
    let condition = |id: &str| -> Condition {
        serde_json::from_value(json!({"id": id, "title": "a test", "needs": 1, "probes": [
            {"endpoint": "unit", "timeout_ms": 1000, "check": {"kind": "process", "expect": "running"}}
        ]}))
        .unwrap()
    };
    let actions = vec![action(CANCEL), action(TERMINATE)];
    Arc::new(Catalogue::new(actions, vec![condition("up"), condition("hung")]).unwrap())
}

impl Desk {
    pub(in crate::world) fn new(postgres: &Place) -> Self {
        let spec = PostgresSpec {
            name: id("orders-pg"),
            server: postgres.server("shop"),
            user: "holdpoint_issuer".to_owned(),
            password_file: postgres.path("issuer"),
            prefix: "hp".to_owned(),
            max: Ttl::new(300_000).unwrap(),
        };
        Self::over(postgres, Arc::new(PostgresRoles::new(spec, ORIGIN, Seed::from_bytes([5; 32])).unwrap()))
    }

    /// A desk with another backend for the same database.
    pub(in crate::world) fn over(postgres: &Place, roles: Arc<dyn Backend>) -> Self {
        let (clock, catalogue) = (Arc::new(StoppedClock::new()), catalogue());
        let log = key(ORIGIN).verifier_key().unwrap();
        let issuer =
            Backends::local(Arc::new(LeaseTable::new()), pins(Arc::clone(&catalogue)), log, clock.clone());
        let targets = BTreeSet::from([id("orders")]);
        let issuer = issuer.with(Arc::clone(&roles), &targets);
        let database = Database {
            id: id("orders"),
            server: postgres.server("shop"),
            observer: "holdpoint_observer".to_owned(),
            observer_password_file: postgres.path("observer"),
        };
        let databases = Arc::new(Databases::open(&postgres.path("notes"), vec![database]).unwrap());
        Self { issuer, roles, clock, catalogue, databases }
    }

    pub(in crate::world) fn executor(&self) -> DatabaseExecutor {
        let authority = Authority {
            key: key("executor").public_key(),
            name: id("postgres"),
            pins: pins(Arc::clone(&self.catalogue)),
            actions: [CANCEL, TERMINATE].map(id).into(),
            targets: BTreeSet::from([id("orders")]),
        };
        DatabaseExecutor::new(authority, Arc::clone(&self.databases), self.clock.clone())
    }

    pub(in crate::world) async fn observe(&self) -> holdpoint_app::port::Observation {
        let target: Target = serde_json::from_value(json!({
            "id": "orders", "service": "shop", "executor": "postgres", "endpoints": {},
        }))
        .unwrap();
        let observer = DatabaseObserver::new(Arc::clone(&self.databases));
        observer.observe(self.catalogue.action(&id(CANCEL)).unwrap(), &target).await.unwrap()
    }

    pub(in crate::world) async fn ticket(&self, epoch: u64, action: &str, session: Named) -> Ticket {
        self.try_ticket(epoch, action, session, 60_000).await.unwrap()
    }

    pub(in crate::world) async fn try_ticket(
        &self,
        epoch: u64,
        action: &str,
        session: Named,
        life_ms: u64,
    ) -> Result<Ticket, IssueError> {
        let version = self.observe().await.version;
        self.ticket_for(epoch, action, session, life_ms, version).await
    }

    pub(in crate::world) async fn ticket_for(
        &self,
        epoch: u64,
        action: &str,
        session: Named,
        life_ms: u64,
        version: Digest,
    ) -> Result<Ticket, IssueError> {
        let params = [("pid", session.pid), ("started_us", session.started_us)];
        let params = params.map(|(name, value)| (id::<kind::Param>(name), ParamValue::Int(value)));
        let step = Step {
            action: id(action),
            entry: self.catalogue.action(&id(action)).unwrap().digest().unwrap(),
            target: id("orders"),
            expected_version: version,
            params: BTreeMap::from(params),
            undo: holdpoint_domain::action::UndoKind::None,
        };
        let requester = Requester { on_behalf_of: Some(id("ada")), ..Requester::alone(id("holmes")) };
        let plan = Plan::new(requester, None, id("hung"), vec![step]).unwrap();
        let mut grant = grant(&plan, Tier::T3, epoch);
        within(&mut grant, self.catalogue.action(&id(action)).unwrap());
        grant.executors = bound("postgres");
        approve(&mut grant, &["ben"]);
        let info = LeaseInfo {
            id: Id::fresh("lease", u128::from(epoch)).unwrap(),
            backend: self.terms().backend,
            permit: grant.id.clone(),
            scopes: plan.steps().iter().map(Scope::of).collect(),
            expires_at_ms: at(NOW_MS + life_ms),
        };
        let gate = key("gate");
        let jws = sign(&grant, &gate);
        let permit = Permit::open(&jws, &gate.public_key()).unwrap();
        let lease = self.issuer.issue(info, &permit, &receipt(&intent(&grant), &key(ORIGIN)), &plan).await?;
        Ok(Ticket { plan, lease, jws })
    }

    pub(in crate::world) async fn revoke(&self, ticket: &Ticket) -> Result<(), IssueError> {
        self.issuer.revoke(ticket.lease.info.backend.as_ref(), &ticket.lease.info.id).await
    }

    pub(in crate::world) fn terms(&self) -> Terms {
        self.roles.terms()
    }
}
