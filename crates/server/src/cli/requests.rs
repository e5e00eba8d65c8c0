//! `holdpoint requests`: what waits for people, and their signatures.
//!
//! The command trusts nothing that the gate merely says about a hold: it encodes plan, facts and decision anew, compares
//! their digests with the terms that it signs, and shows what those bytes say.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use holdpoint_adapters::system::{Ed25519Key, Seed};
use holdpoint_domain::{
    Digest, Id,
    approval::{Choice, HoldTerms, SignedStatement, Statement},
    decision::{Decision, ReasonEffect},
    facts::Facts,
    id::kind,
    plan::Plan,
    text::visible,
    trigger::Truth,
};
use serde_json::Value;

use super::{CliError, Door, client::Client, failed, plans::clock_time, say};

/// Commands on requests that wait for people.
#[derive(Debug, Subcommand)]
pub(crate) enum RequestsCommand {
    /// List requests that wait
    Ls(LsOptions),
    /// Show what is asked, and sign an approval of exactly that
    Approve(DecideOptions),
    /// Show what is asked, and sign a rejection
    Deny(DecideOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    door: Door,
}

#[derive(Debug, Args)]
pub(crate) struct DecideOptions {
    #[command(flatten)]
    door: Door,
    /// The hold
    hold: String,
    /// Your approval key; with --as and --config, `people/<name>.key` beside the configuration
    #[arg(long)]
    key: Option<PathBuf>,
    /// Do not ask before signing
    #[arg(long)]
    yes: bool,
}

/// Runs a command on requests.
pub(crate) async fn run(command: RequestsCommand) -> Result<(), CliError> {
    match command {
        RequestsCommand::Ls(options) => ls(options).await,
        RequestsCommand::Approve(options) => decide(options, Choice::Approve).await,
        RequestsCommand::Deny(options) => decide(options, Choice::Reject).await,
    }
}

async fn ls(options: LsOptions) -> Result<(), CliError> {
    let answer = Client::connect(&options.door)?.get("/v1/holds").await?;
    let holds = answer.get("holds").and_then(Value::as_array).cloned().unwrap_or_default();
    if holds.is_empty() {
        say("nothing waits for people");
        return Ok(());
    }
    say(format_args!(
        "{:<38} {:<5} {:<18} {:<18} {:<14} {:<9} ENDS",
        "HOLD", "TIER", "ACTION", "TARGET", "AGENT", "APPROVED"
    ));
    for hold in holds {
        let (terms, plan, _, _) = parts(&hold)?;
        let step = plan.steps().first();
        let approved = hold.get("approvals").and_then(Value::as_array).map_or(0, Vec::len);
        say(format_args!(
            "{:<38} {:<5} {:<18} {:<18} {:<14} {:<9} {}",
            terms.hold,
            terms.tier,
            step.map_or("-", |step| step.action.as_str()),
            step.map_or("-", |step| step.target.as_str()),
            plan.requester().agent,
            format!("{approved}/{}", holdpoint_domain::permit::needed(terms.tier)),
            clock_time(terms.expires_at_ms),
        ));
    }
    Ok(())
}

async fn decide(options: DecideOptions, choice: Choice) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let hold: Id<kind::Hold> = options.hold.parse().map_err(failed)?;
    let person =
        options.door.person.as_deref().ok_or_else(|| CliError::Usage("expected --as, your name".into()))?;
    let person: Id<kind::Person> = person.parse().map_err(failed)?;
    let key = match (&options.key, client.config()) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => config.person_key(&person),
        (None, None) => return Err(CliError::Usage("expected --key, your approval key".into())),
    };

    let answer = client.get(&format!("/v1/holds/{hold}")).await?;
    let (terms, plan, facts, decision) = parts(&answer)?;
    if terms.hold != hold {
        return Err(CliError::Failed(format!(
            "the gate answered with hold `{}`: expected `{hold}`",
            terms.hold
        )));
    }
    show(&answer, &terms, &plan, &facts, &decision);
    if !options.yes && !confirmed(choice)? {
        return Err(CliError::Failed("nothing was signed".into()));
    }
    let signer =
        Seed::load(&key).and_then(|seed| Ed25519Key::from_seed("approval", &seed)).map_err(failed)?;
    let statement = Statement::new(terms, person, choice);
    let signature = signer.sign(&statement.signing_bytes().map_err(failed)?);
    let signed = SignedStatement { statement, signature };
    let (_, done) = client.post(&format!("/v1/holds/{hold}/decisions"), &signed).await?;
    let field = |name: &str| done.get(name).map(ToString::to_string).unwrap_or_default();
    say(format_args!(
        "signed and recorded: plan {} is {} ({} of {} approvals)",
        field("plan").trim_matches('"'),
        field("state").trim_matches('"'),
        field("approvals"),
        field("needed")
    ));
    Ok(())
}

