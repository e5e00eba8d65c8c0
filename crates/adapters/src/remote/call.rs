//! One request to a role. What matters about one that failed is whether the role may have it.

use std::time::Duration;

use holdpoint_domain::text::quoted;
use reqwest::{Client, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use super::wire;
use crate::{executor::chain, step::Step};

/// Largest answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// Most of a role's text that is shown.
const SHOWN: usize = 400;

/// The other end: a role at an address. The client brings the certificates of mutual TLS, and knows whom to expect there.
#[derive(Debug, Clone)]
pub struct RoleClient {
    http: Client,
    base: String,
}

/// Why there is no answer, or not the one asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The role cannot have the request.
    #[error("it was not reached: {0}")]
    NotSent(String),
    /// The connection broke, or no answer came in time: the role may have the request, and be at it.
    #[error("no answer came: {0}")]
    Unknown(String),
    /// A whole answer: no. Nothing was done.
    #[error("{rule}: {detail}")]
    Refused {
        /// The rule.
        rule: String,
        /// Why.
        detail: String,
    },
    /// It wants the ledger's head proven from another size. Nothing was done.
    #[error("it has seen a head of {size} entries")]
    Behind {
        /// That size.
        size: u64,
    },
    /// It has seen more of the ledger than there is here.
    #[error(
        "it has seen a head of {seen} entries, and this ledger has {size}: it was rolled back, or forked"
    )]
    Ahead {
        /// What it saw.
        seen: u64,
        /// What there is.
        size: u64,
    },
    /// It failed, or answered something else. What it did is not known.
    #[error("it answered {0}")]
    Answer(String),
    /// Our own side cannot ask.
    #[error("it cannot be asked: {0}")]
    Ours(String),
}

impl RoleClient {
    /// The role at `base`, for instance `https://10.0.0.7:7072`.
    #[must_use]
    pub fn new(http: Client, base: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned() }
    }

    /// Sends a body and reads the answer, within `limit`. Never twice.
    ///
    /// # Errors
    /// No answer, or not the one asked for.
    pub async fn call<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<A, CallError> {
        let url = format!("{}{path}", self.base);
        // If we stop around this, the role may have the request: the gate's records say what it was about.
        let asked = Step::RoleAsk.take_async(|_| self.http.post(url).timeout(limit).json(body).send());
        let response = asked.await.map_err(|err| {
            let sent = !err.is_connect() && !err.is_builder();
            let why = chain(&err.without_url());
            if sent { CallError::Unknown(why) } else { CallError::NotSent(why) }
        })?;
        let status = response.status();
        let body = whole(response).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|err| CallError::Answer(format!("nonsense: {err}")));
        }
        let problem: Option<wire::Problem> = serde_json::from_slice(&body).ok();
        match problem {
            Some(wire::Problem { rule, size: Some(size), .. }) if rule == wire::BEHIND => {
                Err(CallError::Behind { size })
            }
            Some(wire::Problem { rule, detail, .. }) if status.is_client_error() => {
                Err(CallError::Refused { rule: quoted(&rule, SHOWN), detail: quoted(&detail, SHOWN) })
            }
            Some(_) | None => Err(CallError::Answer(status.to_string())),
        }
    }
}

async fn whole(mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if chunk.len() <= MAX_ANSWER.saturating_sub(body.len()) => {
                body.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => return Err(CallError::Answer(format!("more than {MAX_ANSWER} bytes"))),
            Ok(None) => return Ok(body),
            Err(err) => return Err(CallError::Unknown(chain(&err.without_url()))),
        }
    }
}
