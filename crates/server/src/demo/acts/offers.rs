//! Acts 7 and 8: a feature breaks checkout's offers. The first repair does not help and is taken back; the second one does.

use holdpoint_domain::{Digest, Id, Tier, decision::Answer, flow::State, text::visible};

use super::{Ask, LOOK_EVERY, MAX_LOOKS, Play, differs, show::utc};
use crate::demo::{DemoError, api::Answered, program::until, stage};

/// The incident of these acts, whose path is shown in the end.
pub(super) const INCIDENT: &str = "offers-fail";

const POOL: Ask = Ask {
    action: "config.set-pool-size",
    targets: &["checkout-settings"],
    trigger: "service.errors-high",
    incident: INCIDENT,
    pool_size: Some(16),
    word: "pool 16",
};

const FLAG: Ask = Ask {
    action: "flags.disable",
    targets: &["new-offers"],
    trigger: "service.errors-high",
    incident: INCIDENT,
    pool_size: None,
    word: "flag off",
};

/// Act 7.
pub(super) async fn get_no_better(play: &mut Play<'_>) -> Result<(), DemoError> {
    let demo = play.demo;
    let screen = &demo.screen;
    screen.act(7, "Checkout's offers fail, and the first repair does not help");
    break_them(play).await?;

    screen
        .fact("proposed", "config.set-pool-size to 16 on checkout-settings, because of service.errors-high");
    let before = demo.read(stage::SETTINGS)?;
    let words = ("the pool is too small", "the log says that all connections are taken");
    let (proposed, _) = play.gets(7, (Answer::Hold, Tier::T3), POOL, words).await?;
    let hold = proposed.hold.ok_or_else(|| differs(7, "a hold", "none"))?;
    play.approves_in_short("bob", &hold).await?;

    let grown = until(MAX_LOOKS, LOOK_EVERY, async || {
        let text = demo.read(stage::SETTINGS)?;
        Ok((text != before).then_some(text))
    });
    let grown = grown.await?.ok_or_else(|| differs(7, "the settings to change", "they did not"))?;
    let line = grown.lines().find(|line| line.starts_with("POOL_SIZE=")).unwrap_or_default();
    screen.fact("applied", format_args!("{line} in {}; the gate measures what comes of it", stage::SETTINGS));
    let ended = play.ended(7, &proposed.id, State::Undone).await?;
    let after = demo.read(stage::SETTINGS)?;
    if after != before {
        return Err(differs(7, "the settings as they were, byte by byte", after));
    }
    let digest = Digest::of_bytes(after.as_bytes());
    screen.bad("undone", "the offers still fail, so the gate put the file back as it was");
    screen.good("bit-exact", format_args!("{} bytes, {} before and after", after.len(), digest.short()));
    let due = ended.review_due_ms.ok_or_else(|| differs(7, "a review to be owed", "none"))?;
    let due = utc(due, "%Y-%m-%d %H:%M");
    screen.held(
        "owed",
        format_args!("a review by the shop's team, due {due} UTC; until then nothing alike runs alone"),
    );
    suspended(play).await?;
    screen.lesson(
        "Bob approved it, and it did not help. An approval is no proof: the gate measures either way.",
    );
    Ok(())
}

/// Somebody turns the feature on, and visitors see errors.
async fn break_them(play: &Play<'_>) -> Result<(), DemoError> {
    let (demo, screen) = (play.demo, &play.demo.screen);
    let flags = demo.read(stage::FLAGS)?;
    let on = flags.replacen("\"DISABLED\"", "\"ENABLED\"", 1);
    demo.replace(stage::FLAGS, &on)?;
    let errors =
        until(MAX_LOOKS, LOOK_EVERY, async || Ok(play.visitors_see().await?.filter(|errors| *errors > 0.5)));
    let errors = errors.await?.ok_or_else(|| differs(7, "visitors to see errors", "they do not"))?;
    screen.bad(
        "broken",
        format_args!(
            "somebody turned on the feature `new-offers`; {:.0} % of the visitors see errors",
            errors * 100.0
        ),
    );
    let log = demo.read(stage::SHOP_LOG)?;
    screen.fact("medic", "reads in checkout's log:");
    screen.quoted(log.lines().last().unwrap_or_default());
    Ok(())
}

