//! An issuer's memory of consents: one consent, one permit, whatever is signed and whoever is killed.

use std::{fs, path::Path};

use holdpoint_adapters::remote::{ConsentError, Consents};
use holdpoint_domain::{
    Digest, Tier,
    permit::{Grant, Permit},
};

use super::{
    scene::{approve, catalogue, grant, key, plan, sign},
    support::{NOW_MS, at, id},
};

/// A permit that one person approved, as the gate would sign it; `epoch` names it.
fn approved(epoch: u64, change: impl FnOnce(&mut Grant)) -> Permit {
    let plan = plan(&catalogue(), "process.stop", "web-1", Digest::of_bytes(b"version"));
    let mut grant = grant(&plan, Tier::T3, epoch);
    approve(&mut grant, &["ada"]);
    change(&mut grant);
    Permit::open(&sign(&grant, &key("gate")), &key("gate").public_key()).unwrap()
}

fn is_spent(answer: &Result<(), ConsentError>) -> bool {
    matches!(answer, Err(ConsentError::Spent(_)))
}

fn rows(path: &Path) -> usize {
    let rows: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    rows.as_object().unwrap().len()
}

#[test]
fn inv02_t05_one_consent_is_good_for_one_permit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consents");
    let consents = Consents::open(&path).unwrap();
    let (first, second) = (approved(1, |_| {}), approved(2, |_| {}));
    consents.spend(&first, at(NOW_MS)).unwrap();
    // For an undo, for instance: as often as it is leased for.
    consents.spend(&first, at(NOW_MS + 1)).unwrap();
    assert!(is_spent(&consents.spend(&second, at(NOW_MS + 2))));
    // The same id over other bytes is another permit.
    let renamed = approved(2, |grant| grant.id = id("permit-1"));
    assert!(is_spent(&consents.spend(&renamed, at(NOW_MS + 2))));
    drop(consents);
    let consents = Consents::open(&path).unwrap();
    assert!(is_spent(&consents.spend(&second, at(NOW_MS + 3))));
    consents.spend(&first, at(NOW_MS + 3)).unwrap();
}

#[test]
fn inv04_what_nobody_signed_spends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consents");
    let consents = Consents::open(&path).unwrap();
    // Nobody's consent is needed, or terms that nobody signed: a thief could fill the disk with them, or spend those of others.
    consents
        .spend(&approved(1, |grant| (grant.terms, grant.approvals) = (None, Vec::new())), at(NOW_MS))
        .unwrap();
    consents.spend(&approved(2, |grant| grant.approvals.clear()), at(NOW_MS)).unwrap();
    assert!(!path.exists());
    consents.spend(&approved(3, |_| {}), at(NOW_MS)).unwrap();
    assert_eq!(rows(&path), 1);
}

#[test]
fn t26_a_consent_is_forgotten_only_when_no_permit_of_it_could_be_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consents");
    let consents = Consents::open(&path).unwrap();
    consents.spend(&approved(1, |_| {}), at(NOW_MS)).unwrap();
    let of_another_hold = |epoch: u64| {
        approved(epoch, |grant| {
            let mut terms = grant.terms.clone().unwrap();
            terms.nonce = id(&format!("nonce-of-hold-{epoch}"));
            grant.terms = Some(terms);
        })
    };
    let days = |count: u64| at(NOW_MS + count * 24 * 60 * 60 * 1000);
    consents.spend(&of_another_hold(2), days(4)).unwrap();
    assert_eq!(rows(&path), 2);
    consents.spend(&of_another_hold(3), days(5)).unwrap();
    assert_eq!(rows(&path), 1, "the first two ended");
    // What cannot be read is not taken for nothing.
    fs::write(&path, "{").unwrap();
    assert!(matches!(Consents::open(&path), Err(ConsentError::Memory { .. })));
}
