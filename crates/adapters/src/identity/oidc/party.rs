//! The relying party: a browser on its way to the provider, and back.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use holdpoint_app::port::Clock;
use holdpoint_domain::{Id, Millis, Timestamp, id::kind, text::quoted};
use reqwest::{Client, Url};

use super::{
    answer::Answer,
    attempt::Attempt,
    claims::{self, Expected},
    discovery::{DiscoveryError, Metadata},
    question::{self, QuestionError},
    spec::{OidcSpec, SpecError},
};
use crate::identity::{
    jwks::{Bundle, JwksError, Uses},
    jws::Unchecked,
    keyring::Keyring,
    token::TokenError,
    verifier::signed,
};

/// How long a provider's metadata and keys are believed without asking again.
const MAX_AGE: Millis = Millis::secs(60 * 60);
/// The pause after a provider did not answer: strangers can begin to sign in, and must not make us ask without end.
const PAUSE: Millis = Millis::secs(2);

/// One provider's relying party.
pub struct RelyingParty {
    spec: OidcSpec,
    client: Client,
    clock: Arc<dyn Clock>,
    keys: Keyring,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    failed: Option<Timestamp>,
}

/// A browser on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where it goes. Nobody else opens this.
    pub location: String,
    /// What it keeps meanwhile, for [`RelyingParty::finish`]; [`RelyingParty::LIFE_SECS`] at most.
    pub cookie: String,
}

