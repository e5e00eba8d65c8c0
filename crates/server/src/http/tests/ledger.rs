//! The ledger over HTTP, checked with the ledger crate alone, as an outsider would.

use holdpoint_ledger::{Hash, LogProof, SignedCheckpoint, VerifierKey, leaf_hash, proof::verify_consistency};

use super::bench::Bench;
use crate::http::wire;

const ADA: &str = "person.alice";

async fn keys(bench: &Bench) -> (wire::Keys, VerifierKey) {
    let keys: wire::Keys = bench.get("/v1/keys", "").await.json();
    let log = keys.log_key.parse().unwrap();
    (keys, log)
}

#[tokio::test]
async fn every_entry_is_proven_by_what_is_served() {
    let bench = Bench::new().await;
    bench.propose("own", "cache.drop", "worker-1").await;
    let (keys, log) = keys(&bench).await;
    assert_eq!(keys.permit_key, bench.gate.ports.permit_key.public_key());
    assert_eq!(keys.evidence_key, bench.gate.ports.evidence_key.public_key());
    assert_ne!(keys.permit_key, keys.evidence_key);

    let note = bench.get("/v1/ledger/checkpoint", "").await;
    let head = SignedCheckpoint::parse(&note.body).unwrap().open(std::slice::from_ref(&log)).unwrap();
    assert_eq!(head.origin(), keys.origin);
    let entries: wire::Entries = bench.get("/v1/ledger/entries?limit=200", ADA).await.json();
    assert_eq!((entries.size, entries.entries.len() as u64), (head.size(), head.size()));
    for entry in &entries.entries {
        let text = bench.get(&format!("/v1/ledger/proof/{}", entry.index), ADA).await;
        let proof: LogProof = text.text().parse().unwrap();
        assert_eq!(proof.index(), entry.index);
        // The record's text in the answer is the entry, byte for byte.
        let leaf = leaf_hash(entry.record.get().as_bytes());
        assert_eq!(proof.verify(leaf, std::slice::from_ref(&log)).unwrap().root(), head.root());
    }
    let some: wire::Entries = bench.get("/v1/ledger/entries?first=2&limit=1", ADA).await.json();
    assert_eq!((some.entries.len(), some.entries[0].index), (1, 2));
    let none: wire::Entries = bench.get("/v1/ledger/entries?first=18446744073709551615", ADA).await.json();
    assert!(none.entries.is_empty());
}

#[tokio::test]
async fn a_later_checkpoint_is_consistent_with_an_earlier_one() {
    let bench = Bench::new().await;
    let (_, log) = keys(&bench).await;
    let open = |note: &[u8]| SignedCheckpoint::parse(note).unwrap().open(std::slice::from_ref(&log)).unwrap();
    let old = open(&bench.get("/v1/ledger/checkpoint", "").await.body);
    bench.propose("own", "cache.drop", "worker-1").await;
    let new = open(&bench.get("/v1/ledger/checkpoint", "").await.body);
    let path = format!("/v1/ledger/consistency?old={}&new={}", old.size(), new.size());
    let proof: wire::Consistency = bench.get(&path, "").await.json();
    let hashes: Vec<Hash> = proof.hashes.iter().map(|hash| hash.parse().unwrap()).collect();
    verify_consistency(old.size(), old.root(), new.size(), new.root(), &hashes).unwrap();

    for (query, status) in [("old=0&new=1", 400), ("old=2&new=1", 400), ("old=1&new=99", 404), ("old=1", 400)]
    {
        let answer = bench.get(&format!("/v1/ledger/consistency?{query}"), "").await;
        assert_eq!(answer.problem().status, status, "{query}");
    }
}

#[tokio::test]
async fn t20_tiles_have_one_path_each() {
    let bench = Bench::new().await;
    bench.propose("own", "cache.drop", "worker-1").await;
    let size = bench.store.records().len();
    let bundle = bench.get(&format!("/v1/ledger/tile/entries/000.p/{size}"), ADA).await;
    assert_eq!(
        (bundle.status, bundle.headers["content-type"].as_bytes()),
        (200, &b"application/octet-stream"[..])
    );
    let entries: Result<Vec<_>, _> = holdpoint_ledger::bundle::read_bundle(&bundle.body).collect();
    assert_eq!(entries.unwrap(), bench.store.all_entries());
    let hashes = bench.get(&format!("/v1/ledger/tile/0/000.p/{size}"), ADA).await;
    assert_eq!(hashes.body.len(), 32 * size);

    for path in [
        "0/000",
        "0/0",
        "0/001",
        "0/000.p/0",
        "0/000.p/300",
        "64/000.p/1",
        "entries/000",
        "entries/000.p/01",
        "x",
        "0/x000/000",
        "../checkpoint",
        "entries/../0/000.p/1",
        "entries/%2e%2e/checkpoint",
        "0/000.p/1/",
        "0//000.p/1",
    ] {
        let answer = bench.get(&format!("/v1/ledger/tile/{path}"), ADA).await;
        assert_eq!(answer.problem().status, 404, "{path}");
    }
    for (index, status) in [("99", 404), ("01", 400), ("+1", 400), ("x", 400), ("18446744073709551616", 400)]
    {
        let answer = bench.get(&format!("/v1/ledger/proof/{index}"), ADA).await;
        assert_eq!(answer.problem().status, status, "{index}");
    }
}
