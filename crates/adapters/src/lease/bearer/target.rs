//! What a target says to a token: its check address, asked as whoever has the token would ask.

use std::{fmt, time::Duration};

use holdpoint_domain::Timestamp;
use reqwest::{
    Client, Method, StatusCode, Url,
    header::{self, HeaderValue},
};

use super::super::dpop::{DPOP, proof};
use crate::{executor::chain, system::Ed25519Key};

/// How long a target may take for one answer.
const LIMIT: Duration = Duration::from_secs(3);

/// A target's check address.
pub(super) struct Target {
    url: Url,
    client: Client,
}

/// How a token is shown.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    /// Not at all.
    Nothing,
    /// As a bearer token.
    Bearer(&'a str),
    /// As a token that is bound to a key, without a proof.
    Unproven(&'a str),
    /// As a token that is bound to a key, with its proof.
    Proven(&'a str, &'a Ed25519Key, Timestamp),
}

/// What a target said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// 2xx.
    Taken,
    /// 401 or 403: refused for who asks.
    Refused,
    /// Neither: it was not reached, or answered what says nothing about the token.
    Neither(String),
}

impl Target {
    pub(super) const fn new(url: Url, client: Client) -> Self {
        Self { url, client }
    }

    /// Asks. A look, and no effect.
    pub(super) async fn says(&self, shown: Shown<'_>) -> Said {
        let request = self.client.request(Method::GET, self.url.clone()).timeout(LIMIT);
        let request = match shown {
            Shown::Nothing => Some(request),
            Shown::Bearer(token) => {
                hidden("Bearer", token).map(|value| request.header(header::AUTHORIZATION, value))
            }
            Shown::Unproven(token) => {
                hidden("DPoP", token).map(|value| request.header(header::AUTHORIZATION, value))
            }
            Shown::Proven(token, key, now) => hidden("DPoP", token).map(|value| {
                let proof = proof(key, &Method::GET, &self.url, token, now);
                request.header(header::AUTHORIZATION, value).header(DPOP, proof)
            }),
        };
        let Some(request) = request else { return Said::Neither("no header of the token".to_owned()) };
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Said::Taken,
            Ok(answer) if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Said::Refused
            }
            Ok(answer) => Said::Neither(format!("it answered {}", answer.status().as_u16())),
            Err(err) => Said::Neither(format!("it was not reached: {}", chain(&err.without_url()))),
        }
    }
}

/// An `Authorization` that whoever prints a request does not show.
pub(crate) fn hidden(scheme: &str, token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("it took it"),
            Self::Refused => f.write_str("it refused it"),
            Self::Neither(why) => f.write_str(why),
        }
    }
}
