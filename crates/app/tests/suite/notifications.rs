//! Telling people: who is told what and when, at least once and with one id, and never so that anything waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use holdpoint_app::{
    fake::{Deed, Setup, Stage, controls::id, controls::ids},
    halt,
    notify::{
        Escalation, Event, MAX_WAITING, Message, OnCall, Outbox, Planned, Route, Rules, Teller, TellerPorts,
        Told, Who, Why, kind,
    },
    port::{Clock as _, MemoryError, Notifier, NotifyMemory, SendError, Store as _},
};
use holdpoint_domain::{
    Id, Millis, Tier, Timestamp, approval::Choice, flow::State, halt::Reach, id::kind::Person,
};

use super::{
    reviews::reviewed,
    support::{approved, audit, count, decide, held, proposed, recovered, run_it, started, state, wait},
};

/// Channels that take everything, or refuse for a while.
#[derive(Default)]
struct Channels {
    sent: Mutex<Vec<(String, Message)>>,
    dead: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Notifier for Channels {
    async fn send(&self, channel: &Id<kind::Channel>, message: &Message) -> Result<(), SendError> {
        if self.dead.lock().unwrap().contains(channel.as_str()) {
            return Err(SendError::Refused(503));
        }
        self.sent.lock().unwrap().push((channel.to_string(), message.clone()));
        Ok(())
    }
}

/// A memory that outlives its teller.
#[derive(Default)]
struct Memory {
    text: Mutex<Option<String>>,
    fails: Mutex<bool>,
}

#[async_trait]
impl NotifyMemory for Memory {
    async fn load(&self) -> Result<Option<String>, MemoryError> {
        Ok(self.text.lock().unwrap().clone())
    }

    async fn keep(&self, text: String) -> Result<(), MemoryError> {
        if *self.fails.lock().unwrap() {
            return Err(MemoryError("no room".to_owned()));
        }
        *self.text.lock().unwrap() = Some(text);
        Ok(())
    }
}

/// `primary` is alice's, always.
struct Always;

impl OnCall for Always {
    fn on_call(&self, rota: &Id<kind::Rota>, _: Timestamp) -> Option<Id<Person>> {
        (rota.as_str() == "primary").then(|| id("alice"))
    }
}

pub(super) struct Post {
    channels: Arc<Channels>,
    memory: Arc<Memory>,
    rules: Rules,
    teller: Option<Teller>,
}

impl Post {
    pub(super) fn open(stage: &Stage, rules: Rules) -> Self {
        let (channels, memory) = (Arc::default(), Arc::default());
        let mut post = Self { channels, memory, rules, teller: None };
        post.restart(stage);
        post
    }

    /// The process is killed, and starts anew over what the memory kept.
    fn restart(&mut self, stage: &Stage) {
        let ports = TellerPorts {
            store: stage.store.clone(),
            clock: stage.clock.clone(),
            notifier: self.channels.clone(),
            memory: self.memory.clone(),
            on_call: Arc::new(Always),
        };
        self.teller = Some(wait(Teller::open(ports, self.rules.clone())).unwrap());
    }

    pub(super) fn teller(&self) -> &Teller {
        self.teller.as_ref().unwrap()
    }

    /// One look, and everything that can be sent now.
    pub(super) fn round(&self) {
        wait(self.teller().look()).unwrap();
        for channel in self.teller().channels() {
            while wait(self.teller().deliver(&channel)) {}
        }
        wait(self.teller().keep()).unwrap();
    }

    /// What was sent since this was last asked: channel, event, minutes, and whom.
    pub(super) fn told(&self) -> Vec<String> {
        let sent = std::mem::take(&mut *self.channels.sent.lock().unwrap());
        let line = |(channel, message): (String, Message)| {
            let after = message.after_minutes.map_or_else(String::new, |minutes| format!(" after {minutes}"));
            let to: Vec<_> = message.to.iter().map(Id::as_str).collect();
            format!("{channel}: {}{after} {}", message.event.as_str(), to.join("+")).trim_end().to_owned()
        };
        sent.into_iter().map(line).collect()
    }

    /// Kills a channel.
    pub(super) fn dies(&self, channel: &str) {
        self.channels.dead.lock().unwrap().insert(channel.to_owned());
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.channels.sent.lock().unwrap())
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }
}

pub(super) fn told(channels: &[&str], who: Vec<Who>) -> Told {
    Told { channels: ids(channels), who }
}

