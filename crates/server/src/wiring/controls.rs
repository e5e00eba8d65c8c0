//! Control inputs in force: which texts they are, how others come in their place, and what is on disk instead of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak},
};

use async_trait::async_trait;
use holdpoint_adapters::{step::Step, system::durable};
use holdpoint_app::{
    change,
    gate::{Controls, Gate},
    judge::BundleJudge,
    port::{Clock, Document, Inputs as InputsPort, Loaded, Store},
    start,
};
use holdpoint_domain::{Digest, Id, change::Control, facts::Inputs as Digests, id::kind, passkey::Passkey};

use super::{Roles, Tokens, executors::Targets, identities::Believed, units_of};
use crate::{
    cli::{CliError, failed},
    config::{
        Config, Documents, ExecutorPins, Inputs, PasskeysFile, assemble, document, documents, is_builtin,
        names, parse_text, root_text,
    },
    service::GateCell,
};

/// The control inputs in force, with what is needed to put others in their place.
pub(crate) struct InForce {
    config: Config,
    roles: Arc<Roles>,
    tokens: Arc<Tokens>,
    // Set once, when there is a gate. Weak: the gate in the cell has this as a port, and a circle would keep the store open
    // for ever; its end carries the write-ahead log over.
    cell: OnceLock<Weak<GateCell>>,
    documents: RwLock<Documents>,
    // Held while files are written or looked at: a file that is being replaced is none that nobody approved.
    files: Mutex<()>,
}

impl InForce {
    pub(super) fn new(config: Config, roles: Arc<Roles>, tokens: Arc<Tokens>, documents: Documents) -> Self {
        Self {
            config,
            roles,
            tokens,
            cell: OnceLock::new(),
            documents: RwLock::new(documents),
            files: Mutex::new(()),
        }
    }

    /// From now on what is activated comes in force in this cell.
    pub(super) fn serve(&self, cell: &Arc<GateCell>) {
        // The first one stays: there is one gate in a process.
        let _ = self.cell.set(Arc::downgrade(cell));
    }

    fn documents(&self) -> Documents {
        self.documents.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What loads when `document` stands in the place of the one in force.
    fn inputs_with(&self, control: Control, document: &Document) -> Result<Inputs, Vec<String>> {
        let mut documents = self.documents();
        documents.insert(control, document.clone());
        let inputs = assemble(&self.config, documents).map_err(|err| err.0)?;
        check_roots(&self.config, &inputs.documents).map_err(|err| vec![err.to_string()])?;
        Ok(inputs)
    }

    /// Compares what is on disk with what is in force, and notes every difference.
    pub(crate) async fn look_at_disk(&self, gate: &Gate) {
        for control in Control::ALL {
            let found = {
                let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                self.on_disk(gate, control)
            };
            if let Err(err) = change::saw_on_disk(gate, control, found).await {
                tracing::error!("what is on disk for the {control} was not recorded: {err}");
            }
        }
    }

    fn on_disk(&self, gate: &Gate, control: Control) -> Result<(), Option<Digest>> {
        let found = document(&self.config, control).map_err(|_| None)?;
        if self.documents().get(&control) == Some(&found) {
            return Ok(());
        }
        let inputs = self.inputs_with(control, &found).map_err(|_| None)?;
        let digest = digests(&self.roles.clock, inputs).map_err(|_| None)?;
        let (found, active) = (control.of(&digest), control.of(&gate.inputs));
        if found == active { Ok(()) } else { Err(Some(found)) }
    }
}

#[async_trait]
impl InputsPort for InForce {
    fn active(&self, control: Control) -> Document {
        self.documents().remove(&control).unwrap_or_default()
    }

    fn names(&self, control: Control) -> BTreeSet<String> {
        names(&self.config, control).iter().map(|name| name.display().to_string()).collect()
    }

