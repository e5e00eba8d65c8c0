//! A client of the gate's HTTP door, for the other commands.

use std::time::Duration;

use holdpoint_domain::{Id, actor::Identity, facts::PlanFacts, id::kind, text::quoted};
use serde_json::Value;

use super::{CliError, Door, failed, identity, output::plain};
use crate::{
    config::Config,
    http::{
        DELEGATION,
        wire::{Entries, Keys},
    },
};

/// How long an answer may take: a proposal waits for its probes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest life of a token that a command makes for itself.
const TOKEN_TTL_SECS: u32 = 300;
/// How long a stream of events may take: longer than the gate lets one live.
const STREAM: Duration = Duration::from_secs(20 * 60);
/// How much of a list is asked for at once: the most that the gate gives.
const PAGE: u32 = 200;
/// Most pages of a list: what the largest inventory has.
const MAX_PAGES: u32 = 500;

/// A client with an address and an identity.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    delegation: Option<String>,
    config: Option<Config>,
}

impl Client {
    /// Finds address and identity in the options.
    pub(crate) fn connect(door: &Door) -> Result<Self, CliError> {
        let config = door.config.as_deref().map(Config::load).transpose()?;
        let url = match (&door.url, &config) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(config)) => config.url(),
            (None, None) => {
                return Err(CliError::Usage("expected --url or --config to find the gate".into()));
            }
        };
        let token = match (&door.token_file, &door.person, &config) {
            (Some(path), None, _) => Some(
                std::fs::read_to_string(path)
                    .map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))?,
            ),
            (None, Some(person), Some(config)) => {
                let person: Id<kind::Person> = person.parse().map_err(failed)?;
                Some(identity::issue(config, &Identity::Person { person }, TOKEN_TTL_SECS)?)
            }
            (None, Some(_), None) => {
                return Err(CliError::Usage("--as needs --config, for its development issuer".into()));
            }
            (Some(_), Some(_), _) => {
                return Err(CliError::Usage("expected --as or --token-file, got both".into()));
            }
            (None, None, _) => std::env::var("HOLDPOINT_TOKEN").ok(),
        };
        if token.is_some() && !is_private(&url) {
            return Err(CliError::Usage(format!(
                "a token is not sent in clear to another machine: expected https, got {}",
                quoted(&url, 80)
            )));
        }
        let delegation = door.delegation_file.as_deref().map(|path| {
            let read = std::fs::read_to_string(path);
            let read = read.map_err(|err| CliError::Failed(format!("{}: {err}", path.display())));
            read.map(|text| text.trim().to_owned())
        });
        let delegation = delegation.transpose()?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(failed)?;
        Ok(Self { http, url, token: token.map(|token| token.trim().to_owned()), delegation, config })
    }

    /// The configuration, where one was given.
    pub(crate) const fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// A GET whose answer is JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, CliError> {
        let (_, bytes) = self.send(self.http.get(format!("{}{path}", self.url))).await?;
        serde_json::from_slice(&bytes).map_err(failed)
    }

    /// A GET whose answer is text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, CliError> {
        let (_, bytes) = self.send(self.http.get(format!("{}{path}", self.url))).await?;
        String::from_utf8(bytes).map_err(failed)
    }

    /// A POST of JSON; returns the status too.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<(u16, Value), CliError> {
        let (status, bytes) = self.send(self.http.post(format!("{}{path}", self.url)).json(body)).await?;
        serde_json::from_slice(&bytes).map(|value| (status, value)).map_err(failed)
    }

    /// A GET of something that may not be there.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, CliError> {
        match self.raw(self.http.get(format!("{}{path}", self.url))).await? {
            (reqwest::StatusCode::NOT_FOUND, _) => Ok(None),
            (status, bytes) if status.is_success() => serde_json::from_slice(&bytes).map_err(failed),
            (status, bytes) => Err(refused(status, &bytes)),
        }
    }

    /// All pages of a list as one: what these fields have, one page after the other.
    pub(crate) async fn pages(&self, path: &str, fields: &[&str]) -> Result<Value, CliError> {
        let mut all = self.get(&format!("{path}?limit={PAGE}")).await?;
        for _ in 1..MAX_PAGES {
            let Some(next) = all.get("next").and_then(Value::as_str) else { return Ok(all) };
            let next: Id<kind::Target> = next.parse().map_err(failed)?;
            let mut page = self.get(&format!("{path}?limit={PAGE}&after={next}")).await?;
            for field in fields {
                let more = page.get_mut(*field).and_then(Value::as_array_mut).map(std::mem::take);
                let known = all.get_mut(*field).and_then(Value::as_array_mut);
                // What one page refers to may be what another one referred to.
                if let (Some(more), Some(known)) = (more, known) {
                    let fresh: Vec<_> = more.into_iter().filter(|item| !known.contains(item)).collect();
                    known.extend(fresh);
                }
            }
            let next = page.get("next").cloned().unwrap_or_default();
            all.as_object_mut().and_then(|all| all.insert("next".to_owned(), next));
        }
        Ok(all)
    }

    /// The stream of events from entry `next` on.
    pub(crate) async fn events(&self, next: u64) -> Result<reqwest::Response, CliError> {
        let mut request = self.http.get(format!("{}/v1/events", self.url)).timeout(STREAM);
        if let Some(last) = next.checked_sub(1) {
            request = request.header("last-event-id", last);
        }
        let response = self.open(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|err| self.unreachable(&err))?;
        Err(refused(status, &bytes))
    }

    /// A plan's recorded facts.
    pub(crate) async fn facts(&self, plan: &str) -> Result<PlanFacts, CliError> {
        let plan: Id<kind::Plan> = plan.parse().map_err(failed)?;
        let answer = self.get(&format!("/v1/plans/{plan}")).await?;
        serde_json::from_value(answer.get("facts").cloned().unwrap_or_default()).map_err(failed)
    }

    /// The gate's public keys.
    pub(crate) async fn keys(&self) -> Result<Keys, CliError> {
        serde_json::from_value(self.get("/v1/keys").await?).map_err(failed)
    }

    /// Entries of the log.
    pub(crate) async fn entries(&self, first: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, CliError> {
        let text = self.text(&format!("/v1/ledger/entries?first={first}&limit={limit}")).await?;
        let answer: Entries = serde_json::from_str(&text).map_err(failed)?;
        // The record's own text, byte for byte: it is what the leaf hash is over.
        Ok(answer
            .entries
            .into_iter()
            .map(|entry| (entry.index, entry.record.get().as_bytes().to_vec()))
            .collect())
    }

    /// One entry of the log.
    pub(crate) async fn entry(&self, index: u64) -> Result<Vec<u8>, CliError> {
        let found = self.entries(index, 1).await?.into_iter().find(|(at, _)| *at == index);
        found.map(|(_, bytes)| bytes).ok_or_else(|| CliError::Failed(format!("the log has no entry {index}")))
    }

    /// A file of the log's static layout, as [`holdpoint_ledger::export::export_paths`] names it.
    pub(crate) async fn log_file(&self, path: &str) -> Result<Vec<u8>, CliError> {
        self.send(self.http.get(format!("{}/v1/ledger/{path}", self.url))).await.map(|(_, bytes)| bytes)
    }

    async fn open(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, CliError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let request = match &self.delegation {
            Some(delegation) => request.header(DELEGATION, delegation),
            None => request,
        };
        request.send().await.map_err(|err| self.unreachable(&err))
    }

    fn unreachable(&self, err: &reqwest::Error) -> CliError {
        let url = plain(&self.url);
        CliError::Unreachable(format!("the gate at {url} does not answer ({err}): nothing was started"))
    }

    async fn raw(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<(reqwest::StatusCode, Vec<u8>), CliError> {
        let response = self.open(request).await?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|err| self.unreachable(&err))?;
        Ok((status, bytes.to_vec()))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), CliError> {
        let (status, bytes) = self.raw(request).await?;
        if status.is_success() { Ok((status.as_u16(), bytes)) } else { Err(refused(status, &bytes)) }
    }
}

