//! What holds for all facts and all policies, also for those that no catalogue or gate would ever produce.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Rung, Tier,
    action::{Effect, Reversibility, State, UndoKind},
    actor::Phase,
    decision::{Answer, Ladder, Verdict, floor},
    digest::canonical,
    facts::{Facts, Origin, Standing},
    guardrail::{Demand, GUARDRAILS},
    trigger::Truth,
};
use proptest::{
    bool::ANY as ANY_BOOL,
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

use super::support::{agreement, allow, blast, decide_one, digest, facts, held_back, id, over_budget};

const STATES: [State; 12] = [
    State::Secrets,
    State::Authentication,
    State::Iam,
    State::Rbac,
    State::Network,
    State::Authorization,
    State::CustomerData,
    State::Audit,
    State::AdmissionControl,
    State::Observability,
    State::AvailabilityGuard,
    State::ChangeControl,
];

const EFFECTS: [Effect; 7] = [
    Effect::Reads,
    Effect::Refreshes,
    Effect::Changes,
    Effect::Rotates,
    Effect::Restores,
    Effect::Grants,
    Effect::Deletes,
];

pub(crate) const UNDO_KINDS: [UndoKind; 8] = [
    UndoKind::Inverse,
    UndoKind::PreviousRevision,
    UndoKind::Snapshot,
    UndoKind::GitRevert,
    UndoKind::DeleteArtifact,
    UndoKind::SelfHeals,
    UndoKind::Compensate,
    UndoKind::None,
];

pub(crate) const REVERSIBILITIES: [Reversibility; 4] = [
    Reversibility::ReadOnly,
    Reversibility::Reversible,
    Reversibility::ExternallyReversible,
    Reversibility::Irreversible,
];

pub(crate) fn all_touches() -> Vec<BTreeMap<State, Effect>> {
    let one = STATES.into_iter().flat_map(|state| EFFECTS.map(|effect| BTreeMap::from([(state, effect)])));
    one.chain([BTreeMap::new()]).collect()
}

/// Any facts at all.
pub(crate) fn any_facts() -> impl Strategy<Value = Facts> {
    let action = (
        select(&REVERSIBILITIES[..]),
        prop_oneof![Just(UndoKind::Inverse), Just(UndoKind::SelfHeals), select(&UNDO_KINDS[..])],
        proptest::bool::weighted(0.8),
        select(&Tier::ALL[..]),
        proptest::bool::weighted(0.2),
        prop_oneof![
            3 => Just(BTreeMap::new()),
            1 => btree_map(select(&STATES[..]), select(&EFFECTS[..]), 1..4),
        ],
    );
    let target = option::weighted(0.9, (ANY_BOOL, 0_u32..4, ANY_BOOL));
    let truth = prop_oneof![
        6 => Just(Truth::Holds),
        1 => Just(Truth::DoesNotHold),
        1 => Just(Truth::Indeterminate),
    ];
    let rare = || proptest::bool::weighted(0.05);
    let brakes = [rare(), rare(), rare(), rare(), rare(), rare()];
    let around = ([rare(), rare(), rare()], brakes, 0_u32..4, 0_u32..5, 0_u32..3);
    let agent = (
        option::weighted(0.3, select(&Tier::ALL[..])),
        ANY_BOOL,
        proptest::bool::weighted(0.8),
        prop_oneof![9 => Just(Phase::Decide), 1 => select(&Phase::ALL[..])],
    );
    (action, target, truth, around, agent).prop_map(|(action, target, truth, around, agent)| {
        let mut facts = facts();
        let (reversibility, undo, computed, tier, additive, touches) = action;
        facts.action.reversibility = reversibility;
        (facts.action.undo, facts.undo.computed) = (undo, computed);
        (facts.action.tier, facts.action.additive, facts.action.touches) = (tier, additive, touches);
        match (target, facts.target.as_mut()) {
            (Some((stateless, replicas, down)), Some(target)) => {
                (target.stateless, target.replicas, target.down) = (stateless, replicas, down);
            }
            (_, _) => facts.target = None,
        }
        facts.trigger.agreement = agreement(truth);
        let (taint, [halted, frozen, suspended, spent, gone, refused], targets, services, critical) = around;
        let [target, action, scope] = taint.map(|yes| if yes { Origin::Tainted } else { Origin::Clean });
        (facts.provenance.target, facts.provenance.action, facts.provenance.scope) = (target, action, scope);
        (facts.brakes.halted, facts.brakes.frozen, facts.brakes.suspended) = (halted, frozen, suspended);
        facts.brakes.over_budget = spent.then(over_budget);
        (facts.brakes.counterpart_deleted, facts.brakes.input_refused) = (gone, refused);
        facts.blast = blast(targets, services, critical.min(services), 34);
        let (earned, accepted, attested, phase) = agent;
        facts.standing = earned.map_or(Standing::None, Standing::Earned);
        facts.principal.accepted = accepted;
        facts.principal.attested_build = attested.then(|| digest("build"));
        facts.principal.phase = phase;
        facts
    })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(allow("permit")),
        4 => Just(Verdict::Deny { rules: vec![] }),
        1 => Just(Verdict::Deny { rules: vec![id("forbid")] }),
        1 => Just(Verdict::Error { rules: vec![] }),
        1 => Just(Verdict::Error { rules: vec![id("broken")] }),
    ]
}

