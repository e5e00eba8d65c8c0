//! The halt switch: two clicks, no passkey, and it holds when the store does not.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use holdpoint_app::halt;
use holdpoint_domain::halt::Reach;
use serde::Deserialize;

use crate::{
    console::{
        Console,
        admit::{Visitor, local},
        form::Form,
    },
    http::{Door, Place, Problem},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Halt {
    reach: Reach,
    /// The page that it was asked for on.
    back: Option<String>,
}

/// `POST /halt`: in force when this answers, whatever the disk and the store do.
pub(in crate::console) async fn halt(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    place: Place,
    Form(asked): Form<Halt>,
) -> Result<Response, Problem> {
    let (identity, service) = (visitor.identity(), Arc::clone(&console.door.service));
    Door::to_the_end(place, async move { halt::halt(&service.gate(), &identity, asked.reach).await })
        .await??;
    Ok(Redirect::to(local(asked.back.as_deref())).into_response())
}
