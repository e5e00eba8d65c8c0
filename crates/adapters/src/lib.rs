//! Holdpoint's adapters: the only crate that touches the world

pub mod executor;
pub mod identity;
pub mod lease;
pub mod probe;
pub mod store;
pub mod system;
