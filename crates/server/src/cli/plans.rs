//! `holdpoint propose` and `holdpoint get`.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use holdpoint_domain::{Timestamp, text::visible};
use serde_json::{Value, json};

use super::{CliError, Door, Output, client::Client, failed, say};

/// The pause between two looks of `--wait`.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct ProposeOptions {
    #[command(flatten)]
    door: Door,
    /// The action, as in the catalogue
    action: String,
    /// The target, as in the inventory
    target: String,
    /// The condition that justifies it; the gate measures it itself
    #[arg(long)]
    trigger: String,
    /// Parameters, as name=value
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The incident
    #[arg(long)]
    incident: Option<String>,
    /// What the matter is, in your words
    #[arg(long)]
    summary: Option<String>,
    /// Why you want this
    #[arg(long)]
    reason: Option<String>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Wait until the plan has ended
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetOptions {
    #[command(flatten)]
    door: Door,
    /// The plan; all when left out
    plan: Option<String>,
    /// Only plans in this state
    #[arg(long)]
    state: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Proposes a plan.
pub(crate) async fn propose(options: ProposeOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let mut params: BTreeMap<&str, Value> = BTreeMap::new();
    for param in &options.params {
        let (name, value) = param
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("expected NAME=VALUE, got `{}`", visible(param))))?;
        params.insert(name, serde_json::from_str(value).unwrap_or_else(|_| json!(value)));
    }
    let body = json!({
        "action": options.action, "target": options.target, "trigger": options.trigger, "params": params,
        "incident": options.incident, "summary": options.summary, "reason": options.reason,
    });
    let body: serde_json::Map<String, Value> = body
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let (_, mut plan) = client.post("/v1/plans", &body).await?;
    if options.wait {
        let id = text(&plan, "id").to_owned();
        while !settled(text(&plan, "state")) {
            tokio::time::sleep(LOOK_EVERY).await;
            plan = client.plan(&id).await?.0;
        }
    }
    print(&plan, options.output)?;
    match text(&plan, "state") {
        "held" => Err(CliError::Pending(format!("plan {} waits for people", text(&plan, "id")))),
        "deferred" => {
            Err(CliError::Pending(format!("plan {} is measured again by the gate", text(&plan, "id"))))
        }
        _ => Ok(()),
    }
}

/// Shows plans.
pub(crate) async fn get(options: GetOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    if let Some(plan) = &options.plan {
        return print(&client.plan(plan).await?.0, options.output);
    }
    let query = options.state.as_deref().map(|state| format!("?state={state}")).unwrap_or_default();
    let answer = client.get(&format!("/v1/plans{query}")).await?;
    if options.output == Output::Json {
        say(serde_json::to_string_pretty(&answer).map_err(failed)?);
        return Ok(());
    }
    say(format_args!(
        "{:<38} {:<12} {:<5} {:<18} {:<18} {:<14} PROPOSED",
        "PLAN", "STATE", "TIER", "ACTION", "TARGET", "AGENT"
    ));
    for plan in answer.get("plans").and_then(Value::as_array).into_iter().flatten() {
        let proposed =
            plan.get("proposed_at_ms").and_then(Value::as_u64).and_then(|ms| Timestamp::from_ms(ms).ok());
        say(format_args!(
            "{:<38} {:<12} {:<5} {:<18} {:<18} {:<14} {}",
            text(plan, "id"),
            text(plan, "state"),
            text(plan, "tier"),
            text(plan, "action"),
            text(plan, "target"),
            text(plan, "agent"),
            proposed.map(clock_time).unwrap_or_default(),
        ));
    }
    Ok(())
}

fn print(plan: &Value, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        say(serde_json::to_string_pretty(plan).map_err(failed)?);
        return Ok(());
    }
    say(format_args!("plan    {}  {}  tier {}", text(plan, "id"), text(plan, "state"), text(plan, "tier")));
    for reason in plan.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        say(format_args!("rule    {}: {}", text(reason, "rule"), text(reason, "fact")));
    }
    // A proposal's answer has the hold's id, a plan has the hold.
    if let Some(hold) = plan.get("hold").filter(|hold| !hold.is_null()) {
        say(format_args!("hold    {}", hold.as_str().unwrap_or_else(|| text(hold, "id"))));
    }
    for line in timeline(plan) {
        say(line);
    }
    Ok(())
}

/// A plan's records, a line each.
pub(crate) fn timeline(plan: &Value) -> Vec<String> {
    let line = |entry: &Value| {
        let at = entry.get("at_ms").and_then(Value::as_u64).and_then(|ms| Timestamp::from_ms(ms).ok());
        let at = at.map(clock_time).unwrap_or_default();
        let index = entry.get("index").and_then(Value::as_u64).unwrap_or_default();
        format!("{index:>6}  {at}  {:<12} {}", text(entry, "what"), text(entry, "actor"))
    };
    plan.get("timeline").and_then(Value::as_array).into_iter().flatten().map(line).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// Whether nothing happens to a plan in this state by itself any more, or not before people act.
fn settled(state: &str) -> bool {
    use holdpoint_domain::flow::State;
    State::parse(state).is_none_or(|state| {
        state.is_final() || matches!(state, State::Held | State::InDoubt | State::Deferred)
    })
}

/// A time as people read it, in UTC.
pub(crate) fn clock_time(at: Timestamp) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{} ms", at.ms()), |time| format!("{time:.3}"))
}
