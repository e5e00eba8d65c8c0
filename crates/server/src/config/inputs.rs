//! The control inputs: catalogue, inventory, registry, policy and limits, each parsed and checked against the others.
//!
//! A control input is a document: its files by the names that the configuration has for them. What is on disk, what is kept
//! beside the ledger and what a change proposes are read by the same code. One file, because they are: what is checked against
//! each other is read in one place, and a third of it are its tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdpoint_adapters::probe::ProbeLogins;
use holdpoint_app::port::Document;
use holdpoint_domain::{
    Digest, Id,
    action::{Action, Catalogue, CatalogueError},
    agent::{Agent, Person, Registry},
    change::Control,
    dependencies::{Declared, ServiceGraph},
    id::kind,
    limits::Limits,
    passkey::Passkey,
    signal::Signal,
    target::{Address, Inventory, Service, Target},
    trigger::{Condition, endpoints},
};
use holdpoint_policy::{Bundle, Schema, Source, Warning};
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, ExecutorPins, backstage, limits, parse_text, read};

/// What the binary brings along: names for `catalogue:` in the configuration.
const BUILTIN: [(&str, &str); 6] = [
    ("builtin:process", include_str!("../../../../catalog/process.yaml")),
    ("builtin:files", include_str!("../../../../catalog/files.yaml")),
    ("builtin:job", include_str!("../../../../catalog/job.yaml")),
    ("builtin:nginx", include_str!("../../../../catalog/nginx.yaml")),
    ("builtin:postgres", include_str!("../../../../catalog/postgres.yaml")),
    ("builtin:telemetry", include_str!("../../../../catalog/telemetry.yaml")),
];

/// The documents of all control inputs.
pub(crate) type Documents = BTreeMap<Control, Document>;

/// All control inputs.
pub(crate) struct Inputs {
    /// What can be done.
    pub(crate) catalogue: Catalogue,
    /// To what.
    pub(crate) inventory: Inventory,
    /// By whom.
    pub(crate) registry: Registry,
    /// Under which rules.
    pub(crate) bundle: Arc<Bundle>,
    /// How often, and when not.
    pub(crate) limits: Limits,
    /// Digests of what else decides who is believed and what runs.
    pub(crate) roots: BTreeMap<&'static str, Digest>,
    /// What the executors have pinned; none before `holdpoint init`.
    pub(crate) pins: Option<ExecutorPins>,
    /// What they were read from.
    pub(crate) documents: Documents,
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
    /// What is measured of its services before a run and after it.
    #[serde(default)]
    signals: Vec<Signal>,
    /// Where service graphs are read that say who needs whom, beside the services themselves.
    #[serde(default)]
    service_graphs: Vec<ServiceGraph>,
}

impl InventoryFile {
    /// Checked, together with what catalogues beside it say.
    fn inventory(self, declared: BTreeMap<Id<kind::Source>, Declared>) -> Result<Inventory, ConfigError> {
        let inventory = Inventory::new(self.services, self.targets)
            .and_then(|inventory| inventory.with_sources(declared, self.service_graphs))
            .map_err(|errors| all("inventory", &errors))?;
        inventory.with_signals(self.signals).map_err(|errors| all("inventory", &errors))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    #[serde(default)]
    agents: Vec<Agent>,
    people: Vec<Person>,
}

/// The file of passkeys, by whose they are. Enrolment alone adds to it; any change may take away.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeysFile {
    /// Passkeys of people of the registry.
    #[serde(default)]
    pub(crate) people: BTreeMap<Id<kind::Person>, Vec<Passkey>>,
}

impl PasskeysFile {
    /// The file of a document; an empty one where there is none.
    pub(crate) fn of(config: &Config, document: &Document) -> Result<Self, ConfigError> {
        let name = config.passkeys.display().to_string();
        document.files.get(&name).map_or_else(|| Ok(Self::default()), |text| parse_text(&name, text))
    }
}