/// Somebody whom the provider knows, and who asked from this browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who; whether the registry has them is the caller's to look at.
    pub person: Id<kind::Person>,
    /// Teams that the provider knows, and that it does not say they are in: whomever the registry has in one of them is not let in.
    pub denied_teams: BTreeSet<Id<kind::Team>>,
    /// Where they wanted to go, as [`RelyingParty::begin`] was told.
    pub next: String,
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// No cookie of an attempt, or none of ours.
    #[error("this browser did not ask to sign in, or asked again since")]
    NotBegun,
    /// The cookie is of an attempt that is over.
    #[error("this sign-in took longer than ten minutes")]
    Late,
    /// The answer is to another attempt.
    #[error("expected `state` to be that of this browser's own sign-in")]
    State,
    /// Not an answer: too long, a parameter twice, or none.
    #[error("expected one `state` and one `code` from the provider")]
    Answer,
    /// From somebody else than who was asked (RFC 9207), or a token of theirs.
    #[error("expected the answer to be from the configured issuer")]
    Issuer,
    /// The provider said no.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The provider's own side.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// What it says of itself.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Its keys.
    #[error("the provider's keys cannot be used")]
    Keys(#[source] JwksError),
    /// It was asked a moment ago, and did not answer.
    #[error("the provider did not answer a moment ago: try again in some seconds")]
    Paused,
    /// The ID token, for a reason that every token could have.
    #[error("the ID token is refused: {0}")]
    Token(#[from] TokenError),
    /// An algorithm that the provider does not sign with.
    #[error("expected the ID token's `alg` to be one that the provider's metadata names")]
    Algorithm,
    /// Issued to another client.
    #[error("expected `azp` to be this client")]
    Party,
    /// From before the attempt.
    #[error("expected an ID token that was issued after this sign-in began")]
    Old,
    /// To another attempt.
    #[error("expected `nonce` to be that of this sign-in")]
    Nonce,
    /// With another access token than it came with.
    #[error("expected `at_hash` to be that of the access token it came with")]
    AccessToken,
    /// The person showed the provider too long ago who they are.
    #[error("expected the person to have shown the provider who they are within {0}")]
    Shown(Millis),
    /// A sound token without a claim that the operator requires.
    #[error("none of the values that `required` names for the claim {0} is in the ID token")]
    Required(String),
    /// A sound token that names nobody here.
    #[error("the claim {0} of the ID token names nobody who is configured here")]
    Nobody(String),
    /// No randomness. Ours.
    #[error("the machine has no randomness")]
    Random,
}

impl RelyingParty {
    /// How long a browser keeps [`Begun::cookie`], in seconds.
    pub const LIFE_SECS: u64 = super::attempt::MAX_ATTEMPT.ms().div_euclid(1_000);

    /// A relying party; asks nobody yet. All faults are reported together.
    pub fn new(spec: OidcSpec, clock: Arc<dyn Clock>) -> Result<Self, Vec<String>> {
        let faults: Vec<SpecError> = spec.check();
        let client = question::client(&spec);
        match client {
            Ok(client) if faults.is_empty() => {
                let keys = Keyring::awaited(spec.issuer.as_str(), Some(MAX_AGE));
                Ok(Self { spec, client, clock, keys, known: Mutex::default() })
            }
            client => {
                let faults = faults.iter().map(ToString::to_string);
                Err(faults.chain(client.err().map(|err| err.to_string())).collect())
            }
        }
    }

    /// Sends a browser on its way; `next` is where the person wants to go afterwards, which the caller made sure is local.
    pub async fn begin(&self, next: &str) -> Result<Begun, OidcError> {
        let metadata = self.metadata().await?;
        let attempt = Attempt::new(next, self.clock.now())?;
        let mut url = metadata.authorization.clone();
        let scope = std::iter::once("openid")
            .chain(self.spec.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid"))
            .collect::<Vec<_>>()
            .join(" ");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.spec.client_id)
            .append_pair("redirect_uri", &self.spec.redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", &attempt.state())
            .append_pair("nonce", &attempt.nonce())
            .append_pair("code_challenge", &attempt.challenge())
            .append_pair("code_challenge_method", "S256");
        if let Some(prompt) = self.spec.prompt {
            url.query_pairs_mut().append_pair("prompt", prompt.as_str());
        }
        if let Some(age) = self.spec.max_age {
            let secs = age.ms().div_euclid(1_000);
            url.query_pairs_mut().append_pair("max_age", &secs.to_string());
        }
        Ok(Begun { location: url.into(), cookie: attempt.cookie() })
    }

    /// Takes a browser back: its cookie of the attempt, if it has one, and the query that it came with. The cookie comes first:
    /// without it nobody is asked anything (login CSRF).
    pub async fn finish(&self, cookie: Option<&str>, query: &str) -> Result<SignedIn, OidcError> {
        let attempt = Attempt::read(cookie.ok_or(OidcError::NotBegun)?, self.clock.now())?;
        let answer = Answer::read(query)?;
        if !attempt.is_state(&answer.state.ok_or(OidcError::State)?) {
            return Err(OidcError::State);
        }
        let metadata = self.metadata().await?;
        let is_ours = answer.iss.as_ref().map_or(!metadata.names_itself, |iss| *iss == self.spec.issuer);
        if !is_ours {
            return Err(OidcError::Issuer);
        }
        if let Some(error) = answer.error {
            return Err(OidcError::Refused(quoted(&error, 80)));
        }
        let code = answer.code.filter(|code| !code.is_empty()).ok_or(OidcError::Answer)?;
        let tokens = question::redeem(&self.client, &self.spec, &metadata, &attempt, &code).await?;

        let token = Unchecked::read(&tokens.id)?;
        token.check_header(&["x5t", "x5t#S256"], &["JWT"])?;
        if !metadata.algorithms.contains(&token.alg) {
            return Err(OidcError::Algorithm);
        }
        if let Err(TokenError::NoKeys | TokenError::UnknownKey) = signed(&token, &self.keys, self.clock.now())
        {
            self.renew_keys(&metadata).await?;
        }
        let now = self.clock.now();
        let (claims, _) = signed(&token, &self.keys, now)?;
        let expected = Expected {
            spec: &self.spec,
            attempt: &attempt,
            alg: token.alg,
            access_token: &tokens.access,
            now,
        };
        claims::check(claims, &expected)?;
        let person = self.spec.people.person(claims)?;
        let denied_teams = self.spec.people.denied_teams(claims);
        Ok(SignedIn { person, denied_teams, next: attempt.into_next() })
    }

    /// The provider's metadata, asked for when they are not known or too old.
    async fn metadata(&self) -> Result<Arc<Metadata>, OidcError> {
        let now = self.clock.now();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((metadata, since)) = &known.metadata
                && now.since(*since) < MAX_AGE
            {
                return Ok(Arc::clone(metadata));
            }
            if known.failed.is_some_and(|failed| now.since(failed) < PAUSE) {
                return Err(OidcError::Paused);
            }
        }
        let found = self.ask_metadata().await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = match &found {
            Ok(metadata) => Known { metadata: Some((Arc::clone(metadata), now)), failed: None },
            Err(_) => Known { metadata: None, failed: Some(now) },
        };
        found
    }

    async fn ask_metadata(&self) -> Result<Arc<Metadata>, OidcError> {
        let place = Url::parse(&Metadata::place(&self.spec.issuer)).map_err(|_| DiscoveryError::Malformed)?;
        let text = question::document(&self.client, place).await?;
        Ok(Arc::new(Metadata::parse(&text, &self.spec.issuer)?))
    }

    async fn renew_keys(&self, metadata: &Metadata) -> Result<(), OidcError> {
        let text = question::document(&self.client, metadata.keys.clone()).await?;
        let bundle = Bundle::parse(&text, Uses::Any).map_err(OidcError::Keys)?;
        // A sequence number is a SPIFFE bundle's; a JWKS that has one would be held to it.
        self.keys
            .replace(bundle, self.clock.now())
            .map(|_| ())
            .map_err(|_| OidcError::Keys(JwksError::Malformed))
    }
}
