//! HTTP and TCP probes against servers that answer, refuse, hang, drip, flood and lie.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use holdpoint_adapters::probe::WorldProber;
use holdpoint_app::port::Prober as _;
use holdpoint_domain::{
    target::{Address, Criticality, Endpoint, Service, Target},
    trigger::{Check, Condition, HttpExpect, Probe, Reading, Subject, TcpExpect, Truth, Why, agree},
};

use super::{
    server::{Server, full_queue, refusing},
    support::{StoppedClock, id, millis},
};

/// One prober for all: it reads the machine's certificates, and nothing is kept between measurements.
pub(crate) fn prober() -> &'static WorldProber {
    static PROBER: OnceLock<WorldProber> = OnceLock::new();
    PROBER.get_or_init(|| WorldProber::new(Arc::new(StoppedClock::new()), None).unwrap())
}

pub(crate) fn target(endpoints: &[(&str, &str, Address)]) -> Target {
    let endpoint = |(name, source, at): &(&str, &str, Address)| {
        (id(name), Endpoint { source: id(source), at: at.clone(), pin: None })
    };
    Target {
        id: id("web-1"),
        service: id("web"),
        executor: id("process"),
        endpoints: endpoints.iter().map(endpoint).collect(),
        labels: [].into(),
        shares: [].into(),
    }
}

pub(crate) fn condition(needs: u32, probes: Vec<Probe>) -> Condition {
    Condition { id: id("hung"), title: "a test".to_owned(), needs, probes }
}

pub(crate) fn probe(endpoint: &str, timeout_ms: u64, check: Check) -> Probe {
    Probe { endpoint: id(endpoint), timeout_ms: millis(timeout_ms), check }
}

/// The service of the targets here.
pub(crate) fn service() -> Service {
    Service {
        id: id("web"),
        environment: id("production"),
        owner: id("web-team"),
        criticality: Criticality::Medium,
        data_classes: [].into(),
        data_domain: None,
        backup_of: [].into(),
        stateless: true,
        depends_on: [].into(),
        dependents: [].into(),
    }
}

/// What a prober reads of a target.
pub(crate) async fn measure(prober: &WorldProber, condition: &Condition, target: &Target) -> Vec<Reading> {
    prober.measure(condition, Subject { target, service: &service() }).await
}

/// One probe of one address.
pub(crate) async fn read(check: Check, at: Address, timeout_ms: u64) -> Reading {
    let (condition, target) = (condition(1, vec![probe("e", timeout_ms, check)]), target(&[("e", "s", at)]));
    let begun = Instant::now();
    let mut readings = measure(prober(), &condition, &target).await;
    assert!(begun.elapsed() < Duration::from_millis(timeout_ms + 1000), "took {:?}", begun.elapsed());
    assert_eq!(readings.len(), 1);
    readings.remove(0)
}

/// The limit where an answer is expected, long enough for a busy machine.
const ANSWERS_MS: u64 = 3000;
/// The limit where none is expected.
const SILENT_MS: u64 = 300;

/// What an address says to each expectation: `unanswered`, `ok`, `server_error`.
async fn http(url: &str, limit_ms: u64) -> ([Truth; 3], Why) {
    let ask = |expect| probe("e", limit_ms, Check::Http { expect });
    let probes = [HttpExpect::Unanswered, HttpExpect::Ok, HttpExpect::ServerError].map(ask);
    let target = target(&[("e", "s", Address::Url(url.to_owned()))]);
    let begun = Instant::now();
    let readings = measure(prober(), &condition(1, probes.into()), &target).await;
    assert!(begun.elapsed() < Duration::from_millis(limit_ms + 1000), "{url}: took {:?}", begun.elapsed());
    let why = readings[0].why;
    for reading in &readings {
        assert_eq!((reading.why, reading.value, reading.age_ms), (why, None, millis(0)), "{url}");
    }
    let truths: Vec<_> = readings.iter().map(|reading| reading.truth).collect();
    (truths.try_into().unwrap(), why)
}

/// A name that no name service is asked for: it is too long to be one.
fn no_name(before: &str, after: &str) -> String {
    format!("{before}{}.invalid{after}", "x".repeat(300))
}

use Truth::{DoesNotHold as No, Holds as Yes, Indeterminate as Unknown};

