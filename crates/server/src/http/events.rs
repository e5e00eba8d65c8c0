//! Events: the ledger's records as they become durable, numbered by their index, resumable.

use std::{collections::VecDeque, convert::Infallible, future::ready, pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::stream::{self, Stream, StreamExt as _};
use holdpoint_app::port::{Entry, Store, StoreError};
use holdpoint_domain::record::Record;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};

use super::{
    door::Door,
    extract::Ask,
    problem::{Problem, echo},
};

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many records are read at once: a megabyte or so, and nothing is read that the follower has no room for.
const BATCH: u32 = 32;
/// How long one stream lives. Its follower comes back with `Last-Event-ID`, and with a token that is still good.
const MAX_LIFE: Duration = Duration::from_secs(15 * 60);

/// The query of the stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct FollowQuery {
    /// The last index that the follower has; everything when there is none.
    after: Option<u64>,
}

/// `GET /v1/events`: one event per record after `after`. `Last-Event-ID` counts before `after`, since a client that comes
/// back keeps its URL.
pub(super) async fn follow(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    Ask(query): Ask<FollowQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let next = match last_event_id(&headers)?.or(query.after) {
        None => 0,
        Some(after) => after.saturating_add(1),
    };
    let size = door.service.gate().ports.store.head().size;
    if next > size {
        let detail = format!("you have seen entry {}, this log has {size} entries", next.saturating_sub(1));
        let why = "if you saw it here, this log is an older copy: tell an operator";
        return Err(Problem::new(StatusCode::CONFLICT, "ahead-of-log", detail, why));
    }
    // An error cannot be told any more once the stream began: it ends, and coming back gives the status.
    let events = entries(&door, next)?.scan((), |(), entry| {
        let event = event(&entry).inspect_err(|err| tracing::error!("a stream of events ends: {err}"));
        ready(event.ok().map(Ok))
    });
    Ok(streamed(events))
}

/// A stream of events that shows that it lives.
pub(crate) fn streamed<S>(events: S) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// The log's entries from `next` on, as they become durable, for as long as a stream may live. Takes a place among the followers.
pub(crate) fn entries(door: &Door, next: u64) -> Result<impl Stream<Item = Entry> + use<>, Problem> {
    let store = Arc::clone(&door.service.gate().ports.store);
    let place = Arc::clone(&door.followers).try_acquire_owned().map_err(|_| {
        let detail = "too many followers";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, "try again in a moment")
    })?;
    let follower =
        Follower { store, next, read: VecDeque::new(), end: Box::pin(sleep(MAX_LIFE)), _place: place };
    Ok(stream::unfold(follower, |mut follower| async move {
        let entry = follower.entry().await?;
        Some((entry, follower))
    }))
}

/// The last event that a follower has seen, if it comes back.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // No sign, no space: `u64` alone would read `+1`.
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match text.parse() {
        Ok(index) if digits => Ok(Some(index)),
        _ => {
            let detail = format!("expected an index in `Last-Event-ID`, got {}", echo(text));
            Err(Problem::malformed("bad-last-event-id", detail, "send the id of the last event"))
        }
    }
}

/// One follower and where it is. Dropped with its connection.
struct Follower {
    store: Arc<dyn Store>,
    next: u64,
    read: VecDeque<Entry>,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next entry; none at the end of the stream's life, or when the store fails.
    async fn entry(&mut self) -> Option<Entry> {
        let Self { store, next, read, end, .. } = self;
        let entry = tokio::select! {
            () = end.as_mut() => return None,
            entry = next_entry(store.as_ref(), *next, read) => entry,
        };
        let entry = entry.inspect_err(|err| tracing::error!("a stream of events ends: {err}")).ok()?;
        *next = entry.index.saturating_add(1);
        Some(entry)
    }
}

/// The entry `next`, as soon as it is durable.
async fn next_entry(store: &dyn Store, next: u64, read: &mut VecDeque<Entry>) -> Result<Entry, StoreError> {
    loop {
        if let Some(entry) = read.pop_front() {
            return if entry.index == next {
                Ok(entry)
            } else {
                Err(StoreError::Corrupt(format!("expected entry {next}, got {}", entry.index)))
            };
        }
        store.grown(next).await;
        read.extend(store.entries(next, BATCH).await?);
    }
}

fn event(entry: &Entry) -> Result<Event, String> {
    let record = Record::parse(&entry.bytes).map_err(|err| format!("entry {}: {err}", entry.index))?;
    let json = std::str::from_utf8(&entry.bytes).map_err(|err| format!("entry {}: {err}", entry.index))?;
    Ok(Event::default().id(entry.index.to_string()).event(record.body.word()).data(json))
}
