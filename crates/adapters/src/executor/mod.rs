//! Executors: they run exactly the steps of permitted plans, and check everything for themselves.
//!
//! [`authority`] is the check that they share. [`process`] runs and observes programs of this machine, [`files`] edits flags,
//! settings and secrets in files, [`postgres`] ends sessions of databases. [`Dispatch`] sends a step to the executor that its action names.

pub mod authority;
mod dispatch;
pub mod files;
pub mod http_job;
mod memory;
pub mod nginx;
mod notebook;
pub mod postgres;
pub mod process;

pub use authority::{Authority, Pins, Refusal, Use, Warrant};
pub use dispatch::Dispatch;
pub(crate) use memory::load;

/// An error and what caused it, on one line.
pub(crate) fn chain(err: &dyn std::error::Error) -> String {
    let mut line = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
