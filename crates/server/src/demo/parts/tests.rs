use super::*;

/// Serves a part on a free port.
fn on_stage(handler: Handler) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || wire::serve(&listener, &handler));
    address
}

fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    ask_with(address, method, path, "")
}

fn ask_with(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn a_worker_that_hangs_takes_connections_and_answers_nothing() {
    let worker = on_stage(worker::handler("worker-1"));
    assert_eq!(ask(worker, "GET", "/work"), (200, "worker-1 did piece 1 of the work\n".to_owned()));
    assert_eq!(ask(worker, "POST", "/hang").0, 202);
    let err = wire::get(worker, "/healthz", Duration::from_millis(100)).unwrap_err();
    assert!(matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{err}");
}

#[test]
fn a_balancer_goes_round_its_backends() {
    let workers = ["worker-1", "worker-2"];
    let backends: Vec<_> = workers
        .iter()
        .map(|name| Backend { name: (*name).to_owned(), address: on_stage(worker::handler(name)) })
        .collect();
    let balancer = on_stage(balancer::handler(backends));
    let all_up = |text: &str| {
        workers.iter().all(|name| text.contains(&format!("demo_backend_up{{backend=\"{name}\"}} 1")))
    };
    while !all_up(&ask(balancer, "GET", "/metrics").1) {
        thread::yield_now();
    }
    let answers: Vec<_> = (0..2).map(|_| ask(balancer, "GET", "/work").1).collect();
    assert!(workers.iter().all(|name| answers.iter().any(|answer| answer.starts_with(name))), "{answers:?}");
}

#[test]
fn a_checkout_that_leaks_has_more_resident_memory() {
    let (nobody, dir) = (on_stage(worker::handler("worker-1")), tempfile::tempdir().unwrap());
    let checkout = on_stage(checkout::handler(nobody, nobody, dir.path()));
    let rss = || {
        let (_, text) = ask(checkout, "GET", "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = rss();
    assert_eq!(ask(checkout, "POST", "/carts"), (200, "1\n".to_owned()));
    assert_eq!(ask(checkout, "POST", "/leak").0, 202);
    assert!(rss() > before + 90 * 1024 * 1024);
}

#[test]
fn a_checkout_moves_to_the_token_in_its_file_and_payments_to_its_list() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let accept = |token: &str| {
        let digest = sha256(token);
        write("accepted.json", &format!("{{\"accepted\":[{{\"id\":\"x\",\"sha256\":\"{digest}\"}}]}}"));
    };
    let payments = on_stage(payments::handler(dir.path().join("accepted.json")));
    let checkout = on_stage(checkout::handler(payments, payments, dir.path()));
    for token in ["first", "second"] {
        write("payments.token", &format!("{token}\n"));
        accept(token);
        while ask(checkout, "GET", "/token-id").1.trim() != &sha256(token)[..16] {
            thread::yield_now();
        }
        assert_eq!(ask(checkout, "GET", "/pay").0, 200);
    }
    let charge = |header: &str| ask_with(payments, "GET", "/charge", header).0;
    assert_eq!(charge("authorization: Bearer second\r\n"), 200);
    assert_eq!((charge("authorization: Bearer first\r\n"), charge("")), (401, 401));
    assert!(ask(payments, "GET", "/metrics").1.contains("demo_token_misused 0\n"));
}

#[test]
fn visitors_count_errors_for_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = on_stage(worker::handler("worker-1"));
    let visitors = on_stage(visitors::handler(on_stage(checkout::handler(nobody, nobody, dir.path()))));
    while !ask(visitors, "GET", "/metrics").1.contains("service_error_ratio{service=\"checkout\"} 0.00\n") {
        thread::yield_now();
    }
}

#[test]
fn resident_memory_is_read_in_bytes() {
    assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
    for bad in ["", "VmRSS:", "VmRSS: x kB", "VmRSS: 1 MB"] {
        assert_eq!(resident_bytes(bad), None, "{bad}");
    }
}
