//! The names that inventory and registry know, to find spelling mistakes in rules. Cedar's schema has no say in which
//! entities exist, and an environment that is spelled wrongly makes a forbid that never bites.

use std::collections::BTreeSet;

use cedar_policy::EntityUid;
use holdpoint_domain::{agent::Registry, target::Inventory};

use crate::schema::THIS_GATE;

/// Known names by entity type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    known: BTreeSet<(&'static str, String)>,
}

impl Names {
    pub(crate) fn new(inventory: &Inventory, registry: &Registry) -> Self {
        let mut names = Self::default();
        names.add("Gate", THIS_GATE);
        for service in inventory.services() {
            names.add("Service", service.id.as_str());
            names.add("Environment", service.environment.as_str());
            names.add("Team", service.owner.as_str());
        }
        for target in inventory.targets() {
            names.add("Target", target.id.as_str());
        }
        for agent in registry.agents() {
            names.add("Agent", agent.id.as_str());
            names.add("Team", agent.team.as_str());
        }
        for person in registry.people() {
            names.add("Person", person.id.as_str());
            for team in &person.teams {
                names.add("Team", team.as_str());
            }
        }
        names
    }

    fn add(&mut self, of: &'static str, name: &str) {
        self.known.insert((of, name.to_owned()));
    }

    /// Whether the entity is known. Actions are checked by the schema.
    pub(crate) fn knows(&self, uid: &EntityUid) -> bool {
        const TYPES: [&str; 7] = ["Agent", "Environment", "Gate", "Person", "Service", "Target", "Team"];
        let of = uid.type_name().to_string();
        let Some(of) = TYPES.into_iter().find(|name| *name == of) else { return true };
        self.known.contains(&(of, uid.id().unescaped().to_owned()))
    }
}
