//! An OpenBao that means harm, or something that only looks like one: nothing it says is believed without a look, nothing is
//! followed, and nothing of a secret is repeated.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use holdpoint_adapters::postgres::TERMINATE;
use holdpoint_app::port::{IssueError, Issuer as _};
use serde_json::{Value, json};

use super::{
    leases::{NOBODY, backend},
    server::{desk, spec},
};
use crate::world::{
    postgres::server::{Postgres, secret},
    server::Server,
};

const TOKEN: &str = "canary-token-b81c";
const PASSWORD: &str = "canary-password-24aa";

/// What it answers to one kind of request, in place of what it should.
type Lie = fn(&str, &str) -> Option<Vec<u8>>;

fn http(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn ok(body: &Value) -> Vec<u8> {
    http("200 OK", "", body.to_string().as_bytes())
}

fn nothing() -> Vec<u8> {
    http("404 Not Found", "", br#"{"errors":[]}"#)
}

/// Credentials of a role, with one thing about them changed.
fn credentials(path: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let role = path.rsplit('/').next().unwrap();
    let mut made = json!({
        "lease_id": format!("database/creds/{role}/abc"), "lease_duration": 60, "renewable": true,
        "data": {"username": role, "password": PASSWORD},
    });
    change(&mut made);
    ok(&made)
}

fn is_creds(path: &str) -> bool {
    path.starts_with("/v1/database/creds/")
}

/// Each lie, and a word of what is said about it.
const LIES: [(&str, Lie, &str); 18] = [
    (
        "a longer life than asked",
        |path, _| is_creds(path).then(|| credentials(path, |made| made["lease_duration"] = 61.into())),
        "life",
    ),
    (
        "no end",
        |path, _| is_creds(path).then(|| credentials(path, |made| made["lease_duration"] = 0.into())),
        "life",
    ),
    (
        "a negative life",
        |path, _| is_creds(path).then(|| credentials(path, |made| made["lease_duration"] = (-1).into())),
        "not its API",
    ),
    (
        "a huge life",
        |path, _| is_creds(path).then(|| credentials(path, |made| made["lease_duration"] = u64::MAX.into())),
        "life",
    ),
    (
        "a life of text",
        |path, _| is_creds(path).then(|| credentials(path, |made| made["lease_duration"] = "60".into())),
        "not its API",
    ),
    (
        "a longer life by the lookup",
        |path, body| {
            (path == "/v1/sys/leases/lookup").then(|| {
                let asked: Value = serde_json::from_str(body).unwrap();
                ok(&json!({"data": {"id": asked["lease_id"], "ttl": 3600}}))
            })
        },
        "life",
    ),
    (
        "another lease by the lookup",
        |path, _| {
            (path == "/v1/sys/leases/lookup")
                .then(|| ok(&json!({"data": {"id": "database/creds/payroll/abc", "ttl": 60}})))
        },
        "another lease",
    ),
    (
        "another user",
        |path, _| {
            is_creds(path).then(|| credentials(path, |made| made["data"]["username"] = "postgres".into()))
        },
        "username_template",
    ),
    (
        "somebody else's lease",
        |path, _| {
            is_creds(path)
                .then(|| credentials(path, |made| made["lease_id"] = "database/creds/payroll/abc".into()))
        },
        "not the role's",
    ),
    (
        "a lease of another mount",
        |path, _| {
            is_creds(path).then(|| {
                credentials(path, |made| {
                    made["lease_id"] = format!("other/{}", made["lease_id"].as_str().unwrap()).into();
                })
            })
        },
        "not the role's",
    ),
    (
        "a lease of another namespace",
        |path, _| {
            is_creds(path).then(|| {
                credentials(path, |made| {
                    made["lease_id"] = format!("{}.ShxWtw", made["lease_id"].as_str().unwrap()).into();
                })
            })
        },
        "not the role's",
    ),
    (
        "a lease that leads elsewhere",
        |path, _| {
            is_creds(path).then(|| {
                credentials(path, |made| {
                    made["lease_id"] = format!("{}/../../x", made["lease_id"].as_str().unwrap()).into();
                })
            })
        },
        "not the role's",
    ),
    (
        "half of it",
        |path, _| {
            is_creds(path).then(|| {
                let whole = credentials(path, |_| ());
                whole[..whole.len() - 20].to_vec()
            })
        },
        "no whole answer",
    ),
    (
        "what is no JSON",
        |path, _| is_creds(path).then(|| http("200 OK", "", PASSWORD.as_bytes())),
        "not its API",
    ),
    (
        "a body without end",
        |path, _| is_creds(path).then(|| http("200 OK", "", &vec![b'x'; 2 * 1024 * 1024])),
        "more than",
    ),
    (
        "an error with secrets in it",
        |path, _| {
            is_creds(path).then(|| {
                http(
                    "500 Internal Server Error",
                    "",
                    json!({"errors": [format!("at or near {PASSWORD} {TOKEN} (SQLSTATE 42601)")]})
                        .to_string()
                        .as_bytes(),
                )
            })
        },
        "(SQLSTATE 42601)",
    ),
    (
        "the token said back",
        |path, _| {
            path.starts_with("/v1/database/roles/").then(|| {
                http(
                    "403 Forbidden",
                    "",
                    json!({"errors": [format!("token {TOKEN} may not")]}).to_string().as_bytes(),
                )
            })
        },
        "403",
    ),
    (
        "a page of a proxy",
        |path, _| path.starts_with("/v1/database/roles/").then(|| http("404 Not Found", "", b"<html>")),
        "404",
    ),
];

/// Reads a request: whether something is removed by it, its path, and its body.
fn request(stream: &mut TcpStream) -> (bool, String, String) {
    let mut read = Vec::new();
    let mut byte = [0_u8; 1];
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        read.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&read).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    let path = String::from_utf8_lossy(&read).split(' ').nth(1).unwrap_or_default().to_owned();
    (read.starts_with(b"DELETE"), path, String::from_utf8_lossy(&body).into_owned())
}

/// What a good one answers.
fn truth(path: &str, body: &str) -> Vec<u8> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    match path {
        "/v1/auth/token/lookup-self" => ok(&json!({"data": {
            "ttl": 3600, "creation_ttl": 3600, "renewable": true, "policies": ["holdpoint"], "num_uses": 0,
        }})),
        "/v1/sys/leases/lookup" => {
            let asked: Value = serde_json::from_str(body).unwrap();
            ok(&json!({"data": {"id": asked["lease_id"], "ttl": 59}}))
        }
        path if is_creds(path) => credentials(path, |_| ()),
        path if path.starts_with("/v1/sys/leases/revoke-prefix/") => http("204 No Content", "", b""),
        path if path.starts_with("/v1/database/roles/") && !body.is_empty() => {
            http("204 No Content", "", b"")
        }
        _ => nothing(),
    }
}

