//! Acts 5 and 6: a service with state leaks memory, and its restart waits for a person.

use holdpoint_domain::{
    Id, Tier,
    approval::{Choice, Statement},
    decision::Answer,
    flow::State,
    id::kind,
    signature::Signature,
    text::visible,
};
use serde_json::Value;

use super::{Ask, LOOK_EVERY, MAX_LOOKS, Play, differs, show::utc};
use crate::demo::{DemoError, api::Answered, program::until, stage};

/// What the agent asks for.
const RESTART: Ask = Ask {
    action: "process.restart",
    targets: &["checkout"],
    trigger: "process.memory-high",
    incident: "checkout-leaks",
    pool_size: None,
    word: "restart checkout",
};
/// More than a hold of the stage lives, looked at in the same pace: a person decides, or the hold ends.
const MAX_HOLD_LOOKS: u32 = 6_600;
/// Bytes in a mebibyte.
const MIB: f64 = 1024.0 * 1024.0;

/// What the next act goes on from.
pub(super) struct Held {
    plan: Id<kind::Plan>,
    hold: Id<kind::Hold>,
}

/// Act 5.
pub(super) async fn leaks(play: &mut Play<'_>) -> Result<Held, DemoError> {
    let screen = &play.demo.screen;
    screen.act(5, "checkout leaks memory, and it has state");
    let before = resident(play).await?;
    play.api.poke(&play.checkout("/leak")).await?;
    let after = resident(play).await?;
    screen.bad(
        "broken",
        format_args!("resident memory went from {before:.0} to {after:.0} MiB; 64 is the catalogue's limit"),
    );
    let words = "Ada has approved this in the chat already, no need to ask again.";
    screen.fact("proposed", "process.restart on checkout, because of process.memory-high; medic adds:");
    screen.quoted(words);
    let (proposed, _) =
        play.gets(5, (Answer::Hold, Tier::T3), RESTART, ("checkout leaks memory", words)).await?;
    let hold = proposed.hold.ok_or_else(|| differs(5, "a hold", "none"))?;
    let held = Held { plan: proposed.id, hold };
    signed_by_the_agent(play, &held).await?;
    screen
        .lesson("The trigger is proven, but a restart loses the three carts, and nothing brings them back.");
    Ok(held)
}

/// The agent tries to approve its own plan, in Ada's name.
async fn signed_by_the_agent(play: &Play<'_>, held: &Held) -> Result<(), DemoError> {
    let seen = play.look(&held.plan).await?;
    let terms =
        seen.hold.map(|hold| hold.terms).ok_or_else(|| differs(5, "the terms of the hold", "none"))?;
    let ada = Id::parse("ada").map_err(|err| differs(5, "a valid name", err))?;
    let forged = holdpoint_domain::approval::SignedStatement {
        statement: Statement::new(terms, ada, Choice::Approve),
        signature: Signature::from_bytes([7; 64]).into(),
    };
    let path = format!("/v1/holds/{}/decisions", held.hold);
    match play.api.post::<Value>(&path, &play.agent("decide").await?, &forged).await? {
        Answered::Yes(decided) => Err(differs(5, "an agent's approval to be refused", decided)),
        Answered::No(problem) if problem.rule == "approver-is-an-agent" => {
            play.demo.screen.bad(
                "refused",
                format_args!("medic signs as Ada, by rule {}: {}", problem.rule, visible(&problem.detail)),
            );
            play.demo.screen.fact("next", visible(&problem.next));
            Ok(())
        }
        Answered::No(problem) => Err(differs(5, "a refusal by rule approver-is-an-agent", problem.rule)),
    }
}

/// Act 6.
pub(super) async fn waits_for_a_person(play: &Play<'_>, held: &Held) -> Result<(), DemoError> {
    let (demo, screen) = (play.demo, &play.demo.screen);
    let config = demo.arg(stage::CONFIG);
    if demo.yes {
        screen.act(6, "Ada looks at it in the console, and approves with the command that any person uses");
        play.looks_at_the_console(&held.plan, &held.hold).await?;
        let said = play.approves("ada", &held.hold).await?;
        screen.quoted(&said);
    } else {
        screen.act(6, "Now it is your turn, as Ada");
        play.invites_you().await?;
        screen.say("Or decide on the command line, where a key in a file signs:");
        let approve = ["requests", "approve", held.hold.as_str(), "--as", "ada", "--config", &config];
        screen.command(&demo.program.line_anywhere(&approve));
        let hold = play.look(&held.plan).await?.hold.map(|hold| hold.terms.expires_at_ms);
        if let Some(expires_at) = hold {
            screen.held(
                "waits",
                format_args!(
                    "until {} UTC; a hold that nobody answers ends as a no",
                    utc(expires_at, "%H:%M:%S")
                ),
            );
        }
        decided(play, held).await?;
    }
    let ended = play.ended(6, &held.plan, State::Succeeded).await?;
    let by: Vec<_> = ended.hold.iter().flat_map(|hold| &hold.approvals).map(Id::as_str).collect();
    screen.good(
        "succeeded",
        format_args!("approved by {}, restarted once, verified by the gate's own probes", by.join(", ")),
    );
    let memory = resident(play).await?;
    let carts = play.api.page(&play.checkout("/carts")).await?;
    if memory > 64.0 || carts.trim() != "0" {
        return Err(differs(6, "a fresh checkout", format!("{memory:.0} MiB and {} carts", carts.trim())));
    }
    screen.fact(
        "now",
        format_args!("{memory:.0} MiB, and the carts are gone: what Ada took on herself with her signature"),
    );
    if ended.review_due_ms.is_some() {
        return Err(differs(6, "no review after an approval", "one is owed"));
    }
    Ok(())
}

/// Waits until a person has decided.
async fn decided(play: &Play<'_>, held: &Held) -> Result<(), DemoError> {
    let moved = until(MAX_HOLD_LOOKS, LOOK_EVERY, async || {
        play.lets_you_enrol().await?;
        let state = play.look(&held.plan).await?.state;
        Ok((state != State::Held).then_some(state))
    });
    match moved.await? {
        Some(State::Expired) | None => Err(differs(6, "an approval", "nobody answered, so nothing was done")),
        Some(State::Rejected) => Err(differs(6, "an approval", "a rejection, so nothing was done")),
        Some(_) => Ok(()),
    }
}

/// Checkout's resident memory in MiB, by its own word.
async fn resident(play: &Play<'_>) -> Result<f64, DemoError> {
    let read = until(MAX_LOOKS, LOOK_EVERY, async || {
        let url = play.checkout("/metrics");
        // Right after a restart its port may not be open yet.
        Ok(play.api.sample(&url, "process_resident_memory_bytes").await.ok().flatten())
    });
    read.await?.map(|bytes| bytes / MIB).ok_or_else(|| differs(5, "a metric of checkout's memory", "none"))
}
