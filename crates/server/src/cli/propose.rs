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
    #[arg(required_unless_present = "steps")]
    action: Option<String>,
    /// The target, as in the inventory
    #[arg(required_unless_present = "steps")]
    target: Option<String>,
    /// One of several steps, in order, instead of action and target
    #[arg(
        long = "step",
        value_name = "ACTION:TARGET[:NAME=VALUE,…]",
        conflicts_with_all = ["action", "target", "params"]
    )]
    steps: Vec<String>,
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
    let params = parameters(options.params.iter().map(String::as_str))?;
    let steps = options.steps.iter().map(|step| parse_step(step)).collect::<Result<Vec<_>, _>>()?;
    let fields = [
        ("action", json!(options.action)),
        ("target", json!(options.target)),
        ("trigger", json!(options.trigger)),
        ("params", if steps.is_empty() { json!(params) } else { Value::Null }),
        ("steps", if steps.is_empty() { Value::Null } else { json!(steps) }),
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

/// Parameters as they are written on the command line.
fn parameters<'a>(words: impl Iterator<Item = &'a str>) -> Result<BTreeMap<&'a str, Value>, CliError> {
    let mut params = BTreeMap::new();
    for word in words {
        let parsed = word.split_once('=');
        let (name, value) =
            parsed.ok_or_else(|| CliError::Usage(format!("expected NAME=VALUE, got `{}`", visible(word))))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        if params.insert(name, value).is_some() {
            return Err(CliError::Usage(format!("parameter `{}` is given twice", visible(name))));
        }
    }
    Ok(params)
}

/// A step as it is written on the command line.
fn parse_step(text: &str) -> Result<Value, CliError> {
    let mut parts = text.splitn(3, ':');
    let (Some(action), Some(target)) = (parts.next(), parts.next()) else {
        return Err(CliError::Usage(format!(
            "expected ACTION:TARGET[:NAME=VALUE,…], got `{}`",
            visible(text)
        )));
    };
    let params = parameters(parts.next().into_iter().flat_map(|params| params.split(',')))?;
    Ok(json!({"action": action, "target": target, "params": params}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_people_write() {
        assert_eq!(
            parse_step("flag.switch:shop:flag=new,on=true,n=3").unwrap(),
            json!({"action": "flag.switch", "target": "shop", "params": {"flag": "new", "on": true, "n": 3}})
        );
        assert_eq!(parse_step("a:b").unwrap(), json!({"action": "a", "target": "b", "params": {}}));
        for bad in ["", "a", "a:b:c", "a:b:c=1,c=2"] {
            assert_eq!(parse_step(bad).unwrap_err().code(), 2, "{bad}");
        }
    }
}
