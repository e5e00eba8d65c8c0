//! The last value that is allowed and the first that is not, where nothing else looks at exactly there.

use ed25519_dalek::Signer as _;
use holdpoint_domain::{
    Rung,
    action::{self, UndoKind},
    actor::TrustDomain,
    aftercare::ResolutionStatement,
    approval::{self, TreeHead},
    change,
    digest::MAX_WHOLE,
    facts::Origin,
    flow::{Event, State, next},
    lease, limits,
    permit::{self, Grant, MAX_PERMIT_LEN, Permit, compact},
    signature::Signature,
    time,
    trigger::{Check, Condition, HttpExpect, Probe, Truth, endpoints},
};
use serde_json::json;

use super::catalogues::action as an_action;
use super::properties::{UNDO_KINDS, all_touches};
use super::support::{agreement, facts, gate, grant, head, id, ms, permit, pinned, plan, public};

/// What is signed is written in doubles: of two whole numbers beyond 2^53 - 1 both may be written as one.
#[test]
fn inv04_no_two_numbers_of_what_is_signed_are_written_alike() {
    let read = |size: u64| {
        let mut value = serde_json::to_value(head()).unwrap();
        value["size"] = json!(size);
        serde_json::from_value::<TreeHead>(value)
    };
    assert_eq!(read(MAX_WHOLE).unwrap().size, MAX_WHOLE);
    assert_eq!(read(0).unwrap().size, 0);
    for beyond in [MAX_WHOLE + 1, MAX_WHOLE + 2, u64::MAX] {
        assert!(read(beyond).is_err(), "{beyond} was read");
    }
    let mut held = serde_json::to_value(grant(Rung::T3, &["ada"]).unwrap()).unwrap();
    held["epoch"] = json!(MAX_WHOLE + 1);
    assert!(serde_json::from_value::<Grant>(held).is_err());
    let seen = json!({"type": "holdpoint/resolution/v1", "seen": MAX_WHOLE + 1});
    let refusal = serde_json::from_value::<ResolutionStatement>(seen).unwrap_err().to_string();
    assert!(refusal.contains("whole number"), "{refusal}");
}

#[test]
fn t30_a_permit_of_the_largest_size_opens() {
    const SIGNATURE: usize = 1 + 86;
    let mut large = grant(Rung::T3, &["ada"]).unwrap();
    large.head.origin.clear();
    let empty = large.signing_input("k").unwrap().len();
    let about = (MAX_PERMIT_LEN - SIGNATURE - empty) * 3 / 4;
    let input_of = |grant: &mut Grant, kid: &str, len: usize| {
        grant.head.origin = "o".repeat(len);
        grant.signing_input(kid).unwrap()
    };
    // Three bytes are four letters, so not every length can be had with every key id.
    let lengths =
        ["k", "kk", "kkk"].into_iter().flat_map(|kid| (about - 9..about + 9).map(move |len| (kid, len)));
    let (kid, len) = lengths
        .into_iter()
        .find(|(kid, len)| input_of(&mut large, kid, *len).len() + SIGNATURE == MAX_PERMIT_LEN)
        .expect("no permit has exactly the largest size");
    for (len, opens) in [(len, true), (len + 3, false)] {
        let input = input_of(&mut large, kid, len);
        let signature = Signature::from_bytes(gate().sign(input.as_bytes()).to_bytes());
        let opened = Permit::open(&compact(&input, &signature), &public(&gate()));
        assert_eq!(opened.is_ok(), opens, "{len} bytes of origin");
    }
}

/// The form that the gate signs with, not the one of these tests.
#[test]
fn a_compact_permit_is_what_opens() {
    let grant = grant(Rung::T3, &["ada"]).unwrap();
    let input = grant.signing_input("permits-1").unwrap();
    let signature = Signature::from_bytes(gate().sign(input.as_bytes()).to_bytes());
    let opened = Permit::open(&compact(&input, &signature), &public(&gate())).unwrap();
    assert_eq!(*opened.grant(), grant);
}

/// What nobody approved is not strongly authenticated.
#[test]
fn inv05_nobody_is_not_strong() {
    let permit = permit(&grant(Rung::T1, &[]).unwrap());
    let oversight = permit.check_consents(&plan(), permit.grant().tier, 0, &pinned()).unwrap();
    assert_eq!(oversight.approvals, 0);
    assert!(!oversight.strong && !oversight.fresh, "{oversight:?}");
}

/// A state is final where the table has nothing, and a run is open from its claim to its end.
#[test]
fn inv03_a_run_is_open_from_its_claim_to_its_end() {
    for state in State::ALL {
        let ways = Event::ALL.into_iter().filter(|event| next(state, *event).is_ok()).count();
        assert_eq!(state.is_final(), ways == 0, "{state}");
        if state.is_final() {
            assert!(!state.is_running(), "{state} is over and open");
        }
    }
    let mut open = vec![State::Claimed];
    let mut at = 0;
    while let Some(state) = open.get(at).copied() {
        at += 1;
        assert!(state.is_running(), "{state} comes after a claim");
        for after in Event::ALL.into_iter().filter_map(|event| next(state, event).ok()) {
            if !after.is_final() && !open.contains(&after) {
                open.push(after);
            }
        }
    }
    let running = State::ALL.into_iter().filter(|state| state.is_running()).count();
    assert_eq!(running, open.len(), "a state is open that no claim leads to");
}

