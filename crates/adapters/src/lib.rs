//! Holdpoint's adapters: the only crate that touches the world.
//!
//! One folder a port. [`store`] keeps the ledger; [`probe`] measures targets; [`executor`] runs permitted steps, and
//! observes what they left; [`lease`] mints and ends credentials; [`identity`] says who is calling; [`cosign`] remembers and cosigns
//! heads of ledgers; [`notify`] tells people; [`remote`] and [`tls`] are for roles in processes of their own; [`system`] is the
//! machine's time, randomness and keys; [`step`] names every effect.
//!
//! Nothing here decides anything, and nothing here believes the gate: an executor and an issuer check permit, approvals
//! and scope against what they have pinned themselves (start at [`executor::authority`]). No text of a measured system
//! gets into a reading.

pub mod cosign;
pub mod executor;
pub mod identity;
pub mod lease;
pub mod notify;
pub mod postgres;
pub mod probe;
pub mod registration;
pub mod remote;
pub mod step;
pub mod store;
pub mod system;
pub mod tls;
