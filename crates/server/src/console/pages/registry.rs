//! Who there is: agents with their record, and people.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use holdpoint_app::look;
use holdpoint_domain::{Timestamp, agent, flow::State as PlanState, passkey::Passkey};

use super::page;
use crate::{
    console::{
        Console,
        admit::Visitor,
        frame::{Frame, Shape, shape},
        show::{When, list},
    },
    http::Problem,
};

#[derive(Template)]
#[template(path = "agents.html")]
struct Agents {
    frame: Frame,
    agents: Vec<Agent>,
}

struct Agent {
    id: String,
    team: String,
    owner: String,
    phases: String,
    builds: Vec<String>,
    ends: Option<When>,
    over: bool,
    accepted: bool,
    plans: u32,
    record: Vec<(Shape, u32)>,
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    frame: Frame,
    people: Vec<Person>,
    administrators: usize,
}

struct Person {
    id: String,
    teams: String,
    administrator: bool,
    agents: String,
    sessions: usize,
    /// Their passkeys: which, by which act, and whether copies of it may be on other devices.
    passkeys: Vec<Key>,
    key: bool,
    you: bool,
}

struct Key {
    id: String,
    act: String,
    synced: bool,
    elsewhere: bool,
}

/// `GET /agents`.
pub(in crate::console) async fn agents(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let mut records = look::track_records(&gate).await?;
    let agents = gate.controls.registry.agents();
    let agents = agents.map(|agent| one(agent, records.remove(&agent.id).unwrap_or_default(), now)).collect();
    page(&Agents { frame: Frame::new(&console, Some(&visitor), "/agents").await, agents })
}

fn one(agent: &agent::Agent, record: BTreeMap<PlanState, u32>, now: Timestamp) -> Agent {
    Agent {
        id: agent.id.to_string(),
        team: agent.team.to_string(),
        owner: agent.owner.to_string(),
        phases: list(&agent.phases),
        builds: agent.builds.iter().map(|build| build.digest.to_string()).collect(),
        ends: agent.expires_at_ms.map(|end| When::new(end, now)),
        over: agent.expires_at_ms.is_some_and(|end| end <= now),
        accepted: agent.accepted,
        plans: record.values().fold(0, |sum, count| sum.saturating_add(*count)),
        record: record.into_iter().map(|(state, count)| (shape(state), count)).collect(),
    }
}

/// `GET /people`.
pub(in crate::console) async fn people(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (gate, now) = (console.door.service.gate(), console.now());
    let registry = &gate.controls.registry;
    let key = |passkey: &Passkey| Key {
        id: passkey.id.to_string(),
        act: passkey.act.to_string(),
        synced: passkey.synced,
        elsewhere: passkey.origin != console.origin(),
    };
    let person = |person: &agent::Person| {
        let owned = registry.agents().filter(|agent| agent.owner == person.id).map(|agent| &agent.id);
        Person {
            id: person.id.to_string(),
            teams: list(&person.teams),
            administrator: person.administrator,
            agents: list(owned),
            sessions: console.sessions.of(&person.id, now).len(),
            passkeys: person.passkeys.iter().map(key).collect(),
            key: person.approval_key.is_some(),
            you: person.id == visitor.session.person,
        }
    };
    let people: Vec<_> = registry.people().map(person).collect();
    let administrators = people.iter().filter(|person| person.administrator).count();
    page(&People { frame: Frame::new(&console, Some(&visitor), "/people").await, people, administrators })
}
