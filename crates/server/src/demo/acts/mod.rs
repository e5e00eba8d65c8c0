//! The story: what happens, what is expected of it, and what the person in front of the terminal should notice.

mod checkout;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use holdpoint_domain::{
    Id, Timestamp,
    decision::ReasonEffect,
    flow::State,
    id::kind,
    text::visible,
    trigger::{Reading, Truth, Why},
};

use super::{
    Demo, DemoError,
    api::Api,
    ledger,
    program::{Gate, until},
    stage,
};
use crate::http::wire::{NewPlan, PlanDetail, Reason};

/// The pause between two looks at something that will happen soon.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked at: 20 seconds, far more than anything here takes.
pub(super) const MAX_LOOKS: u32 = 200;
/// How long a page of the stage may take to answer before it counts as silent.
const SILENCE: Duration = Duration::from_millis(500);
/// The checkpoint that somebody outside kept, early on.
pub(super) const REMEMBERED: &str = "remembered.checkpoint";

/// What the acts share.
pub(super) struct Play<'a> {
    pub(super) demo: &'a Demo,
    pub(super) api: Api,
    /// The agent's identity for looking.
    observe: String,
    /// The agent's identity for proposing.
    decide: String,
    /// The plans so far, with a word for people.
    pub(super) plans: Vec<(Id<kind::Plan>, &'static str)>,
}

/// Plays all acts.
pub(super) async fn play(demo: &Demo, gate: &mut Option<Gate>) -> Result<(), DemoError> {
    let screen = &demo.screen;
    screen.headline("Holdpoint: an agent repairs a shop, and may do only what it can prove.");
    let mut play = setting(demo, gate).await?;
    worker::hangs(&play).await?;
    worker::is_restarted(&mut play).await?;
    worker::is_slandered(&mut play).await?;
    let hold = checkout::leaks(&mut play).await?;
    checkout::waits_for_a_person(&play, &hold).await?;
    ledger::is_verified(&play).await?;
    ledger::shows_a_lie(&play).await?;
    timeline(&play).await
}

/// Act 1: the stage, the gate, and the agent's identities.
async fn setting<'a>(demo: &'a Demo, gate: &mut Option<Gate>) -> Result<Play<'a>, DemoError> {
    let screen = &demo.screen;
    screen.act(1, "A shop, and a gate in front of it");
    screen.fact("files", demo.dir.display());
    let api = Api::new(demo.ports.gate)?;
    demo.set_stage(gate, &api).await?;
    screen.fact("gate", api.gate());

    let config = demo.arg(stage::CONFIG);
    let token = async |phase: &str| {
        let args = ["identity", "issue", "--config", &config, "--agent", "medic", "--phase", phase];
        // They outlive a hold that nobody answers.
        let args = [&args[..], &["--ttl-secs", "1800"]].concat();
        demo.program.must(&args, "").await.map(|token| token.trim().to_owned())
    };
    let (observe, decide) = (token("observe").await?, token("decide").await?);
    let play = Play { demo, api, observe, decide, plans: Vec::new() };

    let everything_runs = until(MAX_LOOKS, LOOK_EVERY, async || {
        let mut up = play.api.answers(&play.checkout("/healthz"), SILENCE).await;
        for worker in ["worker-1", "worker-2", "worker-3"] {
            up = up && play.backend_up(worker).await.ok().flatten() == Some(1.0);
        }
        Ok(up.then_some(()))
    });
    everything_runs
        .await?
        .ok_or_else(|| differs(1, "all parts of the stage to run", "not all of them do"))?;
    screen.fact(
        "units",
        "worker-1, worker-2, worker-3, balancer, checkout: processes under the gate's supervisor",
    );
    for _ in 0..3 {
        play.api.poke(&play.checkout("/carts")).await?;
    }
    screen.fact("carts", "3 in checkout's memory, and nowhere else");
    screen.fact(
        "agent",
        "medic, with one identity to look (observe) and one to propose (decide); none to execute",
    );
    demo.write(REMEMBERED, play.api.checkpoint().await?)?;
    screen.fact("ledger", format_args!("its signed head is kept in {REMEMBERED}, as an outsider would"));
    Ok(play)
}

