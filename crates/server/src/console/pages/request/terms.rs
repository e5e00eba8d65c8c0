//! What is signed: the exact terms, and the digests in them.

use holdpoint_app::view::PlanView;
use holdpoint_domain::{Timestamp, approval::HoldTerms};

use crate::{
    console::show::{When, tame},
    http::Problem,
};

/// The terms of a hold.
pub(super) struct Terms {
    pub(super) digests: Vec<(&'static str, String)>,
    /// As canonical JSON, which is what a statement contains.
    pub(super) json: String,
    /// The plan, as canonical JSON: what its digest is of.
    pub(super) plan: String,
}

impl Terms {
    /// The terms of a plan that waits, or once did.
    pub(super) fn of(terms: &HoldTerms, view: &PlanView) -> Result<Self, Problem> {
        let expires = When::new(terms.expires_at_ms, Timestamp::EPOCH).text;
        let digests = vec![
            ("Hold", terms.hold.to_string()),
            ("Plan", terms.plan.to_string()),
            ("Agent's words", terms.narrative.digest().to_string()),
            ("Facts", terms.facts.to_string()),
            ("Decision", terms.decision.to_string()),
            ("Policy", terms.policy.to_string()),
            ("Log", tame(&terms.head.origin)),
            ("Log, size", terms.head.size.to_string()),
            ("Log, root", terms.head.root.to_string()),
            ("Tier", terms.tier.to_string()),
            ("Nonce", terms.nonce.to_string()),
            ("Expires", expires),
        ];
        Ok(Self { digests, json: canonical(terms)?, plan: canonical(&view.plan)? })
    }
}

fn canonical(value: &impl serde::Serialize) -> Result<String, Problem> {
    let bytes = holdpoint_domain::digest::canonical(value).map_err(|err| Problem::internal(&err))?;
    Ok(tame(&String::from_utf8_lossy(&bytes)))
}
