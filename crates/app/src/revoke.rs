//! Revoke: end leases, prove it, record it; again and again until it is proven.
//!
//! Each lease is ended for itself: a backend that is slow, or that refuses, delays nothing but its own leases. A lease that
//! cannot be proven dead stays in the list of live ones and is tried again, after a pause that doubles up to [`MAX_PAUSE_MS`].
//! From the third failure on that is an alarm.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use holdpoint_domain::{
    Id, Millis,
    actor::{Actor, Identity},
    flow::State,
    id::kind,
    lease::LeaseInfo,
    record::{Body, Record, Request},
};

use crate::{
    gate::Gate,
    port::{IssueError, Txn},
    propose::record_refusal,
    refusal::{Blame, Refusal},
    statement::person,
    view::PlanView,
};

/// How often one call tries before it leaves the rest to the sweep.
const TRIES: u32 = 5;
/// How long one call goes on trying, whatever the backend does.
const PATIENCE_MS: u64 = 5_000;
/// The pause after the first failure; it doubles.
const FIRST_PAUSE_MS: u64 = 100;
/// The longest pause: whoever repairs the backend does not wait for us.
pub const MAX_PAUSE_MS: u64 = 60_000;
/// From this failure on somebody must look.
pub const ALARM_AT: u32 = 3;

/// How the end of a lease goes that is not proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How often it failed.
    pub tries: u32,
    /// How it failed last.
    pub why: String,
    /// When it is tried again, by [`crate::port::Clock::elapsed`].
    pub next_at: Millis,
}

impl Trouble {
    /// Whether somebody must look.
    #[must_use]
    pub const fn is_alarm(&self) -> bool {
        self.tries >= ALARM_AT
    }
}

/// What the process remembers of revocations. A restart forgets it, and revokes whatever is alive.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    under_way: BTreeSet<Id<kind::Lease>>,
    /// By a person, while the run goes on.
    asked: BTreeSet<Id<kind::Lease>>,
    troubles: BTreeMap<Id<kind::Lease>, Trouble>,
}

/// The right to end a lease, which one has at a time.
struct Turn<'a>(&'a Gate, &'a Id<kind::Lease>);

impl<'a> Turn<'a> {
    fn take(gate: &'a Gate, lease: &'a Id<kind::Lease>) -> Option<Self> {
        let is_free = gate.revocations().under_way.insert(lease.clone());
        // Not `then_some`: one that is not given out must not be given back either.
        is_free.then(|| Self(gate, lease))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.revocations().under_way.remove(self.1);
    }
}

/// The leases whose end is not proven although it was tried, and how that goes.
#[must_use]
pub fn troubles(gate: &Gate) -> BTreeMap<Id<kind::Lease>, Trouble> {
    gate.revocations().troubles.clone()
}

/// What came of one try to end a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    /// It is proven dead, and recorded so.
    Proven,
    /// It is not dead yet.
    NotYet,
    /// It is not dead before its own end, whoever tries.
    Lasts,
}

/// Ends all leases of a plan's run that are not proven dead, side by side. Returns in a few seconds; what is not dead by then
/// is the sweep's.
pub(crate) async fn leases_of(gate: &Gate, view: &PlanView) -> Result<(), Refusal> {
    let live = gate.ports.store.live_leases().await?;
    let ours = live.iter().filter(|(plan, _)| *plan == view.id);
    join_all(ours.map(|(plan, lease)| persist(gate, plan, lease))).await.into_iter().collect()
}

