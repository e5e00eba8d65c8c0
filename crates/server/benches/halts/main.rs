//! How long it takes until a halt is in force everywhere: gate, observer, issuer and executor are four processes of the real
//! `holdpoint serve --role`, laid out by the program itself, and somebody halts at the gate.
//!
//! * `halt_answered`: from the request to its answer, which comes after the record is synced.
//! * `halt_known`: from the request to the moment when issuer and executor both have it on their own disks. Each has it in its memory
//!   before that, and refuses from then on.
//! * `halt_last_effect`: from the request for a hard halt, at one moment after the other in the life of a run, to the last start of a
//!   unit by the executor. Zero where none came after it.
//! * `halt_run_over`: from the same to the moment when the plan is read to be over.
//!
//! `cargo xtask bench` runs it and puts what it prints, a key and a value on each line, into docs/performance.md. `--rounds N` (50) and
//! `--scenes N` (20) say how much is measured.
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
    #[allow(dead_code, reason = "the tests approve as well")]
    pub(crate) mod consent;
    pub(crate) mod measure;
    #[path = "../../../tests/suite/roles/scene.rs"]
    #[allow(dead_code, reason = "the tests do more to it")]
    mod scene;
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
    let (rounds, scenes) = (number("--rounds", 50), number("--scenes", 20));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(suite::measure::all(rounds, scenes));
}
