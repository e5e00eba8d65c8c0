//! The gate's table of guardrails and `guardrails.cedar` say the same.

use holdpoint_domain::{
    Rung, Tier,
    actor::Phase,
    blast::Blast,
    decision::Verdict,
    facts::{Brakes, Facts, Origin, Provenance, UndoFacts},
    guardrail::{Demand, GUARDRAILS},
    trigger::{Agreement, Truth},
};

use super::{ALLOW_ALL, ladder, try_load};
use crate::{Bundle, Warning, sample};

/// Rows of the table that cannot be written in Cedar, and why.
const NOT_IN_CEDAR: &[(&str, &str)] = &[(
    "unknown-target",
    "Cedar is not asked about a target that nobody knows; the bundle answers deny by itself",
)];

const TRUST: &str = "trust-state-needs-a-person";

fn bundle() -> Bundle {
    let schema = sample::schema_of(sample::every_kind_of_action());
    try_load(ALLOW_ALL, &[], schema).unwrap_or_else(|faults| panic!("{faults:#?}")).0
}

/// Facts with one thing wrong each, for every action that a catalogue can have.
fn many_facts() -> Vec<Facts> {
    let changes: &[fn(&mut Facts)] = &[
        |_| {},
        |f| f.target = None,
        |f| f.principal.phase = Phase::Observe,
        |f| f.principal.phase = Phase::Execute,
        |f| f.brakes = Brakes { halted: true, ..Brakes::OFF },
        |f| f.brakes = Brakes { frozen: true, ..Brakes::OFF },
        |f| f.brakes = Brakes { suspended: true, ..Brakes::OFF },
        |f| f.brakes.over_budget = Some(sample::over_budget()),
        |f| {
            f.blast =
                Blast { targets: (0..11).map(|n| sample::id(&format!("t{n}"))).collect(), ..f.blast.clone() }
        },
        |f| {
            f.blast =
                Blast { services: (0..11).map(|n| sample::id(&format!("s{n}"))).collect(), ..f.blast.clone() }
        },
        |f| {
            f.blast =
                Blast { critical: (0..11).map(|n| sample::id(&format!("s{n}"))).collect(), ..f.blast.clone() }
        },
        |f| f.brakes.counterpart_deleted = true,
        |f| f.brakes.input_refused = true,
        |f| sample::hold_back(&mut f.brakes),
        |f| {
            sample::hold_back(&mut f.brakes);
            f.brakes = Brakes { plan_limit: f.brakes.plan_limit.take(), ..Brakes::OFF };
        },
        |f| {
            sample::hold_back(&mut f.brakes);
            f.brakes = Brakes { neighbour: f.brakes.neighbour.take(), ..Brakes::OFF };
        },
        |f| {
            sample::hold_back(&mut f.brakes);
            f.brakes = Brakes { own_doing: f.brakes.own_doing.take(), ..Brakes::OFF };
        },
        |f| {
            sample::hold_back(&mut f.brakes);
            f.brakes = Brakes { breaker: f.brakes.breaker.take(), ..Brakes::OFF };
        },
        |f| {
            sample::hold_back(&mut f.brakes);
            f.brakes = Brakes { error_budget: f.brakes.error_budget.take(), ..Brakes::OFF };
        },
        |f| {
            sample::hold_back(&mut f.brakes);
            f.brakes = Brakes { dependencies_unread: f.brakes.dependencies_unread.take(), ..Brakes::OFF };
        },
        |f| {
            f.brakes =
                Brakes { counterpart_deleted: true, input_refused: true, suspended: true, ..Brakes::OFF };
        },
        // At the cap, and above it.
        |f| f.blast.environments = (0..10).map(|n| sample::id(&format!("e{n}"))).collect(),
        |f| f.blast.environments = (0..11).map(|n| sample::id(&format!("e{n}"))).collect(),
        |f| f.blast.replica_share_percent = 101,
        |f| f.undo = UndoFacts { computed: false },
        |f| f.trigger.agreement = Agreement { truth: Truth::DoesNotHold, needed: 1, holding: 0, sources: 1 },
        |f| {
            f.trigger.agreement = Agreement { truth: Truth::Indeterminate, needed: 1, holding: 0, sources: 0 }
        },
        |f| f.provenance = Provenance { target: Origin::Tainted, ..f.provenance },
        |f| f.provenance = Provenance { action: Origin::Tainted, ..f.provenance },
        |f| f.provenance = Provenance { scope: Origin::Tainted, ..f.provenance },
        |f| f.target.as_mut().unwrap().stateless = false,
        |f| f.target.as_mut().unwrap().replicas = 1,
    ];
    // Every change with one action of each sort; every other action as it is.
    let sorts = ["process.restart", "look", "never", "iam.grants", "secrets.refreshes", "audit.reads"];
    let mut all = Vec::new();
    for action in sample::every_kind_of_action() {
        let thorough = sorts.contains(&action.id.as_str()) || action.id.as_str().starts_with("undo.");
        for change in changes.iter().take(if thorough { changes.len() } else { 1 }) {
            let mut facts = sample::facts_for(&action);
            change(&mut facts);
            all.push(facts);
        }
    }
    all
}

