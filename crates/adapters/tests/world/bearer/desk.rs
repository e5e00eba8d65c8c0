//! Permits and bearer leases for jobs of a runner, as a gate would make them, by the time that it is.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use holdpoint_adapters::{
    executor::{
        Authority,
        http_job::{Job, JobExecutor, JobLease, JobLimits, JobObserver, JobSpec, Jobs},
    },
    lease::{Backend, Backends, BearerParts, BearerSpec, BearerTokens, LeaseTable, Presentation, TokenJob},
    system::{Seed, SystemClock},
};
use holdpoint_app::port::{Clock, IssueError, Issuer as _, Observation, Observer as _, Work};
use holdpoint_domain::{
    Digest, Id, Millis, Tier, Timestamp,
    action::Catalogue,
    lease::{Lease, LeaseInfo, Scope, Ttl},
    permit::{Grant, Permit},
    plan::{ParamValue, Plan, Requester, Step},
    target::Target,
};

use super::guard::{AUDIENCE, ISSUER};
use crate::world::{
    files_scene::catalogue,
    scene::{ORIGIN, bound, grant, intent, key, pins, receipt, sign, within},
    support::{at, id, millis},
};

/// The clock on the wall, and how far a test sets it ahead.
pub(super) struct Ahead(SystemClock, Mutex<u64>);

impl Ahead {
    pub(super) fn by_ms(&self, ms: u64) {
        *self.1.lock().unwrap() = ms;
    }
}

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        at(self.0.now().ms() + *self.1.lock().unwrap())
    }

    fn elapsed(&self) -> Millis {
        self.0.elapsed()
    }

    async fn sleep(&self, span: Millis) {
        self.0.sleep(span).await;
    }
}

pub(super) struct Desk {
    pub(super) issuer: Backends,
    pub(super) tokens: Arc<BearerTokens>,
    pub(super) clock: Arc<Ahead>,
    pub(super) jobs: Arc<Jobs>,
    leases: Arc<LeaseTable>,
    catalogue: Arc<Catalogue>,
}

/// A permit with its plan and its lease.
pub(super) struct Ticket {
    pub(super) lease: Lease,
    plan: Plan,
    jws: String,
}

impl Ticket {
    pub(super) fn work(&self) -> Work<'_> {
        Work { jws: &self.jws, plan: &self.plan, step: 0, lease: &self.lease }
    }

    pub(super) fn token(&self) -> &str {
        self.lease.secret.expose()
    }
}

pub(super) fn seed() -> Seed {
    Seed::from_bytes([9; 32])
}

pub(super) fn spec(base: &str, presentation: Presentation) -> BearerSpec {
    let job = TokenJob { name: "clear".to_owned(), undo_job: Some("refill".to_owned()) };
    BearerSpec {
        name: id("runner"),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        check: format!("{base}/check"),
        presentation,
        max: Ttl::new(300_000).unwrap(),
        executor: id("job"),
        jobs: BTreeMap::from([(id("cache"), job)]),
    }
}

impl Desk {
    /// A desk whose memory is in `dir`, over the runner at `base`.
    pub(super) fn new(dir: &Path, base: &str, presentation: Presentation) -> Self {
        let (clock, catalogue) = (Arc::new(Ahead(SystemClock::new(), Mutex::new(0))), catalogue());
        let leases = Arc::new(LeaseTable::new());
        let parts = BearerParts {
            notes: &dir.join("notes"),
            key: &seed(),
            book: leases.clone(),
            clock: clock.clone(),
        };
        let tokens = Arc::new(BearerTokens::open(spec(base, presentation), parts).unwrap());
        let (log, pins) = (key(ORIGIN).verifier_key().unwrap(), pins(Arc::clone(&catalogue)));
        let issuer = Backends::local(leases.clone(), pins, log, clock.clone());
        let issuer = issuer.with(Arc::clone(&tokens) as Arc<dyn Backend>, &[id("cache")].into());
        fs::write(dir.join("token"), "s3cret\n").unwrap();
        let job = JobSpec {
            id: id("cache"),
            action: id("job.clear-cache"),
            base: base.to_owned(),
            name: "clear".to_owned(),
            undo_job: Some("refill".to_owned()),
            token_file: Some(dir.join("token")),
            lease: Some(JobLease { backend: id("runner"), presentation }),
            limits: JobLimits { request: millis(2_000), run: millis(2_000) },
        };
        let jobs = vec![Job::new(job).unwrap()];
        let jobs = Arc::new(Jobs::open(&dir.join("jobs"), jobs).unwrap());
        Self { issuer, tokens, clock, jobs, leases, catalogue }
    }

