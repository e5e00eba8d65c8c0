//! Control inputs as texts: a document is a word, and its digest is the digest of that word. Nothing is parsed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use holdpoint_domain::{Digest, Id, agent::Registry, change::Control, id::kind, passkey::Passkey};

use crate::{
    gate::{Controls, Gate},
    port::{Document, Inputs, Loaded},
};

/// The text that no control input loads with.
pub const BROKEN: &str = "broken";

/// How documents load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loading {
    /// Each as itself, but for [`BROKEN`].
    #[default]
    Works,
    /// Not at all: something that it needs is not in force any more.
    Refuses,
    /// As something else: with another digest than before.
    Otherwise,
}

/// The registry without the passkeys that a text of it names after the word `without`.
fn without_some(registry: &Registry, control: Control, text: &str) -> Result<Registry, Vec<String>> {
    if control != Control::Registry {
        return Ok(registry.clone());
    }
    let is_named = |passkey: &Passkey| text.contains(&format!("without {}", passkey.id));
    let mut people: Vec<_> = registry.people().cloned().collect();
    people.iter_mut().for_each(|person| person.passkeys.retain(|passkey| !is_named(passkey)));
    let agents = registry.agents().cloned().collect();
    Registry::new(agents, people).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// Control inputs in memory.
#[derive(Default)]
pub struct FakeInputs {
    active: Mutex<BTreeMap<Control, Document>>,
    activated: Mutex<Vec<(Control, Arc<Gate>)>>,
    loading: Mutex<Loading>,
    edit: Mutex<Option<Edit>>,
}

/// What a document says, once it is parsed.
type Edit = Arc<dyn Fn(&mut Controls) + Send + Sync>;

impl FakeInputs {
    /// From now on a document that loads says this, beside everything that is in force.
    pub fn say(&self, edit: impl Fn(&mut Controls) + Send + Sync + 'static) {
        *self.edit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(edit));
    }

    /// From now on documents load like this.
    pub fn from_now_on(&self, loading: Loading) {
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = loading;
    }

    /// Forgets what was put in force. The gates know these inputs and these inputs the gates: whoever makes many stages lets them
    /// go with this.
    pub fn forget(&self) {
        self.activated.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What was put in force, in order, with the gate that it was put in force in.
    #[must_use]
    pub fn activated(&self) -> Vec<(Control, Arc<Gate>)> {
        self.activated.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Inputs for FakeInputs {
    fn active(&self, control: Control) -> Document {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || Document { files: [(control.to_string(), "first".to_owned())].into() };
        active.get(&control).cloned().unwrap_or_else(first)
    }

    fn names(&self, control: Control) -> BTreeSet<String> {
        self.active(control).files.into_keys().collect()
    }

    fn with_passkey(
        &self,
        person: &Id<kind::Person>,
        passkey: &Passkey,
    ) -> Result<BTreeMap<String, String>, String> {
        let file = Control::Registry.to_string();
        Ok([(file, format!("{person} has {}", passkey.id))].into())
    }

    async fn load(&self, gate: &Gate, control: Control, document: &Document) -> Result<Loaded, Vec<String>> {
        let mut text = document.text().map_err(|err| vec![err.to_string()])?;
        let loading = *self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if loading == Loading::Otherwise {
            text.push('!');
        }
        if loading == Loading::Refuses || text.contains(BROKEN) {
            return Err(vec![format!("the {control} is broken")]);
        }
        let mut controls = Controls {
            catalogue: gate.controls.catalogue.clone(),
            inventory: gate.controls.inventory.clone(),
            registry: without_some(&gate.controls.registry, control, &text)?,
            limits: gate.controls.limits.clone(),
            executor_keys: gate.controls.executor_keys.clone(),
            retired_permit_keys: gate.controls.retired_permit_keys.clone(),
            roots: gate.controls.roots.clone(),
        };
        let edit = self.edit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(edit) = edit {
            edit(&mut controls);
        }
        let digest = Digest::of_bytes(text.as_bytes());
        let mut next = gate.under(gate.ports.clone(), controls).map_err(|err| vec![err.to_string()])?;
        match control {
            Control::Policy => next.inputs.policy = digest,
            Control::Catalogue => next.inputs.catalogue = digest,
            Control::Inventory => next.inputs.inventory = digest,
            Control::Registry => next.inputs.registry = digest,
            Control::Limits => next.inputs.limits = digest,
        }
        Ok(Loaded { digest, gate: Arc::new(next) })
    }

    async fn activate(&self, control: Control, document: &Document, gate: Arc<Gate>) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).insert(control, document.clone());
        self.activated.lock().unwrap_or_else(PoisonError::into_inner).push((control, gate));
    }
}
