//! OpenBao's HTTP API: each request limited in time and bytes, none followed anywhere, none repeated by itself, and no error
//! with a token or a password in it.

use std::{fmt, path::PathBuf, time::Duration};

use holdpoint_app::port::IssueError;
use holdpoint_domain::text::quoted;
use reqwest::{
    Client, Method, StatusCode, Url,
    header::{HeaderName, HeaderValue},
    redirect, retry,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::spec::Checked;
use crate::{
    executor::chain,
    postgres::{LoginError, read_secret},
    step::Taken,
    tls,
};

/// How long one answer may take: an end of sessions waits for them. A call of the issuer's ends before it in any case.
const LIMIT: Duration = Duration::from_secs(8);
/// Largest answer that is read: a list of some thousand names.
const MAX_ANSWER: usize = 1024 * 1024;
/// Most of an answer's text that is shown.
const SHOWN: usize = 160;
/// Who asks.
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// In which namespace.
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No token.
    #[error(transparent)]
    Token(#[from] LoginError),
    /// Nothing to ask with.
    #[error("OpenBao cannot be asked: {0}")]
    Client(String),
    /// No connection, or one that broke.
    #[error("OpenBao gave no whole answer to `{what}`: {why}")]
    Broken { what: &'static str, why: String },
    /// Nothing in time.
    #[error("OpenBao gave no whole answer to `{0}` within {limit} s", limit = LIMIT.as_secs())]
    Late(&'static str),
    /// Another status.
    #[error("OpenBao answered `{what}` with {status} {text}")]
    Status { what: &'static str, status: u16, text: String },
    /// Not what the API answers.
    #[error("OpenBao answered `{what}` with {why}")]
    Answer { what: &'static str, why: String },
}

impl From<ApiError> for IssueError {
    fn from(err: ApiError) -> Self {
        Self::Backend(err.to_string())
    }
}

/// Where an OpenBao is, and where the token for it stands.
#[derive(Debug)]
pub(super) struct Api {
    checked: Checked,
    ca_file: Option<PathBuf>,
    token_file: PathBuf,
}

/// An OpenBao and a token, for the requests of one call. Certificates and token are those of now.
pub(super) struct Caller {
    client: Client,
    base: Url,
    namespace: Option<HeaderValue>,
    token: String,
    bearer: HeaderValue,
}

/// A whole answer. It may have a password in it: it is shown nowhere.
pub(super) struct Answer {
    what: &'static str,
    status: StatusCode,
    body: Vec<u8>,
}

/// What of an answer's text may stand in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The first of its errors.
    Text,
    /// The number of a database's error alone: the statements had a password in them.
    SqlState,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Api {
    pub(super) const fn new(checked: Checked, ca_file: Option<PathBuf>, token_file: PathBuf) -> Self {
        Self { checked, ca_file, token_file }
    }

    /// Whether leases are of a namespace other than the root's.
    pub(super) const fn has_namespace(&self) -> bool {
        self.checked.namespace.is_some()
    }

    /// A caller with the token of now. Asks nobody.
    pub(super) fn caller(&self) -> Result<Caller, ApiError> {
        let token = read_secret(&self.token_file)?;
        let mut bearer = HeaderValue::from_str(&token)
            .map_err(|_| ApiError::Client("the token is none: expected printable ASCII".to_owned()))?;
        bearer.set_sensitive(true);
        let builder = Client::builder().redirect(redirect::Policy::none()).retry(retry::never()).no_proxy();
        let agent = concat!("holdpoint-issuer/", env!("CARGO_PKG_VERSION"));
        let builder = builder.http1_only().referer(false).connect_timeout(LIMIT).user_agent(agent);
        let builder = match &self.ca_file {
            Some(file) => builder
                .tls_backend_preconfigured(tls::pinned(file).map_err(ApiError::Client)?)
                .https_only(true),
            None => builder,
        };
        let client = builder.build().map_err(|err| ApiError::Client(chain(&err)))?;
        let Checked { base, namespace } = self.checked.clone();
        Ok(Caller { client, base, namespace, token, bearer })
    }
}

impl Caller {
    /// Looks at something.
    pub(super) async fn look(&self, what: &'static str, path: &str) -> Result<Answer, ApiError> {
        self.ask::<()>(what, Method::GET, path, None).await
    }

    /// The names below a path; none where OpenBao says that there is nothing.
    pub(super) async fn list(&self, what: &'static str, path: &str) -> Result<Vec<String>, ApiError> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<String>,
        }
        let answer = self.look(what, &format!("{path}?list=true")).await?;
        if answer.is_nothing() {
            return Ok(Vec::new());
        }
        let Data { data: Keys { keys } } = self.read(answer)?;
        Ok(keys)
    }

    /// Looks at something whose name stands in the body: OpenBao takes such a question by PUT, and changes nothing.
    pub(super) async fn question(
        &self,
        what: &'static str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer, ApiError> {
        self.ask(what, Method::PUT, path, Some(body)).await
    }

    /// Changes something.
    pub(super) async fn put(
        &self,
        what: &'static str,
        path: &str,
        body: &impl Serialize,
        _: &Taken,
    ) -> Result<Answer, ApiError> {
        self.ask(what, Method::PUT, path, Some(body)).await
    }

    /// Makes credentials: for OpenBao a GET, which has an effect all the same.
    pub(super) async fn make(&self, what: &'static str, path: &str, _: &Taken) -> Result<Answer, ApiError> {
        self.ask::<()>(what, Method::GET, path, None).await
    }

    /// Removes something.
    pub(super) async fn delete(&self, what: &'static str, path: &str, _: &Taken) -> Result<Answer, ApiError> {
        self.ask::<()>(what, Method::DELETE, path, None).await
    }

    /// What a good answer says.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, ApiError> {
        let answer = self.good(answer, Shown::Text)?;
        // The error of the parser would show a piece of what it read.
        let wrong = |_| ApiError::Answer { what: answer.what, why: "what is not its API".to_owned() };
        serde_json::from_slice(&answer.body).map_err(wrong)
    }

    /// The answer, if it is a good one.
    pub(super) fn good(&self, answer: Answer, shown: Shown) -> Result<Answer, ApiError> {
        if matches!(answer.status, StatusCode::OK | StatusCode::NO_CONTENT) {
            return Ok(answer);
        }
        let errors = serde_json::from_slice::<Errors>(&answer.body).map(|it| it.errors).unwrap_or_default();
        let first = errors.first().map_or("", String::as_str);
        let text = match shown {
            Shown::Text => quoted(&first.replace(&self.token, "***"), SHOWN),
            Shown::SqlState => sql_state(first),
        };
        Err(ApiError::Status { what: answer.what, status: answer.status.as_u16(), text })
    }

    async fn ask<B: Serialize>(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Answer, ApiError> {
        let url = self.base.join(&format!("/v1/{path}"));
        let url = url.map_err(|_| ApiError::Client("a path that is none".to_owned()))?;
        let mut request = self.client.request(method, url).header(TOKEN, self.bearer.clone());
        if let Some(namespace) = &self.namespace {
            request = request.header(NAMESPACE, namespace.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let broken = |err: reqwest::Error| ApiError::Broken { what, why: chain(&err.without_url()) };
        let asked = async {
            let mut response = request.send().await.map_err(broken)?;
            let (status, mut body) = (response.status(), Vec::new());
            while let Some(chunk) = response.chunk().await.map_err(broken)? {
                if chunk.len() > MAX_ANSWER.saturating_sub(body.len()) {
                    return Err(ApiError::Answer { what, why: format!("more than {MAX_ANSWER} bytes") });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { what, status, body })
        };
        timeout(LIMIT, asked).await.map_err(|_| ApiError::Late(what))?
    }
}

/// What an answer has its content in.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

impl Answer {
    /// Whether OpenBao itself says that there is nothing: a 404 of something between us has no such body, and one about a mount
    /// that is not there says so.
    pub(super) fn is_nothing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.errors().is_some_and(|errors| errors.is_empty())
    }

    /// Whether OpenBao says that it knows no such lease.
    pub(super) fn is_no_lease(&self) -> bool {
        let invalid = |errors: Vec<String>| matches!(errors.as_slice(), [one] if one == "invalid lease");
        self.status == StatusCode::BAD_REQUEST && self.errors().is_some_and(invalid)
    }

    /// Whether the text has these words in it.
    pub(super) fn says(&self, words: &str) -> bool {
        self.errors().is_some_and(|errors| errors.iter().any(|error| error.contains(words)))
    }

    fn errors(&self) -> Option<Vec<String>> {
        serde_json::from_slice::<Errors>(&self.body).ok().map(|it| it.errors)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// The number of a database's error, as OpenBao's driver writes it.
fn sql_state(text: &str) -> String {
    let code = text.split_once("(SQLSTATE ").and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
    let is_code = |code: &&str| {
        code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    };
    let code = code.filter(is_code);
    code.map_or_else(|| "(see its log)".to_owned(), |code| format!("(SQLSTATE {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_databases_error_only_the_number_is_shown() {
        let cases = [
            ("failed: ERROR: role \"x\" already exists (SQLSTATE 42710)\n", "(SQLSTATE 42710)"),
            ("ERROR: syntax error at or near \"canary\"", "(see its log)"),
            ("(SQLSTATE canar)", "(see its log)"),
            ("(SQLSTATE 42710", "(see its log)"),
            ("(SQLSTATE 4271)", "(see its log)"),
        ];
        for (text, shown) in cases {
            assert_eq!(sql_state(text), shown);
        }
    }

    #[test]
    fn only_openbaos_own_word_means_that_there_is_nothing() {
        let answer = |status: u16, body: &str| Answer {
            what: "a list",
            status: StatusCode::from_u16(status).unwrap(),
            body: body.as_bytes().to_vec(),
        };
        assert!(answer(404, r#"{"errors":[]}"#).is_nothing());
        assert!(answer(400, r#"{"errors":["invalid lease"]}"#).is_no_lease());
        for (status, body) in [
            (404, "not found"),
            (404, ""),
            (404, "{}"),
            (404, r#"{"errors":["no handler for route"]}"#),
            (200, r#"{"errors":[]}"#),
            (403, r#"{"errors":["permission denied"]}"#),
            (503, r#"{"errors":["Vault is sealed"]}"#),
            (400, r#"{"errors":["invalid lease","and more"]}"#),
            (400, r#"{"errors":[]}"#),
        ] {
            let answer = answer(status, body);
            assert!(!answer.is_nothing() && !answer.is_no_lease(), "{status} {body}");
        }
    }
}
