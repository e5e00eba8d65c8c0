//! The stream of events.

use axum::{
    body::BodyDataStream,
    http::{HeaderValue, Method, header},
};
use futures_util::{FutureExt as _, StreamExt as _};

use super::bench::{Bench, plan, request};
use crate::http::Limits;

/// A stream that is being read.
struct Reading {
    chunks: BodyDataStream,
    text: String,
}

/// An event: id, kind and data.
type Event = (u64, String, String);

impl Reading {
    async fn open(bench: &Bench, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = request(Method::GET, path, "person.alice", None);
        if let Some(id) = last_event_id {
            request.headers_mut().insert("last-event-id", HeaderValue::from_str(id).unwrap());
        }
        let response = bench.send(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { chunks: response.into_body().into_data_stream(), text: String::new() }
    }

    async fn event(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                let event = (field("id").parse().unwrap(), field("event"), field("data"));
                self.text = rest.to_owned();
                return event;
            }
            let chunk = self.chunks.next().await.expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }
}

fn recorded(bench: &Bench) -> Vec<Event> {
    let event = |(index, (record, bytes)): (u64, (holdpoint_domain::record::Record, Vec<u8>))| {
        (index, record.body.word().to_owned(), String::from_utf8(bytes).unwrap())
    };
    (0..).zip(bench.store.records().into_iter().zip(bench.store.all_entries())).map(event).collect()
}

#[tokio::test]
async fn every_record_is_one_event_also_those_that_come_later() {
    let bench = Bench::new().await;
    bench.propose("own", "cache.drop", "worker-1").await;
    let mut reading = Reading::open(&bench, "/v1/events", None).await;
    let before = recorded(&bench);
    assert_eq!(reading.events(before.len()).await, before);

    bench.propose("own", "cache.drop", "worker-2").await;
    let all = recorded(&bench);
    assert!(all.len() > before.len());
    assert_eq!(reading.events(all.len() - before.len()).await, all[before.len()..]);
}

#[tokio::test]
async fn a_stream_is_resumed_where_it_ended() {
    let bench = Bench::new().await;
    for target in ["worker-1", "worker-2", "worker-3"] {
        for _ in 0..5 {
            bench.propose("own", "cache.drop", target).await;
        }
    }
    let all = recorded(&bench);
    let last = all.len() - 1;
    let cases = [
        ("/v1/events?after=0".to_owned(), None, 1),
        ("/v1/events?after=3".to_owned(), None, 4),
        // More than one batch, and the header counts before the query.
        ("/v1/events?after=3".to_owned(), Some("1".to_owned()), 2),
        ("/v1/events".to_owned(), Some((last - 1).to_string()), last),
    ];
    for (path, id, first) in cases {
        let mut reading = Reading::open(&bench, &path, id.as_deref()).await;
        assert_eq!(reading.events(all.len() - first).await, all[first..], "{path} {id:?}");
    }
    // Whoever has everything waits for the next.
    let mut reading = Reading::open(&bench, &format!("/v1/events?after={last}"), None).await;
    bench.propose("own", "cache.drop", "worker-1").await;
    assert_eq!(reading.event().await.0, all.len() as u64);
}

#[tokio::test]
async fn inv01_what_was_not_recorded_is_no_event() {
    let bench = Bench::new().await;
    let before = recorded(&bench).len();
    let mut reading = Reading::open(&bench, &format!("/v1/events?after={}", before - 1), None).await;
    bench.store.fill(0);
    let refused = bench.post("/v1/plans", "agent.own.decide", &plan("cache.drop", "worker-1")).await;
    assert_eq!(refused.problem().status, 503);
    assert!(reading.event().now_or_never().is_none(), "an event before its record");
    bench.store.make_room();
    bench.propose("own", "cache.drop", "worker-1").await;
    assert_eq!(reading.events(1).await, recorded(&bench)[before..=before]);
}

#[tokio::test]
async fn whoever_has_seen_more_than_there_is_is_told() {
    let bench = Bench::new().await;
    let size = bench.store.records().len();
    for after in [size.to_string(), "18446744073709551615".to_owned()] {
        let problem = bench.get(&format!("/v1/events?after={after}"), "person.alice").await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (409, "ahead-of-log"));
    }
    for bad in ["x", "+1", "", "1 ", "-1"] {
        let mut request = request(Method::GET, "/v1/events", "person.alice", None);
        request.headers_mut().insert("last-event-id", HeaderValue::from_str(bad).unwrap());
        let problem = bench.answer(request).await.problem();
        assert_eq!((problem.status, problem.rule.as_str()), (400, "bad-last-event-id"), "{bad:?}");
    }
}

#[tokio::test]
async fn followers_are_bounded_and_give_their_place_back() {
    let bench = Bench::with(Limits { followers: 1, ..Limits::default() }, &[]).await;
    let first = Reading::open(&bench, "/v1/events", None).await;
    let problem = bench.get("/v1/events", "person.alice").await.problem();
    assert_eq!((problem.status, problem.rule.as_str()), (503, "too-busy"));
    drop(first);
    Reading::open(&bench, "/v1/events", None).await;
}
