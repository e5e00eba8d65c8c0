//! PostgreSQL: the leases of a real server, and the executor that uses them.

mod crash;
mod desk;
mod execute;
mod leases;
mod server;
