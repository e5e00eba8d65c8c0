//! Grants: no permit without a decision, and no permit without the people that its tier needs.

use holdpoint_domain::{
    Rung, Tier,
    approval::{ApprovalError, Choice},
    decision::Answer,
    permit::{Grant, GrantParts, MAX_START_MS, PermitError, needed},
    quorum::Missing,
    time::MAX_MS,
};

use super::{
    quorums::quorum,
    support::{
        NOW, allow_from, at, commitment, consent, counted, decide_one, decision, digest, facts, grant, head,
        id, key, parts, pinned, plan, raw_decision, signed, signed_by, terms,
    },
};

#[test]
fn each_tier_needs_its_people() {
    let wanted = [(Tier::T0, 0), (Tier::T1, 0), (Tier::T2, 0), (Tier::T3, 1), (Tier::T4, 2)];
    for (tier, people) in wanted {
        assert_eq!(needed(tier), people, "{tier}");
    }
    assert_eq!(needed(Tier::T5), u32::MAX, "no number of people is enough for T5");

    let approvals = |rung, who: &[&str]| grant(rung, who).map(|grant| grant.approvals.len());
    assert_eq!(approvals(Rung::T1, &[]), Ok(0));
    assert_eq!(approvals(Rung::T2, &[]), Ok(0));
    assert_eq!(approvals(Rung::T3, &["ada"]), Ok(1));
    assert_eq!(approvals(Rung::T4, &["ada", "bob"]), Ok(2));
    let too_few = |tier, needed, got| Err(PermitError::Approvals { tier, needed, got });
    assert_eq!(approvals(Rung::T3, &[]), too_few(Tier::T3, 1, 0));
    assert_eq!(approvals(Rung::T4, &[]), too_few(Tier::T4, 2, 0));
    assert_eq!(approvals(Rung::T4, &["ada"]), too_few(Tier::T4, 2, 1));
}

#[test]
fn inv05_the_same_person_twice_counts_once() {
    let twice = grant(Rung::T4, &["ada", "ada", "ada"]);
    assert_eq!(twice, Err(PermitError::Approvals { tier: Tier::T4, needed: 2, got: 1 }));
}

#[test]
fn inv05_t4_needs_strong_authentication() {
    let decision = decision(Rung::T4);
    let terms = terms(&decision);
    let by_key = |who, number| counted(signed_by(&terms, who, Choice::Approve, &key(number)), &terms);
    let by_passkey = |who| consent(&terms, who, Choice::Approve);
    let granted = |consents: &[_]| Grant::new(&decision, &plan(), consents, parts()).map(drop);
    assert_eq!(granted(&[by_passkey("ada"), by_passkey("bob")]), Ok(()));
    for (consents, got) in [
        (vec![by_key("ada", 1), by_key("bob", 2)], 0),
        (vec![by_key("ada", 1), by_key("bob", 2), by_key("cyd", 3)], 0),
        (vec![by_key("ada", 1), by_passkey("bob")], 1),
        (vec![by_key("ada", 1), by_key("cyd", 3), by_passkey("bob")], 1),
    ] {
        assert_eq!(granted(&consents), Err(PermitError::NotStrong { needed: 2, got }), "{consents:?}");
    }
    // A key beside two passkeys takes nothing away.
    assert_eq!(granted(&[by_key("ada", 1), by_passkey("bob"), by_passkey("cyd")]), Ok(()));
}

