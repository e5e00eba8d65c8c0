//! Where keys come from, and how they are kept fresh: a file, an HTTPS endpoint, or a Workload API. Each source feeds one
//! [`Keyring`]; what it cannot bring leaves what it brought last.

mod https;
mod workload;

use std::{path::PathBuf, sync::Arc, time::Duration};

use holdpoint_app::port::Clock;
use holdpoint_domain::actor::{SpiffeId, TrustDomain};
use tokio::task::JoinHandle;

pub use https::HttpsError;
pub use workload::{WorkloadError, fetch_token};

use super::{
    jwks::{Bundle, JwksError, Uses, read},
    keyring::{Keyring, WentBack},
};

/// Where the keys of one trust domain or issuer come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file that somebody replaces: a SPIFFE bundle or a JWKS.
    File(PathBuf),
    /// An HTTPS endpoint whose certificate one of these authorities issued: SPIFFE's `https_web`, or an issuer's JWKS.
    Web {
        /// Where.
        url: String,
        /// The only authorities that are believed, PEM.
        authorities_pem: String,
        /// What the document is.
        uses: Uses,
    },
    /// A SPIFFE bundle endpoint that shows an X.509-SVID (`https_spiffe`) and serves the bundle of its own trust domain.
    Spiffe {
        /// Where.
        url: String,
        /// Whose certificate it has to show.
        endpoint: SpiffeId,
        /// The bundle to begin with: later ones are believed because an earlier one vouched for who brought them.
        bootstrap: String,
    },
    /// A Workload API, for instance a SPIRE agent's: `unix:///run/spire/agent.sock`.
    WorkloadApi {
        /// Its endpoint.
        endpoint: String,
        /// The trust domain whose bundle is taken.
        domain: TrustDomain,
    },
}

/// How often sources are asked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at a file.
    pub file: Duration,
    /// Between two questions, where the answer has no `spiffe_refresh_hint`.
    pub usual: Duration,
    /// A hint is not followed below this.
    pub least: Duration,
    /// A hint is not followed beyond this: a withdrawn key would be believed for as long.
    pub most: Duration,
    /// After the first failure; doubled with each further one, to one minute at most.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        // Five minutes are what the SPIFFE standard proposes where nothing is said.
        Self {
            file: Duration::from_secs(2),
            usual: Duration::from_secs(300),
            least: Duration::from_secs(5),
            most: Duration::from_secs(3600),
            retry: Duration::from_secs(1),
        }
    }
}

