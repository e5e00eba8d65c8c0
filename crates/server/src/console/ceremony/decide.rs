//! Decisions of somebody who signed in: what they sign is made here, and goes with its proof to the use case that it is for.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use holdpoint_app::{approve, change, gate::Gate, halt, narrow, reconcile, resolve, review, view::PlanView};
use holdpoint_domain::{
    Digest, Id,
    actor::Identity,
    aftercare::{Answers, Found, ResolutionStatement, ResolutionType, ReviewStatement, ReviewType},
    approval::{self, Choice, SignedStatement},
    change::{ChangeStatement, ChangeStatementType},
    decision::Answer,
    digest::DigestError,
    halt::ResumeStatement,
    id::kind,
    narrowing::{Kept, NarrowStatement},
    passkey::{self, Assertion, Bytes},
    reconcile::{Part, ReconcileStatement},
    signed::{Signed, Statement as _},
};
use serde::Deserialize;

use super::{
    What, Whose,
    sign_in::{Challenge, Onward},
};
use crate::{
    console::{Console, admit::Visitor, form::ReceivedJson},
    http::{Door, Place, Problem},
};

/// What somebody wants to sign. The names are those that a page has; everything that is signed comes from the gate.
#[derive(Deserialize)]
#[serde(tag = "ceremony", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::console) enum Asked {
    Approve {
        hold: Id<kind::Hold>,
    },
    Reject {
        hold: Id<kind::Hold>,
    },
    Narrow {
        hold: Id<kind::Hold>,
        kept: Vec<Kept>,
    },
    #[serde(rename = "change_approve")]
    ApproveChange {
        change: Id<kind::Change>,
    },
    #[serde(rename = "change_reject")]
    RejectChange {
        change: Id<kind::Change>,
    },
    Review {
        plan: Id<kind::Plan>,
        seen: u64,
        answers: Answers,
        note: Option<String>,
    },
    Resolve {
        plan: Id<kind::Plan>,
        seen: u64,
        found: Found,
        note: Option<String>,
    },
    Resume {
        seen: Digest,
    },
    Reconcile {
        account: Digest,
        part: Part,
    },
}

/// What the browser came back with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::console) struct Brought {
    ceremony: String,
    assertion: Assertion,
}

/// `POST /ceremonies`.
pub(in crate::console) async fn begin(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    ReceivedJson(asked): ReceivedJson<Asked>,
) -> Result<Json<Challenge>, Problem> {
    let gate = console.door.service.gate();
    let person = visitor.session.person.clone();
    let registered = gate.controls.registry.person(&person);
    let allow: Vec<_> = registered
        .into_iter()
        .flat_map(|person| &person.passkeys)
        .filter(|passkey| passkey.origin == console.origin())
        .map(|passkey| passkey.id.clone())
        .collect();
    if allow.is_empty() {
        let detail =
            format!("`{person}` has no passkey for {}: a session alone decides nothing", console.origin());
        let next = "ask an administrator for an invitation";
        return Err(Problem::new(StatusCode::FORBIDDEN, "no-passkey", detail, next));
    }
    let (what, bytes) = made(&gate, person.clone(), asked).await?;
    let challenge = Bytes::new(*passkey::challenge(&bytes).as_bytes());
    let ceremony = console.ceremonies().keep(Whose::Person(person), what, console.now())?;
    Ok(Json(Challenge { ceremony, challenge, rp_id: console.rp_id().to_owned(), allow }))
}

