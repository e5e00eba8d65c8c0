//! The executors of files, jobs, nginx and databases, and the lease backends: what each may touch stands in the operator's file, and nowhere else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::{
    executor::{
        files::{
            Command as FixedCommand, ConfigTarget, Consumer, Files, FlagTarget, Format, SecretTarget, Setting,
        },
        http_job::{Job, JobLimits, JobSpec, Jobs},
        nginx::{NginxServer, NginxSpec, Servers},
        postgres::{Database, Databases},
    },
    probe::{ProbeLogin, ProbeLogins},
};
use holdpoint_domain::{Id, Millis, action::ParamSpec, id::kind};
use serde::Deserialize;

use super::{bearer, leases};
use crate::{
    cli::{CliError, failed},
    config::parse_text,
};

/// The file that `executors:` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecutorsFile {
    /// Flags of flagd files.
    #[serde(default)]
    flags: BTreeMap<Id<kind::Target>, FlagEntry>,
    /// Configuration files.
    #[serde(default)]
    config: BTreeMap<Id<kind::Target>, ConfigEntry>,
    /// Secrets.
    #[serde(default)]
    secret: BTreeMap<Id<kind::Target>, SecretEntry>,
    /// Jobs of HTTP job runners.
    #[serde(default)]
    job: BTreeMap<Id<kind::Target>, JobEntry>,
    /// Servers behind nginx.
    #[serde(default)]
    nginx: BTreeMap<Id<kind::Target>, NginxEntry>,
    /// Databases whose sessions may be ended.
    #[serde(default)]
    postgres: BTreeMap<Id<kind::Target>, leases::DatabaseEntry>,
    /// Logins of the observer, for probes of databases.
    #[serde(default)]
    probes: BTreeMap<Id<kind::Login>, ProbeLoginEntry>,
    /// What mints credentials for targets that check them for themselves.
    #[serde(default)]
    leases: leases::BackendEntries,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeLoginEntry {
    user: String,
    password_file: PathBuf,
    /// The certificates that servers' are checked with; without it only addresses of this machine.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlagEntry {
    file: PathBuf,
    flag: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FormatWord {
    Json,
    Env,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigEntry {
    file: PathBuf,
    format: FormatWord,
    settings: BTreeMap<Id<kind::Param>, SettingEntry>,
    #[serde(default)]
    reload: Option<CommandEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingEntry {
    key: String,
    value: ParamSpec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandEntry {
    argv: Vec<String>,
    limit_ms: Millis,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretEntry {
    token: PathBuf,
    accepted: PathBuf,
    consumer: ConsumerEntry,
    move_limit_ms: Millis,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsumerEntry {
    #[serde(default)]
    reload: Option<CommandEntry>,
    #[serde(default)]
    shows: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobEntry {
    action: Id<kind::Action>,
    pub(super) base: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) undo_job: Option<String>,
    /// Of the observer, where there is a lease; of both, where there is none.
    #[serde(default)]
    token_file: Option<PathBuf>,
    /// What leases for it, where its runner checks leases for itself.
    #[serde(default)]
    pub(super) lease: Option<Id<kind::Backend>>,
    request_limit_ms: Millis,
    pub(super) run_limit_ms: Millis,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NginxEntry {
    include: PathBuf,
    upstream: String,
    server: String,
    #[serde(default)]
    may_empty: bool,
    test: Vec<String>,
    reload: Vec<String>,
    pid_file: PathBuf,
    limit_ms: Millis,
}

/// What the executors work on, opened: each has its folder of memory for itself while the process lives.
pub(crate) struct Machinery {
    pub(super) flags: Arc<Files<FlagTarget>>,
    pub(super) config: Arc<Files<ConfigTarget>>,
    pub(super) secret: Arc<Files<SecretTarget>>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) nginx: Arc<Servers>,
    pub(super) databases: Arc<Databases>,
    /// The folder of keys, for those that executors have of their own.
    pub(super) keys: PathBuf,
}

impl Machinery {
    /// Opens what the operator's file names.
    pub(super) fn open(places: &Places, text: Option<&str>) -> Result<Self, CliError> {
        let Targets { flags, configs, secrets, jobs, servers, databases, logins: _, backends: _ } =
            Targets::parse(&places.base, text)?;
        let dir = |name: &str| {
            let dir = places.memory(name);
            std::fs::create_dir_all(&dir).map_err(failed).map(|()| dir)
        };
        Ok(Self {
            flags: Arc::new(Files::open(&dir("flags")?, flags).map_err(failed)?),
            config: Arc::new(Files::open(&dir("config")?, configs).map_err(failed)?),
            secret: Arc::new(Files::open(&dir("secret")?, secrets).map_err(failed)?),
            jobs: Arc::new(Jobs::open(&dir("job")?, jobs).map_err(failed)?),
            nginx: Arc::new(Servers::open(&dir("nginx")?, servers).map_err(failed)?),
            databases: Arc::new(Databases::open(&dir("postgres")?, databases).map_err(failed)?),
            keys: places.data.join("keys"),
        })
    }
}

/// Where a process finds what its executors touch, and keeps what they remember.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The folder that paths of the operator's files are relative to.
    pub(crate) base: PathBuf,
    /// The folder of data.
    pub(crate) data: PathBuf,
}

impl Places {
    /// Where an executor keeps its memory.
    pub(super) fn memory(&self, executor: &str) -> PathBuf {
        self.data.join("executors").join(executor)
    }

    /// Where the supervisor keeps its memory.
    pub(super) fn units(&self) -> PathBuf {
        self.data.join("units")
    }
}

/// What the operator's file names, checked.
pub(super) struct Targets {
    pub(super) flags: Vec<FlagTarget>,
    pub(super) configs: Vec<ConfigTarget>,
    pub(super) secrets: Vec<SecretTarget>,
    pub(super) jobs: Vec<Job>,
    pub(super) servers: Vec<NginxServer>,
    pub(super) databases: Vec<Database>,
    /// What probes of databases log in with: the observer's.
    pub(super) logins: ProbeLogins,
    /// What leases for databases: the issuer's, and nothing that an executor opens.
    pub(super) backends: leases::Specs,
}

impl Targets {
    /// Checks the text of the operator's file; touches nothing.
    pub(super) fn parse(base: &Path, text: Option<&str>) -> Result<Self, CliError> {
        let file: ExecutorsFile = match text {
            Some(text) => parse_text("executors", text)?,
            None => ExecutorsFile::default(),
        };
        let base = std::path::absolute(base).map_err(failed)?;
        let at = |path: &PathBuf| base.join(path);
        let flags: Result<Vec<_>, _> = file
            .flags
            .into_iter()
            .map(|(id, entry)| FlagTarget::new(id, at(&entry.file), entry.flag))
            .collect();
        let mut configs = Vec::new();
        for (id, entry) in file.config {
            let settings = entry.settings.into_iter();
            let settings = settings.map(|(param, it)| (param, Setting { key: it.key, spec: it.value }));
            let format = match entry.format {
                FormatWord::Json => Format::Json,
                FormatWord::Env => Format::Env,
            };
            let reload = command(entry.reload)?;
            let target = ConfigTarget::new(id, at(&entry.file), format, settings.collect(), reload);
            configs.push(target.map_err(failed)?);
        }
        let mut secrets = Vec::new();
        for (id, entry) in file.secret {
            let consumer = Consumer::new(command(entry.consumer.reload)?, entry.consumer.shows.as_deref());
            let (token, accepted) = (at(&entry.token), at(&entry.accepted));
            let consumer = consumer.map_err(failed)?;
            let target = SecretTarget::new(id, token, accepted, consumer, entry.move_limit_ms);
            secrets.push(target.map_err(failed)?);
        }
        let tokens = bearer::jobs_by_backend(&file.job);
        let job = |(id, entry): (Id<kind::Target>, JobEntry)| {
            let lease = bearer::lease_of(&id, &entry, &file.leases.bearer)?;
            let job = Job::new(JobSpec {
                id,
                action: entry.action,
                base: entry.base,
                name: entry.name,
                undo_job: entry.undo_job,
                token_file: entry.token_file.as_ref().map(at),
                lease,
                limits: JobLimits { request: entry.request_limit_ms, run: entry.run_limit_ms },
            });
            job.map_err(failed)
        };
        let jobs: Result<Vec<_>, CliError> = file.job.into_iter().map(job).collect();
        let server = |(id, entry): (Id<kind::Target>, NginxEntry)| {
            NginxServer::new(NginxSpec {
                id,
                include: at(&entry.include),
                upstream: entry.upstream,
                server: entry.server,
                may_empty: entry.may_empty,
                test: entry.test,
                reload: entry.reload,
                pid_file: at(&entry.pid_file),
                limit: entry.limit_ms,
            })
        };
        let servers: Result<Vec<_>, _> = file.nginx.into_iter().map(server).collect();
        let login = |(name, entry): (Id<kind::Login>, ProbeLoginEntry)| {
            let ProbeLoginEntry { user, password_file, ca_file } = entry;
            let (password_file, ca_file) = (at(&password_file), ca_file.as_ref().map(at));
            (name, ProbeLogin { user, password_file, ca_file })
        };
        let logins = file.probes.into_iter().map(login).collect();
        let (databases, backends) = leases::checked(file.postgres, tokens, file.leases, at)?;
        Ok(Self {
            flags: flags.map_err(failed)?,
            configs,
            secrets,
            jobs: jobs?,
            servers: servers.map_err(failed)?,
            databases,
            logins,
            backends,
        })
    }
}

fn command(entry: Option<CommandEntry>) -> Result<Option<FixedCommand>, CliError> {
    entry.map(|entry| FixedCommand::new(entry.argv, entry.limit_ms).map_err(failed)).transpose()
}