    fn with_passkey(
        &self,
        person: &Id<kind::Person>,
        passkey: &Passkey,
    ) -> Result<BTreeMap<String, String>, String> {
        let document = self.active(Control::Registry);
        let mut file = PasskeysFile::of(&self.config, &document).map_err(|err| err.to_string())?;
        file.people.entry(person.clone()).or_default().push(passkey.clone());
        let mut files = BTreeMap::from([(self.config.passkeys.display().to_string(), text_of(&file)?)]);
        // With executors in this process, what they have pinned is a file of the registry, and is approved with it. Elsewhere
        // their operators pin the passkey: nothing here reaches them.
        let pins = self.config.executor_pins.display().to_string();
        if let Some(text) = document.files.get(&pins) {
            let mut pinned: ExecutorPins = parse_text(&pins, text).map_err(|err| err.to_string())?;
            pinned.approvers.entry(person.clone()).or_default().passkeys.push(passkey.clone());
            files.insert(pins, text_of(&pinned)?);
        }
        Ok(files)
    }

    async fn load(&self, gate: &Gate, control: Control, document: &Document) -> Result<Loaded, Vec<String>> {
        let before = self.active(control);
        let builtin = |name: &&String| is_builtin(std::path::Path::new(name));
        let touched = document.files.iter().filter(|(name, text)| before.files.get(*name) != Some(*text));
        if let Some(name) = touched.map(|(name, _)| name).find(builtin) {
            return Err(vec![format!("`{name}` is in the binary: name a copy of it in the configuration")]);
        }
        let inputs = self.inputs_with(control, document)?;
        if control == Control::Registry {
            let pins = self.config.executor_pins.display().to_string();
            let before = before.files.get(&pins).and_then(|text| parse_text(&pins, text).ok());
            only_registered(before.as_ref(), &inputs)?;
        }
        let ports = self.roles.ports(&gate.ports, &inputs).map_err(|err| vec![err.to_string()])?;
        let next = gate.under(ports, controls(inputs)).map_err(|err| vec![err.to_string()])?;
        // The ledger says that one input is replaced; what replaces another one with it is no such change.
        let moved = |other: &Control| *other != control && other.of(&next.inputs) != other.of(&gate.inputs);
        if let Some(other) = Control::ALL.into_iter().find(moved) {
            return Err(vec![format!(
                "with it the {other} would be another as well: look at what is in force"
            )]);
        }
        Ok(Loaded { digest: control.of(&next.inputs), gate: Arc::new(next) })
    }