fn liar(lie: Lie) -> Server {
    Server::start(move |mut stream| {
        let (removes, path, body) = request(&mut stream);
        let done = || if removes { http("204 No Content", "", b"") } else { truth(&path, &body) };
        let answer = lie(&path, &body).unwrap_or_else(done);
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

#[tokio::test]
async fn inv12_t25_t27_nothing_that_openbao_says_is_believed_and_no_secret_repeated() {
    let postgres = Postgres::start().await;
    secret(&postgres.path("bao-token"), TOKEN);
    for (what, lie, why) in LIES {
        let server = liar(lie);
        let desk = desk(&postgres, spec(&postgres, server.address.port()));
        let made = desk.try_ticket(1, TERMINATE, NOBODY, 60_000).await.map(|ticket| ticket.login().0);
        let text = match made {
            Err(IssueError::Refused(text) | IssueError::Backend(text)) => text,
            other => panic!("{what}: {other:?}"),
        };
        assert!(text.contains(why), "{what}: {text}");
        assert!(!text.contains(TOKEN) && !text.contains(PASSWORD), "{what}: {text}");
    }
}

#[tokio::test]
async fn t20_no_redirection_is_followed_and_no_token_carried_anywhere() {
    let postgres = Postgres::start().await;
    secret(&postgres.path("bao-token"), TOKEN);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let trap = Server::start(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        let (_, path, body) = request(&mut stream);
        let _ = stream.write_all(&truth(&path, &body));
    });
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let address = trap.address;
        let there = Server::start(move |mut stream| {
            let (_, path, _) = request(&mut stream);
            let more = format!("Location: http://{address}{path}\r\n");
            let _ = stream.write_all(&http(status, &more, b""));
        });
        let desk = desk(&postgres, spec(&postgres, there.address.port()));
        let done = desk.issuer.held(&backend()).await;
        assert!(matches!(&done, Err(IssueError::Backend(why)) if why.contains(&status[..3])), "{done:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn inv08_a_revocation_that_is_said_and_not_done_is_not_believed() {
    let postgres = Postgres::start().await;
    secret(&postgres.path("bao-token"), TOKEN);
    // It says 204 to every revocation, and has the lease, or the definition, all the same.
    let keeps_lease: Lie = |path, _| {
        let path = path.strip_prefix("/v1/sys/leases/lookup/database/creds/")?;
        path.starts_with("hp_").then(|| ok(&json!({"data": {"keys": ["abc"]}})))
    };
    let keeps_definition: Lie = |path, body| {
        let is_role = path.starts_with("/v1/database/roles/hp_") && body.is_empty();
        is_role.then(|| ok(&json!({"data": {"db_name": "orders"}})))
    };
    for (lie, why) in
        [(keeps_lease, "still has 1 leases"), (keeps_definition, "still has the role definition")]
    {
        let server = liar(lie);
        let desk = desk(&postgres, spec(&postgres, server.address.port()));
        let lease = holdpoint_domain::Id::fresh("lease", 1).unwrap();
        let done = desk.issuer.revoke(Some(&backend()), &lease).await;
        assert!(matches!(&done, Err(IssueError::Backend(text)) if text.contains(why)), "{done:?}");
    }
    // It has forgotten all of it, and the database has not.
    let forgetful = liar(|_, _| None);
    let desk = desk(&postgres, spec(&postgres, forgetful.address.port()));
    let lease = holdpoint_domain::Id::fresh("lease", 1).unwrap();
    desk.issuer.revoke(Some(&backend()), &lease).await.unwrap();
    let admin = postgres.admin("shop").await;
    let gate = "SELECT substr(encode(sha256(convert_to('__ORIGIN__', 'UTF8')), 'hex'), 1, 8)";
    let gate = admin.word(&gate.replace("__ORIGIN__", crate::world::scene::ORIGIN)).await.unwrap();
    admin.run(&format!("CREATE ROLE hp_{gate}_{:032x} LOGIN", 1)).await.unwrap();
    assert_eq!(desk.issuer.held(&backend()).await.unwrap(), std::slice::from_ref(&lease));
    let done = desk.issuer.revoke(Some(&backend()), &lease).await;
    assert!(matches!(&done, Err(IssueError::Backend(_))), "{done:?}");
}
