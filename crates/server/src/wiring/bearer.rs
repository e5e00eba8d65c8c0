//! Bearer leases for HTTP job runners that check them by themselves.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use holdpoint_adapters::{
    executor::http_job::JobLease,
    lease::{BearerParts, BearerSpec, BearerTokens, LeaseBook, Presentation, TokenJob},
    system::{KeyUse, Seed},
};
use holdpoint_app::port::Clock;
use holdpoint_domain::{Id, id::kind, lease::Ttl, signature::PublicKey};
use reqwest::Url;
use serde::Deserialize;

use super::{executors::JobEntry, leases::Served};
use crate::cli::{CliError, failed};

/// The executor of jobs.
const EXECUTOR: &str = "job";

/// A target, or several of one audience, that take tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BearerEntry {
    issuer: String,
    audience: String,
    check: String,
    max_ttl_ms: Ttl,
    #[serde(default)]
    presentation: PresentationWord,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PresentationWord {
    #[default]
    Bearer,
    Dpop,
}

/// The lease of a job, if its runner checks leases; what it asks for is noted in `backends`.
pub(super) fn lease_of(
    id: &Id<kind::Target>,
    job: &JobEntry,
    backends: &BTreeMap<Id<kind::Backend>, BearerEntry>,
) -> Result<Option<JobLease>, CliError> {
    let Some(name) = &job.lease else { return Ok(None) };
    let fault = |why: String| CliError::Failed(format!("job `{id}`: {why}"));
    let backend = backends.get(name);
    let backend =
        backend.ok_or_else(|| fault(format!("there is no backend `{name}` under `leases: bearer:`")))?;
    // What is proven at one server says nothing about another.
    let origin = |url: &str| Url::parse(url).map(|url| url.origin());
    if origin(&job.base).ok() != origin(&backend.check).ok() {
        return Err(fault(format!(
            "expected `check` of backend `{name}` at the runner itself: the same scheme, host and port as `base`"
        )));
    }
    let (run, life) = (job.run_limit_ms.ms(), backend.max_ttl_ms.span().ms());
    if run > life {
        return Err(fault(format!(
            "expected `run_limit_ms` within the life of its lease, `max_ttl_ms` of backend `{name}`: {run} > {life}"
        )));
    }
    let presentation = match backend.presentation {
        PresentationWord::Bearer => Presentation::Bearer,
        PresentationWord::Dpop => Presentation::Dpop,
    };
    Ok(Some(JobLease { backend: name.clone(), presentation }))
}

/// The jobs of each backend, as its tokens name them.
pub(super) fn jobs_by_backend(
    jobs: &BTreeMap<Id<kind::Target>, JobEntry>,
) -> BTreeMap<Id<kind::Backend>, BTreeMap<Id<kind::Target>, TokenJob>> {
    let mut all: BTreeMap<Id<kind::Backend>, BTreeMap<_, _>> = BTreeMap::new();
    for (id, job) in jobs {
        if let Some(backend) = &job.lease {
            let named = TokenJob { name: job.name.clone(), undo_job: job.undo_job.clone() };
            all.entry(backend.clone()).or_default().insert(id.clone(), named);
        }
    }
    all
}

/// What the operator's file says of a backend, for the jobs that it leases for.
pub(super) fn spec(
    name: Id<kind::Backend>,
    entry: BearerEntry,
    jobs: BTreeMap<Id<kind::Target>, TokenJob>,
) -> Result<BearerSpec, CliError> {
    let BearerEntry { issuer, audience, check, max_ttl_ms, presentation } = entry;
    let presentation = match presentation {
        PresentationWord::Bearer => Presentation::Bearer,
        PresentationWord::Dpop => Presentation::Dpop,
    };
    let executor = Id::parse(EXECUTOR).map_err(failed)?;
    Ok(BearerSpec { name, issuer, audience, check, presentation, max: max_ttl_ms, executor, jobs })
}

/// Where the issuer's own side is: its folder of data, its keys, the executors' book and its clock.
pub(crate) struct IssuerSide<'a> {
    pub(crate) data: &'a Path,
    pub(crate) keys: &'a Path,
    pub(crate) book: Arc<dyn LeaseBook>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Opens backends, each with the targets that it leases for, and gives the key that their tokens are checked with. Asks no target.
pub(super) fn open(
    specs: Vec<BearerSpec>,
    side: &IssuerSide<'_>,
) -> Result<(Vec<Served>, Option<PublicKey>), CliError> {
    if specs.is_empty() {
        return Ok((Vec::new(), None));
    }
    let key = Seed::load_or_create(&KeyUse::Bearer.path(side.keys)).map_err(failed)?;
    let (mut backends, mut public): (Vec<Served>, _) = (Vec::new(), None);
    for spec in specs {
        let targets = spec.jobs.keys().cloned().collect();
        let notes = side.data.join("leases").join(spec.name.as_str());
        let (book, clock) = (Arc::clone(&side.book), Arc::clone(&side.clock));
        let parts = BearerParts { notes: &notes, key: &key, book, clock };
        let backend = BearerTokens::open(spec, parts).map_err(failed)?;
        public = Some(backend.public_key());
        backends.push((Arc::new(backend), targets));
    }
    Ok((backends, public))
}

#[cfg(test)]
mod tests {
    use super::super::executors::Targets;

    const FILE: &str = "
job:
  cache: {action: job.clear-cache, base: 'http://127.0.0.1:9/api', name: clear, lease: tokens, request_limit_ms: 1000, run_limit_ms: 60000}
leases:
  bearer:
    tokens: {issuer: gate, audience: runner, check: 'http://127.0.0.1:9/check', max_ttl_ms: 60000, presentation: dpop}
";

    fn read(text: &str) -> Result<(), String> {
        Targets::parse(std::path::Path::new("."), Some(text)).map(|_| ()).map_err(|err| err.to_string())
    }

    #[test]
    fn a_job_leases_of_a_backend_at_its_own_runner_and_not_beyond_its_life() {
        assert_eq!(read(FILE), Ok(()));
        let other = FILE
            .replace("bearer:", "bearer:\n    others: {issuer: g, audience: r, check: x, max_ttl_ms: 2000}");
        assert_eq!(read(&other), Ok(()), "one that nothing uses");
        let server = "{host: 127.0.0.1, port: 1, database: shop}";
        let twice = format!(
            "{FILE}  postgres:\n    tokens: {{server: {server}, issuer: {{user: u, password_file: f}}, max_ttl_ms: 60000}}\n"
        );
        for (text, why) in [
            (FILE.replace("lease: tokens", "lease: others"), "there is no backend `others`"),
            (FILE.replace("127.0.0.1:9/check", "127.0.0.1:8/check"), "at the runner itself"),
            (FILE.replace("http://127.0.0.1:9/check", "https://127.0.0.1:9/check"), "at the runner itself"),
            (FILE.replace("max_ttl_ms: 60000", "max_ttl_ms: 59999"), "60000 > 59999"),
            (FILE.replace("max_ttl_ms: 60000", "max_ttl_ms: 0"), "life"),
            (FILE.replace("presentation: dpop", "presentation: cookie"), "cookie"),
            (FILE.replace("audience: runner, ", ""), "audience"),
            (FILE.replace("http://127.0.0.1:9", "http://10.0.0.1:9"), "https"),
            (twice, "two backends"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
