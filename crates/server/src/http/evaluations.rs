//! The door that only answers: whether an agent may do something that changes nothing.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_app::evaluate::{self, Question};
use holdpoint_domain::decision::Answer;

use super::{body, caller::Asker, door::Door, problem::Problem, wire, words};

/// `POST /v1/evaluations`.
pub(super) async fn evaluate(
    State(door): State<Arc<Door>>,
    Asker(party): Asker,
    body::Flat(asked): body::Flat<wire::NewEvaluation>,
) -> Result<Response, Problem> {
    let question = Question { action: asked.action, target: asked.target };
    // A caller who goes away does not need the answer: the record stands or does not, and nothing runs either way.
    let evaluated = evaluate::evaluate(&door.service.gate(), &party, &question).await?;
    let decision = &evaluated.decision;
    let answer = wire::Evaluation {
        allowed: decision.answer == Answer::Allow,
        tier: decision.tier,
        reasons: decision.reasons.iter().map(words::reason).collect(),
        index: evaluated.index,
    };
    Ok(Json(answer).into_response())
}
