//! `cargo xtask bench leases`: how long after the end of its task a lease of a real PostgreSQL server is proven dead: with the gate
//! up, after `kill -9` and a restart, and with everything dead.

use std::fmt::Write as _;

use super::{Goal, Lines, Row, Values, goals, measure, write};
use crate::{Failure, repo};

/// Between which lines of the page this table stands.
const LINES: Lines = Lines {
    begin: "<!-- made by `cargo xtask bench leases`: begin -->",
    end: "<!-- made by `cargo xtask bench leases`: end -->",
};

const GOALS: &[Row] = &[
    Row {
        what: "end of a task to the recorded proof, p99, seconds",
        of: |v| v.get("lease_proof_p99_ms").map(|ms| ms / 1000.0),
        goal: Goal::AtMost(2.0),
    },
    Row {
        what: "`kill -9`, restart to the recorded proof, worst, seconds",
        of: |v| v.get("lease_restart_worst_ms").map(|ms| ms / 1000.0),
        goal: Goal::AtMost(15.0),
    },
    Row {
        what: "everything dead, the lease's end to the first login that is refused, worst, seconds",
        of: |v| v.get("lease_dead_worst_ms").map(|ms| ms / 1000.0),
        goal: Goal::AtMost(5.0),
    },
];

/// The profile is the one that is deployed, unless the arguments begin with another one.
pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (profile, rest) = match arguments {
        [flag, profile, rest @ ..] if flag == "--profile" => (profile.as_str(), rest),
        rest => ("dist", rest),
    };
    let root = repo::root()?;
    let values = measure(&root, "leases", profile, rest)?;
    let text = format!("Built with the profile `{profile}`.\n\n{}\n{}", goals(GOALS, &values), all(&values));
    write(&root, LINES, &text)
}

fn all(values: &Values) -> String {
    let mut table = String::from("| by itself | |\n| --- | ---: |\n");
    for (key, value) in values {
        let _ = writeln!(table, "| `{key}` | {value:.0} |");
    }
    table
}