/// Only where nobody can tell is policy asked what it would say if the trigger held.
#[test]
fn inv10_policy_is_asked_about_the_facts_as_they_are() {
    for truth in [Truth::Holds, Truth::DoesNotHold] {
        let mut facts = facts();
        facts.trigger.agreement = agreement(truth);
        facts.provenance.target = Origin::Tainted;
        assert_eq!(*facts.for_policy(), facts, "{truth:?}");
    }
    let mut unknown = facts();
    unknown.trigger.agreement = agreement(Truth::Indeterminate);
    unknown.provenance.target = Origin::Tainted;
    unknown.provenance.scope = Origin::Tainted;
    let asked = unknown.for_policy().into_owned();
    assert_eq!(asked.trigger.agreement.truth, Truth::Holds);
    assert_eq!((asked.provenance.target, asked.provenance.scope), (Origin::Clean, Origin::Tainted));
    assert_eq!(asked.brakes, unknown.brakes);
}

#[test]
fn a_plan_names_its_incident() {
    assert_eq!(plan().incident(), Some(&id("inc-42")));
}

/// Policy speaks of groups: each is there for the actions that it is about, and for no others.
#[test]
fn the_groups_of_an_action_follow_from_its_facts() {
    for undo in UNDO_KINDS {
        let mut action = an_action("process.restart");
        action.undo = undo;
        let named = action.all_groups().contains(&id("no-undo"));
        assert_eq!(named, matches!(undo, UndoKind::None | UndoKind::Compensate), "{undo:?}");
    }
    for touches in all_touches() {
        let mut action = an_action("process.restart");
        action.touches = touches.clone();
        let groups = action.all_groups();
        for state in touches.keys() {
            let word = serde_json::to_value(state).unwrap();
            assert_eq!(word, state.as_str(), "the word of a state is its word in the catalogue");
            assert!(groups.contains(&id(&format!("touches-{}", state.as_str().replace('_', "-")))));
            assert_eq!(groups.contains(&id("changes-guard-state")), !state.is_trust(), "{state:?}");
        }
    }
}

#[test]
fn t19_a_trust_domain_has_one_spelling() {
    let longest = "a".repeat(255);
    for good in ["example.org", "a", "a-b_c.0", &longest] {
        assert_eq!(TrustDomain::parse(good).unwrap().as_str(), good);
    }
    let long = "a".repeat(256);
    for bad in ["", "Example.org", "a/b", "a b", "a:1", "ä", "a\n", &long] {
        assert!(TrustDomain::parse(bad).is_err(), "{bad:?} was accepted");
    }
}

/// The numbers themselves, once more and in full: a limit that is changed by mistake is a limit that nobody decided on.
#[test]
fn t25_the_limits_are_those_that_were_decided_on() {
    let limits: [(&str, u64, u64); 12] = [
        ("an undo stays armed for a day", action::MAX_UNDO_WINDOW_MS, 86_400_000),
        ("a target settles within an hour", action::MAX_SETTLE_MS, 3_600_000),
        ("whole numbers of parameters", action::MAX_INT.unsigned_abs(), 9_007_199_254_740_991),
        ("a hold lasts a day", approval::MAX_APPROVAL_MS, 86_400_000),
        ("a change waits for a week", change::MAX_CHANGE_MS, 604_800_000),
        ("whole numbers of what is signed", MAX_WHOLE, 9_007_199_254_740_991),
        ("a lease lasts a quarter of an hour", lease::MAX_LEASE_MS, 900_000),
        ("a window of a budget is at most 31 days", limits::MAX_WINDOW_MS, 2_678_400_000),
        ("a deletion is remembered for a week", limits::DEFAULT_DELETE_WINDOW.ms(), 604_800_000),
        ("a run starts within an hour", permit::MAX_START_MS, 3_600_000),
        ("a permit has at most 64 KiB", MAX_PERMIT_LEN as u64, 65_536),
        ("times and spans", time::MAX_MS, 9_007_199_254_740_991),
    ];
    for (what, limit, decided) in limits {
        assert_eq!(limit, decided, "{what}");
    }
}

#[test]
fn a_condition_names_the_endpoints_that_it_asks() {
    let probe = |endpoint: &str| Probe {
        endpoint: id(endpoint),
        timeout_ms: ms(1_000),
        check: Check::Http { expect: HttpExpect::Ok },
    };
    let probes = vec![probe("http"), probe("admin"), probe("http")];
    let condition = Condition { id: id("process.hung"), title: "hung".to_owned(), needs: 1, probes };
    let asked: Vec<_> = endpoints(&condition).into_iter().cloned().collect();
    assert_eq!(asked, [id("admin"), id("http")]);
}
