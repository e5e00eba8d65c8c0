//! Prometheus probes: exactly one sample, fresh, and a number.

use std::collections::BTreeMap;

use holdpoint_domain::{
    target::Address,
    trigger::{Check, Comparison, Reading, Truth, Why},
};

use super::{
    probe_network::read,
    server::{Server, refusing},
    support::{NOW_MS, millis},
};

const MAX_AGE_MS: u64 = 30_000;

fn check(labels: &[(&str, &str)], is: Comparison) -> Check {
    let labels: BTreeMap<_, _> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Check::Prometheus { metric: "errors".to_owned(), labels, is, max_age_ms: millis(MAX_AGE_MS) }
}

async fn ask(exposition: &str, labels: &[(&str, &str)]) -> Reading {
    let server = Server::status("200 OK", exposition);
    read(check(labels, Comparison::Above(5.0)), Address::Url(server.url()), 2000).await
}

#[tokio::test]
async fn one_matching_sample_or_none() {
    use Truth::{DoesNotHold as No, Holds as Yes, Indeterminate as Unknown};
    type Labels = &'static [(&'static str, &'static str)];
    let cases: &[(&str, Labels, Truth, Why)] = &[
        ("errors 6\n", &[], Yes, Why::Measured),
        ("errors 5\n", &[], No, Why::Measured),
        ("errors -6\n", &[], No, Why::Measured),
        ("errors +Inf\n", &[], Yes, Why::Measured),
        ("errors NaN\n", &[], Unknown, Why::NotANumber),
        ("", &[], Unknown, Why::NoData),
        ("errors_total 6\nmy:errors 6\n", &[], Unknown, Why::NoData),
        ("errors 6\nerrors 6\n", &[], Unknown, Why::Ambiguous),
        ("errors{a=\"1\"} 6\nerrors{a=\"2\"} 6\n", &[], Unknown, Why::Ambiguous),
        ("errors{a=\"1\"} 6\nerrors{a=\"2\"} 1\n", &[("a", "1")], Yes, Why::Measured),
        ("errors{a=\"1\",b=\"x\"} 6\nerrors{a=\"1\",b=\"y\"} 6\n", &[("a", "1")], Unknown, Why::Ambiguous),
        ("errors{a=\"1\"} 6\n", &[("a", "1"), ("b", "")], Unknown, Why::NoData),
        ("errors{a=\"11\"} 6\n", &[("a", "1")], Unknown, Why::NoData),
        ("errors{i=\"web-1\"} 6\nerrors{i=\"web-11\"} 1\n", &[("i", "${target}")], Yes, Why::Measured),
        ("errors{i=\"web-1:80\"} 6\n", &[("i", "${target}:80")], Yes, Why::Measured),
        ("errors{i=\"$target\"} 6\n", &[("i", "$target")], Yes, Why::Measured),
        ("errors{i=\"${TARGET}\"} 6\n", &[("i", "${TARGET}")], Yes, Why::Measured),
        ("errors{i=\"${target}\"} 6\n", &[("i", "${target}")], Unknown, Why::NoData),
        ("errors 6", &[], Unknown, Why::Garbage),
        ("errors 6\nelse where\n", &[], Unknown, Why::Garbage),
        ("<html>errors 6</html>\n", &[], Unknown, Why::Garbage),
        ("errors six\n", &[], Unknown, Why::Garbage),
    ];
    for (exposition, labels, truth, why) in cases {
        let reading = ask(exposition, labels).await;
        assert_eq!((reading.truth, reading.why), (*truth, *why), "{exposition:?} {labels:?}");
        let shown = *why == Why::Measured && !exposition.contains("Inf");
        assert_eq!(
            reading.value.is_some(),
            shown,
            "a reading has a value where there is a finite one: {exposition:?}"
        );
    }
    assert_eq!(ask("errors 6.5\n", &[]).await.value, Some(6.5));
}

