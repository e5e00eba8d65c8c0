//! `cargo xtask tidy`: the house rules that neither the compiler nor clippy checks.
//!
//! A rule is a row of [`rules::RULES`]. Every finding names the file, the line, the rule and what to do. Nothing here
//! changes a file, and no rule can be switched off for one place: a rule that is wrong is changed for everyone.

mod manifests;
mod rules;
mod source;
mod steps;

use crate::repo;
use crate::{Failure, expect_no_arguments};
use rules::{Level, RULES, Rule};

/// A place that breaks a rule, with what was found there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    found: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, found: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, found: found.into() }
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    expect_no_arguments(arguments)?;
    let files = repo::text_files(&repo::root()?)?;
    let mut broken: usize = 0;
    for rule in RULES {
        let findings = rule.check(&files);
        for finding in &findings {
            println!("{}", line_for(rule, finding));
        }
        println!("tidy {:<22} {}", rule.name, verdict(rule, findings.len()));
        if rule.level == Level::Deny {
            broken = broken.saturating_add(findings.len());
        }
    }
    println!("tidy: {} rules over {} files, {broken} broken", RULES.len(), files.len());
    if broken == 0 { Ok(()) } else { Err(format!("{broken} findings, listed above")) }
}

fn line_for(rule: &Rule, finding: &Finding) -> String {
    let Finding { path, line, found } = finding;
    format!("{path}:{line}: {found} [{}]\n    {}", rule.name, rule.advice)
}

fn verdict(rule: &Rule, count: usize) -> String {
    match (count, rule.level) {
        (0, _) => "ok".to_owned(),
        (count, Level::Warn) => format!("{count} warned of"),
        (count, Level::Deny) => format!("{count} broken"),
    }
}
