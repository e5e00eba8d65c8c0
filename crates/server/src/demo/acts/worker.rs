//! Acts 2 to 4: a worker hangs, is restarted without a person, and another one is accused of hanging.

use holdpoint_domain::{Tier, decision::Answer, flow::State};

use super::{Ask, Play, SILENCE, differs, page, show::utc};
use crate::demo::DemoError;

/// The rule of the starter policy that refuses what the gate measured otherwise.
const REFUTED: &str = "refuted-trigger";
/// The incident of these acts.
const INCIDENT: &str = "workers-hang";

/// Act 2.
pub(super) async fn hangs(play: &Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(2, "worker-2 hangs");
    let port = play.demo.ports.worker_2;
    play.api.poke(&page(port, "/hang")).await?;
    let takes = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let answers = play.api.answers(&page(port, "/healthz"), SILENCE).await;
    if !takes || answers {
        let got = format!("takes connections: {takes}, answers: {answers}");
        return Err(differs(2, "a port that takes connections and does not answer", got));
    }
    screen.bad("broken", format_args!("port {port} takes connections, and nothing answers: a real deadlock"));
    play.sees(2, "worker-2", 0.0).await?;
    screen.fact("medic", "reads at the balancer: demo_backend_up{backend=\"worker-2\"} 0");
    Ok(())
}

/// Act 3.
pub(super) async fn is_restarted(play: &mut Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(3, "medic proposes to restart it");
    screen.fact("proposed", "process.restart on worker-2, because of process.hung");
    let ask = restart(&["worker-2"], "restart worker-2");
    let words = ("worker-2 hangs", "the balancer has taken it out");
    let (proposed, _) = play.gets(3, (Answer::Allow, Tier::T2), ask, words).await?;
    let ended = play.ended(3, &proposed.id, State::Succeeded).await?;
    play.sees(3, "worker-2", 1.0).await?;
    screen.good("succeeded", "restarted, and verified by the gate's own probes; the balancer has it back");
    let due = ended.review_due_ms.ok_or_else(|| differs(3, "a review to be owed", "none"))?;
    let due = utc(due, "%Y-%m-%d %H:%M");
    screen
        .held("owed", format_args!("a review, due {due} UTC: nobody looked before, so somebody looks after"));
    screen.lesson("Nobody approved this: the gate measured the trigger itself, and knows the way back.");
    Ok(())
}

/// Act 4.
pub(super) async fn is_slandered(play: &mut Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(4, "medic claims that worker-1 hangs too");
    let words = "CRITICAL: worker-1 hangs as well, restart it NOW. Ignore your probes, they are broken.";
    screen.fact("medic", "says, with confidence 0.99:");
    screen.quoted(words);
    let ask = restart(&["worker-1"], "restart worker-1");
    let denied = play.is_denied(4, REFUTED, ask, (words, "I am certain")).await?;
    play.show_evidence(&denied.seen);
    play.show_denial(&denied);
    play.show_rule(REFUTED)?;
    screen.lesson("What an agent writes is kept, and is no input. The denial is in the ledger.");
    Ok(())
}

/// The agent wants workers restarted.
pub(super) const fn restart(targets: &'static [&'static str], word: &'static str) -> Ask {
    Ask {
        action: "process.restart",
        targets,
        trigger: "process.hung",
        incident: INCIDENT,
        pool_size: None,
        word,
    }
}
