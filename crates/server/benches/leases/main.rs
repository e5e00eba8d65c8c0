//! How long a credential outlives its task: leases of a real PostgreSQL server, minted and ended by the real `holdpoint serve`.
//!
//! * `lease_proof`: from the moment that the gate stamped on the end of a task to the moment that somebody outside reads in the
//!   ledger that its lease was proven dead.
//! * `lease_restart`: from the start of a gate after `kill -9`, wherever in a lease's life that came, to the same.
//! * `lease_dead`: with every process of ours dead, from the lease's end, as the ledger announced it, to the first login with its
//!   password that the server refuses. Negative if that comes before.
//!
//! `cargo xtask bench leases` runs it and makes the table of docs/performance.md from what it prints: a key and a value on each
//! line. `--tasks N` (40) and `--rounds N` (2) say how much is measured. It needs what the tests need.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark prints, and stops when it breaks"
)]

/// What the tests stand on, and what is measured with it.
mod suite {
    #[path = "../../../tests/suite/consent.rs"]
    #[allow(dead_code, reason = "the tests refuse as well")]
    pub(crate) mod consent;
    pub(crate) mod measure;
    #[path = "../../../tests/suite/leases/scene.rs"]
    #[allow(dead_code, reason = "the tests look at more")]
    mod scene;
    #[path = "../../../../adapters/tests/world/postgres/server.rs"]
    #[allow(dead_code, reason = "the tests look at more")]
    mod server;
    #[path = "../../../tests/suite/stage.rs"]
    #[allow(dead_code, reason = "the tests do more to it")]
    pub(crate) mod stage;
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|word| word == name);
        at.map_or(otherwise, |at| arguments[at + 1].parse().unwrap())
    };
    let (tasks, rounds) = (number("--tasks", 40), number("--rounds", 2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(suite::measure::all(tasks, rounds));
}
