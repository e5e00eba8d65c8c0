//! Break-glass: people ask for an action beyond policy. It waits for two of them, with passkeys.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use holdpoint_app::break_glass::{self, Emergency};
use holdpoint_domain::{Id, id::kind, plan::ParamValue};
use serde::Deserialize;

use super::page;
use crate::{
    console::{Console, admit::Visitor, form::Form, frame::Frame},
    http::{Door, Place, Problem, echo},
};

#[derive(Template)]
#[template(path = "emergency.html")]
struct Page {
    frame: Frame,
    actions: Vec<String>,
    targets: Vec<String>,
}

/// What somebody filled in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Filled {
    action: Id<kind::Action>,
    target: Id<kind::Target>,
    #[serde(default)]
    incident: String,
    #[serde(default)]
    params: String,
    reason: String,
}

/// `GET /break-glass`.
pub(in crate::console) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let gate = console.door.service.gate();
    let actions = gate.controls.catalogue.actions().map(|action| action.id.to_string()).collect();
    let targets = gate.controls.inventory.targets().map(|target| target.id.to_string()).collect();
    let frame = Frame::new(&console, Some(&visitor), "/break-glass").await;
    page(&Page { frame, actions, targets })
}

/// `POST /break-glass`: what comes of it waits for two people.
pub(in crate::console) async fn ask(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    place: Place,
    Form(filled): Form<Filled>,
) -> Result<Response, Problem> {
    let incident = match filled.incident.trim() {
        "" => None,
        named => Some(Id::parse(named).map_err(|err| bad(&err.to_string()))?),
    };
    let params = params(&filled.params)?;
    let Filled { action, target, reason, .. } = filled;
    let wanted = Emergency { action, target, params, incident, reason };
    let done = Door::to_the_end(place, async move {
        break_glass::break_glass(&console.door.service.gate(), &visitor.identity(), wanted).await
    })
    .await??;
    let path =
        done.terms.map_or_else(|| format!("/plans/{}", done.id), |terms| format!("/holds/{}", terms.hold));
    Ok(Redirect::to(&path).into_response())
}

/// Parameters, one a line: `name = value`. The catalogue says whether they fit.
fn params(text: &str) -> Result<BTreeMap<Id<kind::Param>, ParamValue>, Problem> {
    let mut params = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) =
            line.split_once('=').ok_or_else(|| bad("expected `name = value` in each line"))?;
        let name = Id::parse(name.trim()).map_err(|err| bad(&err.to_string()))?;
        let value = match value.trim() {
            "true" => ParamValue::Bool(true),
            "false" => ParamValue::Bool(false),
            other => match other.parse() {
                Ok(int) => ParamValue::Int(int),
                Err(_) => ParamValue::Choice(Id::parse(other).map_err(|err| bad(&err.to_string()))?),
            },
        };
        if params.insert(name, value).is_some() {
            return Err(bad("a parameter stands there twice"));
        }
    }
    Ok(params)
}

fn bad(why: &str) -> Problem {
    Problem::malformed(
        "bad-form",
        format!("the form does not fit: {}", echo(why)),
        "correct it, and send it again",
    )
}