pub(super) fn people(names: &[&str]) -> Who {
    Who::People(ids(names))
}

pub(super) fn route(events: &[Event], first: Told) -> Route {
    Route {
        events: events.iter().copied().collect(),
        environments: BTreeSet::new(),
        teams: BTreeSet::new(),
        tiers: BTreeSet::new(),
        first,
        escalate: Vec::new(),
    }
}

pub(super) fn rules(routes: Vec<Route>) -> Rules {
    let link_base = "https://holdpoint.example.org".to_owned();
    Rules { link_base, routes, everybody: Told::default() }
}

/// All events over one channel, to nobody in particular.
fn everything() -> Rules {
    rules(vec![route(&Event::ALL, told(&["hook"], Vec::new()))])
}

/// A hold tells whoever is on call by mail and the chat, bob after 5 minutes, carol after 10.
fn escalating() -> Rules {
    let on_call = Who::OnCall(id("primary"));
    let mut route = route(&[Event::Held], told(&["mail", "chat"], vec![on_call]));
    for (after_minutes, name) in [(5, "bob"), (10, "carol")] {
        route.escalate.push(Escalation { after_minutes, told: told(&["mail"], vec![people(&[name])]) });
    }
    rules(vec![route])
}

#[test]
fn a_hold_is_told_at_once_and_to_the_next_ones_while_nobody_answers() {
    let stage = started(Setup::default());
    let post = Post::open(&stage, escalating());
    post.round();
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    post.round();
    assert_eq!(post.told(), ["chat: held alice", "mail: held alice"]);
    post.round();
    assert_eq!(post.told(), [] as [&str; 0], "once");
    stage.clock.advance(Millis::secs(5 * 60 - 1));
    post.round();
    assert_eq!(post.told(), [] as [&str; 0]);
    stage.clock.advance(Millis::secs(1));
    post.round();
    assert_eq!(post.told(), ["mail: held after 5 bob"]);
    approved(&stage, "bob", &terms);
    stage.clock.advance(Millis::secs(5 * 60));
    post.round();
    assert_eq!(post.told(), [] as [&str; 0], "it was answered");
    assert_eq!(state(&stage, &plan), State::Permitted);
}

#[test]
fn a_reminder_never_moves_the_end_of_a_hold() {
    // Two of the same: one with people who are reminded again and again, one that nobody hears of.
    let end = |reminded: bool| {
        let stage = started(Setup::default());
        let mut every_minute = escalating();
        every_minute.routes[0].escalate = (1..15)
            .map(|after_minutes| Escalation { after_minutes, told: told(&["mail"], vec![people(&["bob"])]) })
            .collect();
        let post = Post::open(&stage, every_minute);
        let (plan, terms) = held(&stage, "cache.drop", "worker-1");
        let mut reminders = 0;
        let size = stage.store.head().size;
        while stage.clock.now() < terms.expires_at_ms {
            assert_eq!(state(&stage, &plan), State::Held);
            if reminded {
                post.round();
                reminders += post.told().len();
            }
            recovered(&stage);
            assert_eq!(wait(stage.view(&plan)).unwrap().terms.as_ref(), Some(&terms));
            assert!(
                state(&stage, &plan) == State::Held && stage.store.head().size == size,
                "nothing is recorded"
            );
            stage.clock.advance(Millis::secs(30));
        }
        recovered(&stage);
        assert_eq!(state(&stage, &plan), State::Expired, "nobody answered: denied");
        // Late is too late, whoever was reminded.
        assert!(decide(&stage, "bob", &terms, Choice::Approve).is_err());
        audit(&stage);
        assert_eq!(reminders > 10, reminded, "{reminders} reminders");
        stage.clock.now().since(terms.expires_at_ms)
    };
    assert_eq!(end(true), end(false));
}

