//! The executor for jobs of an HTTP job runner, and its observer.
//!
//! What can be started stands in the operator's [`Job`]s: a plan names one of them and fills in its parameters, which are
//! whole numbers, yes or no, or words from the catalogue's list. The protocol, all of it JSON below the job's base URL:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /jobs/{name}` | 200 `{"revision"}`: changes whenever the job's definition does |
//! | `POST /jobs/{name}/runs`, the parameters as one object, header `Idempotency-Key` | 201 (200 for a key seen before) `{"id", "state"}` |
//! | `GET /runs/{id}` | 200 `{"id", "state", "touched"}` |
//! | `GET /runs?key={key}` | 200 `{"runs": [{"id", "key", "state", "touched"}]}`, none or one |
//! | `POST /runs/{id}/cancel` | 200, 202 or 204 |
//!
//! `state` is `queued`, `running`, `succeeded`, `failed` or `cancelled`. After the last two `touched` says whether anything
//! was changed; without the word, it may have been. The same key never starts a second run, and is remembered at least as
//! long as a permit lives. The runner enters the key before it begins, and drops a request whose connection broke before
//! that: then a lookup that finds nothing proves that nothing was started. With a token file, each request carries
//! `Authorization: Bearer`. With a lease, what the executor asks for carries the lease of the run instead, bound to the executor's
//! key where the operator says so (RFC 9449); the file is then the observer's, who only reads.
//!
//! The key is `{nonce of the permit}-{step}`, with `-undo` for the job that takes it back. The runner has no fence, so the
//! highest epoch is remembered here, beside the key:
//!
//! | written | then | if we stop here |
//! | --- | --- | --- |
//! | `begun`, epoch, key | start the run, watch it | the observer asks the runner for the run of the key |
//! | `applied` or `undone` | | the effect is complete |

mod follow;
mod job;
mod runner;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use holdpoint_app::port::{
    Acted, ActedPhase, Clock, ExecuteError, Executor, Observation, ObserveError, Observer, Work,
};
use holdpoint_domain::{
    Digest, Id,
    action::{Action, UndoKind},
    bearer::Filled,
    digest::DigestError,
    id::kind,
    parts::Parts,
    plan::ParamValue,
    target::Target,
};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

pub(crate) use job::is_here;
pub use job::{Job, JobError, JobLease, JobLimits, JobSpec, MAX_REQUEST, MAX_RUN};

use super::{
    authority::{Authority, Use},
    chain,
    memory::{Fence, Mandate, PhaseWord, blocking, expects, not_done, refused},
    notebook::{Locked, Notebook, Page},
};
use crate::{
    lease::{LeaseTable, Presentation},
    system::Ed25519Key,
};
use follow::{Start, is_over, to_the_end};
pub(crate) use runner::client;
use runner::{Asker, Failed, RunState, Runner};

/// The jobs that may be run, and the memory of their runs. One at a time: its directory is locked while it lives.
#[derive(Debug)]
pub struct Jobs {
    jobs: BTreeMap<Id<kind::Target>, Job>,
    notebook: Notebook,
    dir: PathBuf,
    client: Client,
}

/// Why jobs cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// Faulty jobs.
    #[error("the jobs cannot be run")]
    Jobs(#[from] JobError),
    /// The directory of their memory.
    #[error("state directory `{dir}` cannot be used, or somebody else uses it")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No HTTP client.
    #[error("the HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
}

/// What is remembered about the run that acted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    key: String,
    /// The run takes another one back.
    undoes: bool,
    /// The version that its success leaves: a run does not change the job's definition.
    leaves: Digest,
}

