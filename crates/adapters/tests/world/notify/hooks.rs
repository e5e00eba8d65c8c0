//! Webhooks: signed, over TLS, to one address, and nothing of the answer but its status.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use holdpoint_adapters::notify::{Channel, Chat, ChatFormat, Secret, SigningSecret, Webhook, webhook_body};
use holdpoint_app::port::SendError;

use super::{authority::Authority, held, receiver::Receiver, send};
use crate::world::{
    server::{Server, refusing},
    support::NOW_MS,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT: &str = "whsec_c2VjcmV0LW9mLWEtcm90YXRlZC1lbmRwb2ludA==";

fn secret(text: &str) -> SigningSecret {
    SigningSecret::parse(text).unwrap()
}

fn webhook(url: &Secret) -> Channel {
    Channel::Webhook(Webhook::new(url, vec![secret(SECRET)], None).unwrap())
}

#[tokio::test]
async fn a_webhook_is_signed_so_that_its_receiver_can_check_it() {
    let receiver = Receiver::fine();
    let (message, both) = (held(), vec![secret(SECRET), secret(NEXT)]);
    let channel = Channel::Webhook(Webhook::new(&receiver.url(), both, None).unwrap());
    send(channel, &message).await.unwrap();
    let heard = receiver.one();
    assert_eq!(heard.header("webhook-id"), message.id);
    let seconds: u64 = heard.header("webhook-timestamp").parse().unwrap();
    assert_eq!(seconds, NOW_MS / 1000);
    // As a receiver checks it: over the very bytes that came.
    let signed = [SECRET, NEXT].map(|text| secret(text).sign(&message.id, seconds, &heard.body)).join(" ");
    assert_eq!(heard.header("webhook-signature"), signed);
    assert_eq!(heard.json(), webhook_body(&message));
    assert_eq!(heard.header("content-type"), "application/json");
    assert!(heard.head.starts_with("POST /canary-path HTTP/1.1"), "{}", heard.head);
}

#[tokio::test]
async fn the_same_message_has_the_same_bytes_and_the_same_id_again() {
    let receiver = Receiver::fine();
    for _ in 0..2 {
        send(webhook(&receiver.url()), &held()).await.unwrap();
    }
    let [one, other] = receiver.heard().try_into().unwrap();
    assert_eq!((one.header("webhook-id"), &one.body), (other.header("webhook-id"), &other.body));
}

#[tokio::test]
async fn t20_a_redirection_is_not_followed() {
    let elsewhere = Receiver::fine();
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let there = elsewhere.port();
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{there}/\r\nContent-Length: 0\r\n\r\n");
        let receiver = Receiver::start(answer, None);
        let refused = send(webhook(&receiver.url()), &held()).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused(301..=308)), "{refused:?}");
    }
    assert_eq!(elsewhere.connections(), 0, "somebody followed");
}

#[tokio::test]
async fn what_does_not_take_a_message_is_told_by_its_status_and_by_nothing_that_it_says() {
    for (status, code) in
        [("500 Canary", 500), ("410 Gone", 410), ("401 Unauthorized", 401), ("429 Slow", 429)]
    {
        let receiver = Server::status(status, "canary <script>alert(1)</script>");
        let url = Secret::new(receiver.url());
        let err = send(webhook(&url), &held()).await.unwrap_err();
        assert_eq!(err, SendError::Refused(code));
        assert!(!err.to_string().contains("anary"), "{err}");
    }
    let nobody = Secret::new(format!("http://{}/canary", refusing()));
    let err = send(webhook(&nobody), &held()).await.unwrap_err();
    assert!(matches!(err, SendError::Unreachable(_)) && !err.to_string().contains("canary"), "{err}");
}

#[tokio::test]
async fn a_body_without_an_end_costs_nothing() {
    // The head is all that is read: what floods or drips after it is nobody's.
    for receiver in [
        Server::flood("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"),
        Server::drip("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"),
    ] {
        send(webhook(&Secret::new(receiver.url())), &held()).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_is_checked_against_the_authorities_that_the_operator_names() {
    let authority = Authority::new(&["127.0.0.1"]);
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some(authority.server()));
    let to = |ca: Option<&Path>| {
        Channel::Webhook(Webhook::new(&receiver.url(), vec![secret(SECRET)], ca).unwrap())
    };
    send(to(Some(&authority.ca_file)), &held()).await.unwrap();
    let other = Authority::new(&["127.0.0.1"]);
    for ca in [None, Some(other.ca_file.as_path())] {
        let err = send(to(ca), &held()).await.unwrap_err();
        assert!(matches!(err, SendError::Unreachable(_)), "{err:?}");
    }
    let elsewhere = Authority::new(&["elsewhere.example.org"]);
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\n\r\n", Some(elsewhere.server()));
    let wrong = Webhook::new(&receiver.url(), vec![secret(SECRET)], Some(&elsewhere.ca_file)).unwrap();
    assert!(send(Channel::Webhook(wrong), &held()).await.is_err(), "a certificate of another name was taken");
    assert!(receiver.heard().is_empty());
}

#[test]
fn t40_a_secret_that_is_missing_empty_or_open_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    let missing = SigningSecret::read(&path).unwrap_err().to_string();
    assert!(missing.contains("secret"), "{missing}");
    let cases = [
        ("", 0o600),
        ("\n", 0o600),
        ("whsec_\n", 0o600),
        ("secret\n", 0o600),
        (SECRET, 0o644),
        (SECRET, 0o640),
    ];
    for (text, mode) in cases {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let err = SigningSecret::read(&path).unwrap_err().to_string();
        assert!(!err.contains("MfKQ9r8G"), "{err}");
        if !text.starts_with("whsec_Mf") && !text.starts_with("secret") && text != "whsec_\n" {
            assert!(Secret::read(&path).is_err(), "{text:?}");
        }
    }
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    SigningSecret::read(&path).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(SigningSecret::read(&link).is_err(), "a link is followed");
}

#[tokio::test]
async fn inv12_t29_an_address_that_is_a_secret_shows_nowhere() {
    let url = Secret::new("https://hooks.slack.example/services/T0/B0/canary".to_owned());
    let chat = Chat::new(&url, ChatFormat::Slack, None).unwrap();
    assert!(!format!("{url:?} {chat:?}").contains("canary"));
    let bad = Secret::new("http://hooks.slack.example/services/canary".to_owned());
    let err = Chat::new(&bad, ChatFormat::Slack, None).unwrap_err();
    assert!(!format!("{err} {err:?}").contains("canary"), "{err:?}");
}