/// The catalogue asks for more than the tier does: for people, or for some of certain teams.
#[test]
fn inv05_a_permit_has_the_people_whom_the_catalogue_asks_for() {
    let (decision, teams) = (decision(Rung::T3), [("ada", "dba"), ("bob", "security"), ("cyd", "dba")]);
    let terms = terms(&decision);
    let granted = |needed, groups: &[&[&str]], who: &[&str]| {
        let consents: Vec<_> = who.iter().map(|who| consent(&terms, who, Choice::Approve)).collect();
        let teams = teams.map(|(person, team)| (id(person), [id(team)].into())).into();
        let parts = GrantParts { asked: Some(quorum(needed, groups)), teams, ..parts() };
        Grant::new(&decision, &plan(), &consents, parts).map(drop)
    };
    let too_few = |needed, got| Err(PermitError::Approvals { tier: Tier::T3, needed, got });
    assert_eq!(granted(3, &[], &["ada", "bob"]), too_few(3, 2));
    assert_eq!(granted(3, &[], &["ada", "bob", "ada"]), too_few(3, 2));
    assert_eq!(granted(3, &[], &["ada", "bob", "cyd"]), Ok(()));
    let missing = |group: &str| {
        let groups = quorum(1, &[&[group]]).groups().to_vec();
        Err(PermitError::Missing(Missing { approvals: 1, groups }))
    };
    assert_eq!(granted(1, &[&["security"]], &["ada"]), missing("security"));
    assert_eq!(granted(1, &[&["security"]], &["ada", "cyd"]), missing("security"));
    assert_eq!(granted(1, &[&["security"]], &["bob"]), Ok(()));
    assert_eq!(granted(2, &[&["dba"], &["dba"]], &["ada", "bob"]), missing("dba"));
    assert_eq!(granted(2, &[&["dba"], &["dba"]], &["ada", "cyd"]), Ok(()));
    // Whom nobody knows is in no team.
    let stranger = GrantParts { asked: Some(quorum(1, &[&["dba"]])), ..parts() };
    let consents = [consent(&terms, "ada", Choice::Approve)];
    assert_eq!(Grant::new(&decision, &plan(), &consents, stranger).map(drop), missing("dba"));
}

/// At T4 everybody who is needed has a passkey, and each one of an act of their own.
#[test]
fn inv05_t11_at_t4_all_whom_the_catalogue_asks_for_are_strong() {
    let decision = decision(Rung::T4);
    let terms = terms(&decision);
    let asked = || GrantParts { asked: Some(quorum(3, &[])), ..parts() };
    let granted = |consents: &[_]| Grant::new(&decision, &plan(), consents, asked()).map(drop);
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(|who| consent(&terms, who, Choice::Approve));
    let by_key = counted(signed_by(&terms, "cyd", Choice::Approve, &key(3)), &terms);
    assert_eq!(granted(&[ada.clone(), bob.clone(), cyd]), Ok(()));
    let weak = Err(PermitError::NotStrong { needed: 3, got: 2 });
    assert_eq!(granted(&[ada.clone(), bob.clone(), by_key]), weak);
    let mut credentials = pinned()[&id("cyd")].clone();
    credentials.passkeys[0].act = id("act-ada");
    let same = signed(&terms, "cyd", Choice::Approve);
    let same = same.check(&terms, &credentials, plan().requester(), at(NOW)).unwrap();
    assert_eq!(granted(&[ada, bob, same]), Err(PermitError::OneAct));
}

/// Two names that one act enrolled can be one person with two names.
#[test]
fn inv05_t11_t4_needs_people_of_different_acts() {
    let decision = decision(Rung::T4);
    let terms = terms(&decision);
    let of_act = |who: &str, act: &str| {
        let mut credentials = pinned()[&id(who)].clone();
        credentials.passkeys[0].act = id(act);
        let signed = signed(&terms, who, Choice::Approve);
        signed.check(&terms, &credentials, plan().requester(), at(NOW)).unwrap()
    };
    let granted = |consents: &[_]| Grant::new(&decision, &plan(), consents, parts()).map(drop);
    assert_eq!(granted(&[of_act("ada", "one"), of_act("bob", "one")]), Err(PermitError::OneAct));
    let three = [of_act("ada", "one"), of_act("bob", "one"), of_act("cyd", "one")];
    assert_eq!(granted(&three), Err(PermitError::OneAct));
    assert_eq!(granted(&[of_act("ada", "one"), of_act("bob", "two")]), Ok(()));
    let three = [of_act("ada", "one"), of_act("bob", "one"), of_act("cyd", "two")];
    assert_eq!(granted(&three), Ok(()), "two of them differ");
    // One person with two acts is one person.
    let twice = [of_act("ada", "one"), of_act("ada", "two")];
    assert_eq!(granted(&twice), Err(PermitError::Approvals { tier: Tier::T4, needed: 2, got: 1 }));
}