/// The names of a control input's files, as in the configuration.
pub(crate) fn names(config: &Config, control: Control) -> Vec<PathBuf> {
    match control {
        Control::Policy => config.policies.clone(),
        Control::Catalogue => config.catalogue.clone(),
        Control::Inventory => {
            std::iter::once(&config.inventory).chain(config.backstage.values().flatten()).cloned().collect()
        }
        Control::Registry => {
            let roots = roots(config).into_iter().map(|(_, name)| name);
            [config.registry.clone(), config.passkeys.clone()].into_iter().chain(roots).collect()
        }
        Control::Limits => std::iter::once(&config.limits).chain(&config.calendars).cloned().collect(),
    }
}

/// The files beside the registry that decide who is believed and what runs, by their names in the registry's digest.
fn roots(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let more = [
        ("units", &config.units),
        ("executors", &config.executors),
        ("identity_sources", &config.identity_sources),
    ];
    let more = more.into_iter().filter_map(|(root, name)| Some((root, name.clone()?)));
    let identities = config.data_dir.join("keys").join("identities.jwks");
    [("identities", identities), ("executor_pins", config.executor_pins.clone())]
        .into_iter()
        .chain(more)
        .collect()
}

/// The text of a trust root in force: `identities`, `executor_pins`, `units`, `executors` or `identity_sources`; none where
/// there is none.
pub(crate) fn root_text<'d>(config: &Config, documents: &'d Documents, root: &str) -> Option<&'d str> {
    let (_, name) = roots(config).into_iter().find(|(known, _)| *known == root)?;
    documents.get(&Control::Registry)?.files.get(&name.display().to_string()).map(String::as_str)
}

/// Whether a file is in the binary and not on disk.
pub(crate) fn is_builtin(name: &Path) -> bool {
    BUILTIN.iter().any(|(builtin, _)| name == Path::new(builtin))
}

/// Reads the files of a control input. Trust roots that `holdpoint init` has not written yet, and limits that nobody wrote, are
/// left out.
pub(crate) fn document(config: &Config, control: Control) -> Result<Document, ConfigError> {
    let (mut document, mut faults) = (Document::default(), Vec::new());
    for (at, name) in names(config, control).into_iter().enumerate() {
        let optional = match control {
            Control::Limits => at == 0,
            Control::Registry => at > 0,
            Control::Policy | Control::Catalogue | Control::Inventory => false,
        };
        let builtin = BUILTIN.iter().find(|(builtin, _)| name == Path::new(builtin));
        let text = match builtin {
            Some((_, text)) => Ok((*text).to_owned()),
            None if optional && !config.path(&name).exists() => continue,
            None => read(&config.path(&name)),
        };
        if let Some(text) = noted(text, &mut faults) {
            document.files.insert(name.display().to_string(), text);
        }
    }
    if faults.is_empty() { Ok(document) } else { Err(ConfigError(faults)) }
}

/// Reads the files of all control inputs.
pub(crate) fn documents(config: &Config) -> Result<Documents, ConfigError> {
    let (mut documents, mut faults) = (Documents::new(), Vec::new());
    for control in Control::ALL {
        if let Some(document) = noted(document(config, control), &mut faults) {
            documents.insert(control, document);
        }
    }
    if faults.is_empty() { Ok(documents) } else { Err(ConfigError(faults)) }
}

/// Loads all control inputs from disk; reports the faults of all files together.
pub(crate) fn load_inputs(config: &Config) -> Result<Inputs, ConfigError> {
    assemble(config, documents(config)?)
}