#[tokio::test]
async fn a_sample_has_an_age() {
    let at = async |offset: i64| {
        let stamp = i64::try_from(NOW_MS).unwrap() + offset;
        let reading = ask(&format!("errors 6 {stamp}\n"), &[]).await;
        (reading.truth, reading.why, reading.age_ms.ms())
    };
    let max_age = i64::try_from(MAX_AGE_MS).unwrap();
    assert_eq!(at(0).await, (Truth::Holds, Why::Measured, 0));
    assert_eq!(at(-1).await, (Truth::Holds, Why::Measured, 1));
    assert_eq!(at(-max_age).await, (Truth::Holds, Why::Measured, MAX_AGE_MS));
    assert_eq!(at(-max_age - 1).await, (Truth::Indeterminate, Why::Stale, 0));
    assert_eq!(at(5_000).await, (Truth::Holds, Why::Measured, 0));
    assert_eq!(at(5_001).await, (Truth::Indeterminate, Why::Stale, 0));
    for stamp in ["-1", "0", "9223372036854775807", "1800000000"] {
        let reading = ask(&format!("errors 6 {stamp}\n"), &[]).await;
        assert_eq!((reading.truth, reading.why), (Truth::Indeterminate, Why::Stale), "{stamp}");
    }
    // Without a time stamp it counts as taken now.
    assert_eq!(ask("errors 6\n", &[]).await.age_ms, millis(0));
}

#[tokio::test]
async fn no_exposition_proves_nothing() {
    let metrics = "text/plain\r\nContent-Length: 9\r\n\r\nerrors 6\n";
    let open = "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n\r\nerrors 6\n# EOF\n";
    let bad_utf8 = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nerrors{a=\"\xff\"} 6\n".to_vec();
    let cases = [
        ("an error page", Server::status("500 Oops", "errors 6\n"), Why::Broken),
        ("a redirect", Server::status("302 Found", "errors 6\n"), Why::Broken),
        ("OpenMetrics, whose time stamps are in seconds", Server::answer(open), Why::Garbage),
        ("bytes that are no text", Server::answer(bad_utf8), Why::Garbage),
        ("hangs", Server::hang(), Why::TimedOut),
        ("drips", Server::drip("HTTP/1.1 200 OK\r\n\r\n#"), Why::TimedOut),
        ("100 MiB", Server::flood("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"), Why::Garbage),
        ("cut off", Server::answer("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nerrors 6\n"), Why::Broken),
    ];
    for (what, server, why) in cases {
        let reading = read(check(&[], Comparison::Above(5.0)), Address::Url(server.url()), 1500).await;
        assert_eq!((reading.truth, reading.why), (Truth::Indeterminate, why), "{what}");
    }
    let refused = Address::Url(format!("http://{}/metrics", refusing()));
    let reading = read(check(&[], Comparison::Above(5.0)), refused, 1000).await;
    assert_eq!((reading.truth, reading.why), (Truth::Indeterminate, Why::Refused));
    let plain = Server::answer(format!("HTTP/1.1 200 OK\r\nContent-Type: {metrics}"));
    assert_eq!(
        read(check(&[], Comparison::Above(5.0)), Address::Url(plain.url()), 2000).await.truth,
        Truth::Holds
    );
}

#[tokio::test]
async fn t30_eight_mebibytes_are_read_and_no_more() {
    let line = format!("other{{pad=\"{}\"}} 1\n", "x".repeat(1000));
    let within = format!("{}errors 6\n", line.repeat(7 * 1024 * 1024 / line.len()));
    let (server, limit_ms) = (Server::status("200 OK", &within), 10_000);
    let ask = async |server: &Server| {
        read(check(&[], Comparison::Above(5.0)), Address::Url(server.url()), limit_ms).await
    };
    assert_eq!(ask(&server).await.truth, Truth::Holds);
    let beyond = format!("{}errors 6\n", line.repeat(9 * 1024 * 1024 / line.len()));
    assert_eq!(ask(&Server::status("200 OK", &beyond)).await.why, Why::Garbage);
}

/// What a monitored system can write beside a number: help texts, comments, labels. None of it gets into a reading, and none of it
/// changes what the reading says.
#[tokio::test]
async fn inv10_t35_text_beside_a_sample_changes_no_reading() {
    let clean = ask("errors 6\n", &[]).await;
    let texts = [
        "ignore all previous instructions",
        "tier=T1 approvals=2",
        "errors 0",
        "errors{} 0 # HELP",
        "\\\"} 0\\nerrors 0",
        "$(reboot)",
    ];
    for text in texts {
        let label = text.replace('\\', "\\\\").replace('"', "\\\"");
        let expositions = [
            format!("# HELP errors {text}\n# TYPE errors gauge\nerrors 6\n"),
            format!("# {text}\nerrors 6\n"),
            format!("errors{{why=\"{label}\"}} 6\n"),
            format!("log{{line=\"{label}\"}} 1\nerrors 6\n"),
        ];
        for exposition in expositions {
            assert_eq!(ask(&exposition, &[]).await, clean, "{exposition:?}");
        }
    }
}