    async fn activate(&self, control: Control, document: &Document, gate: Arc<Gate>) {
        let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.documents();
        self.documents.write().unwrap_or_else(PoisonError::into_inner).insert(control, document.clone());
        let now = self.documents();
        let is_other =
            |name: &&str| root_text(&self.config, &before, name) != root_text(&self.config, &now, name);
        // Checked when it was loaded. Sources that stay the same are not asked anew for another reason.
        if ["identities", "identity_sources"].iter().any(is_other)
            && let Ok(believed) = Believed::read(&self.config, &now)
        {
            self.tokens.replace(believed);
        }
        if let Some(cell) = self.cell.get().and_then(Weak::upgrade) {
            cell.set(gate);
        }
        for name in ["units", "executors"].into_iter().filter(is_other) {
            tracing::warn!("the {name} were replaced: they come in force with the next start of the gate");
        }
        tracing::warn!("the {control} was replaced");
        // If we stop before this is done, the next start finds the activated text beside the ledger and writes it.
        if let Err(err) = write(&self.config, document) {
            tracing::error!("the {control} in force is not on disk: {err}; the next start writes it");
        }
    }
}

/// Refuses passkeys that executors would believe from now on and that the registry does not have: what counts there was enrolled.
fn only_registered(before: Option<&ExecutorPins>, after: &Inputs) -> Result<(), Vec<String>> {
    let pinned = after.pins.iter().flat_map(|pins| &pins.approvers);
    let foreign = pinned.flat_map(|(person, credentials)| {
        let known = before.and_then(|pins| pins.approvers.get(person));
        let registered = after.registry.person(person);
        let is_foreign = move |passkey: &&Passkey| {
            !known.is_some_and(|known| known.passkeys.contains(passkey))
                && !registered.is_some_and(|registered| registered.passkeys.contains(passkey))
        };
        let fault = move |passkey: &Passkey| {
            format!("the executors' pins would believe passkey {} of `{person}`, which the registry does not have", passkey.id)
        };
        credentials.passkeys.iter().filter(is_foreign).map(fault)
    });
    let faults: Vec<_> = foreign.collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn text_of(value: &impl serde::Serialize) -> Result<String, String> {
    serde_saphyr::to_string(value).map_err(|err| err.to_string())
}

/// Writes the files of a document where the configuration has them, each whole or not at all.
fn write(config: &Config, document: &Document) -> std::io::Result<()> {
    for (name, text) in &document.files {
        let path = config.path(std::path::Path::new(name));
        if is_builtin(std::path::Path::new(name))
            || std::fs::read(&path).is_ok_and(|old| old == text.as_bytes())
        {
            continue;
        }
        durable::replace(Step::ControlFile, &path, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// The gate's part of the control inputs.
pub(super) fn controls(inputs: Inputs) -> Controls {
    let pins = inputs.pins.map(|pins| (pins.executor_keys, pins.retired_permit_keys));
    let (executor_keys, retired_permit_keys) = pins.unwrap_or_default();
    Controls {
        catalogue: inputs.catalogue,
        inventory: inputs.inventory,
        registry: inputs.registry,
        limits: inputs.limits,
        executor_keys,
        retired_permit_keys,
        roots: inputs.roots,
    }
}

fn digests(clock: &Arc<dyn Clock>, inputs: Inputs) -> Result<Digests, CliError> {
    let judge = BundleJudge::new(Arc::clone(&inputs.bundle), Arc::clone(clock));
    controls(inputs).digests(&judge).map_err(failed)
}

/// Whether the texts of the trust roots are what they should be; touches nothing.
fn check_roots(config: &Config, documents: &Documents) -> Result<(), CliError> {
    Believed::read(config, documents)?;
    units_of(&config.base, root_text(config, documents, "units"))?;
    Targets::parse(&config.base, root_text(config, documents, "executors")).map(|_| ())
}

/// The control inputs to start with: those on disk where they are what the ledger activated, or where there is no ledger yet;
/// else those that were kept beside the ledger when they were activated. A start with neither is refused.
pub(super) async fn in_force(
    config: &Config,
    clock: &Arc<dyn Clock>,
    store: &dyn Store,
) -> Result<Inputs, CliError> {
    let on_disk = documents(config).and_then(|documents| assemble(config, documents));
    let Some(active) = store.active_inputs() else { return Ok(on_disk?) };
    if let Ok(inputs) = on_disk {
        let found = digests(clock, assemble(config, inputs.documents.clone())?)?;
        if found == active {
            return Ok(inputs);
        }
    }
    let mut kept = Documents::new();
    for control in Control::ALL {
        let document = start::activated(store, control).await.map_err(failed)?;
        let document = document.ok_or_else(|| {
            CliError::Failed(format!(
                "the {control} on disk is not the activated one, and that one is not kept beside the ledger: put the activated \
                 file back"
            ))
        })?;
        kept.insert(control, document);
    }
    let inputs = assemble(config, kept)?;
    let found = digests(clock, assemble(config, inputs.documents.clone())?)?;
    if found != active {
        let first = holdpoint_domain::change::not_activated(&active, &found);
        let what = first.first().map_or_else(String::new, ToString::to_string);
        return Err(CliError::Failed(format!(
            "{what}; what this binary or its configuration makes of the activated files is something else: put both back"
        )));
    }
    finish_writing(config, store, &inputs.documents).await?;
    Ok(inputs)
}

/// Writes what was activated and did not come to disk: where the files there are those that were in force before.
async fn finish_writing(config: &Config, store: &dyn Store, kept: &Documents) -> Result<(), CliError> {
    for control in Control::ALL {
        let (Some(kept), Ok(found)) = (kept.get(&control), document(config, control)) else { continue };
        let before = start::replaced(store, control).await.map_err(failed)?;
        if before.as_ref() == Some(&found) && found != *kept {
            tracing::warn!("the {control} in force was not on disk: writing it");
            write(config, kept).map_err(failed)?;
        }
    }
    Ok(())
}