/// What a version is a digest of: what would run, and what would take it back.
#[derive(Serialize)]
struct Version<'a> {
    r#type: &'static str,
    target: &'a Id<kind::Target>,
    base: &'a str,
    job: (&'a str, String),
    undo_job: Option<(&'a str, String)>,
}

impl Jobs {
    /// Takes up the jobs whose memory is in `dir`, and makes the directory where there is none. Asks no runner.
    pub fn open(dir: &Path, jobs: Vec<Job>) -> Result<Self, JobsError> {
        let jobs = job::by_id(jobs)?;
        let notebook = Notebook::open(dir, jobs.keys())
            .map_err(|source| JobsError::Directory { dir: dir.to_owned(), source })?;
        Ok(Self { jobs, notebook, dir: dir.to_owned(), client: client("executor")? })
    }

    /// The same jobs for whoever only looks at them, beside an executor in another process that holds their memory.
    pub fn to_look(dir: &Path, jobs: Vec<Job>) -> Result<Self, JobsError> {
        let jobs = job::by_id(jobs)?;
        Ok(Self { jobs, notebook: Notebook::to_look(dir), dir: dir.to_owned(), client: client("observer")? })
    }

    /// The runner of a target's job, for whoever only looks.
    fn runner(&self, target: &Id<kind::Target>) -> Option<Runner<'_>> {
        Some(Runner { client: &self.client, job: self.jobs.get(target)?, asker: Asker::Standing })
    }

    /// Whether a job has leases that are bound to the executor's key.
    #[must_use]
    pub fn bind_leases(&self) -> bool {
        self.jobs
            .values()
            .any(|job| job.lease().is_some_and(|lease| lease.presentation == Presentation::Dpop))
    }
}

/// Why there is no version.
#[derive(Debug, thiserror::Error)]
enum NoVersion {
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// The relevant version of a job as its runner tells it, and what it is made of.
async fn version(runner: Runner<'_>) -> Result<(Digest, Parts), NoVersion> {
    let job = runner.job;
    let undo_job = match job.undo_job() {
        Some(name) => Some((name, runner.revision(name).await?)),
        None => None,
    };
    let version = Version {
        r#type: "holdpoint/job-version/v1",
        target: job.id(),
        base: job.base(),
        job: (job.name(), runner.revision(job.name()).await?),
        undo_job,
    };
    let jobs = [("revision", Some(&version.job)), ("revision of the undo", version.undo_job.as_ref())];
    let parts = jobs
        .into_iter()
        .filter_map(|(part, job)| Some((part, Digest::of_bytes(job?.1.as_bytes()).short())))
        .collect();
    Ok((Digest::of(&version)?, parts))
}

/// Runs permitted steps as jobs. Each call runs to its end even if nobody waits for it any more.
pub struct JobExecutor {
    authority: Authority,
    leases: Arc<LeaseTable>,
    jobs: Arc<Jobs>,
    clock: Arc<dyn Clock>,
    key: Option<Arc<Ed25519Key>>,
}

/// A step that the authority let through, on its way to the job's lock.
struct Order {
    mandate: Mandate,
    jobs: Arc<Jobs>,
    /// What leases are bound to, where they are.
    executor: Option<Arc<Ed25519Key>>,
    /// What makes a start happen once.
    key: String,
    params: Value,
    /// Where the requests are driven while this thread blocks.
    requests: Handle,
}

impl JobExecutor {
    /// An executor over jobs. `leases` is the table that the issuer of its leases writes.
    #[must_use]
    pub fn new(
        authority: Authority,
        leases: Arc<LeaseTable>,
        jobs: Arc<Jobs>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { authority, leases, jobs, clock, key: None }
    }

    /// The same with the executor's own key, which bound leases need.
    #[must_use]
    pub fn with_key(self, key: Arc<Ed25519Key>) -> Self {
        Self { key: Some(key), ..self }
    }

    fn order(&self, work: &Work<'_>, for_use: Use) -> Result<Order, ExecuteError> {
        let asked_at = self.clock.now();
        let warrant = self.authority.check(work, for_use, asked_at)?;
        let run_key = run_key(&warrant.permit().grant().nonce, work.step);
        let key = match for_use {
            Use::Apply => run_key,
            Use::Undo => undo_key(&run_key),
        };
        let params = filled(&warrant.step().params).map_err(|why| refused("parameters", why))?;
        let params = serde_json::to_value(params).map_err(|err| refused("parameters", err))?;
        let (lease, leases, clock) = (work.lease.clone(), Arc::clone(&self.leases), Arc::clone(&self.clock));
        let mandate = Mandate { warrant, lease, leases: leases.into(), clock, asked_at };
        let (jobs, executor) = (Arc::clone(&self.jobs), self.key.clone());
        Ok(Order { mandate, jobs, executor, key, params, requests: Handle::current() })
    }
}

/// What makes a step's run happen once.
pub(crate) fn run_key(nonce: &Id<kind::Nonce>, step: usize) -> String {
    format!("{nonce}-{step}")
}

/// The same for the run that takes it back.
pub(crate) fn undo_key(run_key: &str) -> String {
    format!("{run_key}-undo")
}

/// The parameters as a runner gets them.
pub(crate) fn filled(
    params: &BTreeMap<Id<kind::Param>, ParamValue>,
) -> Result<BTreeMap<Id<kind::Param>, Filled>, String> {
    let value = |(name, value): (&Id<kind::Param>, &ParamValue)| {
        let filled = Filled::of(value);
        let filled = filled.ok_or_else(|| format!("`{name}` is a secret, which no job is given"))?;
        Ok((name.clone(), filled))
    };
    params.iter().map(value).collect()
}

#[async_trait]
impl Executor for JobExecutor {
    async fn rehearse(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        blocking(move || {
            let (locked, runner) = order.locked()?;
            if order.mandate.ready(locked.page().memory())? == Fence::Done {
                return Ok(());
            }
            if order.mandate.warrant.step().undo.restores() {
                order.undo_job(runner)?;
            }
            order.expects(runner, &order.mandate.warrant.step().expected_version).map(|_| ())
        })
        .await
    }

