//! The ledger: checkpoints and consistency for everybody, what is in it for people, and the public keys.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use holdpoint_app::port::{Entry, StoreError};
use holdpoint_ledger::{LogProof, SignedCheckpoint, TilePath};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    door::Door,
    extract::{Ask, PathText},
    plans,
    problem::{Problem, echo},
    wire,
};

/// The query of a consistency proof.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyQuery {
    /// The size of the older tree.
    old: u64,
    /// The size of the newer tree.
    new: u64,
}

/// The query of entries.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct EntriesQuery {
    /// The index of the first one.
    first: Option<u64>,
    /// At most this many.
    limit: Option<u32>,
}

/// `GET /v1/ledger/checkpoint`: the latest signed checkpoint (C2SP tlog-checkpoint).
pub(super) async fn checkpoint(State(door): State<Arc<Door>>) -> Response {
    text(door.service.gate().ports.store.head().checkpoint.clone())
}

/// `GET /v1/ledger/cosigned`: the newest head that enough witnesses cosigned.
pub(super) async fn cosigned(State(door): State<Arc<Door>>) -> Result<Response, Problem> {
    let missing = || {
        let detail = "no head of this log was cosigned yet";
        let next = "name witnesses in the gate's configuration, or ask again in a moment";
        Problem::new(StatusCode::NOT_FOUND, "not-cosigned", detail, next)
    };
    Ok(text(door.service.cosigned.note().ok_or_else(missing)?.to_string()))
}

/// `GET /v1/ledger/consistency`: that the tree of `old` is a prefix of the tree of `new`.
pub(super) async fn consistency(
    State(door): State<Arc<Door>>,
    Ask(ConsistencyQuery { old, new }): Ask<ConsistencyQuery>,
) -> Result<Json<wire::Consistency>, Problem> {
    let store = &Arc::clone(&door.service.gate().ports.store);
    let size = store.head().size;
    if old == 0 || old > new {
        let detail = format!("expected 1 <= old <= new, got {old} and {new}");
        return Err(Problem::malformed("bad-query", detail, "every tree is consistent with the empty one"));
    }
    if new > size {
        return Err(beyond(new, size));
    }
    let hashes = store.consistency(old, new).await?;
    Ok(Json(wire::Consistency { old, new, hashes: hashes.iter().map(ToString::to_string).collect() }))
}

fn beyond(asked: u64, size: u64) -> Problem {
    let detail = format!("the log has {size} entries, {asked} is beyond them");
    let next = "if a checkpoint of this log says otherwise, this is an older copy: tell an operator";
    Problem::new(StatusCode::NOT_FOUND, "beyond-the-log", detail, next)
}

/// `GET /v1/ledger/tile/…`: the static layout of C2SP tlog-tiles, entries included. Even hashes of tiles are for people
/// only: with them, anybody could check guesses about what an entry says.
pub(super) async fn tile(
    State(door): State<Arc<Door>>,
    PathText(path): PathText,
) -> Result<Response, Problem> {
    let missing = |why: &str| {
        let detail = format!("there is no tile at {}: {why}", echo(&path));
        Problem::new(StatusCode::NOT_FOUND, "no-such-tile", detail, "see C2SP tlog-tiles for the layout")
    };
    // Parsed and written anew: what reaches the store is a tile path in its only spelling (T20).
    let parsed: TilePath = format!("tile/{path}").parse().map_err(|_| missing("it is no tile path"))?;
    let bytes = door.service.gate().ports.store.log_file(&parsed.to_string()).await?;
    let bytes = bytes.ok_or_else(|| missing("the log does not have it"))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// `GET /v1/ledger/entries`: entries as JSON, from the first one on when nobody says.
pub(super) async fn entries(
    State(door): State<Arc<Door>>,
    Ask(query): Ask<EntriesQuery>,
) -> Result<Json<wire::Entries>, Problem> {
    let store = &Arc::clone(&door.service.gate().ports.store);
    let limit = plans::limit(query.limit)?;
    let entries = store.entries(query.first.unwrap_or(0), limit).await?;
    let entries = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Json(wire::Entries { size: store.head().size, entries }))
}

fn entry(entry: Entry) -> Result<wire::Entry, Problem> {
    let text = String::from_utf8(entry.bytes).map_err(|err| Problem::internal(&err))?;
    let record = RawValue::from_string(text).map_err(|err| Problem::internal(&err))?;
    Ok(wire::Entry { index: entry.index, record })
}

/// `GET /v1/ledger/proof/{index}`: the entry's inclusion in the latest checkpoint (C2SP tlog-proof).
pub(super) async fn proof(
    State(door): State<Arc<Door>>,
    PathText(index): PathText,
) -> Result<Response, Problem> {
    let index = parse_index(&index)?;
    let store = &Arc::clone(&door.service.gate().ports.store);
    let head = store.head();
    if index >= head.size {
        return Err(beyond(index, head.size));
    }
    let hashes = store.inclusion(index, head.size).await?;
    let checkpoint =
        SignedCheckpoint::parse(head.checkpoint.as_bytes()).map_err(|err| Problem::internal(&err))?;
    let proof = LogProof::new(index, hashes, checkpoint).map_err(|err| Problem::internal(&err))?;
    Ok(text(proof.to_string()))
}

fn parse_index(text: &str) -> Result<u64, Problem> {
    let index = text.parse::<u64>().ok().filter(|index| index.to_string() == text);
    index.ok_or_else(|| {
        let detail = format!("expected the index of an entry, got {}", echo(text));
        Problem::malformed("bad-index", detail, "indexes begin at 0")
    })
}

/// `GET /v1/keys`.
pub(super) async fn keys(State(door): State<Arc<Door>>) -> Json<wire::Keys> {
    let gate = &door.service.gate();
    Json(wire::Keys {
        origin: gate.ports.store.head().origin.clone(),
        log_key: gate.ports.log_key.to_string(),
        permit_key: gate.ports.permit_key.public_key(),
        permit_key_id: gate.ports.permit_key.public_key().thumbprint().to_string(),
        delegation_key: gate.ports.delegation_key.public_key(),
        evidence_key: gate.ports.evidence_key.public_key(),
    })
}

/// `GET /healthz`: the process answers, the store is open, and its last entry can be read.
pub(super) async fn health(State(door): State<Arc<Door>>) -> Result<Json<wire::Health>, Problem> {
    let store = &Arc::clone(&door.service.gate().ports.store);
    if let Some(why) = store.closed() {
        return Err(StoreError::Closed(why).into());
    }
    let size = store.head().size;
    if let Some(last) = size.checked_sub(1)
        && store.entries(last, 1).await?.is_empty()
    {
        return Err(StoreError::Corrupt(format!("entry {last} cannot be read")).into());
    }
    Ok(Json(wire::Health { status: "ok".to_owned(), size }))
}

fn text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
