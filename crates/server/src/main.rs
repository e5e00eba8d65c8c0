//! `holdpoint`: the hold point between an AI agent's diagnosis and production, in one binary.
//!
//! Start at [`cli`] for what can be called, at [`wiring`] for how the gate is put together, at [`http`] for its door.

mod cli;
mod demo;
mod http;
mod service;

fn main() {}
