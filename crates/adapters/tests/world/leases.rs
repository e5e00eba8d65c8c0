//! Local leases: minted only for an intent that is in the ledger, checked at every use, dead when revoked.

use std::sync::Arc;

use holdpoint_adapters::lease::{Backends, LeaseRefusal, LeaseTable};
use holdpoint_app::port::{IssueError, Issuer as _};
use holdpoint_domain::{
    Digest, Tier,
    lease::{Lease, LeaseInfo, LeaseSecret, MAX_LEASE_MS, Scope},
    permit::{Grant, Permit},
    plan::Plan,
    time::MAX_MS,
};

use super::{
    scene::{ORIGIN, approve, catalogue, grant, intent, key, lease_info, pins, plan, receipt, sign},
    support::{NOW_MS, StoppedClock, at, id},
};

struct Desk {
    issuer: Backends,
    table: Arc<LeaseTable>,
    clock: Arc<StoppedClock>,
    plan: Plan,
    grant: Grant,
}

impl Desk {
    fn new() -> Self {
        let (table, clock) = (Arc::new(LeaseTable::new()), Arc::new(StoppedClock::new()));
        let log = key(ORIGIN).verifier_key().unwrap();
        let issuer = Backends::local(table.clone(), pins(catalogue()), log, clock.clone());
        let plan = plan(&catalogue(), "process.stop", "web-1", Digest::of_bytes(b"version"));
        let grant = grant(&plan, Tier::T2, 1);
        Self { issuer, table, clock, plan, grant }
    }

    fn permit(&self) -> Permit {
        let gate = key("gate");
        Permit::open(&sign(&self.grant, &gate), &gate.public_key()).unwrap()
    }

    async fn issue(&self, info: LeaseInfo) -> Result<Lease, IssueError> {
        let receipt = receipt(&intent(&self.grant), &key(ORIGIN));
        self.issuer.issue(info, &self.permit(), &receipt, &self.plan).await
    }

    fn info(&self) -> LeaseInfo {
        lease_info(&self.grant, &self.plan)
    }

    fn scope(&self) -> Scope {
        self.info().scopes[0].clone()
    }
}

#[tokio::test]
async fn inv08_a_lease_ends_by_itself_and_by_revocation() {
    let desk = Desk::new();
    let lease = desk.issue(desk.info()).await.unwrap();
    let end = lease.info.expires_at_ms.ms();
    let used_at = |ms: u64| desk.table.check(&lease, &desk.scope(), at(ms));
    assert_eq!(used_at(NOW_MS), Ok(()));
    assert_eq!(used_at(end - 1), Ok(()));
    // No sweeper ran: expiry is checked at use, and the end itself is too late.
    assert_eq!(used_at(end), Err(LeaseRefusal::NotCovered));
    assert_eq!(used_at(MAX_MS), Err(LeaseRefusal::NotCovered));

    desk.issuer.revoke(None, &lease.info.id).await.unwrap();
    assert_eq!(used_at(NOW_MS), Err(LeaseRefusal::Unknown));
    // Again, and for one that never was.
    desk.issuer.revoke(None, &lease.info.id).await.unwrap();
    desk.issuer.revoke(None, &id("lease-never")).await.unwrap();
}

#[tokio::test]
async fn inv08_nothing_survives_a_restart() {
    let desk = Desk::new();
    let lease = desk.issue(desk.info()).await.unwrap();
    let after_restart = LeaseTable::new();
    assert_eq!(after_restart.check(&lease, &desk.scope(), at(NOW_MS)), Err(LeaseRefusal::Unknown));
}

#[tokio::test]
async fn inv06_a_lease_is_good_for_exactly_what_was_minted() {
    let desk = Desk::new();
    let lease = desk.issue(desk.info()).await.unwrap();
    let check = |lease: &Lease, scope: &Scope| desk.table.check(lease, scope, at(NOW_MS));
    for other in [
        Scope { action: id("process.restart"), ..desk.scope() },
        Scope { target: id("web-2"), ..desk.scope() },
    ] {
        assert_eq!(check(&lease, &other), Err(LeaseRefusal::NotCovered));
        // A bearer who widens the words of the lease does not have the lease that was minted.
        let mut widened = lease.clone();
        widened.info.scopes.push(other.clone());
        assert_eq!(check(&widened, &other), Err(LeaseRefusal::Forged));
        assert_eq!(check(&widened, &desk.scope()), Err(LeaseRefusal::Forged));
    }
    let mut longer = lease.clone();
    longer.info.expires_at_ms = at(MAX_MS);
    assert_eq!(check(&longer, &desk.scope()), Err(LeaseRefusal::Forged));
    let mut other_permit = lease.clone();
    other_permit.info.permit = id("permit-2");
    assert_eq!(check(&other_permit, &desk.scope()), Err(LeaseRefusal::Forged));
    for secret in ["", "x", &lease.secret.expose()[1..], &format!("{}x", lease.secret.expose())] {
        let guessed = Lease { secret: LeaseSecret::new(secret.to_owned()), ..lease.clone() };
        assert_eq!(check(&guessed, &desk.scope()), Err(LeaseRefusal::Forged));
    }
    // 256 bits, and another secret each time.
    assert_eq!(lease.secret.expose().len(), 43);
    let second = desk.issue(LeaseInfo { id: id("lease-b"), ..desk.info() }).await.unwrap();
    assert_ne!(second.secret, lease.secret);
    // inv12: neither shows its secret, nor does the table.
    for shown in [format!("{lease:?}"), format!("{:?}", desk.table), format!("{:?}", desk.issuer)] {
        assert!(!shown.contains(lease.secret.expose()), "{shown}");
    }
}

