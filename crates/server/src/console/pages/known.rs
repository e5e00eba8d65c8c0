//! An incident that a source outside told of: what is known of it, what its alerts say, and which runs counted for it.

use holdpoint_app::{gate::Gate, incidents, projection::RunFilter};
use holdpoint_domain::{Id, Timestamp, id::kind, incident::Known as Row};

use crate::{
    console::{
        frame::Shape,
        show::{Foreign, When, foreign, list},
    },
    http::Problem,
};

const OPEN: Shape = Shape { glyph: "▲", word: "open", tone: "alarm" };
const OVER: Shape = Shape { glyph: "●", word: "over", tone: "quiet" };

/// What is known of an incident.
pub(super) struct Known {
    pub(super) source: String,
    pub(super) state: Shape,
    pub(super) firing: u32,
    /// What it concerns, in words.
    pub(super) services: String,
    pub(super) opened: When,
    pub(super) heard: When,
    pub(super) resolved: Option<When>,
    /// Plans whose runs counted for it.
    pub(super) runs: Vec<String>,
    /// What its alerts said last; none where it was erased.
    pub(super) words: Option<Foreign>,
}

/// An incident in a list.
pub(super) struct Open {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) services: String,
    pub(super) opened: When,
}

/// What is known of one.
pub(super) async fn known(
    gate: &Gate,
    id: &Id<kind::Incident>,
    now: Timestamp,
) -> Result<Option<Known>, Problem> {
    let incidents = incidents::all(gate);
    let Some(row) = incidents.find(id) else { return Ok(None) };
    let filter = RunFilter { since: Some(row.opened_at), ..RunFilter::default() };
    let runs = gate.ports.store.runs(filter).await?;
    let counted = runs.into_iter().filter(|run| run.footprint.is_for(id.as_str()));
    let words = gate.ports.store.text(&row.told.words).await?;
    Ok(Some(Known {
        source: row.told.source.to_string(),
        state: if row.is_open(now) { OPEN } else { OVER },
        firing: row.told.firing,
        services: services(row),
        opened: When::new(row.opened_at, now),
        heard: When::new(row.heard_at, now),
        resolved: row.resolved_at.map(|at| When::new(at, now)),
        runs: counted.map(|run| run.plan.to_string()).collect(),
        words: words.map(|kept| foreign(&kept.text)),
    }))
}

/// Those that are open.
pub(super) fn open(gate: &Gate, now: Timestamp) -> Vec<Open> {
    let incidents = incidents::all(gate);
    let row = |row: &Row| Open {
        id: row.told.incident.to_string(),
        source: row.told.source.to_string(),
        services: services(row),
        opened: When::new(row.opened_at, now),
    };
    incidents.all().filter(|known| known.is_open(now)).map(row).collect()
}

fn services(row: &Row) -> String {
    if row.told.everywhere {
        "every service".to_owned()
    } else if row.told.services.is_empty() {
        "no service of the inventory".to_owned()
    } else {
        list(&row.told.services)
    }
}
