//! Policy bundles: text of operators, loaded beside the guardrails, and asked.

use std::sync::LazyLock;

use holdpoint_domain::{
    Digest, Id, Millis, Rung, Tier, Timestamp,
    action::{Action, Catalogue},
    actor::Phase,
    agent::{Agent, Person, Registry},
    blast::radius,
    decision::{Answer, Ladder, Verdict, decide},
    dependencies::Dependencies,
    facts::{
        ActionFacts, Brakes, Facts, FactsType, Inputs, Origin, Principal, Provenance, Standing, TargetFacts,
        TriggerFacts, UndoFacts,
    },
    target::{Inventory, Service, Target},
    trigger::{Agreement, Condition, Truth},
};
use holdpoint_policy::{Bundle, Deadline, Schema, Source};
use serde::Deserialize;

use crate::Choices;

/// What the rules are about: the shipped catalogue of processes, and a small world.
struct World {
    catalogue: Catalogue,
    inventory: Inventory,
    dependencies: Dependencies,
    schema: Schema,
}

#[derive(Deserialize)]
struct CatalogueFile {
    actions: Vec<Action>,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct InventoryFile {
    services: Vec<Service>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct RegistryFile {
    agents: Vec<Agent>,
    people: Vec<Person>,
}

const INVENTORY: &str = "
services:
  - {id: shop, environment: production, owner: payments, criticality: high, stateless: true}
  - {id: web, environment: staging, owner: payments, criticality: critical, stateless: false, depends_on: [shop]}
targets:
  - {id: worker-1, service: shop, executor: process, endpoints: {}}
  - {id: worker-2, service: shop, executor: process, endpoints: {}}
  - {id: web-1, service: web, executor: process, endpoints: {}}
";

/// The key is that of RFC 8032, section 7.1, test 1.
const REGISTRY: &str = "
agents: [{id: healer, team: sre-agents, owner: ada, phases: [decide], accepted: true}]
people: [{id: ada, teams: [oncall, payments], approval_key: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo}]
";

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let file: CatalogueFile = serde_saphyr::from_str(include_str!("../../../catalog/process.yaml")).unwrap();
    let catalogue = Catalogue::new(file.actions, file.conditions).unwrap();
    let file: InventoryFile = serde_saphyr::from_str(INVENTORY).unwrap();
    let inventory = Inventory::new(file.services, file.targets).unwrap();
    let file: RegistryFile = serde_saphyr::from_str(REGISTRY).unwrap();
    let registry = Registry::new(file.agents, file.people).unwrap();
    let schema = Schema::new(&catalogue, &inventory, &registry).unwrap();
    let dependencies = inventory.dependencies(Timestamp::EPOCH).unwrap();
    World { catalogue, inventory, dependencies, schema }
});

/// Loading answers for any text. A bundle that loads has one digest; the ladder is what each rung says when it is asked alone;
/// an error allows nothing; a halt denies whatever the rules say; and the decision is the same every time.
pub(crate) fn holds(bytes: &[u8]) {
    let written = String::from_utf8_lossy(bytes);
    judge(&written, &mut Choices::new(bytes));
    let choices = &mut Choices::new(bytes);
    let text = choices.several(3, rule).join("\n");
    judge(&text, choices);
}

fn judge(text: &str, choices: &mut Choices<'_>) {
    let load = || {
        let source = Source { name: "fuzzed.cedar".to_owned(), text: text.to_owned() };
        Bundle::load(&[source], &[], WORLD.schema.clone())
    };
    let Ok((bundle, _)) = load() else { return };
    assert_eq!(load().expect("what loads, loads").0.digest(), bundle.digest());
    assert!(bundle.check_report().permits + bundle.check_report().forbids > 0, "an empty bundle");
    for action in WORLD.catalogue.actions() {
        ask(&bundle, &facts(action, choices));
    }
}

fn ask(bundle: &Bundle, facts: &Facts) {
    let elapsed = || Millis::secs(0);
    let deadline = Deadline::new(Millis::secs(1), &elapsed);
    let asked = facts.for_policy();
    let ladder = bundle.ladder(&asked, deadline);
    assert_eq!(ladder, bundle.ladder(&asked, deadline), "asked twice");
    let Ladder { t1, t2, t3, t4 } = &ladder;
    for (rung, on) in [(Rung::T1, t1), (Rung::T2, t2), (Rung::T3, t3), (Rung::T4, t4)] {
        assert_eq!(*on, bundle.ask(&asked, &rung.oversight(), deadline), "{rung:?} alone");
        assert!(!matches!(on, Verdict::Error { .. }) || !on.allows(), "an error allows");
    }
    let _ = bundle.explain(&asked);

    let decision = decide(&facts.clone().into(), std::slice::from_ref(&ladder)).unwrap();
    let allows = [t1, t2, t3, t4].map(Verdict::allows);
    let errs = [t1, t2, t3, t4].into_iter().any(|verdict| matches!(verdict, Verdict::Error { .. }));
    let turns = allows.is_sorted();
    if decision.answer == Answer::Allow || decision.answer == Answer::Hold {
        assert!(!errs && turns && allows[3], "allowed by an error, or against the ladder: {ladder:?}");
        assert!(decision.tier >= decision.floor, "below the floor");
    }
    let mut halted = facts.clone();
    halted.brakes.halted = true;
    let decision = decide(&halted.into(), &[ladder]).unwrap();
    assert_eq!(decision.answer, Answer::Deny, "a halt denies, whatever the rules say");
}

