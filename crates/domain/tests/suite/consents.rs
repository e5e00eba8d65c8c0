//! What an executor checks by itself, with keys that the gate does not have: the people behind a permit.

use std::collections::BTreeMap;

use holdpoint_domain::{
    Oversight, Rung, Tier,
    approval::{ApprovalError, Choice},
    passkey::PasskeyError,
    permit::{Grant, PermitError},
    proof::{Credentials, ProofError},
    signature::SignatureError,
};

use super::{
    approvals::changed,
    support::{
        commitment, decision, digest, gate, grant, id, key, permit, pinned, pinned_keys, plan, public,
        signed_by, terms,
    },
};

fn held() -> Grant {
    grant(Rung::T3, &["ada"]).unwrap()
}

/// A signature that does not hold.
fn broken(err: impl Into<ProofError>) -> ApprovalError {
    ApprovalError::Signature(err.into())
}

/// Checks a grant that is signed with the gate's key, as a thief of that key could sign any.
fn check(grant: &Grant, floor: Tier) -> Result<Oversight, PermitError> {
    permit(grant).check_consents(&plan(), floor, 0, &pinned())
}

#[test]
fn a_permit_shows_the_oversight_that_was_obtained() {
    let one = Oversight { review_promised: true, approvals: 1, strong: false, fresh: false };
    assert_eq!(check(&held(), Tier::T1), Ok(one));
    assert_eq!(check(&held(), Tier::T3), Ok(one));
    let two = grant(Rung::T4, &["ada", "bob"]).unwrap();
    let all = Oversight { review_promised: true, approvals: 2, strong: true, fresh: true };
    assert_eq!(check(&two, Tier::T4), Ok(all));
    assert!(all.dominates(&Rung::T4.oversight()));
    // Where nobody was needed, a key in a file is no stronger.
    assert_eq!(check(&grant(Rung::T2, &["ada"]).unwrap(), Tier::T1), Ok(one));
    let none = grant(Rung::T1, &[]).unwrap();
    assert_eq!(check(&none, Tier::T1), Ok(Oversight::NONE));
}

#[test]
fn inv06_a_permit_below_the_catalogues_floor_needs_the_floors_people() {
    for rung in [Rung::T1, Rung::T2] {
        let alone = grant(rung, &[]).unwrap();
        let refusal = |floor| check(&alone, floor);
        let too_few = |tier, needed| Err(PermitError::Approvals { tier, needed, got: 0 });
        assert_eq!(refusal(Tier::T3), too_few(Tier::T3, 1));
        assert_eq!(refusal(Tier::T4), too_few(Tier::T4, 2));
        assert_eq!(refusal(Tier::T5), too_few(Tier::T5, u32::MAX));
    }
    let too_few = PermitError::Approvals { tier: Tier::T4, needed: 2, got: 1 };
    assert_eq!(check(&held(), Tier::T4), Err(too_few));
    let two = grant(Rung::T3, &["ada", "bob"]).unwrap();
    let by_keys = PermitError::NotStrong { needed: 2, got: 0 };
    assert_eq!(check(&two, Tier::T4), Err(by_keys), "two, but by keys in files");
    // A review is the gate's promise: what comes back does not dominate the floor's rung.
    let unreviewed = check(&grant(Rung::T1, &[]).unwrap(), Tier::T2).unwrap();
    assert!(!unreviewed.dominates(&Rung::T2.oversight()));
}

/// The number of people that an executor knows from a catalogue of its own, beside the tier's.
#[test]
fn inv06_a_permit_needs_the_people_that_an_executors_own_catalogue_asks_for() {
    let check = |approvers: &[&str], people| {
        permit(&grant(Rung::T3, approvers).unwrap()).check_consents(&plan(), Tier::T3, people, &pinned())
    };
    let too_few = |needed, got| Err(PermitError::Approvals { tier: Tier::T3, needed, got });
    assert_eq!(check(&["ada"], 2), too_few(2, 1));
    assert_eq!(check(&["ada", "ada", "ada"], 2), too_few(2, 1));
    assert_eq!(check(&["ada", "bob"], 3), too_few(3, 2));
    assert_eq!(check(&["ada", "bob", "cyd"], 3).map(|oversight| oversight.approvals), Ok(3));
    assert_eq!(check(&["ada"], 0).map(|oversight| oversight.approvals), Ok(1), "never less than the tier");
}

