//! The guardrails that ship as defaults: one table of floors and denials, which no policy can lower.

use crate::{
    Tier,
    action::{Action, Effect, ParamSpec, Reversibility, State, UndoKind},
    actor::Phase,
    facts::Facts,
    trigger::Truth,
};

/// What a guardrail does when its fact is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Not below this tier.
    AtLeast(Tier),
    /// The answer is no.
    Deny,
}

/// A guardrail.
pub struct Guardrail {
    /// Its id in reasons, documentation and `guardrails.cedar`.
    pub id: &'static str,
    /// What it demands.
    pub demand: Demand,
    /// Which fact sets it off, in words.
    pub fact: &'static str,
    /// What the caller can do about it.
    pub next: &'static str,
    /// Whether the fact is there.
    pub applies: fn(&Facts) -> bool,
}

/// All guardrails on facts. The catalogue's tier, standing and the rung for newcomers are in [`crate::decision::floor`].
pub const GUARDRAILS: &[Guardrail] = &[
    Guardrail {
        id: "unknown-target",
        demand: Demand::Deny,
        fact: "the inventory does not know the target",
        next: "name a target of the inventory",
        applies: |facts| facts.target.is_none(),
    },
    Guardrail {
        id: "never-by-an-agent",
        demand: Demand::Deny,
        fact: "the catalogue keeps the action from agents (T5)",
        next: "a person does this outside the gate",
        applies: |facts| facts.action.tier == Tier::T5,
    },
    Guardrail {
        id: "wrong-phase",
        demand: Demand::Deny,
        fact: "the identity is not one for deciding",
        next: "propose with the agent's `decide` identity",
        applies: |facts| facts.principal.phase != Phase::Decide,
    },
    Guardrail {
        id: "halted",
        demand: Demand::Deny,
        fact: "a halt is in force",
        next: "wait until a person resumes",
        applies: |facts| facts.brakes.halted && changes(facts),
    },
    Guardrail {
        id: "frozen",
        demand: Demand::Deny,
        fact: "a change freeze is in force",
        next: "wait for the end of the freeze",
        applies: |facts| facts.brakes.frozen && changes(facts),
    },
    Guardrail {
        id: "over-budget",
        demand: Demand::Deny,
        fact: "the budget is used up",
        next: "wait until the budget frees up",
        applies: |facts| facts.brakes.over_budget.is_some() && changes(facts),
    },
    Guardrail {
        id: "over-plan-limit",
        demand: Demand::Deny,
        fact: "it would disturb more than the operator lets one plan disturb",
        next: "ask for fewer targets, or for one that less depends on",
        applies: |facts| facts.brakes.plan_limit.is_some() && changes(facts),
    },
    Guardrail {
        id: "neighbourhood-busy",
        demand: Demand::Deny,
        fact: "another run touches the same services, or did just now",
        next: "wait until it is over and has settled",
        applies: |facts| facts.brakes.neighbour.is_some() && changes(facts),
    },
    Guardrail {
        id: "breaker-open",
        demand: Demand::Deny,
        fact: "the action went badly too often in this environment",
        next: "wait until people have looked at those runs, or the window is over",
        applies: |facts| facts.brakes.breaker.is_some() && changes(facts),
    },
    Guardrail {
        id: "data-and-its-backup",
        demand: Demand::Deny,
        fact: "the other half of this data, its backup or what it is a backup of, was or would be deleted as well",
        next: "keep one of the two until the incident and the window are over",
        applies: |facts| facts.brakes.counterpart_deleted && changes(facts),
    },
    Guardrail {
        id: "over-blast-cap",
        demand: Demand::Deny,
        fact: "the blast radius is above the catalogue's cap for the action",
        next: "ask for fewer targets, or for one that less depends on",
        applies: over_cap,
    },
    Guardrail {
        id: "no-undo",
        demand: Demand::AtLeast(Tier::T3),
        fact: "nothing would undo it",
        next: "a person must approve",
        applies: |facts| changes(facts) && !facts.has_undo() && !facts.action.additive,
    },
    Guardrail {
        id: "additive-without-undo",
        demand: Demand::AtLeast(Tier::T2),
        fact: "it only adds, and nothing would undo it",
        next: "it is reviewed afterwards",
        applies: |facts| changes(facts) && !facts.has_undo() && facts.action.additive,
    },
    Guardrail {
        id: "irreversible",
        demand: Demand::AtLeast(Tier::T2),
        fact: "the action is irreversible",
        next: "it is reviewed afterwards",
        applies: |facts| facts.action.reversibility == Reversibility::Irreversible,
    },
    Guardrail {
        id: "trust-state-needs-a-person",
        demand: Demand::AtLeast(Tier::T3),
        fact: "the action changes who may do or see what",
        next: "a person must approve",
        applies: |facts| {
            facts.action.touches.iter().any(|(state, effect)| trust_floor(*state, *effect) == Some(Tier::T3))
        },
    },
    Guardrail {
        id: "step-up",
        demand: Demand::AtLeast(Tier::T4),
        fact: "the action rotates a secret, restores data or grants privileges",
        next: "two people must approve with fresh strong authentication",
        applies: |facts| {
            facts.action.touches.iter().any(|(state, effect)| trust_floor(*state, *effect) == Some(Tier::T4))
        },
    },
    Guardrail {
        id: "secret-refresh",
        demand: Demand::AtLeast(Tier::T2),
        fact: "the action has a secret re-read or renewed by its owner",
        next: "it is reviewed afterwards",
        applies: |facts| {
            facts.action.touches.iter().any(|(state, effect)| trust_floor(*state, *effect) == Some(Tier::T2))
        },
    },
    Guardrail {
        id: "guard-state",
        demand: Demand::AtLeast(Tier::T2),
        fact: "the action touches what keeps the system observable and safe",
        next: "it is reviewed afterwards",
        applies: |facts| facts.action.touches.keys().any(|state| !state.is_trust()),
    },
    Guardrail {
        id: "trigger-not-proven",
        demand: Demand::AtLeast(Tier::T3),
        fact: "the gate's own probes do not prove the trigger",
        next: "a person must approve, or the trigger must hold when it is measured",
        applies: |facts| changes(facts) && facts.trigger.agreement.truth != Truth::Holds,
    },
    Guardrail {
        id: "tainted",
        demand: Demand::AtLeast(Tier::T3),
        fact: "target, action or scope is the agent's word alone",
        next: "a person must approve",
        applies: |facts| changes(facts) && facts.provenance.tainted(),
    },
    Guardrail {
        id: "suspended",
        demand: Demand::AtLeast(Tier::T3),
        fact: "T1 and T2 are suspended for this action and agent until a person has looked",
        next: "a person must approve",
        applies: |facts| changes(facts) && facts.brakes.suspended,
    },
    Guardrail {
        id: "own-doing",
        demand: Demand::AtLeast(Tier::T3),
        fact: "a run of ours in the same neighbourhood ended just now, and this may be its doing",
        next: "a person must approve, or the soak of that run must be over",
        applies: |facts| changes(facts) && facts.brakes.own_doing.is_some(),
    },
    Guardrail {
        id: "error-budget-spent",
        demand: Demand::AtLeast(Tier::T3),
        fact: "the error budget of the service is spent, or nobody can tell what is left of it",
        next: "a person must approve, or budget must be left when it is measured",
        applies: |facts| changes(facts) && facts.brakes.error_budget.is_some(),
    },
    Guardrail {
        id: "dependencies-unread",
        demand: Demand::AtLeast(Tier::T3),
        fact: "a source of dependencies was not read for too long, so more may be disturbed than is known",
        next: "a person must approve, or the source must be read again",
        applies: |facts| changes(facts) && facts.brakes.dependencies_unread.is_some(),
    },
    Guardrail {
        id: "input-refused",
        demand: Demand::AtLeast(Tier::T3),
        fact: "a control input on disk is broken or was never approved, so T1 and T2 are suspended",
        next: "a person must approve; an operator must put the activated file back",
        applies: |facts| changes(facts) && facts.brakes.input_refused,
    },
];

