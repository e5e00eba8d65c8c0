//! Who is believed: the sources of keys and the rules of identities, out of the file that `identity_sources` names.
//!
//! The file is part of the registry: that a source, a pin or a rule is another one is a recorded change. What the sources
//! publish is replaced behind it, as often as they publish it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use holdpoint_adapters::{
    identity::{
        CachedVerifier, DevIssuer, Domain, Feed, Issuer, IssuerKind, Jwks, Keyring, Pace, Registration, Rule,
        Source, Uses, Verifier, WorkloadApi,
    },
    system::KeyUse,
};
use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Digest, Id, Millis,
    actor::{Identity, Phase, SpiffeId, TrustDomain},
    id::kind,
};
use serde::Deserialize;

use crate::{
    cli::{CliError, failed},
    config::{Config, ConfigError, Documents, parse_text, root_text},
};

/// The file that `identity_sources` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    /// Trust domains whose JWT-SVIDs are believed.
    #[serde(default)]
    trust_domains: Vec<DomainEntry>,
    /// Issuers whose tokens are believed as far as their rules go.
    #[serde(default)]
    issuers: Vec<IssuerEntry>,
    /// Processes that the local development issuer gives identities to, over its Workload API.
    #[serde(default)]
    workload_api: Vec<ProcessEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessEntry {
    socket: PathBuf,
    uid: u32,
    program: Digest,
    #[serde(default)]
    agent: Option<Id<kind::Agent>>,
    #[serde(default)]
    phase: Option<Phase>,
    #[serde(default)]
    person: Option<Id<kind::Person>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainEntry {
    name: TrustDomain,
    bundle: BundleEntry,
    #[serde(default)]
    max_age_ms: Option<Millis>,
    #[serde(default)]
    ids: Vec<IdEntry>,
}

/// Where a trust domain's bundle comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum BundleEntry {
    File(PathBuf),
    HttpsWeb { url: String, authorities: String },
    HttpsSpiffe { url: String, endpoint_id: SpiffeId, bootstrap: String },
    WorkloadApi(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdEntry {
    spiffe_id: SpiffeId,
    #[serde(default)]
    agent: Option<Id<kind::Agent>>,
    #[serde(default)]
    phase: Option<Phase>,
    #[serde(default)]
    person: Option<Id<kind::Person>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerEntry {
    issuer: String,
    kind: IssuerWord,
    keys: KeysEntry,
    #[serde(default)]
    max_age_ms: Option<Millis>,
    #[serde(default)]
    max_life_ms: Option<Millis>,
    rules: Vec<RuleEntry>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IssuerWord {
    Oidc,
    Kubernetes,
}

/// Where an issuer's keys come from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum KeysEntry {
    File(PathBuf),
    Https { url: String, authorities: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    when: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    agent: Option<Id<kind::Agent>>,
    #[serde(default)]
    phase: Option<Phase>,
    #[serde(default)]
    person: Option<Id<kind::Person>>,
    #[serde(default)]
    selectors: BTreeSet<String>,
}

/// Who is believed, with sources that nobody follows yet.
pub(super) struct Believed {
    verifier: Verifier,
    feeds: Vec<(Source, Arc<Keyring>)>,
    registered: Vec<Registration>,
    is_local: bool,
}

/// Who is believed, with sources that are followed until this is dropped.
pub(super) struct Followed {
    pub(super) verifier: CachedVerifier,
    _feeds: Vec<Feed>,
}

impl Believed {
    /// Reads who is believed by the documents in force; all faults are reported together. Touches nothing.
    pub(super) fn read(config: &Config, documents: &Documents) -> Result<Self, CliError> {
        let file = match (root_text(config, documents, "identity_sources"), &config.identity_sources) {
            (Some(text), _) => parse_text(SOURCES, text)?,
            (None, None) => SourcesFile::default(),
            // Without the file the local issuer would be believed instead of those that it names.
            (None, Some(name)) => {
                return Err(ConfigError::one(format!("{SOURCES}: {} is not there", name.display())).into());
            }
        };
        let empty = Verifier::empty(config.trust_domain.clone(), config.audience.clone());
        let is_local = !file.trust_domains.iter().any(|entry| entry.name == config.trust_domain);
        let mut believed = Self { verifier: empty, feeds: Vec::new(), registered: Vec::new(), is_local };
        let mut faults = Vec::new();
        if is_local {
            match local(config, documents) {
                Ok(domain) => {
                    believed.verifier = believed.verifier.with_domain(config.trust_domain.clone(), domain);
                }
                Err(fault) => faults.push(fault),
            }
        }
        let (mut names, mut urls) = (BTreeSet::new(), BTreeSet::new());
        for entry in file.trust_domains {
            if !names.insert(entry.name.clone()) {
                faults.push(format!("{SOURCES}: trust domain `{}` stands twice", entry.name.as_str()));
            }
            believed = believed.with_domain(config, entry, &mut faults);
        }
        for entry in file.issuers {
            if !urls.insert(entry.issuer.clone()) {
                faults.push(format!("{SOURCES}: issuer `{}` stands twice", entry.issuer));
            }
            believed = believed.with_issuer(config, entry, &mut faults);
        }
        believed.registered = registrations(config, file.workload_api, is_local, &mut faults);
        if faults.is_empty() { Ok(believed) } else { Err(ConfigError(faults).into()) }
    }

    /// Whether the own trust domain's identities come from the local development issuer.
    pub(super) const fn is_local(&self) -> bool {
        self.is_local
    }

    /// The local development issuer's Workload API, where processes are registered for it.
    pub(super) fn serve(
        &self,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<WorkloadApi>, CliError> {
        if self.registered.is_empty() {
            return Ok(None);
        }
        let (keys, domain) = (config.keys_dir(), config.trust_domain.clone());
        let issuer =
            DevIssuer::load_or_create(&KeyUse::Identity.path(&keys), domain.clone()).map_err(failed)?;
        let authority = KeyUse::Authority.path(&keys);
        let api = WorkloadApi::serve(&self.registered, issuer, domain, &authority, Arc::clone(clock));
        tracing::warn!(
            "DEVELOPMENT: the local issuer gives identities to registered processes on this machine"
        );
        api.map(Some).map_err(failed)
    }

    /// Follows the sources from now on.
    pub(super) fn follow(self, clock: &Arc<dyn Clock>) -> Followed {
        let follow = |(source, keys): (Source, _)| source.follow(keys, Arc::clone(clock), Pace::default());
        let feeds = self.feeds.into_iter().map(follow).collect();
        Followed { verifier: CachedVerifier::new(self.verifier), _feeds: feeds }
    }

    fn with_domain(mut self, config: &Config, entry: DomainEntry, faults: &mut Vec<String>) -> Self {
        let name = entry.name;
        let at = format!("{SOURCES}: trust domain `{}`", name.as_str());
        let source = match entry.bundle {
            BundleEntry::File(path) => Source::File(config.path(&path)),
            BundleEntry::HttpsWeb { url, authorities } => {
                Source::Web { url, authorities_pem: authorities, uses: Uses::Spiffe }
            }
            BundleEntry::HttpsSpiffe { url, endpoint_id, bootstrap } => {
                // An endpoint of another domain would need that domain's bundle to be kept fresh as well.
                if *endpoint_id.trust_domain() != name {
                    faults.push(format!("{at}: expected `endpoint_id` to be of the domain itself"));
                }
                Source::Spiffe { url, endpoint: endpoint_id, bootstrap }
            }
            BundleEntry::WorkloadApi(endpoint) => Source::WorkloadApi { endpoint, domain: name.clone() },
        };
        let mut ids = Vec::new();
        for id in entry.ids {
            match one_identity(id.agent, id.phase, id.person) {
                Ok(identity) => ids.push((id.spiffe_id, identity)),
                Err(fault) => faults.push(format!("{at}: `{}`: {fault}", id.spiffe_id.as_str())),
            }
        }
        let keys = Arc::new(Keyring::awaited(name.as_str(), entry.max_age_ms));
        match Domain::new(&config.trust_domain, &name, Arc::clone(&keys), ids) {
            Ok(domain) => self.verifier = self.verifier.with_domain(name, domain),
            Err(errors) => faults.extend(errors.iter().map(|err| format!("{at}: {err}"))),
        }
        self.feed(&at, source, keys, faults)
    }

    fn with_issuer(mut self, config: &Config, entry: IssuerEntry, faults: &mut Vec<String>) -> Self {
        let at = format!("{SOURCES}: issuer `{}`", entry.issuer);
        let source = match entry.keys {
            KeysEntry::File(path) => Source::File(config.path(&path)),
            KeysEntry::Https { url, authorities } => {
                Source::Web { url, authorities_pem: authorities, uses: Uses::Any }
            }
        };
        let mut rules = Vec::new();
        for (rule, number) in entry.rules.into_iter().zip(1_u32..) {
            match one_identity(rule.agent, rule.phase, rule.person) {
                Ok(identity) => rules.push(Rule { when: rule.when, identity, selectors: rule.selectors }),
                Err(fault) => faults.push(format!("{at}: rule {number}: {fault}")),
            }
        }
        let kind = match entry.kind {
            IssuerWord::Oidc => IssuerKind::Oidc,
            IssuerWord::Kubernetes => IssuerKind::Kubernetes,
        };
        let keys = Arc::new(Keyring::awaited(entry.issuer.as_str(), entry.max_age_ms));
        match Issuer::new(entry.issuer, kind, entry.max_life_ms, rules) {
            Ok(issuer) => self.verifier = self.verifier.with_issuer(issuer, Arc::clone(&keys)),
            Err(errors) => faults.extend(errors.iter().map(|err| format!("{at}: {err}"))),
        }
        self.feed(&at, source, keys, faults)
    }

    fn feed(mut self, at: &str, source: Source, keys: Arc<Keyring>, faults: &mut Vec<String>) -> Self {
        if let Err(err) = source.check() {
            faults.push(format!("{at}: {err}"));
        }
        self.feeds.push((source, keys));
        self
    }
}

/// What the file is called in messages.
const SOURCES: &str = "identity_sources";

/// The local development issuer, for a trust domain without another source.
fn local(config: &Config, documents: &Documents) -> Result<Domain, String> {
    let none = || "there are no keys of identities: run `holdpoint init` first".to_owned();
    let text = root_text(config, documents, "identities").ok_or_else(none)?;
    let keys = Jwks::parse(text).map_err(|err| format!("identities.jwks: {err}"))?;
    let keys = Arc::new(Keyring::fixed("the local issuer", keys));
    Domain::new(&config.trust_domain, &config.trust_domain, keys, Vec::new())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn one_identity(
    agent: Option<Id<kind::Agent>>,
    phase: Option<Phase>,
    person: Option<Id<kind::Person>>,
) -> Result<Identity, &'static str> {
    match (agent, phase, person) {
        (Some(agent), Some(phase), None) => Ok(Identity::Agent { agent, phase }),
        (None, None, Some(person)) => Ok(Identity::Person { person }),
        _ => Err("expected `agent` with one `phase`, or `person`"),
    }
}

/// Who is registered for the Workload API. It is the local issuer's, so it has to be the one that is believed, and it is for
/// development alone.
fn registrations(
    config: &Config,
    entries: Vec<ProcessEntry>,
    is_local: bool,
    faults: &mut Vec<String>,
) -> Vec<Registration> {
    let at = format!("{SOURCES}: workload_api");
    if !entries.is_empty() && !config.development {
        faults.push(format!(
            "{at}: the local issuer speaks it with `development: true` alone: take SPIRE here"
        ));
    }
    if !entries.is_empty() && !is_local {
        let name = config.trust_domain.as_str();
        faults.push(format!(
            "{at}: trust domain `{name}` has another source, so the local issuer is not believed"
        ));
    }
    let mut registered = Vec::new();
    for (entry, number) in entries.into_iter().zip(1_u32..) {
        match one_identity(entry.agent, entry.phase, entry.person) {
            Ok(identity) => registered.push(Registration {
                socket: config.path(&entry.socket),
                uid: entry.uid,
                program: entry.program,
                identity,
            }),
            Err(fault) => faults.push(format!("{at}: entry {number}: {fault}")),
        }
    }
    if let Err(err) = WorkloadApi::check(&registered) {
        faults.push(format!("{at}: {err}"));
    }
    registered
}

#[cfg(test)]
mod tests;
