//! Leases: the plan's exact steps, a short life, and an end that is an end.

use holdpoint_domain::{
    Rung, Timestamp,
    decision::Mode,
    lease::{LeaseInfo, LeaseSecret, MAX_LEASE_MS, Scope},
    time::MAX_MS,
};

use super::support::{NOW, at, grant, id, ms, permit, plan};

/// The lease of `ttl` milliseconds at `now` for a permit whose undo window ends at `undo_until`.
fn lease(ttl: u64, now: u64, undo_until: u64) -> Option<LeaseInfo> {
    let mut grant = grant(Rung::T1, Mode::Production, &[]).unwrap();
    grant.undo_until_ms = at(undo_until);
    LeaseInfo::least(id("lease-1"), &permit(&grant), &plan(), ms(ttl), at(now)).ok()
}

fn scope(action: &str, target: &str) -> Scope {
    Scope { action: id(action), target: id(target) }
}

#[test]
fn inv08_t25_a_lease_ends_with_its_time_its_permit_or_the_longest_life() {
    let far = NOW + 10 * MAX_LEASE_MS;
    let cases = [
        ("its time", 1_000, NOW, far, Some(NOW + 1_000)),
        ("the permit's undo window", 60_000, NOW, NOW + 500, Some(NOW + 500)),
        ("the longest life", MAX_LEASE_MS + 1, NOW, far, Some(NOW + MAX_LEASE_MS)),
        ("the longest life of all", MAX_MS, NOW, far, Some(NOW + MAX_LEASE_MS)),
        ("nothing, which is not for ever", 0, NOW, far, Some(NOW)),
        ("a permit that is over", 1_000, NOW, NOW - 1, Some(NOW - 1)),
        ("more than a clock can say", 1_000, MAX_MS, MAX_MS, None),
        ("the last millisecond there is", 0, MAX_MS, MAX_MS, Some(MAX_MS)),
    ];
    for (what, ttl, now, undo_until, end) in cases {
        let lease = lease(ttl, now, undo_until);
        assert_eq!(lease.as_ref().map(|lease| lease.expires_at_ms.ms()), end, "{what}");
        let Some(lease) = lease else { continue };
        assert_eq!(lease.permit, id("permit-1"));
        let covers = |now: Timestamp| lease.covers(&lease.scopes[0], now);
        let end = lease.expires_at_ms.ms();
        assert!(covers(at(end - 1)), "{what}: the last millisecond before the end");
        assert!(!covers(at(end)), "{what}: the end itself is too late");
        assert!(!covers(at(MAX_MS)), "{what}");
        assert_eq!(covers(at(now)), now < end, "{what}");
    }
}

#[test]
fn inv06_a_lease_covers_the_steps_of_its_plan_and_nothing_else() {
    let lease = lease(1_000, NOW, NOW + 60_000).unwrap();
    assert_eq!(lease.scopes, [scope("process.restart", "worker-1")]);
    assert!(lease.covers(&scope("process.restart", "worker-1"), at(NOW)));
    for (action, target) in [
        ("process.restart", "worker-2"),
        ("process.restart", "worker-10"),
        ("process.restart", "worker"),
        ("process.restart.all", "worker-1"),
        ("process", "worker-1"),
        ("process.stop", "worker-1"),
        ("worker-1", "process.restart"),
    ] {
        assert!(!lease.covers(&scope(action, target), at(NOW)), "{action} on {target}");
    }
    let nothing = LeaseInfo { scopes: vec![], ..lease };
    assert!(!nothing.covers(&scope("process.restart", "worker-1"), at(NOW)));
}

#[test]
fn inv12_a_lease_secret_shows_as_stars() {
    let secret = LeaseSecret::new("hunter2".into());
    let lease = holdpoint_domain::lease::Lease { info: lease(1, NOW, NOW + 1).unwrap(), secret };
    for shown in [format!("{lease:?}"), format!("{lease:#?}"), format!("{:?}", lease.secret)] {
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(lease.secret.expose(), "hunter2");
}
