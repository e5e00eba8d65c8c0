//! `holdpoint propose`: a plan, as an agent proposes it.

use std::collections::BTreeMap;

use clap::Args;
use holdpoint_domain::text::visible;
use serde_json::{Map, Value, json};

use super::{
    CliError, Door,
    client::Client,
    get,
    output::{Print, plain, read},
    say,
    wait::{self, WaitOptions},
};
use crate::{cli::describe::reason_lines, http::wire::Proposed};

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
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    print: Print,
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
    let fields = [
        ("action", json!(options.action)),
        ("target", json!(options.target)),
        ("trigger", json!(options.trigger)),
        ("params", json!(params)),
        ("incident", json!(options.incident)),
        ("summary", json!(options.summary)),
        ("reason", json!(options.reason)),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_null());
    let body: Map<String, Value> = given.map(|(name, value)| (name.to_owned(), value)).collect();
    let (_, answer) = client.post("/v1/plans", &body).await?;
    let proposed: Proposed = read(&answer)?;
    if options.wait.waits() {
        let plan = wait::settled(&client, &proposed.id, &options.wait, &options.print).await?;
        get::ended(&plan, &options.wait, &options.print)?;
        return wait::outcome(&proposed.id, plan.state);
    }
    if !options.print.data(&answer)? {
        let Proposed { id, state, tier, .. } = &proposed;
        say(format_args!("plan    {id}  {}  tier {tier}", options.print.paint().state(*state)));
        reason_lines(&proposed.reasons).into_iter().for_each(say);
        proposed.hold.iter().for_each(|hold| say(plain(&format!("hold    {hold}"))));
    }
    // Nobody waited for its end: that it started is what was asked for.
    if wait::stands_still(proposed.state) { wait::outcome(&proposed.id, proposed.state) } else { Ok(()) }
}
