//! Delegation: who acts for whom, and never more than whoever they act for.

use std::collections::BTreeSet;

use ed25519_dalek::Signer as _;
use holdpoint_domain::{
    Id, Millis,
    actor::TrustDomain,
    delegation::{
        DELEGATION_TYP, Delegation, DelegationError, Delegator, MAX_AGENTS, MAX_DELEGATION, MAX_NAMED,
        Naming, Wanted, Within,
    },
    id::kind,
    permit::compact,
    signature::Signature,
};

use super::support::{NOW, at, base64url, gate, id, key, ms, public};

fn naming() -> Naming {
    let domain = TrustDomain::parse("example.org").unwrap();
    Naming { issuer: "gate.example/log".to_owned(), audience: "holdpoint".to_owned(), domain }
}

fn wanted(to: &str, life_ms: u64) -> Wanted {
    Wanted { id: id("delegation-1"), to: id(to), within: Within::default(), life: ms(life_ms) }
}

fn within(actions: &[&str]) -> Within {
    Within { actions: Some(actions.iter().map(|action| id(action)).collect()), targets: None }
}

/// Dee has holmes act for her for an hour.
fn of_dee() -> Delegation {
    Delegation::new(Delegator::Person(&id("dee")), wanted("holmes", 3_600_000), at(NOW)).unwrap()
}

fn token(delegation: &Delegation) -> String {
    let input = delegation.signing_input(&public(&gate()), &naming()).unwrap();
    compact(&input, &Signature::from_bytes(gate().sign(input.as_bytes()).to_bytes()))
}

fn open(token: &str, by: &str) -> Result<Delegation, DelegationError> {
    Delegation::open(token, &public(&gate()), &naming(), &id(by), at(NOW + 1))
}

