//! Start: genesis of an empty log, and the refusal of control inputs that the log has not activated.

use holdpoint_domain::{
    actor::Actor,
    change::not_activated,
    decision::Mode,
    record::{Body, Record},
};

use crate::{
    gate::Gate,
    port::Txn,
    refusal::{Blame, Refusal},
};

/// Begins to serve: writes genesis into an empty log, or refuses control inputs that the ledger has not activated.
pub async fn start(gate: &Gate) -> Result<(), Refusal> {
    let development = gate.settings.mode == Mode::Development;
    let started = Body::Started { inputs: gate.inputs, development };
    let mut records = Vec::new();
    match gate.ports.store.active_inputs() {
        None => {
            let origin = gate.ports.store.head().origin.clone();
            records.push(Record::new(
                gate.now(),
                Actor::Gate,
                None,
                Body::Genesis { origin, inputs: gate.inputs },
            ));
        }
        Some(active) => {
            if let Some(first) = not_activated(&active, &gate.inputs).first() {
                return Err(Refusal::new(
                    Blame::Caller,
                    "input-not-activated",
                    first.to_string(),
                    "put the activated file back, or begin a new log in another data folder",
                ));
            }
        }
    }
    records.push(Record::new(gate.now(), Actor::Gate, None, started));
    gate.ports.store.append(Txn { records, ..Txn::default() }).await?;
    Ok(())
}
