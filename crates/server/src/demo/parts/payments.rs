//! Payments: takes money from whoever has a token that is on its list. It reads the list anew for each request.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use holdpoint_adapters::system::SystemClock;
use holdpoint_app::port::Clock as _;
use holdpoint_domain::Millis;
use serde::Deserialize;

use super::wire::{Answer, Handler, Request};

/// Where its customers are. A token that comes from anywhere else is in hands that it was not made for.
const CUSTOMERS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long a misuse is shown.
const REMEMBERED: Millis = Millis::secs(60);

/// The list of accepted tokens, as `secret.rotate` keeps it: digests, no token.
#[derive(Deserialize)]
struct Accepted {
    accepted: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    sha256: String,
}

#[derive(Default)]
struct Counts {
    charged: AtomicU64,
    refused: AtomicU64,
    misused: Mutex<Option<Millis>>,
    clock: SystemClock,
}

/// Payments with its list in this file.
pub(super) fn handler(list: PathBuf) -> Handler {
    let counts = Counts::default();
    Arc::new(move |request| match request.what() {
        ("GET", "/charge") => charge(request, &list, &counts),
        ("GET", "/healthz") => Answer::ok("ok\n"),
        ("GET", "/metrics") => Answer::ok(metrics(&counts)),
        _ => Answer::not_found(),
    })
}

fn charge(request: &Request, list: &PathBuf, counts: &Counts) -> Answer {
    let Some(list) = std::fs::read(list).ok().and_then(|text| serde_json::from_slice::<Accepted>(&text).ok())
    else {
        return Answer::unavailable("the list of tokens cannot be read\n");
    };
    let known = request
        .bearer
        .as_deref()
        .map(super::sha256)
        .is_some_and(|token| list.accepted.iter().any(|entry| entry.sha256 == token));
    if !known {
        counts.refused.fetch_add(1, Ordering::SeqCst);
        return Answer { status: 401, body: "unknown token\n".to_owned() };
    }
    counts.charged.fetch_add(1, Ordering::SeqCst);
    if request.from != CUSTOMERS {
        *counts.misused.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts.clock.elapsed());
    }
    Answer::ok("charged\n")
}

fn metrics(counts: &Counts) -> String {
    let misused = *counts.misused.lock().unwrap_or_else(PoisonError::into_inner);
    let now = counts.clock.elapsed().ms();
    let misused = u8::from(misused.is_some_and(|at| now.saturating_sub(at.ms()) < REMEMBERED.ms()));
    format!(
        "# HELP demo_token_misused Whether a good token came from somewhere else than its owner, within a minute.\n\
         # TYPE demo_token_misused gauge\ndemo_token_misused {misused}\n\
         # HELP demo_charges_total Charges, by what came of them.\n# TYPE demo_charges_total counter\n\
         demo_charges_total{{outcome=\"charged\"}} {}\ndemo_charges_total{{outcome=\"refused\"}} {}\n{}",
        counts.charged.load(Ordering::SeqCst),
        counts.refused.load(Ordering::SeqCst),
        super::memory_metric()
    )
}
