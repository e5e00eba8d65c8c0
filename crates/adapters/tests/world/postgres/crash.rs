//! `kill -9` at every step of issue, use and revocation: whoever comes next finds the lease by its id, ends it and proves it.

use std::{os::unix::process::ExitStatusExt as _, process::Command, time::Instant};

use holdpoint_adapters::{
    postgres::TERMINATE,
    step::{Drill, Moment, Step},
};
use holdpoint_app::port::{ActedPhase, Executor as _, Issuer as _};

use super::{
    desk::Desk,
    server::{Named, Place, Postgres, named},
};
use crate::world::support::id;

/// What tells a child that it is the one that dies: drill, port, folder, process id and start of a session, epoch.
const VICTIM: &str = "HOLDPOINT_TEST_VICTIM";

/// The steps between a permit and the proof that its lease is dead, but for those of other modules.
const STEPS: [Step; 6] = [
    Step::RoleMint,
    Step::BackendSignal,
    Step::RoleBar,
    Step::RoleSessions,
    Step::RoleDropOwned,
    Step::RoleDrop,
];

/// No test of its own: the life of a lease, in a process that kills itself on the way.
#[tokio::test]
async fn victim() {
    let Ok(words) = std::env::var(VICTIM) else { return };
    let words: Vec<_> = words.split(' ').collect();
    let [drill, port, dir, pid, started_us, epoch] = words[..] else { panic!("{words:?}") };
    let place = Place { dir: dir.into(), port: port.parse().unwrap() };
    live(&Desk::new(&place), drill, [pid, started_us, epoch]).await;
}

/// The life of a lease, with a drill: process id and start of the session that it ends, and its epoch.
pub(in crate::world) async fn live(desk: &Desk, drill: &str, [pid, started_us, epoch]: [&str; 3]) {
    drill.parse::<Drill>().unwrap().install().unwrap();
    let session = Named { pid: pid.parse().unwrap(), started_us: started_us.parse().unwrap() };
    let ticket = desk.ticket(epoch.parse().unwrap(), TERMINATE, session).await;
    desk.executor().apply(ticket.work()).await.unwrap();
    desk.revoke(&ticket).await.unwrap();
}

/// Runs a victim, and sees it kill itself.
pub(in crate::world) fn die(victim: &str, variable: &str, words: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let died = child.args(["--exact", victim]).env(variable, words).output().unwrap();
    let text = String::from_utf8_lossy(&died.stdout).into_owned();
    assert_eq!(died.status.signal(), Some(9), "{words}: {text}");
}

#[tokio::test]
async fn inv08_t26_a_lease_dies_after_kill_9_at_every_step_of_its_life() {
    let postgres = Postgres::start().await;
    let mut spans = Vec::new();
    // No step comes after the last one, which `after` would wait for.
    let last = (Step::RoleDrop, Moment::After);
    let cases = STEPS.iter().flat_map(|step| Moment::ALL.map(|moment| (*step, moment)));
    let cases = cases.filter(|case| *case != last);
    for (epoch, (step, moment)) in (1_u64..).zip(cases) {
        let what = format!("{}:{}", step.as_str(), moment.as_str());
        let shopper = postgres.session("shop", "shopper", "shopper").await;
        let Named { pid, started_us } = named(&shopper).await;
        let dir = postgres.dir.display();
        let words = format!("{what} {} {dir} {pid} {started_us} {epoch}", postgres.port);
        die("world::postgres::crash::victim", VICTIM, &words);

        let began = Instant::now();
        let desk = Desk::new(&postgres);
        let held = desk.issuer.held(&id("orders-pg")).await.unwrap();
        let before_it = step == Step::RoleMint && moment == Moment::Before;
        let after_it = step == Step::RoleDrop && moment == Moment::Unreported;
        assert_eq!(held.len(), usize::from(!before_it && !after_it), "{what}");
        for lease in &held {
            desk.issuer.revoke(Some(&id("orders-pg")), lease).await.unwrap();
        }
        spans.push(began.elapsed());
        assert_eq!(desk.issuer.held(&id("orders-pg")).await.unwrap(), [], "{what}");
        let admin = postgres.admin("shop").await;
        let warrants = "SELECT count(*)::text FROM holdpoint.warrant";
        assert_eq!(admin.word(warrants).await.unwrap(), "0", "{what}");
        // What the observer tells of the session is what it is.
        let acted = desk.observe().await.acted.filter(|acted| acted.epoch == epoch);
        let gone = shopper.run("SELECT 1").await.is_err();
        match acted.map(|acted| acted.phase) {
            Some(ActedPhase::Applied) => assert!(gone, "{what}"),
            Some(ActedPhase::Begun) => assert_eq!((step, gone), (Step::BackendSignal, false), "{what}"),
            Some(ActedPhase::Undone) => panic!("{what}"),
            None => assert_eq!((step, gone), (Step::RoleMint, false), "{what}"),
        }
    }
    spans.sort();
    let (half, last) = (spans[spans.len() / 2], spans[spans.len() - 1]);
    println!("after kill -9: found, ended and proven in p50 {half:?}, at most {last:?} of {}", spans.len());
}
