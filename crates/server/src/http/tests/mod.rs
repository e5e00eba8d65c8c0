//! Tests of the API, over the fakes of all ports.

mod aftercare;
mod answers;
mod bench;
mod callbacks;
mod changes;
mod conform;
mod decisions;
mod events;
mod halt;
mod idempotency;
mod incidents;
mod ledger;
mod limits;
mod matrix;
mod openapi;
mod readers;
mod reconciliations;
mod strangers;
mod trust;
mod world;
