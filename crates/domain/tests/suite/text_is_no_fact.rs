//! What an agent or a monitored system wrote cannot reach a decision: there is no place in the facts for text.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Digest, Rung,
    decision::Decision,
    digest::canonical,
    facts::{Brakes, Facts},
    plan::Narrative,
    trigger::Reading,
};
use serde_json::Value;

use crate::corpora::{Attack, attacks};

use super::{
    mutations::leaves,
    support::{allow_from, commitment, decide_one, facts, held_back, id, one, over_budget, plan},
};

/// Attacks that are no name and no word of a closed list: those could stand in a field and would be nothing but a name.
fn sentences() -> Vec<Attack> {
    let mut attacks = attacks();
    attacks.retain(|attack| !attack.is_word());
    assert!(attacks.len() > 100);
    attacks
}

/// Facts in which every optional field has a value and every list an element.
fn full() -> Facts {
    let mut facts = facts();
    facts.brakes = Brakes { over_budget: Some(over_budget()), ..held_back() };
    facts.target.as_mut().unwrap().data_domain = Some(id("orders"));
    facts.blast.unknown.insert(id("ghost"));
    facts.blast.critical.insert(id("ghost"));
    facts.standing = holdpoint_domain::facts::Standing::Earned(holdpoint_domain::Tier::T2);
    let touches = holdpoint_domain::action::Effect::Changes;
    facts.action.approvals = Some(super::quorums::quorum(2, &[&["dba", "platform"], &["security"]]));
    facts.action.touches = BTreeMap::from([(holdpoint_domain::action::State::Observability, touches)]);
    facts
}

/// Every text in the facts is an id, a digest or a word of a closed list: none of them can carry a sentence.
#[test]
fn inv10_t35_no_field_of_the_facts_takes_text() {
    let value = serde_json::to_value(full()).unwrap();
    let texts: Vec<_> =
        leaves(&value).into_iter().filter(|path| value.pointer(path).unwrap().is_string()).collect();
    assert!(texts.len() > 30, "{texts:?}");
    let sentences = sentences();
    for path in &texts {
        for Attack { text, .. } in &sentences {
            let mut injected = value.clone();
            *injected.pointer_mut(path).unwrap() = Value::from(text.as_str());
            assert!(serde_json::from_value::<Facts>(injected).is_err(), "{path} took {text:?}");
        }
    }
    // Nor is there room for a field or a key of the attacker's own.
    let objects = [
        "",
        "/principal",
        "/action",
        "/action/touches",
        "/action/cap",
        "/action/approvals",
        "/target",
        "/trigger",
    ];
    let more = [
        "/trigger/agreement",
        "/blast",
        "/undo",
        "/provenance",
        "/standing",
        "/brakes",
        "/brakes/over_budget",
        "/brakes/neighbour",
        "/brakes/breaker",
        "/inputs",
    ];
    for path in objects.iter().chain(&more) {
        for injection in ["reason", "confidence", "severity", &sentences[0].text] {
            let mut injected = value.clone();
            let object = injected.pointer_mut(path).unwrap().as_object_mut().unwrap();
            object.insert(injection.into(), Value::from(sentences[0].text.as_str()));
            assert!(serde_json::from_value::<Facts>(injected).is_err(), "{path} took a `{injection}`");
        }
    }
}

/// A reading says why out of a closed list; the measured system's own words have no field.
#[test]
fn t35_a_reading_carries_no_text_of_the_measured_system() {
    let reading =
        r#"{"endpoint":"http","source":"node","truth":"holds","why":"garbage","value":1.5,"age_ms":0}"#;
    let value: Value = serde_json::from_str(reading).unwrap();
    assert!(serde_json::from_value::<Reading>(value.clone()).is_ok());
    for Attack { text, .. } in sentences() {
        for field in ["endpoint", "source", "truth", "why", "value", "age_ms", "message"] {
            let mut injected = value.clone();
            injected[field] = Value::from(text.as_str());
            assert!(serde_json::from_value::<Reading>(injected).is_err(), "{field} took {text:?}");
        }
    }
}

/// The same plan with and without injected words: the same facts, the same decision, byte for byte; only the commitment
/// to the words differs.
#[test]
fn inv10_inv14_t35_injected_words_change_no_byte_of_the_decision() {
    let decide_with = |narrative: &Narrative| {
        let facts = facts();
        let decision = decide_one(&facts, &allow_from(Rung::T3));
        let words = String::from_utf8(canonical(narrative).unwrap()).unwrap();
        let bytes = [canonical(&plan()), canonical(&facts), canonical(&decision)].map(Result::unwrap);
        (bytes, commitment(&words))
    };
    let clean = Narrative { summary: "the worker hangs".into(), reason: String::new(), confidence: None };
    let (clean_bytes, clean_commitment) = decide_with(&clean);
    for attack in attacks() {
        let Attack { text, .. } = &attack;
        let injected =
            Narrative { summary: text.clone(), reason: text.clone(), confidence: Some(text.clone()) };
        let (bytes, commitment) = decide_with(&injected);
        assert_eq!(bytes, clean_bytes, "{text:?} changed a byte");
        assert_ne!(commitment, clean_commitment, "what was shown to the approver is bound");
        for bytes in &bytes {
            let decided = String::from_utf8(bytes.clone()).unwrap();
            assert!(attack.is_word() || !decided.contains(text), "{text:?} is in {decided}");
        }
    }
}

/// A decision names rules and digests; it quotes nobody.
#[test]
fn inv10_a_decision_quotes_nobody() {
    let decision = decide_one(&full(), &allow_from(Rung::T1));
    let value = serde_json::to_value(&decision).unwrap();
    for path in leaves(&value) {
        for Attack { text, .. } in sentences() {
            let mut injected = value.clone();
            *injected.pointer_mut(&path).unwrap() = Value::from(text.as_str());
            assert!(serde_json::from_value::<Decision>(injected).is_err(), "{path} took {text:?}");
        }
    }
    assert_eq!(decision.facts, Digest::of(&one(&full())).unwrap());
}
