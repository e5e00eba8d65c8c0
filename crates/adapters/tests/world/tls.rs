//! X.509-SVIDs and mutual TLS: certificates with each property wrong, one at a time.

use std::{fs, path::Path, sync::Arc, time::Duration};

use holdpoint_adapters::{
    system::SystemClock,
    tls::{self, DevCa, LiveSvid, LoadError, Peers, SpiffeId, SvidError, SvidFiles, svid},
};
use holdpoint_app::port::Clock as _;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A sound leaf, before something is changed.
fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("spiffe://example.org/holdpoint/gate")];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A sound authority, before something is changed.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("spiffe://example.org")];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn self_signed(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn inv07_each_property_of_a_leaf_alone_stops_it() {
    type Break = fn(&mut CertificateParams);
    type Expected = fn(&SvidError) -> bool;
    assert_eq!(svid::leaf_id(&self_signed(&leaf())).unwrap().path(), "/holdpoint/gate");
    let cases: &[(&str, Break, Expected)] = &[
        (
            "an authority",
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            |e| *e == SvidError::Ca(false),
        ),
        ("no key usage", |p| p.key_usages.clear(), |e| *e == SvidError::NoKeyUsage),
        (
            "a key that does not sign",
            |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
            |e| *e == SvidError::NoDigitalSignature,
        ),
        (
            "a key for certificates",
            |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign),
            |e| *e == SvidError::LeafSigns,
        ),
        ("a key for lists", |p| p.key_usages.push(KeyUsagePurpose::CrlSign), |e| *e == SvidError::LeafSigns),
        (
            "a server alone",
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            |e| *e == SvidError::ExtendedKeyUsage,
        ),
        ("no name", |p| p.subject_alt_names.clear(), |e| *e == SvidError::Uris { got: 0 }),
        (
            "a host name",
            |p| p.subject_alt_names = vec![SanType::DnsName("example.org".try_into().unwrap())],
            |e| *e == SvidError::Uris { got: 0 },
        ),
        (
            "two names",
            |p| p.subject_alt_names.push(uri("spiffe://example.org/holdpoint/issuer")),
            |e| *e == SvidError::Uris { got: 2 },
        ),
        (
            "another URI beside it",
            |p| p.subject_alt_names.push(uri("https://example.org/")),
            |e| *e == SvidError::Uris { got: 2 },
        ),
        (
            "no SPIFFE id",
            |p| p.subject_alt_names = vec![uri("https://example.org/x")],
            |e| matches!(e, SvidError::Id(_)),
        ),
        ("no path", |p| p.subject_alt_names = vec![uri("spiffe://example.org")], |e| *e == SvidError::NoPath),
        (
            "a slash at the end",
            |p| p.subject_alt_names = vec![uri("spiffe://example.org/a/")],
            |e| matches!(e, SvidError::Id(_)),
        ),
        (
            "dots",
            |p| p.subject_alt_names = vec![uri("spiffe://example.org/a/../b")],
            |e| matches!(e, SvidError::Id(_)),
        ),
        (
            "a port",
            |p| p.subject_alt_names = vec![uri("spiffe://example.org:1/a")],
            |e| matches!(e, SvidError::Id(_)),
        ),
        (
            "a query",
            |p| p.subject_alt_names = vec![uri("spiffe://example.org/a?b")],
            |e| matches!(e, SvidError::Id(_)),
        ),
        ("a key usage that is not critical", not_critical, |e| *e == SvidError::NoKeyUsage),
    ];
    for (what, change, expected) in cases {
        let mut params = leaf();
        change(&mut params);
        let err = svid::leaf_id(&self_signed(&params)).unwrap_err();
        assert!(expected(&err), "{what}: {err:?}");
    }
    // Other kinds of names may stand beside the one URI.
    let mut params = leaf();
    params.subject_alt_names.push(SanType::DnsName("example.org".try_into().unwrap()));
    assert!(svid::leaf_id(&self_signed(&params)).is_ok());
    params.extended_key_usages.clear();
    assert!(svid::leaf_id(&self_signed(&params)).is_ok());
    assert_eq!(svid::leaf_id(b"no certificate").unwrap_err(), SvidError::Malformed);
    let mut trailing = self_signed(&leaf());
    trailing.push(0);
    assert_eq!(svid::leaf_id(&trailing).unwrap_err(), SvidError::Malformed);
}

