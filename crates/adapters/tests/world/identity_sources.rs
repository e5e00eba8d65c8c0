//! Identities: keys that are replaced behind the gate, from a file and from real HTTPS endpoints.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdpoint_adapters::identity::{
    CachedVerifier, Domain, Feed, Keyring, Pace, Source, SourceStatus, TokenError, Uses, Verifier,
};
use holdpoint_app::port::Clock;
use holdpoint_domain::{Millis, actor::SpiffeId};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    forge::{AUDIENCE, Forge, claims, domain, header},
    server::Server,
    support::{NOW_MS, StoppedClock, at, millis, wait_until},
};

const ENDPOINT: &str = "spiffe://example.org/spire/server";

const QUICK: Pace = Pace {
    file: Duration::from_millis(5),
    usual: Duration::from_millis(5),
    least: Duration::from_millis(5),
    most: Duration::from_millis(50),
    retry: Duration::from_millis(5),
};

/// A certificate authority.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self { params, key: KeyPair::generate().unwrap() }
    }

    fn certificate(&self) -> rcgen::Certificate {
        self.params.self_signed(&self.key).unwrap()
    }

    fn jwk(&self) -> Value {
        json!({"kty": "EC", "crv": "P-256", "use": "x509-svid", "x5c": [STANDARD.encode(self.certificate().der())]})
    }

    /// A leaf with these names, changed by `change`.
    fn leaf(&self, names: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate: CertificateDer<'static> = params.signed_by(&key, &issuer).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap()
    }

    fn web(&self) -> ServerConfig {
        self.leaf(&[SanType::IpAddress([127, 0, 0, 1].into())], |_| ())
    }

    fn svid(&self, id: &str) -> ServerConfig {
        self.leaf(&[uri(id)], |_| ())
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A real HTTPS server; what it shows and says can be changed while it runs.
struct Endpoint {
    server: Server,
    page: Arc<Mutex<(Arc<ServerConfig>, String)>>,
}

impl Endpoint {
    fn new(tls: ServerConfig, body: &str) -> Self {
        let page = Arc::new(Mutex::new((Arc::new(tls), answer("200 OK", body))));
        let shown = Arc::clone(&page);
        let server = Server::start(move |stream| {
            let (tls, answer) = shown.lock().unwrap().clone();
            // A client that does not believe us hangs up: that is its right.
            let _ = talk(stream, tls, &answer);
        });
        Self { server, page }
    }

    fn url(&self) -> String {
        format!("https://{}/bundle", self.server.address)
    }

    fn shows(&self, tls: ServerConfig) {
        self.page.lock().unwrap().0 = Arc::new(tls);
    }

    fn says(&self, status: &str, body: &str) {
        self.page.lock().unwrap().1 = answer(status, body);
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn talk(stream: TcpStream, tls: Arc<ServerConfig>, answer: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        head.extend(byte);
    }
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// A verifier of one trust domain whose keys come from a source.
struct Followed {
    verifier: CachedVerifier,
    clock: Arc<StoppedClock>,
    _feed: Feed,
}

impl Followed {
    fn new(source: Source, max_age: Option<Millis>) -> Self {
        let name = domain("example.org");
        let keys = Arc::new(Keyring::awaited("the source", max_age));
        let own = Domain::new(&name, &name, Arc::clone(&keys), Vec::new()).unwrap();
        let verifier = Verifier::empty(name.clone(), AUDIENCE.to_owned()).with_domain(name, own);
        let clock = Arc::new(StoppedClock::new());
        source.check().unwrap();
        let _feed = source.follow(keys, Arc::clone(&clock) as Arc<dyn Clock>, QUICK);
        Self { verifier: CachedVerifier::new(verifier), clock, _feed }
    }

    fn verify(&self, token: &str) -> Result<(), TokenError> {
        self.verifier.verify(token, self.clock.now()).map(|_| ())
    }

    fn status(&self) -> SourceStatus {
        self.verifier.sources().remove(0)
    }

    fn fault(&self) -> String {
        self.status().fault.unwrap_or_default()
    }

    fn until_fault(&self, words: &str) {
        wait_until(words, || self.fault().contains(words));
    }
}

fn token(forge: &Forge, kid: &str) -> String {
    let header = super::forge::with(header(), "kid", json!(kid));
    forge.sign(&header.to_string(), &claims().to_string())
}

fn bundle(sequence: u64, keys: &[Value]) -> String {
    json!({"spiffe_sequence": sequence, "spiffe_refresh_hint": 0, "keys": keys}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn t26_a_key_that_left_the_file_is_not_believed_any_more() {
    let (dir, old, new) = (TempDir::new().unwrap(), Forge::new(), Forge::new());
    let path = dir.path().join("bundle.json");
    let put = |text: &str| {
        std::fs::write(dir.path().join("next"), text).unwrap();
        std::fs::rename(dir.path().join("next"), &path).unwrap();
    };
    put(&old.jwks("old"));
    let followed = Followed::new(Source::File(path.clone()), None);
    let (of_old, of_new) = (token(&old, "old"), token(&new, "new"));
    // Read before anybody asks; and remembered from here on.
    assert_eq!((followed.verify(&of_old), followed.verify(&of_new)), (Ok(()), Err(TokenError::UnknownKey)));
    put(&json!({"keys": [old.jwk("old"), new.jwk("new")]}).to_string());
    wait_until("both are believed", || followed.verify(&of_new).is_ok());
    assert_eq!(followed.verify(&of_old), Ok(()));
    put(&new.jwks("new"));
    wait_until("the old key is forgotten", || followed.verify(&of_old) == Err(TokenError::UnknownKey));
    assert_eq!(followed.verify(&of_new), Ok(()));

    // Broken, too large or gone: what was believed stays, and says why.
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    for broken in ["", "{\"keys\":", "{\"keys\":[],\"keys\":[]}", &large] {
        put(broken);
        followed.until_fault("expected a JWKS");
        assert_eq!(followed.verify(&of_new), Ok(()));
        put(&new.jwks("new"));
        wait_until("it is whole again", || followed.status().fault.is_none());
    }
    std::fs::remove_file(&path).unwrap();
    followed.until_fault("cannot be read");
    assert_eq!(followed.verify(&of_new), Ok(()));
    // All withdrawn is a statement.
    put("{\"keys\":[]}");
    wait_until("nobody is believed", || followed.verify(&of_new) == Err(TokenError::UnknownKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_endpoint_of_pinned_authorities_is_believed_and_rotates() {
    let (authority, old, new) = (Authority::new(), Forge::new(), Forge::new());
    let endpoint = Endpoint::new(authority.web(), &bundle(7, &[old.jwk("k1"), authority.jwk()]));
    let source = Source::Web {
        url: endpoint.url(),
        authorities_pem: authority.certificate().pem(),
        uses: Uses::Spiffe,
    };
    let followed = Followed::new(source, None);
    let (of_old, of_new) = (token(&old, "k1"), token(&new, "k1"));
    wait_until("the first bundle is there", || followed.verify(&of_old).is_ok());
    let status = followed.status();
    assert_eq!((status.keys, status.sequence, status.refreshed_at), (1, Some(7), Some(at(NOW_MS))));

    // The same id, another key.
    endpoint.says("200 OK", &bundle(8, &[new.jwk("k1")]));
    wait_until("the new key is believed", || followed.verify(&of_new).is_ok());
    assert_eq!(followed.verify(&of_old), Err(TokenError::Signature));

    // An old bundle, or one without a number, brings no key back.
    let old_ones = [bundle(7, &[old.jwk("k1")]), json!({"keys": [old.jwk("k1")]}).to_string()];
    for replayed in old_ones {
        endpoint.says("200 OK", &replayed);
        followed.until_fault("went back");
        assert_eq!(
            (followed.verify(&of_old), followed.verify(&of_new)),
            (Err(TokenError::Signature), Ok(()))
        );
        endpoint.says("200 OK", &bundle(8, &[new.jwk("k1")]));
        wait_until("it goes on", || followed.status().fault.is_none());
    }
    let long = "x".repeat(300_000);
    for (status, body, words) in [
        ("302 Found\r\nLocation: https://127.0.0.1/", "", "expected status 200"),
        ("500 Internal Server Error", "{\"keys\":[]}", "expected status 200"),
        ("204 No Content", "", "expected status 200"),
        ("200 OK", "<html>", "expected a JWKS"),
        ("200 OK", long.as_str(), "expected a JWKS"),
        ("200 OK", "{\"keys\":[],\"spiffe_sequence\":\"9\"}", "whole number"),
    ] {
        endpoint.says(status, body);
        followed.until_fault(words);
        assert_eq!(followed.verify(&of_new), Ok(()));
    }
    // Another certificate: whoever took over the address is not asked.
    endpoint.shows(Authority::new().web());
    endpoint.says("200 OK", &bundle(9, &[old.jwk("k1")]));
    followed.until_fault("does not answer");
    assert_eq!(followed.verify(&of_new), Ok(()));
    for names in [vec![SanType::IpAddress([127, 0, 0, 2].into())], vec![uri(ENDPOINT)]] {
        let count = followed.status();
        endpoint.shows(authority.leaf(&names, |_| ()));
        followed.until_fault("does not answer");
        assert_eq!((followed.verify(&of_new), followed.status().sequence), (Ok(()), count.sequence));
    }
    endpoint.shows(authority.web());
    wait_until("the right one is asked again", || followed.verify(&of_old).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spiffe_endpoint_is_believed_by_its_svid_and_rotates_its_authorities() {
    let (first, second, forge) = (Authority::new(), Authority::new(), Forge::new());
    let later = Forge::new();
    let endpoint = Endpoint::new(first.svid(ENDPOINT), &bundle(1, &[forge.jwk("k1"), first.jwk()]));
    let source = || Source::Spiffe {
        url: endpoint.url(),
        endpoint: SpiffeId::parse(ENDPOINT).unwrap(),
        bootstrap: json!({"keys": [first.jwk()]}).to_string(),
    };
    let followed = Followed::new(source(), None);
    wait_until("the first bundle is there", || followed.verify(&token(&forge, "k1")).is_ok());

    // The second authority is vouched for by the first, and then the first one leaves.
    endpoint.says("200 OK", &bundle(2, &[forge.jwk("k1"), first.jwk(), second.jwk()]));
    wait_until("both authorities are known", || followed.status().sequence == Some(2));
    endpoint.shows(second.svid(ENDPOINT));
    endpoint.says("200 OK", &bundle(3, &[later.jwk("k1"), second.jwk()]));
    wait_until("the second authority's word counts", || followed.verify(&token(&later, "k1")).is_ok());
    endpoint.shows(first.svid(ENDPOINT));
    endpoint.says("200 OK", &bundle(4, &[forge.jwk("k1"), first.jwk()]));
    followed.until_fault("does not answer");
    assert_eq!(followed.status().sequence, Some(3));
    assert_eq!(followed.verify(&token(&forge, "k1")), Err(TokenError::Signature));

    // Each thing wrong with what is shown, one at a time; each endpoint is met for the first time.
    endpoint.says("200 OK", &bundle(5, &[forge.jwk("k1"), first.jwk()]));
    let ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let usages =
        |usages: Vec<KeyUsagePurpose>| move |params: &mut CertificateParams| params.key_usages = usages;
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let localhost = SanType::IpAddress([127, 0, 0, 1].into());
    let wrong = [
        first.svid("spiffe://example.org/spire/agent"),
        first.svid("spiffe://other.org/spire/server"),
        first.svid("spiffe://example.org/spire/server/"),
        first.web(),
        first.leaf(&[uri(ENDPOINT), uri("spiffe://example.org/b")], |_| ()),
        first.leaf(&[], |_| ()),
        first.leaf(&[localhost, uri("https://example.org")], |_| ()),
        first.leaf(&[uri(ENDPOINT)], ca),
        first.leaf(
            &[uri(ENDPOINT)],
            usages(vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign]),
        ),
        first.leaf(
            &[uri(ENDPOINT)],
            usages(vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign]),
        ),
        first.leaf(&[uri(ENDPOINT)], usages(vec![KeyUsagePurpose::KeyAgreement])),
        first.leaf(&[uri(ENDPOINT)], expired),
        first.leaf(&[uri(ENDPOINT)], client),
        second.svid(ENDPOINT),
    ];
    for (number, tls) in wrong.into_iter().enumerate() {
        endpoint.shows(tls);
        let followed = Followed::new(source(), None);
        followed.until_fault("does not answer");
        assert_eq!(followed.verify(&token(&forge, "k1")), Err(TokenError::NoKeys), "{number}");
    }
    endpoint.shows(first.leaf(&[uri(ENDPOINT), SanType::DnsName("a.example".try_into().unwrap())], |_| ()));
    let followed = Followed::new(source(), None);
    wait_until("a name beside the id is no fault", || followed.verify(&token(&forge, "k1")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_nobody_confirmed_for_too_long_are_not_believed() {
    let (authority, forge) = (Authority::new(), Forge::new());
    let endpoint = Endpoint::new(authority.web(), &forge.jwks("k1"));
    let source =
        Source::Web { url: endpoint.url(), authorities_pem: authority.certificate().pem(), uses: Uses::Any };
    let followed = Followed::new(source, Some(millis(60_000)));
    let token = token(&forge, "k1");
    wait_until("the keys are there", || followed.verify(&token).is_ok());
    endpoint.says("503 Service Unavailable", "");
    followed.until_fault("expected status 200");
    followed.clock.set_ms(NOW_MS + 59_999);
    assert_eq!(followed.verify(&token), Ok(()));
    followed.clock.set_ms(NOW_MS + 60_000);
    // Remembered or not.
    assert_eq!(followed.verify(&token), Err(TokenError::NoKeys));
    endpoint.says("200 OK", &forge.jwks("k1"));
    wait_until("it is heard again", || followed.verify(&token).is_ok());
    assert_eq!(followed.status().refreshed_at, Some(at(NOW_MS + 60_000)));
}

#[test]
fn sources_that_nobody_could_ask_are_refused_before_they_are_asked() {
    let pem = Authority::new().certificate().pem();
    let web = |url: &str, authorities: &str| {
        let (url, authorities_pem) = (url.to_owned(), authorities.to_owned());
        Source::Web { url, authorities_pem, uses: Uses::Any }.check().is_ok()
    };
    assert!(web("https://bundles.example.org:8443/b?x=1", &pem));
    for url in
        ["", "http://a/", "https://u@a/", "https://u:p@a/", "https://a/#b", "file:///etc", "a/b", "https://"]
    {
        assert!(!web(url, &pem), "{url}");
    }
    for authorities in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(!web("https://a/", authorities), "{authorities}");
    }
    let spiffe = |bootstrap: Value| {
        let endpoint = SpiffeId::parse(ENDPOINT).unwrap();
        Source::Spiffe { url: "https://a/".to_owned(), endpoint, bootstrap: bootstrap.to_string() }
            .check()
            .is_ok()
    };
    assert!(spiffe(json!({"keys": [Authority::new().jwk()]})));
    for bootstrap in [json!({}), json!({"keys": []}), json!({"keys": [Forge::new().jwk("k1")]})] {
        assert!(!spiffe(bootstrap.clone()), "{bootstrap}");
    }
    let api = |endpoint: &str| {
        Source::WorkloadApi { endpoint: endpoint.to_owned(), domain: domain("example.org") }.check().is_ok()
    };
    assert!(api("unix:///run/spire/agent.sock"));
    for endpoint in
        ["", "tcp://127.0.0.1:8081", "tcp:127.0.0.1:8081", "/run/a.sock", "unix:a.sock", "http://a"]
    {
        assert!(!api(endpoint), "{endpoint}");
    }
}