    async fn apply(&self, work: Work<'_>) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Apply)?;
        blocking(move || order.apply()).await
    }

    async fn undo(&self, work: Work<'_>, from: &Digest) -> Result<(), ExecuteError> {
        let order = self.order(&work, Use::Undo)?;
        let from = *from;
        blocking(move || order.undo(&from)).await
    }
}

impl Order {
    fn locked(&self) -> Result<(Locked<'_, Note>, Runner<'_>), ExecuteError> {
        let step = self.mandate.warrant.step();
        let unknown = || refused("job", format!("there is no job `{}` here", step.target));
        let runner = self.jobs.runner(&step.target).ok_or_else(unknown)?;
        let runner = Runner { asker: self.asker(runner)?, ..runner };
        if *runner.job.action() != step.action {
            let why = format!("expected action `{}`, got `{}`", runner.job.action(), step.action);
            return Err(refused("operation", why));
        }
        Ok((self.jobs.notebook.lock(&step.target).ok_or_else(unknown)??, runner))
    }

    /// As whom the runner is asked.
    fn asker(&self, runner: Runner<'_>) -> Result<Asker<'_>, ExecuteError> {
        let lease = &self.mandate.lease;
        // A secret goes nowhere but to whom it was minted for.
        if lease.info.backend.as_ref() != runner.job.lease().map(|own| &own.backend) {
            return Err(refused("lease", "it is of another backend than the one of this job"));
        }
        let token = &lease.secret;
        Ok(match runner.job.lease().map(|own| own.presentation) {
            None => Asker::Standing,
            Some(Presentation::Bearer) => Asker::Leased { token, key: None },
            Some(Presentation::Dpop) => {
                let none = || refused("key", "the executor has no key, and the lease is bound to one");
                let key = self.executor.as_deref().ok_or_else(none)?;
                Asker::Leased { token, key: Some((key, self.mandate.clock.as_ref())) }
            }
        })
    }

    /// The job that takes this one back.
    fn undo_job<'j>(&self, runner: Runner<'j>) -> Result<&'j str, ExecuteError> {
        let kind = self.mandate.warrant.step().undo;
        let name = runner.job.undo_job().filter(|_| kind == UndoKind::Inverse);
        name.ok_or_else(|| refused("undo", "expected undo kind `inverse` and a job that undoes this one"))
    }

    fn expects(&self, runner: Runner<'_>, wanted: &Digest) -> Result<(), ExecuteError> {
        let version = self.requests.block_on(version(runner));
        let (version, _) = version.map_err(|err| not_done("the job cannot be looked at", &err))?;
        expects(wanted, &version)
    }

    fn apply(&self) -> Result<(), ExecuteError> {
        let (mut locked, runner) = self.locked()?;
        if self.mandate.ready(locked.page().memory())? == Fence::Done {
            return Ok(());
        }
        if self.phase(&locked) == Some((PhaseWord::Begun, true)) {
            return Err(refused("phase", "the undo of this run has begun"));
        }
        let before = self.mandate.warrant.step().expected_version;
        self.expects(runner, &before)?;
        self.run(&mut locked, runner, runner.job.name(), PhaseWord::Applied, before)
    }

