//! What an operator says of the provider.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use holdpoint_domain::{Millis, text::quoted};
use reqwest::Url;

use super::people::People;
use crate::{
    executor::http_job::is_here,
    postgres::{LoginError, read_secret},
};

/// Longest URL, client id and scope.
const MAX_TEXT: usize = 255;
/// Most scopes.
const MAX_SCOPES: usize = 16;

/// A provider, and what we are to it.
#[derive(Debug, Clone)]
pub struct OidcSpec {
    /// The provider, byte for byte as its tokens name it: https, or http at an address of this machine.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// Our password there; without one we are a public client, and PKCE alone protects the code.
    pub client_secret: Option<ClientSecret>,
    /// Where the provider sends people back to.
    pub redirect_uri: String,
    /// What is asked for; `openid` always is.
    pub scopes: Vec<String>,
    /// Whether the provider has to ask the person anew.
    pub prompt: Option<Prompt>,
    /// How long ago the person may have shown the provider who they are; it is asked for, and checked.
    pub max_age: Option<Millis>,
    /// The authorities that are believed for the provider's certificates, PEM; without it, those of the machine.
    pub ca_file: Option<PathBuf>,
    /// Who is who.
    pub people: People,
}

/// What a provider is told to ask (OpenID Connect Core 1.0, section 3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// To show anew who they are.
    Login,
    /// Which account of theirs.
    SelectAccount,
    /// Whether they agree.
    Consent,
}

/// A client's password. Shows nothing.
#[derive(Clone)]
pub struct ClientSecret(String);

/// What is wrong with a provider's configuration. The operator's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Not an issuer.
    #[error(
        "expected `issuer` to be an https URL without query and fragment, or http at an address of this machine, got {0}"
    )]
    Issuer(String),
    /// Not a text that a request could carry.
    #[error("expected `{0}` to be 1 to {MAX_TEXT} visible ASCII characters")]
    Text(&'static str),
    /// Not a place to come back to.
    #[error("expected the way back to be an https URL, or http on this machine, got {0}")]
    Redirect(String),
    /// Scopes.
    #[error("expected at most {MAX_SCOPES} scopes of 1 to {MAX_TEXT} visible characters")]
    Scopes,
    /// An age that nobody could show.
    #[error("expected `max_age` of 1 s or more, in whole seconds")]
    MaxAge,
    /// Authorities for a provider without TLS.
    #[error("`ca_file` is for a provider with https")]
    Authorities,
    /// Who is who.
    #[error("{0}")]
    People(String),
}

impl Prompt {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SelectAccount => "select_account",
            Self::Consent => "consent",
        }
    }
}

impl ClientSecret {
    /// Reads a file of one line that nobody but its owner may read. Empty is refused.
    pub fn read(path: &Path) -> Result<Self, LoginError> {
        read_secret(path).map(Self)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl OidcSpec {
    /// All faults together.
    pub(super) fn check(&self) -> Vec<SpecError> {
        let mut faults = Vec::new();
        let issuer = Url::parse(&self.issuer).ok().filter(|url| {
            is_visible(&self.issuer) && is_endpoint(url, is_local(url)) && url.query().is_none()
        });
        if issuer.is_none() {
            faults.push(SpecError::Issuer(quoted(&self.issuer, 80)));
        }
        if self.ca_file.is_some() && issuer.is_some_and(|issuer| issuer.scheme() != "https") {
            faults.push(SpecError::Authorities);
        }
        if !is_visible(&self.client_id) {
            faults.push(SpecError::Text("client_id"));
        }
        let back = Url::parse(&self.redirect_uri).ok();
        if !back.is_some_and(|url| is_endpoint(&url, is_local(&url) || url.host_str() == Some("localhost"))) {
            faults.push(SpecError::Redirect(quoted(&self.redirect_uri, 80)));
        }
        let is_scope = |scope: &String| is_visible(scope) && !scope.contains(['"', '\\']);
        if self.scopes.len() > MAX_SCOPES || !self.scopes.iter().all(is_scope) {
            faults.push(SpecError::Scopes);
        }
        if self.max_age.is_some_and(|age| age.ms() == 0 || age.ms().checked_rem(1_000) != Some(0)) {
            faults.push(SpecError::MaxAge);
        }
        faults.extend(self.people.check().into_iter().map(SpecError::People));
        faults
    }
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a URL is http at an address of this machine.
pub(super) fn is_local(url: &Url) -> bool {
    url.scheme() == "http" && is_here(url)
}

/// Whether something secret may be sent to a URL: over TLS, or not off this machine where that is allowed.
pub(super) fn is_endpoint(url: &Url, http_too: bool) -> bool {
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain && url.has_host() && (url.scheme() == "https" || url.scheme() == "http" && http_too)
}
