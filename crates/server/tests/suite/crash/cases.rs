//! Every step, crashed at every moment: the table, and one test a scenario.

use futures_util::{StreamExt as _, stream};
use holdpoint_adapters::step::{Moment, Step};

use super::{
    drive::{Case, Scenario, check},
    special,
};

/// How many gates of one test run at a time: they wait most of their time.
const AT_A_TIME: usize = 4;

/// Which step a scenario takes how often: each number is a time at which it is crashed.
const CASES: &[(Scenario, Step, &[u32])] = &[
    (Scenario::Birth, Step::StoreAnew, &[1]),
    (Scenario::Birth, Step::StoreCreate, &[1]),
    (Scenario::Birth, Step::HeadWrite, &[1, 2, 3, 4]),
    (Scenario::Birth, Step::HeadSync, &[1, 2, 3, 4]),
    (Scenario::Birth, Step::ReserveFill, &[1]),
    (Scenario::Birth, Step::StoreCommit, &[1]),
    (Scenario::Birth, Step::UnitMark, &[1]),
    (Scenario::Birth, Step::UnitSpawn, &[1]),
    (Scenario::Birth, Step::UnitKnown, &[1]),
    // Proposed, claimed, leased, rehearsed, applying, applied, succeeded, revoked.
    (Scenario::Restart, Step::StoreCommit, &[2, 3, 4, 5, 6, 7, 8, 9]),
    (Scenario::Restart, Step::LeaseMint, &[1]),
    (Scenario::Restart, Step::MemoryBegin, &[1]),
    (Scenario::Restart, Step::UnitSignal, &[1, 2, 3]),
    (Scenario::Restart, Step::UnitSpawn, &[2]),
    (Scenario::Restart, Step::MemoryFinish, &[1]),
    (Scenario::Restart, Step::LeaseEnd, &[1]),
    (Scenario::Flag, Step::PlaceStage, &[1]),
    (Scenario::Flag, Step::MemoryBegin, &[1]),
    (Scenario::Flag, Step::PlaceSwap, &[1]),
    (Scenario::Flag, Step::PlaceSync, &[1]),
    (Scenario::Flag, Step::PlaceClear, &[1]),
    (Scenario::Flag, Step::MemoryFinish, &[1]),
    // Held, approved, claimed, leased, rehearsed, applying, applied, undoing, undone, revoked.
    (Scenario::Setting, Step::StoreCommit, &[3, 8, 9, 10]),
    (Scenario::Setting, Step::PlaceStage, &[2]),
    (Scenario::Setting, Step::MemoryBegin, &[2]),
    (Scenario::Setting, Step::PlaceSwap, &[1, 2]),
    (Scenario::Setting, Step::PlaceTell, &[1, 2]),
    (Scenario::Setting, Step::MemoryFinish, &[1, 2]),
    (Scenario::Setting, Step::LeaseEnd, &[1]),
    (Scenario::Stubborn, Step::PlaceTell, &[1, 2]),
    (Scenario::Stubborn, Step::PlaceSwap, &[1, 2]),
    (Scenario::Stubborn, Step::PlaceClear, &[1]),
    (Scenario::Stubborn, Step::MemoryRetract, &[1]),
    (Scenario::Secret, Step::StoreCommit, &[3, 4]),
    // The token beside its file, the list with both, the list with the new one.
    (Scenario::Secret, Step::PlaceStage, &[1, 2, 3]),
    (Scenario::Secret, Step::MemoryBegin, &[1]),
    // The list, the token, the list.
    (Scenario::Secret, Step::PlaceSwap, &[1, 2, 3]),
    (Scenario::Secret, Step::MemoryMoved, &[1]),
    (Scenario::Secret, Step::PlaceClear, &[1, 3]),
    (Scenario::Secret, Step::MemoryFinish, &[1]),
    (Scenario::Job, Step::MemoryBegin, &[1]),
    (Scenario::Job, Step::JobStart, &[1]),
    (Scenario::Job, Step::MemoryFinish, &[1]),
    (Scenario::Stall, Step::JobCancel, &[1]),
    (Scenario::Stall, Step::MemoryRetract, &[1]),
    // Before anything is touched, and after the edit.
    (Scenario::Nginx, Step::NginxTest, &[2, 3]),
    (Scenario::Nginx, Step::MemoryBegin, &[1]),
    (Scenario::Nginx, Step::NginxStage, &[1]),
    (Scenario::Nginx, Step::NginxSwap, &[1]),
    (Scenario::Nginx, Step::NginxSync, &[1]),
    (Scenario::Nginx, Step::NginxReload, &[1]),
    (Scenario::Nginx, Step::MemoryFinish, &[1]),
    (Scenario::Halt, Step::LatchWrite, &[1]),
    (Scenario::Halt, Step::StoreCommit, &[2]),
    (Scenario::Resume, Step::LatchClear, &[1]),
    (Scenario::Resume, Step::StoreCommit, &[3]),
    // Proposed, and approved with the activation.
    (Scenario::Change, Step::StoreCommit, &[2, 3]),
    (Scenario::Change, Step::ControlFile, &[1]),
    (Scenario::Shutdown, Step::StoreCarry, &[1]),
];

