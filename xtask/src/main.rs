//! The developer's commands, run as `cargo xtask <command>`.
//!
//! What is here checks the repository and starts other tools. It is never part of the product, and no crate of the
//! product depends on it. Start at [`COMMANDS`].

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line for developers: printing is what it does, and no secret ever comes near it"
)]

mod advisories;
mod bench;
mod fuzz;
mod mutants;
mod planted;
mod proven;
mod repo;
mod screenshots;
mod setup;
mod sim;
mod testing;
mod tidy;

use std::process::ExitCode;

/// Why a command stopped, as a sentence for the developer.
type Failure = String;

struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        arguments: "[FILTER…]",
        about: "check what tests need, build, run every test, then tidy; with filters, only the tests that match",
        run: testing::run,
    },
    Command {
        name: "setup",
        arguments: "",
        about: "install what the tests need from the machine, or say how",
        run: setup::run,
    },
    Command { name: "tidy", arguments: "", about: "the house rules that no compiler checks", run: tidy::run },
    Command {
        name: "proven",
        arguments: "",
        about: "which invariant and which threat has a test named after it",
        run: proven::run,
    },
    Command {
        name: "bench",
        arguments: "[--records N] [--seconds N] | leases [--profile P] [--tasks N] [--rounds N]",
        about: "measure, and write the tables of docs/performance.md; some minutes after the build",
        run: bench::run,
    },
    Command {
        name: "sim",
        arguments: "[--seeds N] [--seed S] [--events M]",
        about: "simulate the use cases with everything going wrong, 1,000 seeds by default, or replay one",
        run: sim::run,
    },
    Command {
        name: "planted",
        arguments: "[NAME…]",
        about: "plant each bug of the list into a copy of the tree and have the simulation find it",
        run: planted::run,
    },
    Command {
        name: "fuzz",
        arguments: "[--seconds N] [--quick] [--keep] [TARGET…]",
        about: "look for inputs that break a property, for a short time; `--quick` builds less, `--keep` adds to the corpus",
        run: fuzz::run,
    },
    Command {
        name: "mutants",
        arguments: "[--shard K/N] [FILE…]",
        about: "break `domain` and `ledger` everywhere, and see which breaks no test finds",
        run: mutants::run,
    },
    Command {
        name: "screenshots",
        arguments: "",
        about: "take the pictures of docs/console.md anew, in a real browser",
        run: screenshots::run,
    },
    Command {
        name: "advisories",
        arguments: "[--refresh CHECKOUT]",
        about: "compare Cargo.lock with the dated advisory snapshot, or renew it from a checkout of the database",
        run: advisories::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("xtask: expected a command, got `{name}`\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let lines = COMMANDS.iter().map(|command| {
        let call = format!("{} {}", command.name, command.arguments);
        format!("  {call:<32}{}\n", command.about)
    });
    format!("usage: cargo xtask <command>\n\n{}", lines.collect::<String>())
}

/// Refuses arguments where a command takes none, so that a mistyped one is not silently ignored.
fn expect_no_arguments(arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(extra) => Err(format!("expected no arguments, got `{extra}`")),
    }
}