async fn persist(gate: &Gate, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<(), Refusal> {
    let began = gate.ports.clock.elapsed().ms();
    let mut pause_ms = FIRST_PAUSE_MS;
    for tried in 1..=TRIES {
        match attempt(gate, plan, lease).await? {
            Try::Proven | Try::Lasts => break,
            Try::NotYet if tried == TRIES => break,
            Try::NotYet => {}
        }
        if gate.ports.clock.elapsed().ms().saturating_sub(began) > PATIENCE_MS {
            break;
        }
        gate.ports.clock.sleep(Millis::new(pause_ms).unwrap_or(Millis::secs(1))).await;
        pause_ms = pause_ms.saturating_mul(2);
    }
    Ok(())
}

/// Tries once to end a lease.
async fn attempt(gate: &Gate, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<Try, Refusal> {
    let Some(_turn) = Turn::take(gate, &lease.id) else { return Ok(Try::NotYet) };
    // Whoever had the turn before us may have done it.
    if !gate.ports.store.live_leases().await?.iter().any(|(_, live)| live.id == lease.id) {
        return Ok(Try::Proven);
    }
    match gate.ports.issuer.revoke(lease.backend.as_ref(), &lease.id).await {
        Ok(()) => {
            let body = Body::Revoked { lease: lease.id.clone() };
            let record = Record::new(gate.now(), Actor::Issuer, Some(plan.clone()), body);
            // If we stop before this returns, the lease is dead but not recorded so: it is revoked once more.
            let txn = Txn { records: vec![record], essential: true, ..Txn::default() };
            gate.ports.store.append(txn).await?;
            let mut revocations = gate.revocations();
            revocations.troubles.remove(&lease.id);
            revocations.asked.remove(&lease.id);
            Ok(Try::Proven)
        }
        Err(IssueError::Lasts(why)) => {
            lasts(gate, lease, why);
            Ok(Try::Lasts)
        }
        Err(err @ (IssueError::Refused(_) | IssueError::Backend(_))) => {
            failed(gate, lease, err.to_string());
            Ok(Try::NotYet)
        }
    }
}

/// Notes that a lease is not dead yet, and says so: loudly from the third time on.
fn failed(gate: &Gate, lease: &LeaseInfo, why: String) {
    let now = gate.ports.clock.elapsed().ms();
    let mut revocations = gate.revocations();
    let tries = revocations.troubles.get(&lease.id).map_or(0, |trouble| trouble.tries).saturating_add(1);
    let next_at = Millis::new(now.saturating_add(pause_ms(tries))).unwrap_or(Millis::secs(0));
    let (id, backend) = (&lease.id, lease.backend.as_ref().map_or("local", Id::as_str));
    if tries >= ALARM_AT {
        tracing::error!(lease = %id, backend, tries, "ALARM: lease {id} of `{backend}` cannot be revoked: {why}");
    } else {
        tracing::warn!(lease = %id, backend, tries, "lease {id} of `{backend}` is not revoked yet: {why}");
    }
    revocations.troubles.insert(lease.id.clone(), Trouble { tries, why, next_at });
}

/// Notes that a lease lives until its own end: no failure, and nothing to alarm anybody about.
fn lasts(gate: &Gate, lease: &LeaseInfo, why: String) {
    let left = lease.expires_at_ms.since(gate.now()).ms().clamp(FIRST_PAUSE_MS, MAX_PAUSE_MS);
    let next_at = gate.ports.clock.elapsed().ms().saturating_add(left);
    let next_at = Millis::new(next_at).unwrap_or(Millis::secs(0));
    let mut revocations = gate.revocations();
    let tries = revocations.troubles.get(&lease.id).map_or(0, |trouble| trouble.tries);
    tracing::info!(lease = %lease.id, "lease {} ends by itself: {why}", lease.id);
    revocations.troubles.insert(lease.id.clone(), Trouble { tries, why, next_at });
}

/// The pause after so many failures.
fn pause_ms(tries: u32) -> u64 {
    let doublings = tries.saturating_sub(1).min(16);
    FIRST_PAUSE_MS.saturating_mul(2_u64.saturating_pow(doublings)).min(MAX_PAUSE_MS)
}

/// Revokes leases whose run is over, that are past their end, or that a person wants ended, side by side; each in its turn.
pub async fn sweep(gate: &Gate) -> Result<(), Refusal> {
    let mut due = Vec::new();
    for (plan, lease) in gate.ports.store.live_leases().await? {
        let over = is_over(gate, &plan).await?;
        if (over || gate.now() >= lease.expires_at_ms || is_asked(gate, &lease.id)) && is_due(gate, &lease.id)
        {
            due.push((plan, lease));
        }
    }
    join_all(due.iter().map(|(plan, lease)| attempt(gate, plan, lease)))
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// Whether the run of a plan needs its leases no more.
pub(crate) async fn is_over(gate: &Gate, plan: &Id<kind::Plan>) -> Result<bool, Refusal> {
    let row = gate.ports.store.plan(plan).await?;
    Ok(row.is_none_or(|row| !row.state.is_running() || row.state == State::InDoubt))
}

/// Whether the end of a lease was asked for, or tried: whoever asks is told that it is over, also while its target is being
/// convinced.
pub(crate) fn is_ending(gate: &Gate, lease: &Id<kind::Lease>) -> bool {
    let revocations = gate.revocations();
    revocations.under_way.contains(lease)
        || revocations.asked.contains(lease)
        || revocations.troubles.contains_key(lease)
}

fn is_asked(gate: &Gate, lease: &Id<kind::Lease>) -> bool {
    gate.revocations().asked.contains(lease)
}

fn is_due(gate: &Gate, lease: &Id<kind::Lease>) -> bool {
    let now = gate.ports.clock.elapsed();
    gate.revocations().troubles.get(lease).is_none_or(|trouble| now >= trouble.next_at)
}

/// Ends what a backend holds of ours and the ledger does not know to be alive: what was minted and never answered, or was
/// believed dead. One backend at a time waits for nobody but itself.
pub async fn orphans(gate: &Gate) {
    match gate.ports.issuer.backends().await {
        Ok(backends) => {
            join_all(backends.iter().map(|backend| orphans_of(gate, backend))).await;
        }
        Err(err) => tracing::warn!("the lease backends are not known: {err}"),
    }
}

async fn orphans_of(gate: &Gate, backend: &Id<kind::Backend>) {
    let issuer = gate.ports.issuer.as_ref();
    // The backend first, the ledger second: each lease is announced before it is minted, so one that is minted after the
    // backend was read cannot look like an orphan.
    let held = match issuer.held(backend).await {
        Ok(held) => held,
        Err(err) => return tracing::warn!(%backend, "leases of `{backend}` cannot be listed: {err}"),
    };
    let live = match gate.ports.store.live_leases().await {
        Ok(live) => live,
        Err(err) => return tracing::warn!(%backend, "leases of `{backend}` cannot be compared: {err}"),
    };
    let orphans = held.iter().filter(|held| !live.iter().any(|(_, lease)| lease.id == **held));
    join_all(orphans.map(async |orphan| match issuer.revoke(Some(backend), orphan).await {
        Ok(()) => tracing::warn!(%backend, lease = %orphan, "ended lease {orphan} of `{backend}`, which nobody had"),
        Err(err) => {
            tracing::error!(%backend, lease = %orphan, "lease {orphan} of `{backend}`, which nobody has, lives: {err}");
        }
    }))
    .await;
}

/// A live lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveLease {
    /// The plan whose run it is for.
    pub plan: Id<kind::Plan>,
    /// What everybody may know of it.
    pub info: LeaseInfo,
    /// A person asked for its end.
    pub asked: bool,
    /// How its end goes, once it was tried in vain.
    pub trouble: Option<Trouble>,
}

/// All leases that are not proven dead.
pub async fn live(gate: &Gate) -> Result<Vec<LiveLease>, Refusal> {
    let live = gate.ports.store.live_leases().await?;
    let revocations = gate.revocations();
    let live = live.into_iter().map(|(plan, info)| {
        let trouble = revocations.troubles.get(&info.id).cloned();
        LiveLease { plan, asked: revocations.asked.contains(&info.id), info, trouble }
    });
    Ok(live.collect())
}

/// Ends a lease because a person asks for it, whatever its run is doing: the run fails safe. Any person in the registry may: a
/// revocation too many costs less than one too few. Returns whether its end is proven already; if not, the gate goes on trying.
pub async fn ask(gate: &Gate, identity: &Identity, lease: &Id<kind::Lease>) -> Result<bool, Refusal> {
    match asked(gate, identity, lease).await {
        Ok(proven) => Ok(proven),
        Err(refusal) => {
            record_refusal(gate, identity, Request::Revoke, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn asked(gate: &Gate, identity: &Identity, lease: &Id<kind::Lease>) -> Result<bool, Refusal> {
    person(gate, identity)?;
    let live = gate.ports.store.live_leases().await?;
    let Some((plan, info)) = live.into_iter().find(|(_, info)| info.id == *lease) else {
        let fact = format!("there is no live lease `{lease}`");
        return Err(Refusal::new(Blame::NotFound, "no-such-lease", fact, "list the leases to find its id"));
    };
    // If we stop after this, the restart ends the run and with it the lease.
    let body = Body::RevocationAsked { lease: lease.clone() };
    let record = Record::new(gate.now(), identity.actor(), Some(plan.clone()), body);
    gate.ports.store.append(Txn { records: vec![record], essential: true, ..Txn::default() }).await?;
    end(gate, &plan, &info).await
}

/// Ends a lease whatever its run is doing; the sweep goes on until that is proven.
pub(crate) async fn end(gate: &Gate, plan: &Id<kind::Plan>, lease: &LeaseInfo) -> Result<bool, Refusal> {
    gate.revocations().asked.insert(lease.id.clone());
    Ok(attempt(gate, plan, lease).await? == Try::Proven)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv08_the_pause_doubles_up_to_a_minute_and_never_gives_up() {
        let pauses: Vec<_> = [1, 2, 3, 4, 9, 10, 11, 12, 1_000, u32::MAX].map(pause_ms).into();
        assert_eq!(pauses, [100, 200, 400, 800, 25_600, 51_200, 60_000, 60_000, 60_000, 60_000]);
    }
}
