//! `holdpoint leases`: credentials that are not proven dead.

use clap::{Args, Subcommand};
use holdpoint_domain::{Id, id::kind};

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    describe::line,
    failed,
    output::{Cell, Print, Table, list, plain, read},
    say,
};
use crate::http::wire::{Lease, LeaseScope, Leases, NewRevocation, Revocation};

/// Commands on leases.
#[derive(Debug, Subcommand)]
pub(crate) enum LeasesCommand {
    /// List credentials that are not proven dead
    Ls(LsOptions),
    /// Show everything about a credential but its secret, which the gate does not have
    Show(OneOptions),
    /// End a credential, whatever its run is doing
    Revoke(OneOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct OneOptions {
    #[command(flatten)]
    door: Door,
    /// The lease
    lease: String,
    #[command(flatten)]
    print: Print,
}

/// Runs a command on leases.
pub(crate) async fn run(command: LeasesCommand) -> Result<(), CliError> {
    match command {
        LeasesCommand::Ls(options) => ls(options).await,
        LeasesCommand::Show(options) => show(options).await,
        LeasesCommand::Revoke(options) => revoke(options).await,
    }
}

fn backend(lease: &Lease) -> String {
    lease.backend.as_ref().map_or_else(|| "local".to_owned(), ToString::to_string)
}

fn scope(scope: &LeaseScope) -> String {
    format!("{} on {}", scope.action, scope.target)
}

async fn ls(options: LsOptions) -> Result<(), CliError> {
    let answer = Client::connect(&options.door)?.get("/v1/leases").await?;
    if options.print.data(&answer)? {
        return Ok(());
    }
    let Leases { leases } = read(&answer)?;
    let mut table = Table::new(["LEASE", "BACKEND", "PLAN", "FOR", "ENDS", "FAILED REVOCATIONS"]);
    for lease in leases {
        let failures = match (lease.failed_revocations, lease.alarm) {
            (0, _) => "none".to_owned(),
            (tries, false) => tries.to_string(),
            (tries, true) => format!("{tries}: ALARM"),
        };
        table.row(vec![
            Cell::new(&lease.id),
            Cell::new(backend(&lease)),
            Cell::new(&lease.plan),
            Cell::new(list(lease.scopes.iter().map(scope))),
            Cell::new(clock_time(lease.expires_at_ms)),
            Cell::new(failures),
        ]);
    }
    table.print(options.print.paint(), "no credential is alive");
    Ok(())
}

async fn show(options: OneOptions) -> Result<(), CliError> {
    let id: Id<kind::Lease> = options.lease.parse().map_err(failed)?;
    let answer = Client::connect(&options.door)?.get("/v1/leases").await?;
    let Leases { leases } = read(&answer)?;
    let lease = leases.into_iter().find(|lease| lease.id == id);
    let lease = lease.ok_or_else(|| {
        CliError::Failed(format!("there is no live lease `{id}`: `holdpoint leases ls` lists those that are"))
    })?;
    if options.print.data(&serde_json::to_value(&lease).map_err(failed)?)? {
        return Ok(());
    }
    say(line("lease", &lease.id));
    say(line("backend", backend(&lease)));
    say(line("plan", &lease.plan));
    say(line("permit", &lease.permit));
    for one in &lease.scopes {
        say(line("for", scope(one)));
    }
    say(line("ends", clock_time(lease.expires_at_ms)));
    if lease.revocation_asked {
        say(line("asked", "somebody asked for its end"));
    }
    if let Some(why) = &lease.last_failure {
        let alarm = if lease.alarm { "ALARM, " } else { "" };
        say(line("failed", format_args!("{alarm}{} times, last: {}", lease.failed_revocations, plain(why))));
    }
    Ok(())
}

async fn revoke(options: OneOptions) -> Result<(), CliError> {
    let id: Id<kind::Lease> = options.lease.parse().map_err(failed)?;
    let path = format!("/v1/leases/{id}/revocation");
    let (_, answer) = Client::connect(&options.door)?.post(&path, &NewRevocation {}).await?;
    if !options.print.data(&answer)? {
        let Revocation { lease, proven } = read(&answer)?;
        if proven {
            say(format_args!("lease {lease} is dead: a failed use proved it"));
        } else {
            say(format_args!("asked for the end of lease {lease}: not proven yet, the gate goes on trying"));
        }
    }
    Ok(())
}
