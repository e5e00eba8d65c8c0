//! Measured systems that hang, fail, lie or talk nonsense, before the effect and after it.

use super::super::stage::Stage;
use super::outside::{audited, count, leases_are_dead};
use super::peer::{Manner, Peer};
use super::{edit, leases_ended, propose, propose_because};

/// Everything that is no answer, or one that says no.
const WRONG: [Manner; 6] = [
    Manner::Hang,
    Manner::Garbage,
    Manner::Drop,
    Manner::Status(500),
    Manner::Status(503),
    // A redirect is not followed to somebody who would say yes.
    Manner::Status(302),
];

#[tokio::test]
async fn inv10_a_trigger_that_hangs_fails_or_makes_no_sense_starts_nothing() {
    let (peer, mut stage) = (Peer::start(), Stage::new());
    peer.is_measured(&stage, "triggers");
    stage.start();
    stage.until("the unit runs", || stage.starts("worker") == 1);
    for manner in WRONG {
        peer.answers(manner);
        let (status, plan) = propose_because(&stage, "worker", "peer.answers").await;
        // Held for people, or measured again later: never started.
        assert_eq!(status, 202, "{manner:?}: {plan}");
    }
    let records = audited(&stage);
    assert_eq!((count(&records, "permitted"), stage.starts("worker")), (0, 1));
}

/// The effect was made, and what must be as good as before answers wrongly for ever: nothing is applied a second time, and
/// nothing is called a success.
#[tokio::test]
async fn inv03_inv16_a_system_that_answers_wrongly_after_the_effect_is_no_success() {
    for manner in [Manner::Hang, Manner::Garbage, Manner::Status(500)] {
        let (peer, mut stage) = (Peer::start(), Stage::new());
        peer.is_measured(&stage, "guards");
        edit(&stage, "catalogue.yaml", "settle_ms: 10000", "settle_ms: 1500");
        stage.start();
        stage.until("the unit runs", || stage.starts("worker") == 1);
        // Once for the rehearsal; from then on wrongly.
        peer.answers(Manner::Once);
        let (status, plan) = propose(&stage, "worker").await;
        assert_eq!(status, 201, "{plan}");
        stage.until("the guard is measured again", || peer.asked() >= 2);
        peer.answers(manner);
        let state = stage.ended(&plan).await;
        assert!(["undone", "undo_failed", "in_doubt"].contains(&state.as_str()), "{manner:?}: {state}");
        leases_ended(&stage).await;
        let records = audited(&stage);
        assert_eq!((count(&records, "applying"), count(&records, "succeeded")), (1, 0), "{manner:?}");
        assert!(stage.starts("worker") <= 3, "the effect, and what heals itself once more");
        leases_are_dead(&records);
    }
}