    /// Runs the job that takes this one back. Only what is known to be over is taken back: two runs at once would leave
    /// nobody knows what.
    fn undo(&self, from: &Digest) -> Result<(), ExecuteError> {
        let (mut locked, runner) = self.locked()?;
        self.mandate.current()?;
        self.mandate.fenced(locked.page().memory())?;
        match self.phase(&locked) {
            Some((PhaseWord::Undone, _)) => return Ok(()),
            Some((PhaseWord::Applied, _) | (PhaseWord::Begun, true)) => {}
            Some((PhaseWord::Begun, false)) => self.is_over(&locked, runner)?,
            None => return Err(refused("phase", "this run did nothing that could be undone")),
        }
        let undo_job = self.undo_job(runner)?;
        self.expects(runner, from)?;
        self.run(&mut locked, runner, undo_job, PhaseWord::Undone, *from)
    }

    /// How far this permit got, and whether that was with its undo.
    fn phase(&self, locked: &Locked<'_, Note>) -> Option<(PhaseWord, bool)> {
        let phase = self.mandate.phase(locked.page().memory())?;
        Some((phase, locked.page().note().is_some_and(|note| note.undoes)))
    }

    fn is_over(&self, locked: &Locked<'_, Note>, runner: Runner<'_>) -> Result<(), ExecuteError> {
        let key = locked.page().note().map_or("", |note| note.key.as_str());
        let found = self.requests.block_on(runner.find(key));
        match found.map_err(|err| not_done("the run cannot be looked at", &err))? {
            Some(run) if is_over(run.state) => Ok(()),
            Some(_) | None => {
                Err(refused("phase", "what became of the run is not known, so nothing undoes it"))
            }
        }
    }

    /// One run, between two durable writes.
    fn run(
        &self,
        locked: &mut Locked<'_, Note>,
        runner: Runner<'_>,
        job: &str,
        phase: PhaseWord,
        leaves: Digest,
    ) -> Result<(), ExecuteError> {
        // The runner was asked since, which takes its time.
        self.mandate.current()?;
        let note = Note { key: self.key.clone(), undoes: phase == PhaseWord::Undone, leaves };
        let again = locked.page().note().is_some_and(|old| old.key == self.key);
        // If we stop after this write, the runner knows by the key whether anything happened.
        let before = locked.begin(&self.mandate, note)?;
        let start = Start { job, key: &self.key, params: &self.params, again };
        let ended = self.requests.block_on(to_the_end(runner, &start));
        match &ended {
            // If we stop here, the observer finds the run that succeeded.
            Ok(()) => locked.finish(&self.mandate, phase, leaves)?,
            Err(ExecuteError::NotDone(_) | ExecuteError::Refused(_)) => locked.retract(&self.mandate, before),
            Err(ExecuteError::Unknown(_)) => {}
        }
        ended
    }
}

/// Observes jobs. What a crash left open, it asks the runner for.
#[derive(Debug, Clone)]
pub struct JobObserver {
    jobs: Arc<Jobs>,
}

impl JobObserver {
    /// An observer of the same jobs.
    #[must_use]
    pub const fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }
}

#[async_trait]
impl Observer for JobObserver {
    async fn observe(&self, action: &Action, target: &Target) -> Result<Observation, ObserveError> {
        let failed =
            |err: &dyn std::error::Error| ObserveError::Failed { target: target.id.clone(), why: chain(err) };
        let runner = self.jobs.runner(&target.id).ok_or_else(|| ObserveError::Unknown(target.id.clone()))?;
        let page: Page<Note> = Page::load(&self.jobs.dir, &target.id).map_err(|err| failed(&err))?;
        let (version, parts) = version(runner).await.map_err(|err| failed(&err))?;
        let acted = settled(runner, &page).await.map_err(|err| failed(&err))?;
        let undo_computed = action.undo == UndoKind::Inverse && runner.job.undo_job().is_some();
        // A job is nothing that could be down: without an answer of its runner there is no observation.
        Ok(Observation { version, parts, down: false, undo_computed, acted })
    }
}

/// Who acted last. A run that had only begun when we last wrote, and that the runner knows to have succeeded, is complete;
/// any other stays open.
async fn settled(runner: Runner<'_>, page: &Page<Note>) -> Result<Option<Acted>, Failed> {
    let Some(acted) = page.acted() else { return Ok(None) };
    let Some(note) = page.note().filter(|_| acted.phase == ActedPhase::Begun) else { return Ok(Some(acted)) };
    let succeeded = runner.find(&note.key).await?.is_some_and(|run| run.state == RunState::Succeeded);
    let phase = if note.undoes { ActedPhase::Undone } else { ActedPhase::Applied };
    Ok(Some(if succeeded { Acted { phase, left: Some(note.leaves), ..acted } } else { acted }))
}
