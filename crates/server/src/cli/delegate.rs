//! `holdpoint delegate`: an agent acts for whoever asks.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    CliError, Door,
    client::Client,
    output::{Print, read},
    say,
};
use crate::http::wire::Delegated;

#[derive(Debug, Args)]
pub(crate) struct DelegateOptions {
    #[command(flatten)]
    door: Door,
    /// The agent that is to act for you
    #[arg(long, value_name = "AGENT")]
    to: String,
    /// Only this action; may be given several times
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<String>,
    /// Only this target; may be given several times
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// For how long: eight hours at most
    #[arg(long, default_value_t = 3600)]
    ttl_secs: u32,
    #[command(flatten)]
    print: Print,
}

/// Prints the token alone, so that it can be sent to a file.
pub(crate) async fn delegate(options: DelegateOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let listed = |names: &[String]| if names.is_empty() { Value::Null } else { json!(names) };
    let fields = [
        ("to", json!(options.to)),
        ("actions", listed(&options.actions)),
        ("targets", listed(&options.targets)),
        ("life_ms", json!(u64::from(options.ttl_secs).saturating_mul(1000))),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_null());
    let body: Map<String, Value> = given.map(|(name, value)| (name.to_owned(), value)).collect();
    let (_, answer) = client.post("/v1/delegations", &body).await?;
    let delegated: Delegated = read(&answer)?;
    if !options.print.data(&answer)? {
        say(delegated.token);
    }
    Ok(())
}
