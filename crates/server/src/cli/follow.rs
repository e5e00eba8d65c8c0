//! Following the ledger: server-sent events, resumed by ledger index after whatever breaks.

use std::time::Duration;

use holdpoint_domain::record::Record;

use super::{CliError, Door, client::Client, failed, print_note};

/// The longest silence on a stream that lives: two heartbeats of the gate, and some.
const SILENCE: Duration = Duration::from_secs(40);
/// The pause before the first try to come back, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Most bytes of one event: a record has at most 60,000, and JSON text of it no more.
const MAX_EVENT_BYTES: usize = 256 * 1024;

/// A record that has become durable.
pub(crate) struct Seen {
    /// Its ledger index.
    pub(crate) index: u64,
    /// The record.
    pub(crate) record: Record,
    /// Its bytes, as they stand in the ledger.
    pub(crate) json: String,
}

/// Somebody who follows the ledger. Every record comes once and in order, whatever happens to the connection.
pub(crate) struct Follower {
    door: Door,
    next: u64,
    open: Option<(reqwest::Response, Events)>,
    came_back: bool,
}

impl Follower {
    /// Follows from entry `next` on.
    pub(crate) fn from(door: &Door, next: u64) -> Self {
        Self { door: door.clone(), next, open: None, came_back: false }
    }

    /// The next record. Returns only with one, or with a reason why there can be none: coming back does not help when the
    /// gate refuses us, and a gate that never answered is told of at once.
    pub(crate) async fn next(&mut self) -> Result<Seen, CliError> {
        let mut pause = PAUSES.0;
        loop {
            match self.try_next().await {
                Ok(Some(event)) => return self.take(event),
                // The gate ends a stream after a while, and so may anything in between.
                Ok(None) => {}
                Err(err @ CliError::Unreachable(_)) if self.came_back => {
                    print_note(&format!("{err}; trying again from entry {}", self.next));
                }
                Err(err) => return Err(err),
            }
            self.open = None;
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
    }

    /// The next event; none when the stream ended.
    async fn try_next(&mut self) -> Result<Option<Event>, CliError> {
        let (response, events) = match &mut self.open {
            Some(open) => open,
            closed @ None => {
                // With a token of its own each time: streams outlive tokens.
                let client = Client::connect(&self.door)?;
                let response = client.events(self.next).await?;
                self.came_back = true;
                closed.insert((response, Events::default()))
            }
        };
        loop {
            if let Some(event) = events.next()? {
                return Ok(Some(event));
            }
            match tokio::time::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(bytes))) => events.push(&bytes)?,
                Ok(Ok(None) | Err(_)) | Err(_) => return Ok(None),
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<Seen, CliError> {
        if event.id != self.next {
            return Err(CliError::NotVerified(format!("expected entry {}, got {}", self.next, event.id)));
        }
        let record = Record::parse(event.data.as_bytes()).map_err(failed)?;
        self.next = self.next.saturating_add(1);
        Ok(Seen { index: event.id, record, json: event.data })
    }
}

/// An event of the stream.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    id: u64,
    data: String,
}

/// Takes events out of the bytes of a stream (WHATWG HTML, section 9.2.6; of its line ends, those that we send).
#[derive(Default)]
struct Events {
    bytes: Vec<u8>,
}

