//! `holdpoint catalog`: the actions that can be proposed.

use clap::{Args, Subcommand};

use super::{CliError, Door, client::Client, describe, get, output::Print, wanted::Wanted};

/// Catalogue commands.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// List the actions in force
    Ls(LsOptions),
    /// Show an action: its facts, its conditions, and the floors that guardrails give it
    Show(ShowOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    #[command(flatten)]
    door: Door,
    /// The action
    action: String,
    #[command(flatten)]
    print: Print,
}

/// Runs a catalogue command.
pub(crate) async fn run(command: CatalogCommand) -> Result<(), CliError> {
    match command {
        CatalogCommand::Ls(options) => get::actions(&Client::connect(&options.door)?, &options.print).await,
        CatalogCommand::Show(options) => {
            let wanted = Wanted::parse(Some("action"), Some(&options.action))?;
            describe::one(&Client::connect(&options.door)?, wanted, &options.print).await
        }
    }
}
