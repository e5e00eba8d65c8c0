//! What is asked of the provider behind the browser's back: its metadata, its keys, and the token for a code.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdpoint_domain::text::quoted;
use reqwest::{
    Client, RequestBuilder, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Map, Value};

use super::{
    attempt::Attempt,
    discovery::{Metadata, Proof},
    spec::OidcSpec,
};
use crate::{
    identity::{json::object, web},
    tls,
};

/// Largest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;

/// Why the provider's own side brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// Nothing to ask with.
    #[error("the provider cannot be asked: {0}")]
    Client(String),
    /// No answer, or not from whom we asked. The source has no URL in it: a query may hold what is secret.
    #[error("the provider does not answer")]
    Ask(#[source] reqwest::Error),
    /// Another status; a redirection is not followed.
    #[error("expected the provider to answer with status 200, got {0}")]
    Status(StatusCode),
    /// Too long, or not what was asked for.
    #[error("expected {0}")]
    Answer(&'static str),
    /// The provider does not take the code.
    #[error("the provider does not take the code: {0}")]
    Refused(String),
}

/// What came for a code. Neither is kept.
pub(super) struct Tokens {
    pub(super) id: String,
    pub(super) access: String,
}

/// A client that believes whom the operator says.
pub(super) fn client(spec: &OidcSpec) -> Result<Client, QuestionError> {
    let builder = match &spec.ca_file {
        Some(file) => web::builder()
            .tls_backend_preconfigured(tls::pinned(file).map_err(QuestionError::Client)?)
            .https_only(true),
        None => web::builder(),
    };
    builder.build().map_err(|err| QuestionError::Client(err.to_string()))
}

/// The text of a document.
pub(super) async fn document(client: &Client, url: Url) -> Result<String, QuestionError> {
    let (status, text) = answer(client.get(url)).await?;
    if status == StatusCode::OK { Ok(text) } else { Err(QuestionError::Status(status)) }
}

/// Hands a code in (RFC 6749, section 4.1.3; RFC 7636, section 4.5). A code is good once: if we stop here, the person signs in again.
pub(super) async fn redeem(
    client: &Client,
    spec: &OidcSpec,
    metadata: &Metadata,
    attempt: &Attempt,
    code: &str,
) -> Result<Tokens, QuestionError> {
    let verifier = attempt.verifier();
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &spec.redirect_uri),
        ("code_verifier", &verifier),
    ];
    let mut request = client.post(metadata.token.clone());
    match (&spec.client_secret, metadata.proof) {
        (Some(secret), Proof::Basic) => {
            request = request.header(AUTHORIZATION, basic(&spec.client_id, secret.expose())?);
        }
        (Some(secret), Proof::Post) => {
            fields.extend([("client_id", spec.client_id.as_str()), ("client_secret", secret.expose())]);
        }
        (None, Proof::Basic | Proof::Post) => fields.push(("client_id", &spec.client_id)),
    }
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(&fields)?);
    let (status, text) = answer(request).await?;
    let answer = object(text.as_bytes());
    match (status, answer) {
        (StatusCode::OK, Some(answer)) => tokens(&answer),
        (StatusCode::OK, None) => {
            Err(QuestionError::Answer("the token endpoint to answer with a JSON object"))
        }
        (_, Some(answer)) if answer.contains_key("error") => {
            Err(QuestionError::Refused(quoted(member(&answer, "error").unwrap_or_default(), 80)))
        }
        (status, _) => Err(QuestionError::Status(status)),
    }
}

/// A successful answer (OpenID Connect Core 1.0, section 3.1.3.3).
fn tokens(answer: &Map<String, Value>) -> Result<Tokens, QuestionError> {
    let is_bearer = member(answer, "token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    match (member(answer, "id_token"), member(answer, "access_token")) {
        (Some(id), Some(access)) if is_bearer => Ok(Tokens { id: id.to_owned(), access: access.to_owned() }),
        _ => Err(QuestionError::Answer("an ID token and an access token of type Bearer for the code")),
    }
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, String), QuestionError> {
    let asked = |err: reqwest::Error| QuestionError::Ask(err.without_url());
    let response = request.header(ACCEPT, "application/json").send().await.map_err(asked)?;
    let status = response.status();
    let text = web::text(response, MAX_ANSWER).await.map_err(asked)?;
    text.map(|text| (status, text)).ok_or(QuestionError::Answer("an answer of at most 256 KiB of UTF-8"))
}

fn member<'a>(answer: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    answer.get(name).and_then(Value::as_str)
}

/// The password, both halves encoded as a form's (RFC 6749, section 2.3.1). It is shown in no log.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, QuestionError> {
    let half = |text: &str| {
        let mut url = blank()?;
        url.query_pairs_mut().append_key_only(text);
        Ok::<_, QuestionError>(url.query().unwrap_or_default().to_owned())
    };
    let value = format!("Basic {}", STANDARD.encode(format!("{}:{}", half(id)?, half(secret)?)));
    let mut value = HeaderValue::from_str(&value).map_err(|err| QuestionError::Client(err.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Fields as `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> Result<String, QuestionError> {
    let mut url = blank()?;
    url.query_pairs_mut().extend_pairs(fields);
    Ok(url.query().unwrap_or_default().to_owned())
}

/// A URL that is only there for its query: forms have the same encoding.
fn blank() -> Result<Url, QuestionError> {
    Url::parse("http://form.invalid/").map_err(|err| QuestionError::Client(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_and_its_form_are_encoded_as_the_standard_wants_it() {
        let value = basic("client one", "a:b+c%/ü").unwrap();
        let expected = STANDARD.encode("client+one:a%3Ab%2Bc%25%2F%C3%BC");
        assert_eq!(value.to_str().unwrap(), format!("Basic {expected}"));
        assert!(value.is_sensitive() && !format!("{value:?}").contains(&expected));
        assert_eq!(form(&[("code", "a&b=c"), ("x", "")]).unwrap(), "code=a%26b%3Dc&x=");
    }
}
