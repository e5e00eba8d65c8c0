//! Credentials that are alive: what they are good for, when they end, and which of them do not end as they should.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::revoke::{self, LiveLease, Trouble};
use holdpoint_domain::Timestamp;

use super::page;
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::Frame,
        show::{When, tame},
    },
    http::Problem,
};

#[derive(Template)]
#[template(path = "leases.html")]
struct Page {
    frame: Frame,
    leases: Vec<Lease>,
}

struct Lease {
    id: String,
    plan: String,
    permit: String,
    backend: String,
    scopes: Vec<String>,
    ends: When,
    over: bool,
    asked: bool,
    tries: u32,
    alarm: bool,
    why: String,
}

/// `GET /leases`. Never a secret.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let now = console.now();
    let live = revoke::live(&console.door.service.gate()).await?;
    let mut leases: Vec<_> = live.into_iter().map(|lease| one(lease, now)).collect();
    leases.sort_by_key(|lease| (!lease.alarm, lease.ends.ms));
    page(&Page { frame: Frame::new(&console, Some(&visitor), "/leases").await, leases })
}

fn one(live: LiveLease, now: Timestamp) -> Lease {
    let LiveLease { plan, info, asked, trouble } = live;
    let scopes = info.scopes.iter().map(|scope| format!("{} on {}", scope.action, scope.target));
    Lease {
        id: info.id.to_string(),
        plan: plan.to_string(),
        permit: info.permit.to_string(),
        backend: info.backend.map_or_else(|| "on this machine".to_owned(), |backend| backend.to_string()),
        scopes: scopes.collect(),
        over: info.expires_at_ms <= now,
        ends: When::new(info.expires_at_ms, now),
        asked,
        tries: trouble.as_ref().map_or(0, |trouble| trouble.tries),
        alarm: trouble.as_ref().is_some_and(Trouble::is_alarm),
        why: trouble.map(|trouble| tame(&trouble.why)).unwrap_or_default(),
    }
}