/// Checks documents against each other; reports the faults of all of them together.
pub(crate) fn assemble(config: &Config, documents: Documents) -> Result<Inputs, ConfigError> {
    let mut faults = Vec::new();
    let empty = Document::default();
    let of = |control: Control| documents.get(&control).unwrap_or(&empty);
    let catalogue = noted(catalogue(of(Control::Catalogue)), &mut faults);
    let inventory = noted(inventory(config, of(Control::Inventory)), &mut faults);
    let registry = noted(registry(config, of(Control::Registry)), &mut faults);
    let limits = noted(limits::read(config, of(Control::Limits)), &mut faults);
    let pins = noted(pins(config, of(Control::Registry)), &mut faults);
    let (Some(catalogue), Some(inventory), Some(registry), Some(limits), Some(pins)) =
        (catalogue, inventory, registry, limits, pins)
    else {
        return Err(ConfigError(faults));
    };
    limits::check_error_budgets(&limits, &catalogue, &inventory)?;
    let schema = Schema::new(&catalogue, &inventory, &registry)
        .map_err(|err| ConfigError::one(format!("policy schema: {err}")))?;
    // In the configuration's order: it is part of the bundle's digest.
    let policy = &of(Control::Policy).files;
    let names = config.policies.iter().map(|name| name.display().to_string());
    let sources: Vec<_> =
        names.filter_map(|name| Some(Source { text: policy.get(&name)?.clone(), name })).collect();
    let roots = root_digests(config, of(Control::Registry));
    match Bundle::load(&sources, &[], schema) {
        Ok((bundle, warnings)) => {
            let bundle = Arc::new(bundle);
            Ok(Inputs { catalogue, inventory, registry, bundle, limits, roots, pins, documents, warnings })
        }
        Err(errors) => Err(ConfigError(errors.iter().map(|err| format!("policy: {err}")).collect())),
    }
}

/// What else decides who is believed and what runs.
fn root_digests(config: &Config, registry: &Document) -> BTreeMap<&'static str, Digest> {
    let development: &[u8] = if config.development { b"true" } else { b"false" };
    let mut digests = BTreeMap::from([("development", Digest::of_bytes(development))]);
    for (root, name) in roots(config) {
        if let Some(text) = registry.files.get(&name.display().to_string()) {
            digests.insert(root, Digest::of_bytes(text.as_bytes()));
        }
    }
    digests
}

fn noted<T>(result: Result<T, ConfigError>, faults: &mut Vec<String>) -> Option<T> {
    result.map_err(|err| faults.extend(err.0)).ok()
}

/// Parses one file of a document.
fn file<T: serde::de::DeserializeOwned>(document: &Document, name: &Path) -> Result<T, ConfigError> {
    let name = name.display().to_string();
    let missing = || ConfigError::one(format!("{name} is not there"));
    parse_text(&name, document.files.get(&name).ok_or_else(missing)?)
}

