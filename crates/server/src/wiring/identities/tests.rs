use std::path::Path;

use holdpoint_adapters::{identity::DevIssuer, system::SystemClock};
use holdpoint_app::port::Document;
use holdpoint_domain::change::Control;
use tempfile::TempDir;

use super::*;

const CONFIG: &str = "
listen: 127.0.0.1:0
data_dir: data
origin: example.org/log
trust_domain: example.org
audience: holdpoint.example.org
catalogue: [c.yaml]
inventory: i.yaml
registry: r.yaml
policies: [p.cedar]
identity_sources: identities.yaml
executor_pins: pins.yaml
";

const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
      AAAA
      -----END CERTIFICATE-----";

struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir_all(dir.path().join("data/keys")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, more: &str) -> Config {
        std::fs::write(self.path("holdpoint.yaml"), format!("{CONFIG}{more}")).unwrap();
        Config::load(&self.path("holdpoint.yaml")).unwrap()
    }

    fn jwks(&self, key: &str, domain: &str) -> String {
        let domain = TrustDomain::parse(domain).unwrap();
        DevIssuer::load_or_create(Path::new(&self.path(key)), domain).unwrap().jwks()
    }

    /// The documents in force with these sources, and with the local issuer's keys.
    fn documents(&self, sources: &str) -> Documents {
        let mut document = Document::default();
        document.files.insert("identities.yaml".to_owned(), sources.to_owned());
        let local = self.jwks("data/keys/identity.key", "example.org");
        document.files.insert("data/keys/identities.jwks".to_owned(), local);
        Documents::from([(Control::Registry, document)])
    }

    fn read(&self, more: &str, sources: &str) -> Result<Believed, String> {
        Believed::read(&self.config(more), &self.documents(sources)).map_err(|err| err.to_string())
    }

    fn token(&self, key: &str, domain: &str, identity: &Identity) -> String {
        let domain = TrustDomain::parse(domain).unwrap();
        let issuer = DevIssuer::load_or_create(&self.path(key), domain).unwrap();
        issuer.issue(identity, "holdpoint.example.org", Millis::secs(60), SystemClock::new().now()).unwrap()
    }
}

fn agent(name: &str, phase: Phase) -> Identity {
    Identity::Agent { agent: name.parse().unwrap(), phase }
}