/// Key usage as an extension of one's own, which is not marked critical: digitalSignature.
fn not_critical(params: &mut CertificateParams) {
    params.key_usages.clear();
    let usage = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80]);
    params.custom_extensions = vec![usage];
}

#[test]
fn inv07_each_property_of_a_signing_certificate_alone_stops_it() {
    assert_eq!(svid::check_signing(&self_signed(&authority())), Ok(()));
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = authority();
        change(&mut params);
        svid::check_signing(&self_signed(&params))
    };
    assert_eq!(with(|p| p.is_ca = IsCa::ExplicitNoCa), Err(SvidError::Ca(true)));
    assert_eq!(with(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]), Err(SvidError::NoCertSign));
    assert_eq!(with(|p| p.key_usages.clear()), Err(SvidError::NoKeyUsage));
    assert_eq!(with(|p| p.subject_alt_names = vec![uri("spiffe://example.org/a")]), Err(SvidError::Path));
    assert_eq!(with(|p| p.subject_alt_names.clear()), Ok(()));
}

#[test]
fn inv07_certificates_of_spiffes_own_library_are_judged_as_there() {
    let chain = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/svid").join(format!("{name}.pem"));
        let bytes = fs::read(path).unwrap();
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().unwrap()
    };
    let judge = |name: &str| {
        let chain = chain(name);
        svid::leaf_id(&chain[0]).map(|id| id.to_string())?;
        chain[1..].iter().try_for_each(|der| svid::check_signing(der))
    };
    assert_eq!(judge("good-leaf-only"), Ok(()));
    assert_eq!(judge("good-leaf-and-intermediate"), Ok(()));
    assert_eq!(judge("wrong-leaf-ca-true"), Err(SvidError::Ca(false)));
    assert_eq!(judge("wrong-leaf-cert-sign"), Err(SvidError::LeafSigns));
    assert_eq!(judge("wrong-leaf-crl-sign"), Err(SvidError::LeafSigns));
    assert_eq!(judge("wrong-leaf-empty-id"), Err(SvidError::Uris { got: 0 }));
    assert_eq!(judge("wrong-leaf-no-digital-signature"), Err(SvidError::NoDigitalSignature));
    assert_eq!(judge("wrong-intermediate-no-ca"), Err(SvidError::Ca(true)));
    assert_eq!(judge("wrong-intermediate-no-key-cert-sign"), Err(SvidError::NoCertSign));
}

/// Somebody with a chain below an authority, and the bundle that they trust.
struct End {
    dir: TempDir,
    files: SvidFiles,
}

impl End {
    /// Certificates and key as PEM.
    fn new(chain: &str, key: &KeyPair, bundle: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        let files = SvidFiles { certificate: at("svid.pem"), key: at("svid.key"), bundle: at("bundle.pem") };
        fs::write(&files.certificate, chain).unwrap();
        fs::write(&files.bundle, bundle).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        Self { dir, files }
    }

    fn live(&self) -> Arc<LiveSvid> {
        Arc::new(LiveSvid::load(self.files.clone()).unwrap())
    }
}

/// An authority with its certificate.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        Self::of(authority())
    }

    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn end(&self, params: &CertificateParams, bundle: &str) -> End {
        let key = KeyPair::generate().unwrap();
        End::new(&params.signed_by(&key, &self.issuer).unwrap().pem(), &key, bundle)
    }
}

fn named(role: &str) -> CertificateParams {
    let mut params = leaf();
    params.subject_alt_names = vec![uri(&format!("spiffe://example.org/holdpoint/{role}"))];
    params
}

