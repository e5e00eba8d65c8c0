//! The schema that every bundle is validated against, generated from the catalogue.
//!
//! The text depends on the catalogue alone, so that a new target does not change what policy *is*. Inventory and
//! registry only say which names exist, for warnings.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid};
use holdpoint_domain::{
    Digest, Id,
    action::{Action, Catalogue, Effect, State},
    agent::Registry,
    id::kind,
    target::Inventory,
};

use crate::{
    error::{SchemaError, one_line},
    names::Names,
};

/// What people do; never the name of an action or group of the catalogue.
pub(crate) const APPROVE: &str = "approve";
/// As [`APPROVE`]: whoever may do it reads the whole ledger.
pub(crate) const READ_LEDGER: &str = "read-ledger";
/// As [`APPROVE`]: whoever may do it signs in to the console and looks around.
pub(crate) const USE_CONSOLE: &str = "use-console";
/// As [`APPROVE`]: whoever may do it runs an action beyond policy, with somebody else who may.
pub(crate) const BREAK_GLASS: &str = "break-glass";
/// The one entity of type `Gate`: this one.
pub(crate) const THIS_GATE: &str = "this";

/// All of them.
const PEOPLE_DO: [&str; 4] = [APPROVE, READ_LEDGER, USE_CONSOLE, BREAK_GLASS];

/// Groups that are declared even when no action of the catalogue is in them, so that the guardrails load with any
/// catalogue. [`Action::all_groups`] and [`more_groups`] make no others, except `touches-…`.
const FIXED_GROUPS: [&str; 11] = [
    "changes-guard-state",
    "changes-trust-state",
    "externally-reversible",
    "irreversible",
    "needs-step-up",
    "no-undo",
    "read-only",
    "reads-trust-state",
    "refreshes-secrets",
    "refreshes-trust-state",
    "reversible",
];

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

/// Everything but the actions. Names in camelCase, as Cedar's own examples have them.
const TYPES: &str = r#"// Generated from the action catalogue by `holdpoint policy schema`. Every policy bundle is validated against it.

entity Team;
entity Environment;
entity Service;
// This gate: there is one, `Gate::"this"`.
entity Gate;
entity Person in [Team];
// Who asks. `phase` is `observe`, `decide` or `execute`.
// `onBehalfOf` is the person at the head of the delegation chain, `via` the agents between them: a request is allowed only if it
// is allowed to each of these, too.
entity Agent in [Team] = { team: Team, phase: String, onBehalfOf?: Person, via: Set<Agent> };
// What it asks for. `criticality` is `low`, `medium`, `high` or `critical`.
entity Target in [Environment, Service] = {
  id: String, service: Service, environment: Environment, owner: Team,
  criticality: String, critical: Bool, dataClasses: Set<String>,
  stateless: Bool, replicas: Long, down: Bool,
};

// What people did or promise to do. The one part that differs from rung to rung of the ladder.
type Oversight = { reviewPromised: Bool, approvals: Long, strong: Bool, fresh: Bool };
// What the gate's own probes say: exactly one of `proven`, `refuted` and `indeterminate`.
type Trigger = {
  condition: String, proven: Bool, refuted: Bool, indeterminate: Bool, agreeing: Long, needed: Long, sources: Long,
};
// `counts`: the gate can put the state before back, or the target heals itself.
type Undo = { kind: String, computed: Bool, counts: Bool };
// Numbers of targets and services; unknown dependants count as critical.
type Blast = {
  targets: Long, services: Long, critical: Long, unknown: Long, replicaSharePercent: Long,
  environments: Set<Environment>, environmentCount: Long,
};
type Provenance = { tainted: Bool, targetTainted: Bool, actionTainted: Bool, scopeTainted: Bool };
type Build = { attested: Bool };
// `earned` is the number of the tier that the track record has earned, 0 for none.
type Standing = { accepted: Bool, earned: Long };
type Brakes = {
  halted: Bool, frozen: Bool, suspended: Bool, overBudget: Bool, counterpartDeleted: Bool, inputRefused: Bool,
  planLimit: Bool, neighbourhoodBusy: Bool, ownDoing: Bool, breakerOpen: Bool, errorBudgetSpent: Bool,
  dependenciesUnread: Bool,
};
type Cap = { targets: Long, services: Long, critical: Long, environments: Long, replicaSharePercent: Long };
type Catalogue = { tier: Long, reversibility: String, idempotent: Bool, additive: Bool, cap: Cap };
type Time = { atMs: Long };
type Ask = {
  oversight: Oversight, trigger: Trigger, undo: Undo, blast: Blast, provenance: Provenance, build: Build,
  standing: Standing, brakes: Brakes, catalogue: Catalogue, time: Time,
};
// What a person would approve. `groups` are the groups of `action`; `approvals` are those obtained so far.
type Consent = {
  tier: Long, approvals: Long, isRequester: Bool, agentOwner: Bool, strong: Bool, tainted: Bool,
  action: String, groups: Set<String>,
};
"#;

