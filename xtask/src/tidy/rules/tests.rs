//! Every rule fires on bad samples and is silent on good ones.

use super::*;

/// A path, and the text that stands there.
type Sample = (&'static str, String);

struct Case {
    rule: &'static str,
    bad: Vec<Sample>,
    good: Vec<Sample>,
}

fn sample(path: &'static str, text: &str) -> Sample {
    (path, text.to_owned())
}

fn lines(path: &'static str, count: usize) -> Sample {
    (path, "//! x\n".repeat(count))
}

fn uses(path: &'static str, dependency: &str) -> Sample {
    (path, format!("[dependencies]\n{dependency}.workspace = true\n"))
}

fn tests_use(path: &'static str, dependency: &str) -> Sample {
    (path, format!("[dev-dependencies]\n{dependency}.workspace = true\n"))
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            rule: "file-length",
            bad: vec![lines("crates/app/src/long.rs", 1_001)],
            good: vec![lines("crates/app/src/long.rs", 1_000), lines("docs/long.md", 1_001)],
        },
        Case {
            rule: "file-long",
            bad: vec![lines("crates/app/src/long.rs", 601)],
            good: vec![lines("crates/app/src/long.rs", 600)],
        },
        Case {
            rule: "unfinished",
            bad: vec![
                sample("crates/app/src/a.rs", "fn a() { todo!() }"),
                sample("crates/app/src/a.rs", "fn a() { unimplemented!(\"later\") }"),
                sample("crates/app/src/a.rs", "// TODO: later"),
                sample("docs/guide.md", "FIXME"),
                sample("crates/app/tests/a.rs", "#[ignore = \"slow\"]"),
            ],
            good: vec![sample("crates/app/src/a.rs", "// the list of things to do is empty: `todos`")],
        },
        Case {
            rule: "clock-and-chance",
            bad: vec![
                sample("crates/app/src/a.rs", "let now = std::time::SystemTime::now();"),
                sample("crates/server/src/a.rs", "let now = jiff::Timestamp::now();"),
                sample("crates/server/src/a.rs", "let at = tokio::time::Instant::now();"),
                sample("crates/domain/src/a.rs", "getrandom::fill(&mut bytes)?;"),
                sample("crates/ledger/src/a.rs", "let x: u8 = rand::random();"),
            ],
            good: vec![
                sample("crates/adapters/src/clock.rs", "let now = std::time::SystemTime::now();"),
                sample("crates/server/tests/a.rs", "let at = Instant::now();"),
                sample("crates/app/src/a.rs", "// never Instant::now()\nlet x = operand::random();"),
                sample("crates/app/src/a.rs", "#[cfg(test)]\nmod tests {\n    fn a() { Instant::now(); }\n}"),
            ],
        },
        Case {
            rule: "effects",
            bad: vec![
                sample("crates/app/src/a.rs", "std::process::Command::new(\"true\")"),
                sample("crates/server/src/http/a.rs", "tokio::fs::write(path, body).await?;"),
                sample("crates/policy/src/a.rs", "let file = File::create(path)?;"),
            ],
            good: vec![
                sample("crates/adapters/src/executor/a.rs", "Command::new(\"true\")"),
                sample("crates/server/src/demo.rs", "std::fs::write(path, body)?;"),
                sample("crates/server/src/cli/keys.rs", "File::create_new(path)?;"),
                sample("crates/server/src/http/a.rs", "fs::read(path)?;"),
            ],
        },
        Case {
            rule: "steps",
            bad: vec![
                sample("crates/adapters/src/system/a.rs", "fn a() {\n    fs::rename(a, b)?;\n}"),
                sample("crates/adapters/src/executor/a.rs", "fn a() {\n    command.spawn()?;\n}"),
                sample("crates/adapters/src/store/a.rs", "fn a() {\n    run(conn, \"COMMIT\")?;\n}"),
                sample("crates/server/src/wiring/a.rs", "fn a() {\n    std::fs::write(path, text)?;\n}"),
            ],
            good: vec![
                sample(
                    "crates/adapters/src/system/a.rs",
                    "fn a() {\n    Step::X.take(|_| fs::rename(a, b))?;\n}",
                ),
                sample("crates/adapters/src/executor/a.rs", "fn a(_: &Taken) {\n    command.spawn()?;\n}"),
                sample("crates/adapters/src/system/a/tests.rs", "fn a() {\n    fs::rename(a, b)?;\n}"),
                sample("crates/server/src/cli/a.rs", "fn a() {\n    std::fs::write(path, text)?;\n}"),
                sample("crates/policy/src/a.rs", "fn a() {\n    rename(a, b);\n}"),
            ],
        },
        Case {
            rule: "cfg-feature",
            bad: vec![sample("crates/app/src/a.rs", "#[cfg(feature = \"extra\")]")],
            good: vec![sample("crates/app/src/a.rs", "#[cfg(unix)]")],
        },
        Case {
            rule: "private-place",
            bad: vec![
                sample("docs/a.md", concat!("see /wo", "rk/notes")),
                sample("scripts/a.sh", concat!("cat ../sha", "red/a")),
            ],
            good: vec![sample("docs/a.md", "the work is shared: see docs/working")],
        },
        Case {
            rule: "crate-docs",
            bad: vec![
                sample("crates/app/src/lib.rs", "pub mod a;"),
                sample("crates/server/src/main.rs", "// a\n//! b"),
            ],
            good: vec![
                sample("crates/app/src/lib.rs", "//! The use cases.\npub mod a;"),
                sample("crates/app/src/a.rs", "fn a() {}"),
            ],
        },
        Case {
            rule: "architecture-length",
            bad: vec![lines("ARCHITECTURE.md", 201)],
            good: vec![lines("ARCHITECTURE.md", 200), lines("docs/ARCHITECTURE.md", 201)],
        },
        Case {
            rule: "crate-direction",
            bad: vec![
                uses("crates/domain/Cargo.toml", "holdpoint-ledger"),
                uses("crates/ledger/Cargo.toml", "holdpoint-domain"),
                uses("crates/policy/Cargo.toml", "holdpoint-app"),
                uses("crates/app/Cargo.toml", "holdpoint-adapters"),
                uses("crates/adapters/Cargo.toml", "holdpoint"),
            ],
            good: vec![
                uses("crates/server/Cargo.toml", "holdpoint-ledger"),
                uses("crates/policy/Cargo.toml", "holdpoint-domain"),
                tests_use("crates/domain/Cargo.toml", "holdpoint-ledger"),
            ],
        },
        Case {
            rule: "pure-crates",
            bad: vec![
                uses("crates/app/Cargo.toml", "tokio"),
                uses("crates/policy/Cargo.toml", "reqwest"),
                uses("crates/domain/Cargo.toml", "rusqlite"),
                uses("crates/ledger/Cargo.toml", "axum"),
            ],
            good: vec![
                tests_use("crates/app/Cargo.toml", "tokio"),
                uses("crates/adapters/Cargo.toml", "tokio"),
            ],
        },
        Case {
            rule: "one-policy-crate",
            bad: vec![
                uses("crates/server/Cargo.toml", "cedar-policy"),
                uses("crates/app/Cargo.toml", "regorus"),
            ],
            good: vec![uses("crates/policy/Cargo.toml", "cedar-policy")],
        },
    ]
}

