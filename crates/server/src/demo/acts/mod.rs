//! The story: what happens, what is expected of it, and what the person in front of the terminal should notice.

mod checkout;
mod console;
mod end;
mod halt;
mod injection;
mod offers;
mod setting;
mod show;
mod token;
mod worker;

use std::{collections::BTreeMap, time::Duration};

use holdpoint_domain::{Id, Millis, Tier, decision::Answer, flow::State, id::kind};
use tokio::sync::Mutex;

use super::{
    Demo, DemoError,
    api::{Answered, Api},
    ledger,
    program::{Gate, until},
    stage,
};
use crate::http::wire::{NewPlan, NewStep, Param, PlanDetail, Problem, Proposed, Reason};

pub(super) use end::epilogue;

/// The pause between two looks at something that will happen soon.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked at: 20 seconds, far more than anything here takes.
pub(super) const MAX_LOOKS: u32 = 200;
/// How long a page of the stage may take to answer before it counts as silent.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a token of the agent is used: it lives for five minutes.
const FRESH: Millis = Millis::secs(120);
/// The checkpoint that somebody outside kept, early on.
pub(super) const REMEMBERED: &str = "remembered.checkpoint";

/// What the acts share.
pub(super) struct Play<'a> {
    pub(super) demo: &'a Demo,
    pub(super) api: Api,
    /// The agent's tokens by phase, each with the time of the demo at which it was fetched.
    tokens: Mutex<BTreeMap<&'static str, (Millis, String)>>,
    /// Ada's identity, for reading what agents may not. Her key is another matter.
    person: String,
    /// The plans so far, with a word for people, by incident.
    plans: BTreeMap<&'static str, Vec<(Id<kind::Plan>, &'static str)>>,
}

/// What the agent asks for.
#[derive(Clone, Copy)]
struct Ask {
    action: &'static str,
    targets: &'static [&'static str],
    trigger: &'static str,
    incident: &'static str,
    pool_size: Option<i64>,
    /// A word for people, who see the plan in a list.
    word: &'static str,
}

/// A plan that was denied, and the rule that did it.
struct Denied {
    seen: PlanDetail,
    reason: Reason,
}

/// Plays all acts.
pub(super) async fn play(demo: &Demo, gate: &mut Option<Gate>) -> Result<(), DemoError> {
    demo.screen.headline("Holdpoint: an agent repairs a shop, and may do only what it can prove.");
    let mut play = setting::is_set(demo, gate).await?;
    worker::hangs(&play).await?;
    worker::is_restarted(&mut play).await?;
    worker::is_slandered(&mut play).await?;
    let hold = checkout::leaks(&mut play).await?;
    checkout::waits_for_a_person(&play, &hold).await?;
    offers::get_no_better(&mut play).await?;
    offers::get_well(&mut play).await?;
    token::is_rotated(&mut play).await?;
    injection::is_obeyed(&mut play).await?;
    halt::comes_in_between(&mut play).await?;
    ledger::is_verified(&play).await?;
    ledger::shows_a_lie(&play).await?;
    end::timeline(&play).await
}

