//! Leases of a real PostgreSQL server, through the whole program: proposed, approved, leased, used, revoked and proven dead. See
//! `scene` for what the tests stand on.

mod apart;
mod canary;
mod crash;
mod scene;
mod secrets;
#[allow(dead_code, reason = "the tests of the adapters do more to it")]
#[path = "../../../../adapters/tests/world/postgres/server.rs"]
mod server;
mod story;
