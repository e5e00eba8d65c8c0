//! The runner's side of the protocol: five requests, each limited in time and bytes, none followed anywhere.
//!
//! What matters about a request that failed is whether the runner may have it. [`Failed`] keeps that apart.

use std::{fmt, time::Duration};

use holdpoint_app::port::Clock;
use holdpoint_domain::{lease::LeaseSecret, text::quoted};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect, retry};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::job::{Job, MAX_WORD, is_word};
use crate::{
    executor::chain,
    lease::{
        dpop::{DPOP, proof},
        hidden,
    },
    step::{Step, Taken},
    system::Ed25519Key,
};

/// Largest answer that is read: the answers of the protocol have a few hundred bytes.
pub(super) const MAX_ANSWER: usize = 64 * 1024;
/// Longest revision: a digest or a version has far less.
const MAX_REVISION: usize = 256;
/// Most of a runner's text that is shown.
const SHOWN: usize = 80;
/// The header that makes a start happen once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The runner cannot have the request: no connection, or nothing that could be sent.
    #[error("the runner was not reached: {0}")]
    NotSent(String),
    /// The connection ended under way, and with it the request.
    #[error("the connection to the runner broke: {0}")]
    Broken(String),
    /// No whole answer in time: the runner may still be busy with the request.
    #[error("the runner gave no whole answer in time")]
    Silent,
    /// A whole answer that is not the one of the protocol.
    #[error("the runner answered {0}")]
    Answer(String),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// A run as the runner tells it. What else it tells is not read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) state: RunState,
    /// Whether a run that did not succeed changed anything; a runner that does not say so may have.
    #[serde(default)]
    pub(super) touched: Option<bool>,
    /// The key that it was started with.
    #[serde(default)]
    key: Option<String>,
}

/// The runner's name for a run: one path segment, so that it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct RunId(String);

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_word(&text) {
            return Ok(Self(text));
        }
        Err(format!("expected a run id of 1 to {MAX_WORD} letters, digits and `. _ -`"))
    }
}

#[derive(Deserialize)]
struct Definition {
    revision: String,
}

#[derive(Deserialize)]
struct Runs {
    runs: Vec<Run>,
}

/// A client that neither follows redirects nor asks proxies nor tries twice. A connection of its own for each request:
/// one that had gone stale would break a request that the runner never saw.
pub(crate) fn client(role: &str) -> reqwest::Result<Client> {
    let never = (redirect::Policy::none(), retry::never());
    let builder = Client::builder().redirect(never.0).retry(never.1).no_proxy().referer(false);
    let agent = format!("holdpoint-{role}/{}", env!("CARGO_PKG_VERSION"));
    builder.http1_only().pool_max_idle_per_host(0).user_agent(agent).build()
}

/// A job's runner, as one of us that asks it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner<'a> {
    pub(super) client: &'a Client,
    pub(super) job: &'a Job,
    pub(super) asker: Asker<'a>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) enum Asker<'a> {
    /// With the job's token file, if it has one: whoever only looks, and an executor without a lease of the runner's own.
    Standing,
    /// With a lease that the runner checks for itself.
    Leased {
        /// The token.
        token: &'a LeaseSecret,
        /// What it is bound to, where it is.
        key: Option<(&'a Ed25519Key, &'a dyn Clock)>,
    },
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standing => "Standing",
            Self::Leased { .. } => "Leased",
        })
    }
}

