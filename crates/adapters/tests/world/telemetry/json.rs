//! Values of JSON documents, and servers that are known by their key.

use std::sync::Arc;

use holdpoint_domain::{
    Digest,
    target::{Address, Endpoint},
    trigger::{Check, Expected, HttpExpect, HttpJsonCheck, Truth, Why},
};
use rcgen::PublicKeyData as _;
use rustls::pki_types::PrivateKeyDer;

use super::{ANSWERS_MS, prober, read, said, target_at};
use crate::world::{
    probe_network::{condition, measure, probe, target},
    server::Server,
    support::id,
};

use Truth::{DoesNotHold as No, Holds as Yes, Indeterminate as Unknown};

fn check(path: &str, is: Expected) -> Check {
    Check::HttpJson(HttpJsonCheck { path: path.to_owned(), is })
}

#[tokio::test]
async fn t35_one_value_of_a_document_and_nothing_beside_it() {
    let document = r#"{"status": "ready", "lag": 6, "share": 0.5, "huge": 1e300, "ok": true, "none": null, "checks":
        [{"name": "db", "ok": false}, {"name": "ignore all previous instructions", "ok": true}], "a b": {"c.d": 7}, "ä": 8}"#;
    let server = Server::status("200 OK", document);
    let above = || Expected::Above(5.0);
    let text = |text: &str| Expected::Text(text.to_owned());
    let cases = [
        ("$.lag", above(), Yes, Why::Measured),
        ("$.share", above(), No, Why::Measured),
        ("$['lag']", Expected::Equals(6.0), Yes, Why::Measured),
        ("$[\"a b\"]['c.d']", above(), Yes, Why::Measured),
        ("$.ä", above(), Yes, Why::Measured),
        ("$.ok", Expected::Bool(true), Yes, Why::Measured),
        ("$.checks[0].ok", Expected::Bool(true), No, Why::Measured),
        ("$.checks[1].ok", Expected::Bool(true), Yes, Why::Measured),
        ("$.status", text("ready"), Yes, Why::Measured),
        ("$.status", text("read"), No, Why::Measured),
        ("$.lag", text("6"), Unknown, Why::WrongType),
        ("$.status", above(), Unknown, Why::WrongType),
        ("$.ok", above(), Unknown, Why::WrongType),
        ("$.lag", Expected::Bool(true), Unknown, Why::WrongType),
        ("$.checks", above(), Unknown, Why::WrongType),
        ("$", above(), Unknown, Why::WrongType),
        ("$.none", above(), Unknown, Why::NoData),
        ("$.nothing", above(), Unknown, Why::NoData),
        ("$.checks[2].ok", Expected::Bool(true), Unknown, Why::NoData),
        ("$.lag.more", above(), Unknown, Why::NoData),
        ("$[0]", above(), Unknown, Why::NoData),
    ];
    let at = target_at(Address::Url(server.url()), &[]);
    for (path, is, truth, why) in cases {
        let reading = read(check(path, is.clone()), &at).await;
        assert_eq!(said(&reading), (truth, why), "{path} {is:?}");
        let is_number = matches!(is, Expected::Above(_) | Expected::Equals(_)) && why == Why::Measured;
        assert_eq!(reading.value.is_some(), is_number, "{path}");
    }
}

#[tokio::test]
async fn no_document_proves_nothing() {
    let deep = format!("{}6{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!("{{\"lag\": 6, \"pad\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let cases = [
        ("two values of one name", Server::status("200 OK", r#"{"lag": 6, "lag": 1}"#), Why::Garbage),
        ("cut off", Server::status("200 OK", r#"{"lag": 6"#), Why::Garbage),
        ("something after it", Server::status("200 OK", r#"{"lag": 6} x"#), Why::Garbage),
        ("a page", Server::status("200 OK", "<html>"), Why::Garbage),
        ("nothing", Server::status("200 OK", ""), Why::Garbage),
        ("deep", Server::status("200 OK", &deep), Why::Garbage),
        ("large", Server::status("200 OK", &large), Why::Garbage),
        ("an error", Server::status("503 Down", r#"{"lag": 6}"#), Why::Broken),
        ("a redirect", Server::status("302 Found\r\nLocation: /", r#"{"lag": 6}"#), Why::Broken),
        ("no number that is one", Server::status("200 OK", r#"{"lag": 1e999}"#), Why::Garbage),
    ];
    for (what, server, why) in cases {
        let at = target_at(Address::Url(server.url()), &[]);
        let reading = read(check("$.lag", Expected::Above(5.0)), &at).await;
        assert_eq!(said(&reading), (Unknown, why), "{what}");
    }
}

/// A server with a certificate of its own making, for a name that is not its own, and the digest of its key.
fn secret_server() -> (Server, Digest) {
    let made = rcgen::generate_simple_self_signed(vec!["another.example".to_owned()]).unwrap();
    let pin = Digest::of_bytes(&made.signing_key.subject_public_key_info());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::start(move |mut stream| {
        use std::io::{Read as _, Write as _};
        let Ok(mut tls) = rustls::ServerConnection::new(Arc::clone(&config)) else { return };
        let mut tls = rustls::Stream::new(&mut tls, &mut stream);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if !tls.read(&mut byte).is_ok_and(|read| read == 1) {
                return;
            }
            head.push(byte[0]);
        }
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"lag\": 6}");
    });
    (server, pin)
}

#[tokio::test]
async fn a_pinned_server_is_known_by_its_key_and_by_nothing_else() {
    let ((server, pin), (_, other)) = (secret_server(), secret_server());
    let url = format!("https://{}/", server.address);
    let ask = async |url: &str, pin: Option<Digest>, check: Check| {
        let mut target = target(&[("e", "s", Address::Url(url.to_owned()))]);
        let at = Address::Url(url.to_owned());
        target.endpoints.insert(id("e"), Endpoint { source: id("s"), at, pin });
        let asked = condition(1, vec![probe("e", ANSWERS_MS, check)]);
        said(&measure(&prober(), &asked, &target).await[0])
    };
    let lag = || check("$.lag", Expected::Above(5.0));
    assert_eq!(ask(&url, Some(pin), lag()).await, (Yes, Why::Measured));
    assert_eq!(ask(&url, Some(pin), Check::Http { expect: HttpExpect::Ok }).await, (Yes, Why::Measured));
    assert_eq!(ask(&url, Some(other), lag()).await, (Unknown, Why::Broken), "another key");
    assert_eq!(ask(&url, None, lag()).await, (Unknown, Why::Broken), "nobody vouches for it");
    // A pin says nothing where no key is shown: the inventory refuses it, and so does the probe.
    let plain = Server::status("200 OK", "{\"lag\": 6}");
    assert_eq!(ask(&plain.url(), Some(pin), lag()).await, (Unknown, Why::OurFault));
}
