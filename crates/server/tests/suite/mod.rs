//! See `stage` for what the tests stand on.

mod approvals;
mod browser;
mod cli;
mod consent;
mod console;
mod crash;
mod disk;
mod faults;
mod incidents;
mod keys;
mod leases;
mod ledger;
mod notify;
mod people;
mod roles;
mod sso;
mod stage;
mod witness;
mod workloads;