/// Longest pause after failures.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Why a source brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The document.
    #[error(transparent)]
    Document(#[from] JwksError),
    /// An older one.
    #[error(transparent)]
    WentBack(#[from] WentBack),
    /// The endpoint.
    #[error(transparent)]
    Https(#[from] HttpsError),
    /// The Workload API.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
}

/// A source that is being followed, until this is dropped.
#[derive(Debug)]
pub struct Feed(JoinHandle<()>);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Source {
    /// Whether the source could be asked at all: its URL, its authorities, its first bundle. Touches nothing.
    pub fn check(&self) -> Result<(), SourceError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Web { url, authorities_pem, .. } => Ok(https::check_web(url, authorities_pem)?),
            Self::Spiffe { url, endpoint, bootstrap } => {
                Ok(https::check_spiffe(url, endpoint, &Bundle::parse(bootstrap, Uses::Spiffe)?)?)
            }
            Self::WorkloadApi { endpoint, .. } => Ok(workload::check(endpoint)?),
        }
    }

    /// Follows the source and feeds the keyring with it. A file is read once before this returns.
    #[must_use]
    pub fn follow(self, keys: Arc<Keyring>, clock: Arc<dyn Clock>, pace: Pace) -> Feed {
        if let Self::File(path) = &self {
            take(
                &keys,
                clock.as_ref(),
                read(path).and_then(|text| Bundle::parse(&text, Uses::Any)).map_err(Into::into),
            );
        }
        Feed(tokio::spawn(async move {
            match &self {
                Self::File(_) => {
                    // What the document says of its pace is for those who fetch it.
                    let pace = Pace { usual: pace.file, least: pace.file, most: pace.file, ..pace };
                    tokio::time::sleep(pace.file).await;
                    self.ask_again(&keys, clock.as_ref(), pace).await;
                }
                Self::Web { .. } | Self::Spiffe { .. } => {
                    self.ask_again(&keys, clock.as_ref(), pace).await;
                }
                Self::WorkloadApi { endpoint, domain } => {
                    streams(endpoint, domain, &keys, clock.as_ref(), pace).await;
                }
            }
        }))
    }

    /// Asks again and again, at the pace that the answers propose.
    async fn ask_again(&self, keys: &Keyring, clock: &dyn Clock, pace: Pace) {
        let mut failures = 0_u32;
        loop {
            let found = self.ask(keys).await;
            let hint =
                found.as_ref().ok().and_then(|bundle| bundle.refresh_hint_secs).map(Duration::from_secs);
            let pause = if take(keys, clock, found) {
                failures = 0;
                hint.map_or(pace.usual, |hint| hint.clamp(pace.least, pace.most))
            } else {
                failures = failures.saturating_add(1);
                backoff(pace, failures)
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&self, keys: &Keyring) -> Result<Bundle, SourceError> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                // Away from the threads that answer. It is not joined only when the whole process ends.
                let found =
                    tokio::task::spawn_blocking(move || Bundle::parse(&read(&path)?, Uses::Any)).await;
                Ok(found.map_err(|_| JwksError::Malformed)??)
            }
            Self::Web { url, authorities_pem, uses } => https::pinned(url, authorities_pem, *uses).await,
            Self::Spiffe { url, endpoint, bootstrap } => https::spiffe(url, endpoint, bootstrap, keys).await,
            Self::WorkloadApi { .. } => Err(WorkloadError::Ended.into()),
        }
    }
}

/// Takes what a Workload API streams; it says by itself when something changed.
async fn streams(endpoint: &str, domain: &TrustDomain, keys: &Keyring, clock: &dyn Clock, pace: Pace) {
    let mut failures = 0_u32;
    loop {
        let mut heard = |bundle| {
            if take(keys, clock, bundle) {
                failures = 0;
            }
        };
        let err = workload::follow(endpoint, domain, &mut heard).await;
        take(keys, clock, Err(err.into()));
        failures = failures.saturating_add(1);
        tokio::time::sleep(backoff(pace, failures)).await;
    }
}

fn backoff(pace: Pace, failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    pace.retry.saturating_mul(doubled).min(MAX_RETRY)
}

/// Believes what came, or notes why nothing did, with the age of what stays.
fn take(keys: &Keyring, clock: &dyn Clock, found: Result<Bundle, SourceError>) -> bool {
    let before = keys.status();
    let taken = found.and_then(|bundle| {
        for (kid, why) in &bundle.passed_over {
            tracing::debug!("source {}: key {kid} is passed over: {why}", before.name);
        }
        let digest = bundle.keys.digest();
        Ok(keys.replace(bundle, clock.now()).map(|others| (others, digest))?)
    });
    match taken {
        Ok((others, digest)) => {
            if others {
                tracing::info!(%digest, "source {}: {} keys are believed", before.name, keys.status().keys);
            } else if before.fault.is_some() {
                tracing::info!("source {}: it answers again", before.name);
            }
            true
        }
        Err(err) => {
            let fault = described(&err);
            let heard = before.refreshed_at.map(|at| format!("{} ago", clock.now().since(at)));
            let heard = heard.unwrap_or_else(|| "never".to_owned());
            tracing::error!("source {}: {fault}; {} keys stay, heard {heard}", before.name, before.keys);
            keys.missed(fault);
            false
        }
    }
}

/// An error with what caused it, in one line of visible characters.
fn described(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    holdpoint_domain::text::quoted(&text, 300)
}
