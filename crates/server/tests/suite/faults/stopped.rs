//! A gate that stands still: stopped by a signal, as by a machine that swaps, a debugger or a paused virtual machine.

use std::{thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use super::super::stage::Stage;
use super::outside::{audited, count, leases_are_dead};
use super::peer::{Manner, Peer};
use super::{edit, leases_ended, propose, propose_because, shimmed};

fn signal(stage: &Stage, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(stage.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The one test that really waits: a gate that is stopped for longer than its permit has to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv02_t25_a_gate_that_was_stopped_does_not_start_what_expired_meanwhile() {
    let (peer, mut stage) = (Peer::start(), Stage::new());
    peer.is_measured(&stage, "triggers");
    edit(&stage, "holdpoint.yaml", "timings: {", "timings: {start_window_ms: 2000, ");
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let plan = in_its_claim(&stage, &peer).await;
    signal(&stage, Signal::STOP);
    thread::sleep(Duration::from_secs(3));
    peer.answers(Manner::Status(200));
    signal(&stage, Signal::CONT);
    assert_eq!(stage.ended(&plan).await, "expired");
    let records = audited(&stage);
    assert_eq!((count(&records, "claimed"), count(&records, "leased"), stage.starts("worker")), (0, 0, 1));
}

/// A minute, on both clocks of the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv02_t25_a_minute_passes_within_the_claim() {
    let (peer, (mut stage, shim)) = (Peer::start(), shimmed());
    peer.is_measured(&stage, "triggers");
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    let plan = in_its_claim(&stage, &peer).await;
    signal(&stage, Signal::STOP);
    shim.set_clocks(61_000, 61_000);
    peer.answers(Manner::Status(200));
    signal(&stage, Signal::CONT);
    assert_eq!(stage.ended(&plan).await, "expired");
    assert_eq!((count(&audited(&stage), "claimed"), stage.starts("worker")), (0, 1));
}

/// A lease was minted, and is past its time when the gate wakes up: it is not used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv08_t25_a_lease_that_ran_out_while_the_gate_stood_still_is_not_used() {
    let (peer, (mut stage, shim)) = (Peer::start(), shimmed());
    peer.is_measured(&stage, "guards");
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    // Measured with the lease in hand, in the rehearsal.
    peer.answers(Manner::Hang);
    let (status, plan) = propose(&stage, "worker").await;
    assert_eq!(status, 201, "{plan}");
    stage.until("the guard is measured", || peer.asked() == 1);
    signal(&stage, Signal::STOP);
    shim.set_clocks(3 * 60_000, 3 * 60_000);
    peer.answers(Manner::Status(200));
    signal(&stage, Signal::CONT);
    assert_eq!(stage.ended(&plan).await, "failed");
    leases_ended(&stage).await;
    let records = audited(&stage);
    assert_eq!((count(&records, "leased"), count(&records, "applied"), stage.starts("worker")), (1, 0, 1));
    leases_are_dead(&records);
}

/// A plan that has its permit, while its trigger is measured once more.
async fn in_its_claim(stage: &Stage, peer: &Peer) -> String {
    // Answered for the decision, and not a second time, for the claim.
    peer.answers(Manner::Once);
    let (status, plan) = propose_because(stage, "worker", "peer.answers").await;
    assert_eq!(status, 201, "{plan}");
    stage.until("the trigger is measured for the claim", || peer.asked() == 2);
    plan
}