/// Steps of database servers, of OpenBao and of targets of bearer leases, which the tests of the adapters crash at every moment
/// against real ones.
const AT_A_SERVER: [Step; 13] = [
    Step::BearerNote,
    Step::BearerForget,
    Step::RoleMint,
    Step::RoleBar,
    Step::RoleSessions,
    Step::RoleDropOwned,
    Step::RoleDrop,
    Step::BaoDefine,
    Step::BaoCreds,
    Step::BaoRevoke,
    Step::BaoForget,
    Step::BaoRenew,
    Step::BackendSignal,
];

/// The cases of a scenario. The first time that a step is taken is crashed at every moment; `after` of a later one is `before`
/// of what follows, which has a row of its own.
fn cases_of(scenario: Scenario) -> Vec<Case> {
    let rows = CASES.iter().filter(|(known, ..)| *known == scenario);
    let times = rows.flat_map(|(_, step, times)| {
        times.iter().enumerate().flat_map(|(at, nth)| {
            let moments = if at == 0 { &Moment::ALL[..] } else { &Moment::ALL[..2] };
            moments.iter().map(|moment| Case { scenario, step: *step, moment: *moment, nth: *nth })
        })
    });
    times.collect()
}

async fn all_of(scenario: Scenario) {
    let cases = cases_of(scenario);
    assert!(!cases.is_empty());
    // One that fails ends the test with its case in the message.
    stream::iter(cases).map(check).buffer_unordered(AT_A_TIME).collect::<()>().await;
}

#[test]
fn every_step_is_crashed_at_every_moment() {
    for step in Step::ALL {
        let in_table = CASES.iter().any(|(_, known, times)| *known == step && !times.is_empty());
        let is_special = special::STEPS.contains(&step) || AT_A_SERVER.contains(&step);
        assert!(in_table || is_special, "no test crashes `{}`", step.as_str());
        assert!(!(in_table && is_special), "`{}` stands twice", step.as_str());
    }
}

#[tokio::test]
async fn inv11_a_first_start_that_is_cut_short_goes_on_with_the_next() {
    all_of(Scenario::Birth).await;
}

#[tokio::test]
async fn inv02_t06_a_restart_that_is_cut_short_is_made_once_at_most() {
    all_of(Scenario::Restart).await;
}

#[tokio::test]
async fn inv01_a_flag_that_is_turned_off_is_so_by_its_record() {
    all_of(Scenario::Flag).await;
}

#[tokio::test]
async fn inv03_a_setting_that_did_not_help_is_as_before_or_in_doubt() {
    all_of(Scenario::Setting).await;
}

#[tokio::test]
async fn inv03_a_setting_that_nobody_took_is_as_before_or_in_doubt() {
    all_of(Scenario::Stubborn).await;
}

#[tokio::test]
async fn inv12_a_rotation_that_is_cut_short_leaves_a_token_that_works_and_shows_none() {
    all_of(Scenario::Secret).await;
}

#[tokio::test]
async fn inv02_t38_a_job_is_asked_for_once() {
    all_of(Scenario::Job).await;
}

#[tokio::test]
async fn inv03_a_job_that_was_cancelled_is_never_started_again() {
    all_of(Scenario::Stall).await;
}

#[tokio::test]
async fn inv01_a_server_that_is_isolated_is_so_by_its_record() {
    all_of(Scenario::Nginx).await;
}

#[tokio::test]
async fn inv15_a_halt_that_was_answered_outlives_every_crash() {
    all_of(Scenario::Halt).await;
}

#[tokio::test]
async fn inv15_a_halt_ends_with_the_record_of_its_end() {
    all_of(Scenario::Resume).await;
}

#[tokio::test]
async fn inv13_a_change_is_in_force_and_on_disk_or_neither() {
    all_of(Scenario::Change).await;
}

#[tokio::test]
async fn inv11_a_stop_that_is_cut_short_loses_nothing() {
    all_of(Scenario::Shutdown).await;
}