/// What is to be signed, and its bytes.
async fn made(gate: &Gate, person: Id<kind::Person>, asked: Asked) -> Result<(What, Vec<u8>), Problem> {
    let on_hold = async |hold, choice| {
        let terms = approve::find(gate, &hold).await?.terms.ok_or_else(|| gone("the hold has no terms"))?;
        let statement = approval::Statement::new(terms, person.clone(), choice);
        with_bytes(statement.signing_bytes(), What::Hold(Box::new(statement)))
    };
    let on_change = async |id, choice| {
        let terms = change::show(gate, &id).await?.row.terms;
        let (r#type, approver) = (ChangeStatementType::V1, person.clone());
        let statement = ChangeStatement { r#type, terms, approver, choice };
        with_bytes(statement.signing_bytes(), What::Change(Box::new(statement)))
    };
    match asked {
        Asked::Approve { hold } => on_hold(hold, Choice::Approve).await,
        Asked::Reject { hold } => on_hold(hold, Choice::Reject).await,
        Asked::Narrow { hold, kept } => {
            let terms =
                approve::find(gate, &hold).await?.terms.ok_or_else(|| gone("the hold has no terms"))?;
            let statement = NarrowStatement::new(terms, person, kept);
            with_bytes(statement.signing_bytes(), What::Narrow(Box::new(statement)))
        }
        Asked::ApproveChange { change } => on_change(change, Choice::Approve).await,
        Asked::RejectChange { change } => on_change(change, Choice::Reject).await,
        Asked::Review { plan, seen, answers, note } => {
            let digest = seen_plan(gate, &plan, seen).await?;
            let (r#type, reviewer) = (ReviewType::V1, person);
            let statement = ReviewStatement { r#type, plan, digest, seen, reviewer, answers };
            with_bytes(statement.signing_bytes(), What::Review(Box::new(statement), note))
        }
        Asked::Resolve { plan, seen, found, note } => {
            // Credentials of the run may have ended since the page was made: the use case knows that this moves nothing.
            let digest = digest_of(&PlanView::read(gate.ports.store.as_ref(), &plan).await?)?;
            let (r#type, resolver) = (ResolutionType::V1, person);
            let statement = ResolutionStatement { r#type, plan, digest, seen, resolver, found };
            with_bytes(statement.signing_bytes(), What::Resolve(Box::new(statement), note))
        }
        Asked::Resume { seen } => {
            let halt = gate.halted().ok_or_else(|| gone("no halt is in force"))?;
            if Digest::of(&halt).map_err(|err| Problem::internal(&err))? != seen {
                return Err(gone("another halt is in force than the one on this page"));
            }
            let origin = gate.ports.store.head().origin.clone();
            let statement = ResumeStatement::new(origin, halt, person);
            with_bytes(statement.signing_bytes(), What::Resume(Box::new(statement)))
        }
        Asked::Reconcile { account, part } => {
            let row = gate.ports.store.account(&account).await?;
            let row = row.ok_or_else(|| gone("no such account is recorded"))?;
            let statement = ReconcileStatement::new(row.account, part, person);
            with_bytes(statement.signing_bytes(), What::Reconcile(Box::new(statement)))
        }
    }
}

fn with_bytes(bytes: Result<Vec<u8>, DigestError>, what: What) -> Result<(What, Vec<u8>), Problem> {
    Ok((what, bytes.map_err(|err| Problem::internal(&err))?))
}

/// The digest of a plan that has not moved on since the page was made.
async fn seen_plan(gate: &Gate, plan: &Id<kind::Plan>, seen: u64) -> Result<Digest, Problem> {
    let view = PlanView::read(gate.ports.store.as_ref(), plan).await?;
    if view.last_index() != seen {
        return Err(gone("the plan has moved on since this page was made"));
    }
    digest_of(&view)
}

fn digest_of(view: &PlanView) -> Result<Digest, Problem> {
    view.plan.digest().map_err(|err| Problem::internal(&err))
}

fn gone(detail: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "page-is-old",
        detail.to_owned(),
        "load the page again, and look at it",
    )
}

/// `POST /ceremonies/finish`.
pub(in crate::console) async fn finish(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    place: Place,
    ReceivedJson(Brought { ceremony, assertion }): ReceivedJson<Brought>,
) -> Result<Json<Onward>, Problem> {
    let (identity, person) = (visitor.identity(), &visitor.session.person);
    let what = console.ceremonies().take(&ceremony, person, console.now())?;
    let gate = console.door.service.gate();
    let registered = gate.controls.registry.person(person);
    let mut passkeys = registered.into_iter().flat_map(|person| &person.passkeys);
    // The site may have moved: whoever has its old name now must not have decisions signed there.
    if !passkeys.any(|one| one.id == assertion.credential && one.origin == console.origin()) {
        let detail = format!("the passkey is not one of `{person}` for {}", console.origin());
        return Err(Problem::new(StatusCode::FORBIDDEN, "passkey-refused", detail, "use another passkey"));
    }
    if !console.ceremonies().goes_on(&assertion) {
        let detail = "the passkey's counter does not go on from its last sign-in: there may be a copy of it";
        let next = "have an administrator take it out of the registry";
        return Err(Problem::new(StatusCode::FORBIDDEN, "passkey-refused", detail, next));
    }
    let service = Arc::clone(&console.door.service);
    // Once somebody signed, it is done to its end, whatever their browser does.
    let next =
        Door::to_the_end(place, async move { service.say(&identity, what, assertion).await }).await??;
    Ok(Json(Onward { next }))
}

impl crate::service::Service {
    /// Does what somebody signed; returns the page that shows what came of it.
    async fn say(&self, identity: &Identity, what: What, assertion: Assertion) -> Result<String, Problem> {
        let gate = &self.gate();
        let signature = assertion.into();
        match what {
            What::Hold(statement) => {
                let hold = statement.terms.hold.clone();
                let signed = SignedStatement { statement: *statement, signature };
                let decided = self.decide_hold(identity, &hold, signed).await?;
                Ok(format!("/plans/{}", decided.plan))
            }
            What::Narrow(statement) => {
                let hold = statement.terms.hold.clone();
                let signed = Signed { statement: *statement, signature };
                let done = narrow::narrow_hold(gate, identity, &hold, signed).await?;
                if done.decision.answer == Answer::Allow {
                    self.runner.start(done.id.clone());
                }
                Ok(format!("/plans/{}", done.id))
            }
            What::Change(statement) => {
                let id = statement.terms.id.clone();
                change::decide(gate, identity, &id, Signed { statement: *statement, signature }).await?;
                Ok(format!("/changes/{id}"))
            }
            What::Review(statement, note) => {
                let plan = statement.plan.clone();
                let signed = Signed { statement: *statement, signature };
                review::review(gate, identity, &plan, signed, note.as_deref()).await?;
                Ok(format!("/plans/{plan}"))
            }
            What::Resolve(statement, note) => {
                let plan = statement.plan.clone();
                let signed = Signed { statement: *statement, signature };
                resolve::resolve(gate, identity, &plan, signed, note.as_deref()).await?;
                Ok(format!("/plans/{plan}"))
            }
            What::Resume(statement) => {
                halt::resume(gate, identity, Signed { statement: *statement, signature }).await?;
                Ok("/".to_owned())
            }
            What::Reconcile(statement) => {
                let signed = Signed { statement: *statement, signature };
                reconcile::reconcile(gate, identity, signed, None).await?;
                Ok("/reconciliations".to_owned())
            }
            What::Enrol(_) => Err(gone("the ceremony is for something else")),
        }
    }
}
