//! `holdpoint`: the hold point between an AI agent's diagnosis and production, in one binary.
//!
//! Start at `cli` for what can be called, at `wiring` for how the gate is put together, at `http` for its door.

mod cli;
mod config;
mod demo;
mod http;
mod serve;
mod service;
mod wiring;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
