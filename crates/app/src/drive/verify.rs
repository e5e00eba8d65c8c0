//! Verify: the result is measured, over all steps, for the soak time.

use holdpoint_domain::{
    Millis,
    halt::Reach,
    id::kind,
    record::{Body, DoubtWhy, FailWhy},
    trigger::{SignedEvidence, Truth},
};

use super::bench::{Bench, BenchStep};
use crate::{
    gather,
    refusal::{Refusal, internal},
};

/// Shortest pause between two measurements of a verification.
const MIN_PAUSE: Millis = match Millis::new(50) {
    Ok(pause) => pause,
    Err(_) => Millis::secs(1),
};

/// What came of a soak.
pub(super) enum Soaked {
    /// Everything held without a break.
    Held(Vec<SignedEvidence>),
    /// It did not settle in time.
    Failed(Vec<SignedEvidence>, FailWhy),
    /// A target is not in the version that our effect left.
    Changed,
    /// Somebody halted everything, undos included.
    Halted,
}

/// Applied → succeeded, or → undoing. Every step's condition must hold without a break for the soak time, on the version that
/// its effect left, and so must what held before.
pub(super) async fn verify(bench: &Bench<'_>) -> Result<(), Refusal> {
    let last = bench.view.applied().checked_sub(1).ok_or_else(|| internal("applied without a step"))?;
    match soak(bench, &bench.steps, Versions::AsLeft).await? {
        Soaked::Held(evidence) => {
            let digest =
                evidence.last().ok_or_else(|| internal("nothing was measured"))?.evidence.digest()?;
            let mut bodies = vec![Body::Succeeded { evidence: digest }];
            bodies.extend(bench.review_of_success()?);
            bench.with_evidence(evidence, bodies).await
        }
        Soaked::Changed => bench.doubt(DoubtWhy::ChangedSince).await,
        Soaked::Halted => bench.doubt(DoubtWhy::HaltedHard).await,
        Soaked::Failed(evidence, why) => {
            let undoing = bench.undoing(last, why)?;
            bench.with_evidence(evidence, vec![undoing]).await
        }
    }
}

/// Which versions a soak expects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    /// Those that our effects left.
    AsLeft,
    /// Any.
    Any,
}

/// Measures the verification of `steps` until it has held for the soak time, the settle time is over, or a target is not in the
/// version that is expected.
pub(super) async fn soak(
    bench: &Bench<'_>,
    steps: &[BenchStep<'_>],
    versions: Versions,
) -> Result<Soaked, Refusal> {
    let clock = &bench.gate.ports.clock;
    let longest = |of: fn(&BenchStep<'_>) -> Millis| steps.iter().map(of).max().unwrap_or(MIN_PAUSE);
    let (soak_ms, settle_ms) = (longest(|step| step.action.soak_ms), longest(|step| step.action.settle_ms));
    let began = clock.elapsed().ms();
    let spent = |from: u64| clock.elapsed().ms().saturating_sub(from);
    let mut holding_since = None;
    loop {
        if bench.halted().is_some_and(|halt| halt.reach == Reach::Hard) {
            return Ok(Soaked::Halted);
        }
        let measured = measure(bench, steps, versions).await?;
        let (verified, kept) = match measured.versions {
            Seen::Other => return Ok(Soaked::Changed),
            Seen::Expected => (measured.verified, measured.kept),
            // A target that cannot be seen does not hold: nobody could say on which version.
            Seen::Nothing => (false, true),
        };
        if verified && kept {
            let since = *holding_since.get_or_insert_with(|| clock.elapsed().ms());
            if spent(since) >= soak_ms.ms() {
                return Ok(Soaked::Held(measured.evidence));
            }
        } else {
            holding_since = None;
        }
        if spent(began) > settle_ms.ms().saturating_add(soak_ms.ms()) {
            let why = if verified { FailWhy::Regressed } else { FailWhy::NotVerified };
            return Ok(Soaked::Failed(measured.evidence, why));
        }
        clock.sleep(bench.gate.settings.verify_every_ms.min(soak_ms.max(MIN_PAUSE))).await;
    }
}

/// What the versions of the targets are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Expected,
    Other,
    Nothing,
}

struct Measured {
    evidence: Vec<SignedEvidence>,
    verified: bool,
    kept: bool,
    versions: Seen,
}

async fn measure(
    bench: &Bench<'_>,
    steps: &[BenchStep<'_>],
    versions: Versions,
) -> Result<Measured, Refusal> {
    let mut measured =
        Measured { evidence: Vec::new(), verified: true, kept: true, versions: Seen::Expected };
    for (number, step) in (0..).zip(steps) {
        for guard in step.action.guards.iter().filter(|guard| held_before(bench, step, guard)) {
            let evidence = gather::measure(bench.gate, bench.condition(guard)?, step.target).await?;
            measured.kept &= evidence.evidence.agreement.truth == Truth::Holds;
            measured.evidence.push(evidence);
        }
        let condition = bench.condition(&step.action.verify)?;
        let evidence = gather::measure(bench.gate, condition, step.target).await?;
        measured.verified &= evidence.evidence.agreement.truth == Truth::Holds;
        measured.evidence.push(evidence);
        if versions == Versions::Any {
            continue;
        }
        match bench.observe(step).await {
            Some(seen) if seen.version == bench.left(number)? => {}
            Some(_) => measured.versions = Seen::Other,
            None if measured.versions == Seen::Expected => measured.versions = Seen::Nothing,
            None => {}
        }
    }
    Ok(measured)
}

/// Whether a condition held on the step's target when it was last measured before the first effect.
fn held_before(
    bench: &Bench<'_>,
    step: &BenchStep<'_>,
    guard: &holdpoint_domain::Id<kind::Condition>,
) -> bool {
    let before = bench
        .view
        .records
        .iter()
        .map(|(_, record)| &record.body)
        .take_while(|body| !matches!(body, Body::Applying { .. }));
    let truths = before.filter_map(|body| {
        let Body::Measured { evidence } = body else { return None };
        let evidence = &evidence.evidence;
        let ours = evidence.condition == *guard && evidence.target == step.target.id;
        ours.then_some(evidence.agreement.truth)
    });
    truths.last() == Some(Truth::Holds)
}
