//! Tests of the API, over the fakes of all ports.

mod answers;
mod bench;
mod conform;
mod decisions;
mod events;
mod ledger;
mod limits;
mod matrix;
mod openapi;
mod readers;
mod world;
