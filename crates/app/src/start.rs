//! Start: genesis of an empty log, and the refusal of control inputs that the log has not activated.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Commitment, Digest,
    actor::Actor,
    change::{Control, not_activated},
    record::{Body, Record},
};

use crate::{
    gate::Gate,
    port::{Document, Store, Txn},
    projection::{ChangeRow, ChangeState},
    propose::commit_any,
    refusal::{Blame, Refusal, internal},
};

/// Begins to serve: writes genesis into an empty log, or refuses control inputs that the ledger has not activated.
pub async fn start(gate: &Gate) -> Result<(), Refusal> {
    let started = Body::Started { inputs: gate.inputs, development: gate.settings.development };
    let (mut records, mut texts) = (Vec::new(), Vec::new());
    match gate.ports.store.active_inputs() {
        None => {
            let mut contents = BTreeMap::new();
            for control in Control::ALL {
                let text = gate.ports.inputs.active(control).text()?;
                contents.insert(control, commit_any(gate, &text, &mut texts));
            }
            let genesis = Body::Genesis {
                origin: gate.ports.store.head().origin.clone(),
                inputs: gate.inputs,
                administrators: gate.controls.registry.administrators(),
                contents,
            };
            records.push(Record::new(gate.now(), Actor::Gate, None, genesis));
        }
        Some(active) => {
            if let Some(first) = not_activated(&active, &gate.inputs).first() {
                return Err(Refusal::new(
                    Blame::Caller,
                    "input-not-activated",
                    first.to_string(),
                    "put the activated file back; other files come in force by `holdpoint change propose`",
                ));
            }
        }
    }
    records.push(Record::new(gate.now(), Actor::Gate, None, started));
    gate.ports.store.append(Txn { records, texts, ..Txn::default() }).await?;
    Ok(())
}

/// The document of a control input that the ledger activated last, as it was kept; none before genesis, or when it was erased.
pub async fn activated(store: &dyn Store, control: Control) -> Result<Option<Document>, Refusal> {
    let Some(commitment) = commitment(store, control).await? else { return Ok(None) };
    let kept = store.text(&commitment).await?;
    Ok(kept.and_then(|kept| Document::parse(&kept.text)))
}

/// The document that the one in force replaced, as it was kept; none where nothing was ever replaced.
pub async fn replaced(store: &dyn Store, control: Control) -> Result<Option<Document>, Refusal> {
    let Some(inputs) = store.active_inputs() else { return Ok(None) };
    let active = control.of(&inputs);
    let changes = store.input_changes(u32::MAX).await?;
    let last = changes.into_iter().find(|row| is_activated(row, control) && row.terms.new == active);
    let Some(last) = last else { return Ok(None) };
    let Some(commitment) = content(store, control, last.terms.old).await? else { return Ok(None) };
    let kept = store.text(&commitment).await?;
    Ok(kept.and_then(|kept| Document::parse(&kept.text)))
}

async fn commitment(store: &dyn Store, control: Control) -> Result<Option<Commitment>, Refusal> {
    let Some(inputs) = store.active_inputs() else { return Ok(None) };
    content(store, control, control.of(&inputs)).await
}

fn is_activated(row: &ChangeRow, control: Control) -> bool {
    row.state == ChangeState::Activated && row.terms.control == control
}

/// What was kept of the activated content with this digest.
async fn content(store: &dyn Store, control: Control, digest: Digest) -> Result<Option<Commitment>, Refusal> {
    let changes = store.input_changes(u32::MAX).await?;
    let activated = changes.iter().find(|row| is_activated(row, control) && row.terms.new == digest);
    if let Some(row) = activated {
        return Ok(Some(row.terms.content));
    }
    let genesis = store.entries(0, 1).await?;
    let Some(entry) = genesis.first() else { return Ok(None) };
    let record = Record::parse(&entry.bytes).map_err(internal)?;
    let Body::Genesis { contents, .. } = record.body else { return Ok(None) };
    Ok(contents.get(&control).copied())
}