impl Runner<'_> {
    /// The revision of a job's definition.
    pub(super) async fn revision(&self, job: &str) -> Result<String, Failed> {
        let request = self.request(Method::GET, self.job.url(&["jobs", job]))?;
        let Definition { revision } = self.ask(request, &[StatusCode::OK]).await?;
        if revision.is_empty() || revision.len() > MAX_REVISION {
            return Err(Failed::Answer(format!("with a revision of {} bytes", revision.len())));
        }
        Ok(revision)
    }

    /// Starts a run, or finds the one that was started with the same key.
    pub(super) async fn start(&self, job: &str, key: &str, params: &Value) -> Result<Run, Failed> {
        let started = Step::JobStart.take_async(|taken| async move {
            let request = self.order(self.job.url(&["jobs", job, "runs"]), &taken)?;
            let request = request.header(IDEMPOTENCY_KEY, key).json(params);
            self.ask(request, &[StatusCode::CREATED, StatusCode::OK]).await
        });
        started.await
    }

    /// A run as it is now.
    pub(super) async fn run(&self, id: &RunId) -> Result<Run, Failed> {
        let request = self.request(Method::GET, self.job.url(&["runs", &id.0]))?;
        let run: Run = self.ask(request, &[StatusCode::OK]).await?;
        if run.id != *id {
            return Err(Failed::Answer("with another run than was asked for".to_owned()));
        }
        Ok(run)
    }

    /// The run that was started with `key`. `None` only where the runner itself says that there is none.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Run>, Failed> {
        let mut url = self.job.url(&["runs"]);
        url.query_pairs_mut().append_pair("key", key);
        let Runs { mut runs } = self.ask(self.request(Method::GET, url)?, &[StatusCode::OK]).await?;
        // A runner that does not know the question tells of other runs, and its silence about ours proves nothing.
        let ours = runs.iter().all(|run| run.key.as_deref() == Some(key));
        if runs.len() > 1 || !ours {
            return Err(Failed::Answer("with other runs than the one of the key".to_owned()));
        }
        Ok(runs.pop())
    }

    /// Asks for the end of a run. What came of it, the run itself says.
    pub(super) async fn cancel(&self, id: &RunId) -> Result<(), Failed> {
        let cancelled = Step::JobCancel.take_async(|taken| async move {
            let request = self.order(self.job.url(&["runs", &id.0, "cancel"]), &taken)?;
            let fine = [StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NO_CONTENT];
            self.whole(request, &fine).await.map(|_| ())
        });
        cancelled.await
    }

    /// A request that changes something.
    fn order(&self, url: Url, _: &Taken) -> Result<RequestBuilder, Failed> {
        self.request(Method::POST, url)
    }

    fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Failed> {
        let not_sent = |why: &str| Failed::NotSent(why.to_owned());
        let leased = |scheme, token: &LeaseSecret| {
            hidden(scheme, token.expose()).ok_or_else(|| not_sent("the lease is no token"))
        };
        let (authorization, proof) = match self.asker {
            Asker::Standing => (self.job.bearer().map_err(|err| not_sent(&err.to_string()))?, None),
            Asker::Leased { token, key: None } => (Some(leased("Bearer", token)?), None),
            Asker::Leased { token, key: Some((key, clock)) } => {
                let proof = proof(key, &method, &url, token.expose(), clock.now());
                (Some(leased("DPoP", token)?), Some(proof))
            }
        };
        let mut request = self.client.request(method, url).header(header::ACCEPT, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        Ok(match proof {
            Some(proof) => request.header(DPOP, proof),
            None => request,
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        fine: &[StatusCode],
    ) -> Result<T, Failed> {
        let body = self.whole(request, fine).await?;
        serde_json::from_slice(&body).map_err(|_| {
            let shown = quoted(&String::from_utf8_lossy(&body), SHOWN);
            Failed::Answer(format!("what is not the protocol: {shown}"))
        })
    }

    async fn whole(&self, request: RequestBuilder, fine: &[StatusCode]) -> Result<Vec<u8>, Failed> {
        let limit = Duration::from_millis(self.job.limits().request.ms());
        let asked = async {
            let response = request.send().await.map_err(failure)?;
            let status = response.status();
            let body = limited(response).await?;
            if fine.contains(&status) {
                return Ok(body);
            }
            let shown = quoted(&String::from_utf8_lossy(&body), SHOWN);
            Err(Failed::Answer(format!("{} and {shown}", status.as_u16())))
        };
        timeout(limit, asked).await.unwrap_or(Err(Failed::Silent))
    }
}

async fn limited(mut response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if chunk.len() > MAX_ANSWER.saturating_sub(body.len()) {
            return Err(Failed::Answer(format!("more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(err: reqwest::Error) -> Failed {
    let nothing_went_out = err.is_builder() || err.is_connect();
    // The address is the operator's; without it the line is short, and the same for all.
    let line = chain(&err.without_url());
    if nothing_went_out { Failed::NotSent(line) } else { Failed::Broken(line) }
}
