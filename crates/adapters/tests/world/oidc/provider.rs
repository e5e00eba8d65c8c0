//! A provider that says whatever it is told to, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use holdpoint_adapters::identity::oidc::{
    Begun, ClientSecret, OidcError, OidcSpec, People, RelyingParty, SignedIn,
};
use reqwest::Url;
use serde_json::{Value, json};

use crate::world::{
    forge::{Forge, NOW},
    server::Server,
    support::{StoppedClock, id},
};

pub(super) const CLIENT: &str = "holdpoint";
pub(super) const BACK: &str = "https://holdpoint.example/sign-in/oidc/callback";
pub(super) const ACCESS_TOKEN: &str = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";

/// What it was asked: the request's line and headers, and its body.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: String,
}

/// What it says, by path: a status, more headers, a body.
type Pages = BTreeMap<String, (String, String)>;

pub(super) struct Provider {
    server: Server,
    pages: Arc<Mutex<Pages>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub(super) forge: Forge,
}

/// A provider, a relying party of it, and the clock of both.
pub(super) struct Scene {
    pub(super) provider: Provider,
    pub(super) party: RelyingParty,
    pub(super) clock: Arc<StoppedClock>,
}

/// A browser that is at the provider.
pub(super) struct Away {
    pub(super) begun: Begun,
    pub(super) sent: BTreeMap<String, String>,
}

impl Provider {
    pub(super) fn start() -> Self {
        let (pages, asked) = (Arc::<Mutex<Pages>>::default(), Arc::<Mutex<Vec<Asked>>>::default());
        let (shown, heard) = (Arc::clone(&pages), Arc::clone(&asked));
        let server = Server::start(move |mut stream| {
            let Some(question) = read(&mut stream) else { return };
            let path = question.head.split(' ').nth(1).unwrap_or_default().to_owned();
            let nothing = || ("404 Not Found".to_owned(), "{}".to_owned());
            let (status, body) = shown.lock().unwrap().get(&path).cloned().unwrap_or_else(nothing);
            heard.lock().unwrap().push(question);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        });
        let provider = Self { server, pages, asked, forge: Forge::new() };
        provider.describe(|_| ());
        provider.say("/keys", "200 OK", &provider.forge.jwks("k1"));
        provider
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Sets its metadata, changed from sound ones.
    pub(super) fn describe(&self, change: impl FnOnce(&mut Value)) {
        let issuer = self.issuer();
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth?tenant=1"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "response_types_supported": ["code", "id_token"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["ES256", "none"],
            "authorization_response_iss_parameter_supported": true,
        });
        change(&mut metadata);
        self.say("/.well-known/openid-configuration", "200 OK", &metadata.to_string());
    }

    pub(super) fn say(&self, path: &str, status: &str, body: &str) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status.to_owned(), body.to_owned()));
    }

    /// Answers a code with this ID token.
    pub(super) fn grant(&self, id_token: &str) {
        let answer = json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": id_token, "expires_in": 60});
        self.say("/token", "200 OK", &answer.to_string());
    }

    /// The questions to a path.
    pub(super) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.head.split(' ').nth(1) == Some(path)).cloned().collect()
    }
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut OidcSpec)) -> Self {
        let (provider, clock) = (Provider::start(), Arc::new(StoppedClock::new()));
        let mut spec = spec(&provider.issuer());
        change(&mut spec);
        let party = RelyingParty::new(spec, Arc::clone(&clock) as _).unwrap();
        Self { provider, party, clock }
    }

    /// A browser sets out.
    pub(super) async fn away(&self) -> Away {
        let begun = self.party.begin("/holds/hold-1").await.unwrap();
        let url = Url::parse(&begun.location).unwrap();
        let sent = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Away { begun, sent }
    }

    /// A sound ID token for an attempt, with one thing changed.
    pub(super) fn token(&self, away: &Away, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        let mut claims = json!({
            "iss": self.provider.issuer(), "sub": "248289761001", "aud": CLIENT, "nonce": away.sent["nonce"],
            "iat": NOW, "exp": NOW + 300, "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
        });
        change(&mut header, &mut claims);
        self.provider.forge.sign(&header.to_string(), &claims.to_string())
    }

    /// The browser comes back with a code for which the provider gives this ID token.
    pub(super) async fn back(&self, away: &Away, id_token: &str) -> Result<SignedIn, OidcError> {
        self.provider.grant(id_token);
        self.party.finish(Some(&away.begun.cookie), &self.query(away)).await
    }

    /// A sound way back.
    pub(super) fn query(&self, away: &Away) -> String {
        query(&[("code", "c1"), ("state", &away.sent["state"]), ("iss", &self.provider.issuer())])
    }
}

pub(super) fn query(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap().to_owned()
}

pub(super) fn spec(issuer: &str) -> OidcSpec {
    OidcSpec {
        issuer: issuer.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: None,
        redirect_uri: BACK.to_owned(),
        scopes: vec!["profile".to_owned()],
        prompt: None,
        max_age: None,
        ca_file: None,
        people: People {
            claim: "sub".to_owned(),
            named: [("248289761001".to_owned(), id("ada"))].into(),
            required: BTreeMap::new(),
            teams: None,
        },
    }
}

/// A secret, from a file as an operator would have it.
pub(super) fn secret(text: &str) -> ClientSecret {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    ClientSecret::read(&path).unwrap()
}

/// One request, whole.
fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(Asked { head: head.to_owned(), body: body.to_owned() });
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