fn id(role: &str) -> SpiffeId {
    SpiffeId::new(format!("spiffe://example.org/holdpoint/{role}")).unwrap()
}

/// Whether a byte gets from a client to a server that expect each other, or what stopped it at either end.
async fn meet(client: &Arc<LiveSvid>, server: &Arc<LiveSvid>) -> Result<SpiffeId, String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(tls::client_config(client, id("issuer")).unwrap()));
    let acceptor = TlsAcceptor::from(tls::server_config(server, Peers::These(vec![id("gate")])).unwrap());
    let asking = async {
        let name = ServerName::try_from("192.0.2.1").unwrap();
        let mut stream = connector.connect(name, near).await.map_err(|err| err.to_string())?;
        stream.write_all(b"x").await.map_err(|err| err.to_string())?;
        let mut echo = [0];
        stream.read_exact(&mut echo).await.map(|_| ()).map_err(|err| err.to_string())
    };
    let serving = async {
        let mut stream = acceptor.accept(far).await.map_err(|err| err.to_string())?;
        let peer = tls::peer_of(stream.get_ref().1.peer_certificates()).ok_or("no peer")?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(|err| err.to_string())?;
        stream.write_all(&byte).await.map_err(|err| err.to_string())?;
        stream.flush().await.map_err(|err| err.to_string())?;
        Ok::<_, String>(peer.id)
    };
    let (asked, served) = tokio::join!(asking, serving);
    asked?;
    served
}

#[tokio::test]
async fn inv07_two_ends_meet_only_when_each_is_whom_the_other_expects() {
    let ca = Ca::new();
    let (gate, issuer) = (ca.end(&named("gate"), &ca.pem).live(), ca.end(&named("issuer"), &ca.pem).live());
    assert_eq!(meet(&gate, &issuer).await.unwrap(), id("gate"));
    // Of the same authority, and somebody else.
    for role in ["observer", "issuer", "gate/2", "gat"] {
        let other = ca.end(&named(role), &ca.pem).live();
        assert!(meet(&other, &issuer).await.is_err(), "{role} as the client");
    }
    for role in ["gate", "executor", "issuer/2"] {
        let other = ca.end(&named(role), &ca.pem).live();
        assert!(meet(&gate, &other).await.is_err(), "{role} as the server");
    }
    // Of another authority, with the same name.
    let foreign = Ca::new();
    assert!(meet(&foreign.end(&named("gate"), &ca.pem).live(), &issuer).await.is_err());
    assert!(meet(&gate, &foreign.end(&named("issuer"), &ca.pem).live()).await.is_err());
    // Of another trust domain, by an authority that vouches for this one alone.
    let mut elsewhere = named("gate");
    elsewhere.subject_alt_names = vec![uri("spiffe://other.org/holdpoint/gate")];
    assert!(meet(&ca.end(&elsewhere, &ca.pem).live(), &issuer).await.is_err());
    // Over, and not begun.
    let mut over = named("gate");
    (over.not_before, over.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    assert!(meet(&ca.end(&over, &ca.pem).live(), &issuer).await.is_err());
    let mut early = named("gate");
    (early.not_before, early.not_after) = (date_time_ymd(3001, 1, 1), date_time_ymd(3002, 1, 1));
    assert!(meet(&ca.end(&early, &ca.pem).live(), &issuer).await.is_err());
}

#[tokio::test]
async fn inv07_chains_go_through_authorities_alone() {
    let ca = Ca::new();
    let issuer = ca.end(&named("issuer"), &ca.pem).live();
    let below = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &ca.issuer).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    };
    let through = |middle: &Ca| {
        let key = KeyPair::generate().unwrap();
        let own = named("gate").signed_by(&key, &middle.issuer).unwrap().pem();
        End::new(&format!("{own}{}", middle.pem), &key, &ca.pem)
    };
    assert!(meet(&through(&below(authority())).live(), &issuer).await.is_ok());
    // A leaf that signs is refused by its own owner already.
    let leaf = through(&below(named("observer")));
    assert!(matches!(LiveSvid::load(leaf.files.clone()), Err(LoadError::Svid { .. })));
    // An authority whose key is not for certificates, shown by somebody who does not look.
    let mut crooked = authority();
    crooked.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert!(matches!(LiveSvid::load(through(&below(crooked)).files), Err(LoadError::Svid { .. })));
}