impl Events {
    fn push(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        if self.bytes.len().saturating_add(bytes.len()) > MAX_EVENT_BYTES {
            return Err(CliError::Failed(format!("an event has more than {MAX_EVENT_BYTES} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole event; comments, which are heartbeats, are none.
    fn next(&mut self) -> Result<Option<Event>, CliError> {
        loop {
            let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") else { return Ok(None) };
            let rest = self.bytes.split_off(end.saturating_add(2));
            let block = std::mem::replace(&mut self.bytes, rest);
            let text = String::from_utf8(block).map_err(failed)?;
            if let Some(event) = parse(&text)? {
                return Ok(Some(event));
            }
        }
    }
}

fn parse(block: &str) -> Result<Option<Event>, CliError> {
    let (mut id, mut data) = (None, None);
    for line in block.lines() {
        match line.split_once(':') {
            Some(("id", value)) => id = Some(value.trim_start()),
            Some(("data", value)) => data = Some(value.strip_prefix(' ').unwrap_or(value)),
            _ => {}
        }
    }
    let Some(data) = data else { return Ok(None) };
    let id = id.and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| CliError::Failed("an event has no ledger index".to_owned()))?;
    Ok(Some(Event { id, data: data.to_owned() }))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, extract::State, http::HeaderMap, routing::get};
    use holdpoint_domain::{
        actor::Actor,
        record::{Body, Record},
        time::Timestamp,
    };

    use super::*;

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let stream = ":\n\nid: 7\nevent: started\ndata: {\"a\":\"ü\"}\n\n: still here\n\nid: 8\ndata: {}\n\n";
        for size in 1..stream.len() {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                events.push(chunk).unwrap();
                while let Some(event) = events.next().unwrap() {
                    seen.push(event);
                }
            }
            let wanted =
                [(7, "{\"a\":\"ü\"}"), (8, "{}")].map(|(id, data)| Event { id, data: data.to_owned() });
            assert_eq!(seen, wanted, "{size}");
        }
    }

    #[test]
    fn what_is_no_event_of_ours_ends_the_stream() {
        assert!(parse("data: {}\n\n").is_err());
        assert!(parse("id: x\ndata: {}\n\n").is_err());
        assert_eq!(parse("event: x\n\n").unwrap(), None);
        assert!(Events::default().push(&vec![b' '; MAX_EVENT_BYTES + 1]).is_err());
    }

    /// A gate that breaks off: each connection gets the next of these lists of indexes, and the request is noted.
    type Script = Arc<Mutex<(Vec<Vec<u64>>, Vec<String>)>>;

    async fn events(State(script): State<Script>, headers: HeaderMap) -> String {
        let mut script = script.lock().unwrap();
        let asked = headers.get("last-event-id").map_or("none", |id| id.to_str().unwrap());
        script.1.push(asked.to_owned());
        let record = |at| {
            let body =
                Body::Started { inputs: serde_json::from_value(inputs()).unwrap(), development: false };
            let record = Record::new(Timestamp::from_ms(at).unwrap(), Actor::Gate, None, body);
            String::from_utf8(record.bytes().unwrap()).unwrap()
        };
        let event = |index: u64| format!("id: {index}\nevent: started\ndata: {}\n\n", record(index));
        let indexes = if script.0.is_empty() { Vec::new() } else { script.0.remove(0) };
        indexes.into_iter().map(event).collect()
    }

    fn inputs() -> serde_json::Value {
        let digest = format!("sha256:{}", "0".repeat(64));
        let names = ["policy", "catalogue", "inventory", "registry", "limits"];
        names.map(|name| (name.to_owned(), serde_json::json!(digest))).into_iter().collect()
    }

    async fn gate(lists: &[&[u64]]) -> (Door, Script) {
        let script: Script =
            Arc::new(Mutex::new((lists.iter().map(|list| list.to_vec()).collect(), Vec::new())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/events", get(events)).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Door { url: Some(url), token_file: None, delegation_file: None, config: None, person: None }, script)
    }

    #[tokio::test]
    async fn a_broken_stream_goes_on_where_it_broke() {
        let (door, script) = gate(&[&[3, 4], &[], &[5]]).await;
        let mut follower = Follower::from(&door, 3);
        for wanted in 3..=5 {
            let seen = follower.next().await.unwrap();
            assert_eq!((seen.index, seen.record.at_ms.ms()), (wanted, wanted));
        }
        assert_eq!(script.lock().unwrap().1, ["2", "4", "4"]);
    }

    #[tokio::test]
    async fn inv11_a_record_that_is_left_out_is_noticed() {
        let (door, _) = gate(&[&[0, 2]]).await;
        let mut follower = Follower::from(&door, 0);
        assert_eq!(follower.next().await.unwrap().index, 0);
        assert_eq!(follower.next().await.err().unwrap().code(), 9);
    }

    #[tokio::test]
    async fn a_gate_that_was_never_there_is_told_of_at_once() {
        let door = Door {
            url: Some("http://127.0.0.1:1".into()),
            token_file: None,
            delegation_file: None,
            config: None,
            person: None,
        };
        assert_eq!(Follower::from(&door, 0).next().await.err().unwrap().code(), 8);
    }
}
