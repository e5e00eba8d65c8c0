//! Act 11: a person halts everything while a run is under way.

use holdpoint_domain::{Tier, decision::Answer, flow::State};

use super::{LOOK_EVERY, MAX_LOOKS, Play, differs, page, worker::restart};
use crate::demo::{DemoError, api::Answered, program::until, stage};

/// Act 11.
pub(super) async fn comes_in_between(play: &mut Play<'_>) -> Result<(), DemoError> {
    let demo = play.demo;
    let screen = &demo.screen;
    screen.act(11, "Bob halts everything, in the middle of a run");
    for (port, worker) in [(demo.ports.worker_3, "worker-3"), (demo.ports.worker_1, "worker-1")] {
        play.api.poke(&page(port, "/hang")).await?;
        play.sees(11, worker, 0.0).await?;
    }
    screen.bad("broken", "worker-3 and worker-1 hang");
    let words = ("worker-3 hangs", "the balancer has taken it out");
    let ask = restart(&["worker-3"], "restart worker-3");
    let proposed = match play.asks(ask, words.0, words.1).await? {
        Answered::Yes(proposed) if (proposed.answer, proposed.tier) == (Answer::Allow, Tier::T2) => proposed,
        Answered::Yes(proposed) => return Err(differs(11, "allow at T2", proposed.answer)),
        Answered::No(problem) => return Err(differs(11, "allow at T2", problem.rule)),
    };
    screen.good("allowed", "process.restart on worker-3");
    let applied = until(MAX_LOOKS, LOOK_EVERY, async || {
        let state = play.look(&proposed.id).await?.state;
        Ok((state == State::Applied || state.is_final()).then_some(state))
    });
    if applied.await? != Some(State::Applied) {
        return Err(differs(11, "the run to be applied and not verified yet", "it is over"));
    }
    screen.fact("applied", "it is restarted, and the gate still measures whether that helped");

    let config = demo.arg(stage::CONFIG);
    let halt = ["halt", "--as", "bob", "--config", &config];
    screen.command(&demo.program.line(&halt));
    screen.quoted(&demo.program.must(&halt, "").await?);
    let state = play.look(&proposed.id).await?.state;
    if state != State::Applied {
        return Err(differs(11, "the run to be under way when the halt came", state));
    }
    let words = ("worker-1 hangs", "the balancer has taken it out");
    let ask = restart(&["worker-1"], "restart worker-1");
    screen.fact("proposed", "process.restart on worker-1, because of process.hung, which is true");
    let denied = play.is_denied(11, "halted", ask, words).await?;
    play.show_denial(&denied);
    play.ended(11, &proposed.id, State::Succeeded).await?;
    play.sees(11, "worker-3", 1.0).await?;
    screen.good("succeeded", "the run on worker-3 was verified to its end: a halt leaves nothing half done");

    let resume = |person| ["resume", "--as", person, "--yes", "--config", &config];
    let said = demo.program.run(&resume("bob"), "").await?;
    if said.status.success() || !said.stderr.contains("not-an-administrator") {
        return Err(differs(11, "bob not to resume, by rule not-an-administrator", said.stderr.trim_end()));
    }
    screen.bad("refused", "bob would have it go on again, by rule not-an-administrator");
    screen.command(&demo.program.line(&resume("cleo")));
    screen.quoted(&demo.program.must(&resume("cleo"), "").await?);
    let proposed = match play.asks(ask, words.0, words.1).await? {
        Answered::Yes(proposed) => proposed,
        Answered::No(problem) => return Err(differs(11, "an answer after the halt", problem.rule)),
    };
    play.ended(11, &proposed.id, State::Succeeded).await?;
    play.sees(11, "worker-1", 1.0).await?;
    screen.good("succeeded", "medic asks again, and worker-1 is restarted");
    screen.lesson("Any person may stop it, at once. It takes more to let it go on.");
    Ok(())
}
