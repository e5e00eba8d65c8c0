//! `holdpoint blast` and `holdpoint probe`: looks at the world before anything is proposed.

use clap::Args;
use holdpoint_domain::{
    Id,
    id::kind,
    trigger::{Evidence, Truth},
};

use super::{
    CliError, Door,
    client::Client,
    describe::{blast_lines, evidence_lines, line},
    failed,
    output::{Print, read},
    say,
};
use crate::http::wire::{Disturbance, NewProbe};

#[derive(Debug, Args)]
pub(crate) struct BlastOptions {
    #[command(flatten)]
    door: Door,
    /// The action
    action: String,
    /// The target
    target: String,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeOptions {
    #[command(flatten)]
    door: Door,
    /// The condition
    condition: String,
    /// The target
    target: String,
    #[command(flatten)]
    print: Print,
}

/// Says what an action on a target would disturb.
pub(crate) async fn blast(options: BlastOptions) -> Result<(), CliError> {
    let action: Id<kind::Action> = options.action.parse().map_err(failed)?;
    let target: Id<kind::Target> = options.target.parse().map_err(failed)?;
    let client = Client::connect(&options.door)?;
    let answer = client.get(&format!("/v1/blast?action={action}&target={target}")).await?;
    if options.print.data(&answer)? {
        return Ok(());
    }
    let found: Disturbance = read(&answer)?;
    say(line("action", format_args!("{} on {}, of service {}", found.action, found.target, found.service)));
    blast_lines(&found.blast, &found.cap).into_iter().for_each(say);
    Ok(())
}

/// Measures a condition on a target.
pub(crate) async fn probe(options: ProbeOptions) -> Result<(), CliError> {
    let ask = NewProbe {
        condition: options.condition.parse().map_err(failed)?,
        target: options.target.parse().map_err(failed)?,
    };
    let (_, answer) = Client::connect(&options.door)?.post("/v1/probes", &ask).await?;
    let evidence: Evidence = read(&answer)?;
    if !options.print.data(&answer)? {
        evidence_lines(&evidence).into_iter().for_each(say);
    }
    match evidence.agreement.truth {
        Truth::Holds => Ok(()),
        // A script that asks must not take it for a yes.
        Truth::DoesNotHold | Truth::Indeterminate => {
            Err(CliError::NotVerified(format!("condition {} is not proven on {}", ask.condition, ask.target)))
        }
    }
}