/// Facts of one step on one of the targets, or on none that anybody knows.
fn facts(action: &Action, choices: &mut Choices<'_>) -> Facts {
    let digest = Digest::of_bytes(b"inputs");
    let id = choices.one_of(&["worker-1", "worker-2", "web-1", "nobody"]).parse().unwrap();
    let target = WORLD.inventory.target(&id).map(|(target, service)| {
        TargetFacts::of(target.id.clone(), service, u32::from(choices.byte()), choices.yes(), digest)
    });
    let truth = choices.one_of(&[Truth::Holds, Truth::DoesNotHold, Truth::Indeterminate]);
    let origin = |choices: &mut Choices<'_>| if choices.yes() { Origin::Tainted } else { Origin::Clean };
    Facts {
        r#type: FactsType::V1,
        principal: Principal {
            agent: Id::parse("healer").unwrap(),
            team: Id::parse(choices.one_of(&["sre-agents", "others"])).unwrap(),
            phase: Phase::Decide,
            attested_build: choices.yes().then_some(digest),
            accepted: choices.yes(),
            on_behalf_of: choices.yes().then(|| Id::parse("ada").unwrap()),
            on_behalf_of_teams: choices.yes().then(|| Id::parse("payments").unwrap()).into_iter().collect(),
            via: Vec::new(),
        },
        action: ActionFacts::of(action).unwrap(),
        target,
        trigger: TriggerFacts {
            condition: Id::parse("process.hung").unwrap(),
            agreement: Agreement { truth, needed: 1, holding: u32::from(truth == Truth::Holds), sources: 1 },
            evidence: digest,
        },
        blast: radius(&WORLD.inventory, &WORLD.dependencies, &[id].into(), &Default::default()).unwrap(),
        undo: UndoFacts { computed: choices.yes() },
        provenance: Provenance { target: origin(choices), action: origin(choices), scope: origin(choices) },
        standing: if choices.yes() { Standing::Earned(choices.one_of(&Tier::ALL)) } else { Standing::None },
        brakes: Brakes { suspended: choices.yes(), frozen: choices.byte() == 1, ..Brakes::OFF },
        inputs: Inputs {
            policy: digest,
            catalogue: digest,
            inventory: digest,
            registry: digest,
            limits: digest,
        },
        at_ms: Timestamp::from_ms(1_700_000_000_000).unwrap(),
    }
}

/// A rule of parts that often fit together: what no mutation of letters finds in a lifetime.
fn rule(choices: &mut Choices<'_>) -> String {
    let effect = choices.one_of(&["permit", "forbid", "permit"]);
    let principal =
        choices.one_of(&["principal", "principal in Team::\"sre-agents\"", "principal == Agent::\"healer\""]);
    let action = choices.one_of(&[
        "action",
        "action in Action::\"restart\"",
        "action in [Action::\"restart\", Action::\"capacity\"]",
        "action == Action::\"process.restart\"",
        "action in Action::\"reversible\"",
        "action == Action::\"approve\"",
    ]);
    let resource = choices.one_of(&[
        "resource",
        "resource in Environment::\"production\"",
        "resource in Service::\"shop\"",
    ]);
    let number = choices.byte();
    let conditions = choices.several(3, |choices| condition(choices, 0)).join(" ");
    format!("@id(\"rule-{number}\") {effect} ({principal}, {action}, {resource}) {conditions};")
}

fn condition(choices: &mut Choices<'_>, depth: usize) -> String {
    let word = choices.one_of(&["when", "unless"]);
    format!("{word} {{ {} }}", expression(choices, depth))
}

fn expression(choices: &mut Choices<'_>, depth: usize) -> String {
    const LEAVES: [&str; 14] = [
        "context.oversight.reviewPromised",
        "context.oversight.approvals >= 1",
        "context.oversight.approvals < 2",
        "context.oversight.strong",
        "context.trigger.proven",
        "context.undo.computed",
        "context.blast.services <= 3",
        "context.blast.critical == 0",
        "context.blast.replicaSharePercent * 9223372036854775807 > 1",
        "resource.stateless",
        "resource.criticality == \"high\"",
        "resource.replicas + 9223372036854775807 > 0",
        "principal.onBehalfOf == Person::\"ada\"",
        "principal has onBehalfOf && principal.onBehalfOf == Person::\"ada\"",
    ];
    if depth > 3 {
        return choices.one_of(&LEAVES).to_owned();
    }
    match choices.byte() % 8 {
        0 => format!("({} && {})", expression(choices, depth + 1), expression(choices, depth + 1)),
        1 => format!("({} || {})", expression(choices, depth + 1), expression(choices, depth + 1)),
        2 => format!("!({})", expression(choices, depth + 1)),
        3 => format!(
            "(if {} then {} else {})",
            expression(choices, depth + 1),
            expression(choices, depth + 1),
            expression(choices, depth + 1)
        ),
        _ => choices.one_of(&LEAVES).to_owned(),
    }
}
