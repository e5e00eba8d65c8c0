//! PostgreSQL: the leases of a real server, and the executor that uses them.

pub(super) mod crash;
pub(super) mod desk;
mod execute;
mod leases;
pub(super) mod server;
