//! See `stage` for what the tests stand on.

mod approvals;
mod crash;
mod disk;
mod ledger;
mod stage;