#[test]
fn inv05_one_rejection_wins_over_any_number_of_consents() {
    let decision = decision(Rung::T3);
    let terms = terms(&decision);
    for no in 0..3 {
        let consents: Vec<_> = ["ada", "bob", "cyd"]
            .iter()
            .enumerate()
            .map(|(at, who)| consent(&terms, who, if at == no { Choice::Reject } else { Choice::Approve }))
            .collect();
        let refusal = Grant::new(&decision, &plan(), &consents, parts());
        assert_eq!(refusal, Err(PermitError::Rejected(id(["ada", "bob", "cyd"][no]))));
    }
    // The one who approved and thought better of it has rejected.
    let consents = [consent(&terms, "ada", Choice::Approve), consent(&terms, "ada", Choice::Reject)];
    let refusal = Grant::new(&decision, &plan(), &consents, parts());
    assert_eq!(refusal, Err(PermitError::Rejected(id("ada"))));
}

#[test]
fn there_is_no_permit_without_an_allow_or_a_hold() {
    let mut halted = facts();
    halted.brakes.halted = true;
    let mut unknown = facts();
    unknown.trigger.agreement = super::support::agreement(holdpoint_domain::trigger::Truth::Indeterminate);
    for (facts, answer) in [(halted, Answer::Deny), (unknown, Answer::Defer)] {
        let decision = decide_one(&facts, &allow_from(Rung::T1));
        assert_eq!(decision.answer, answer);
        let consents = [consent(&terms(&decision), "ada", Choice::Approve)];
        for consents in [&consents[..], &[]] {
            let refusal = Grant::new(&decision, &plan(), consents, parts());
            assert_eq!(refusal, Err(PermitError::NotAllowed(answer)));
        }
    }
}

/// A decision that contradicts itself, as only a bug or a forgery makes it, opens nothing.
#[test]
fn a_decision_that_contradicts_itself_needs_the_people_of_its_tier() {
    for (answer, tier) in [
        (Answer::Allow, Tier::T3),
        (Answer::Allow, Tier::T4),
        (Answer::Allow, Tier::T5),
        (Answer::Hold, Tier::T0),
        (Answer::Hold, Tier::T1),
        (Answer::Hold, Tier::T2),
        (Answer::Hold, Tier::T5),
    ] {
        let refusal = Grant::new(&raw_decision(answer, tier), &plan(), &[], parts());
        assert!(matches!(refusal, Err(PermitError::Approvals { .. })), "{answer} at {tier}: {refusal:?}");
    }
    let decision = raw_decision(Answer::Hold, Tier::T5);
    let terms = terms(&decision);
    let everybody: Vec<_> =
        ["ada", "bob", "cyd"].iter().map(|who| consent(&terms, who, Choice::Approve)).collect();
    let refusal = Grant::new(&decision, &plan(), &everybody, parts());
    assert!(matches!(refusal, Err(PermitError::Approvals { .. })), "{refusal:?}");
}

#[test]
fn t01_t03_consents_to_something_else_do_not_count() {
    let decision = decision(Rung::T3);
    let good = terms(&decision);
    type Change = fn(&mut holdpoint_domain::approval::HoldTerms);
    let changes: [(&str, Change); 6] = [
        ("plan", |terms| terms.plan = digest("other")),
        ("decision", |terms| terms.decision = digest("other")),
        ("narrative", |terms| terms.narrative = commitment("other")),
        ("facts", |terms| terms.facts = digest("other")),
        ("policy", |terms| terms.policy = digest("other")),
        ("tier", |terms| terms.tier = Tier::T2),
    ];
    for (field, change) in changes {
        let mut other = good.clone();
        change(&mut other);
        let about_other = consent(&other, "ada", Choice::Approve);
        for consents in [vec![about_other.clone()], vec![consent(&good, "bob", Choice::Approve), about_other]]
        {
            let refusal = Grant::new(&decision, &plan(), &consents, parts());
            assert_eq!(refusal, Err(PermitError::OtherDecision), "{field}");
        }
    }
    assert!(Grant::new(&decision, &plan(), &[consent(&good, "ada", Choice::Approve)], parts()).is_ok());
}

