//! An entry on its way into the store, or out of it: bytes, and what it changes.

use holdpoint_app::{
    port::{RequestNote, StoreError, Txn, store::MAX_TXN_RECORDS},
    projection::{Change, changes},
};
use holdpoint_domain::{
    Id,
    id::kind,
    record::{Body, MAX_RECORD_LEN, Record},
};

/// Most texts beside one transaction: the words, prompt, model and transcript of a plan are four.
pub(super) const MAX_TXN_TEXTS: usize = 16;
/// Most bytes of texts beside one transaction; they are kept in memory until the batch is synced.
pub(super) const MAX_TEXTS_LEN: usize = 4 * 1024 * 1024;

/// A record that can be appended.
#[derive(Debug)]
pub(super) struct Item {
    // INVARIANT: the canonical bytes of a record, at most MAX_RECORD_LEN, which parse to that record again.
    pub(super) bytes: Vec<u8>,
    pub(super) meaning: Meaning,
}

/// What the store needs to know of an entry, besides its bytes.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) plan: Option<Id<kind::Plan>>,
    pub(super) changes: Vec<Change>,
}

impl Meaning {
    fn of(record: &Record) -> Self {
        Self { plan: record.plan.clone(), changes: changes(record) }
    }
}

impl Item {
    fn new(record: &Record) -> Result<Self, StoreError> {
        let ours = |what: String| StoreError::Corrupt(format!("a record of ours is no entry: {what}"));
        let bytes = record.bytes().map_err(|err| ours(err.to_string()))?;
        if bytes.len() > MAX_RECORD_LEN {
            return Err(StoreError::TooLarge { what: "record", limit: MAX_RECORD_LEN, got: bytes.len() });
        }
        // An entry that does not parse, or parses to something else, would stop the next start. That it is canonical needs no
        // second look: these bytes were just made so. What is asked thousands of times a second is not read back here: it
        // has no text of anybody's in it, and tests read generated ones back.
        let is_closed = matches!(record.body, Body::Evaluated { .. });
        if !is_closed && parse(&bytes).map_err(ours)? != *record {
            return Err(ours("it reads differently than it was written".to_owned()));
        }
        Ok(Self { bytes, meaning: Meaning::of(record) })
    }
}

/// Reads an entry that is known to be canonical: because it was just encoded, or because it is below a tree head that our
/// key signed, so that these are the bytes that were once encoded. ([`Record::parse`] encodes it again to see; that takes
/// ten times as long, and start-up reads them all.)
pub(super) fn parse(bytes: &[u8]) -> Result<Record, String> {
    serde_json::from_slice(bytes).map_err(|err| format!("it is not a record: {err}"))
}

/// What an entry means that is known to be canonical, as for [`parse`]. Evaluations change nothing, and there can be millions of
/// them: they are not parsed.
pub(super) fn read(bytes: &[u8]) -> Result<Meaning, String> {
    if Record::is_evaluation(bytes) {
        return Ok(Meaning { plan: None, changes: Vec::new() });
    }
    parse(bytes).map(|record| Meaning::of(&record))
}

/// Encodes the records of a transaction and checks its limits. Runs on the caller's task: the writer thread is the one thing
/// that all callers share.
pub(super) fn items(txn: &Txn) -> Result<Vec<Item>, StoreError> {
    within("transaction", MAX_TXN_RECORDS, txn.records.len())?;
    if let Some(RequestNote::Answered { answer, .. }) = &txn.request {
        within("answer", MAX_TEXTS_LEN, answer.body.len())?;
    }
    within("number of texts", MAX_TXN_TEXTS, txn.texts.len())?;
    let text_len = txn.texts.iter().fold(0_usize, |sum, kept| sum.saturating_add(kept.text.len()));
    within("length of texts", MAX_TEXTS_LEN, text_len)?;
    if let Some(kept) =
        txn.texts.iter().find(|kept| !kept.commitment.opens_to(&kept.salt, kept.text.as_bytes()))
    {
        let commitment = kept.commitment.digest();
        return Err(StoreError::Corrupt(format!("a text of ours is not what {commitment} commits to")));
    }
    txn.records.iter().map(Item::new).collect()
}

fn within(what: &'static str, limit: usize, got: usize) -> Result<(), StoreError> {
    if got > limit { Err(StoreError::TooLarge { what, limit, got }) } else { Ok(()) }
}