#[test]
fn every_end_of_a_plan_is_told_with_its_reason() {
    let stage = started(Setup::default());
    let post = Post::open(&stage, everything());
    post.round();
    let (_, terms) = held(&stage, "cache.drop", "worker-1");
    decide(&stage, "bob", &terms, Choice::Reject).unwrap();
    post.round();
    // The hold was over before anybody could be told of it.
    assert_eq!(post.told(), ["hook: rejected"]);

    let (_, terms) = held(&stage, "cache.drop", "worker-1");
    stage.clock.advance(terms.expires_at_ms.since(stage.clock.now()));
    recovered(&stage);
    post.round();
    let messages = post.messages();
    let last = messages.last().unwrap();
    assert_eq!((last.event, last.about.why), (Event::Expired, Some(Why::Unanswered)));

    for (deed, expected) in [
        (Deed::Works, vec!["hook: succeeded", "hook: review_owed"]),
        (Deed::NotDone, vec!["hook: failed"]),
        (Deed::Partial, vec!["hook: in_doubt"]),
    ] {
        let stage = started(Setup::default());
        let post = Post::open(&stage, everything());
        post.round();
        stage.world.apply(deed);
        let plan = proposed(&stage, "flag.switch", "worker-1").id;
        run_it(&stage, &plan).unwrap();
        post.round();
        let told = post.told();
        for line in &expected {
            assert!(told.iter().any(|told| told == line), "{deed:?}: {line} is not in {told:?}");
        }
    }
}

#[test]
fn a_review_is_told_when_it_is_due_and_when_it_is_overdue() {
    for looks in [true, false] {
        let stage = started(Setup::default());
        let post = Post::open(
            &stage,
            rules(vec![route(
                &[Event::ReviewOwed, Event::ReviewOverdue],
                told(&["mail"], vec![people(&["bob"])]),
            )]),
        );
        post.round();
        let plan = proposed(&stage, "flag.switch", "worker-1").id;
        assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
        post.round();
        assert_eq!(post.told(), ["mail: review_owed bob"]);
        if looks {
            let yes = holdpoint_domain::aftercare::Answers {
                trigger_was_real: true,
                did_what_it_should: true,
                may_go_on: true,
            };
            reviewed(&stage, "bob", &plan, yes).unwrap();
        }
        stage.clock.advance(Millis::secs(2 * 24 * 60 * 60));
        post.round();
        let expected: &[&str] = if looks { &[] } else { &["mail: review_overdue bob"] };
        assert_eq!(post.told(), expected);
        post.round();
        assert_eq!(post.told(), [] as [&str; 0], "once");
    }
}

#[test]
fn a_halt_is_told_and_its_end() {
    let stage = started(Setup::default());
    let post = Post::open(&stage, everything());
    post.round();
    wait(halt::halt(&stage.gate, &holdpoint_app::fake::session("bob"), Reach::Soft)).unwrap();
    post.round();
    assert_eq!(post.told(), ["hook: halted"]);
    assert_eq!(count(&stage, "halted"), 1);
}

#[test]
fn rules_choose_by_environment_team_tier_and_event_and_what_has_none_fits_all() {
    let stage = started(Setup::default());
    let (_, _) = held(&stage, "cache.drop", "worker-1");
    let view = Post::open(&stage, everything());
    view.round();
    let about = view.messages().pop().unwrap().about;
    let all = route(&[Event::Held, Event::Halted], told(&["hook"], Vec::new()));
    let cases = [
        (Route { ..all.clone() }, true),
        (Route { environments: ids(&["production"]), ..all.clone() }, true),
        (Route { environments: ids(&["staging"]), ..all.clone() }, false),
        (
            Route { teams: ids(&["shop-team", "sre"]), ..all.clone() },
            about_owner(&about, &["shop-team", "sre"]),
        ),
        (Route { teams: ids(&["nobodys"]), ..all.clone() }, false),
        (Route { tiers: [Tier::T3].into(), ..all.clone() }, true),
        (Route { tiers: [Tier::T4].into(), ..all.clone() }, false),
        (Route { events: [Event::Expired].into(), ..all.clone() }, false),
    ];
    for (route, fits) in cases {
        assert_eq!(route.fits(Event::Held, &about), fits, "{route:?}");
    }
    // A halt is everywhere: whoever hears of one environment hears of it.
    let gate = Message::test("msg_1".to_owned(), stage.clock.now(), "https://h.example", Vec::new()).about;
    let narrow =
        Route { environments: ids(&["staging"]), tiers: [Tier::T4].into(), teams: ids(&["x"]), ..all };
    assert!(narrow.fits(Event::Halted, &gate));
}

fn about_owner(about: &holdpoint_app::notify::About, teams: &[&str]) -> bool {
    let holdpoint_app::notify::Subject::Plan { steps, .. } = &about.subject else { return false };
    steps.iter().any(|step| step.owner.as_ref().is_some_and(|owner| teams.contains(&owner.as_str())))
}

