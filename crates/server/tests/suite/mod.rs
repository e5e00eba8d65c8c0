//! See `stage` for what the tests stand on.

mod approvals;
mod cli;
mod consent;
mod crash;
mod disk;
mod faults;
mod keys;
mod leases;
mod ledger;
mod notify;
mod people;
mod roles;
mod stage;
mod witness;
mod workloads;