#[test]
fn t03_consents_to_two_holds_of_one_plan_never_add_up() {
    let decision = decision(Rung::T4);
    let first = terms(&decision);
    let mut second = first.clone();
    (second.hold, second.nonce) = (id("hold-2"), id("nonce-9"));
    let consents = [consent(&first, "ada", Choice::Approve), consent(&second, "bob", Choice::Approve)];
    assert_eq!(Grant::new(&decision, &plan(), &consents, parts()), Err(PermitError::OtherDecision));
}

#[test]
fn inv05_t25_no_permit_after_the_end_of_the_hold() {
    let decision = decision(Rung::T3);
    let terms = terms(&decision);
    let end = terms.expires_at_ms;
    let grant_at = |granted: u64| {
        let parts = GrantParts {
            granted_at: at(granted),
            start_before: at(granted + 1),
            undo_until: at(granted + 1),
            ..parts()
        };
        Grant::new(&decision, &plan(), &[consent(&terms, "ada", Choice::Approve)], parts).map(drop)
    };
    assert_eq!(grant_at(end.ms() - 1), Ok(()));
    for late in [end.ms(), end.ms() + 1] {
        let expired = ApprovalError::Expired { expired: end, now: at(late) };
        assert_eq!(grant_at(late), Err(PermitError::Approval(expired)));
    }
}

#[test]
fn t25_times_of_a_grant_are_in_order_and_short() {
    let decision = decision(Rung::T1);
    let grant = |granted: u64, start: u64, undo: u64| {
        let parts =
            GrantParts { granted_at: at(granted), start_before: at(start), undo_until: at(undo), ..parts() };
        Grant::new(&decision, &plan(), &[], parts).map(drop)
    };
    let longest = NOW + MAX_START_MS;
    for (granted, start, undo) in
        [(NOW, NOW + 1, NOW + 1), (NOW, longest, longest), (0, 1, 1), (MAX_MS - 1, MAX_MS, MAX_MS)]
    {
        assert_eq!(grant(granted, start, undo), Ok(()), "{granted} {start} {undo}");
    }
    for (what, granted, start, undo) in [
        ("no time to start", NOW, NOW, NOW),
        ("no time to start, but to undo", NOW, NOW, NOW + 1),
        ("start before the grant", NOW, NOW - 1, NOW),
        ("undo ends before the start", NOW, NOW + 2, NOW + 1),
        ("undo ends before the grant", NOW, NOW + 2, NOW - 1),
        ("everything zero", 0, 0, 0),
        ("zero is not for ever", NOW, 0, 0),
        ("undo without an end", NOW, NOW + 1, 0),
        ("too long to start", NOW, longest + 1, longest + 1),
        ("for ever", NOW, MAX_MS, MAX_MS),
    ] {
        assert_eq!(grant(granted, start, undo), Err(PermitError::Times), "{what}");
    }
}

/// What a grant says comes from the decision and the consents, not from the caller.
#[test]
fn a_grant_carries_what_was_decided_and_who_approved() {
    let decision = decision(Rung::T3);
    let grant = grant(Rung::T3, &["ada", "bob"]).unwrap();
    assert_eq!(grant.plan, plan().digest().unwrap());
    assert_eq!((grant.facts, grant.policy, grant.tier), (decision.facts, decision.policy, decision.tier));
    assert_eq!(grant.decision, decision.digest().unwrap());
    assert_eq!(grant.terms, Some(terms(&decision)));
    let approvals = ["ada", "bob"].map(|who| signed(&terms(&decision), who, Choice::Approve));
    assert_eq!(grant.approvals, approvals);
    assert_eq!((grant.head, grant.epoch), (head(), 7));
}