#[tokio::test]
async fn a_foreign_domain_and_the_local_issuer_side_by_side() {
    let stage = Stage::new();
    std::fs::write(stage.path("partner.json"), stage.jwks("partner.key", "partner.example")).unwrap();
    let sources = "
trust_domains:
  - name: partner.example
    bundle: {file: partner.json}
    ids:
      - {spiffe_id: spiffe://partner.example/agent/theirs/execute, agent: guest, phase: observe}
";
    let believed = stage.read("", sources).unwrap();
    assert!(believed.is_local());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let followed = believed.follow(&clock);
    let who = |key, domain, identity: &Identity| {
        let verified = followed.verifier.verify(&stage.token(key, domain, identity), clock.now());
        verified.map(|verified| verified.identity().clone())
    };
    let own = agent("ours", Phase::Decide);
    assert_eq!(who("data/keys/identity.key", "example.org", &own), Ok(own.clone()));
    let guest = agent("guest", Phase::Observe);
    assert_eq!(who("partner.key", "partner.example", &agent("theirs", Phase::Execute)), Ok(guest));
    assert!(who("partner.key", "partner.example", &own).is_err());
    assert!(who("partner.key", "example.org", &own).is_err());
    assert!(who("data/keys/identity.key", "partner.example", &agent("theirs", Phase::Execute)).is_err());
}

#[tokio::test]
async fn a_source_of_the_own_domain_replaces_the_local_issuer() {
    let stage = Stage::new();
    std::fs::write(stage.path("bundle.json"), stage.jwks("spire.key", "example.org")).unwrap();
    let sources = "trust_domains: [{name: example.org, bundle: {file: bundle.json}}]";
    let believed = stage.read("", sources).unwrap();
    assert!(!believed.is_local());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let followed = believed.follow(&clock);
    let own = agent("ours", Phase::Decide);
    let verify = |key| followed.verifier.verify(&stage.token(key, "example.org", &own), clock.now()).is_ok();
    assert!(verify("spire.key") && !verify("data/keys/identity.key"));
}

#[test]
fn all_faults_of_the_sources_are_reported_together() {
    let stage = Stage::new();
    let sources = format!(
        "
trust_domains:
  - {{name: a.example, bundle: {{https_web: {{url: 'http://a.example/', authorities: ''}}}}}}
  - {{name: a.example, bundle: {{file: x.json}}}}
  - name: b.example
    bundle: {{https_spiffe: {{url: 'https://b/', endpoint_id: spiffe://c.example/x, bootstrap: '{{\"keys\":[]}}'}}}}
    ids:
      - {{spiffe_id: spiffe://b.example/x, agent: guest}}
      - {{spiffe_id: spiffe://a.example/x, person: ada}}
  - {{name: c.example, bundle: {{workload_api: 'tcp://127.0.0.1:1'}}}}
issuers:
  - issuer: https://ci.example.com
    kind: oidc
    keys: {{https: {{url: 'https://ci.example.com/jwks', authorities: '{AUTHORITY}'}}}}
    rules:
      - {{when: {{/sub: a}}, agent: x, phase: decide}}
      - {{when: {{/sub: a}}, agent: x, phase: execute}}
      - {{when: {{/sub: b}}, agent: x, phase: decide, person: ada}}
workload_api:
  - {{socket: run/a.sock, uid: 1, program: '{0}', agent: x, phase: decide}}
  - {{socket: run/a.sock, uid: 1, program: '{0}', agent: x, phase: execute}}
",
        Digest::of_bytes(b"program")
    );
    let faults = stage.read("", &sources).err().unwrap();
    let wanted = [
        "trust domain `a.example`: expected an https URL",
        "trust domain `a.example` stands twice",
        "trust domain `b.example`: expected `endpoint_id` to be of the domain itself",
        "trust domain `b.example`: `spiffe://b.example/x`: expected `agent` with one `phase`, or `person`",
        "trust domain `b.example`: `spiffe://a.example/x` is not of trust domain `b.example`",
        "trust domain `b.example`: expected 1 to 64 certificates",
        "trust domain `c.example`: expected an endpoint as `unix:///",
        "issuer `https://ci.example.com`: rule 3: expected `agent` with one `phase`, or `person`",
        "issuer `https://ci.example.com`: rule 2: subject `a` has another identity already",
        "issuer `https://ci.example.com`: expected 1 to 64 certificates",
        "workload_api: the local issuer speaks it with `development: true` alone",
        "run/a.sock: one user with one program is registered twice",
    ];
    for fault in wanted {
        assert!(faults.contains(fault), "{fault}\n\n{faults}");
    }
}

#[test]
fn a_file_that_is_not_there_does_not_bring_the_local_issuer_back() {
    let stage = Stage::new();
    let mut documents = stage.documents("");
    documents.get_mut(&Control::Registry).unwrap().files.remove("identities.yaml");
    let refused = Believed::read(&stage.config(""), &documents).err().unwrap();
    assert_eq!(refused.to_string(), "identity_sources: identities.yaml is not there");
}

#[test]
fn words_that_nobody_knows_are_refused() {
    let stage = Stage::new();
    let entry = |text: &str| format!("trust_domains: [{{name: b.example, {text}}}]");
    let bad = [
        "trust_domain: []".to_owned(),
        entry("bundle: {file: x, url: y}"),
        entry("bundle: {ftp: x}"),
        entry("bundle: {https_web: {url: 'https://a/', authorities: x, insecure: true}}"),
        entry("bundle: {file: x}, agents: any"),
        entry("bundle: {file: x}, ids: [{spiffe_id: 'spiffe://b.example/x', agent: a, phase: any}]"),
        "issuers: [{issuer: 'https://a', kind: saml, keys: {file: x}, rules: []}]".to_owned(),
        "issuers: [{issuer: 'https://a', kind: oidc, keys: {file: x}, rules: [], audience: x}]".to_owned(),
    ];
    for sources in bad {
        assert!(stage.read("", &sources).is_err(), "{sources}");
    }
}

#[test]
fn the_workload_api_is_for_development_and_the_local_issuer() {
    let stage = Stage::new();
    let program = Digest::of_bytes(b"program");
    let entry =
        format!("workload_api: [{{socket: a.sock, uid: 1, program: '{program}', agent: x, phase: decide}}]");
    assert!(stage.read("development: true", &entry).is_ok());
    assert!(stage.read("development: false", &entry).err().unwrap().contains("development: true"));
    let other = format!("{entry}\ntrust_domains: [{{name: example.org, bundle: {{file: x.json}}}}]");
    assert!(stage.read("development: true", &other).err().unwrap().contains("another source"));
}
