//! `holdpoint blast` and `holdpoint probe`: looks at the world before anything is proposed.

use clap::Args;
use holdpoint_domain::{
    Id,
    id::kind,
    trigger::{Evidence, Truth},
};
use serde_json::Value;

use super::{
    CliError, Door,
    client::Client,
    describe::{blast_lines, evidence_lines, line},
    failed,
    output::{Print, read},
    say,
};
use crate::http::wire::{CatalogueAction, Disturbance, NewProbe};

#[derive(Debug, Args)]
pub(crate) struct BlastOptions {
    #[command(flatten)]
    door: Door,
    /// The target
    target: String,
    /// The action
    action: String,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeOptions {
    #[command(flatten)]
    door: Door,
    /// The action, whose triggers and verification are measured; or one condition
    #[arg(value_name = "ACTION")]
    what: String,
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
    let answer = match client.get(&format!("/v1/blast?action={action}&target={target}")).await {
        Ok(answer) => answer,
        Err(err) => {
            // Whoever has them the other way round is told so, and not that there is no such thing.
            let swapped = client.find(&format!("/v1/catalogue/{target}")).await.ok().flatten();
            let usage = format!("the target comes first: `holdpoint blast {action} {target}`");
            return Err(if swapped.is_some() { CliError::Usage(usage) } else { err });
        }
    };
    if options.print.data(&answer)? {
        return Ok(());
    }
    let found: Disturbance = read(&answer)?;
    say(line("action", format_args!("{} on {}, of service {}", found.action, found.target, found.service)));
    blast_lines(&found.blast, &found.cap).into_iter().for_each(say);
    Ok(())
}

/// Measures on a target what a decision about an action would, or one condition.
pub(crate) async fn probe(options: ProbeOptions) -> Result<(), CliError> {
    let what: Id<kind::Action> = options.what.parse().map_err(failed)?;
    let target: Id<kind::Target> = options.target.parse().map_err(failed)?;
    let client = Client::connect(&options.door)?;
    let Some(found) = client.find(&format!("/v1/catalogue/{what}")).await? else {
        let condition = options.what.parse().map_err(failed)?;
        let (evidence, answer) = measure(&client, &condition, &target).await?;
        if !options.print.data(&answer)? {
            evidence_lines(&evidence).into_iter().for_each(say);
        }
        return proven(
            evidence.agreement.truth == Truth::Holds,
            &format_args!("condition {condition}"),
            &target,
        );
    };
    let CatalogueAction { entry, .. } = read(&found)?;
    let triggers = entry.action.triggers.iter();
    // A condition that starts it and verifies it is asked once.
    let verify = (!entry.action.triggers.contains(&entry.action.verify)).then_some(&entry.action.verify);
    let (mut answers, mut holds) = (Vec::new(), false);
    for (condition, starts) in triggers.map(|one| (one, true)).chain(verify.map(|one| (one, false))) {
        let (evidence, answer) = measure(&client, condition, &target).await?;
        holds |= starts && evidence.agreement.truth == Truth::Holds;
        answers.push((starts, evidence, answer));
    }
    let all: Vec<_> = answers.iter().map(|(_, _, answer)| answer).collect();
    if !options.print.data(&all)? {
        for (starts, evidence, _) in &answers {
            say(line(if *starts { "trigger" } else { "verify" }, &evidence.condition));
            evidence_lines(evidence).into_iter().for_each(say);
        }
    }
    proven(holds, &format_args!("any trigger of {what}"), &target)
}

async fn measure(
    client: &Client,
    condition: &Id<kind::Condition>,
    target: &Id<kind::Target>,
) -> Result<(Evidence, Value), CliError> {
    let ask = NewProbe { condition: condition.clone(), target: target.clone() };
    let (_, answer) = client.post("/v1/probes", &ask).await?;
    Ok((read(&answer)?, answer))
}

/// A script that asks must not take anything else for a yes.
fn proven(holds: bool, what: &dyn std::fmt::Display, target: &Id<kind::Target>) -> Result<(), CliError> {
    if holds {
        return Ok(());
    }
    Err(CliError::NotVerified(format!("{what} is not proven on {target}")))
}
