//! The local issuer's Workload API, asked by the client that agents written for SPIRE use.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::StreamExt as _;
use holdpoint_adapters::identity::{
    CachedVerifier, DevIssuer, Domain, Jwks, Keyring, Pace, Registration, Source, Verifier, WorkloadApi,
    WorkloadApiError, program_digest,
};
use holdpoint_adapters::system::SystemClock;
use holdpoint_app::port::Clock;
use holdpoint_domain::{
    Digest,
    actor::{Identity, Phase},
};
use spiffe::{SpiffeId, WorkloadApiClient, WorkloadApiError as ClientError};
use tempfile::TempDir;
use tonic::{Code, Request, Status, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

use super::{
    forge::{AUDIENCE, domain},
    support::{id, wait_until},
};

/// An issuer with its sockets, in a folder of its own.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issuer(&self) -> DevIssuer {
        DevIssuer::load_or_create(&self.dir.path().join("identity.key"), domain("example.org")).unwrap()
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(Jwks::parse(&self.issuer().jwks()).unwrap(), domain("example.org"), AUDIENCE.to_owned())
    }

    /// This very process, in a phase, on a socket.
    fn own(&self, socket: &str, phase: Phase) -> Registration {
        Registration {
            socket: self.socket(socket),
            uid: rustix::process::geteuid().as_raw(),
            program: program_digest(Path::new("/proc/self/exe")).unwrap(),
            identity: Identity::Agent { agent: id("holmes"), phase },
        }
    }

    fn serve(&self, registered: &[Registration]) -> Result<WorkloadApi, WorkloadApiError> {
        let key = self.dir.path().join("authority.key");
        WorkloadApi::serve(
            registered,
            self.issuer(),
            domain("example.org"),
            &key,
            Arc::new(SystemClock::new()),
        )
    }

    async fn client(&self, socket: &str) -> WorkloadApiClient {
        WorkloadApiClient::connect_to(self.endpoint(socket)).await.unwrap()
    }

    fn endpoint(&self, socket: &str) -> String {
        format!("unix://{}", self.socket(socket).display())
    }
}

fn spiffe_id(phase: Phase) -> SpiffeId {
    SpiffeId::new(format!("spiffe://example.org/agent/holmes/{phase}")).unwrap()
}

