//! `holdpoint probe`: a look at the world before anything is proposed.

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
    describe::{evidence_lines, line},
    failed,
    output::{Print, read},
    say,
};
use crate::http::wire::{CatalogueAction, NewProbe};

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