/// What a policy bundle is validated against and evaluated with.
#[derive(Debug, Clone)]
pub struct Schema {
    text: String,
    digest: Digest,
    pub(crate) cedar: cedar_policy::Schema,
    pub(crate) actions: BTreeMap<Id<kind::Action>, Known>,
    pub(crate) names: Names,
    pub(crate) types: Types,
    pub(crate) approve: Entity,
    pub(crate) read_ledger: Entity,
    pub(crate) use_console: Entity,
    pub(crate) break_glass: Entity,
}

/// An action of the catalogue, as Cedar needs it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The digest of its entry: facts gathered under another entry are not answered.
    pub(crate) entry: Digest,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) group_uids: Vec<EntityUid>,
    pub(crate) entity: Entity,
}

/// Entity types, parsed once.
#[derive(Debug, Clone)]
pub(crate) struct Types {
    pub(crate) action: EntityTypeName,
    pub(crate) agent: EntityTypeName,
    pub(crate) environment: EntityTypeName,
    pub(crate) gate: EntityTypeName,
    pub(crate) person: EntityTypeName,
    pub(crate) service: EntityTypeName,
    pub(crate) target: EntityTypeName,
    pub(crate) team: EntityTypeName,
}

impl Types {
    fn new() -> Result<Self, SchemaError> {
        let parse =
            |name: &str| name.parse().map_err(|err| SchemaError::Generated(one_line(&format!("{err}"))));
        Ok(Self {
            action: parse("Action")?,
            agent: parse("Agent")?,
            environment: parse("Environment")?,
            gate: parse("Gate")?,
            person: parse("Person")?,
            service: parse("Service")?,
            target: parse("Target")?,
            team: parse("Team")?,
        })
    }
}

/// The entity of this type with this name.
pub(crate) fn uid(of: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name))
}

impl Schema {
    /// Generates the schema of a catalogue. Inventory and registry only tell which names exist.
    pub fn new(
        catalogue: &Catalogue,
        inventory: &Inventory,
        registry: &Registry,
    ) -> Result<Self, SchemaError> {
        let types = Types::new()?;
        let mut actions = BTreeMap::new();
        for action in catalogue.actions() {
            actions.insert(action.id.clone(), known(action, &types)?);
        }
        let groups = all_groups(&actions);
        for action in actions.keys() {
            if groups.contains(action.as_str()) || PEOPLE_DO.contains(&action.as_str()) {
                return Err(SchemaError::ActionIsGroup { action: action.clone() });
            }
        }
        let taken = |known: &Known| PEOPLE_DO.into_iter().find(|word| known.groups.contains(*word));
        if let Some((action, group)) = actions.iter().find_map(|(id, known)| Some((id, taken(known)?))) {
            return Err(SchemaError::GroupIsTaken { action: action.clone(), group });
        }
        let text = write(&actions, &groups);
        let cedar = match cedar_policy::Schema::from_cedarschema_str(&text) {
            Ok((cedar, _)) => cedar,
            Err(err) => return Err(SchemaError::Generated(one_line(&format!("{err}")))),
        };
        let bare = |action: &str| Entity::new_no_attrs(uid(&types.action, action), HashSet::new());
        let (approve, read_ledger, use_console) = (bare(APPROVE), bare(READ_LEDGER), bare(USE_CONSOLE));
        let break_glass = bare(BREAK_GLASS);
        let digest = Digest::of_bytes(text.as_bytes());
        let names = Names::new(inventory, registry);
        Ok(Self {
            text,
            digest,
            cedar,
            actions,
            names,
            types,
            approve,
            read_ledger,
            use_console,
            break_glass,
        })
    }

    /// The schema in Cedar's own syntax: the very text that bundles are validated against.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest of that text.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

fn known(action: &Action, types: &Types) -> Result<Known, SchemaError> {
    let entry =
        action.digest().map_err(|source| SchemaError::Digest { action: action.id.clone(), source })?;
    let mut groups: BTreeSet<String> =
        action.all_groups().iter().map(|group| group.as_str().to_owned()).collect();
    groups.extend(more_groups(&action.touches).map(str::to_owned));
    let group_uids: Vec<_> = groups.iter().map(|group| uid(&types.action, group)).collect();
    let entity =
        Entity::new_no_attrs(uid(&types.action, action.id.as_str()), group_uids.iter().cloned().collect());
    Ok(Known { entry, groups, group_uids, entity })
}

/// Groups beside those of [`Action::all_groups`]: what the guardrails tell apart and `changes-trust-state` does not.
fn more_groups(touches: &BTreeMap<State, Effect>) -> impl Iterator<Item = &'static str> {
    touches.iter().filter(|(state, _)| state.is_trust()).filter_map(|(state, effect)| match (state, effect) {
        (_, Effect::Reads) => Some("reads-trust-state"),
        (State::Secrets, Effect::Refreshes) => Some("refreshes-secrets"),
        (_, Effect::Refreshes) => Some("refreshes-trust-state"),
        (_, Effect::Changes | Effect::Deletes | Effect::Rotates | Effect::Restores | Effect::Grants) => None,
    })
}