impl Play<'_> {
    /// A page of checkout.
    fn checkout(&self, path: &str) -> String {
        page(self.demo.ports.checkout, path)
    }

    /// What the balancer says about a worker.
    async fn backend_up(&self, worker: &str) -> Result<Option<f64>, DemoError> {
        let url = page(self.demo.ports.balancer, "/metrics");
        self.api.sample(&url, &format!("demo_backend_up{{backend=\"{worker}\"}}")).await
    }

    /// Waits until the balancer sees a worker as it should be.
    async fn sees(&self, act: u8, worker: &str, up: f64) -> Result<(), DemoError> {
        let seen = until(MAX_LOOKS, LOOK_EVERY, async || {
            Ok(self.backend_up(worker).await?.filter(|found| (found - up).abs() < 0.5))
        });
        let expected = format!("the balancer to say {up} of {worker}");
        seen.await?.map(|_| ()).ok_or_else(|| differs(act, expected, "something else"))
    }

    /// A token of the agent in a phase, as an agent gets it from SPIRE: it lives for minutes, and is fetched anew before its end.
    pub(super) async fn agent(&self, phase: &'static str) -> Result<String, DemoError> {
        let (now, mut tokens) = (self.demo.screen.elapsed(), self.tokens.lock().await);
        let fresh = |since: Millis| now.ms().saturating_sub(since.ms()) < FRESH.ms();
        if let Some((_, token)) = tokens.get(phase).filter(|(since, _)| fresh(*since)) {
            return Ok(token.clone());
        }
        let socket = format!("unix://{}/{}/{phase}.sock", self.demo.dir.display(), stage::RUN);
        let args = ["identity", "fetch", "--socket", &socket, "--audience", stage::AUDIENCE];
        let token = self.demo.program.must(&args, "").await?.trim().to_owned();
        tokens.insert(phase, (now, token.clone()));
        Ok(token)
    }

    /// A plan, seen with the agent's identity for looking.
    pub(super) async fn look(&self, plan: &Id<kind::Plan>) -> Result<PlanDetail, DemoError> {
        self.api.plan(&self.agent("observe").await?, plan).await
    }

    /// Proposes, and keeps the plan for the timeline.
    async fn asks(&mut self, ask: Ask, summary: &str, reason: &str) -> Result<Answered<Proposed>, DemoError> {
        let answered = self.api.propose(&self.agent("decide").await?, &ask.plan(summary, reason)?).await?;
        let plan = match &answered {
            Answered::Yes(proposed) => Some(proposed.id.clone()),
            Answered::No(problem) => problem.decision.as_ref().map(|denial| denial.plan.clone()),
        };
        let kept = self.plans.entry(ask.incident).or_default();
        kept.extend(plan.map(|plan| (plan, ask.word)));
        Ok(answered)
    }

    /// Proposes what should get this answer at this tier, and shows why it got it.
    async fn gets(
        &mut self,
        act: u8,
        (answer, tier): (Answer, Tier),
        ask: Ask,
        words: (&str, &str),
    ) -> Result<(Proposed, PlanDetail), DemoError> {
        let proposed = match self.asks(ask, words.0, words.1).await? {
            Answered::Yes(proposed) => proposed,
            Answered::No(problem) => return Err(refused(act, answer, &problem)),
        };
        let seen = self.look(&proposed.id).await?;
        self.show_evidence(&seen);
        self.show_blast(&seen);
        self.show_reasons(&proposed.reasons, proposed.tier);
        if (proposed.answer, proposed.tier) != (answer, tier) {
            let got = format!("{} at {}", proposed.answer, proposed.tier);
            return Err(differs(act, format!("{answer} at {tier}"), got));
        }
        let screen = &self.demo.screen;
        let meaning = format!("{tier}: {}", tier.meaning());
        if answer == Answer::Allow {
            screen.good("allowed", meaning)
        } else {
            screen.held("held", meaning)
        }
        Ok((proposed, seen))
    }

    /// Proposes what should be denied by this rule.
    async fn is_denied(
        &mut self,
        act: u8,
        rule: &'static str,
        ask: Ask,
        words: (&str, &str),
    ) -> Result<Denied, DemoError> {
        let problem = match self.asks(ask, words.0, words.1).await? {
            Answered::No(problem) => problem,
            Answered::Yes(proposed) => return Err(differs(act, "a denial", proposed.answer)),
        };
        let Some(denial) = &problem.decision else { return Err(refused(act, Answer::Deny, &problem)) };
        let Some(reason) = denial.reasons.iter().find(|reason| reason.rule.as_str() == rule) else {
            let rules: Vec<_> = denial.reasons.iter().map(|reason| reason.rule.as_str()).collect();
            return Err(differs(act, format!("a denial by rule {rule}"), rules.join(", ")));
        };
        let seen = self.look(&denial.plan).await?;
        if seen.state != State::Denied {
            return Err(differs(act, "the plan to be denied", seen.state));
        }
        Ok(Denied { seen, reason: reason.clone() })
    }

    /// Waits until a run has ended.
    async fn ended(&self, act: u8, plan: &Id<kind::Plan>, state: State) -> Result<PlanDetail, DemoError> {
        let ended = until(MAX_LOOKS, LOOK_EVERY, async || {
            let seen = self.look(plan).await?;
            Ok((seen.state.is_final() || seen.state == State::InDoubt).then_some(seen))
        });
        let ended = ended.await?.ok_or_else(|| differs(act, "the run to end", "it still goes on"))?;
        if ended.state != state {
            return Err(differs(
                act,
                format!("the run to end as {state}"),
                format!("{} {:?}", ended.state, ended.run),
            ));
        }
        Ok(ended)
    }

    /// A person signs an approval, with the command that any person uses; returns what it printed.
    async fn approves(&self, person: &str, hold: &Id<kind::Hold>) -> Result<String, DemoError> {
        let config = self.demo.arg(stage::CONFIG);
        let args = ["requests", "approve", hold.as_str(), "--as", person, "--config", &config];
        self.demo.screen.command(&self.demo.program.line(&args));
        // It asks before it signs; this is what they type.
        self.demo.program.must(&args, "approve\n").await
    }

    /// A person signs an approval; only what came of it is shown.
    async fn approves_in_short(&self, person: &str, hold: &Id<kind::Hold>) -> Result<(), DemoError> {
        let said = self.approves(person, hold).await?;
        self.demo.screen.quoted(said.lines().last().unwrap_or_default());
        Ok(())
    }
}

impl Ask {
    fn plan(self, summary: &str, reason: &str) -> Result<NewPlan, DemoError> {
        let parsed = |err: holdpoint_domain::id::IdError| differs(0, "a valid name", err);
        let action = Id::parse(self.action).map_err(parsed)?;
        let mut params = BTreeMap::new();
        if let Some(size) = self.pool_size {
            params.insert(Id::parse("pool_size").map_err(parsed)?, Param::Int(size));
        }
        let step = |target: &&str| {
            let (action, params) = (action.clone(), params.clone());
            Id::parse(target).map(|target| NewStep { action, target, params })
        };
        Ok(NewPlan {
            action: None,
            target: None,
            params: BTreeMap::new(),
            steps: self.targets.iter().map(step).collect::<Result<_, _>>().map_err(parsed)?,
            trigger: Id::parse(self.trigger).map_err(parsed)?,
            incident: Some(Id::parse(self.incident).map_err(parsed)?),
            summary: summary.to_owned(),
            reason: reason.to_owned(),
            confidence: Some("0.99".to_owned()),
            prompt: None,
            model: Some("a script".to_owned()),
            transcript: None,
        })
    }
}

/// A page of a part of the stage.
fn page(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

/// An act that went differently.
pub(super) fn differs(act: u8, expected: impl Into<String>, got: impl std::fmt::Display) -> DemoError {
    DemoError::Differs { act, expected: expected.into(), got: got.to_string() }
}

fn refused(act: u8, answer: Answer, problem: &Problem) -> DemoError {
    differs(act, format!("answer {answer}"), format!("{}: {}", problem.rule, problem.detail))
}