#[test]
fn inv04_approvers_keys_are_pinned_apart_from_the_gate() {
    let permit = permit(&held());
    let check = |keys: &BTreeMap<_, _>| permit.check_consents(&plan(), Tier::T3, 0, keys).map(drop);
    assert_eq!(check(&pinned()), Ok(()));
    assert_eq!(check(&BTreeMap::new()), Err(PermitError::UnknownApprover(id("ada"))));
    let mut others = pinned();
    others.remove(&id("ada"));
    assert_eq!(check(&others), Err(PermitError::UnknownApprover(id("ada"))));
    for wrong in [public(&key(2)), public(&gate())] {
        let mut keys = pinned();
        keys.insert(id("ada"), wrong.into());
        let mismatch = broken(SignatureError::Mismatch);
        assert_eq!(check(&keys), Err(PermitError::Approval(mismatch)));
    }
}

/// Whoever stole the gate's key can sign permits, but no consent.
#[test]
fn inv04_the_gates_key_signs_no_consent() {
    let terms = terms(&decision(Rung::T3));
    let mut forged = held();
    forged.approvals = vec![signed_by(&terms, "ada", Choice::Approve, &gate())];
    let mismatch = PermitError::Approval(broken(SignatureError::Mismatch));
    assert_eq!(check(&forged, Tier::T3), Err(mismatch));
    forged.approvals = vec![signed_by(&terms, "gate", Choice::Approve, &gate())];
    assert_eq!(check(&forged, Tier::T3), Err(PermitError::UnknownApprover(id("gate"))));
    forged.approvals.clear();
    assert_eq!(check(&forged, Tier::T3), Err(PermitError::OtherDecision));
    forged.terms = None;
    assert_eq!(check(&forged, Tier::T3), Err(PermitError::Approvals { tier: Tier::T3, needed: 1, got: 0 }));
}

/// Every field that a thief of the gate's key could change in a permit that people approved. Those that people signed are
/// refused; the rest is the gate's word alone, and this is the list of it.
#[test]
fn inv04_inv06_what_a_stolen_gate_key_cannot_change() {
    const GATES_WORD: [&str; 10] = [
        "epoch",
        "executors",
        "granted_at_ms",
        "head",
        "id",
        "nonce",
        "plan_id",
        "start_before_ms",
        "undo_until_ms",
        // More of the same consent changes nothing; its every leaf is refused below.
        "approvals",
    ];
    let asserted = grant(Rung::T4, &["ada", "bob"]).unwrap();
    let types = ["/approvals/0/statement/type", "/approvals/1/statement/type"];
    for (grant, people, fixed) in [(held(), 1, &types[..1]), (asserted, 2, &types)] {
        assert!(check(&grant, Tier::T1).is_ok());
        for (path, forged) in changed(&grant, fixed) {
            let field = path.split('/').nth(1).unwrap();
            match check(&forged, Tier::T1) {
                Err(_) => {}
                Ok(_) if path == "/approvals" => {
                    let distinct: std::collections::BTreeSet<_> =
                        forged.approvals.iter().map(|signed| signed.statement.approver.clone()).collect();
                    assert_eq!(distinct.len(), people, "{path}");
                }
                Ok(_) => assert!(GATES_WORD.contains(&field) && field != "approvals", "{path} was changed"),
            }
        }
    }
    // And named one by one, so that the list cannot shrink unseen.
    type Change = fn(&mut Grant);
    let refused: [(&str, Change); 9] = [
        ("plan", |grant| grant.plan = digest("other")),
        ("narrative", |grant| grant.narrative = commitment("other")),
        ("facts", |grant| grant.facts = digest("other")),
        ("decision", |grant| grant.decision = digest("other")),
        ("policy", |grant| grant.policy = digest("other")),
        ("a lower tier", |grant| grant.tier = Tier::T2),
        ("a higher tier", |grant| grant.tier = Tier::T4),
        ("no terms", |grant| grant.terms = None),
        ("another hold", |grant| grant.terms.as_mut().unwrap().hold = id("hold-2")),
    ];
    for (what, change) in refused {
        let mut forged = held();
        change(&mut forged);
        assert!(check(&forged, Tier::T1).is_err(), "{what}");
    }
}

/// People approved at T4; a permit that says T3 would need one of them only.
#[test]
fn t02_an_approval_for_a_higher_tier_is_none_for_a_lower_one() {
    let decision = decision(Rung::T4);
    let terms = terms(&decision);
    let mut forged = grant(Rung::T4, &["ada", "bob"]).unwrap();
    forged.approvals.truncate(1);
    assert_eq!(check(&forged, Tier::T1), Err(PermitError::Approvals { tier: Tier::T4, needed: 2, got: 1 }));
    forged.tier = Tier::T3;
    assert_eq!(terms.tier, Tier::T4);
    assert_eq!(check(&forged, Tier::T1), Err(PermitError::OtherDecision));
}