fn all_groups(actions: &BTreeMap<Id<kind::Action>, Known>) -> BTreeSet<String> {
    let mut groups: BTreeSet<String> = FIXED_GROUPS.map(str::to_owned).into();
    groups.extend(STATES.iter().map(|state| format!("touches-{}", state.as_str().replace('_', "-"))));
    groups.extend(actions.values().flat_map(|known| known.groups.iter().cloned()));
    groups
}

/// Ids have no quotes, backslashes or spaces, so nothing needs to be escaped.
fn write(actions: &BTreeMap<Id<kind::Action>, Known>, groups: &BTreeSet<String>) -> String {
    let mut text = TYPES.to_owned();
    text.push_str("\n// Groups of actions: some from the catalogue's `groups`, the rest from its facts.\n");
    for group in groups {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "action \"{group}\";");
    }
    text.push_str("\n// The catalogue.\n");
    for (id, known) in actions {
        let parents: Vec<_> = known.groups.iter().map(|group| format!("\"{group}\"")).collect();
        let _ = writeln!(
            text,
            "action \"{id}\" in [{}]\n  appliesTo {{ principal: Agent, resource: Target, context: Ask }};",
            parents.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "\n// Asked of each person who wants to approve a plan.\naction \"{APPROVE}\"\n  \
         appliesTo {{ principal: Person, resource: Target, context: Consent }};"
    );
    let _ = writeln!(
        text,
        "\n// Asked of each person who wants to read the ledger. The one gate is Gate::\"{THIS_GATE}\".\naction \"{READ_LEDGER}\"\n  \
         appliesTo {{ principal: Person, resource: Gate, context: {{}} }};"
    );
    let _ = writeln!(
        text,
        "\n// Asked of each person who opens a page of the console.\naction \"{USE_CONSOLE}\"\n  \
         appliesTo {{ principal: Person, resource: Gate, context: {{}} }};"
    );
    let _ = writeln!(
        text,
        "\n// Asked of each person who wants to act beyond policy, and of whoever approves that.\naction \"{BREAK_GLASS}\"\n  \
         appliesTo {{ principal: Person, resource: Gate, context: {{}} }};"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_text_is_what_is_loaded_and_names_every_action_and_group() {
        let schema = sample::schema();
        let (again, warnings) = cedar_policy::Schema::from_cedarschema_str(schema.text()).unwrap();
        assert_eq!(warnings.count(), 0);
        let mut declared: Vec<_> = again.actions().map(|uid| uid.id().unescaped().to_owned()).collect();
        declared.sort();
        for want in [
            "process.restart",
            "process.stop",
            "restart",
            "capacity",
            "needs-step-up",
            "touches-iam",
            APPROVE,
            READ_LEDGER,
            USE_CONSOLE,
        ] {
            assert!(declared.contains(&want.to_owned()), "{want} is missing");
        }
        assert_eq!(schema.digest(), Digest::of_bytes(schema.text().as_bytes()));
    }

    #[test]
    fn every_state_is_listed_and_every_generated_group_is_declared() {
        for state in STATES {
            // Fails to compile when a state is added, so that the list above is not forgotten.
            match state {
                State::Secrets | State::Authentication | State::Iam | State::Rbac | State::Network => {}
                State::Authorization | State::CustomerData | State::Audit | State::AdmissionControl => {}
                State::Observability | State::AvailabilityGuard | State::ChangeControl => {}
            }
        }
        let declared = all_groups(&BTreeMap::new());
        for action in sample::every_kind_of_action() {
            let generated =
                known(&Action { groups: BTreeSet::new(), ..action }, &Types::new().unwrap()).unwrap();
            assert!(generated.groups.is_subset(&declared), "{:?}", generated.groups.difference(&declared));
        }
    }

    #[test]
    fn t36_names_that_would_be_taken_twice_are_refused() {
        let (inventory, registry) = (sample::inventory(), sample::registry());
        let load = |id: &str, group: &str| {
            let mut actions = sample::actions();
            actions[0].id = Id::parse(id).unwrap();
            actions[0].groups.insert(Id::parse(group).unwrap());
            let catalogue = Catalogue::new(actions, sample::conditions()).unwrap();
            Schema::new(&catalogue, &inventory, &registry).map(|_| ()).map_err(|err| err.to_string())
        };
        assert_eq!(load("process.restart", "mine"), Ok(()));
        assert!(load("approve", "mine").unwrap_err().contains("`approve` has the name of an action group"));
        assert!(load("mine", "mine").unwrap_err().contains("`mine` has the name of an action group"));
        assert!(load("a", "approve").unwrap_err().contains("group `approve`"));
        assert!(load("read-ledger", "mine").unwrap_err().contains("`read-ledger` has the name of"));
        assert!(load("a", "read-ledger").unwrap_err().contains("group `read-ledger`"));
        assert!(load("use-console", "mine").unwrap_err().contains("`use-console` has the name of"));
    }
}
