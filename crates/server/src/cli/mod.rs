//! The command line.
//!
//! A family of commands is a file: its options, its `run`, what it prints. To add one: the file, a row in [`Command`] and in
//! [`run`], and its section in `docs/cli.md`, which a test compares with the commands. What commands share: [`client`]
//! (HTTP), [`output`] (tables, JSON, YAML, colour), [`wait`] (waiting, and what an end means), [`error`] (exit codes).

mod aftercare;
mod blast;
mod brakes;
mod catalog;
mod change;
mod client;
mod consent;
mod console;
mod delegate;
mod describe;
mod error;
mod explain;
mod follow;
mod generate;
mod get;
mod halt;
mod identity;
mod init;
mod keys;
mod leases;
mod ledger;
mod look;
mod notify;
mod output;
mod people;
mod policy;
mod propose;
mod reconcile;
mod requests;
mod roles;
mod sign;
#[cfg(test)]
mod tests;
mod wait;
mod wanted;
mod watch;
mod witness;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use holdpoint_adapters::step::Drill;

use crate::{demo, serve};

pub(crate) use error::{CliError, failed};
pub(crate) use init::LOG_KEY;

/// The hold point between an AI agent's diagnosis and production.
#[derive(Debug, Parser)]
#[command(name = "holdpoint", version, about, disable_help_subcommand = true, after_help = error::exit_codes())]
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
    Keys(keys::KeysCommand),
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    /// Have an agent act for you, or for whomever you act for: prints a token
    Delegate(delegate::DelegateOptions),
    /// Propose a plan, as an agent
    Propose(propose::ProposeOptions),
    /// List plans, holds, the catalogue or the inventory, or show one thing in short
    Get(get::GetOptions),
    /// Show everything about a plan, a hold, an action or a target
    Describe(describe::DescribeOptions),
    /// Follow what happens, one line a record
    Watch(watch::WatchOptions),
    /// Say why a plan has its tier, or was denied
    Explain(explain::ExplainOptions),
    /// The actions that can be proposed
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Say what an action on a target would disturb: the target, then the action
    Blast(blast::BlastOptions),
    /// Measure now, on a target, what a decision about an action would; or one condition
    Probe(look::ProbeOptions),
    /// Requests that wait for people
    #[command(subcommand)]
    Requests(requests::RequestsCommand),
    /// Who there is, and links by which they register passkeys
    #[command(subcommand)]
    People(people::PeopleCommand),
    /// Print a link that signs your browser in to the console
    Console(console::ConsoleOptions),
    /// Changes of control inputs: policy, catalogue, inventory, registry, limits
    #[command(subcommand)]
    Change(change::ChangeCommand),
    /// Runs that a person must look at
    #[command(subcommand)]
    Review(aftercare::ReviewCommand),
    /// Say how a run in doubt ended, and sign
    Resolve(aftercare::ResolveOptions),
    /// Record what people did outside of Holdpoint while the gate was down, and sign
    Reconcile(reconcile::ReconcileOptions),
    /// Credentials that are not proven dead
    #[command(subcommand)]
    Leases(leases::LeasesCommand),
    /// Halt everything, at once
    Halt(halt::HaltOptions),
    /// End a halt, as an administrator
    Resume(halt::ResumeOptions),
    /// Show what holds the gate back, and what it works by
    Status(halt::StatusOptions),
    /// List what holds plans back now, until when, and who lifts it
    Brakes(brakes::BrakesOptions),
    /// The ledger: verify, prove, show, export
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// A standalone witness: cosigns heads of ledgers
    #[command(subcommand)]
    Witness(witness::WitnessCommand),
    /// The four roles in processes of their own: folders, keys, certificates for a first try
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    /// Telling people: try a channel, see who is on call
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Policy: check, schema, explain
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Print completions for a shell
    Completions(generate::CompletionsOptions),
    /// Print the manual page, or write those of all commands
    Man(generate::ManOptions),
    /// Print the documentation of the HTTP API (OpenAPI 3.1)
    Api(generate::ApiOptions),
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
    /// File with the token of a delegation: whom the agent acts for
    #[arg(long, env = "HOLDPOINT_DELEGATION_FILE")]
    delegation_file: Option<PathBuf>,
    /// The gate's configuration: its address, and its development issuer for --as
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: Option<PathBuf>,
    /// Act as this person, with a token of the development issuer (needs --config)
    #[arg(long = "as", value_name = "PERSON")]
    person: Option<String>,
}

