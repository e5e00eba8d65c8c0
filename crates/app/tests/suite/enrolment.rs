//! How people come by passkeys, and who must not be able to make one for somebody else.

use holdpoint_app::{
    change::propose,
    enrol::{invite, open, redeem},
    fake::{Setup, Stage, controls::id, session},
};
use holdpoint_domain::{
    Id, Millis,
    agent::{Person, Registry},
    change::Control,
    id::kind,
    passkey::{Authenticator, Passkey},
};

use super::support::{started, wait};

fn passkey(act: Id<kind::Act>) -> Passkey {
    Authenticator::new([77; 32], "http://localhost:7070", act).unwrap().passkey
}

#[test]
fn inv13_nobody_invites_somebody_and_is_the_only_one_to_approve_their_passkey() {
    let stage = started(Setup::default());
    let asked = |by: &str, who: &str| wait(invite(&stage.gate, &session(by), &id(who)));
    // Bob and Carol are the administrators. Of Bob's passkey Carol alone decides, so she does not invite him.
    assert_eq!(asked("carol", "bob").unwrap_err().rule, "invites-and-approves");
    assert!(asked("bob", "bob").is_ok());
    // Of Alice's both decide.
    assert!(asked("carol", "alice").is_ok());
    assert_eq!(asked("alice", "alice").unwrap_err().rule, "not-an-administrator");
}

/// A registry in which these people have these passkeys.
fn registry(stage: &Stage, passkeys: impl Fn(&mut Vec<Person>)) -> Registry {
    let now = &stage.gate.controls.registry;
    let mut people: Vec<_> = now.people().cloned().collect();
    passkeys(&mut people);
    Registry::new(now.agents().cloned().collect(), people).unwrap()
}

#[test]
fn inv05_no_change_but_an_enrolment_brings_a_passkey() {
    let made = |act: &str| passkey(id(act));
    let edits: [fn(&mut Vec<Person>, Passkey); 3] = [
        |people, new| people[0].passkeys.push(new),
        // Somebody else's, of one whom two administrators trusted.
        |people, _| {
            let moved = people[0].passkeys.pop().unwrap();
            people[1].passkeys.push(moved);
        },
        // The same one, as if another act had brought it: two of one act do not count as two people's.
        |people, new| people[0].passkeys[0].act = new.act,
    ];
    for edit in edits {
        let stage = started(Setup::default());
        let changed = registry(&stage, |people| edit(people, made("act-x")));
        stage.inputs.say(move |controls| controls.registry = changed.clone());
        let files = [("registry".to_owned(), "second".to_owned())].into();
        let asked = wait(propose(&stage.gate, &session("bob"), Control::Registry, files));
        assert_eq!(asked.unwrap_err().rule, "not-enrolled");
        // Nor does an enrolment bring another one than its own.
        let invited = wait(invite(&stage.gate, &session("bob"), &id("bob"))).unwrap();
        let act = invited.invitation.act;
        let redeemed = wait(redeem(&stage.gate, &act, &invited.secret, passkey(act.clone())));
        assert_eq!(redeemed.unwrap_err().rule, "not-enrolled");
    }
    // Taking one away needs no invitation.
    let stage = started(Setup::default());
    let changed = registry(&stage, |people| people[0].passkeys.clear());
    stage.inputs.say(move |controls| controls.registry = changed.clone());
    let files = [("registry".to_owned(), "second".to_owned())].into();
    assert!(wait(propose(&stage.gate, &session("bob"), Control::Registry, files)).is_ok());
}

#[test]
fn t05_an_invitation_is_good_once_and_in_its_time_and_for_its_secret() {
    let stage = started(Setup::default());
    let invited = wait(invite(&stage.gate, &session("bob"), &id("bob"))).unwrap();
    let act = invited.invitation.act.clone();
    assert!(format!("{invited:?}").contains("***"), "the secret is not shown");
    assert!(wait(open(&stage.gate, &act, &[0; 32])).is_err());
    assert!(wait(open(&stage.gate, &id("act-other"), &invited.secret)).is_err());
    let terms = wait(redeem(&stage.gate, &act, &invited.secret, passkey(act.clone()))).unwrap();
    assert_eq!((terms.author.as_str(), terms.needed), ("bob", 1));
    let again = wait(redeem(&stage.gate, &act, &invited.secret, passkey(act.clone()))).unwrap_err();
    assert_eq!(again.rule, "no-such-invitation");

    let late = wait(invite(&stage.gate, &session("bob"), &id("bob"))).unwrap();
    stage.clock.advance(Millis::secs(24 * 60 * 60));
    assert!(wait(open(&stage.gate, &late.invitation.act, &late.secret)).is_err());
}
