//! HTTP, as an agent sees it: the gate's public API, and the pages of the stage. Nothing here knows the gate from inside.

use std::{net::Ipv4Addr, time::Duration};

use holdpoint_domain::{Id, id::kind};
use serde::{Serialize, de::DeserializeOwned};

use super::DemoError;
use crate::http::wire::{Changes, Entries, NewPlan, PlanDetail, Problem, Proposed, Reviews};

/// How long an answer may take: a proposal waits for its probes.
const LIMIT: Duration = Duration::from_secs(15);

/// Most entries of the ledger in one answer.
const PAGE: u32 = 200;
/// Another address of this machine: what comes from here is not the shop's.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A client.
pub(super) struct Api {
    http: reqwest::Client,
    /// Somebody somewhere else.
    stranger: reqwest::Client,
    gate: String,
}

/// What the gate answered to a request that it may refuse.
pub(super) enum Answered<T> {
    /// What was asked for.
    Yes(T),
    /// A problem document (RFC 9457).
    No(Box<Problem>),
}

impl Api {
    /// A client of the gate at this port.
    pub(super) fn new(port: u16) -> Result<Self, DemoError> {
        let gate = format!("http://127.0.0.1:{port}");
        let failed = |source| DemoError::Http { url: gate.clone(), source };
        let client = || reqwest::Client::builder().timeout(LIMIT).no_proxy();
        let http = client().build().map_err(failed)?;
        let stranger = client().local_address(Some(ELSEWHERE.into())).build().map_err(failed)?;
        Ok(Self { http, stranger, gate })
    }

    /// The address of the gate.
    pub(super) fn gate(&self) -> &str {
        &self.gate
    }

    /// Whether the gate serves.
    pub(super) async fn is_up(&self) -> bool {
        let answer = self.http.get(format!("{}/healthz", self.gate)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Proposes a plan.
    pub(super) async fn propose(&self, token: &str, plan: &NewPlan) -> Result<Answered<Proposed>, DemoError> {
        self.post("/v1/plans", token, plan).await
    }

    /// Posts to the gate.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
        body: &impl Serialize,
    ) -> Result<Answered<T>, DemoError> {
        let url = format!("{}{path}", self.gate);
        let failed = |source| DemoError::Http { url: url.clone(), source };
        let answer = self.http.post(&url).bearer_auth(token).json(body).send().await.map_err(failed)?;
        if answer.status().is_success() {
            return answer.json().await.map(Answered::Yes).map_err(failed);
        }
        answer.json().await.map(|problem| Answered::No(Box::new(problem))).map_err(failed)
    }

    /// A plan.
    pub(super) async fn plan(&self, token: &str, plan: &Id<kind::Plan>) -> Result<PlanDetail, DemoError> {
        self.get(&format!("/v1/plans/{plan}"), token).await
    }

    /// Changes of control inputs, newest first.
    pub(super) async fn changes(&self, token: &str) -> Result<Changes, DemoError> {
        self.get("/v1/changes", token).await
    }

    /// A page of the console, as a browser gets it that was signed in with a link.
    pub(super) async fn console(&self, link: &str, path: &str) -> Result<String, DemoError> {
        let (page, secret) = link.split_once('#').unwrap_or((link, ""));
        let origin = page.strip_suffix("/sign-in/link").unwrap_or(page);
        let failed = |source| DemoError::Http { url: page.to_owned(), source };
        let body = serde_json::json!({ "secret": secret });
        let answer = self.http.post(page).header("origin", origin).json(&body).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let cookie = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok());
        let cookie = cookie.and_then(|value| value.split(';').next()).unwrap_or_default().to_owned();
        let url = format!("{origin}{path}");
        let failed = |source| DemoError::Http { url: url.clone(), source };
        let answer = self.http.get(&url).header("cookie", cookie).header("accept", "text/html").send().await;
        answer.and_then(reqwest::Response::error_for_status).map_err(failed)?.text().await.map_err(failed)
    }

    /// Runs that somebody must still look at.
    pub(super) async fn reviews(&self, token: &str) -> Result<Reviews, DemoError> {
        self.get("/v1/reviews", token).await
    }

    /// Entries of the ledger from `first` on, as a person sees them.
    pub(super) async fn entries(&self, token: &str, first: u64) -> Result<Entries, DemoError> {
        self.get(&format!("/v1/ledger/entries?first={first}&limit={PAGE}"), token).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, token: &str) -> Result<T, DemoError> {
        let url = format!("{}{path}", self.gate);
        let failed = |source| DemoError::Http { url: url.clone(), source };
        let answer = self.http.get(&url).bearer_auth(token).send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
    }

    /// Searches for something.
    pub(super) async fn search(&self, url: &str, words: &str) -> Result<String, DemoError> {
        let with_words = reqwest::Url::parse_with_params(url, [("q", words)]);
        self.page(with_words.as_ref().map_or(url, reqwest::Url::as_str)).await
    }

    /// The status that somebody from elsewhere gets with a token.
    pub(super) async fn stolen(&self, url: &str, token: &str) -> Result<u16, DemoError> {
        let failed = |source| DemoError::Http { url: url.to_owned(), source };
        let answer = self.stranger.get(url).bearer_auth(token).send().await.map_err(failed)?;
        Ok(answer.status().as_u16())
    }

    /// The latest signed checkpoint of the ledger; anybody may ask.
    pub(super) async fn checkpoint(&self) -> Result<String, DemoError> {
        self.page(&format!("{}/v1/ledger/checkpoint", self.gate)).await
    }

    /// A page, as text.
    pub(super) async fn page(&self, url: &str) -> Result<String, DemoError> {
        let failed = |source| DemoError::Http { url: url.to_owned(), source };
        let answer = self.http.get(url).send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?.text().await.map_err(failed)
    }

    /// Tells a part of the stage to do something.
    pub(super) async fn poke(&self, url: &str) -> Result<String, DemoError> {
        let failed = |source| DemoError::Http { url: url.to_owned(), source };
        let answer = self.http.post(url).header("content-length", "0").send().await.map_err(failed)?;
        answer.error_for_status().map_err(failed)?.text().await.map_err(failed)
    }

    /// Whether a page answers within `limit`.
    pub(super) async fn answers(&self, url: &str, limit: Duration) -> bool {
        self.http.get(url).timeout(limit).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// A sample of a Prometheus page, by its exact name and labels.
    pub(super) async fn sample(&self, url: &str, series: &str) -> Result<Option<f64>, DemoError> {
        Ok(sample(&self.page(url).await?, series))
    }
}

fn sample(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_whole_name() {
        let page = "# TYPE up gauge\nup{b=\"1\"} 0\nup{b=\"10\"} 1\nupper 7\n";
        assert_eq!(sample(page, "up{b=\"10\"}"), Some(1.0));
        assert_eq!(sample(page, "up"), None);
        assert_eq!(sample(page, "upper"), Some(7.0));
    }
}