fn catalogue(document: &Document) -> Result<Catalogue, ConfigError> {
    let (mut actions, mut conditions, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let mut files = BTreeMap::new();
    for (name, text) in &document.files {
        if let Some(file) = noted(parse_text::<CatalogueFile>(name, text), &mut faults) {
            files.extend(file.conditions.iter().map(|condition| (condition.id.clone(), name.as_str())));
            actions.extend(file.actions);
            conditions.extend(file.conditions);
        }
    }
    if !faults.is_empty() {
        return Err(ConfigError(faults));
    }
    // Whoever wrote a query wants to know where.
    let file_of = |err: &CatalogueError| match err {
        CatalogueError::Condition { condition, .. } => files.get(condition).copied(),
        CatalogueError::DuplicateAction(_)
        | CatalogueError::DuplicateCondition(_)
        | CatalogueError::UnknownCondition { .. }
        | CatalogueError::NoTrigger(_)
        | CatalogueError::BelowGuardrail { .. }
        | CatalogueError::ApprovalsUnasked { .. }
        | CatalogueError::ReadOnlyMismatch(_)
        | CatalogueError::EmptyParam { .. }
        | CatalogueError::Time { .. }
        | CatalogueError::Guards { .. }
        | CatalogueError::Size(_) => None,
    };
    let in_file = |err: &CatalogueError| match file_of(err) {
        Some(name) => format!("catalogue: {name}: {err}"),
        None => format!("catalogue: {err}"),
    };
    Catalogue::new(actions, conditions).map_err(|errors| ConfigError(errors.iter().map(in_file).collect()))
}

/// The catalogue of a role's own files.
pub(crate) fn read_catalogue(base: &Path, names: &[PathBuf]) -> Result<Catalogue, ConfigError> {
    let (mut document, mut faults) = (Document::default(), Vec::new());
    for name in names {
        let builtin = BUILTIN.iter().find(|(builtin, _)| name == Path::new(builtin));
        let text = builtin.map_or_else(|| read(&base.join(name)), |(_, text)| Ok((*text).to_owned()));
        if let Some(text) = noted(text, &mut faults) {
            document.files.insert(name.display().to_string(), text);
        }
    }
    if faults.is_empty() { catalogue(&document) } else { Err(ConfigError(faults)) }
}

/// The inventory in a role's own file.
pub(crate) fn read_inventory(path: &Path) -> Result<Inventory, ConfigError> {
    parse_text::<InventoryFile>(&path.display().to_string(), &read(path)?)?.inventory(BTreeMap::new())
}

fn inventory(config: &Config, document: &Document) -> Result<Inventory, ConfigError> {
    let declared = backstage::declared(&config.backstage, document)?;
    file::<InventoryFile>(document, &config.inventory)?.inventory(declared)
}

fn registry(config: &Config, document: &Document) -> Result<Registry, ConfigError> {
    let mut file: RegistryFile = file(document, &config.registry)?;
    let mut faults = Vec::new();
    for (id, passkeys) in PasskeysFile::of(config, document)?.people {
        match file.people.iter_mut().find(|person| person.id == id) {
            Some(person) => person.passkeys.extend(passkeys),
            None => faults.push(format!(
                "{}: `{id}` is not in the registry: expected people of it",
                config.passkeys.display()
            )),
        }
    }
    if !faults.is_empty() {
        return Err(ConfigError(faults));
    }
    Registry::new(file.agents, file.people).map_err(|errors| all("registry", &errors))
}

fn pins(config: &Config, document: &Document) -> Result<Option<ExecutorPins>, ConfigError> {
    if !document.files.contains_key(&config.executor_pins.display().to_string()) {
        return Ok(None);
    }
    file(document, &config.executor_pins).map(Some)
}

pub(super) fn all<E: std::fmt::Display>(what: &str, errors: &[E]) -> ConfigError {
    ConfigError(errors.iter().map(|err| format!("{what}: {err}")).collect())
}

/// Conditions that could never be measured on the targets they are for: an endpoint or a label is missing, or an endpoint is of another
/// kind. Worth a word at start-up, because such a plan is deferred for ever.
pub(crate) fn unmeasurable(inputs: &Inputs) -> Vec<String> {
    let mut found = BTreeSet::new();
    for target in inputs.inventory.targets() {
        for action in inputs.catalogue.actions().filter(|action| action.executor == target.executor) {
            if let Some(condition) = inputs.catalogue.condition(&action.verify) {
                let missing =
                    endpoints(condition).into_iter().find(|name| !target.endpoints.contains_key(*name));
                found.extend(missing.map(|endpoint| {
                    format!(
                        "target `{}` has no endpoint `{endpoint}`, so action `{}` could never be verified on it",
                        target.id, action.id
                    )
                }));
            }
            let named = action.triggers.iter().chain([&action.verify]).chain(&action.guards);
            let conditions = named.filter_map(|name| inputs.catalogue.condition(name));
            found.extend(conditions.flat_map(|condition| misfits(target, condition)));
        }
    }
    found.into_iter().collect()
}

/// Databases of the inventory that no probe can log in to.
pub(crate) fn without_login(inventory: &Inventory, logins: &ProbeLogins) -> Vec<String> {
    let mut found = Vec::new();
    for target in inventory.targets() {
        for (name, endpoint) in &target.endpoints {
            if let Address::Postgres(database) = &endpoint.at
                && !logins.contains_key(&database.login)
            {
                found.push(format!(
                    "endpoint `{name}` of target `{}` names login `{}`, which is not under `probes:` of the executors' file",
                    target.id, database.login
                ));
            }
        }
    }
    found
}

/// Probes of a condition that ask what an endpoint of the target cannot answer.
fn misfits(target: &Target, condition: &Condition) -> Vec<String> {
    let mut found = Vec::new();
    for (number, probe) in (1..).zip(&condition.probes) {
        let Some(endpoint) = target.endpoints.get(&probe.endpoint) else { continue };
        let place = format!("probe {number} of condition `{}`", condition.id);
        if !probe.check.fits(&endpoint.at) {
            found.push(format!(
                "endpoint `{}` of target `{}` is of another kind than {place} asks",
                probe.endpoint, target.id
            ));
        }
        let missing = probe.check.labels().into_iter().find(|name| !target.labels.contains_key(name));
        found.extend(
            missing
                .map(|label| format!("target `{}` has no label `{label}`, which {place} names", target.id)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use holdpoint_adapters::probe::ProbeLogin;
    use holdpoint_domain::{
        Id,
        id::kind,
        passkey::{Authenticator, Passkey},
        proof::Credentials,
        signature::PublicKey,
    };

    use super::*;

    #[test]
    fn what_the_binary_brings_along_loads_together() {
        let files = BUILTIN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let catalogue = catalogue(&Document { files }).unwrap();
        for executor in ["process", "flags", "config", "secret", "job", "nginx"] {
            assert!(catalogue.actions().any(|action| action.executor.as_str() == executor), "{executor}");
        }
    }

    #[test]
    fn a_probe_that_cannot_be_asked_is_named_with_file_condition_and_place() {
        let condition = |check: &str| {
            let text = format!(
                "conditions:\n  - id: shop.slow\n    title: slow\n    needs: 1\n    probes:\n      - {{endpoint: e, timeout_ms: 1, check: {check}}}\n"
            );
            let files = BTreeMap::from([("catalog/shop.yaml".to_owned(), text)]);
            catalogue(&Document { files }).map(|_| ()).map_err(|err| err.0.join("\n"))
        };
        let cases = [
            (
                "{kind: promql, query: x_total, is: {above: 1}, data: up, max_age_ms: 1}",
                "`query`: `x_total` only ever grows",
            ),
            (
                "{kind: promql, query: 'up{a=\"${agent}\"}', is: {above: 1}, data: up, max_age_ms: 1}",
                "got `agent`",
            ),
            (
                "{kind: alertmanager, matchers: ['alertname=\"a\"'], expect: not_firing, max_age_ms: 1}",
                "`heartbeat`",
            ),
            (
                "{kind: alertmanager, matchers: ['a=\"b\",c=\"d\"'], expect: firing, max_age_ms: 1}",
                "expected one matcher",
            ),
            ("{kind: sql, statement: SELECT 1, params: [target], is: {above: 1}}", "`params`"),
            ("{kind: sql, statement: SELECT 1, is: {text: a}}", "a number or yes or no"),
            ("{kind: http_json, path: '$..a', is: {above: 1}}", "`path`"),
        ];
        for (check, says) in cases {
            let fault = condition(check).unwrap_err();
            for part in ["catalog/shop.yaml", "`shop.slow`", "probe 1", "endpoint `e`", says] {
                assert!(fault.contains(part), "`{part}` is not in: {fault}");
            }
        }
        // What has no such field or word is refused by the reader of the file.
        for check in [
            "{kind: promql, query: up, is: {above: 1}, max_age_ms: 1}",
            "{kind: sql, statement: SELECT 1, params: [agent], is: {above: 1}}",
            "{kind: alertmanager, matchers: [], expect: gone, max_age_ms: 1}",
        ] {
            assert!(condition(check).unwrap_err().contains("catalog/shop.yaml"), "{check}");
        }
    }

    #[test]
    fn the_examples_of_the_documentation_can_be_asked() {
        #[derive(Deserialize)]
        struct Example {
            check: holdpoint_domain::trigger::Check,
        }
        let text = include_str!("../../../../docs/probes.md");
        let (mut kinds, mut conditions) = (0, 0);
        for fence in text.split("```yaml\n").skip(1) {
            let yaml = fence.split("```").next().unwrap();
            let yaml = yaml.strip_prefix("# catalogue.yaml\n").unwrap_or(yaml);
            if yaml.starts_with("check:") {
                let Example { check } = parse_text("docs/probes.md", yaml).unwrap();
                check.check().unwrap_or_else(|fault| panic!("{yaml}: {fault}"));
                kinds += 1;
            } else if yaml.starts_with("conditions:") {
                let file: CatalogueFile = parse_text("docs/probes.md", yaml).unwrap();
                for condition in &file.conditions {
                    condition.check().unwrap_or_else(|fault| panic!("{yaml}: {fault}"));
                    conditions += 1;
                }
            }
        }
        assert_eq!((kinds, conditions), (4, 1));
    }

    #[test]
    fn the_signals_of_the_documentation_can_be_measured_and_faults_are_named() {
        let service = "services: [{id: shop, environment: production, owner: team, criticality: low, stateless: true}]\ntargets: []\n";
        let example =
            include_str!("../../../../docs/signals.md").split("```yaml\n# inventory.yaml\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let read = |signals: &str| {
            parse_text::<InventoryFile>("inventory.yaml", &format!("{service}{signals}"))?
                .inventory(BTreeMap::new())
        };
        let (with, without) = (read(example).unwrap(), read("").unwrap());
        assert_eq!(with.signals().len(), 1);
        assert_ne!(
            with.digest().unwrap(),
            without.digest().unwrap(),
            "it is part of what administrators sign"
        );
        for (from, to, says) in [
            ("id: errors", "id: errors\n    agent: me", "agent"),
            ("moves: {by: 0.02, times: 1.5}", "moves: {}", "signal `errors`: `moves`"),
            ("service                   #", "'ser vice' #", "signal `errors`: `label`"),
        ] {
            assert!(example.contains(from), "{from}");
            let fault = read(&example.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
    }

    #[test]
    fn a_login_that_is_not_there_is_named() {
        let text = "services: [{id: shop, environment: production, owner: team, criticality: low, stateless: true}]\n\
            targets: [{id: shop-1, service: shop, executor: process, labels: {shard: a}, endpoints: {db: {source: db, \
            at: {postgres: {host: 10.0.0.7, port: 5432, database: shop, login: shop-ro}}}}}]\n";
        let file: InventoryFile = parse_text("inventory.yaml", text).unwrap();
        let inventory = Inventory::new(file.services, file.targets).unwrap();
        let found = without_login(&inventory, &ProbeLogins::new());
        assert_eq!(found.len(), 1);
        for part in ["`db`", "`shop-1`", "`shop-ro`", "`probes:`"] {
            assert!(found[0].contains(part), "`{part}` is not in: {}", found[0]);
        }
        let login = ProbeLogin { user: "u".to_owned(), password_file: "f".into(), ca_file: None };
        assert!(without_login(&inventory, &[(Id::parse("shop-ro").unwrap(), login)].into()).is_empty());
    }

    /// As pins have had them always, and with passkeys, in YAML as people write it.
    #[test]
    fn approvers_have_a_key_or_passkeys_or_both() {
        type Approvers = BTreeMap<Id<kind::Person>, Credentials>;
        const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let passkey =
            Authenticator::new([1; 32], "http://localhost:7070", "act-1".parse().unwrap()).unwrap().passkey;
        let Passkey { id, key, .. } = &passkey;
        let passkeys = format!(
            "passkeys:\n  - id: {id}\n    algorithm: EdDSA\n    key: {key}\n    rp_id: localhost\n    \
             origin: http://localhost:7070\n    act: act-1\n"
        );
        let indented = |text: &str| text.replace('\n', "\n  ");
        let text = format!(
            "ada: {KEY}\nben:\n  {}\ncleo:\n  key: {KEY}\n  {}",
            indented(&passkeys),
            indented(&passkeys)
        );
        let read: Approvers = parse_text("pins.yaml", &text).unwrap();
        let key: PublicKey = KEY.to_owned().try_into().unwrap();
        let of = |key: Option<&PublicKey>, passkeys: &[Passkey]| Credentials {
            key: key.cloned(),
            passkeys: passkeys.to_vec(),
        };
        let one = std::slice::from_ref(&passkey);
        let all: Vec<_> = read.into_values().collect();
        assert_eq!(all, [of(Some(&key), &[]), of(None, one), of(Some(&key), one)]);
        let people = format!("id: ada\napproval_key: {KEY}\n{passkeys}");
        let person: Person = parse_text("registry.yaml", &people).unwrap();
        assert_eq!(person.credentials(), of(Some(&key), one));
        for bad in ["ada: 7", "ada: {keys: 1}", "ada: {passkeys: [{id: AAAA}]}", "ada: AAAA"] {
            assert!(parse_text::<Approvers>("pins.yaml", bad).is_err(), "{bad}");
        }
    }
}