/// Whether what is sent to this address can be read by nobody between: TLS, or this machine.
fn is_private(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| match url.host_str() {
        _ if url.scheme() == "https" => true,
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    })
}

/// What a problem document (RFC 9457) says, for people.
fn refused(status: reqwest::StatusCode, body: &[u8]) -> CliError {
    let Ok(problem) = serde_json::from_slice::<Value>(body) else {
        return CliError::Failed(format!("the gate answered {status}"));
    };
    let field = |name: &str| plain(problem.get(name).and_then(Value::as_str).unwrap_or_default());
    let mut text = format!("{} (rule `{}`)", field("detail"), field("rule"));
    for reason in problem.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| plain(reason.get(name).and_then(Value::as_str).unwrap_or_default());
        text.push_str(&format!("\n  {}: {}", part("rule"), part("fact")));
    }
    for hint in problem.get("hints").and_then(Value::as_array).into_iter().flatten() {
        let rule = plain(hint.get("rule").and_then(Value::as_str).unwrap_or_default());
        for unmet in
            hint.get("unmet").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            text.push_str(&format!("\n  rule `{rule}` wants: {}", plain(unmet)));
        }
    }
    if let Some(with) = problem.get("allowed_with") {
        let without = with.get("without").and_then(Value::as_array).into_iter().flatten();
        for rule in without.filter_map(Value::as_str) {
            text.push_str(&format!("\n  never allowed while `{}` denies it", plain(rule)));
        }
        match with.get("tier").and_then(Value::as_str) {
            Some(tier) => {
                text.push_str(&format!("\n  without that, policy would allow it at {}", plain(tier)))
            }
            None => text.push_str("\n  policy would not allow it at any tier"),
        }
    }
    if !field("next").is_empty() {
        text.push_str(&format!("\n  next: {}", field("next")));
    }
    if status.as_u16() == 403 { CliError::Denied(text) } else { CliError::Failed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv12_a_token_stays_on_this_machine_or_under_tls() {
        for url in
            ["http://127.0.0.1:7070", "http://localhost:1", "http://[::1]:7070", "https://gate.example"]
        {
            assert!(is_private(url), "{url}");
        }
        for url in [
            "http://gate.example",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
            "ftp://localhost.example",
            "",
        ] {
            assert!(!is_private(url), "{url}");
        }
    }
}
