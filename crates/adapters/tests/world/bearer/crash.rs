//! `kill -9` at every step of issue and revocation: whoever comes next finds the lease by its note, ends it and proves it.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Command};

use holdpoint_adapters::{
    lease::Presentation,
    step::{Drill, Moment, Step},
};
use holdpoint_app::port::{Executor as _, Issuer as _};

use super::{
    desk::Desk,
    leases::{Scene, scene},
};
use crate::world::support::id;

/// What tells a child that it is the one that dies: drill, base of the runner, folder, epoch.
const VICTIM: &str = "HOLDPOINT_TEST_BEARER_VICTIM";

/// No test of its own: the life of a lease, in a process that kills itself on the way.
#[tokio::test]
async fn victim() {
    let Ok(words) = std::env::var(VICTIM) else { return };
    let words: Vec<_> = words.split(' ').collect();
    let [drill, base, dir, epoch] = words[..] else { panic!("{words:?}") };
    let desk = Desk::new(dir.as_ref(), base, Presentation::Bearer);
    drill.parse::<Drill>().unwrap().install().unwrap();
    let ticket = desk.ticket(epoch.parse().unwrap(), 60_000).await;
    desk.executor().apply(ticket.work()).await.unwrap();
    // The run is over, and the gate says so to who asks.
    fs::write(format!("{dir}/ended"), "").unwrap();
    desk.end(&ticket).await.unwrap();
}

#[tokio::test]
async fn inv08_t26_a_bearer_lease_dies_after_kill_9_at_every_step_of_its_life() {
    let Scene { dir, runner, trust, desk } = scene();
    drop(desk);
    let cases = [
        (Step::BearerNote, Moment::Before, 0),
        (Step::BearerNote, Moment::Unreported, 1),
        (Step::BearerNote, Moment::After, 1),
        (Step::BearerForget, Moment::Before, 1),
        // No step comes after the last one, which `after` would wait for.
        (Step::BearerForget, Moment::Unreported, 0),
    ];
    for (epoch, (step, moment, left)) in (1_u64..).zip(cases) {
        let what = format!("{}:{}", step.as_str(), moment.as_str());
        let _ = fs::remove_file(&trust.ended);
        let words = format!("{what} {} {} {epoch}", runner.base(), dir.path().display());
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "world::bearer::crash::victim"]).env(VICTIM, words);
        let died = child.output().unwrap();
        let text = String::from_utf8_lossy(&died.stdout).into_owned();
        assert_eq!(died.status.signal(), Some(9), "{what}: {text}");

        let desk = Desk::new(dir.path(), &runner.base(), Presentation::Bearer);
        let held = desk.issuer.held(&id("runner")).await.unwrap();
        assert_eq!(held.len(), left, "{what}");
        fs::write(&trust.ended, "").unwrap();
        for lease in &held {
            desk.issuer.revoke(Some(&id("runner")), lease).await.unwrap();
        }
        assert_eq!(desk.held().await, 0, "{what}");
    }
}
