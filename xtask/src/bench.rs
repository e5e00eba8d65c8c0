//! `cargo xtask bench`: runs the benchmarks one after the other and writes what they measured into docs/performance.md.
//!
//! A benchmark prints a key and a value on each line. What a reader is shown is a ratio of two of them, taken in one run on
//! one machine: a time by itself says more about the machine. What leases promise is in seconds, and measured apart: [`leases`].

mod leases;

use crate::{Failure, repo};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Package and name of each benchmark.
const BENCHES: &[(&str, &str)] = &[
    ("holdpoint-domain", "blast"),
    ("holdpoint-policy", "ladder"),
    ("holdpoint-adapters", "store"),
    ("holdpoint", "gate"),
    ("holdpoint", "halts"),
];
/// The page with the tables.
const PAGE: &str = "docs/performance.md";
/// Between which lines of it this one stands.
const LINES: Lines = Lines {
    begin: "<!-- made by `cargo xtask bench`: begin -->",
    end: "<!-- made by `cargo xtask bench`: end -->",
};

/// The lines around what is written into the page.
#[derive(Clone, Copy)]
struct Lines {
    begin: &'static str,
    end: &'static str,
}

type Values = BTreeMap<String, f64>;

/// How a figure is meant.
#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// A goal: what it is about, how it follows from what was measured, and how much it should be.
struct Row {
    what: &'static str,
    of: fn(&Values) -> Option<f64>,
    goal: Goal,
}

const GOALS: &[Row] = &[
    Row {
        what: "decisions a second by echoes a second, 256 connections, 1,000 policies",
        of: |v| ratio(v, "gate_1000_rps_256", "echo_rps_256"),
        goal: Goal::AtLeast(0.35),
    },
    Row {
        what: "decisions a second by hellos a second, 256 connections, 1,000 policies",
        of: |v| ratio(v, "gate_1000_rps_256", "hello_rps_256"),
        goal: Goal::AtLeast(0.25),
    },
    Row {
        what: "CPU time of a decision by that of a hello, 256 connections",
        of: |v| ratio(v, "gate_1000_cpu_us_256", "hello_cpu_us_256"),
        goal: Goal::AtMost(11.0),
    },
    Row {
        what: "median wait with 10,000 policies by that with 100, 64 connections",
        of: |v| ratio(v, "gate_10000_p50_us_64", "gate_100_p50_us_64"),
        goal: Goal::AtMost(1.5),
    },
    Row {
        what: "four scans of 1,000 policies by Cedar itself, by all four rungs of a decision of ours",
        of: |v| ratio(v, "policy_raw_us_1000", "policy_ladder_us_1000").map(|scans| 4.0 * scans),
        goal: Goal::AtLeast(50.0),
    },
    Row {
        what: "one scan of 1,000 policies by Cedar itself, by one answer of ours on one rung",
        of: |v| ratio(v, "policy_raw_us_1000", "policy_ask_us_1000"),
        goal: Goal::AtLeast(50.0),
    },
    Row {
        what: "median wait of one client for a durable decision, by one raw fdatasync",
        of: |v| ratio(v, "gate_1000_p50_us_1", "fdatasync_p50_us"),
        goal: Goal::AtMost(2.0),
    },
    Row {
        what: "records a sync, 64 clients of the store",
        of: |v| v.get("store_records_per_sync_64").copied(),
        goal: Goal::AtLeast(8.0),
    },
    Row {
        what: "entries of 512 bytes that the offline verifier takes in a second of one core",
        of: |v| v.get("verify_entries_per_s").copied(),
        goal: Goal::AtLeast(1e6),
    },
    Row {
        what: "resident memory of the gate after that many records, MiB",
        of: |v| v.get("full_rss_mib").copied(),
        goal: Goal::AtMost(512.0),
    },
    Row {
        what: "start with that many records, seconds",
        of: |v| v.get("full_start_s").copied(),
        goal: Goal::AtMost(5.0),
    },
    Row {
        what: "p99 of a plain search for all dependents by that of our exact count, 1,000,000 services, 3,500,000 edges",
        of: |v| ratio(v, "blast_plain_count_p99_us", "blast_count_p99_us"),
        goal: Goal::AtLeast(500.0),
    },
    Row {
        what: "p99 of ours by that of a plain bounded search: more than 100 dependents?",
        of: |v| ratio(v, "blast_more_than_100_p99_us", "blast_plain_more_than_100_p99_us"),
        goal: Goal::AtMost(1.1),
    },
    Row {
        what: "p99 of ours by that of a plain bounded search: more than 1,000 dependents?",
        of: |v| ratio(v, "blast_more_than_1000_p99_us", "blast_plain_more_than_1000_p99_us"),
        goal: Goal::AtMost(1.1),
    },
    Row {
        what: "dependencies of 1,000,000 services visible and exact after an edge changed, worst, milliseconds",
        of: |v| Some(v.get("blast_add_worst_ms")?.max(*v.get("blast_remove_worst_ms")?)),
        goal: Goal::AtMost(10.0),
    },
    Row {
        what: "dependencies of 1,000,000 services loaded and indexed, seconds",
        of: |v| v.get("blast_load_ms").map(|ms| ms / 1000.0),
        goal: Goal::AtMost(10.0),
    },
    Row {
        what: "memory of dependencies and index of 1,000,000 services, GiB",
        of: |v| v.get("blast_index_bytes").map(|bytes| bytes / f64::from(1 << 30)),
        goal: Goal::AtMost(1.0),
    },
    Row {
        what: "a dependency more or less in a service graph, visible and exact, over 1,000,000 services, p99, milliseconds",
        of: |v| v.get("blast_heard_1000_p99_ms").copied(),
        goal: Goal::AtMost(10.0),
    },
    Row {
        what: "the same in a service graph nearly as large as may be (90,000 dependencies), p99, milliseconds",
        of: |v| v.get("blast_heard_90000_p99_ms").copied(),
        goal: Goal::AtMost(10.0),
    },
    Row {
        what: "from a halt at the gate until issuer and executor, processes of their own, know of it, worst, milliseconds",
        of: |v| v.get("halt_known_worst_ms").copied(),
        goal: Goal::AtMost(2_000.0),
    },
    Row {
        what: "from a hard halt at the gate until a run is over whose executor is another process, its last effect included, worst, milliseconds",
        of: |v| Some(v.get("halt_run_over_worst_ms")?.max(*v.get("halt_last_effect_worst_ms")?)),
        goal: Goal::AtMost(2_000.0),
    },
];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some((first, rest)) = arguments.split_first().filter(|(first, _)| *first == "leases") {
        println!("bench: {first} alone");
        return leases::run(rest);
    }
    let root = repo::root()?;
    let mut values = Values::new();
    for (package, name) in BENCHES {
        println!("bench: {name} (of {package})");
        let own = if *name == "gate" { arguments } else { &[] };
        values.extend(measure(&root, name, "dist", own)?);
    }
    write(&root, LINES, &format!("{}\n{}", goals(GOALS, &values), measured(&values)))
}

