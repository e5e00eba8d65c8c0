//! Process probes: the operating system's word about a supervised process.

use std::sync::Arc;

use holdpoint_adapters::{executor::process::Supervisor, probe::WorldProber};
use holdpoint_domain::{
    target::Address,
    trigger::{Check, ProcessExpect, Reading, Truth, Why},
};

use super::{
    probe_network::{condition, measure, probe, prober, target},
    supervise::{Yard, exists, kill, pid, sleeper},
    support::{StoppedClock, id, wait_until},
};

async fn read(prober: &WorldProber, unit: &str, expect: ProcessExpect) -> Reading {
    let condition = condition(1, vec![probe("unit", 2000, Check::Process { expect })]);
    let target = target(&[("unit", "os", Address::Unit(id(unit)))]);
    measure(prober, &condition, &target).await.remove(0)
}

#[tokio::test]
async fn the_process_table() {
    let yard = Yard::new();
    let supervisor = Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap();
    supervisor.ensure_started().unwrap();
    let prober = WorldProber::new(Arc::new(StoppedClock::new()), Some(supervisor.reader())).unwrap();
    let table = async |truths: [(ProcessExpect, Truth, Why); 6]| {
        for (expect, truth, why) in truths {
            let reading = read(&prober, "web-1", expect.clone()).await;
            assert_eq!((reading.truth, reading.why), (truth, why), "{expect:?}");
        }
    };
    const HUGE: u64 = 1 << 50;
    use Truth::{DoesNotHold as No, Holds as Yes};
    table([
        (ProcessExpect::Running, Yes, Why::Measured),
        (ProcessExpect::NotRunning, No, Why::Measured),
        (ProcessExpect::RssAbove(0), Yes, Why::Measured),
        (ProcessExpect::RssAbove(HUGE), No, Why::Measured),
        (ProcessExpect::RssAtMost(HUGE), Yes, Why::Measured),
        (ProcessExpect::RssAtMost(0), No, Why::Measured),
    ])
    .await;
    let rss = read(&prober, "web-1", ProcessExpect::RssAbove(0)).await.value.unwrap();
    assert!(rss > 4096.0 && rss < 1e9, "{rss}");
    // The limit itself is not above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test")]
    let exact = rss as u64;
    let at_most = read(&prober, "web-1", ProcessExpect::RssAtMost(exact)).await;
    assert_eq!(at_most.truth == Yes, at_most.value.unwrap() <= rss);

    let gone = pid(yard.path(), "web-1");
    kill(gone);
    wait_until("it is gone", || !exists(gone));
    table([
        (ProcessExpect::Running, No, Why::Measured),
        (ProcessExpect::NotRunning, Yes, Why::Measured),
        (ProcessExpect::RssAbove(0), No, Why::NoData),
        (ProcessExpect::RssAbove(HUGE), No, Why::NoData),
        (ProcessExpect::RssAtMost(HUGE), No, Why::NoData),
        (ProcessExpect::RssAtMost(0), No, Why::NoData),
    ])
    .await;

    let unknown = read(&prober, "web-2", ProcessExpect::NotRunning).await;
    assert_eq!((unknown.truth, unknown.why), (Truth::Indeterminate, Why::NoData));
    std::fs::write(yard.path().join("web-1.json"), "garbage").unwrap();
    let garbage = read(&prober, "web-1", ProcessExpect::NotRunning).await;
    assert_eq!((garbage.truth, garbage.why), (Truth::Indeterminate, Why::OurFault));
}

#[tokio::test]
async fn without_a_supervisor_nobody_can_tell() {
    for expect in [ProcessExpect::Running, ProcessExpect::NotRunning] {
        let reading = read(prober(), "web-1", expect).await;
        assert_eq!((reading.truth, reading.why), (Truth::Indeterminate, Why::OurFault));
    }
}
