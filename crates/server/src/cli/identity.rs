//! `holdpoint identity` and `holdpoint keygen`: local development identities, and approval keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdpoint_adapters::{
    identity::{DevIssuer, fetch_token},
    system::{Ed25519Key, KeyUse, Seed, SystemClock},
};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::{
    Millis,
    actor::{Identity, Phase},
};

use super::{CliError, failed, say};
use crate::config::Config;

/// Identities of workloads and people.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Print a token of the local development issuer. Whoever can read its key can be anybody, so it is no issuer for production
    Issue(IssueOptions),
    /// Print the JWT-SVID that a Workload API gives to this process
    Fetch(FetchOptions),
}

#[derive(Debug, Args)]
pub(crate) struct FetchOptions {
    /// The Workload API, as `unix:///path/of/a/socket`
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET")]
    socket: String,
    /// The audience of the gate, as its `audience` says
    #[arg(long)]
    audience: String,
}

#[derive(Debug, Args)]
pub(crate) struct IssueOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// The agent
    #[arg(long, requires = "phase", required_unless_present = "person")]
    agent: Option<String>,
    /// The agent's phase: observe, decide or execute
    #[arg(long)]
    phase: Option<String>,
    /// A person instead of an agent
    #[arg(long, conflicts_with_all = ["agent", "phase"])]
    person: Option<String>,
    /// How long the token lives
    #[arg(long, default_value_t = 900)]
    ttl_secs: u32,
}

#[derive(Debug, Args)]
pub(crate) struct KeygenOptions {
    /// The key file to write; must not exist
    #[arg(long)]
    out: PathBuf,
}

/// Runs an identity command.
pub(crate) async fn run(command: &IdentityCommand) -> Result<(), CliError> {
    let options = match command {
        IdentityCommand::Issue(options) => options,
        IdentityCommand::Fetch(options) => {
            say(fetch_token(&options.socket, &options.audience).await.map_err(failed)?);
            return Ok(());
        }
    };
    let identity = match (&options.agent, &options.phase, &options.person) {
        (Some(agent), Some(phase), None) => {
            let phase = Phase::ALL.into_iter().find(|known| known.as_str() == phase);
            let phase =
                phase.ok_or_else(|| CliError::Usage("expected --phase observe, decide or execute".into()))?;
            Identity::Agent { agent: agent.parse().map_err(failed)?, phase }
        }
        (_, _, Some(person)) => Identity::Person { person: person.parse().map_err(failed)? },
        _ => return Err(CliError::Usage("expected --agent with --phase, or --person".into())),
    };
    say(issue(&Config::load(&options.config)?, &identity, options.ttl_secs)?);
    Ok(())
}

/// A token of the configuration's development issuer.
pub(crate) fn issue(config: &Config, identity: &Identity, ttl_secs: u32) -> Result<String, CliError> {
    let path = KeyUse::Identity.path(&config.keys_dir());
    if !path.exists() {
        return Err(CliError::Failed(format!("{} is not there: run `holdpoint init` first", path.display())));
    }
    let issuer = DevIssuer::load_or_create(&path, config.trust_domain.clone()).map_err(failed)?;
    issuer.issue(identity, &config.audience, Millis::secs(ttl_secs), SystemClock::new().now()).map_err(failed)
}

/// Makes a person's approval key.
pub(crate) fn keygen(options: &KeygenOptions) -> Result<(), CliError> {
    if let Some(parent) = options.out.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let seed = Seed::fresh();
    seed.create(&options.out).map_err(failed)?;
    let key = Ed25519Key::from_seed("approval", &seed).map_err(failed)?;
    say(String::from(key.public_key()));
    Ok(())
}