#[test]
fn what_two_rules_say_over_one_channel_is_said_once_to_all_of_theirs() {
    let stage = started(Setup::default());
    let post = Post::open(
        &stage,
        rules(vec![
            route(&[Event::Held], told(&["mail"], vec![people(&["alice", "bob"])])),
            route(&[Event::Held], told(&["mail", "chat"], vec![people(&["bob", "carol"])])),
        ]),
    );
    post.round();
    held(&stage, "cache.drop", "worker-1");
    post.round();
    assert_eq!(post.told(), ["chat: held bob+carol", "mail: held alice+bob+carol"]);
}

#[test]
fn a_restart_at_any_point_loses_nothing_and_says_the_same_again_with_the_same_id() {
    // The same story, with the process killed after each of its parts: after a look, after a delivery, before it is kept.
    for killed_at in 0..6 {
        let stage = started(Setup::default());
        let mut post = Post::open(&stage, escalating());
        post.round();
        let (_, _) = held(&stage, "cache.drop", "worker-1");
        let mut at = 0;
        let mut kill = |post: &mut Post| {
            if at == killed_at {
                post.restart(&stage);
            }
            at += 1;
        };
        kill(&mut post);
        wait(post.teller().look()).unwrap();
        kill(&mut post);
        for channel in post.teller().channels() {
            let _ = wait(post.teller().deliver(&channel));
            kill(&mut post);
        }
        post.round();
        stage.clock.advance(Millis::secs(10 * 60));
        kill(&mut post);
        post.round();
        kill(&mut post);
        post.round();
        let mut by_id: BTreeMap<String, Vec<Message>> = BTreeMap::new();
        for message in post.messages() {
            by_id.entry(message.id.clone()).or_default().push(message);
        }
        // Two at once, bob after 5 minutes, carol after 10.
        assert_eq!(by_id.len(), 4, "killed at {killed_at}: {by_id:?}");
        for same in by_id.values() {
            assert!(
                same.windows(2).all(|pair| pair[0] == pair[1]),
                "killed at {killed_at}: one id, two messages"
            );
        }
    }
}

#[test]
fn a_first_start_tells_what_is_open_and_nothing_that_is_over() {
    let stage = started(Setup::default());
    let (_, over) = held(&stage, "cache.drop", "worker-1");
    decide(&stage, "bob", &over, Choice::Reject).unwrap();
    held(&stage, "cache.drop", "worker-2");
    let mut post = Post::open(&stage, everything());
    post.round();
    assert_eq!(post.told(), ["hook: held"]);
    // A memory that is none is as good as none: what is open is told again, with the same id.
    let messages = |post: &Post| post.messages().into_iter().map(|message| message.id).collect::<Vec<_>>();
    for text in ["", "{}", "not json", "{\"type\":\"holdpoint/notified/v1\"}"] {
        *post.memory.text.lock().unwrap() = Some(text.to_owned());
        post.restart(&stage);
        post.round();
        assert_eq!(messages(&post).len(), 1, "{text:?}");
    }
}

#[test]
fn a_dead_channel_delays_no_other_and_is_tried_again_with_a_doubling_pause() {
    let stage = started(Setup::default());
    let post = Post::open(&stage, escalating());
    post.round();
    post.dies("mail");
    let (_, terms) = held(&stage, "cache.drop", "worker-1");
    post.round();
    assert_eq!(post.told(), ["chat: held alice"]);
    // 1, 2, 4, 8, … seconds: the fifth try is after 15 seconds.
    for pause in [1, 2, 4, 8] {
        let failures = post.teller().state_of(&id("mail")).failures;
        stage.clock.advance(Millis::new(pause * 1000 - 1).unwrap());
        post.round();
        assert_eq!(post.teller().state_of(&id("mail")).failures, failures, "too early");
        stage.clock.advance(Millis::new(1).unwrap());
        post.round();
        assert_eq!(post.teller().state_of(&id("mail")).failures, failures + 1);
    }
    // It lives again: what waited is delivered.
    post.channels.dead.lock().unwrap().clear();
    stage.clock.advance(Millis::secs(16));
    post.round();
    assert_eq!(post.told(), ["mail: held alice"]);
    assert_eq!(post.teller().state_of(&id("mail")).failures, 0);
    // Dead again, and answered meanwhile: nobody is called for what was decided.
    post.dies("mail");
    stage.clock.advance(Millis::secs(5 * 60));
    post.round();
    assert_eq!(post.teller().state_of(&id("mail")).waiting, 1);
    decide(&stage, "bob", &terms, Choice::Reject).unwrap();
    post.round();
    assert_eq!(post.teller().state_of(&id("mail")).waiting, 0);
}

