//! The control inputs: catalogue, inventory, registry and policy, each parsed and checked against the others.

use std::path::Path;

use holdpoint_domain::{
    action::{Action, Catalogue},
    agent::{Agent, Person, Registry},
    target::{Address, Inventory, Service, Target},
    trigger::{Check, Condition, endpoints},
};
use holdpoint_policy::{Bundle, Schema, Source, Warning};
use serde::Deserialize;

use super::{Config, ConfigError, parse, parse_text, read};

/// The name of the catalogue in the binary.
const BUILTIN_PROCESS: &str = "builtin:process";
/// Actions on processes under the local supervisor.
const PROCESS_YAML: &str = include_str!("../../../../catalog/process.yaml");

/// All control inputs.
pub(crate) struct Inputs {
    /// What can be done.
    pub(crate) catalogue: Catalogue,
    /// To what.
    pub(crate) inventory: Inventory,
    /// By whom.
    pub(crate) registry: Registry,
    /// Under which rules.
    pub(crate) bundle: Bundle,
    /// What the policy's author should know.
    pub(crate) warnings: Vec<Warning>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    #[serde(default)]
    actions: Vec<Action>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InventoryFile {
    services: Vec<Service>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    #[serde(default)]
    agents: Vec<Agent>,
    people: Vec<Person>,
}

/// Loads all control inputs; reports the faults of all files together.
pub(crate) fn load_inputs(config: &Config) -> Result<Inputs, ConfigError> {
    let mut faults = Vec::new();
    let catalogue = noted(catalogue(config), &mut faults);
    let inventory = noted(inventory(config), &mut faults);
    let registry = noted(registry(config), &mut faults);
    let (Some(catalogue), Some(inventory), Some(registry)) = (catalogue, inventory, registry) else {
        return Err(ConfigError(faults));
    };
    let schema = noted(
        Schema::new(&catalogue, &inventory, &registry)
            .map_err(|err| ConfigError::one(format!("policy schema: {err}"))),
        &mut faults,
    );
    let sources = noted(sources(config), &mut faults);
    let (Some(schema), Some(sources)) = (schema, sources) else { return Err(ConfigError(faults)) };
    match Bundle::load(&sources, &[], schema) {
        Ok((bundle, warnings)) => Ok(Inputs { catalogue, inventory, registry, bundle, warnings }),
        Err(errors) => Err(ConfigError(errors.iter().map(|err| format!("policy: {err}")).collect())),
    }
}

fn noted<T>(result: Result<T, ConfigError>, faults: &mut Vec<String>) -> Option<T> {
    result.map_err(|err| faults.extend(err.0)).ok()
}

fn catalogue(config: &Config) -> Result<Catalogue, ConfigError> {
    let (mut actions, mut conditions, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for path in &config.catalogue {
        let file: Result<CatalogueFile, _> = if path == Path::new(BUILTIN_PROCESS) {
            parse_text(BUILTIN_PROCESS, PROCESS_YAML)
        } else {
            parse(&config.path(path))
        };
        if let Some(file) = noted(file, &mut faults) {
            actions.extend(file.actions);
            conditions.extend(file.conditions);
        }
    }
    if !faults.is_empty() {
        return Err(ConfigError(faults));
    }
    Catalogue::new(actions, conditions).map_err(|errors| all("catalogue", &errors))
}

fn inventory(config: &Config) -> Result<Inventory, ConfigError> {
    let file: InventoryFile = parse(&config.path(&config.inventory))?;
    Inventory::new(file.services, file.targets).map_err(|errors| all("inventory", &errors))
}

fn registry(config: &Config) -> Result<Registry, ConfigError> {
    let file: RegistryFile = parse(&config.path(&config.registry))?;
    Registry::new(file.agents, file.people).map_err(|errors| all("registry", &errors))
}

fn sources(config: &Config) -> Result<Vec<Source>, ConfigError> {
    let source = |path: &std::path::PathBuf| {
        Ok(Source { name: path.display().to_string(), text: read(&config.path(path))? })
    };
    config.policies.iter().map(source).collect()
}

fn all<E: std::fmt::Display>(what: &str, errors: &[E]) -> ConfigError {
    ConfigError(errors.iter().map(|err| format!("{what}: {err}")).collect())
}

/// Conditions that could never be measured on the targets they are for: an endpoint is missing, or of another kind. Worth a
/// word at start-up, because such a plan is deferred for ever.
pub(crate) fn unmeasurable(inputs: &Inputs) -> Vec<String> {
    let mut found = Vec::new();
    for target in inputs.inventory.targets() {
        let actions = inputs.catalogue.actions().filter(|action| action.executor == target.executor);
        let verified =
            actions.filter_map(|action| inputs.catalogue.condition(&action.verify).map(|it| (action, it)));
        for (action, condition) in verified {
            let missing = endpoints(condition).into_iter().find(|name| !target.endpoints.contains_key(*name));
            if let Some(endpoint) = missing {
                found.push(format!(
                    "target `{}` has no endpoint `{endpoint}`, so action `{}` could never be verified on it",
                    target.id, action.id
                ));
            }
            for probe in &condition.probes {
                let fits = target.endpoints.get(&probe.endpoint).is_none_or(|endpoint| {
                    matches!(
                        (&probe.check, &endpoint.at),
                        (Check::Http { .. } | Check::Prometheus { .. }, Address::Url(_))
                            | (Check::Tcp { .. }, Address::Tcp(_))
                            | (Check::Process { .. }, Address::Unit(_))
                    )
                });
                if !fits {
                    found.push(format!(
                        "endpoint `{}` of target `{}` is of another kind than condition `{}` asks",
                        probe.endpoint, target.id, condition.id
                    ));
                }
            }
        }
    }
    found
}
