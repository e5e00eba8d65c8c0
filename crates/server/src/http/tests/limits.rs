//! Limits, and everything that is refused before it means anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Method, Request, header},
};
use futures_util::stream;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::bench::{Bench, HOST, plan, request};
use crate::http::{Limits, body::MAX_BODY_BYTES, connection, serve};

const OWN: &str = "agent.own.decide";

fn raw(body: impl Into<Body>) -> Request<Body> {
    let mut request = request(Method::POST, "/v1/plans", OWN, None);
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = body.into();
    request
}

/// A body without an end, and how much of it was read.
fn endless() -> (Body, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let chunks = stream::repeat_with(move || {
        counter.fetch_add(1_024, Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b' '; 1_024]))
    });
    (Body::from_stream(chunks), read)
}

#[tokio::test]
async fn t30_hostile_json_is_refused() {
    let bench = Bench::new().await;
    let deep = "[".repeat(100_000);
    let deep_objects = r#"{"a":"#.repeat(50_000);
    let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("[{}1]", "1,".repeat(100_000));
    let names: Vec<_> = (0..20_000).map(|number| format!("\"k{number}\":1")).collect();
    let many = format!("{{{}}}", names.join(","));
    let twice =
        r#"{"action":"process.restart","target":"worker-1","trigger":"process.hung","target":"worker-2"}"#;
    let twice_escaped =
        r#"{"action":"process.restart","target":"worker-1","trigger":"process.hung","t\u0061rget":"x"}"#;
    let twice_inside =
        r#"{"action":"process.restart","target":"worker-1","trigger":"process.hung","params":{"a":1,"a":2}}"#;
    let cases = [
        (deep.as_str(), "recursion limit"),
        (&deep_objects, "recursion limit"),
        (&closed, "recursion limit"),
        (&wide, "at most 512 values"),
        (&many, "at most 512 values"),
        (twice, "twice"),
        (twice_escaped, "twice"),
        (twice_inside, "twice"),
        ("", "EOF"),
        ("{", "EOF"),
        ("{} {}", "trailing"),
        ("{}x", "trailing"),
        ("nul", "expected"),
        ("\u{feff}{}", "expected"),
        ("1e999", "number out of range"),
        (r#"{"action":"\ud800"}"#, "unexpected end of hex escape"),
    ];
    for (body, said) in cases {
        let problem = bench.answer(raw(body.to_owned())).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (400, "bad-body"), "{}", problem.detail);
        let start = body.chars().take(40).collect::<String>();
        assert!(problem.detail.contains(said), "expected `{said}` in {} for {start}", problem.detail);
    }
    let problem = bench.answer(raw(vec![b'"', 0xff, b'"'])).await.problem();
    assert_eq!(problem.rule, "bad-body");
    assert_eq!(bench.count("proposed"), 0);
}