/// Reads terms, plan, facts and decision out of the gate's answer, and checks that the terms name exactly those bytes.
fn parts(answer: &Value) -> Result<(HoldTerms, Plan, Facts, Decision), CliError> {
    fn field<T: serde::de::DeserializeOwned>(answer: &Value, name: &str) -> Result<T, CliError> {
        serde_json::from_value(answer.get(name).cloned().unwrap_or_default())
            .map_err(|err| CliError::Failed(format!("the gate's answer has no readable `{name}`: {err}")))
    }
    let terms: HoldTerms = field(answer, "terms")?;
    let plan: Plan = field(answer, "plan")?;
    let facts: Facts = field(answer, "facts")?;
    let decision: Decision = field(answer, "decision")?;
    let digests: [(&str, Digest, Digest); 4] = [
        ("plan", terms.plan, plan.digest().map_err(failed)?),
        ("facts", terms.facts, facts.digest().map_err(failed)?),
        ("decision", terms.decision, decision.digest().map_err(failed)?),
        ("facts of the decision", decision.facts, terms.facts),
    ];
    for (what, expected, got) in digests {
        if expected != got {
            return Err(CliError::NotVerified(format!(
                "the {what} shown is not what would be signed: expected {expected}, got {got}. Sign nothing, and have somebody look at the gate"
            )));
        }
    }
    if decision.tier != terms.tier {
        return Err(CliError::NotVerified("the tier of the terms is not the decision's".into()));
    }
    Ok((terms, plan, facts, decision))
}

/// What the bytes to be signed say. Everything of the agent stands in a marked block, made visible.
fn show(answer: &Value, terms: &HoldTerms, plan: &Plan, facts: &Facts, decision: &Decision) {
    say(format_args!("hold      {}  tier {} ({})", terms.hold, terms.tier, terms.tier.meaning()));
    for step in plan.steps() {
        say(format_args!("does      {} on {}", step.action, step.target));
        for (name, value) in &step.params {
            say(format_args!("  with    {name} = {value:?}"));
        }
        say(format_args!(
            "  undo    {:?}; target must be in version {}",
            step.undo,
            step.expected_version.short()
        ));
    }
    say(format_args!("undo      {}", undo(facts)));
    say(format_args!("asked by  agent {}", plan.requester().agent));
    if let Some(target) = &facts.target {
        say(format_args!(
            "target    service {} in {}, owner {}, {} criticality, {} of {} replicas",
            target.service,
            target.environment,
            target.owner,
            target.criticality.as_str(),
            facts.blast.targets.len(),
            target.replicas
        ));
    }
    let names = |ids: Vec<&str>| if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
    say(format_args!("disturbs  {}", names(facts.blast.services.iter().map(Id::as_str).collect())));
    say(format_args!("critical  {}", names(facts.blast.critical.iter().map(Id::as_str).collect())));
    let agreement = &facts.trigger.agreement;
    say(format_args!(
        "trigger   {} {} ({} of {} independent sources say that it holds, {} needed)",
        facts.trigger.condition,
        truth(agreement.truth),
        agreement.holding,
        agreement.sources,
        agreement.needed
    ));
    for reason in &decision.reasons {
        if let ReasonEffect::Raised(tier) = reason.effect {
            say(format_args!("because   {} (not below {tier})", reason.rule));
        }
    }
    if decision.development {
        say("DEVELOPMENT: a signature from the command line counts as strong authentication here");
    }
    let words = answer.get("narrative").cloned().unwrap_or_default();
    let word = |name: &str| words.get(name).and_then(Value::as_str).map(visible).unwrap_or_default();
    say("the agent's own words, which prove nothing:");
    say(format_args!("  | {}", word("summary")));
    say(format_args!("  | {}", word("reason")));
    say(format_args!("plan      {}", terms.plan));
    say(format_args!("ends      {}; unanswered means no", clock_time(terms.expires_at_ms)));
}

/// What would take the effect back, in words.
fn undo(facts: &Facts) -> &'static str {
    match (facts.has_undo(), facts.action.undo.restores()) {
        (true, true) => "the gate can put the state before back",
        (true, false) => "the target heals itself",
        (false, _) => "nothing would undo it",
    }
}

const fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::Holds => "holds",
        Truth::DoesNotHold => "does not hold",
        Truth::Indeterminate => "cannot be told",
    }
}

#[allow(clippy::print_stdout, reason = "asks on the terminal")]
fn confirmed(choice: Choice) -> Result<bool, CliError> {
    let word = match choice {
        Choice::Approve => "approve",
        Choice::Reject => "reject",
    };
    print!("Type `{word}` to sign: ");
    std::io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    if !std::io::stdin().is_terminal() {
        // Nobody pressed Enter on the screen.
        say("");
    }
    Ok(line.trim() == word)
}
