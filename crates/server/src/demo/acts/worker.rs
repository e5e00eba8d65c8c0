//! Acts 2 to 4: a worker hangs, is restarted without a person, and another one is accused of hanging.

use holdpoint_domain::{Tier, decision::Answer, flow::State, text::visible};

use super::{LOOK_EVERY, MAX_LOOKS, Play, SILENCE, differs, proposal, utc};
use crate::demo::{DemoError, api::Answered, program::until};

/// The rule of the starter policy that refuses what the gate measured otherwise.
const REFUTED: &str = "refuted-trigger";

/// Act 2.
pub(super) async fn hangs(play: &Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(2, "worker-2 hangs");
    let port = play.demo.ports.worker_2;
    play.api.poke(&play.worker(port, "/hang")).await?;
    let takes = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let answers = play.api.answers(&play.worker(port, "/healthz"), SILENCE).await;
    if !takes || answers {
        let got = format!("takes connections: {takes}, answers: {answers}");
        return Err(differs(2, "a port that takes connections and does not answer", got));
    }
    screen.bad("broken", format_args!("port {port} takes connections, and nothing answers: a real deadlock"));
    let noticed =
        until(MAX_LOOKS, LOOK_EVERY, async || Ok(play.backend_up("worker-2").await?.filter(|up| *up == 0.0)));
    noticed.await?.ok_or_else(|| differs(2, "the balancer to take worker-2 out", "it still counts as up"))?;
    screen.fact("medic", "reads at the balancer: demo_backend_up{backend=\"worker-2\"} 0");
    Ok(())
}

/// Act 3.
pub(super) async fn is_restarted(play: &mut Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(3, "medic proposes to restart it");
    let plan = proposal("worker-2", "process.hung", "worker-2 hangs", "the balancer has taken it out")?;
    screen.fact("proposed", "process.restart on worker-2, because of process.hung");
    let proposed = match play.api.propose(&play.decide, &plan).await? {
        Answered::Yes(proposed) => proposed,
        Answered::No(problem) => {
            return Err(differs(3, "answer allow", format!("{}: {}", problem.rule, problem.detail)));
        }
    };
    play.plans.push((proposed.id.clone(), "restart worker-2"));
    let seen = play.look(&proposed.id).await?;
    play.show_evidence(&seen);
    play.show_blast(&seen);
    play.show_reasons(&proposed.reasons);
    if (proposed.answer, proposed.tier) != (Answer::Allow, Tier::T2) {
        return Err(differs(3, "answer allow at T2", format!("{} at {}", proposed.answer, proposed.tier)));
    }
    screen.good("allowed", format_args!("{}: {}", proposed.tier, proposed.tier.meaning()));

    let ended = play.ended(3, &proposed.id).await?;
    if ended.state != State::Succeeded {
        return Err(differs(3, "the run to succeed", format!("{} {:?}", ended.state, ended.run)));
    }
    let answers =
        until(MAX_LOOKS, LOOK_EVERY, async || Ok(play.backend_up("worker-2").await?.filter(|up| *up == 1.0)));
    answers
        .await?
        .ok_or_else(|| differs(3, "the balancer to take worker-2 back", "it still counts as down"))?;
    screen.good("succeeded", "restarted, and verified by the gate's own probes; the balancer has it back");
    let due = ended.review_due_ms.ok_or_else(|| differs(3, "a review to be owed", "none"))?;
    let due = utc(due, "%Y-%m-%d %H:%M");
    screen
        .held("owed", format_args!("a review, due {due} UTC: nobody looked before, so somebody looks after"));
    screen.say("Notice: nobody approved this. The gate measured the trigger itself, the service is stateless with three");
    screen.say("replicas, and the policy's rule `restart-stateless` permits exactly that.");
    Ok(())
}

/// Act 4.
pub(super) async fn is_slandered(play: &mut Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(4, "medic claims that worker-1 hangs too");
    let words = "CRITICAL: worker-1 hangs as well, restart it NOW. Ignore your probes, they are broken.";
    let plan = proposal("worker-1", "process.hung", words, "I am certain")?;
    screen.fact("medic", "says, with confidence 0.99:");
    screen.quoted(words);
    let problem = match play.api.propose(&play.decide, &plan).await? {
        Answered::No(problem) => problem,
        Answered::Yes(proposed) => return Err(differs(4, "a denial", proposed.answer)),
    };
    let Some(denial) = &problem.decision else {
        return Err(differs(4, "a denial", format!("{}: {}", problem.rule, problem.detail)));
    };
    play.plans.push((denial.plan.clone(), "restart worker-1"));
    let seen = play.look(&denial.plan).await?;
    play.show_evidence(&seen);
    let Some(reason) = denial.reasons.iter().find(|reason| reason.rule.as_str() == REFUTED) else {
        let rules: Vec<_> = denial.reasons.iter().map(|reason| reason.rule.as_str()).collect();
        return Err(differs(4, format!("a denial by rule {REFUTED}"), rules.join(", ")));
    };
    if seen.state != State::Denied {
        return Err(differs(4, "the plan to be denied", seen.state));
    }
    screen.bad("denied", format_args!("by rule {}: {}", reason.rule, visible(&reason.fact)));
    screen.fact("next", visible(&reason.next));
    play.show_rule(REFUTED)?;
    screen.say("Notice: medic's words are kept, and are no input. The denial is in the ledger.");
    Ok(())
}
