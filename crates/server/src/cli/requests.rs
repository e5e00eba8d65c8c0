//! `holdpoint requests`: what waits for people, and their signatures.
//!
//! The command trusts nothing that the gate merely says about a hold: it encodes plan, facts and decision anew, compares
//! their digests with the terms that it signs, and shows what those bytes say.

use clap::{Args, Subcommand};
use holdpoint_domain::{
    Id, Tier,
    approval::{Choice, HoldTerms, SignedStatement, Statement, belong_together},
    decision::Decision,
    facts::PlanFacts,
    id::kind,
    plan::Plan,
    quorum::Missing,
};
use serde_json::Value;

use super::{
    CliError, Door,
    client::Client,
    consent, failed, get,
    output::Print,
    say,
    sign::{self, SignOptions},
};

/// Commands on requests that wait for people.
#[derive(Debug, Subcommand)]
pub(crate) enum RequestsCommand {
    /// List requests that wait
    Ls(LsOptions),
    /// Show what is asked, and sign an approval of exactly that
    Approve(DecideOptions),
    /// Show what is asked, and sign a rejection
    Deny(DecideOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct DecideOptions {
    #[command(flatten)]
    door: Door,
    /// The hold
    hold: String,
    #[command(flatten)]
    sign: SignOptions,
}

/// Runs a command on requests.
pub(crate) async fn run(command: RequestsCommand) -> Result<(), CliError> {
    match command {
        RequestsCommand::Ls(options) => {
            get::holds(&Client::connect(&options.door)?, None, &options.print).await
        }
        RequestsCommand::Approve(options) => decide(options, Choice::Approve).await,
        RequestsCommand::Deny(options) => decide(options, Choice::Reject).await,
    }
}

async fn decide(options: DecideOptions, choice: Choice) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let hold: Id<kind::Hold> = options.hold.parse().map_err(failed)?;
    let (person, key) = options.sign.signer(&options.door, &client)?;
    let answer = client.get(&format!("/v1/holds/{hold}")).await?;
    let (terms, plan, facts, decision) = parts(&answer)?;
    if terms.hold != hold {
        return Err(CliError::Failed(format!(
            "the gate answered with hold `{}`: expected `{hold}`",
            terms.hold
        )));
    }
    sign::same_log(&client, &terms.head)?;
    for line in consent::lines(answer.get("narrative"), &terms, &plan, &facts, &decision) {
        say(line);
    }
    if terms.tier >= Tier::T4 && choice == Choice::Approve {
        return Err(CliError::Denied(format!(
            "tier {} needs two people with passkeys, and a key in a file is none: approve this hold in the console",
            terms.tier
        )));
    }
    options.sign.confirm(sign::word(choice))?;
    let statement = Statement::new(terms, person, choice);
    let signature = sign::load(&key)?.sign(&statement.signing_bytes().map_err(failed)?);
    let signed = SignedStatement { statement, signature: signature.into() };
    let (_, done) = client.post(&format!("/v1/holds/{hold}/decisions"), &signed).await?;
    let field = |name: &str| done.get(name).map(ToString::to_string).unwrap_or_default();
    let missing = serde_json::from_value::<Option<Missing>>(done.get("missing").cloned().unwrap_or_default());
    let missing =
        missing.ok().flatten().map_or_else(String::new, |missing| format!("; it waits for {missing}"));
    say(format_args!(
        "signed and recorded: plan {} is {} ({} of {} approvals){missing}",
        field("plan").trim_matches('"'),
        field("state").trim_matches('"'),
        field("approvals"),
        field("needed")
    ));
    Ok(())
}

/// Reads terms, plan, facts and decision out of the gate's answer, and checks that the terms name exactly those bytes.
pub(super) fn parts(answer: &Value) -> Result<(HoldTerms, Plan, PlanFacts, Decision), CliError> {
    fn field<T: serde::de::DeserializeOwned>(answer: &Value, name: &str) -> Result<T, CliError> {
        serde_json::from_value(answer.get(name).cloned().unwrap_or_default())
            .map_err(|err| CliError::Failed(format!("the gate's answer has no readable `{name}`: {err}")))
    }
    let terms: HoldTerms = field(answer, "terms")?;
    let plan: Plan = field(answer, "plan")?;
    let facts: PlanFacts = field(answer, "facts")?;
    let decision: Decision = field(answer, "decision")?;
    belong_together(&terms, &plan, &facts, &decision).map_err(|err| {
        CliError::NotVerified(format!(
            "what is shown is not what would be signed: {err}. Sign nothing, and have somebody look at the gate"
        ))
    })?;
    Ok((terms, plan, facts, decision))
}