/// Act 8.
pub(super) async fn get_well(play: &mut Play<'_>) -> Result<(), DemoError> {
    let demo = play.demo;
    let screen = &demo.screen;
    screen.act(8, "The second repair helps");
    screen.fact("proposed", "flags.disable on new-offers, because of service.errors-high");
    let words = ("the new offers keep their connections", "errors began with the flag");
    let (proposed, _) = play.gets(8, (Answer::Allow, Tier::T2), FLAG, words).await?;
    play.ended(8, &proposed.id, State::Succeeded).await?;
    let errors = play.visitors_see().await?.unwrap_or(1.0);
    let flags = demo.read(stage::FLAGS)?;
    if errors > 0.01 || flags != include_str!("../stage/flags.json") {
        return Err(differs(8, "no errors, and the flag off", format!("{errors}, and {flags}")));
    }
    screen.good("succeeded", "the flag is off, nothing else in its file moved, and visitors see no errors");
    is_reviewed(play).await?;
    screen.lesson("flags.disable is another action: what failed with the pool does not hold it back.");
    Ok(())
}

/// What failed is held back for its agent until somebody has looked at it: the same again, and why it waits.
async fn suspended(play: &mut Play<'_>) -> Result<(), DemoError> {
    let demo = play.demo;
    let again = Ask { pool_size: Some(32), word: "pool 32", ..POOL };
    let proposed = match play.asks(again, "then 32", "16 was not enough").await? {
        Answered::Yes(proposed) => proposed,
        Answered::No(problem) => return Err(differs(7, "a hold", problem.rule)),
    };
    let reason = proposed.reasons.iter().find(|reason| reason.rule.as_str() == "suspended");
    let (Some(reason), Some(hold)) = (reason, &proposed.hold) else {
        return Err(differs(7, "a hold because of rule suspended", proposed.answer));
    };
    demo.screen
        .held("again", format_args!("medic wants 32; rule {}: {}", reason.rule, visible(&reason.fact)));
    let config = demo.arg(stage::CONFIG);
    let deny = ["requests", "deny", hold.as_str(), "--as", "bob", "--config", &config];
    demo.program.must(&deny, "reject\n").await?;
    demo.screen.fact("bob", "has seen enough of it, and signs a rejection");
    Ok(())
}

/// Somebody of the team that owns the settings looks at what happened to them, and what was held back is not any more.
async fn is_reviewed(play: &Play<'_>) -> Result<(), DemoError> {
    let (demo, screen) = (play.demo, &play.demo.screen);
    let held_back = async || {
        let reviews = play.api.reviews(&play.person).await?.reviews;
        Ok::<_, DemoError>(reviews.into_iter().filter(|review| review.suspends).collect::<Vec<_>>())
    };
    let suspended = held_back().await?;
    let [run] = suspended.as_slice() else {
        return Err(differs(8, "one run that suspends its action", format!("{} runs", suspended.len())));
    };
    let actions: Vec<_> = run.actions.iter().map(Id::as_str).collect();
    if actions != [POOL.action] {
        return Err(differs(8, "the pool's action alone to be suspended", actions.join(", ")));
    }
    let config = demo.arg(stage::CONFIG);
    let answers = ["--trigger-was-real", "yes", "--did-what-it-should", "no", "--may-go-on", "yes"];
    let args =
        [&["review", "answer", run.plan.as_str()], &answers[..], &["--as", "ada", "--config", &config]];
    let args = args.concat();
    screen.command(&demo.program.line(&args));
    let said = demo.program.must(&args, "review\n").await?;
    screen.quoted(said.lines().last().unwrap_or_default());
    let left = held_back().await?.len();
    if left > 0 {
        return Err(differs(8, "nothing suspended after the review", format!("{left} runs")));
    }
    screen.good(
        "reviewed",
        format_args!("ada, of the shop's team, has looked; {} is not held back any more", POOL.action),
    );
    Ok(())
}
