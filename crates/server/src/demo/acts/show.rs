//! How what the gate says is shown: evidence, blast radius, reasons, rules, times.

use std::collections::BTreeSet;

use holdpoint_domain::{
    Id, Tier, Timestamp,
    decision::ReasonEffect,
    id::kind,
    text::visible,
    trigger::{Reading, Truth, Why},
};

use super::{Denied, Play};
use crate::{
    demo::{DemoError, stage},
    http::wire::{PlanDetail, Reason},
};

impl Play<'_> {
    /// Prints what the probes saw.
    pub(super) fn show_evidence(&self, plan: &PlanDetail) {
        let Some(signed) = plan.evidence.first() else { return };
        for reading in &signed.evidence.readings {
            self.demo.screen.fact("measured", shown(reading));
        }
        let agreement = &signed.evidence.agreement;
        self.demo.screen.fact(
            "trigger",
            format_args!(
                "{} {}: {} of {} independent sources say so, {} needed",
                signed.evidence.condition,
                truth(agreement.truth),
                agreement.holding,
                agreement.sources,
                agreement.needed
            ),
        );
    }

    /// Prints what the plan could disturb.
    pub(super) fn show_blast(&self, plan: &PlanDetail) {
        let Some(facts) = &plan.facts else { return };
        let names = |services: &BTreeSet<Id<kind::Service>>| {
            let names: Vec<_> = services.iter().map(Id::as_str).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let (services, critical) =
            (names(&facts.first().blast.services), names(&facts.first().blast.critical));
        self.demo.screen.fact("disturbs", format_args!("{services}; critical among them: {critical}"));
    }

    /// Prints the rules that made it this tier, and those that permit it at all.
    pub(super) fn show_reasons(&self, reasons: &[Reason], tier: Tier) {
        let decide = |reason: &&Reason| match reason.effect {
            ReasonEffect::Raised(raised) => raised == tier,
            ReasonEffect::Denied
            | ReasonEffect::Deferred
            | ReasonEffect::Permitted
            | ReasonEffect::Forbade
            | ReasonEffect::Failed => true,
        };
        for reason in reasons.iter().filter(decide) {
            let fact = visible(&reason.fact);
            let effect = match reason.effect {
                ReasonEffect::Raised(tier) => format!("not below {tier}"),
                ReasonEffect::Denied => "denies".to_owned(),
                ReasonEffect::Deferred => "defers".to_owned(),
                ReasonEffect::Permitted => "permits".to_owned(),
                ReasonEffect::Forbade => "forbids".to_owned(),
                ReasonEffect::Failed => "failed".to_owned(),
            };
            self.demo.screen.fact("rule", format_args!("{} ({effect}): {fact}", reason.rule));
        }
    }

    /// Prints why a plan was denied.
    pub(super) fn show_denial(&self, denied: &Denied) {
        let reason = &denied.reason;
        self.demo.screen.bad("denied", format_args!("by rule {}: {}", reason.rule, visible(&reason.fact)));
    }

    /// Prints a rule as it stands in the policy.
    pub(super) fn show_rule(&self, rule: &str) -> Result<(), DemoError> {
        let path = self.demo.path(stage::POLICY);
        let policy = std::fs::read_to_string(&path).map_err(|source| DemoError::File { path, source })?;
        self.demo.screen.say(format_args!("This is the rule, in {}:", stage::POLICY));
        self.demo.screen.quoted(&rule_text(&policy, rule));
        Ok(())
    }
}

/// The text of a rule, from its id to its end; empty when it is not there.
fn rule_text(policy: &str, rule: &str) -> String {
    let id = format!("@id(\"{rule}\")");
    let mut lines = Vec::new();
    for line in policy.lines().skip_while(|line| !line.starts_with(&id)) {
        lines.push(line);
        if line.trim_end().ends_with(';') {
            break;
        }
    }
    lines.join("\n")
}

fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::Holds => "holds",
        Truth::DoesNotHold => "does not hold",
        Truth::Indeterminate => "cannot be told",
    }
}

fn shown(reading: &Reading) -> String {
    let why = match reading.why {
        Why::Measured => "measured",
        Why::TimedOut => "no answer in time",
        Why::Refused => "connection refused",
        Why::Broken => "the answer broke",
        Why::Garbage => "the answer does not parse",
        Why::NoData => "no data",
        Why::Ambiguous => "several series match",
        Why::NotANumber => "not a number",
        Why::Stale => "too old",
        Why::ClockSkew => "its clock is not ours",
        Why::Partial => "the answer is not whole",
        Why::Rejected => "the question was refused",
        Why::WrongType => "no number to compare",
        Why::MayWrite => "its login may write",
        Why::Suppressed => "its alert is silenced or inhibited",
        Why::Gap => "samples are missing",
        Why::NoEndpoint => "no such endpoint",
        Why::OurFault => "could not measure",
    };
    let value = reading.value.map_or_else(String::new, |value| format!(", value {value}"));
    format!("{} of source {}: {} ({why}{value})", reading.endpoint, reading.source, truth(reading.truth))
}

/// A time in UTC, as `format` has it.
pub(super) fn utc(at: Timestamp, format: &str) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{} ms", at.ms()), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_shown_from_its_id_to_its_end() {
        let policy =
            "// first\n@id(\"a\")\npermit (principal);\n\n@id(\"b\")\nforbid (\n  principal\n);\n// more\n";
        assert_eq!(rule_text(policy, "a"), "@id(\"a\")\npermit (principal);");
        assert_eq!(rule_text(policy, "b"), "@id(\"b\")\nforbid (\n  principal\n);");
        assert_eq!(rule_text(policy, "c"), "");
        // The rule of act 4 is in the policy that the stage has.
        let starter = include_str!("../../../../../policies/starter.cedar");
        assert!(rule_text(starter, "refuted-trigger").contains("context.trigger.refuted"));
    }
}
