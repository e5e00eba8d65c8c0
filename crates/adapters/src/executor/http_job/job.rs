//! Jobs: what the operator lets us start, and where. No plan and no endpoint sets any of it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use holdpoint_domain::{Id, Millis, id::kind, text::quoted};
use reqwest::{Url, header::HeaderValue};

use crate::lease::Presentation;

/// Most jobs of one executor.
const MAX_JOBS: usize = 256;
/// Longest name of a job, and longest id of a run.
pub(super) const MAX_WORD: usize = 128;
/// Longest time limit of one request: an operator who needs more has a runner that hangs.
pub const MAX_REQUEST: Millis = Millis::secs(30);
/// Longest time limit of one run: with its requests it stays within the life of a lease.
pub const MAX_RUN: Millis = Millis::secs(600);
/// Largest token file; tokens have a few kilobytes at most.
const MAX_TOKEN: u64 = 16 * 1024;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// One request and its whole answer.
    pub request: Millis,
    /// A run from its start to its end; after it the run is cancelled.
    pub run: Millis,
}

/// The lease of a job whose runner checks it for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    /// What mints it.
    pub backend: Id<kind::Backend>,
    /// How it is brought.
    pub presentation: Presentation,
}

/// What the operator writes about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The target that the job is.
    pub id: Id<kind::Target>,
    /// The one action that starts it: another action, with another floor, would start the same job otherwise.
    pub action: Id<kind::Action>,
    /// Where the runner is: an http or https URL.
    pub base: String,
    /// The name that the runner knows the job by.
    pub name: String,
    /// The job that takes this one back; without one there is no undo.
    pub undo_job: Option<String>,
    /// The file with the bearer token, if the runner asks for one: of whoever only looks, where there is a lease.
    pub token_file: Option<PathBuf>,
    /// The executor's lease, where the runner checks leases for itself.
    pub lease: Option<JobLease>,
    /// How long things may take.
    pub limits: JobLimits,
}

/// A job of an HTTP job runner, as the operator wrote it: one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    // INVARIANT: `base` is an http(s) URL with a host and without user, query and fragment; the names are single path
    // segments; a token goes in clear to this machine only; the limits are within the maxima above and not zero.
    id: Id<kind::Target>,
    action: Id<kind::Action>,
    base: Url,
    name: String,
    undo_job: Option<String>,
    token_file: Option<PathBuf>,
    lease: Option<JobLease>,
    limits: JobLimits,
}

/// What is wrong with a job. The fault is with whoever configured it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Not a plain base address.
    #[error(
        "job `{0}`: expected an `http` or `https` base URL with a host and without user, query and fragment"
    )]
    Base(Id<kind::Target>),
    /// Not one path segment.
    #[error(
        "job `{job}`: expected a name of 1 to {MAX_WORD} letters, digits and `. _ -` that begins with a letter or digit, got {shown}"
    )]
    Name {
        /// The job.
        job: Id<kind::Target>,
        /// What stands there.
        shown: String,
    },
    /// A file that would depend on where we run.
    #[error("job `{0}`: expected an absolute path of the token file")]
    Token(Id<kind::Target>),
    /// A token that everybody on the way could read.
    #[error("job `{0}`: a token goes to another machine only over `https`")]
    Clear(Id<kind::Target>),
    /// No time, or too much.
    #[error("job `{0}`: expected limits of 1 ms to {MAX_REQUEST} a request and to {MAX_RUN} a run")]
    Limits(Id<kind::Target>),
    /// Two jobs with one id.
    #[error("job `{0}` stands twice")]
    Duplicate(Id<kind::Target>),
    /// Too many.
    #[error("expected at most {MAX_JOBS} jobs, got {0}")]
    Size(usize),
}

impl Job {
    /// Checks what the operator wrote.
    pub fn new(spec: JobSpec) -> Result<Self, JobError> {
        let JobSpec { id, action, base, name, undo_job, token_file, lease, limits } = spec;
        let base = match Url::parse(&base) {
            Ok(url) if is_plain(&url) => url,
            Ok(_) | Err(_) => return Err(JobError::Base(id)),
        };
        if let Some(bad) = [Some(&name), undo_job.as_ref()].into_iter().flatten().find(|name| !is_word(name))
        {
            return Err(JobError::Name { shown: quoted(bad, MAX_WORD), job: id });
        }
        if token_file.as_deref().is_some_and(|path| !path.is_absolute()) {
            return Err(JobError::Token(id));
        }
        if (token_file.is_some() || lease.is_some()) && base.scheme() == "http" && !is_here(&base) {
            return Err(JobError::Clear(id));
        }
        let fits = |limit: Millis, most: Millis| limit.ms() > 0 && limit <= most;
        if !fits(limits.request, MAX_REQUEST) || !fits(limits.run, MAX_RUN) {
            return Err(JobError::Limits(id));
        }
        Ok(Self { id, action, base, name, undo_job, token_file, lease, limits })
    }

