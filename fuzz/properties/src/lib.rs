//! What must hold for every input, as plain functions over bytes.
//!
//! A property here panics when it does not hold. The fuzzer calls it with bytes that it invents (`fuzz/fuzz_targets`), the
//! ordinary test suite with the bytes that are kept (`fuzz/corpus`), so that what was found once is looked for on every
//! machine, without a fuzzer. Properties use public interfaces only: what an attacker can reach, and nothing else.
//!
//! Never here: a clock, a network, a file, or randomness that decides; whoever has the bytes of a failure has the failure.
//!
//! Start at [`TARGETS`]. Where bytes should become a structure, [`Choices`] makes it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a property that does not hold should stop where it stands"
)]

mod assertions;
mod bodies;
mod canonical;
mod choices;
mod documents;
mod inventories;
mod limits;
mod notes;
mod permits;
mod plans;
mod policies;
mod proofs;
mod tokens;

pub use choices::Choices;

/// One property, and the folder of its corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the fuzz target, and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Panics when it does not hold for these bytes.
    pub holds: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "canonical",
        says: "canonical JSON is RFC 8785 as a second implementation reads it, and a fixed point",
        holds: canonical::holds,
    },
    Target {
        name: "documents",
        says: "whatever is read as a plan, facts, record, statement or grant has one canonical form, which reads back the same",
        holds: documents::holds,
    },
    Target {
        name: "plans",
        says: "two plans have one digest when they are one plan, and only then",
        holds: plans::holds,
    },
    Target {
        name: "proofs",
        says: "a proof of RFC 6962 proves what a slow reference proves, and a changed one proves nothing",
        holds: proofs::holds,
    },
    Target {
        name: "notes",
        says: "a note has one spelling, and a changed one is never verified with another text",
        holds: notes::holds,
    },
    Target {
        name: "permits",
        says: "a permit opens with the bytes that the gate signed, and with no others",
        holds: permits::holds,
    },
    Target {
        name: "tokens",
        says: "a token is accepted when a second reader of the rules accepts it, and never with other words than were signed",
        holds: tokens::holds,
    },
    Target {
        name: "policies",
        says: "a bundle that loads answers every question on every rung, the same twice, and an error is never an allow",
        holds: policies::holds,
    },
    Target {
        name: "inventories",
        says: "no edge of the dependency graph is lost, whoever wrote it, and more targets never disturb less",
        holds: inventories::holds,
    },
    Target {
        name: "limits",
        says: "time neither wraps nor runs backwards, and one more run never frees a budget",
        holds: limits::holds,
    },
    Target {
        name: "assertion",
        says: "what a passkey signed counts when a second reader of the rules takes it, and never with a byte changed",
        holds: assertions::holds,
    },
    Target {
        name: "bodies",
        says: "a request's body is read as a second reader reads it, reads back the same, or is refused as the caller's fault",
        holds: bodies::holds,
    },
];

/// The property of this name.
///
/// # Panics
/// When there is none, or when it does not hold.
pub fn check(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no property `{name}`")).holds)(bytes);
}
