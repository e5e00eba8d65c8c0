//! Visitors: ask the checkout for its offers all the time, and count for themselves what comes back.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use super::{
    rate::ErrorRate,
    wire::{Answer, Handler, get},
};

/// The pause between two visits.
const EVERY: Duration = Duration::from_millis(25);
/// How long a visitor waits.
const PATIENCE: Duration = Duration::from_millis(500);

/// Visitors of the checkout at this address.
pub(super) fn handler(checkout: SocketAddr) -> Handler {
    let rate = Arc::new(ErrorRate::default());
    let counted = Arc::clone(&rate);
    thread::spawn(move || {
        loop {
            counted.note(get(checkout, "/offers", PATIENCE).is_ok_and(|(status, _)| status == 200));
            thread::sleep(EVERY);
        }
    });
    Arc::new(move |request| match request.what() {
        ("GET", "/healthz") => Answer::ok("ok\n"),
        ("GET", "/metrics") => Answer::ok(rate.metric("checkout")),
        _ => Answer::not_found(),
    })
}
