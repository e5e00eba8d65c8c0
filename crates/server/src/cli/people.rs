//! `holdpoint people`: who there is, and the links by which they register passkeys.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdpoint_adapters::{step::Step, system::durable};

use crate::moment::clock_time;

use super::{CliError, Door, client::Client, output::read, say};
use crate::http::wire::{Invited, NewInvitation};

/// Commands about people.
#[derive(Debug, Subcommand)]
pub(crate) enum PeopleCommand {
    /// Invite somebody of the registry to register a passkey: writes a link to a file that you alone can read
    Invite(InviteOptions),
}

#[derive(Debug, Args)]
pub(crate) struct InviteOptions {
    /// Who is invited
    #[arg(value_name = "PERSON")]
    who: String,
    #[command(flatten)]
    door: Door,
    /// The file that the link is written to, mode 0600; hand it over yourself
    #[arg(long)]
    out: PathBuf,
}

/// Runs a command about people.
pub(crate) async fn run(command: PeopleCommand) -> Result<(), CliError> {
    match command {
        PeopleCommand::Invite(options) => invite(options).await,
    }
}

async fn invite(options: InviteOptions) -> Result<(), CliError> {
    if options.out.exists() {
        return Err(CliError::Usage(format!(
            "{} is there already: name another file",
            options.out.display()
        )));
    }
    let person = options.who.parse().map_err(super::failed)?;
    let client = Client::connect(&options.door)?;
    let (_, answer) = client.post("/v1/invitations", &NewInvitation { person }).await?;
    let invited: Invited = read(&answer)?;
    let console = invited.console.ok_or_else(|| {
        CliError::Failed("the gate has no console: add `console:` to its configuration".to_owned())
    })?;
    // The part after `#` stays in the browser: it is in no log of a server or a proxy.
    let link = format!("{console}/enrol#{}.{}\n", invited.act, invited.secret);
    // Never on the screen: a terminal has a history, and its output is kept by whoever runs it for somebody.
    durable::create(Step::InitFile, &options.out, link.as_bytes(), 0o600)
        .map_err(|err| CliError::Failed(format!("{}: {err}", options.out.display())))?;
    say(format_args!(
        "{} is invited: the link is in {}, is good once, and ends {}",
        invited.person,
        options.out.display(),
        clock_time(invited.expires_at_ms)
    ));
    say("hand it over yourself; the passkey counts when other administrators have approved it");
    Ok(())
}
