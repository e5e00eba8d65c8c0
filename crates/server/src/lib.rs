//! `holdpoint`: the hold point between an AI agent's diagnosis and production, in one binary.
//!
//! Everything that the binary does is here, and [`main`] is all that it calls. It is a library so that the properties in `fuzz/`
//! reach what the bytes of strangers reach first, [`bodies`]. Never here: an interface that another program builds upon.
//!
//! Start at `cli` for what can be called, at `wiring` for how the gate is put together, at `http` for its door, at `console` for its
//! pages for people.

mod cli;
mod config;
mod console;
mod demo;
mod http;
mod inlet;
mod links;
mod moment;
mod picture;
mod roles;
mod rounds;
#[cfg(test)]
mod scenarios;
mod serve;
mod service;
mod wiring;
mod witness;

pub use http::bodies;

/// Runs the command line of this process.
pub fn main() -> std::process::ExitCode {
    cli::main()
}
