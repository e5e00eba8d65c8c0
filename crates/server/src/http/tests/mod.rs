//! Tests of the API, over the fakes of all ports.

mod answers;
mod bench;
mod decisions;
mod events;
mod ledger;
mod limits;
mod matrix;
mod readers;
