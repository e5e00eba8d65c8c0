//! Containment: whatever an agent writes around its plan, and however long or strange, the decision is the same to the byte.

use holdpoint_app::{
    fake::{Probe, Setup, decider},
    port::Store as _,
    propose::{MAX_TEXT_LEN, Proposal, propose},
};
use holdpoint_domain::{
    decision::Answer,
    digest::canonical,
    plan::Narrative,
    record::{Body, Record},
    trigger::Truth,
};
use proptest::prelude::*;

use crate::corpora::{Attack, attacks};

use super::support::{started, wait};

/// Situations with each of the answers: what probes say, what is asked for, and what comes of it.
const SITUATIONS: [(Truth, &str, &str, Answer); 5] = [
    (Truth::Holds, "process.restart", "worker-1", Answer::Allow),
    (Truth::Holds, "cache.drop", "worker-1", Answer::Hold),
    (Truth::Holds, "process.restart", "orders-1", Answer::Hold),
    (Truth::DoesNotHold, "process.restart", "worker-1", Answer::Hold),
    (Truth::Indeterminate, "process.restart", "worker-1", Answer::Defer),
];

/// The canonical bytes of what is recorded as decided, facts included.
fn decided(situation: &(Truth, &str, &str, Answer), words: &dyn Fn(Proposal) -> Proposal) -> Vec<u8> {
    let (truth, action, target, answer) = situation;
    let stage = started(Setup::default());
    stage.world.probe("process.hung", Probe::Says(*truth));
    let proposal = words(stage.proposal(action, target));
    let proposed = wait(propose(&stage.gate, &decider("healer").into(), proposal)).unwrap();
    assert_eq!(proposed.decision.answer, *answer, "{situation:?}");
    let history = wait(stage.store.history(&proposed.id)).unwrap();
    let records = history.iter().map(|entry| Record::parse(&entry.bytes).unwrap());
    let bodies: Vec<_> = records
        .filter(|record| matches!(record.body, Body::Decided { .. }))
        .map(|record| canonical(&record.body).unwrap())
        .collect();
    assert_eq!(bodies.len(), 1);
    bodies.concat()
}

fn with_words(proposal: Proposal, texts: &[Option<String>; 6]) -> Proposal {
    let [summary, reason, confidence, prompt, model, transcript] = texts.clone();
    Proposal {
        narrative: Narrative {
            summary: summary.unwrap_or_default(),
            reason: reason.unwrap_or_default(),
            confidence,
        },
        prompt,
        model,
        transcript,
        ..proposal
    }
}

#[test]
fn inv10_t35_no_text_of_the_corpora_changes_a_byte_of_a_decision() {
    let clean = SITUATIONS.each_ref().map(|situation| decided(situation, &|proposal| proposal));
    let compare = |number: usize, attack: &Attack, places: &[usize]| {
        let mut texts = [const { None }; 6];
        for place in places {
            texts[*place] = Some(attack.text.clone());
        }
        let situation = &SITUATIONS[number];
        let injected = decided(situation, &|proposal| with_words(proposal, &texts));
        let Attack { family, text } = attack;
        assert!(clean[number] == injected, "{situation:?}: {family}: {text:?} in places {places:?}");
        let text_in_it = injected.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(attack.is_word() || !text_in_it, "{text:?} stands in the decision");
    };
    for (number, attack) in attacks().iter().enumerate() {
        // Everywhere at once in every situation, and in each place alone in one of them, by turns.
        (0..SITUATIONS.len()).for_each(|situation| compare(situation, attack, &[0, 1, 2, 3, 4, 5]));
        (0..6).for_each(|place| compare((number + place) % SITUATIONS.len(), attack, &[place]));
    }
}

#[test]
fn inv14_the_models_confidence_is_no_fact() {
    for situation in &SITUATIONS {
        let of = |confidence: &str| {
            let texts = [None, None, Some(confidence.to_owned()), None, None, None];
            decided(situation, &|proposal| with_words(proposal, &texts))
        };
        assert!(of("0.01") == of("0.9999"), "{situation:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn inv10_t35_no_text_at_all_changes_a_byte_of_a_decision(
        texts in prop::array::uniform6(prop::option::of("\\PC{0,200}|[\\x00-\\x7f]{0,400}")),
        // With room for what JSON puts around it.
        long in 0..MAX_TEXT_LEN - 1024,
        situation in 0..SITUATIONS.len(),
    ) {
        let situation = &SITUATIONS[situation];
        let clean = decided(situation, &|proposal| proposal);
        prop_assert!(clean == decided(situation, &|proposal| with_words(proposal, &texts)));
        let flood = [None, Some("approve ".repeat(long / 8)), None, None, None, None];
        prop_assert!(clean == decided(situation, &|proposal| with_words(proposal, &flood)));
    }
}
