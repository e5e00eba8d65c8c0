//! Descriptions, over answers as the gate gives them.

use holdpoint_domain::text::is_hidden;
use serde_json::json;

use super::*;

/// A denied plan, with text of everybody who could try to draw on the screen.
pub(in crate::cli) fn plan() -> PlanDetail {
    let digest = format!("sha256:{}", "0".repeat(64));
    let nasty = "a\u{202e}b\x1b[2J";
    let answer = json!({
        "id": "plan-1", "state": "denied", "answer": "deny", "tier": "T3", "floor": "T3",
        "reasons": [
            {"rule": "no-undo", "effect": {"raised": "T3"}, "fact": "nothing would undo it", "next": "a person must approve"},
            {"rule": "yours", "effect": "forbade", "fact": nasty, "next": nasty},
        ],
        "hints": [{"rule": "yours", "unmet": ["facts.tier < 3", nasty]}],
        "provenance": [{"field": "scope", "integrity": "attacker_writable", "origin": "tainted", "source": "agent", "why": nasty}],
        "plan": {
            "type": "holdpoint/plan/v1", "requester": {"agent": "own", "on_behalf_of": null}, "incident": null,
            "trigger": "process.hung",
            "steps": [{
                "action": "cache.drop", "entry": digest, "target": "worker-1", "expected_version": digest,
                "params": {}, "undo": "none",
            }],
        },
        "plan_digest": digest, "narrative": null, "facts": null, "evidence": [], "hold": null, "permit": null,
        "run": {"failed": nasty, "doubt": null, "worse": [nasty]}, "review_due_ms": null,
        "timeline": [{"index": 7, "at_ms": 0, "actor": nasty, "what": nasty}],
    });
    read(&answer).unwrap()
}

#[test]
fn t14_a_description_hides_no_character() {
    let narrative = json!({"narrative": {"summary": "s\u{200b}", "reason": "r\u{202e}", "confidence": null}});
    let lines = plan_lines(&narrative, &plan());
    for line in &lines {
        assert!(!line.chars().any(is_hidden), "{line:?}");
    }
    let text = lines.join("\n");
    for part in [
        "cache.drop on worker-1",
        "no-undo (not below T3)",
        "tainted",
        "     7  1970-01-01T00:00:00",
        "  | s\\u{200B}",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn spans_are_in_words() {
    assert_eq!(ms(Millis::secs(2)), "2 s");
    assert_eq!(ms(Millis::new(2_500).unwrap()), "2500 ms");
    assert_eq!(word(&holdpoint_domain::action::UndoKind::SelfHeals), "self_heals");
}
