//! Holdpoint's words and rules: what an action, a plan, a fact, a tier, a decision, an approval, a permit and a record
//! *are*, and which order they may come in.
//!
//! This crate is pure. It reads no clock, no file, no network and no environment; it draws no randomness and spawns
//! nothing, but for the scoped workers that make the index of [`graph`], as many as the caller says. Time, salts and ids enter as arguments. Whatever has bytes that somebody signs or digests (plan, facts,
//! decision, approval statement, permit, record) has its canonical form here and nowhere else.
//!
//! Start at [`decision::decide`] (where a decision is made), [`flow::next`] (which order is legal) and
//! [`record::Body`] (what is written down).

pub mod action;
pub mod actor;
pub mod aftercare;
pub mod aftermath;
pub mod agent;
pub mod approval;
pub mod bearer;
pub mod blast;
mod canonical;
pub mod change;
pub mod consents;
pub mod decision;
pub mod delegation;
pub mod dependencies;
pub mod digest;
pub mod enrol;
pub mod facts;
pub mod fate;
pub mod flow;
pub mod graph;
pub mod guardrail;
pub mod halt;
pub mod id;
pub mod incident;
pub mod lease;
pub mod limits;
pub mod narrow;
pub mod narrowing;
pub mod parts;
pub mod passkey;
pub mod permit;
pub mod plan;
pub mod proof;
pub mod provenance;
pub mod quorum;
pub mod reconcile;
pub mod record;
pub mod signal;
pub mod signature;
pub mod signed;
pub mod target;
pub mod text;
pub mod tier;
pub mod time;
pub mod trigger;

pub use digest::{Commitment, Digest};
pub use id::Id;
pub use tier::{Oversight, Rung, Tier};
pub use time::{Millis, Timestamp};