#[tokio::test]
async fn t26_certificates_and_bundles_are_read_again_without_a_restart() {
    let (ca, next) = (Ca::new(), Ca::new());
    let (gate, issuer) = (ca.end(&named("gate"), &ca.pem), ca.end(&named("issuer"), &ca.pem));
    let (near, far) = (gate.live(), issuer.live());
    assert!(meet(&near, &far).await.is_ok());
    // The server is the first to have the next authority, beside the old one.
    fs::write(&issuer.files.bundle, format!("{}{}", ca.pem, next.pem)).unwrap();
    assert!(meet(&near, &far).await.is_ok());
    let moved = next.end(&named("gate"), &ca.pem);
    fs::copy(&moved.files.key, &gate.files.key).unwrap();
    // Only one of two files is new: the old pair goes on.
    assert!(meet(&near, &far).await.is_ok());
    fs::copy(&moved.files.certificate, &gate.files.certificate).unwrap();
    assert!(meet(&near, &far).await.is_ok());
    // The old authority is dropped: what it issued is no good any more, the first time that it is shown.
    let old = ca.end(&named("gate"), &ca.pem).live();
    assert!(meet(&old, &far).await.is_ok());
    fs::write(&issuer.files.bundle, &next.pem).unwrap();
    assert!(meet(&old, &far).await.is_err());
    assert!(meet(&near, &far).await.is_ok());
    // Nonsense in a file leaves what was there.
    fs::write(&issuer.files.bundle, "nonsense").unwrap();
    assert!(meet(&near, &far).await.is_ok());
    drop((gate.dir, issuer.dir));
}

#[test]
fn inv12_a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let ca = Ca::new();
    let end = ca.end(&named("gate"), &ca.pem);
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&end.files.key, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(LiveSvid::load(end.files.clone()), Err(LoadError::Permissions { .. })), "{mode:o}");
    }
    fs::set_permissions(&end.files.key, fs::Permissions::from_mode(0o600)).unwrap();
    let other = ca.end(&named("gate"), &ca.pem);
    fs::copy(&other.files.key, &end.files.key).unwrap();
    assert!(matches!(LiveSvid::load(end.files), Err(LoadError::Key(_))));
}

#[tokio::test]
async fn the_development_authority_issues_what_stands_and_keeps_its_key() {
    let dir = TempDir::new().unwrap();
    let now = SystemClock::new().now();
    let hour = Duration::from_secs(3600);
    let end = |role: &str| {
        // Opened anew each time: what it issued before stands beside what it issues now.
        let ca = DevCa::load_or_create(dir.path(), "example.org", now).unwrap();
        let at = |name: &str| dir.path().join(format!("{role}.{name}"));
        let files = SvidFiles { certificate: at("pem"), key: at("key"), bundle: at("bundle") };
        ca.issue(&format!("/holdpoint/{role}"), now, hour).unwrap().write(&files, ca.bundle()).unwrap();
        Arc::new(LiveSvid::load(files).unwrap())
    };
    assert_eq!(meet(&end("gate"), &end("issuer")).await.unwrap(), id("gate"));
    let ca = DevCa::load_or_create(dir.path(), "example.org", now).unwrap();
    for bad in ["", "/", "/a/", "/a b", "/.."] {
        let made = ca.issue(bad, now, hour);
        // A certificate for nobody can be made, and is taken by nobody.
        assert!(made.is_err() || bad.is_empty(), "{bad:?}");
    }
}