/// The rule that lifts newcomers one rung.
pub const NO_STANDING: &str = "no-standing";
/// The rule that the catalogue's tier is the lowest.
pub const CATALOGUE_TIER: &str = "catalogue-tier";

/// Whether the agent has neither earned autonomy nor been accepted by its owner's team.
#[must_use]
pub fn is_newcomer(facts: &Facts) -> bool {
    facts.earned().is_none() && !facts.principal.accepted
}

/// The floors that follow from a catalogue entry alone, for checking the catalogue when it is loaded.
#[must_use]
pub fn static_floors(action: &Action) -> Vec<(&'static str, Tier)> {
    let mut floors = Vec::new();
    let changes = action.reversibility != Reversibility::ReadOnly;
    if changes && matches!(action.undo, UndoKind::None | UndoKind::Compensate) {
        floors.push(if action.additive {
            ("additive-without-undo", Tier::T2)
        } else {
            ("no-undo", Tier::T3)
        });
    }
    // Whoever approves must see what runs: a parameter that stands in the plan as a commitment alone, nobody can inspect.
    if action.params.values().any(|spec| *spec == ParamSpec::Secret) {
        floors.push(("step-up", Tier::T4));
    }
    if action.reversibility == Reversibility::Irreversible {
        floors.push(("irreversible", Tier::T2));
    }
    for (state, effect) in &action.touches {
        match trust_floor(*state, *effect) {
            Some(Tier::T4) => floors.push(("step-up", Tier::T4)),
            Some(Tier::T2) => floors.push(("secret-refresh", Tier::T2)),
            Some(_) => floors.push(("trust-state-needs-a-person", Tier::T3)),
            None => floors.push(("guard-state", Tier::T2)),
        }
    }
    floors
}

/// The floor of an effect on trust state; none for guard state.
///
/// Rotating, restoring and granting need two people. A secret or certificate that its own controller re-reads or renews
/// keeps its meaning and stands at T2, by name. Everything else about trust state needs a person, reading included.
const fn trust_floor(state: State, effect: Effect) -> Option<Tier> {
    if !state.is_trust() {
        return None;
    }
    match (state, effect) {
        (_, Effect::Rotates | Effect::Restores | Effect::Grants) => Some(Tier::T4),
        (State::Secrets, Effect::Refreshes) => Some(Tier::T2),
        (_, Effect::Reads | Effect::Refreshes | Effect::Changes | Effect::Deletes) => Some(Tier::T3),
    }
}

fn changes(facts: &Facts) -> bool {
    facts.action.reversibility != Reversibility::ReadOnly
}

fn over_cap(facts: &Facts) -> bool {
    let (blast, cap) = (&facts.blast, &facts.action.cap);
    let more = |set: usize, cap: u32| u32::try_from(set).map_or(true, |count| count > cap);
    changes(facts)
        && (more(blast.targets.len(), cap.targets)
            || more(blast.services.len(), cap.services)
            || more(blast.critical.len(), cap.critical)
            || more(blast.environments.len(), cap.environments)
            || blast.replica_share_percent > cap.replica_share_percent)
}