fn claims(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn a_token_says_who_acts_for_whom_as_rfc_8693_does() {
    let first = of_dee();
    let holmes = id("holmes");
    let by = Delegator::Agent(&holmes, Some(&first));
    let second = Delegation::new(by, wanted("watson", 60_000), at(NOW)).unwrap();
    let watson = id("watson");
    let third =
        Delegation::new(Delegator::Agent(&watson, Some(&second)), wanted("wiggins", 1_000), at(NOW)).unwrap();
    let said = claims(&token(&third));
    assert_eq!(said["sub"], "spiffe://example.org/person/dee");
    assert_eq!(said["act"]["sub"], "spiffe://example.org/agent/wiggins/decide");
    assert_eq!(said["act"]["act"]["sub"], "spiffe://example.org/agent/watson/decide");
    assert_eq!(said["act"]["act"]["act"]["sub"], "spiffe://example.org/agent/holmes/decide");
    assert_eq!((&said["iss"], &said["aud"]), (&"gate.example/log".into(), &"holdpoint".into()));
    for (delegation, by) in [(&first, "holmes"), (&second, "watson"), (&third, "wiggins")] {
        assert_eq!(open(&token(delegation), by).as_ref(), Ok(delegation));
    }
    assert_eq!(third.via, [holmes, watson]);
    assert_eq!(third.head, Some(id("dee")));

    // An agent may begin a chain by itself: then nobody stands at its head.
    let own =
        Delegation::new(Delegator::Agent(&id("holmes"), None), wanted("watson", 1_000), at(NOW)).unwrap();
    assert_eq!(
        (&own.head, claims(&token(&own))["sub"].as_str()),
        (&None, Some("spiffe://example.org/agent/holmes/decide"))
    );
    assert_eq!(open(&token(&own), "watson"), Ok(own));
}

#[test]
fn t21_nobody_delegates_more_than_they_have() {
    let limited = Delegation { within: within(&["process.restart", "flag.switch"]), ..of_dee() };
    let further = |within: Within, life_ms: u64| {
        let wanted = Wanted { within, ..wanted("watson", life_ms) };
        Delegation::new(Delegator::Agent(&id("holmes"), Some(&limited)), wanted, at(NOW))
    };
    assert_eq!(further(Within::default(), 1_000).unwrap().within, limited.within, "what is not named stays");
    assert_eq!(further(within(&["flag.switch"]), 1_000).unwrap().within, within(&["flag.switch"]));
    let wider = Err(DelegationError::Wider("actions"));
    assert_eq!(further(within(&["flag.switch", "cache.drop"]), 1_000), wider);
    assert_eq!(further(within(&[]), 1_000), wider, "nothing might be read as everything");
    let many: BTreeSet<Id<kind::Target>> = (0..=MAX_NAMED).map(|n| id(&format!("worker-{n}"))).collect();
    let many = Within { actions: None, targets: Some(many) };
    assert_eq!(further(many, 1_000), Err(DelegationError::Wider("targets")));
    assert_eq!(further(Within::default(), 3_600_000).map(|made| made.until_ms), Ok(at(NOW + 3_600_000)));
    assert_eq!(further(Within::default(), 3_601_000), Err(DelegationError::Life), "beyond the parent's end");
}

#[test]
fn t25_a_delegation_has_a_life() {
    let of = |life| {
        let wanted = Wanted { life, ..wanted("holmes", 0) };
        Delegation::new(Delegator::Person(&id("dee")), wanted, at(NOW))
    };
    assert_eq!(of(ms(0)), Err(DelegationError::Life));
    assert_eq!(of(ms(999)), Err(DelegationError::Life), "less than a second is none");
    assert_eq!(of(ms(MAX_DELEGATION.ms() + 1)), Err(DelegationError::Life));
    assert_eq!(of(Millis::new(u64::MAX >> 12).unwrap()), Err(DelegationError::Life));
    let made = of(ms(1_500)).unwrap();
    assert_eq!((made.made_at_ms.ms() % 1000, made.until_ms.ms() % 1000), (0, 0));
    let opened_at =
        |now| Delegation::open(&token(&made), &public(&gate()), &naming(), &id("holmes"), at(now));
    assert_eq!(opened_at(made.until_ms.ms() - 1), Ok(made.clone()));
    assert_eq!(opened_at(made.until_ms.ms()), Err(DelegationError::NotNow));
    assert_eq!(opened_at(made.made_at_ms.ms() - 1), Err(DelegationError::NotNow));
}

#[test]
fn a_chain_has_an_end_and_no_circle() {
    let mut held = of_dee();
    for number in 1..MAX_AGENTS {
        let to = format!("agent-{number}");
        let by = held.to.clone();
        held = Delegation::new(Delegator::Agent(&by, Some(&held)), wanted(&to, 1_000), at(NOW)).unwrap();
        assert_eq!(open(&token(&held), &to).as_ref(), Ok(&held));
    }
    let by = held.to.clone();
    let deeper = Delegation::new(Delegator::Agent(&by, Some(&held)), wanted("agent-9", 1_000), at(NOW));
    assert_eq!(deeper, Err(DelegationError::TooDeep));
    let circle =
        Delegation::new(Delegator::Agent(&id("holmes"), Some(&of_dee())), wanted("holmes", 1_000), at(NOW));
    assert_eq!(circle, Err(DelegationError::Circle(id("holmes"))));
    let stolen =
        Delegation::new(Delegator::Agent(&id("mallory"), Some(&of_dee())), wanted("m", 1_000), at(NOW));
    assert!(matches!(stolen, Err(DelegationError::NotTheirs { .. })));
}

#[test]
fn t19_a_delegation_is_for_one_agent_at_one_gate() {
    let honest = token(&of_dee());
    assert_eq!(
        open(&honest, "watson"),
        Err(DelegationError::NotTheirs { to: id("holmes"), by: id("watson") })
    );
    let elsewhere = [
        Naming { issuer: "other.example/log".to_owned(), ..naming() },
        Naming { audience: "other".to_owned(), ..naming() },
        Naming { domain: TrustDomain::parse("example.com").unwrap(), ..naming() },
    ];
    for naming in elsewhere {
        let opened = Delegation::open(&honest, &public(&gate()), &naming, &id("holmes"), at(NOW + 1));
        assert_eq!(opened, Err(DelegationError::OtherGate), "{naming:?}");
    }
    let other_key = Delegation::open(&honest, &public(&key(9)), &naming(), &id("holmes"), at(NOW + 1));
    assert_eq!(other_key, Err(DelegationError::Signature));
    for at in 0..honest.len() {
        let mut bytes = honest.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(open(&String::from_utf8(bytes).unwrap(), "holmes").is_err(), "byte {at} can be changed");
    }
}

/// What the gate's own key signed, in another spelling, of another type, or with other words: not what it writes.
#[test]
fn t19_a_delegation_has_one_spelling() {
    let honest = token(&of_dee());
    let kid = public(&gate()).thumbprint();
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"{DELEGATION_TYP}"}}"#);
    let said = claims(&honest);
    let signed = |header: &str, claims: &str| {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature = Signature::from_bytes(gate().sign(input.as_bytes()).to_bytes());
        open(&compact(&input, &signature), "holmes")
    };
    let canonical = serde_json::to_string(&said).unwrap();
    assert!(signed(&header, &canonical).is_ok(), "the honest one");
    for (case, header) in [
        ("another type", header.replace(DELEGATION_TYP, "holdpoint-permit+jwt")),
        ("no algorithm", header.replace("EdDSA", "none")),
        ("another key's id", header.replace(&kid.to_string(), "k")),
        ("a pointer to a key", header.replace('{', r#"{"jku":"https://x","#)),
    ] {
        assert_eq!(signed(&header, &canonical), Err(DelegationError::Malformed), "{case}");
    }
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change); 9] = [
        ("a name more", |claims| claims["scope"] = "all".into()),
        ("no end", |claims| _ = claims.as_object_mut().unwrap().remove("exp")),
        ("an end as a text", |claims| claims["exp"] = "1800000000".into()),
        ("an end with a fraction", |claims| claims["exp"] = 1_800_000_000.5.into()),
        ("two audiences", |claims| claims["aud"] = serde_json::json!(["holdpoint", "other"])),
        ("no actor", |claims| _ = claims.as_object_mut().unwrap().remove("act")),
        ("an actor in another phase", |claims| {
            claims["act"]["sub"] = "spiffe://example.org/agent/holmes/execute".into()
        }),
        ("a person who acts", |claims| claims["act"]["sub"] = "spiffe://example.org/person/dee".into()),
        ("a subject that is nobody", |claims| claims["sub"] = "dee".into()),
    ];
    for (case, change) in cases {
        let mut changed = said.clone();
        change(&mut changed);
        assert!(signed(&header, &changed.to_string()).is_err(), "{case}");
    }
    assert!(signed(&header, &canonical.replacen(':', ": ", 1)).is_err(), "white space");
    for text in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d"] {
        assert!(open(text, "holmes").is_err(), "{text}");
    }
}