/// A drill of this process: tests have it kill itself at a step.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrillOptions {
    /// Where this process kills itself: `step:moment` or `step:moment:n`
    #[arg(long, env = "HOLDPOINT_DRILL", hide = true)]
    drill: Option<String>,
}

impl DrillOptions {
    /// Installs the drill, if there is one, of a gate for development: elsewhere whoever can set a variable could have each halt kill
    /// the gate before it is latched. Call it before anything is done. Words that are none stop the start.
    pub(crate) fn install(&self, development: bool) -> Result<(), CliError> {
        let Some(words) = &self.drill else { return Ok(()) };
        if !development {
            let why = "HOLDPOINT_DRILL: drills are for a gate with `development: true`; unset the variable";
            return Err(CliError::Usage(why.to_owned()));
        }
        let drill: Drill = words.parse().map_err(|err| CliError::Usage(format!("HOLDPOINT_DRILL: {err}")))?;
        drill.install().map_err(failed)
    }
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

fn print_error(err: &CliError) {
    match err {
        CliError::Pending(text) => print_note(text),
        CliError::Failed(_)
        | CliError::Usage(_)
        | CliError::Denied(_)
        | CliError::Expired(_)
        | CliError::Undone(_)
        | CliError::UndoFailed(_)
        | CliError::Unreachable(_)
        | CliError::NotVerified(_) => print_note(&format!("error: {err}")),
    }
}

/// Prints what is no result of a command.
#[allow(clippy::print_stderr, reason = "what is no result goes to standard error")]
fn print_note(text: &str) {
    eprintln!("{text}");
}

async fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Demo(options) => demo::run(options).await.map_err(failed),
        Command::Serve(options) => serve::serve(options).await,
        Command::Init(options) => init::init(&options),
        Command::Keygen(options) => identity::keygen(&options),
        Command::Keys(command) => keys::run(&command),
        Command::Identity(command) => identity::run(&command).await,
        Command::Delegate(options) => delegate::delegate(options).await,
        Command::Propose(options) => propose::propose(options).await,
        Command::Get(options) => get::get(options).await,
        Command::Describe(options) => describe::describe(options).await,
        Command::Watch(options) => watch::watch(options).await,
        Command::Explain(options) => explain::explain(options).await,
        Command::Catalog(command) => catalog::run(command).await,
        Command::Blast(options) => blast::blast(options).await,
        Command::Probe(options) => look::probe(options).await,
        Command::Requests(command) => requests::run(command).await,
        Command::People(command) => people::run(command).await,
        Command::Console(options) => console::run(options).await,
        Command::Change(command) => change::run(command).await,
        Command::Review(command) => aftercare::run(command).await,
        Command::Resolve(options) => aftercare::resolve(options).await,
        Command::Reconcile(options) => reconcile::reconcile(options).await,
        Command::Leases(command) => leases::run(command).await,
        Command::Halt(options) => halt::halt(options).await,
        Command::Resume(options) => halt::resume(options).await,
        Command::Status(options) => halt::status(options).await,
        Command::Brakes(options) => brakes::run(options).await,
        Command::Ledger(command) => ledger::run(command).await,
        Command::Witness(command) => witness::run(command).await,
        Command::Roles(command) => roles::run(&command),
        Command::Notify(command) => notify::run(command).await,
        Command::Policy(command) => policy::run(command).await,
        Command::Completions(options) => generate::completions(&options),
        Command::Man(options) => generate::man(&options),
        Command::Api(options) => generate::api(&options),
        Command::DemoPart(options) => demo::part(options).map_err(failed),
    }
}

/// Prints a line of a command's result. Whoever closed the pipe has read enough.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"));
}
