//! Plans: propose one, list them, look at one.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use holdpoint_app::{
    gate::Gate,
    port::{PlanFilter, PlanRow},
    propose::{self, Proposed},
    view::PlanView,
};
use holdpoint_domain::{Id, actor::Identity, decision::Answer, flow::State as PlanState, id::kind};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    body,
    caller::{Asker, Caller},
    door::{Door, Place},
    extract::{Ask, PathId},
    plan,
    problem::{Denied, Problem, echo},
    wire, words,
};

/// Longest list.
pub(super) const MAX_LIST: u32 = 200;
/// How long a list is when nobody says.
const DEFAULT_LIST: u32 = 50;
/// How many of the newest plans are searched for an agent's own: the store does not list by agent yet.
const MAX_SEARCH: u32 = 5_000;

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// States, with commas between them; all when there is none.
    state: Option<String>,
    /// At most this many.
    limit: Option<u32>,
}

/// `POST /v1/plans`.
pub(super) async fn propose(
    State(door): State<Arc<Door>>,
    Asker(party): Asker,
    place: Place,
    body::Json(plan): body::Json<wire::NewPlan>,
) -> Result<Response, Problem> {
    let service = Arc::clone(&door.service);
    let proposed = Door::to_the_end(place, async move {
        let malformed = |detail| Problem::malformed("bad-steps", detail, "name one step, or a list of them");
        let proposal = plan.try_into().map_err(malformed)?;
        let proposed = propose::propose(&service.gate(), &party, proposal).await?;
        // If we stop here, `recover` starts the run from its permit, or lets it expire.
        if proposed.decision.answer == Answer::Allow {
            service.runner.start(proposed.id.clone());
        }
        Ok::<_, Problem>(proposed)
    })
    .await??;
    answer(&door.service.gate(), proposed)
}

fn answer(gate: &Gate, proposed: Proposed) -> Result<Response, Problem> {
    let decision = &proposed.decision;
    let mut reasons: Vec<_> = decision.reasons.iter().map(words::reason).collect();
    let (status, state) = match decision.answer {
        Answer::Allow => (StatusCode::CREATED, PlanState::Permitted),
        Answer::Hold => (StatusCode::ACCEPTED, PlanState::Held),
        Answer::Defer => (StatusCode::ACCEPTED, PlanState::Deferred),
        Answer::Deny => return Err(denied(gate, proposed, reasons)),
    };
    words::specify(&mut reasons, &proposed.facts);
    let location = format!("/v1/plans/{}", proposed.id);
    let body = wire::Proposed {
        state,
        answer: decision.answer,
        tier: decision.tier,
        floor: decision.floor,
        reasons,
        provenance: words::provenance(&proposed.facts),
        plan_digest: proposed.plan.digest().map_err(|err| Problem::internal(&err))?,
        hold: proposed.terms.as_ref().map(|terms| terms.hold.clone()),
        hold_expires_at_ms: proposed.terms.as_ref().map(|terms| terms.expires_at_ms),
        index: proposed.first_index,
        id: proposed.id,
    };
    Ok((status, [(header::LOCATION, location)], Json(body)).into_response())
}

fn denied(gate: &Gate, proposed: Proposed, mut reasons: Vec<wire::Reason>) -> Problem {
    let hints = words::hints(proposed.hints, &mut reasons);
    words::specify(&mut reasons, &proposed.facts);
    let decisive = words::decisive(&reasons);
    let (rule, fact, next) = decisive.map_or(("denied", "the answer is no", "see the reasons"), |reason| {
        (reason.rule.as_str(), reason.fact.as_str(), reason.next.as_str())
    });
    let (rule, next) = (rule.to_owned(), next.to_owned());
    let detail = format!("plan `{}` is denied: {fact}", proposed.id);
    let allowed_with = plan::allowed_with(gate, &proposed.decision, &proposed.facts);
    let decision =
        wire::Denial { plan: proposed.id, tier: proposed.decision.tier, reasons, hints, allowed_with };
    Problem::denied(Denied { rule, decision }, detail, next)
}

/// `GET /v1/plans`.
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Ask(query): Ask<ListQuery>,
) -> Result<Json<wire::Plans>, Problem> {
    let states = query.state.as_deref().map_or_else(|| Ok(Vec::new()), states)?;
    let rows = matching(&door, &caller, states, limit(query.limit)?).await?;
    Ok(Json(wire::Plans { plans: rows.into_iter().map(plan::summary).collect() }))
}

/// The newest plans in these states that the caller may see.
pub(super) async fn matching(
    door: &Door,
    caller: &Caller,
    states: Vec<PlanState>,
    limit: u32,
) -> Result<Vec<PlanRow>, Problem> {
    let search = match &caller.0 {
        Identity::Person { .. } => limit,
        Identity::Agent { .. } => MAX_SEARCH,
    };
    let filter = PlanFilter { states, limit: search, ..PlanFilter::default() };
    let rows = door.service.gate().ports.store.plans(filter).await?;
    let seen = rows.into_iter().filter(|row| caller.sees(&row.agent));
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(seen.take(most).collect())
}

fn states(words: &str) -> Result<Vec<PlanState>, Problem> {
    let parse = |word: &str| {
        PlanState::parse(word).ok_or_else(|| {
            let detail = format!("{} is no state of a plan", echo(word));
            Problem::malformed("bad-query", detail, "name states such as `held`, with commas between them")
        })
    };
    words.split(',').map(parse).collect()
}

/// The limit of a list, within bounds.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(DEFAULT_LIST);
    if (1..=MAX_LIST).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("expected a limit of 1 to {MAX_LIST}, got {limit}");
    Err(Problem::malformed("bad-query", detail, "ask for fewer, and again for more"))
}

/// `GET /v1/plans/{id}`.
pub(super) async fn show(
    State(door): State<Arc<Door>>,
    caller: Caller,
    PathId(id): PathId<kind::Plan>,
) -> Result<Json<wire::PlanDetail>, Problem> {
    let gate = &door.service.gate();
    let row = gate.ports.store.plan(&id).await?;
    let row = visible_to(&caller, row).ok_or_else(|| no_such_plan(&id))?;
    let view = PlanView::read(gate.ports.store.as_ref(), &row.id).await?;
    plan::detail(gate, view).await.map(Json)
}

/// The row, if the caller may know of it.
pub(super) fn visible_to(caller: &Caller, row: Option<PlanRow>) -> Option<PlanRow> {
    row.filter(|row| caller.sees(&row.agent))
}

/// Said in the same words whether the plan is another agent's or nobody's.
fn no_such_plan(id: &Id<kind::Plan>) -> Problem {
    let detail = format!("there is no plan `{id}`");
    Problem::new(StatusCode::NOT_FOUND, "no-such-plan", detail, "list the plans to find its id")
}