/// Runs a benchmark of the workspace, and reads what it printed.
fn measure(root: &Path, name: &str, profile: &str, arguments: &[String]) -> Result<Values, Failure> {
    let mut call = Command::new("cargo");
    // All of the workspace, whose features are then the same each time: Cedar is built once.
    call.args(["bench", "--quiet", "--profile", profile, "--workspace", "--bench", name, "--"]);
    let ran = call
        .args(arguments)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|err| format!("cannot start `cargo`: {err}"))?;
    let printed = String::from_utf8_lossy(&ran.stdout);
    print!("{printed}");
    if !ran.status.success() {
        return Err(format!("the benchmark `{name}` failed ({})", ran.status));
    }
    Ok(printed.lines().filter_map(key_and_value).collect())
}

/// Shows what was measured, and writes it into the page.
fn write(root: &Path, lines: Lines, text: &str) -> Result<(), Failure> {
    let text = format!("{}\n{text}", machine(root));
    print!("{text}");
    let path = root.join(PAGE);
    let page = between(&repo::read(&path)?, lines, &text)?;
    std::fs::write(&path, page).map_err(|err| format!("cannot write `{PAGE}`: {err}"))
}

fn key_and_value(line: &str) -> Option<(String, f64)> {
    let (key, value) = line.split_once(' ')?;
    Some((key.to_owned(), value.parse().ok()?))
}

fn ratio(values: &Values, of: &str, by: &str) -> Option<f64> {
    Some(values.get(of)? / values.get(by)?)
}

/// When and on what it was measured.
fn machine(root: &Path) -> String {
    let say = |program: &str, arguments: &[&str]| {
        repo::output(root, program, arguments)
            .map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Measured on {}, {cores} cores, kernel {}, commit {}.\n",
        say("date", &["+%F"]),
        say("uname", &["-r"]),
        say("git", &["rev-parse", "--short", "HEAD"])
    )
}