#[tokio::test]
async fn the_http_table() {
    let answered = [
        ("200 OK", [No, Yes, No]),
        ("204 No Content", [No, Yes, No]),
        ("299 Odd", [No, Yes, No]),
        ("301 Moved\r\nLocation: http://127.0.0.1:1/", [No, No, No]),
        ("304 Not Modified", [No, No, No]),
        ("404 Not Found", [No, No, No]),
        ("429 Too Many Requests", [No, No, No]),
        ("500 Internal Server Error", [No, No, Yes]),
        ("503 Service Unavailable", [No, No, Yes]),
    ];
    for (status, truths) in answered {
        let server = Server::status(status, "");
        assert_eq!(http(&server.url(), ANSWERS_MS).await, (truths, Why::Measured), "{status}");
    }
    assert_eq!(http(&Server::hang().url(), SILENT_MS).await, ([Yes, No, Unknown], Why::TimedOut));
    let refused = format!("http://{}/", refusing());
    // What is down does not hang: somebody may have stopped it on purpose.
    assert_eq!(http(&refused, ANSWERS_MS).await, ([No, No, Unknown], Why::Refused));
}

#[tokio::test]
async fn a_slow_answer_is_no_answer() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Slow: ",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 500 Slow\r\nContent-Length: 100000\r\n\r\n",
    ];
    for head in heads {
        assert_eq!(
            http(&Server::drip(head).url(), SILENT_MS).await,
            ([Yes, No, Unknown], Why::TimedOut),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_proves_nothing() {
    let big = "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";
    let cases: [(&str, Server, Why); 8] = [
        ("not HTTP", Server::answer("SSH-2.0-OpenSSH_9.9\r\n\r\n"), Why::Garbage),
        ("a version nobody knows", Server::answer("HTTP/7.3 200 OK\r\n\r\n"), Why::Garbage),
        (
            "lengths that contradict",
            { Server::answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab") },
            Why::Garbage,
        ),
        ("a flood of header", Server::flood("HTTP/1.1 200 OK\r\nX: "), Why::Garbage),
        ("100 MiB", Server::flood(big), Why::Garbage),
        ("a flood without length", Server::flood("HTTP/1.1 200 OK\r\n\r\n"), Why::Garbage),
        ("closed at once", Server::answer(""), Why::Broken),
        ("cut off", Server::answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Why::Broken),
    ];
    for (what, server, why) in cases {
        let (truths, got) = http(&server.url(), ANSWERS_MS).await;
        assert_eq!(truths, [Unknown; 3], "{what}");
        // The HTTP library does not say of everything in which way it was broken.
        assert!(got == why || (why == Why::Garbage && got == Why::Broken), "{what}: {got:?}");
    }
}

#[tokio::test]
async fn what_we_cannot_ask_is_our_fault() {
    for url in ["", "web-1", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", &no_name("http://", "/")] {
        assert_eq!(http(url, ANSWERS_MS).await, ([Unknown; 3], Why::OurFault), "{url}");
    }
}

#[tokio::test]
async fn t34_no_redirect_is_followed() {
    let secret = Server::status("200 OK", "secret");
    let location = format!("302 Found\r\nLocation: {}", secret.url());
    let reading =
        read(Check::Http { expect: HttpExpect::Ok }, Address::Url(Server::status(&location, "").url()), 1000)
            .await;
    assert_eq!((reading.truth, reading.why), (No, Why::Measured));
    assert_eq!(secret.taken(), 0);
}

#[tokio::test]
async fn each_measurement_is_one_request() {
    let server = Server::status("200 OK", "");
    read(Check::Http { expect: HttpExpect::Ok }, Address::Url(server.url()), 1000).await;
    assert_eq!(server.taken(), 1);
    // Broken off: not tried again.
    let broken = Server::answer("");
    read(Check::Http { expect: HttpExpect::Ok }, Address::Url(broken.url()), 1000).await;
    assert_eq!(broken.taken(), 1);
}

#[tokio::test]
async fn a_full_queue_on_this_machine_is_a_program_that_hangs() {
    let (listener, _waiting) = full_queue().await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    assert_eq!(http(&url, SILENT_MS).await, ([Yes, No, Unknown], Why::TimedOut));
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let open = read(Check::Tcp { expect: TcpExpect::Open }, address.clone(), 200).await;
    assert_eq!((open.truth, open.why), (No, Why::TimedOut));
    let refused = read(Check::Tcp { expect: TcpExpect::Refused }, address, 200).await;
    assert_eq!((refused.truth, refused.why), (Unknown, Why::TimedOut));
}

#[tokio::test]
async fn the_tcp_table() {
    let server = Server::hang();
    let cases = [
        (server.address.to_string(), [Yes, No], Why::Measured),
        (refusing().to_string(), [No, Yes], Why::Refused),
        (format!("localhost:{}", server.address.port()), [Yes, No], Why::Measured),
        ("".to_owned(), [Unknown; 2], Why::OurFault),
        ("127.0.0.1".to_owned(), [Unknown; 2], Why::OurFault),
        ("127.0.0.1:".to_owned(), [Unknown; 2], Why::OurFault),
        ("127.0.0.1:99999".to_owned(), [Unknown; 2], Why::OurFault),
        (":80".to_owned(), [Unknown; 2], Why::OurFault),
        (no_name("", ":80"), [Unknown; 2], Why::OurFault),
    ];
    for (address, truths, why) in cases {
        for (expect, truth) in [TcpExpect::Open, TcpExpect::Refused].into_iter().zip(truths) {
            let reading = read(Check::Tcp { expect }, Address::Tcp(address.clone()), 2000).await;
            assert_eq!((reading.truth, reading.why), (truth, why), "{expect:?} at {address:?}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_of_another_kind_or_none_is_no_endpoint() {
    let server = Server::status("200 OK", "");
    let (http, tcp) = (Check::Http { expect: HttpExpect::Ok }, Check::Tcp { expect: TcpExpect::Open });
    let kinds = [
        (http.clone(), Address::Tcp(server.address.to_string())),
        (http.clone(), Address::Unit(id("web-1"))),
        (tcp.clone(), Address::Url(server.url())),
        (tcp, Address::Unit(id("web-1"))),
    ];
    for (check, at) in kinds {
        let reading = read(check.clone(), at.clone(), 1000).await;
        assert_eq!((reading.truth, reading.why), (Unknown, Why::NoEndpoint), "{check:?} at {at:?}");
    }
    let condition = condition(1, vec![probe("absent", 1000, http)]);
    let readings = measure(prober(), &condition, &target(&[])).await;
    assert_eq!(readings.len(), 1);
    assert_eq!((readings[0].truth, readings[0].why), (Unknown, Why::NoEndpoint));
    assert_eq!(server.taken(), 0);
}

#[tokio::test]
async fn n_of_m_at_once() {
    let (up, hung) = (Server::status("200 OK", ""), Server::hang());
    let url = |server: &Server| Address::Url(server.url());
    let target = target(&[
        ("a", "first", url(&hung)),
        ("b", "second", url(&hung)),
        ("c", "third", url(&up)),
        ("d", "first", url(&up)),
    ]);
    let hung_at = |endpoint: &str| probe(endpoint, 500, Check::Http { expect: HttpExpect::Unanswered });
    let truth = async |needs: u32, endpoints: &[&str]| {
        let condition = condition(needs, endpoints.iter().map(|endpoint| hung_at(endpoint)).collect());
        let readings = measure(prober(), &condition, &target).await;
        let asked: Vec<_> = readings.iter().map(|reading| reading.endpoint.as_str()).collect();
        assert_eq!(asked, endpoints, "one reading a probe, in their order");
        agree(needs, &readings).truth
    };
    assert_eq!(truth(2, &["a", "b"]).await, Yes);
    assert_eq!(truth(2, &["a", "b", "c"]).await, Yes);
    assert_eq!(truth(2, &["a", "c"]).await, Unknown);
    assert_eq!(truth(1, &["c"]).await, No);
    // One source that contradicts itself counts as none.
    assert_eq!(truth(2, &["a", "b", "d"]).await, Unknown);
    assert_eq!(truth(2, &["a", "absent"]).await, Unknown);

    // Sixteen probes that hang take as long as one.
    let begun = Instant::now();
    let sixteen = condition(1, vec![hung_at("a"); 16]);
    assert_eq!(measure(prober(), &sixteen, &target).await.len(), 16);
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}