impl Play<'_> {
    /// A page of checkout.
    fn checkout(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.demo.ports.checkout)
    }

    /// A page of a worker.
    fn worker(&self, port: u16, path: &str) -> String {
        format!("http://127.0.0.1:{port}{path}")
    }

    /// What the balancer says about a worker.
    async fn backend_up(&self, worker: &str) -> Result<Option<f64>, DemoError> {
        let url = format!("http://127.0.0.1:{}/metrics", self.demo.ports.balancer);
        self.api.sample(&url, &format!("demo_backend_up{{backend=\"{worker}\"}}")).await
    }

    /// A plan, seen with the agent's identity for looking.
    pub(super) async fn look(&self, plan: &Id<kind::Plan>) -> Result<PlanDetail, DemoError> {
        self.api.plan(&self.observe, plan).await
    }

    /// Waits until a run has ended.
    async fn ended(&self, act: u8, plan: &Id<kind::Plan>) -> Result<PlanDetail, DemoError> {
        let ended = until(MAX_LOOKS, LOOK_EVERY, async || {
            let seen = self.look(plan).await?;
            Ok((seen.state.is_final() || seen.state == State::InDoubt).then_some(seen))
        });
        ended.await?.ok_or_else(|| differs(act, "the run to end", "it still goes on"))
    }

    /// Prints what the probes saw.
    fn show_evidence(&self, plan: &PlanDetail) {
        let Some(signed) = &plan.evidence else { return };
        for reading in &signed.evidence.readings {
            self.demo.screen.fact("measured", shown(reading));
        }
        let agreement = &signed.evidence.agreement;
        self.demo.screen.fact(
            "trigger",
            format_args!(
                "{} {}: {} of {} independent sources say so, {} needed",
                signed.evidence.condition,
                truth(agreement.truth),
                agreement.holding,
                agreement.sources,
                agreement.needed
            ),
        );
    }

    /// Prints what the plan could disturb.
    fn show_blast(&self, plan: &PlanDetail) {
        let Some(facts) = &plan.facts else { return };
        let names = |services: &BTreeSet<Id<kind::Service>>| {
            let names: Vec<_> = services.iter().map(Id::as_str).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let (services, critical) = (names(&facts.blast.services), names(&facts.blast.critical));
        self.demo.screen.fact("disturbs", format_args!("{services}; critical among them: {critical}"));
    }

    /// Prints the rules that had a say.
    fn show_reasons(&self, reasons: &[Reason]) {
        for reason in reasons {
            let fact = visible(&reason.fact);
            let effect = match reason.effect {
                ReasonEffect::Raised(tier) => format!("not below {tier}"),
                ReasonEffect::Denied => "denies".to_owned(),
                ReasonEffect::Deferred => "defers".to_owned(),
                ReasonEffect::Permitted => "permits".to_owned(),
                ReasonEffect::Forbade => "forbids".to_owned(),
                ReasonEffect::Failed => "failed".to_owned(),
            };
            self.demo.screen.fact("rule", format_args!("{} ({effect}): {fact}", reason.rule));
        }
    }

    /// Prints a rule as it stands in the policy.
    fn show_rule(&self, rule: &str) -> Result<(), DemoError> {
        let path = self.demo.path(stage::POLICY);
        let policy = std::fs::read_to_string(&path).map_err(|source| DemoError::File { path, source })?;
        self.demo.screen.say(format_args!("This is the rule, in {}:", stage::POLICY));
        self.demo.screen.quoted(&rule_text(&policy, rule));
        Ok(())
    }
}

/// The agent's proposal.
fn proposal(target: &str, trigger: &str, summary: &str, reason: &str) -> Result<NewPlan, DemoError> {
    let parsed = |err: holdpoint_domain::id::IdError| differs(0, "a valid name", err);
    Ok(NewPlan {
        action: Id::parse("process.restart").map_err(parsed)?,
        target: Id::parse(target).map_err(parsed)?,
        trigger: Id::parse(trigger).map_err(parsed)?,
        params: BTreeMap::new(),
        incident: Some(Id::parse("shop-is-slow").map_err(parsed)?),
        summary: summary.to_owned(),
        reason: reason.to_owned(),
        confidence: Some("0.99".to_owned()),
        prompt: None,
        model: Some("a script".to_owned()),
        transcript: None,
    })
}

/// An act that went differently.
pub(super) fn differs(act: u8, expected: impl Into<String>, got: impl std::fmt::Display) -> DemoError {
    DemoError::Differs { act, expected: expected.into(), got: got.to_string() }
}

/// The text of a rule, from its id to its end; empty when it is not there.
fn rule_text(policy: &str, rule: &str) -> String {
    let id = format!("@id(\"{rule}\")");
    let mut lines = Vec::new();
    for line in policy.lines().skip_while(|line| !line.starts_with(&id)) {
        lines.push(line);
        if line.trim_end().ends_with(';') {
            break;
        }
    }
    lines.join("\n")
}

fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::Holds => "holds",
        Truth::DoesNotHold => "does not hold",
        Truth::Indeterminate => "cannot be told",
    }
}