#[test]
fn t03_an_approval_of_one_plan_is_none_of_another() {
    let mut forged = held();
    let other = holdpoint_domain::plan::Plan::new(
        plan().requester().clone(),
        None,
        plan().trigger().clone(),
        plan().steps().to_vec(),
    )
    .unwrap();
    forged.plan = other.digest().unwrap();
    let refusal = permit(&forged).check_consents(&other, Tier::T1, 0, &pinned());
    assert_eq!(refusal, Err(PermitError::OtherDecision));
    // The terms are changed along with it: then it is not what ada signed.
    forged.terms.as_mut().unwrap().plan = forged.plan;
    let refusal = permit(&forged).check_consents(&other, Tier::T1, 0, &pinned());
    assert_eq!(refusal, Err(PermitError::Approval(ApprovalError::OtherTerms("plan"))));
    forged.approvals[0].statement.terms.plan = forged.plan;
    let refusal = permit(&forged).check_consents(&other, Tier::T1, 0, &pinned());
    let mismatch = broken(SignatureError::Mismatch);
    assert_eq!(refusal, Err(PermitError::Approval(mismatch)));
}

#[test]
fn inv05_rejections_requesters_and_repetitions_in_a_permit() {
    let terms = terms(&decision(Rung::T3));
    let by = |who: &str, number: u8, choice| signed_by(&terms, who, choice, &key(number));
    let mut forged = held();
    forged.approvals = vec![by("ada", 1, Choice::Approve), by("bob", 2, Choice::Reject)];
    assert_eq!(check(&forged, Tier::T3), Err(PermitError::Rejected(id("bob"))));
    forged.approvals = vec![by("dee", 4, Choice::Approve)];
    let own = ApprovalError::Requester(id("dee"));
    assert_eq!(check(&forged, Tier::T3), Err(PermitError::Approval(own)));
    forged.approvals = vec![by("ada", 1, Choice::Approve); 3];
    assert_eq!(check(&forged, Tier::T4), Err(PermitError::Approvals { tier: Tier::T4, needed: 2, got: 1 }));
}

/// A thief of the gate's key has keys of people in files as well: what those sign is no strong authentication, whatever the permit
/// says, and neither are two people whom one act enrolled.
#[test]
fn inv05_t11_an_executor_counts_passkeys_of_different_acts_only() {
    let terms = terms(&decision(Rung::T4));
    let mut forged = grant(Rung::T4, &["ada", "bob"]).unwrap();
    assert!(check(&forged, Tier::T4).is_ok());
    let by_key = |who, number| signed_by(&terms, who, Choice::Approve, &key(number));
    for (approvals, got) in [
        (vec![by_key("ada", 1), by_key("bob", 2)], 0),
        (vec![by_key("ada", 1), forged.approvals[1].clone()], 1),
        (vec![by_key("ada", 1), forged.approvals[1].clone(), forged.approvals[1].clone()], 1),
    ] {
        forged.approvals = approvals;
        assert_eq!(check(&forged, Tier::T4), Err(PermitError::NotStrong { needed: 2, got }));
    }
    // One act enrolled both.
    let one = grant(Rung::T4, &["ada", "bob"]).unwrap();
    let act = |act: &str| {
        let mut pinned = pinned();
        pinned.get_mut(&id("bob")).unwrap().passkeys[0].act = id(act);
        permit(&one).check_consents(&plan(), Tier::T4, 0, &pinned).map(drop)
    };
    assert_eq!(act("act-ada"), Err(PermitError::OneAct));
    assert_eq!(act("act-bob"), Ok(()));
    // Their keys alone are pinned.
    let refusal = permit(&one).check_consents(&plan(), Tier::T4, 0, &pinned_keys());
    assert_eq!(refusal, Err(PermitError::Approval(ProofError::UnknownPasskey.into())));
    // One person's assertion under the other's name.
    let mut stolen = one.clone();
    stolen.approvals[0].signature = stolen.approvals[1].signature.clone();
    let refusal = permit(&stolen).check_consents(&plan(), Tier::T4, 0, &pinned());
    assert_eq!(refusal, Err(PermitError::Approval(ProofError::UnknownPasskey.into())));
    let mut both: BTreeMap<_, Credentials> = pinned();
    let bobs = both[&id("bob")].passkeys.clone();
    both.get_mut(&id("ada")).unwrap().passkeys.extend(bobs);
    let refusal = permit(&stolen).check_consents(&plan(), Tier::T4, 0, &both);
    assert_eq!(refusal, Err(PermitError::Approval(broken(PasskeyError::Challenge))));
}

#[test]
fn inv05_t25_a_permit_granted_after_its_hold_ended_is_refused() {
    let mut late = held();
    let end = late.terms.as_ref().unwrap().expires_at_ms;
    late.granted_at_ms = end;
    let expired = ApprovalError::Expired { expired: end, now: end };
    assert_eq!(check(&late, Tier::T1), Err(PermitError::Approval(expired)));
}
