//! `holdpoint policy`: check, schema, explain.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdpoint_domain::facts::PlanFacts;

use super::{CliError, Door, client::Client, failed, say};
use crate::config::{Config, load_inputs, read};

/// Policy commands.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Load the bundle as the gate would, and report on every rule
    Check(ConfigOption),
    /// Print the schema that policies are validated against
    Schema(ConfigOption),
    /// Say which rules decided, and for a denial what would have had to be different
    Explain(ExplainOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigOption {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    #[command(flatten)]
    door: Door,
    /// The plan whose recorded facts are explained
    #[arg(required_unless_present = "facts")]
    plan: Option<String>,
    /// A file with facts, instead of a plan
    #[arg(long, conflicts_with = "plan")]
    facts: Option<PathBuf>,
}

/// Runs a policy command.
pub(crate) async fn run(command: PolicyCommand) -> Result<(), CliError> {
    match command {
        PolicyCommand::Check(options) => check(&options),
        PolicyCommand::Schema(options) => {
            let inputs = load_inputs(&Config::load(&options.config)?)?;
            say(inputs.bundle.schema().text());
            Ok(())
        }
        PolicyCommand::Explain(options) => explain(options).await,
    }
}

fn check(options: &ConfigOption) -> Result<(), CliError> {
    let inputs = load_inputs(&Config::load(&options.config)?)?;
    let report = inputs.bundle.check_report();
    say(format_args!("bundle {}", report.bundle));
    say(format_args!("{} permits, {} forbids in {} files", report.permits, report.forbids, report.files));
    for rule in &report.rules {
        let kind = if rule.guardrail { "guardrail" } else { "yours" };
        let what = format!("{:?}", rule.effect).to_lowercase();
        say(format_args!(
            "  {:<28} {what:<7} {kind:<10} more oversight can only help: {:?}",
            rule.rule, rule.monotone
        ));
    }
    for warning in &inputs.warnings {
        say(format_args!("warning: {warning}"));
    }
    Ok(())
}

async fn explain(options: ExplainOptions) -> Result<(), CliError> {
    let config = options.door.config.clone();
    let config = config.ok_or_else(|| {
        CliError::Usage("`policy explain` needs --config: the bundle is loaded from it".into())
    })?;
    let inputs = load_inputs(&Config::load(&config)?)?;
    let facts: PlanFacts = match (&options.facts, &options.plan) {
        (Some(path), _) => serde_json::from_str(&read(path)?).map_err(failed)?,
        (None, Some(plan)) => Client::connect(&options.door)?.facts(plan).await?,
        (None, None) => return Err(CliError::Usage("expected a plan or --facts".into())),
    };
    let explanation: Vec<_> = facts.steps().map(|step| inputs.bundle.explain(step)).collect();
    say(serde_json::to_string_pretty(&explanation).map_err(failed)?);
    Ok(())
}
