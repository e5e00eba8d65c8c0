//! The ledger: its entries, each with its proof, and a look at the whole of it.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use holdpoint_app::{
    audit::{self, MAX_VERIFIED},
    gate::Gate,
    port::Entry,
};
use holdpoint_domain::{Timestamp, record::Record};
use holdpoint_ledger::{LogProof, SignedCheckpoint, leaf_hash, verify_inclusion};
use serde::Deserialize;

use super::{page, plan::part};
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::Frame,
        show::{When, tame},
    },
    http::{Ask, PathText, Place, Problem, echo, moment},
};

/// Entries on a page.
const PAGE: u32 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Query {
    /// The index of the first entry on the page; the newest ones when nobody says.
    first: Option<u64>,
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct Page {
    frame: Frame,
    lines: Vec<Line>,
    checkpoint: String,
    key: String,
    older: Option<u64>,
    newer: Option<u64>,
    verified: Option<Report>,
}

/// An entry, as a line.
struct Line {
    index: u64,
    at: When,
    actor: String,
    what: String,
    plan: Option<String>,
    part: &'static str,
}

/// What the gate found when it looked at its own log.
struct Report {
    sound: bool,
    said: String,
}

#[derive(Template)]
#[template(path = "entry.html")]
struct OneEntry {
    frame: Frame,
    line: Line,
    record: String,
    leaf: String,
    proof: String,
    hashes: usize,
    holds: bool,
    size: u64,
    last: bool,
}

/// `GET /ledger`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Ask(query): Ask<Query>,
) -> Result<Response, Problem> {
    listed(&console, &visitor, query.first, None).await
}

/// `POST /ledger/verify`: reads the whole log anew. Changes nothing; it is no GET since it is work.
pub(in crate::console) async fn verify(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    _place: Place,
) -> Result<Response, Problem> {
    let _turn = console.turn().await?;
    let gate = console.door.service.gate();
    let head = gate.ports.store.head();
    let report = match audit::verify(&gate).await? {
        None => Report {
            sound: false,
            said: format!(
                "The log has {} entries, which is more than {MAX_VERIFIED}: it is verified offline.",
                head.size
            ),
        },
        Some(audit::Verified { entries, fault: Some(fault) }) => Report {
            sound: false,
            said: format!("The log does not stand after {entries} entries: {}.", tame(&fault)),
        },
        Some(audit::Verified { entries, fault: None }) => Report {
            sound: true,
            said: format!(
                "Read {entries} entries from the store. Each is a record in canonical form; the root over all of them is the root of \
                 the head; the head is signed by the log's key."
            ),
        },
    };
    listed(&console, &visitor, None, Some(report)).await
}

async fn listed(
    console: &Console,
    visitor: &Visitor,
    first: Option<u64>,
    verified: Option<Report>,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let head = gate.ports.store.head();
    let (size, most) = (head.size, u64::from(PAGE));
    let first = first.unwrap_or_else(|| size.saturating_sub(most)).min(size.saturating_sub(1));
    let entries = gate.ports.store.entries(first, PAGE).await?;
    let mut lines = entries.iter().map(|entry| line(entry, now)).collect::<Result<Vec<_>, _>>()?;
    // The newest first, as people look for them.
    lines.reverse();
    let end = first.saturating_add(most);
    page(&Page {
        frame: Frame::new(console, Some(visitor), "/ledger").await,
        lines,
        checkpoint: tame_lines(&head.checkpoint),
        key: gate.ports.log_key.to_string(),
        older: (first > 0).then(|| first.saturating_sub(most)),
        newer: (end < size).then_some(end),
        verified,
    })
}

fn line(entry: &Entry, now: Timestamp) -> Result<Line, Problem> {
    let record = parsed(entry)?;
    Ok(Line {
        index: entry.index,
        at: When::new(record.at_ms, now),
        actor: record.actor.to_string(),
        what: tame(&moment(&record.body)),
        plan: record.plan.as_ref().map(ToString::to_string),
        part: part(record.body.word()),
    })
}

fn parsed(entry: &Entry) -> Result<Record, Problem> {
    Record::parse(&entry.bytes).map_err(|err| Problem::internal(&err))
}

/// `GET /ledger/{index}`: an entry as it stands in the log, and the proof that it does.
pub(in crate::console) async fn entry(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    PathText(index): PathText,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let asked = index.parse::<u64>().ok().filter(|number| number.to_string() == index);
    let head = gate.ports.store.head();
    let missing = || {
        let detail = format!("the log has {} entries, and none with index {}", head.size, echo(&index));
        Problem::new(StatusCode::NOT_FOUND, "no-such-entry", detail, "indexes begin at 0")
    };
    let asked = asked.filter(|number| *number < head.size).ok_or_else(missing)?;
    let entry = gate.ports.store.entries(asked, 1).await?.into_iter().next().ok_or_else(missing)?;
    let (proof, hashes, holds) = proved(&gate, &entry).await?;
    let bytes: serde_json::Value =
        serde_json::from_slice(&entry.bytes).map_err(|err| Problem::internal(&err))?;
    let record = serde_json::to_string_pretty(&bytes).map_err(|err| Problem::internal(&err))?;
    page(&OneEntry {
        frame: Frame::new(&console, Some(&visitor), "/ledger").await,
        line: line(&entry, now)?,
        record: tame_lines(&record),
        leaf: leaf_hash(&entry.bytes).to_string(),
        proof,
        hashes,
        holds,
        size: head.size,
        last: asked.saturating_add(1) >= head.size,
    })
}

/// `GET /ledger/{index}/proof`: the same proof, to be kept and checked elsewhere (C2SP tlog-proof).
pub(in crate::console) async fn proof(
    State(console): State<Arc<Console>>,
    PathText(index): PathText,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    let head = gate.ports.store.head();
    let missing = || {
        Problem::new(StatusCode::NOT_FOUND, "no-such-entry", "there is no such entry", "indexes begin at 0")
    };
    let asked = index.parse::<u64>().ok().filter(|number| number.to_string() == index && *number < head.size);
    let found = gate.ports.store.entries(asked.ok_or_else(missing)?, 1).await?;
    let (proof, _, _) = proved(&gate, found.first().ok_or_else(missing)?).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proof).into_response())
}

/// The proof of an entry in the latest head: as text, of how many hashes, and whether it holds.
async fn proved(gate: &Gate, entry: &Entry) -> Result<(String, usize, bool), Problem> {
    let head = gate.ports.store.head();
    let hashes = gate.ports.store.inclusion(entry.index, head.size).await?;
    let leaf = leaf_hash(&entry.bytes);
    let holds = verify_inclusion(leaf, entry.index, head.size, head.root, &hashes).is_ok();
    let checkpoint =
        SignedCheckpoint::parse(head.checkpoint.as_bytes()).map_err(|err| Problem::internal(&err))?;
    let count = hashes.len();
    let proof = LogProof::new(entry.index, hashes, checkpoint).map_err(|err| Problem::internal(&err))?;
    Ok((proof.to_string(), count, holds))
}

/// Lines of ours, and what is hidden in them escaped.
fn tame_lines(text: &str) -> String {
    text.lines().map(tame).collect::<Vec<_>>().join("\n")
}
