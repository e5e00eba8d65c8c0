//! The SQLite store, held to the contract.

use std::path::Path;

use holdpoint_adapters::store::{Faults, OpenError, SqliteConfig, SqliteStore};
use holdpoint_ledger::key::{Ed25519NoteSigner, VerifierKey};
use tempfile::TempDir;

use super::{contract, contract_runs};

pub(crate) const ORIGIN: &str = "gate.example/log";

pub(crate) fn signer() -> Ed25519NoteSigner {
    Ed25519NoteSigner::from_seed(ORIGIN, &[9; 32]).unwrap()
}

pub(crate) fn log_key() -> VerifierKey {
    VerifierKey::of(&signer()).unwrap()
}

/// Opens the store at `folder/store.db`.
pub(crate) fn open(folder: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(config(folder), Box::new(signer()))
}

pub(crate) fn open_with(folder: &Path, faults: impl Faults + 'static) -> SqliteStore {
    let config = SqliteConfig { faults: Some(Box::new(faults)), ..config(folder) };
    SqliteStore::open(config, Box::new(signer())).unwrap()
}

pub(crate) fn config(folder: &Path) -> SqliteConfig {
    SqliteConfig { reserve_bytes: 128 * 1024, ..SqliteConfig::new(folder.join("store.db"), ORIGIN) }
}

/// An empty store; it lives in the folder for as long as both are kept.
pub(crate) fn fresh() -> (SqliteStore, TempDir) {
    let folder = TempDir::new().unwrap();
    (open(folder.path()).unwrap(), folder)
}

#[tokio::test]
async fn appends_in_order_and_without_gaps() {
    let (store, _folder) = fresh();
    contract::appends_in_order_and_without_gaps(&store, &log_key()).await;
}

#[tokio::test]
async fn an_empty_log_has_a_signed_head() {
    let (store, _folder) = fresh();
    contract::an_empty_log_has_a_signed_head(&store, &log_key()).await;
}

#[tokio::test]
async fn all_or_none() {
    let (store, _folder) = fresh();
    contract::all_or_none(&store, &log_key()).await;
}

#[tokio::test]
async fn inv02_every_illegal_event_is_refused() {
    let (store, _folder) = fresh();
    contract::inv02_every_illegal_event_is_refused(&store, &log_key()).await;
}

#[tokio::test]
async fn a_plan_that_moved_on_is_a_conflict() {
    let (store, _folder) = fresh();
    contract::a_plan_that_moved_on_is_a_conflict(&store, &log_key()).await;
}

#[tokio::test]
async fn t05_a_nonce_is_granted_once_and_used_by_its_plan() {
    let (store, _folder) = fresh();
    contract::t05_a_nonce_is_granted_once_and_used_by_its_plan(&store, &log_key()).await;
}

#[tokio::test]
async fn inv02_one_run_at_a_time_holds_a_target() {
    let (store, _folder) = fresh();
    contract::inv02_one_run_at_a_time_holds_a_target(&store, &log_key()).await;
}

#[tokio::test]
async fn inv05_one_decision_of_a_person_on_a_hold() {
    let (store, _folder) = fresh();
    contract::inv05_one_decision_of_a_person_on_a_hold(&store, &log_key()).await;
}

#[tokio::test]
async fn inv05_t11_counters_of_passkeys_only_grow() {
    let (store, _folder) = fresh();
    contract::inv05_t11_counters_of_passkeys_only_grow(&store, &log_key()).await;
}

#[tokio::test]
async fn epochs_only_grow() {
    let (store, _folder) = fresh();
    contract::epochs_only_grow(&store, &log_key()).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (store, _folder) = fresh();
    contract::what_is_too_large_is_refused(&store, &log_key()).await;
}

#[tokio::test]
async fn t18_a_record_that_reads_differently_is_refused() {
    let (store, _folder) = fresh();
    contract::t18_a_record_that_reads_differently_is_refused(&store, &log_key()).await;
}

#[tokio::test]
async fn a_plan_row_follows_its_records() {
    let (store, _folder) = fresh();
    contract::a_plan_row_follows_its_records(&store, &log_key()).await;
}

#[tokio::test]
async fn plans_are_listed_newest_first() {
    let (store, _folder) = fresh();
    contract::plans_are_listed_newest_first(&store, &log_key()).await;
}

#[tokio::test]
async fn a_history_is_the_plans_records_only() {
    let (store, _folder) = fresh();
    contract::a_history_is_the_plans_records_only(&store, &log_key()).await;
}

#[tokio::test]
async fn inv12_texts_stand_beside_the_ledger() {
    let (store, _folder) = fresh();
    contract::inv12_texts_stand_beside_the_ledger(&store, &log_key()).await;
}

#[tokio::test]
async fn inv08_a_lease_lives_until_it_is_proven_dead() {
    let (store, _folder) = fresh();
    contract::inv08_a_lease_lives_until_it_is_proven_dead(&store, &log_key()).await;
}

#[tokio::test]
async fn a_run_is_counted_from_its_claim_and_looked_at_after_its_end() {
    let (store, _folder) = fresh();
    contract_runs::a_run_is_counted_from_its_claim_and_looked_at_after_its_end(&store, &log_key()).await;
}

#[tokio::test]
async fn inv02_a_step_is_applied_once_and_in_its_order() {
    let (store, _folder) = fresh();
    contract_runs::inv02_a_step_is_applied_once_and_in_its_order(&store, &log_key()).await;
}

#[tokio::test]
async fn a_budget_that_was_counted_before_another_claim_does_not_hold() {
    let (store, _folder) = fresh();
    contract_runs::a_budget_that_was_counted_before_another_claim_does_not_hold(&store, &log_key()).await;
}

#[tokio::test]
async fn t38_a_request_is_known_by_its_key() {
    let (store, _folder) = fresh();
    contract_runs::t38_a_request_is_known_by_its_key(&store, &log_key()).await;
}

#[tokio::test]
async fn inv15_a_halt_is_in_force_until_somebody_resumes() {
    let (store, _folder) = fresh();
    contract_runs::inv15_a_halt_is_in_force_until_somebody_resumes(&store, &log_key()).await;
}

#[tokio::test]
async fn inv13_nothing_is_decided_under_inputs_that_were_replaced() {
    let (store, _folder) = fresh();
    contract_runs::inv13_nothing_is_decided_under_inputs_that_were_replaced(&store, &log_key()).await;
}

#[tokio::test]
async fn inv13_inputs_change_only_by_a_change_of_what_is_in_force() {
    let (store, _folder) = fresh();
    contract_runs::inv13_inputs_change_only_by_a_change_of_what_is_in_force(&store, &log_key()).await;
}

#[tokio::test]
async fn inv11_receipts_verify() {
    let (store, _folder) = fresh();
    contract::inv11_receipts_verify(&store, &log_key()).await;
}

#[tokio::test]
async fn inv11_proofs_are_those_of_the_ledger() {
    let (store, _folder) = fresh();
    contract::inv11_proofs_are_those_of_the_ledger(&store, &log_key()).await;
}

#[tokio::test]
async fn inv11_log_files_are_the_static_layout() {
    let (store, _folder) = fresh();
    contract::inv11_log_files_are_the_static_layout(&store, &log_key()).await;
}

#[tokio::test]
async fn followers_are_told_after_the_sync() {
    let (store, _folder) = fresh();
    contract::followers_are_told_after_the_sync(&store, &log_key()).await;
}

#[tokio::test]
async fn concurrent_appends_get_one_order() {
    let (store, _folder) = fresh();
    contract::concurrent_appends_get_one_order(&store, &log_key()).await;
}
