//! What a browser brings back from the provider: the query of the way back, of which nothing is believed yet.

use reqwest::Url;

use super::party::OidcError;

/// Longest query.
const MAX_QUERY_LEN: usize = 4 * 1024;

/// The parameters that count, each at most once (RFC 6749, section 3.1).
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) state: Option<String>,
    pub(super) code: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) error: Option<String>,
}

impl Answer {
    /// Reads a query. Parameters that nobody here knows are passed over: providers add some.
    pub(super) fn read(query: &str) -> Result<Self, OidcError> {
        let url = Url::parse(&format!("http://answer.invalid/?{query}")).ok();
        let url = url.filter(|url| query.len() <= MAX_QUERY_LEN && url.fragment().is_none());
        let mut answer = Self::default();
        for (name, value) in url.ok_or(OidcError::Answer)?.query_pairs() {
            let place = match name.as_ref() {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "iss" => &mut answer.iss,
                "error" => &mut answer.error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(OidcError::Answer);
            }
        }
        Ok(answer)
    }
}
