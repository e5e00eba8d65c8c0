//! Futures without a runtime: polled by hand, one step at a time.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// Lets everybody else run once. The only way in which a fake waits.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|ctx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        ctx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a future at most `polls` times; none when it has not ended by then. Dropping it afterwards is what a crash does:
/// whatever comes after the point that it reached never happens.
pub fn poll_at_most<F: Future + ?Sized>(future: &mut Pin<Box<F>>, polls: usize) -> Option<F::Output> {
    let mut ctx = Context::from_waker(Waker::noop());
    (0..polls).find_map(|_| match future.as_mut().poll(&mut ctx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// Polls a future to its end. Never returns for one that waits for something that no fake brings about.
pub fn to_the_end<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    loop {
        if let Some(output) = poll_at_most(&mut future, usize::MAX) {
            return output;
        }
    }
}
