//! Holdpoint's policy engine: the only crate that knows Cedar.
//!
//! Policy says what is allowed under which oversight. A [`Bundle`] is loaded from text against a [`Schema`] that is
//! generated from the catalogue; [`Bundle::ladder`] asks it on every rung, [`Bundle::ask`] with the oversight that was
//! really obtained, [`Bundle::may_approve`] whether a person may approve, and [`Bundle::explain`] says what would have
//! had to be different.
//!
//! This crate is pure: it opens no file, reads no clock and draws no randomness. Sources come in as text, and the time
//! spent so far comes from the caller ([`Deadline`]). It never calls a model, never reads what an agent wrote, and
//! never answers `allow` where a rule could not be evaluated: Cedar alone skips a failing `forbid`, this crate denies.
//!
//! Start at [`Bundle::load`]. The rules that no operator can leave out are in [`GUARDRAILS`].

mod ask;
mod bundle;
mod error;
mod explain;
mod fields;
mod index;
mod monotone;
mod names;
mod narrow;
mod remembered;
mod report;
mod request;
mod rule;
mod scan;
mod schema;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use ask::{Consent, Deadline};
pub use bundle::{Bundle, GUARDRAILS, GUARDRAILS_FILE, Link, STARTER, Source};
pub use error::{Place, PolicyError, SchemaError, Warning};
pub use explain::{Explanation, OnRung, Said, Unmet};
pub use monotone::Monotone;
pub use report::{Report, RuleEffect, RuleReport};
pub use scan::limit;
pub use schema::Schema;