fn goals(rows: &[Row], values: &Values) -> String {
    let mut table = String::from("| what | measured | goal | |\n| --- | ---: | ---: | --- |\n");
    for row in rows {
        let (sign, goal) = match row.goal {
            Goal::AtLeast(goal) => ("≥", goal),
            Goal::AtMost(goal) => ("≤", goal),
        };
        let (shown, met) = match (row.of)(values) {
            None => ("not measured".to_owned(), ""),
            Some(got) => {
                let met = match row.goal {
                    Goal::AtLeast(goal) => got >= goal,
                    Goal::AtMost(goal) => got <= goal,
                };
                (figure(got), if met { "met" } else { "**not met**" })
            }
        };
        let _ = writeln!(table, "| {} | {shown} | {sign} {} | {met} |", row.what, figure(goal));
    }
    table
}

/// Every server at every number of connections.
fn measured(values: &Values) -> String {
    let mut table = String::from(
        "| server | connections | answers/s | p50 µs | p99 µs | CPU µs each | allowed |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (key, name) in [
        ("hello", "axum, hello"),
        ("echo", "axum, JSON echo"),
        ("gate_100", "gate, 100 policies"),
        ("gate_1000", "gate, 1,000 policies"),
        ("gate_10000", "gate, 10,000 policies"),
        ("gate_new", "gate, 1,000 policies, new questions"),
    ] {
        for connections in [1, 16, 64, 256] {
            let of = |what: &str| values.get(&format!("{key}_{what}_{connections}")).copied();
            let (Some(rps), Some(p50), Some(p99), Some(cpu)) =
                (of("rps"), of("p50_us"), of("p99_us"), of("cpu_us"))
            else {
                continue;
            };
            let allowed = of("allow_percent").filter(|_| key.starts_with("gate"));
            let allowed = allowed.map_or(String::new(), |percent| format!("{percent:.0} %"));
            let _ = writeln!(
                table,
                "| {name} | {connections} | {} | {} | {} | {cpu:.1} | {allowed} |",
                figure(rps),
                figure(p50),
                figure(p99)
            );
        }
    }
    table.push_str("\n| by itself | |\n| --- | ---: |\n");
    let served = |key: &str| ["hello_", "echo_", "gate_"].iter().any(|server| key.starts_with(server));
    for (key, value) in values.iter().filter(|(key, _)| !served(key)) {
        let _ = writeln!(table, "| `{key}` | {} |", figure(*value));
    }
    table
}

/// A number with as many digits as it deserves, in groups of three.
fn figure(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.2}");
    }
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// The page with another text between its two lines.
fn between(page: &str, lines: Lines, text: &str) -> Result<String, Failure> {
    let Lines { begin, end } = lines;
    let parts = page.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("expected `{begin}` and `{end}` in `{PAGE}`"))?;
    Ok(format!("{before}{begin}\n\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_lines_is_replaced() {
        let Lines { begin, end } = LINES;
        let page = format!("before\n{begin}\nold\n{end}\nafter\n");
        let once = between(&page, LINES, "new\n").unwrap();
        assert!(once.starts_with("before\n") && once.ends_with("\nafter\n") && !once.contains("old"));
        assert_eq!(between(&once, LINES, "new\n").unwrap(), once);
        assert!(between("no lines", LINES, "new").is_err());
    }

    #[test]
    fn a_goal_that_is_missed_or_not_measured_says_so() {
        let values: Values = [
            "gate_1000_rps_256 30",
            "echo_rps_256 100",
            "hello_rps_256 100",
            "full_rss_mib 512",
            "a line of prose",
        ]
        .into_iter()
        .filter_map(key_and_value)
        .collect();
        let table = goals(GOALS, &values);
        assert!(table.contains("| 0.30 | ≥ 0.35 | **not met** |"), "{table}");
        assert!(table.contains("| 0.30 | ≥ 0.25 | met |"), "{table}");
        assert!(table.contains("| 512 | ≤ 512 | met |"), "{table}");
        assert!(table.contains("| not measured | ≤ 5.00 |  |"), "{table}");
        assert_eq!(["1,234,567", "999", "12.5", "0.25"], [1_234_567.0, 999.0, 12.5, 0.25].map(figure)[..]);
    }
}