fn is_denied<T: std::fmt::Debug>(answer: Result<T, ClientError>) {
    let err = answer.unwrap_err();
    let shown = format!("{err:?}");
    assert!(shown.contains("PermissionDenied"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_written_for_a_spiffe_implementation_works_as_it_is() {
    let stage = Stage::new();
    let _api =
        stage.serve(&[stage.own("decide", Phase::Decide), stage.own("observe", Phase::Observe)]).unwrap();
    for (socket, phase) in [("decide", Phase::Decide), ("observe", Phase::Observe)] {
        let client = stage.client(socket).await;
        for asked in [None, Some(spiffe_id(phase))] {
            let svid = client.fetch_jwt_svid([AUDIENCE], asked.as_ref()).await.unwrap();
            assert_eq!(*svid.spiffe_id(), spiffe_id(phase));
            // Of now: on a busy machine each caller's executable takes a while to be read, and no token is believed from the future.
            let verified = stage.verifier().verify(svid.token(), SystemClock::new().now()).unwrap();
            assert_eq!(*verified.identity(), Identity::Agent { agent: id("holmes"), phase });
            let again = client.validate_jwt_token(AUDIENCE, svid.token()).await.unwrap();
            assert_eq!(again.token(), svid.token());
            assert!(client.validate_jwt_token("another", svid.token()).await.is_err());
            assert!(client.validate_jwt_token(AUDIENCE, &format!("{}A", svid.token())).await.is_err());
        }
        let bundles = client.fetch_jwt_bundles().await.unwrap();
        let own = spiffe::TrustDomain::new("example.org").unwrap();
        assert_eq!(bundles.get(&own).unwrap().jwt_authorities().count(), 1);

        let svid = client.fetch_x509_svid().await.unwrap();
        assert_eq!(*svid.spiffe_id(), spiffe_id(phase));
        let authorities = client.fetch_x509_bundles().await.unwrap();
        let authority = authorities.get(&own).unwrap().authorities()[0].as_bytes().to_vec();
        is_issued_by(svid.leaf().as_bytes(), &authority);
        let context = client.fetch_x509_context().await.unwrap();
        assert_eq!(context.default_svid().unwrap().spiffe_id(), svid.spiffe_id());
    }
}

/// The chain, as a TLS server of somebody else checks it.
fn is_issued_by(leaf: &[u8], authority: &[u8]) {
    use rustls::pki_types::{CertificateDer, UnixTime};
    let (leaf, authority) = (CertificateDer::from_slice(leaf), CertificateDer::from_slice(authority));
    let anchors = [webpki::anchor_from_trusted_cert(&authority).unwrap()];
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    for usage in [webpki::KeyUsage::client_auth(), webpki::KeyUsage::server_auth()] {
        let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
        leaf.verify_for_usage(algorithms.all, &anchors, &[], UnixTime::now(), usage, None, None).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inv07_another_user_program_or_phase_gets_nothing() {
    let stage = Stage::new();
    let other_user =
        Registration { uid: rustix::process::geteuid().as_raw() + 1, ..stage.own("user", Phase::Decide) };
    let other_program =
        Registration { program: Digest::of_bytes(b"other"), ..stage.own("program", Phase::Decide) };
    let _api = stage.serve(&[other_user, other_program, stage.own("decide", Phase::Decide)]).unwrap();
    for socket in ["user", "program"] {
        let client = stage.client(socket).await;
        is_denied(client.fetch_jwt_svid([AUDIENCE], None).await);
        is_denied(client.fetch_x509_svid().await);
        is_denied(client.fetch_jwt_bundles().await);
        is_denied(client.fetch_x509_bundles().await);
        is_denied(client.validate_jwt_token(AUDIENCE, "a.b.c").await);
    }
    let client = stage.client("decide").await;
    for phase in [Phase::Observe, Phase::Execute] {
        is_denied(client.fetch_jwt_svid([AUDIENCE], Some(&spiffe_id(phase))).await);
    }
    // A token that two could use at each other is none that is given out.
    assert!(client.fetch_jwt_svid([AUDIENCE, "another"], None).await.is_err());
    assert!(client.fetch_jwt_svid([""], None).await.is_err());
    assert!(client.fetch_jwt_svid([AUDIENCE], None).await.is_ok());
}

#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(string, repeated, tag = "1")]
    audience: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answered {
    #[prost(bytes = "vec", repeated, tag = "1")]
    svids: Vec<Vec<u8>>,
}

/// A call of somebody who follows the wire format and nothing else.
async fn raw(stage: &Stage, call: &str, headers: &[&'static str]) -> Result<Answered, Status> {
    let endpoint = Endpoint::from_shared(stage.endpoint("decide")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = Request::new(Asked { audience: vec![AUDIENCE.to_owned()] });
    for value in headers {
        request.metadata_mut().append("workload.spiffe.io", value.parse().unwrap());
    }
    let path = format!("/SpiffeWorkloadAPI/{call}").parse().unwrap();
    grpc.unary(request, path, ProstCodec::<Asked, Answered>::default())
        .await
        .map(|answer| answer.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn t34_a_call_without_the_header_is_refused() {
    let stage = Stage::new();
    let _api = stage.serve(&[stage.own("decide", Phase::Decide)]).unwrap();
    let bad: [&[&'static str]; 6] =
        [&[], &["false"], &["True"], &[""], &["true ", "true"], &["true", "true"]];
    for headers in bad {
        let status = raw(&stage, "FetchJWTSVID", headers).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{headers:?}");
    }
    assert_eq!(raw(&stage, "FetchJWTSVID", &["true"]).await.unwrap().svids.len(), 1);
    for call in ["", "FetchWITSVID", "fetchjwtsvid", "FetchJWTSVID/"] {
        assert_eq!(raw(&stage, call, &["true"]).await.unwrap_err().code(), Code::Unimplemented, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_takes_its_keys_from_a_workload_api() {
    let stage = Stage::new();
    let registered = [stage.own("gate", Phase::Observe)];
    let api = stage.serve(&registered).unwrap();
    let name = domain("example.org");
    let keys = Arc::new(Keyring::awaited("the API", None));
    let own = Domain::new(&name, &name, Arc::clone(&keys), Vec::new()).unwrap();
    let verifier = Verifier::empty(name.clone(), AUDIENCE.to_owned()).with_domain(name.clone(), own);
    let verifier = CachedVerifier::new(verifier);
    let source = Source::WorkloadApi { endpoint: stage.endpoint("gate"), domain: name };
    let pace = Pace { retry: std::time::Duration::from_millis(20), ..Pace::default() };
    let _feed = source.follow(keys, Arc::new(SystemClock::new()), pace);
    let token = stage.client("gate").await.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
    let verify = |token: &str| verifier.verify(token, SystemClock::new().now()).is_ok();
    wait_until("the bundle was streamed", || verify(token.token()));

    // It goes away: what was believed stays, with the reason. It comes back with another key: the old one is not believed.
    drop(api);
    wait_until("the stream ended", || verifier.sources()[0].fault.is_some());
    assert!(verify(token.token()));
    std::fs::remove_file(stage.dir.path().join("identity.key")).unwrap();
    let _api = stage.serve(&registered).unwrap();
    wait_until("the old key is forgotten", || !verify(token.token()));
    let token = stage.client("gate").await.fetch_jwt_svid([AUDIENCE], None).await.unwrap();
    assert!(verify(token.token()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_certificates_stays_open() {
    let stage = Stage::new();
    let _api = stage.serve(&[stage.own("decide", Phase::Decide)]).unwrap();
    let mut stream = stage.client("decide").await.stream_x509_contexts().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(*first.default_svid().unwrap().spiffe_id(), spiffe_id(Phase::Decide));
}

#[tokio::test(flavor = "multi_thread")]
async fn inv07_a_process_is_one_identity_and_a_socket_is_ours() {
    let stage = Stage::new();
    let twice = [stage.own("one", Phase::Decide), stage.own("one", Phase::Execute)];
    assert!(matches!(stage.serve(&twice), Err(WorkloadApiError::Twice(_))));
    assert!(!stage.socket("one").exists());
    // A file of somebody's is left alone, and so is a socket that is served.
    std::fs::write(stage.socket("file"), "precious").unwrap();
    assert!(matches!(stage.serve(&[stage.own("file", Phase::Decide)]), Err(WorkloadApiError::Taken(_))));
    assert_eq!(std::fs::read(stage.socket("file")).unwrap(), b"precious");
    let first = stage.serve(&[stage.own("one", Phase::Decide)]).unwrap();
    assert!(matches!(stage.serve(&[stage.own("one", Phase::Decide)]), Err(WorkloadApiError::Taken(_))));
    drop(first);
    // The socket of a start before is replaced, once nobody serves it.
    let socket = stage.socket("one");
    wait_until("nobody serves it", || std::os::unix::net::UnixStream::connect(&socket).is_err());
    let _again = stage.serve(&[stage.own("one", Phase::Decide)]).unwrap();
    assert!(stage.client("one").await.fetch_jwt_svid([AUDIENCE], None).await.is_ok());
}

/// Both ends of a connection with what their own sockets gave them.
#[tokio::test(flavor = "multi_thread")]
async fn inv07_two_ends_meet_with_certificates_of_a_workload_api() {
    use holdpoint_adapters::tls::{LiveSvid, Peers, client_config, peer_of, server_config};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};
    let stage = Stage::new();
    let api =
        stage.serve(&[stage.own("decide", Phase::Decide), stage.own("observe", Phase::Observe)]).unwrap();
    let live =
        async |socket: &str| Arc::new(LiveSvid::from_workload_api(&stage.endpoint(socket)).await.unwrap());
    let (near, far) = (live("decide").await, live("observe").await);
    assert_eq!((near.id(), far.id()), (spiffe_id(Phase::Decide), spiffe_id(Phase::Observe)));
    let meet = async || {
        let (one, other) = tokio::io::duplex(64 * 1024);
        let connector =
            TlsConnector::from(Arc::new(client_config(&near, spiffe_id(Phase::Observe)).unwrap()));
        let expected = Peers::These(vec![spiffe_id(Phase::Decide)]);
        let acceptor = TlsAcceptor::from(server_config(&far, expected).unwrap());
        let name = rustls::pki_types::ServerName::try_from("192.0.2.1").unwrap();
        let (asked, served) = tokio::join!(connector.connect(name, one), acceptor.accept(other));
        let (mut asked, mut served) = (asked.unwrap(), served.unwrap());
        asked.write_all(b"x").await.unwrap();
        asked.flush().await.unwrap();
        let mut byte = [0];
        served.read_exact(&mut byte).await.unwrap();
        peer_of(served.get_ref().1.peer_certificates()).unwrap().id
    };
    assert_eq!(meet().await, spiffe_id(Phase::Decide));
    // The last certificate goes on when its agent is gone.
    drop(api);
    assert_eq!(meet().await, spiffe_id(Phase::Decide));
    // Nobody's socket, somebody's file, and an endpoint beyond this machine.
    for endpoint in
        [stage.endpoint("nobody"), "unix:relative.sock".to_owned(), "tcp://127.0.0.1:1".to_owned()]
    {
        assert!(LiveSvid::from_workload_api(&endpoint).await.is_err(), "{endpoint}");
    }
}