fn findings(rule: &str, (path, text): &Sample) -> usize {
    let rule = RULES.iter().find(|known| known.name == rule).expect("the case names a rule");
    rule.check(&[File::new(*path, text.as_str())]).len()
}

#[test]
fn every_rule_fires_on_the_bad_and_is_silent_on_the_good() {
    for case in cases() {
        for bad in &case.bad {
            assert_eq!(findings(case.rule, bad), 1, "{} should fire once on {bad:?}", case.rule);
        }
        for good in &case.good {
            assert_eq!(findings(case.rule, good), 0, "{} should be silent on {good:?}", case.rule);
        }
    }
}

#[test]
fn every_rule_has_a_bad_and_a_good_sample() {
    let cases = cases();
    let named: Vec<&str> = cases.iter().map(|case| case.rule).collect();
    let rules: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(named, rules, "one case a rule, in the order of the rules");
    assert!(cases.iter().all(|case| !case.bad.is_empty() && !case.good.is_empty()));
}

#[test]
fn a_finding_points_at_its_line() {
    let file = File::new("crates/app/src/a.rs", "fn a() {\n    let at = Instant::now();\n}\n");
    let rule = RULES.iter().find(|rule| rule.name == "clock-and-chance").expect("the rule exists");
    assert_eq!(rule.check(&[file]), [Finding::new("crates/app/src/a.rs", 2, "`Instant::now`")]);
}