fn shown(reading: &Reading) -> String {
    let why = match reading.why {
        Why::Measured => "measured",
        Why::TimedOut => "no answer in time",
        Why::Refused => "connection refused",
        Why::Broken => "the answer broke",
        Why::Garbage => "the answer does not parse",
        Why::NoData => "no data",
        Why::Ambiguous => "several series match",
        Why::NotANumber => "not a number",
        Why::Stale => "too old",
        Why::NoEndpoint => "no such endpoint",
        Why::OurFault => "could not measure",
    };
    let value = reading.value.map_or_else(String::new, |value| format!(", value {value}"));
    format!("{} of source {}: {} ({why}{value})", reading.endpoint, reading.source, truth(reading.truth))
}

/// A time in UTC, as `format` has it.
fn utc(at: Timestamp, format: &str) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{} ms", at.ms()), |time| time.strftime(format).to_string())
}

/// Act 8: the incident's path, from the records of its plans.
async fn timeline(play: &Play<'_>) -> Result<(), DemoError> {
    let screen = &play.demo.screen;
    screen.act(8, "The incident, as the ledger tells it");
    let mut moments = Vec::new();
    for (plan, word) in &play.plans {
        let seen = play.look(plan).await?;
        moments.extend(seen.timeline.into_iter().map(|moment| (moment, *word)));
    }
    moments.sort_by_key(|(moment, _)| moment.index);
    if !moments.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a.index < b.index))
        || moments.len() < 20
    {
        return Err(differs(8, "at least 20 records, each once", format!("{} records", moments.len())));
    }
    screen.say(format_args!("{:>5}  {:<12}  {:<22}  {:<20}  what", "entry", "UTC", "plan", "who"));
    for (moment, word) in moments {
        let (at, what) = (utc(moment.at_ms, "%H:%M:%S%.3f"), visible(&moment.what));
        screen.say(format_args!("{:>5}  {at:<12}  {word:<22}  {:<20}  {what}", moment.index, moment.actor));
    }
    screen.say("Notice: what authorised an effect was on disk before the effect began. What belongs to no plan, such as");
    screen.say("the refused signature of act 5, is in the ledger too.");
    Ok(())
}

/// The end: what was shown, where everything is, what to try next.
pub(super) fn epilogue(demo: &Demo) {
    let screen = &demo.screen;
    screen.headline(&format!("Done in {}. What you saw:", screen.seconds()));
    screen.say("- a repair ran without a person, because the gate itself measured that it was needed and can be undone");
    screen.say("- a claim that the gate measured as false was refused, however sure the agent was");
    screen.say("- a repair that costs something waited for a person's signature over exactly that plan");
    screen.say("- anybody can check the record offline, and a changed bit shows");
    let config = demo.arg(stage::CONFIG);
    let line = |args: &[&str]| demo.program.line_anywhere(args);
    screen.headline("Where it is:");
    screen.fact("files", demo.dir.display());
    screen.fact("policy", demo.path(stage::POLICY).display());
    screen.fact("gate's log", demo.gate_log().display());
    screen.headline(
        "What to try next. Start the gate and its shop again; the shop ends by itself after an hour:",
    );
    screen.command(&line(&["serve", "--config", &config]));
    screen.say("In another terminal, let worker-3 hang, and be the agent:");
    screen.command(&format!("curl -X POST http://127.0.0.1:{}/hang", demo.ports.worker_3));
    let token = line(&["identity", "issue", "--config", &config, "--agent", "medic", "--phase", "decide"]);
    screen.command(&format!("export HOLDPOINT_TOKEN=$({token})"));
    let restart = ["propose", "process.restart", "worker-3", "--trigger", "process.hung", "--wait"];
    screen.command(&line(&[&restart[..], &["--config", &config]].concat()));
    screen.command(&line(&["ledger", "show", "--config", &config, "--as", "ada"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_shown_from_its_id_to_its_end() {
        let policy =
            "// first\n@id(\"a\")\npermit (principal);\n\n@id(\"b\")\nforbid (\n  principal\n);\n// more\n";
        assert_eq!(rule_text(policy, "a"), "@id(\"a\")\npermit (principal);");
        assert_eq!(rule_text(policy, "b"), "@id(\"b\")\nforbid (\n  principal\n);");
        assert_eq!(rule_text(policy, "c"), "");
        // The rule of act 4 is in the policy that the stage has.
        let starter = include_str!("../../../../../policies/starter.cedar");
        assert!(rule_text(starter, "refuted-trigger").contains("context.trigger.refuted"));
    }
}
