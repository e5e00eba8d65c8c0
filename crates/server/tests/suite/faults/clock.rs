//! Clocks that are set forward or back, or that stand still.

use std::fs;

use serde_json::Value;

use super::super::consent::{post, signed};
use super::super::stage::Stage;
use super::outside::{audited, count};
use super::shim::Shim;
use super::{edit, held, shimmed};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// As it stands in the record.
const EXPIRED: &[u8] = br#""kind":"expired""#;

/// A gate whose holds last two minutes.
fn with_short_holds() -> (Stage, Shim) {
    let (mut stage, shim) = shimmed();
    edit(&stage, "holdpoint.yaml", "timings: {", "timings: {hold_ms: 120000, ");
    stage.start();
    stage.until("the units run", || stage.starts("sleeper") == 1);
    (stage, shim)
}

/// A plan that is held, with a person's signature that was not handed in yet.
struct Held {
    plan: String,
    hold: String,
    statement: Value,
}

impl Held {
    async fn new(stage: &Stage) -> Self {
        let (plan, hold) = held(stage).await;
        let statement = serde_json::to_value(signed(stage, &hold).await).unwrap();
        Self { plan, hold, statement }
    }

    async fn hand_in(&self, stage: &Stage) -> u16 {
        post(stage, &self.hold, &stage.person("ada"), &self.statement).await
    }
}

#[tokio::test]
async fn t06_t25_a_clock_that_is_set_back_or_stands_still_makes_nothing_young_again() {
    for step in [Some(-SECOND), Some(-MINUTE), Some(-HOUR), None] {
        let (stage, shim) = with_short_holds();
        let held = Held::new(&stage).await;
        // Half of the hold passes, and the gate looks at its clock ...
        shim.set_clocks(MINUTE, MINUTE);
        stage.get("/v1/status", &stage.person("ada")).await;
        // ... which is set back, or stops. The other half passes.
        match step {
            Some(step) => shim.set_clocks(2 * MINUTE + step, 2 * MINUTE),
            None => {
                shim.freeze_wall(MINUTE);
                shim.set_clocks(2 * MINUTE, 2 * MINUTE);
            }
        }
        let status = held.hand_in(&stage).await;
        assert!((400..500).contains(&status), "{step:?}: an approval counted after its hold: {status}");
        assert_eq!(stage.ended(&held.plan).await, "expired", "{step:?}");
        assert_eq!((count(&audited(&stage), "permitted"), stage.starts("sleeper")), (0, 1));
    }
}

#[tokio::test]
async fn t25_a_clock_that_is_set_forward_ends_what_it_passes_and_nothing_else() {
    let (mut stage, shim) = with_short_holds();
    for step in [SECOND, MINUTE] {
        let held = Held::new(&stage).await;
        shim.set_clocks(step, 0);
        assert_eq!(held.hand_in(&stage).await, 200, "{step}");
        assert_eq!(stage.ended(&held.plan).await, "succeeded", "{step}");
    }
    // An hour ends holds and tokens.
    let (held, token) = (Held::new(&stage).await, stage.person("ada"));
    shim.set_clocks(HOUR, 0);
    assert_eq!(post(&stage, &held.hold, &token, &held.statement).await, 401, "a token outlived its time");
    // Set back again, nothing is younger for it.
    shim.set_clocks(0, 0);
    assert_eq!(post(&stage, &held.hold, &token, &held.statement).await, 401, "a token was young again");
    // The end of the hold is on record, whoever may ask for it.
    stage.until("the hold ends", || {
        let log = fs::read(stage.path("data/holdpoint.db-wal")).unwrap();
        log.windows(EXPIRED.len()).any(|bytes| bytes == EXPIRED)
    });
    // A start believes the clock of the machine again. What has ended has ended.
    stage.kill();
    stage.start();
    assert_eq!(stage.ended(&held.plan).await, "expired");
    assert!((400..500).contains(&held.hand_in(&stage).await));
    assert_eq!((count(&audited(&stage), "applying"), stage.starts("sleeper")), (2, 3));
}