fn ladder([t1, t2, t3, t4]: [Verdict; 4]) -> Ladder {
    Ladder { t1, t2, t3, t4 }
}

/// Any answers at all.
pub(crate) fn any_ladder() -> impl Strategy<Value = Ladder> {
    [any_verdict(), any_verdict(), any_verdict(), any_verdict()].prop_map(ladder)
}

/// Answers that a sound policy gives: allow from one rung on, or nowhere.
fn sound_ladder() -> impl Strategy<Value = Ladder> {
    (0_usize..5).prop_map(|first| {
        ladder(
            [0, 1, 2, 3].map(
                |rung| {
                    if rung >= first { allow("permit") } else { Verdict::Deny { rules: vec![] } }
                },
            ),
        )
    })
}

/// Ways in which facts get worse, each by itself.
type Worsening = (&'static str, fn(&mut Facts));
const WORSENINGS: [Worsening; 31] = [
    ("tainted target", |facts| facts.provenance.target = Origin::Tainted),
    ("tainted action", |facts| facts.provenance.action = Origin::Tainted),
    ("tainted scope", |facts| facts.provenance.scope = Origin::Tainted),
    ("halted", |facts| facts.brakes.halted = true),
    ("frozen", |facts| facts.brakes.frozen = true),
    ("suspended", |facts| facts.brakes.suspended = true),
    ("over budget", |facts| facts.brakes.over_budget = Some(over_budget())),
    ("over plan limit", |facts| facts.brakes.plan_limit = held_back().plan_limit),
    ("neighbour", |facts| facts.brakes.neighbour = held_back().neighbour),
    ("breaker open", |facts| facts.brakes.breaker = held_back().breaker),
    ("own doing", |facts| facts.brakes.own_doing = held_back().own_doing),
    ("error budget spent", |facts| facts.brakes.error_budget = held_back().error_budget),
    ("dependencies unread", |facts| facts.brakes.dependencies_unread = held_back().dependencies_unread),
    ("counterpart deleted", |facts| facts.brakes.counterpart_deleted = true),
    ("input refused", |facts| facts.brakes.input_refused = true),
    ("trigger refuted", |facts| {
        if facts.trigger.agreement.truth == Truth::Holds {
            facts.trigger.agreement = agreement(Truth::DoesNotHold);
        }
    }),
    ("trigger unknown", |facts| facts.trigger.agreement = agreement(Truth::Indeterminate)),
    ("more targets", |facts| facts.blast = blast(3, 9, 9, 100)),
    ("more critical services", |facts| facts.blast.critical = facts.blast.services.clone()),
    ("more environments", |facts| {
        facts.blast.environments.insert(id("staging"));
    }),
    ("larger share", |facts| facts.blast.replica_share_percent = 51),
    ("target unknown", |facts| facts.target = None),
    ("undo not computed", |facts| facts.undo.computed = false),
    ("no undo", |facts| facts.action.undo = UndoKind::None),
    ("not only adding", |facts| facts.action.additive = false),
    ("changes something", |facts| {
        if facts.action.reversibility == Reversibility::ReadOnly {
            facts.action.reversibility = Reversibility::Reversible;
        }
    }),
    ("irreversible", |facts| facts.action.reversibility = Reversibility::Irreversible),
    ("touches trust state", |facts| {
        facts.action.touches.entry(State::Rbac).or_insert(Effect::Changes);
    }),
    ("touches guard state", |facts| {
        facts.action.touches.entry(State::Observability).or_insert(Effect::Reads);
    }),
    ("not accepted", |facts| facts.principal.accepted = false),
    ("another phase", |facts| facts.principal.phase = Phase::Execute),
];

/// How lax an answer is: the less, the laxer.
fn strictness(answer: Answer, tier: Tier) -> Tier {
    match answer {
        Answer::Allow | Answer::Hold => tier,
        Answer::Deny | Answer::Defer => Tier::T5,
    }
}

fn changes(facts: &Facts) -> bool {
    facts.action.reversibility != Reversibility::ReadOnly
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decide_is_total_and_gives_the_same_bytes_for_ever(facts in any_facts(), ladder in any_ladder()) {
        let decision = decide_one(&facts, &ladder);
        let bytes = canonical(&decision).unwrap();
        prop_assert_eq!(&bytes, &canonical(&decide_one(&facts, &ladder)).unwrap());
        // The facts as they come back from the ledger give the same decision.
        let read: Facts = serde_json::from_slice(&canonical(&facts).unwrap()).unwrap();
        prop_assert_eq!(&bytes, &canonical(&decide_one(&read, &ladder)).unwrap());
    }

    #[test]
    fn an_answer_and_its_tier_belong_together(facts in any_facts(), ladder in any_ladder()) {
        let decision = decide_one(&facts, &ladder);
        prop_assert!(decision.reasons.iter().any(|reason| reason.rule.as_str() == "catalogue-tier"));
        match decision.answer {
            Answer::Allow => prop_assert!(decision.tier <= Tier::T2),
            Answer::Hold => prop_assert!(decision.tier == Tier::T3 || decision.tier == Tier::T4),
            Answer::Deny | Answer::Defer => return Ok(()),
        }
        prop_assert!(decision.tier >= decision.floor, "below the floor");
        prop_assert_eq!(Some(decision.floor), floor(&facts).0);
        let rung = Rung::of(decision.tier).unwrap();
        prop_assert!(ladder.on(rung).allows(), "policy did not allow the rung of the tier");
        prop_assert!(decision.tier > Tier::T0 || !changes(&facts), "T0 for something that changes");
        for guardrail in GUARDRAILS.iter().filter(|guardrail| (guardrail.applies)(&facts)) {
            match guardrail.demand {
                Demand::Deny => prop_assert!(false, "`{}` did not deny", guardrail.id),
                Demand::AtLeast(tier) => prop_assert!(decision.tier >= tier, "below `{}`", guardrail.id),
            }
            prop_assert!(decision.reasons.iter().any(|reason| reason.rule.as_str() == guardrail.id));
        }
    }

    #[test]
    fn what_is_worse_is_never_decided_more_laxly(
        facts in any_facts(),
        ladder in any_ladder(),
        chosen in vec(select(&WORSENINGS[..]), 1..4),
    ) {
        let (mut before, mut floor_before) = (decide_one(&facts, &ladder), floor(&facts).0);
        let mut facts = facts;
        for (name, worsen) in chosen {
            worsen(&mut facts);
            let after = decide_one(&facts, &ladder);
            prop_assert!(
                strictness(after.answer, after.tier) >= strictness(before.answer, before.tier),
                "{name}: {before:?} became {after:?}"
            );
            let floor_after = floor(&facts).0;
            prop_assert!(floor_after.unwrap_or(Tier::T5) >= floor_before.unwrap_or(Tier::T5), "{name}");
            prop_assert!(floor_before.is_some() || floor_after.is_none(), "{name} lifted a denial");
            (before, floor_before) = (after, floor_after);
        }
    }

    #[test]
    fn a_stricter_policy_is_never_decided_more_laxly(facts in any_facts(), sound in sound_ladder()) {
        let before = decide_one(&facts, &sound);
        let mut stricter = sound;
        if let Some(first) = Rung::ALL.into_iter().find(|rung| stricter.on(*rung).allows()) {
            let deny = Verdict::Deny { rules: vec![] };
            match first {
                Rung::T1 => stricter.t1 = deny,
                Rung::T2 => stricter.t2 = deny,
                Rung::T3 => stricter.t3 = deny,
                Rung::T4 => stricter.t4 = deny,
            }
        }
        let after = decide_one(&facts, &stricter);
        prop_assert!(strictness(after.answer, after.tier) >= strictness(before.answer, before.tier));
    }

    #[test]
    fn a_higher_tier_in_the_catalogue_is_never_decided_more_laxly(facts in any_facts(), ladder in any_ladder()) {
        let mut last = Tier::T0;
        for tier in Tier::ALL {
            let mut facts = facts.clone();
            facts.action.tier = tier;
            let decision = decide_one(&facts, &ladder);
            let now = strictness(decision.answer, decision.tier);
            prop_assert!(now >= last, "{tier}: {decision:?}");
            last = now;
        }
    }

    #[test]
    fn inv09_an_error_on_any_rung_is_a_denial(
        facts in any_facts(),
        ladder in any_ladder(),
        rung in 0_usize..4,
        named in ANY_BOOL,
    ) {
        let mut ladder = ladder;
        let error = Verdict::Error { rules: if named { vec![id("broken")] } else { vec![] } };
        *[&mut ladder.t1, &mut ladder.t2, &mut ladder.t3, &mut ladder.t4][rung] = error;
        let decision = decide_one(&facts, &ladder);
        prop_assert_eq!(decision.answer, Answer::Deny);
    }

    #[test]
    fn inv09_more_oversight_that_turns_an_allow_into_a_deny_is_a_denial(
        facts in any_facts(),
        ladder in any_ladder(),
        low in 0_usize..3,
        gap in 1_usize..4,
    ) {
        let mut ladder = ladder;
        let rungs = [&mut ladder.t1, &mut ladder.t2, &mut ladder.t3, &mut ladder.t4];
        *rungs[low] = allow("permit");
        *rungs[(low + gap).min(3)] = Verdict::Deny { rules: vec![] };
        let decision = decide_one(&facts, &ladder);
        prop_assert_eq!(decision.answer, Answer::Deny);
    }

    #[test]
    fn nobody_new_changes_anything_below_t2(facts in any_facts(), ladder in any_ladder(), earned in select(&Tier::ALL[..])) {
        let mut facts = facts;
        facts.principal.accepted = false;
        // An unattested build earns nothing, whatever its standing says.
        facts.principal.attested_build = None;
        facts.standing = Standing::Earned(earned);
        let decision = decide_one(&facts, &ladder);
        let runs = matches!(decision.answer, Answer::Allow | Answer::Hold);
        prop_assert!(!runs || !changes(&facts) || decision.tier >= Tier::T2, "{decision:?}");
        facts.standing = Standing::None;
        let without = decide_one(&facts, &ladder);
        prop_assert_eq!((decision.answer, decision.tier), (without.answer, without.tier));
    }
}

/// The properties say something only if the generator reaches every answer.
#[test]
fn the_generator_reaches_every_answer() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = (any_facts(), sound_ladder());
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..1_000 {
        let (facts, ladder) = strategy.new_tree(&mut runner).unwrap().current();
        let decision = decide_one(&facts, &ladder);
        *seen.entry(format!("{} {}", decision.answer, decision.tier)).or_default() += 1;
    }
    for expected in ["allow T0", "allow T1", "allow T2", "hold T3", "hold T4", "deny T5", "defer T3"] {
        assert!(seen.get(expected).is_some_and(|count| *count >= 3), "{expected}: {seen:?}");
    }
}