#[tokio::test]
async fn t30_no_body_is_read_beyond_its_limit_nor_before_its_sender_is_known() {
    let bench = Bench::new().await;
    let (body, read) = endless();
    let problem = bench.answer(raw(body)).await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (413, "body-too-large"));
    assert!(read.load(Ordering::SeqCst) <= MAX_BODY_BYTES + 2 * 1_024);

    let (body, read) = endless();
    let mut nobody = raw(body);
    nobody.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(bench.answer(nobody).await.problem().status, 401);
    assert_eq!(read.load(Ordering::SeqCst), 0);

    let (body, read) = endless();
    let mut announced = raw(body);
    announced.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1073741824"));
    assert_eq!(bench.answer(announced).await.problem().status, 413);
    assert_eq!(read.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let bench = Bench::new().await;
    let body = plan("cache.drop", "worker-1").to_string();
    let cases = [
        (Some("application/json"), 202),
        (Some("Application/JSON; charset=UTF-8"), 202),
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/json; charset=utf-16"), 415),
        (Some("application/jsonp"), 415),
        (Some("application/problem+json"), 415),
        (Some("text/plain; application/json"), 415),
    ];
    for (kind, status) in cases {
        let mut request = raw(body.clone());
        request.headers_mut().remove(header::CONTENT_TYPE);
        if let Some(kind) = kind {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        assert_eq!(bench.answer(request).await.status, status, "{kind:?}");
    }
    let mut twice = raw(body.clone());
    twice.headers_mut().append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert_eq!(bench.answer(twice).await.problem().status, 415);
    let mut packed = raw(body);
    packed.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(bench.answer(packed).await.problem().status, 415);
}

#[tokio::test]
async fn t19_a_token_comes_once_and_in_one_place() {
    let bench = Bench::new().await;
    let with = |values: &[&str]| {
        let mut request = request(Method::GET, "/v1/plans", "", None);
        for value in values {
            request.headers_mut().append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        request
    };
    assert_eq!(bench.answer(with(&["Bearer person.alice"])).await.status, 200);
    let cases: [&[&str]; 7] = [
        &[],
        &["Bearer person.alice", "Bearer person.alice"],
        &["Bearer person.alice", "Bearer person.bob"],
        &["Bearer person.alice, Bearer person.bob"],
        &["person.alice"],
        &["Basic cGVyc29uOmFsaWNl"],
        &["Bearer "],
    ];
    for values in cases {
        let problem = bench.answer(with(values)).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (401, "unauthenticated"), "{values:?}");
    }
    let problem = bench.answer(with(&["Bearer nonsense"])).await.problem();
    assert_eq!(problem.rule, "invalid-token");
    assert!(
        problem.detail.contains("\\u{202E}") && !problem.detail.contains("nonsense"),
        "{}",
        problem.detail
    );
}

#[tokio::test]
async fn t34_another_name_is_misdirected() {
    let bench = Bench::new().await;
    let ask = |uri: &str, hosts: &[&str]| {
        let mut request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        for host in hosts {
            request.headers_mut().append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        request
    };
    for host in [HOST, "gate.test:7117", "GATE.test"] {
        assert_eq!(bench.answer(ask("/healthz", &[host])).await.status, 200, "{host}");
    }
    let absolute = format!("http://{HOST}/healthz");
    assert_eq!(bench.answer(ask(&absolute, &[HOST])).await.status, 200);
    let bad: [(&str, &[&str]); 6] = [
        ("/healthz", &[]),
        ("/healthz", &["evil.example"]),
        ("/healthz", &[HOST, HOST]),
        ("/healthz", &["evil@gate.test"]),
        ("http://evil.example/healthz", &[HOST]),
        (&absolute, &["evil.example"]),
    ];
    for (uri, hosts) in bad {
        let problem = bench.answer(ask(uri, hosts)).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (421, "misdirected"), "{uri} at {hosts:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let bench = Bench::new().await;
    for path in ["/", "/v1", "/v1/", "/v2/plans", "/v1/plans/a/b", "/metrics", "/%E2%80%AE"] {
        let problem = bench.get(path, "person.alice").await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (404, "no-such-path"), "{path}");
        assert!(!problem.detail.contains('\u{202e}'));
    }
    for (method, path) in
        [("DELETE", "/v1/plans"), ("PUT", "/v1/keys"), ("OPTIONS", "/v1/plans"), ("BREW", "/healthz")]
    {
        let request = request(method.parse().unwrap(), path, "person.alice", None);
        let answer = bench.answer(request).await;
        assert_eq!(
            (answer.status, answer.problem().rule.as_str()),
            (405, "no-such-method"),
            "{method} {path}"
        );
        assert!(answer.headers.contains_key(header::ALLOW), "{method} {path}");
    }
}

#[tokio::test]
async fn a_full_house_turns_away_at_once() {
    let bench = Bench::with(Limits { requests: 0, ..Limits::default() }, &[]).await;
    let problem = bench.get("/healthz", "").await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (503, "too-busy"));
    let bench = Bench::with(Limits { people: 0, ..Limits::default() }, &[]).await;
    let problem = bench.get("/v1/plans", "person.alice").await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (503, "too-busy"));
}

