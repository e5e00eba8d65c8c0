//! Leases: the plan's exact steps, a short life, and an end that is an end.

use holdpoint_domain::{
    Rung, Timestamp,
    lease::{LeaseError, LeaseInfo, LeaseSecret, MAX_LEASE_MS, MIN_LEASE_MS, Scope, Terms, Ttl},
    time::MAX_MS,
};

use super::support::{NOW, at, grant, id, ms, permit, plan};

/// The lease of a plan that needs `need` milliseconds, at `now`, for a permit whose undo window ends at `undo_until`.
fn leased(need: u64, terms: &Terms, now: u64, undo_until: u64) -> Result<LeaseInfo, LeaseError> {
    let mut grant = grant(Rung::T1, &[]).unwrap();
    grant.undo_until_ms = at(undo_until);
    LeaseInfo::least(id("lease-1"), &permit(&grant), terms, plan().steps(), ms(need), at(now))
}

fn lease(need: u64, now: u64, undo_until: u64) -> Option<LeaseInfo> {
    leased(need, &Terms::local(), now, undo_until).ok()
}

fn scope(action: &str, target: &str) -> Scope {
    Scope { action: id(action), target: id(target) }
}

#[test]
fn inv08_t25_a_lease_ends_with_its_time_its_permit_or_the_longest_life() {
    let far = NOW + 10 * MAX_LEASE_MS;
    let cases = [
        ("its time", 1_000, NOW, far, Some(NOW + 1_000)),
        ("the permit's undo window", 60_000, NOW, NOW + 1_500, Some(NOW + 1_500)),
        ("the longest life", MAX_LEASE_MS + 1, NOW, far, Some(NOW + MAX_LEASE_MS)),
        ("the longest life of all", MAX_MS, NOW, far, Some(NOW + MAX_LEASE_MS)),
        ("nothing, which is not for ever", 0, NOW, far, None),
        ("what a backend that counts in seconds rounds to nothing", 999, NOW, far, None),
        ("a permit that is over", 1_000, NOW, NOW - 1, None),
        ("a permit that ends now", 1_000, NOW, NOW, None),
        ("a permit that ends before a second", 1_000, NOW, NOW + 999, None),
        ("more than a clock can say", 1_000, MAX_MS, MAX_MS, None),
        ("the last millisecond there is", 0, MAX_MS, MAX_MS, None),
    ];
    for (what, need, now, undo_until, end) in cases {
        let lease = lease(need, now, undo_until);
        assert_eq!(lease.as_ref().map(|lease| lease.expires_at_ms.ms()), end, "{what}");
        let Some(lease) = lease else { continue };
        assert_eq!((&lease.permit, &lease.backend), (&id("permit-1"), &None));
        let covers = |now: Timestamp| lease.covers(&lease.scopes[0], now);
        let end = lease.expires_at_ms.ms();
        assert!(covers(at(end - 1)), "{what}: the last millisecond before the end");
        assert!(!covers(at(end)), "{what}: the end itself is too late");
        assert!(!covers(at(MAX_MS)), "{what}");
        assert_eq!(covers(at(now)), now < end, "{what}");
    }
}

#[test]
fn t25_a_life_is_never_nothing_negative_or_without_end() {
    for bad in [0, MIN_LEASE_MS - 1, MAX_LEASE_MS + 1, MAX_MS, MAX_MS + 1, u64::MAX] {
        assert_eq!(Ttl::new(bad), Err(LeaseError::Ttl(bad)));
    }
    for good in [MIN_LEASE_MS, 60_000, MAX_LEASE_MS] {
        assert_eq!(Ttl::new(good).unwrap().span().ms(), good);
    }
    assert_eq!(u64::from(Ttl::LONGEST), MAX_LEASE_MS);
    assert_eq!(u64::from(Ttl::SHORTEST), MIN_LEASE_MS);
    for bad in [
        "-1",
        "-60000",
        "0",
        "0.5",
        "1e3",
        "\"60000\"",
        "null",
        "18446744073709551615",
        "18446744073709551616",
    ] {
        assert!(serde_json::from_str::<Ttl>(bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn t25_the_shortest_of_what_plan_and_operator_allow_and_no_backend_that_must_lease_longer() {
    let ttl = |ms| Ttl::new(ms).unwrap();
    let terms = |min, max, ends_early| Terms {
        backend: Some(id("orders")),
        min: ttl(min),
        max: ttl(max),
        ends_early,
    };
    let far = NOW + 10 * MAX_LEASE_MS;
    let end = |need, terms| leased(need, &terms, NOW, far).map(|lease| lease.expires_at_ms.ms() - NOW);
    assert_eq!(end(60_000, terms(1_000, 30_000, false)), Ok(30_000), "the operator's");
    assert_eq!(end(20_000, terms(1_000, 30_000, false)), Ok(20_000), "the plan's");
    let too_long = LeaseError::Minimum { min: 600_000, life: 20_000 };
    assert_eq!(end(20_000, terms(600_000, 900_000, false)), Err(too_long.clone()));
    assert!(too_long.to_string().contains("at least 600000 ms"), "{too_long}");
    assert_eq!(end(20_000, terms(600_000, 900_000, true)), Ok(20_000), "a bound object ends it");
    assert_eq!(end(600_000, terms(600_000, 900_000, false)), Ok(600_000));
    assert_eq!(leased(20_000, &terms(1_000, 30_000, false), NOW, far).unwrap().backend, Some(id("orders")));
}

#[test]
fn inv11_a_lease_of_before_there_were_backends_is_read_and_has_the_same_bytes() {
    let old = r#"{"expires_at_ms":5,"id":"lease-1","permit":"permit-1","scopes":[]}"#;
    let read: LeaseInfo = serde_json::from_str(old).unwrap();
    assert_eq!(read.backend, None);
    assert_eq!(String::from_utf8(holdpoint_domain::digest::canonical(&read).unwrap()).unwrap(), old);
    let named = LeaseInfo { backend: Some(id("orders")), ..read };
    let bytes = holdpoint_domain::digest::canonical(&named).unwrap();
    assert_eq!(serde_json::from_slice::<LeaseInfo>(&bytes).unwrap(), named);
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
    let lease = holdpoint_domain::lease::Lease { info: lease(1_000, NOW, NOW + 1_000).unwrap(), secret };
    for shown in [format!("{lease:?}"), format!("{lease:#?}"), format!("{:?}", lease.secret)] {
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(lease.secret.expose(), "hunter2");
}