    /// Its id, which is the id of the target that it is.
    #[must_use]
    pub const fn id(&self) -> &Id<kind::Target> {
        &self.id
    }

    /// The action that starts it.
    #[must_use]
    pub const fn action(&self) -> &Id<kind::Action> {
        &self.action
    }

    /// The name that the runner knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The job that takes it back.
    #[must_use]
    pub fn undo_job(&self) -> Option<&str> {
        self.undo_job.as_deref()
    }

    /// The executor's lease; none where the executor has what everybody has.
    #[must_use]
    pub const fn lease(&self) -> Option<&JobLease> {
        self.lease.as_ref()
    }

    pub(super) const fn limits(&self) -> JobLimits {
        self.limits
    }

    /// The address of `segments` below the base.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An http(s) URL always has segments, so nothing is lost by `if let`.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The base address, as the version names it.
    pub(super) fn base(&self) -> &str {
        self.base.as_str()
    }

    /// The header that proves who we are; none where no token is configured. Read at each use, so that a token can be
    /// renewed.
    pub(super) fn bearer(&self) -> Result<Option<HeaderValue>, TokenError> {
        self.token_file.as_deref().map(bearer).transpose()
    }
}

/// Why there is no token. Says nothing of what is in the file.
#[derive(Debug, thiserror::Error)]
#[error("the token file `{0}` does not hold one line of at most {MAX_TOKEN} visible ASCII characters")]
pub(super) struct TokenError(PathBuf);

fn bearer(path: &Path) -> Result<HeaderValue, TokenError> {
    let failed = || TokenError(path.to_owned());
    let mut text = String::new();
    let file = File::open(path).map_err(|_| failed())?;
    file.take(MAX_TOKEN).read_to_string(&mut text).map_err(|_| failed())?;
    let token = text.trim_ascii();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| failed())?;
    // Shown as `Sensitive` by whoever prints a request.
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a text is safe as one segment of a path, and is neither `.` nor `..`.
pub(super) fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= MAX_WORD
        && text.bytes().all(inner)
}

fn is_plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

/// Whether a URL leads to this machine by its address; a name could lead anywhere.
pub(crate) fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Puts jobs in order by id; refuses two of one name.
pub(super) fn by_id(jobs: Vec<Job>) -> Result<BTreeMap<Id<kind::Target>, Job>, JobError> {
    if jobs.len() > MAX_JOBS {
        return Err(JobError::Size(jobs.len()));
    }
    let mut map = BTreeMap::new();
    for job in jobs {
        if let Some(old) = map.insert(job.id.clone(), job) {
            return Err(JobError::Duplicate(old.id));
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JobLimits = JobLimits { request: Millis::secs(1), run: Millis::secs(1) };

    fn job(base: &str, name: &str, token: Option<&str>, limits: JobLimits) -> Result<Job, JobError> {
        Job::new(JobSpec {
            id: Id::parse("cache").unwrap(),
            action: Id::parse("job.clear-cache").unwrap(),
            base: base.to_owned(),
            name: name.to_owned(),
            undo_job: None,
            token_file: token.map(PathBuf::from),
            lease: None,
            limits,
        })
    }

    #[test]
    fn what_the_operator_wrote_is_checked() {
        let id = || Id::parse("cache").unwrap();
        let bases = [
            "",
            "runner",
            "ftp://runner",
            "file:///etc",
            "http://a:b@runner",
            "http://r?x",
            "http://r#x",
            "http://",
        ];
        for base in bases {
            assert_eq!(job(base, "clear", None, LIMITS), Err(JobError::Base(id())), "{base}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a?b", "-a", "ä", &"a".repeat(129)] {
            let refused = job("http://runner", name, None, LIMITS);
            assert!(matches!(refused, Err(JobError::Name { .. })), "{name}");
        }
        assert_eq!(job("https://runner", "clear", Some("token"), LIMITS), Err(JobError::Token(id())));
        let zero = JobLimits { run: Millis::secs(0), ..LIMITS };
        let long = JobLimits { request: Millis::secs(31), ..LIMITS };
        for limits in [zero, long] {
            assert_eq!(job("http://runner", "clear", None, limits), Err(JobError::Limits(id())));
        }
    }

    #[test]
    fn a_token_goes_in_clear_to_this_machine_only() {
        let cases = [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("https://runner", true),
            ("http://runner", false),
            ("http://localhost", false),
            ("http://127.0.0.1.evil.example", false),
        ];
        for (base, taken) in cases {
            assert_eq!(job(base, "clear", Some("/run/token"), LIMITS).is_ok(), taken, "{base}");
        }
    }

    #[test]
    fn addresses_stay_below_the_base() {
        for base in ["https://runner/api", "https://runner/api/"] {
            let job = job(base, "clear", None, LIMITS).unwrap();
            assert_eq!(job.url(&["jobs", "a/../b"]).as_str(), "https://runner/api/jobs/a%2F..%2Fb");
        }
    }
}