#[tokio::test]
async fn t25_no_lease_without_an_end_or_with_one_too_far() {
    let desk = Desk::new();
    let undo_until = desk.grant.undo_until_ms.ms();
    let ends = [
        (0, false),
        (NOW_MS - 1, false),
        (NOW_MS, false),
        (NOW_MS + 1, true),
        (NOW_MS + MAX_LEASE_MS, true),
        (NOW_MS + MAX_LEASE_MS + 1, false),
        (MAX_MS, false),
    ];
    for (number, (end, fits)) in ends.into_iter().enumerate() {
        let info = LeaseInfo { id: id(&format!("end-{number}")), expires_at_ms: at(end), ..desk.info() };
        assert_eq!(desk.issue(info).await.is_ok(), fits, "an end at {end}");
    }
    desk.clock.set_ms(undo_until - 10);
    let beyond = |end: u64| LeaseInfo { id: id("beyond"), expires_at_ms: at(end), ..desk.info() };
    assert!(desk.issue(beyond(undo_until + 1)).await.is_err());
    assert!(desk.issue(beyond(undo_until)).await.is_ok());
}

#[tokio::test]
async fn inv01_no_lease_without_the_intent_in_the_ledger() {
    let desk = Desk::new();
    let (permit, log) = (desk.permit(), key(ORIGIN));
    let refused =
        async |receipt: &holdpoint_app::receipt::Receipt, permit: &Permit, plan: &Plan, why: &str| {
            let issued = desk.issuer.issue(desk.info(), permit, receipt, plan).await;
            match issued {
                Err(IssueError::Refused(text)) => assert!(text.starts_with(why), "{text}"),
                other => panic!("expected a refusal for {why}, got {other:?}"),
            }
        };
    // The intent of another run: each of its marks differs once.
    let others: [fn(&mut Grant); 5] = [
        |grant| grant.id = id("permit-2"),
        |grant| grant.nonce = id("nonce-2"),
        |grant| grant.epoch = 2,
        |grant| grant.plan_id = id("plan-2"),
        // The same names, and other bytes.
        |grant| grant.granted_at_ms = at(grant.granted_at_ms.ms() - 1),
    ];
    for change in others {
        let mut other = desk.grant.clone();
        change(&mut other);
        refused(&receipt(&intent(&other), &log), &permit, &desk.plan, "receipt: ").await;
    }
    // A log of somebody else, whose key the caller checked the receipt with.
    refused(&receipt(&intent(&desk.grant), &key("another.example/log")), &permit, &desk.plan, "receipt: ")
        .await;
    // A permit that was opened with a key that is not pinned here.
    let mallory = key("mallory");
    let forged = Permit::open(&sign(&desk.grant, &mallory), &mallory.public_key()).unwrap();
    refused(&receipt(&intent(&desk.grant), &log), &forged, &desk.plan, "permit: ").await;
    // Another plan than the permit's.
    let other = plan(&catalogue(), "process.stop", "web-2", Digest::of_bytes(b"version"));
    refused(&receipt(&intent(&desk.grant), &log), &permit, &other, "plan: ").await;
}

#[tokio::test]
async fn inv04_the_issuer_checks_approvals_for_itself() {
    let mut desk = Desk::new();
    desk.plan = plan(&catalogue(), "process.wipe", "web-1", Digest::of_bytes(b"version"));
    desk.grant = grant(&desk.plan, Tier::T3, 1);
    assert!(desk.issue(desk.info()).await.is_err());
    approve(&mut desk.grant, &["mallory"]);
    assert!(desk.issue(desk.info()).await.is_err());
    approve(&mut desk.grant, &["ben"]);
    assert!(desk.issue(desk.info()).await.is_ok());
}

#[tokio::test]
async fn inv06_no_lease_beyond_the_plan() {
    let desk = Desk::new();
    let scope = desk.scope();
    let wide: [Vec<Scope>; 4] = [
        Vec::new(),
        vec![Scope { target: id("web-2"), ..scope.clone() }],
        vec![Scope { action: id("process.restart"), ..scope.clone() }],
        vec![scope.clone(), Scope { target: id("web-2"), ..scope.clone() }],
    ];
    for scopes in wide {
        let info = LeaseInfo { scopes, ..desk.info() };
        assert!(desk.issue(info.clone()).await.is_err(), "{info:?}");
    }
    let other_permit = LeaseInfo { permit: id("permit-2"), ..desk.info() };
    assert!(desk.issue(other_permit).await.is_err());
}

#[tokio::test]
async fn t27_a_lease_id_is_used_once() {
    let desk = Desk::new();
    let first = desk.issue(desk.info()).await.unwrap();
    assert!(desk.issue(desk.info()).await.is_err());
    assert_eq!(desk.table.check(&first, &desk.scope(), at(NOW_MS)), Ok(()));
    desk.issuer.revoke(None, &first.info.id).await.unwrap();
    assert!(desk.issue(desk.info()).await.is_err());
    // Revoked while it was being minted: it is never born.
    let late = LeaseInfo { id: id("late"), ..desk.info() };
    desk.issuer.revoke(None, &late.id).await.unwrap();
    assert!(desk.issue(late).await.is_err());
}
