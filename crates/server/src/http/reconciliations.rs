//! What was done outside of Holdpoint: reported, confirmed, looked at.

use std::sync::Arc;

use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use holdpoint_app::{
    projection::AccountRow,
    reconcile::{self, Opened, Shown},
};
use holdpoint_domain::digest::{Salt, base64};

use super::{
    body,
    caller::Caller,
    door::{Door, Place},
    problem::Problem,
    wire,
};

/// Most that are listed: they come of emergencies, and there are few.
const MAX_LISTED: u32 = 200;

/// `GET /v1/reconciliations`.
pub(super) async fn list(State(door): State<Arc<Door>>) -> Result<Json<wire::Reconciliations>, Problem> {
    let gate = door.service.gate();
    let accounts = reconcile::list(&gate, MAX_LISTED).await?;
    let accounts = accounts.into_iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Json(wire::Reconciliations { origin: gate.ports.store.head().origin.clone(), accounts }))
}

/// `POST /v1/reconciliations`: a person's signed statement. It is recorded, and nothing else comes of it.
pub(super) async fn say(
    State(door): State<Arc<Door>>,
    Caller(identity): Caller,
    place: Place,
    body::Json(new): body::Json<wire::NewReconciliation>,
) -> Result<Json<wire::Reconciled>, Problem> {
    let opened = match (new.words, new.salt) {
        (None, None) => None,
        (Some(words), Some(salt)) => {
            let bytes = STANDARD_NO_PAD.decode(&salt).ok().and_then(|salt| <[u8; 32]>::try_from(salt).ok());
            let bytes = bytes.ok_or_else(|| {
                let detail = "expected a salt of 32 bytes in base64 without padding".to_owned();
                Problem::malformed("bad-salt", detail, "send the salt that the account commits with")
            })?;
            Some(Opened { words, salt: Salt::new(bytes) })
        }
        (Some(_), None) | (None, Some(_)) => {
            let detail = "expected `words` and `salt`, or neither".to_owned();
            return Err(Problem::malformed(
                "bad-words",
                detail,
                "send both with a report, and neither after it",
            ));
        }
    };
    let row = Door::to_the_end(place, async move {
        reconcile::reconcile(&door.service.gate(), &identity, new.statement, opened).await
    })
    .await??;
    Ok(Json(wire::Reconciled { digest: row.digest()?, state: row.state() }))
}

fn shown(Shown { row, opened }: Shown) -> Result<wire::Reconciliation, Problem> {
    let (digest, state) = (row.digest()?, row.state());
    let AccountRow { account, first_index, reported_by, reported_at, due, confirmed_by, look } = row;
    let (words, salt) = opened.map(|opened| (opened.words, base64(opened.salt.as_bytes()))).unzip();
    Ok(wire::Reconciliation {
        digest,
        state,
        account,
        words,
        salt,
        reported_by,
        reported_at_ms: reported_at,
        confirmed_by,
        looked: look.map(|look| look.by),
        due_at_ms: due.due_at_ms,
        owner: due.owner,
        index: first_index,
    })
}