    pub(super) fn executor(&self) -> JobExecutor {
        let pins = pins(Arc::clone(&self.catalogue));
        let authority = Authority {
            key: key("executor").public_key(),
            name: id("job"),
            pins,
            actions: [id("job.clear-cache")].into(),
            targets: [id("cache")].into(),
        };
        JobExecutor::new(authority, self.leases.clone(), Arc::clone(&self.jobs), self.clock.clone())
            .with_key(Arc::new(key("executor")))
    }

    /// The executor of somebody who has the lease, and another key.
    pub(super) fn thief(&self) -> JobExecutor {
        self.executor().with_key(Arc::new(key("thief")))
    }

    pub(super) async fn observe(&self) -> Observation {
        let target = Target {
            id: id("cache"),
            service: id("web"),
            executor: id("job"),
            endpoints: [].into(),
            labels: [].into(),
            shares: [].into(),
        };
        let action = self.catalogue.action(&id("job.clear-cache")).unwrap();
        JobObserver::new(Arc::clone(&self.jobs)).observe(action, &target).await.unwrap()
    }

    pub(super) async fn ticket(&self, epoch: u64, life_ms: u64) -> Ticket {
        self.try_ticket(epoch, life_ms).await.unwrap()
    }

    pub(super) async fn try_ticket(&self, epoch: u64, life_ms: u64) -> Result<Ticket, IssueError> {
        self.ticket_for(epoch, life_ms, |_| {}).await
    }

    pub(super) async fn ticket_for(
        &self,
        epoch: u64,
        life_ms: u64,
        change: impl FnOnce(&mut Grant),
    ) -> Result<Ticket, IssueError> {
        self.ticket_at(self.observe().await.version, epoch, life_ms, change).await
    }

    /// A permit for a version, also of a runner that shows none.
    pub(super) async fn ticket_at(
        &self,
        version: Digest,
        epoch: u64,
        life_ms: u64,
        change: impl FnOnce(&mut Grant),
    ) -> Result<Ticket, IssueError> {
        let entry = self.catalogue.action(&id("job.clear-cache")).unwrap();
        let params = [
            ("keep", ParamValue::Int(5)),
            ("force", ParamValue::Bool(true)),
            ("scope", ParamValue::Choice(id("stale"))),
        ];
        let step = Step {
            action: id("job.clear-cache"),
            entry: entry.digest().unwrap(),
            target: id("cache"),
            expected_version: version,
            params: params.map(|(name, value)| (id(name), value)).into(),
            undo: entry.undo,
        };
        let requester = Requester { on_behalf_of: Some(id("ada")), ..Requester::alone(id("holmes")) };
        let plan = Plan::new(requester, None, id("hung"), vec![step]).unwrap();
        let (mut grant, now) = (grant(&plan, Tier::T2, epoch), self.clock.now().ms());
        grant.executors = bound("job");
        grant.granted_at_ms = at(now - 1000);
        grant.start_before_ms = at(now + 15 * 60 * 1000);
        grant.undo_until_ms = at(now + 60 * 60 * 1000);
        within(&mut grant, entry);
        change(&mut grant);
        let info = LeaseInfo {
            id: Id::fresh("lease", u128::from(epoch)).unwrap(),
            backend: Some(id("runner")),
            permit: grant.id.clone(),
            scopes: plan.steps().iter().map(Scope::of).collect(),
            expires_at_ms: at(now + life_ms),
        };
        let gate = key("gate");
        let jws = sign(&grant, &gate);
        let permit = Permit::open(&jws, &gate.public_key()).unwrap();
        let lease = self.issuer.issue(info, &permit, &receipt(&intent(&grant), &key(ORIGIN)), &plan).await?;
        Ok(Ticket { lease, plan, jws })
    }

    pub(super) async fn end(&self, ticket: &Ticket) -> Result<(), IssueError> {
        self.issuer.revoke(Some(&id("runner")), &ticket.lease.info.id).await
    }

    pub(super) async fn held(&self) -> usize {
        self.issuer.held(&id("runner")).await.unwrap().len()
    }
}
