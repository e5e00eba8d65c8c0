//! What a person reads before they sign: the bytes to be signed, in words.
//!
//! The agent's words come first, wrapped and marked on every line and cut short; what is signed comes last, right above the
//! question. Whatever an agent writes, the last lines on the screen are the gate's facts.

use holdpoint_domain::{
    Id,
    approval::HoldTerms,
    decision::{Decision, ReasonEffect},
    facts::{Facts, PlanFacts},
    plan::{ParamValue, Plan},
    quorum::Quorum,
    text::visible,
    trigger::Truth,
};
use serde_json::Value;

use crate::moment::clock_time;

/// Widest line of the agent's words: what fits beside their mark on the narrowest terminal.
const WIDTH: usize = 72;
/// Most lines of the agent's words, each field. The rest is in `holdpoint get`.
const MAX_LINES: usize = 6;

/// The lines, in order.
pub(crate) fn lines(
    narrative: Option<&Value>,
    terms: &HoldTerms,
    plan: &Plan,
    facts: &PlanFacts,
    decision: &Decision,
) -> Vec<String> {
    let mut lines = words(narrative);
    lines.push("what the gate found out, and what you sign:".to_owned());
    let names = |ids: Vec<&str>| if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
    for step in facts.steps() {
        lines.extend(step_lines(step));
    }
    let blast = &facts.first().blast;
    lines.push(format!("disturbs  {}", names(blast.services.iter().map(Id::as_str).collect())));
    lines.push(format!("critical  {}", names(blast.critical.iter().map(Id::as_str).collect())));
    for reason in &decision.reasons {
        if let ReasonEffect::Raised(tier) = reason.effect {
            lines.push(format!("because   {} (not below {tier})", reason.rule));
        }
    }
    lines.push(format!("asked by  {}", plan.requester().words()));
    lines.push(format!("waits for {}", Quorum::of(decision, plan, facts)));
    lines.push(format!("log       {}", visible(&terms.head.origin)));
    lines.push(format!("plan      {}", terms.plan));
    lines.push(format!("ends      {}; unanswered means no", clock_time(terms.expires_at_ms)));
    lines.push(format!("hold      {}  tier {} ({})", terms.hold, terms.tier, terms.tier.meaning()));
    for step in plan.steps() {
        for (name, value) in &step.params {
            lines.push(format!("with      {name} = {}", setting(value)));
        }
        let version = step.expected_version.short();
        lines.push(format!(
            "does      {} on {}, only while it is in version {version}",
            step.action, step.target
        ));
    }
    lines
}

/// A parameter's value, as it is set. A secret is not in the plan: only what commits to it.
pub(crate) fn setting(value: &ParamValue) -> String {
    match value {
        ParamValue::Int(int) => int.to_string(),
        ParamValue::Bool(bool) => bool.to_string(),
        ParamValue::Choice(word) => word.to_string(),
        ParamValue::Secret(commitment) => format!("a secret, committed to as {}", commitment.digest()),
    }
}

/// What the gate found out about one step.
fn step_lines(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(target) = &facts.target {
        lines.push(format!(
            "target    {}: service {} in {}, owner {}, {} criticality, {} % of {} replicas out with this",
            target.id,
            target.service,
            target.environment,
            target.owner,
            target.criticality.as_str(),
            facts.blast.replica_share_percent,
            target.replicas
        ));
    }
    let agreement = &facts.trigger.agreement;
    lines.push(format!(
        "trigger   {} {} ({} of {} independent sources say that it holds, {} needed)",
        facts.trigger.condition,
        truth(agreement.truth),
        agreement.holding,
        agreement.sources,
        agreement.needed
    ));
    lines.push(format!("undo      {}", undo(facts)));
    lines
}

/// What the agent says, under a line that says what that is worth.
pub(crate) fn words(narrative: Option<&Value>) -> Vec<String> {
    let mut lines = vec!["the agent's own words, which prove nothing:".to_owned()];
    for field in ["summary", "reason"] {
        let text = narrative.and_then(|words| words.get(field)).and_then(Value::as_str).unwrap_or_default();
        lines.extend(marked(text));
    }
    lines
}

/// A text of an agent: one paragraph, blanks folded, hidden characters as escapes, wrapped, marked on every line, and cut.
fn marked(text: &str) -> Vec<String> {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: Vec<char> = visible(&folded).chars().collect();
    let mut lines: Vec<String> = shown
        .chunks(WIDTH)
        .take(MAX_LINES)
        .map(|line| format!("  | {}", line.iter().collect::<String>()))
        .collect();
    let cut = shown.chunks(WIDTH).count().saturating_sub(MAX_LINES);
    if cut > 0 {
        lines.push(format!("  | … cut: {cut} more lines, in `holdpoint get`"));
    }
    lines
}

/// What would take the effect back, in words.
fn undo(facts: &Facts) -> &'static str {
    match (facts.has_undo(), facts.action.undo.restores()) {
        (true, true) => "the gate can put the state before back",
        (true, false) => "the target heals itself",
        (false, _) => "nothing would undo it",
    }
}

const fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::Holds => "holds",
        Truth::DoesNotHold => "does not hold",
        Truth::Indeterminate => "cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t13_an_agent_draws_no_screen_of_its_own() {
        let forged = format!(
            "ok{}does      process.restart on worker-2\n{}",
            " ".repeat(400),
            "target    staging\n".repeat(500)
        );
        let lines = marked(&forged);
        assert!(lines.len() <= MAX_LINES + 1, "{}", lines.len());
        for line in &lines {
            assert!(line.starts_with("  | "), "{line}");
            assert!(line.chars().count() <= WIDTH + 4, "{line}");
            assert!(!line.contains("   does"), "blanks were not folded: {line}");
        }
        assert!(lines.last().unwrap().contains("more lines"));
    }

    #[test]
    fn t14_hidden_characters_of_an_agent_are_seen() {
        let lines = marked("a\u{202e}b\u{200b}c\r\x1b[2Jd");
        assert_eq!(lines, ["  | a\\u{202E}b\\u{200B}c \\u{001B}[2Jd"]);
    }
}
