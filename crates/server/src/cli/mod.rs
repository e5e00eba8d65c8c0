//! The command line.
//!
//! Exit codes: 0 done, 1 error, 2 usage, 3 denied, 4 waits for people, 8 gate unreachable, 9 verification failed.

mod client;
mod consent;
mod identity;
mod init;
mod ledger;
mod plans;
mod policy;
mod requests;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config::ConfigError, demo, serve};

/// The hold point between an AI agent's diagnosis and production.
#[derive(Debug, Parser)]
#[command(name = "holdpoint", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole life of an action on processes of this machine
    Demo(demo::DemoOptions),
    /// Run the gate
    Serve(serve::ServeOptions),
    /// Make the gate's keys and the executor's pins for a configuration
    Init(init::InitOptions),
    /// Make a person's approval key and print its public half
    Keygen(identity::KeygenOptions),
    /// Local development identities
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    /// Propose a plan, as an agent
    Propose(plans::ProposeOptions),
    /// Show plans, or one of them
    Get(plans::GetOptions),
    /// Requests that wait for people
    #[command(subcommand)]
    Requests(requests::RequestsCommand),
    /// The ledger: verify, prove, show, export
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Policy: check, schema, explain
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// A process of the demo's stage
    #[command(hide = true)]
    DemoPart(demo::PartOptions),
}

/// How a command finds the gate, and who it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Door {
    /// Address of the gate, for instance http://127.0.0.1:7070
    #[arg(long, env = "HOLDPOINT_URL")]
    url: Option<String>,
    /// File with an identity token
    #[arg(long, env = "HOLDPOINT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The gate's configuration: its address, and its development issuer for --as
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: Option<PathBuf>,
    /// Act as this person, with a token of the development issuer (needs --config)
    #[arg(long = "as", value_name = "PERSON")]
    person: Option<String>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Something failed.
    #[error("{0}")]
    Failed(String),
    /// The command line does not make sense.
    #[error("{0}")]
    Usage(String),
    /// The gate, or its policy, said no.
    #[error("{0}")]
    Denied(String),
    /// The gate could not be reached. Nothing was started.
    #[error("{0}")]
    Unreachable(String),
    /// A log or a proof does not stand.
    #[error("{0}")]
    NotVerified(String),
    /// The plan waits for people; not an error, but not done either.
    #[error("{0}")]
    Pending(String),
}

impl CliError {
    const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Denied(_) => 3,
            Self::Pending(_) => 4,
            Self::Unreachable(_) => 8,
            Self::NotVerified(_) => 9,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(err: ConfigError) -> Self {
        Self::Failed(err.to_string())
    }
}

/// A failure with its causes on one line.
pub(crate) fn failed(err: impl std::error::Error) -> CliError {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    CliError::Failed(text)
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // Keys, the store and the texts beside it are for the user who runs this, and for nobody else.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(err) => Err(failed(err)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            print_error(&err);
            ExitCode::from(err.code())
        }
    }
}

#[allow(clippy::print_stderr, reason = "a command's error goes to standard error")]
fn print_error(err: &CliError) {
    match err {
        CliError::Pending(text) => eprintln!("{text}"),
        CliError::Failed(text)
        | CliError::Usage(text)
        | CliError::Denied(text)
        | CliError::Unreachable(text)
        | CliError::NotVerified(text) => eprintln!("error: {text}"),
    }
}

async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Demo(options) => demo::run(options).await.map_err(failed),
        Command::Serve(options) => serve::serve(options).await,
        Command::Init(options) => init::init(&options),
        Command::Keygen(options) => identity::keygen(&options),
        Command::Identity(command) => identity::run(&command),
        Command::Propose(options) => plans::propose(options).await,
        Command::Get(options) => plans::get(options).await,
        Command::Requests(command) => requests::run(command).await,
        Command::Ledger(command) => ledger::run(command).await,
        Command::Policy(command) => policy::run(command).await,
        Command::DemoPart(options) => demo::part(options).map_err(failed),
    }
}

/// Prints a line of a command's result. Whoever closed the pipe has read enough.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
}
