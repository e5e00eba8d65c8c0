//! What `holdpoint policy check` shows.

use holdpoint_domain::{Digest, Id, id::kind};
use serde::Serialize;

use crate::{
    error::{Place, Warning},
    monotone::Monotone,
};

/// What a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// It permits.
    Permit,
    /// It forbids, whatever else permits.
    Forbid,
}

/// A loaded bundle, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The digest that decisions name.
    pub bundle: Digest,
    /// The digest of the schema that it was checked against.
    pub schema: Digest,
    /// Sources, the guardrails included.
    pub files: usize,
    /// Rules that permit.
    pub permits: usize,
    /// Rules that forbid.
    pub forbids: usize,
    /// Rules that cannot be shown to be monotone.
    pub unproven: usize,
    /// All rules, in the order of the files; a linked template stands once for each link.
    pub rules: Vec<RuleReport>,
    /// What deserves a second look.
    pub warnings: Vec<Warning>,
}

/// One rule of a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// Its id.
    pub rule: Id<kind::Rule>,
    /// Where it begins.
    pub at: Place,
    /// What it does.
    pub effect: RuleEffect,
    /// Whether more oversight can turn it against the action.
    pub monotone: Monotone,
    /// The template that it is linked from.
    pub template: Option<Id<kind::Rule>>,
    /// It ships with Holdpoint and cannot be left out.
    pub guardrail: bool,
}
