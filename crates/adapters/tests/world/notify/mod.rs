//! Telling people, against real receivers: HTTP servers with and without TLS, and a real mail server.

mod authority;
mod formats;
mod hooks;
mod mail;
mod receiver;

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_adapters::notify::{Channel, Channels, People, Reach};
use holdpoint_app::{
    notify::{About, Event, Message, StepCard, Subject},
    port::{Notifier as _, SendError},
};
use holdpoint_domain::Tier;

use super::support::{NOW_MS, StoppedClock, at, id};

/// A hold of two people's, as the planner makes it.
fn held() -> Message {
    let step = |target: &str| StepCard {
        action: id("process.restart"),
        target: id(target),
        environment: Some(id("production")),
        owner: Some(id("payments")),
    };
    let subject = Subject::Plan {
        plan: id("plan-1"),
        hold: Some(id("hold-1")),
        agent: id("healer"),
        tier: Some(Tier::T4),
        approvals: 2,
        steps: vec![step("worker-1"), step("worker-2")],
        rules: vec![id("no-undo"), id("restart-stateless")],
    };
    Message {
        id: "msg_0123456789abcdef0123456789abcdef".to_owned(),
        event: Event::Held,
        at_ms: at(NOW_MS - 60_000),
        index: Some(7),
        after_minutes: None,
        about: About { subject, by: None, why: None, ends_at_ms: Some(at(NOW_MS + 14 * 60_000)) },
        link: "https://holdpoint.example.org/holds/hold-1".to_owned(),
        to: vec![id("anna"), id("ben")],
    }
}

fn people() -> People {
    let reach = |email: Option<&str>, slack: Option<&str>| Reach {
        email: email.map(str::to_owned),
        slack: slack.map(str::to_owned),
    };
    [
        (id("anna"), reach(Some("Anna Ü. <anna@example.org>"), Some("U012ABCDEF"))),
        (id("ben"), reach(Some("ben@example.org"), None)),
        (id("carl"), reach(Some("refused@example.org"), None)),
        (id("dora"), reach(None, None)),
    ]
    .into()
}

/// Sends a message over a channel, at a time when all clocks stand still.
async fn send(channel: Channel, message: &Message) -> Result<(), SendError> {
    let channels = BTreeMap::from([(id("one"), channel)]);
    Channels::new(channels, people(), Arc::new(StoppedClock::new())).send(&id("one"), message).await
}
