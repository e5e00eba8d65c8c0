//! The store: the contract that every store keeps, and what only SQLite can do wrong.

mod claims;
mod contract;
mod contract_runs;
mod damage;
mod disk;
mod records;
mod restarts;
mod sqlite;
