//! Mail, to a real server: STARTTLS, TLS from the first byte on, a login, and what a server that offers less gets: nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use holdpoint_adapters::notify::{Channel, ChannelError, Mail, MailConfig, MailTls, Secret};
use holdpoint_app::{notify::Message, port::SendError};
use serde_json::Value;

use super::{authority::Authority, held, send};
use crate::world::support::id;

const USER: &str = "holdpoint";
const PASSWORD: &str = "canary-of-the-mail-server";

/// A mail server of one test; it ends with the test.
struct Server {
    child: Child,
    port: u16,
    out: PathBuf,
}

/// The Python that has the server: the one that its own program begins with.
fn python() -> String {
    let program = std::env::var("HOLDPOINT_AIOSMTPD").unwrap_or_else(|_| "/usr/bin/aiosmtpd".to_owned());
    let text = fs::read_to_string(&program);
    let text = text.unwrap_or_else(|err| panic!("{program}: {err}: run `cargo xtask setup`"));
    text.lines().next().unwrap().trim_start_matches("#!").trim().to_owned()
}

impl Server {
    fn start(mode: &str, authority: &Authority, login: Option<(&str, &str)>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let out = authority.dir.path().join(format!("{mode}.letters"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/notify/mailserver.py");
        let (user, password) = login.unwrap_or_default();
        let mut child = Command::new(python())
            .arg(script)
            .args([mode, &port.to_string()])
            .args([&authority.cert_file, &authority.key_file, &out])
            .args([user, password])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "the mail server did not start");
        Self { child, port, out }
    }

    fn letters(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn config(&self, tls: MailTls, login: Option<(&str, &str)>) -> MailConfig {
        MailConfig {
            server: "localhost".to_owned(),
            port: Some(self.port),
            tls,
            from: "Holdpoint <holdpoint@example.org>".to_owned(),
            login: login.map(|(user, password)| (user.to_owned(), Secret::new(password.to_owned()))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mail(config: &MailConfig, ca: Option<&Path>) -> Channel {
    Channel::Mail(Mail::new(config, ca).unwrap())
}

#[tokio::test]
async fn mail_goes_over_tls_of_both_kinds_with_a_login() {
    let authority = Authority::new(&["localhost"]);
    for (mode, tls) in [("starttls", MailTls::Starttls), ("implicit", MailTls::Implicit)] {
        let server = Server::start(mode, &authority, Some((USER, PASSWORD)));
        let config = server.config(tls, Some((USER, PASSWORD)));
        let message = held();
        send(mail(&config, Some(&authority.ca_file)), &message).await.unwrap();
        let letters = server.letters();
        assert_eq!(letters.len(), 1, "{mode}");
        let letter = &letters[0];
        assert_eq!((&letter["tls"], &letter["user"]), (&true.into(), &USER.into()), "{mode}");
        assert_eq!(letter["from"], "holdpoint@example.org");
        assert_eq!(letter["to"], serde_json::json!(["anna@example.org", "ben@example.org"]));
        let text = letter["text"].as_str().unwrap();
        for line in [
            "Subject: Approval needed: process.restart on worker-1 (production) and 1\r\n",
            "From: Holdpoint <holdpoint@example.org>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Message-ID: <msg_0123456789abcdef0123456789abcdef@example.org>\r\n",
            "Open in Holdpoint: https://holdpoint.example.org/holds/hold-1\r\n",
        ] {
            assert!(text.contains(line), "{mode}: `{line}` is not in:\n{text}");
        }
    }
}

#[tokio::test]
async fn a_server_without_the_tls_that_is_asked_for_gets_neither_mail_nor_password() {
    let authority = Authority::new(&["localhost"]);
    let plain = Server::start("plain", &authority, None);
    let starttls = Server::start("starttls", &authority, Some((USER, PASSWORD)));
    let other = Authority::new(&["localhost"]);
    let misnamed = Authority::new(&["elsewhere.example.org"]);
    let elsewhere = Server::start("implicit", &misnamed, None);
    let cases = [
        // It offers no TLS.
        (plain.config(MailTls::Starttls, Some((USER, PASSWORD))), &authority),
        (plain.config(MailTls::Implicit, Some((USER, PASSWORD))), &authority),
        // Its certificate is of an authority that nobody named, or of another name.
        (starttls.config(MailTls::Starttls, Some((USER, PASSWORD))), &other),
        (elsewhere.config(MailTls::Implicit, None), &misnamed),
    ];
    for (config, authority) in cases {
        let err = send(mail(&config, Some(&authority.ca_file)), &held()).await.unwrap_err();
        assert!(matches!(err, SendError::Unreachable(_)), "{err:?}");
        assert!(!err.to_string().contains(PASSWORD), "{err}");
    }
    assert!(plain.letters().is_empty() && starttls.letters().is_empty() && elsewhere.letters().is_empty());
}

#[tokio::test]
async fn a_refusal_is_told_by_its_code_and_by_nothing_that_the_server_says() {
    let authority = Authority::new(&["localhost"]);
    let server = Server::start("starttls", &authority, Some((USER, PASSWORD)));
    let ca = Some(authority.ca_file.as_path());
    let wrong = server.config(MailTls::Starttls, Some((USER, "wrong")));
    assert_eq!(send(mail(&wrong, ca), &held()).await, Err(SendError::Refused(535)));
    let config = server.config(MailTls::Starttls, Some((USER, PASSWORD)));
    let to = |name: &str| Message { to: vec![id(name)], ..held() };
    let err = send(mail(&config, ca), &to("carl")).await.unwrap_err();
    assert_eq!(err, SendError::Refused(550));
    assert!(!err.to_string().contains("canary"), "{err}");
    // Nobody to write to, nobody with a mailbox.
    for message in [to("dora"), Message { to: Vec::new(), ..held() }] {
        assert!(matches!(send(mail(&config, ca), &message).await, Err(SendError::Unsendable(_))));
    }
    assert!(server.letters().is_empty());
}

#[tokio::test]
async fn mail_without_tls_stays_on_this_machine() {
    let authority = Authority::new(&["localhost"]);
    let server = Server::start("plain", &authority, None);
    send(mail(&server.config(MailTls::None, None), None), &held()).await.unwrap();
    assert_eq!(server.letters().len(), 1);
    for server in ["mail.example.org", "127.0.0.1.example.org", "10.0.0.1", "localhost.example.org"] {
        let config = MailConfig { server: server.to_owned(), ..self::config() };
        assert!(matches!(Mail::new(&config, None), Err(ChannelError::Plain(_))), "{server}");
    }
}

fn config() -> MailConfig {
    let from = "holdpoint@example.org".to_owned();
    MailConfig { server: "localhost".to_owned(), port: None, tls: MailTls::None, from, login: None }
}

#[test]
fn t15_no_mailbox_brings_a_header_of_its_own() {
    for text in [
        "anna@example.org\r\nBcc: all@example.org",
        "Anna\r\nBcc: all@example.org <anna@example.org>",
        "anna@example.org\nBcc: all@example.org",
        "anna@example.org, all@example.org",
        "anna",
        "",
    ] {
        let refused = Mail::check_mailbox(text);
        let config = MailConfig { from: text.to_owned(), ..config() };
        let shown = match refused {
            Err(err) => err.to_string(),
            Ok(()) => panic!("{text:?} is taken as a mailbox"),
        };
        assert!(!shown.contains(['\r', '\n']), "{shown}");
        assert!(Mail::new(&config, None).is_err(), "{text:?}");
    }
}

#[test]
fn inv12_t29_a_password_does_not_show() {
    let login = Some((USER.to_owned(), Secret::new(PASSWORD.to_owned())));
    let config = MailConfig { login, ..config() };
    let mail = Mail::new(&config, None).unwrap();
    assert!(!format!("{config:?} {mail:?}").contains(PASSWORD));
}