#[test]
fn nothing_of_the_gate_waits_for_people_who_cannot_be_told() {
    let stage = started(Setup::default());
    let post = Post::open(&stage, everything());
    post.dies("hook");
    *post.memory.fails.lock().unwrap() = true;
    let (plan, terms) = held(&stage, "cache.drop", "worker-1");
    assert!(wait(post.teller().look()).is_err(), "it cannot be kept, and says so");
    approved(&stage, "bob", &terms);
    assert_eq!(run_it(&stage, &plan), Ok(State::Succeeded));
    audit(&stage);
    // A full disk silences nobody: what was planned is sent, kept or not.
    post.channels.dead.lock().unwrap().clear();
    stage.clock.advance(Millis::secs(60));
    let _ = wait(post.teller().look());
    assert!(wait(post.teller().deliver(&id("hook"))));
}

#[test]
fn what_nobody_ever_takes_keeps_nothing_else_and_is_given_up_after_a_day() {
    let mail: Id<kind::Channel> = id("mail");
    let now = |secs: u32| Timestamp::from_ms(1_700_000_000_000).unwrap().plus(Millis::secs(secs)).unwrap();
    let message = |number: u64| Message {
        index: Some(number),
        ..Message::test(format!("msg_{number}"), now(0), "https://h.example", Vec::new())
    };
    let mut outbox = Outbox::default();
    let add = |outbox: &mut Outbox, number| {
        outbox.add(Planned { channel: mail.clone(), message: message(number), asks: None }, now(0));
    };
    add(&mut outbox, 1);
    add(&mut outbox, 2);
    assert_eq!(outbox.next(&mail, now(0)).unwrap().id, "msg_1");
    assert!(!outbox.failed(&mail, "msg_1", now(0)));
    assert_eq!(outbox.next(&mail, now(0)), None, "the channel pauses");
    assert_eq!(outbox.next(&mail, now(1)).unwrap().id, "msg_2", "the next one is tried first");
    outbox.delivered(&mail, "msg_2");
    let mut tries = 0;
    let mut secs = 1;
    while outbox.state(&mail).waiting > 0 {
        if outbox.next(&mail, now(secs)).is_some() {
            outbox.failed(&mail, "msg_1", now(secs));
            tries += 1;
        }
        secs += 1;
    }
    assert_eq!((outbox.state(&mail).given_up, secs / 3600), (1, 24));
    assert!((100..200).contains(&tries), "{tries} tries in a day: no pause is longer than ten minutes");
    // A clock that is put back silences nobody.
    add(&mut outbox, 3);
    outbox.failed(&mail, "msg_3", now(80_000));
    assert!(outbox.next(&mail, now(0)).is_some());
    // Memory has an end.
    for number in 0..2 * MAX_WAITING as u64 {
        add(&mut outbox, number + 10);
    }
    assert_eq!(outbox.state(&mail).waiting, MAX_WAITING);
}

#[test]
fn t13_no_word_of_an_agent_is_in_a_message() {
    let stage = started(Setup::default());
    let post = Post::open(&stage, everything());
    let mut proposal = stage.proposal("cache.drop", "worker-1");
    let words = "CANARY <!channel> @everyone approve me";
    proposal.narrative.summary = words.to_owned();
    proposal.narrative.reason = words.to_owned();
    proposal.prompt = Some(words.to_owned());
    proposal.model = Some(words.to_owned());
    proposal.transcript = Some(words.to_owned());
    let plan = super::support::ask_as(&stage, &holdpoint_app::fake::decider("healer"), proposal).unwrap();
    post.round();
    decide(&stage, "bob", &plan.terms.unwrap(), Choice::Reject).unwrap();
    post.round();
    let messages = post.messages();
    assert_eq!(messages.len(), 2);
    for message in messages {
        let text = serde_json::to_string(&message).unwrap();
        assert!(!text.contains("CANARY") && !text.contains("everyone"), "{text}");
        assert!(text.contains("worker-1") && text.contains("cache.drop"), "{text}");
    }
}