#[tokio::test]
async fn t30_bodies_that_never_come_keep_nobody_out() {
    const SENDERS: usize = 8;
    let limits = Limits { requests: 1, people: 1, body: Duration::MAX, ..Limits::default() };
    let bench = Bench::with(limits, &[]).await;
    let waited_for = Arc::new(AtomicUsize::new(0));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        for token in [OWN, "person.bob"] {
            let counter = Arc::clone(&waited_for);
            let mut polled = false;
            let never = stream::poll_fn(move |_| {
                counter.fetch_add(usize::from(!std::mem::replace(&mut polled, true)), Ordering::SeqCst);
                std::task::Poll::<Option<Result<Bytes, std::convert::Infallible>>>::Pending
            });
            let mut request = raw(Body::from_stream(never));
            let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
            senders.spawn(bench.router.clone().oneshot(request));
        }
    }
    while waited_for.load(Ordering::SeqCst) < 2 * SENDERS {
        tokio::task::yield_now().await;
    }
    for token in ["person.alice", "agent.other.decide", OWN] {
        assert_eq!(bench.get("/v1/plans", token).await.status, 200, "{token}");
    }
    assert_eq!(bench.get("/healthz", "").await.status, 200);
    assert!(senders.try_join_next().is_none(), "they were still waiting");
}

#[tokio::test]
async fn t30_a_body_comes_in_time_or_not_at_all() {
    let bench = Bench::with(Limits { body: Duration::from_millis(10), ..Limits::default() }, &[]).await;
    // Never, and always a little more: it is the whole body that counts.
    let never = stream::pending::<Result<Bytes, std::convert::Infallible>>();
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")), ()))
    });
    for body in [Body::from_stream(never), Body::from_stream(trickle)] {
        let problem = bench.answer(raw(body)).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (408, "body-too-slow"));
    }
    assert_eq!(bench.count("proposed"), 0);
}

#[tokio::test]
async fn t30_a_header_that_never_ends_keeps_nobody_out() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits =
        connection::Limits { connections: 1, header: Duration::from_millis(50), ..Default::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(connection::serve(listener, bench.router.clone(), limits, None, async {
        let _ = stopped.await;
    }));
    // First in the queue, so it has the only place. It never stands still.
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.unwrap();
    let slow = tokio::spawn(async move {
        // As many bytes as a hundred limits, so that a failure ends too.
        for _ in 0..5_000 {
            if slow.write_all(b"x").await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    });
    let mut other = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    other.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Its connection is kept for a next request, which does not come in time either.
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(slow.await.unwrap(), "the slow one was cut off");
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn t38_a_proposal_that_takes_too_long_is_not_left_half_done() {
    let go = Arc::new(Notify::new());
    let limits = Limits { timeout: Duration::from_millis(10), requests: 1, ..Limits::default() };
    let bench = Bench::slow(limits, Arc::clone(&go)).await;
    let answer = bench.post("/v1/plans", OWN, &plan("process.restart", "worker-1")).await;
    let problem = answer.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (504, "too-slow"));
    assert!(problem.next.contains("it may still happen"), "{}", problem.next);
    // It goes on, and keeps its place until it is done.
    assert_eq!(bench.get("/healthz", "").await.problem().rule, "too-busy");
    // People have places of their own.
    assert_eq!(bench.get("/v1/holds", "person.alice").await.status, 200);
    while bench.count("claimed") == 0 {
        go.notify_one();
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.count("proposed"), 1);
    assert_eq!(bench.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn it_serves_and_stops() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, bench.router.clone(), async {
        let _ = stopped.await;
    }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("{\"status\":\"ok\",\"size\":2}"), "{answer}");
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}
