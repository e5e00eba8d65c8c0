//! Answers that a real Prometheus cannot be made to give, from servers that give nothing else.

use holdpoint_domain::{
    target::Address,
    trigger::{Check, PromqlCheck, Truth, Why},
};

use super::{promql, read, real::now_ms, said, target_at};
use crate::world::{
    probe_network::{condition, measure, probe, target},
    server::{Server, refusing},
    support::millis,
};

fn json(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn vector(at_ms: i64, value: &str) -> String {
    let at = at_ms as f64 / 1000.0;
    format!(r#"{{"resultType":"vector","result":[{{"metric":{{}},"value":[{at},"{value}"]}}]}}"#)
}

fn success(data: &str) -> String {
    json("200 OK", &format!(r#"{{"status":"success","data":{data}}}"#))
}

/// Says that the samples are there and young, and answers the query itself, which alone names a time, with this.
fn prometheus(answer: impl Fn(i64) -> String + Send + Sync + 'static) -> Server {
    Server::respond(move |_, body| {
        let Some((_, time)) = body.split_once("&time=") else {
            let now = now_ms();
            return success(&vector(now, &(now as f64 / 1000.0).to_string()));
        };
        answer((time.parse::<f64>().unwrap() * 1000.0).round() as i64)
    })
}

fn at(server: &Server) -> Address {
    Address::Url(format!("http://{}", server.address))
}

async fn ask(server: &Server) -> (Truth, Why) {
    said(&read(Check::Promql(promql("steady", "steady")), &target_at(at(server), &[])).await)
}

#[tokio::test]
async fn an_answer_that_is_not_whole_proves_nothing() {
    let with = |extra: &'static str| {
        prometheus(move |at| {
            json("200 OK", &format!(r#"{{"status":"success","data":{},{extra}}}"#, vector(at, "6")))
        })
    };
    let data = |data: &'static str| prometheus(move |_| success(data));
    let text = |text: &'static str| prometheus(move |_| text.to_owned());
    let series = r#"{"metric":{},"value":[1,"6"]}"#;
    let many = vec![series; 1001].join(",");
    let large = " ".repeat(2 * 1024 * 1024);
    let cases = [
        ("whole", with(r#""warnings":[],"infos":null"#), Why::Measured),
        ("a warning", with(r#""warnings":["x"]"#), Why::Partial),
        ("an info", with(r#""infos":["x"]"#), Why::Partial),
        ("a part", with(r#""isPartial":true"#), Why::Partial),
        ("no part", with(r#""isPartial":false"#), Why::Measured),
        ("two statuses", with(r#""status":"success""#), Why::Garbage),
        ("another time", prometheus(|at| success(&vector(at + 1000, "6"))), Why::Garbage),
        ("a hexadecimal number", prometheus(|at| success(&vector(at, "0x6"))), Why::Garbage),
        ("words for a number", prometheus(|at| success(&vector(at, "six"))), Why::Garbage),
        ("an infinity", prometheus(|at| success(&vector(at, "+Inf"))), Why::NotANumber),
        ("no series", data(r#"{"resultType":"vector","result":[]}"#), Why::NoData),
        ("no value", data(r#"{"resultType":"vector","result":[{"metric":{}}]}"#), Why::Garbage),
        (
            "a histogram",
            data(r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"6"}]}]}"#),
            Why::WrongType,
        ),
        ("a range", data(r#"{"resultType":"matrix","result":[]}"#), Why::WrongType),
        ("a type that is none", data(r#"{"resultType":"","result":[]}"#), Why::WrongType),
        ("no data", prometheus(|_| json("200 OK", r#"{"status":"success"}"#)), Why::Garbage),
        (
            "a refusal",
            prometheus(|_| {
                json("422 Unprocessable", r#"{"status":"error","errorType":"execution","error":"x"}"#)
            }),
            Why::Rejected,
        ),
        ("an error that says 200", prometheus(|_| json("200 OK", r#"{"status":"error"}"#)), Why::Rejected),
        (
            "a success that says 500",
            prometheus(|at| {
                json("500 Oops", &format!(r#"{{"status":"success","data":{}}}"#, vector(at, "6")))
            }),
            Why::Broken,
        ),
        ("an error page", text("HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>"), Why::Broken),
        ("a page", text("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"), Why::Garbage),
        ("a redirect", text("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), Why::Broken),
        ("cut off", text("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), Why::Broken),
        ("nothing", text(""), Why::Broken),
        (
            "too many series",
            prometheus(move |_| success(&format!(r#"{{"resultType":"vector","result":[{many}]}}"#))),
            Why::Ambiguous,
        ),
        ("too large", prometheus(move |at| success(&format!("{}{large}", vector(at, "6")))), Why::Garbage),
    ];
    for (what, server, why) in cases {
        let truth = if why == Why::Measured { Truth::Holds } else { Truth::Indeterminate };
        assert_eq!(ask(&server).await, (truth, why), "{what}");
    }
}

#[tokio::test]
async fn no_answer_in_time_proves_nothing() {
    let quick = |server: &Server| {
        let asked = condition(1, vec![probe("e", 500, Check::Promql(promql("steady", "steady")))]);
        let target = target(&[("e", "s", at(server))]);
        async move { said(&measure(&super::prober(), &asked, &target).await[0]) }
    };
    assert_eq!(quick(&Server::hang()).await, (Truth::Indeterminate, Why::TimedOut));
    let drips = Server::drip("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(
        quick(&drips).await,
        (Truth::Indeterminate, Why::TimedOut),
        "each byte in time, and never all"
    );
    let refused = target_at(Address::Url(format!("http://{}", refusing())), &[]);
    let reading = read(Check::Promql(promql("steady", "steady")), &refused).await;
    assert_eq!(said(&reading), (Truth::Indeterminate, Why::Refused));
    let secret = target_at(Address::Url("http://user:word@127.0.0.1:1".to_owned()), &[]);
    let reading = read(Check::Promql(promql("steady", "steady")), &secret).await;
    assert_eq!(said(&reading), (Truth::Indeterminate, Why::OurFault));
}

/// Both clocks count: the one of the observer, and Prometheus' own.
#[tokio::test]
async fn clocks_that_differ_leave_the_age_unknown() {
    for (skew_ms, why) in [(0, Why::Measured), (-60_000, Why::ClockSkew), (60_000, Why::ClockSkew)] {
        let server = Server::respond(move |_, body| {
            let now = now_ms() + skew_ms;
            match body.split_once("&time=") {
                None => success(&vector(now, &(now as f64 / 1000.0).to_string())),
                Some((_, time)) => {
                    success(&vector((time.parse::<f64>().unwrap() * 1000.0).round() as i64, "6"))
                }
            }
        });
        assert_eq!(ask(&server).await.1, why, "{skew_ms}");
    }
    // A sample from the future is no younger for it.
    let server = Server::respond(|_, _| {
        let now = now_ms();
        success(&vector(now, &((now + 60_000) as f64 / 1000.0).to_string()))
    });
    assert_eq!(ask(&server).await, (Truth::Indeterminate, Why::Stale));
}

/// Every byte that is asked is the catalogue's and the inventory's.
#[tokio::test]
async fn the_query_goes_out_as_a_form_that_ends_nowhere_early() {
    let server = prometheus(|at| success(&vector(at, "6")));
    let value = "a&time=0=%26+b";
    let check = PromqlCheck { max_age_ms: millis(1000), ..promql("steady{a=\"${label.nasty}\"}", "steady") };
    let reading = read(Check::Promql(check), &target_at(at(&server), &[("nasty", value)])).await;
    assert_eq!(said(&reading), (Truth::Holds, Why::Measured));
}
