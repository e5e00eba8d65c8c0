//! The leases of a run: one for each backend that its steps need, announced before any of them is minted.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Id, Millis,
    id::kind,
    lease::{Lease, LeaseError, LeaseInfo, MAX_LEASE_MS, Scope, Terms},
    plan::Step,
    record::Body,
};

use super::bench::Bench;
use crate::{
    port::IssueError,
    refusal::{Refusal, internal},
    run::Run,
};

/// How long a step may take to be rehearsed and applied, beside what the catalogue gives it to settle and soak.
const WORK_MS: u64 = 60_000;

/// What a run holds.
pub(super) type Purse = Vec<Lease>;

/// Why a run gets no leases: its own fault, which ends it, or ours.
pub(super) enum NoLeases {
    Not(String),
    Ours(Refusal),
}

impl From<IssueError> for NoLeases {
    fn from(err: IssueError) -> Self {
        Self::Not(err.to_string())
    }
}

/// The least leases for some steps of a run, by backend.
pub(super) async fn least(bench: &Bench<'_>, run: &Run, steps: &[Step]) -> Result<Vec<LeaseInfo>, NoLeases> {
    let mut by_backend: BTreeMap<Option<Id<kind::Backend>>, (Terms, Vec<&Step>)> = BTreeMap::new();
    for step in steps {
        let terms = bench.gate.ports.issuer.terms(&Scope::of(step)).await?;
        let (least, of) = by_backend.entry(terms.backend.clone()).or_insert((terms.clone(), Vec::new()));
        // One lease for all of them is not longer than any of them may have.
        least.max = least.max.min(terms.max);
        of.push(step);
    }
    let (need, now) = (need(bench), bench.gate.now());
    let lease = |(terms, steps): (Terms, Vec<&Step>)| {
        let id = bench.gate.fresh("lease").map_err(NoLeases::Ours)?;
        LeaseInfo::least(id, &run.permit, &terms, steps, need, now).map_err(|err: LeaseError| {
            let name = terms.backend.as_ref().map_or("local", Id::as_str);
            NoLeases::Not(format!("backend `{name}`: {err}"))
        })
    };
    by_backend.into_values().map(lease).collect()
}

/// How long the run can take, forth and back, by the catalogue: what its leases need to live.
fn need(bench: &Bench<'_>) -> Millis {
    let spans = bench.steps.iter().map(|step| {
        let action = step.action;
        let spans = [action.settle_ms, action.soak_ms, action.settle_ms, action.undo_window_ms];
        spans.iter().fold(WORK_MS, |sum, span| sum.saturating_add(span.ms()))
    });
    let need = spans.fold(0_u64, u64::saturating_add);
    Millis::new(need.min(MAX_LEASE_MS)).unwrap_or(Millis::secs(1))
}

/// The records that announce leases. `first` is the record of the first of them.
pub(super) fn announced(leases: &[LeaseInfo], first: fn(LeaseInfo) -> Body) -> Vec<Body> {
    let further = |lease| Body::LeasedAgain { lease };
    let number = leases.iter().cloned().enumerate();
    number.map(|(number, lease)| if number == 0 { first(lease) } else { further(lease) }).collect()
}

/// Mints leases that the ledger announced, all or none; says why there are none.
pub(super) async fn mint(bench: &Bench<'_>, run: &Run, leases: &[LeaseInfo]) -> Option<Purse> {
    let issuer = &bench.gate.ports.issuer;
    let mut purse = Purse::new();
    for info in leases {
        // If we stop before this returns, `recover` ends the lease by its recorded id.
        match issuer.issue(info.clone(), &run.permit, &run.receipt, &run.view.plan).await {
            Ok(minted) => purse.push(minted),
            Err(err) => {
                tracing::warn!(plan = %run.view.id, "no lease: {err}");
                return None;
            }
        }
    }
    Some(purse)
}

impl Bench<'_> {
    /// The lease in `purse` that covers a step, if nobody asked for its end.
    pub(super) fn lease<'p>(&self, purse: &'p [Lease], number: u32) -> Result<Option<&'p Lease>, Refusal> {
        let scope = Scope::of(self.planned(number)?);
        let usable = |lease: &&Lease| lease.info.scopes.contains(&scope) && !self.is_ended(&lease.info.id);
        Ok(purse.iter().rfind(usable))
    }

    fn is_ended(&self, id: &Id<kind::Lease>) -> bool {
        let ends = |body: &Body| matches!(body, Body::RevocationAsked { lease } | Body::Revoked { lease } if lease == id);
        self.view.records.iter().any(|(_, record)| ends(&record.body))
    }

    /// The leases that were announced for the whole plan.
    pub(super) fn announced(&self) -> Result<&[LeaseInfo], Refusal> {
        let leases = self.view.leases.as_slice();
        if leases.is_empty() { Err(internal("leased without a lease")) } else { Ok(leases) }
    }
}