fn expected(facts: &Facts, rung: Rung) -> Vec<&'static str> {
    let mut stands = Vec::new();
    for guardrail in GUARDRAILS.iter().filter(|guardrail| (guardrail.applies)(facts)) {
        match guardrail.demand {
            Demand::AtLeast(tier) if rung.tier() >= tier => {}
            Demand::AtLeast(_) | Demand::Deny => stands.push(guardrail.id),
        }
    }
    // Whoever needs two people changes trust state as well: the file says both, the table the higher one.
    if stands.contains(&"step-up") && rung < Rung::T3 && !stands.contains(&TRUST) {
        stands.push(TRUST);
    }
    stands.sort_unstable();
    stands
}

/// For each guardrail, some facts set it off alone; whatever is set off, Cedar answers on each rung exactly as the table
/// demands, and names exactly the guardrails that stand in the way.
#[test]
fn inv10_table_and_file_agree() {
    let bundle = bundle();
    let mut alone: Vec<(&str, bool)> = GUARDRAILS.iter().map(|guardrail| (guardrail.id, false)).collect();
    for facts in many_facts() {
        let ladder = ladder(&bundle, &facts);
        for rung in Rung::ALL {
            let stands = expected(&facts, rung);
            let want = match (stands.as_slice(), facts.target.is_some()) {
                ([], _) => Verdict::Allow { rules: vec![sample::id("all")] },
                (stands, true) => Verdict::Deny { rules: stands.iter().map(|id| sample::id(id)).collect() },
                (_, false) => Verdict::Deny { rules: vec![sample::id("unknown-target")] },
            };
            assert_eq!(*ladder.on(rung), want, "{rung:?} of {facts:#?}");
        }
        let set_off: Vec<_> =
            GUARDRAILS.iter().filter(|row| (row.applies)(&facts)).map(|row| row.id).collect();
        if let [only] = set_off.as_slice() {
            alone.iter_mut().filter(|(id, _)| id == only).for_each(|(_, seen)| *seen = true);
        }
    }
    let never: Vec<_> = alone.iter().filter(|(_, seen)| !seen).map(|(id, _)| *id).collect();
    assert_eq!(never, Vec::<&str>::new(), "no facts set these off alone");
}

/// The rungs of the table: a demand of a tier is met from that rung on.
#[test]
fn each_floor_is_lifted_on_its_own_rung() {
    let (bundle, all) = (bundle(), many_facts());
    let mut seen = Vec::new();
    for guardrail in GUARDRAILS {
        let Demand::AtLeast(tier) = guardrail.demand else { continue };
        let worst = |facts: &Facts| {
            let tiers =
                GUARDRAILS.iter().filter(|other| (other.applies)(facts)).map(|other| match other.demand {
                    Demand::AtLeast(tier) => tier,
                    Demand::Deny => Tier::T5,
                });
            tiers.max().unwrap_or(Tier::T0)
        };
        let facts = all.iter().find(|facts| (guardrail.applies)(facts) && worst(facts) == tier).unwrap();
        let ladder = ladder(&bundle, facts);
        for rung in Rung::ALL {
            assert_eq!(ladder.on(rung).allows(), rung.tier() >= tier, "{} on {rung:?}", guardrail.id);
        }
        seen.push(guardrail.id);
    }
    assert_eq!(seen.len(), 14);
}

#[test]
fn every_row_is_in_the_file_with_its_words_or_cannot_be() {
    let report = bundle().check_report();
    for guardrail in GUARDRAILS {
        let written = report.rules.iter().any(|rule| rule.guardrail && rule.rule.as_str() == guardrail.id);
        let cannot = NOT_IN_CEDAR.iter().any(|(id, _)| *id == guardrail.id);
        assert!(written != cannot, "{}", guardrail.id);
    }
    let in_file = report.rules.iter().filter(|rule| rule.guardrail).count();
    assert_eq!(in_file + NOT_IN_CEDAR.len(), GUARDRAILS.len());
    let rules: cedar_policy::PolicySet = crate::GUARDRAILS.parse().unwrap();
    for rule in rules.policies() {
        let row = GUARDRAILS.iter().find(|row| Some(row.id) == rule.annotation("id")).unwrap();
        assert_eq!(
            (rule.annotation("why"), rule.annotation("next")),
            (Some(row.fact), Some(row.next)),
            "{}",
            row.id
        );
    }
}

/// The gate starts with any catalogue, also one in which most groups are empty, and all guardrails are monotone.
#[test]
fn guardrails_load_with_a_small_catalogue() {
    let (bundle, warnings) = try_load(ALLOW_ALL, &[], sample::schema_of(vec![sample::restart()])).unwrap();
    assert_eq!(warnings, [Warning::NobodyApproves]);
    assert_eq!(bundle.check_report().unproven, 0);
}
