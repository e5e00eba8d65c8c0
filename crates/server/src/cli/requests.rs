//! `holdpoint requests`: what waits for people, and their signatures.
//!
//! The command trusts nothing that the gate merely says about a hold: it encodes plan, facts and decision anew, compares
//! their digests with the terms that it signs, and shows what those bytes say.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use holdpoint_adapters::system::{Ed25519Key, Seed};
use holdpoint_domain::{
    Id,
    approval::{Choice, HoldTerms, SignedStatement, Statement, belong_together},
    decision::Decision,
    facts::Facts,
    id::kind,
    plan::Plan,
    text::quoted,
};
use serde_json::Value;

use super::{CliError, Door, client::Client, consent, failed, get, output::Print, say};

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
    /// Your approval key; with --as and --config, `people/<name>.key` beside the configuration
    #[arg(long)]
    key: Option<PathBuf>,
    /// Do not ask before signing
    #[arg(long)]
    yes: bool,
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
    let person =
        options.door.person.as_deref().ok_or_else(|| CliError::Usage("expected --as, your name".into()))?;
    let person: Id<kind::Person> = person.parse().map_err(failed)?;
    let key = match (&options.key, client.config()) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => config.person_key(&person),
        (None, None) => return Err(CliError::Usage("expected --key, your approval key".into())),
    };

    let answer = client.get(&format!("/v1/holds/{hold}")).await?;
    let (terms, plan, facts, decision) = parts(&answer)?;
    if terms.hold != hold {
        return Err(CliError::Failed(format!(
            "the gate answered with hold `{}`: expected `{hold}`",
            terms.hold
        )));
    }
    if let Some(config) = client.config()
        && terms.head.origin != config.origin
    {
        // One key may serve at several gates: what is signed here must be good here only.
        return Err(CliError::NotVerified(format!(
            "the hold belongs to the log {}: expected `{}`",
            quoted(&terms.head.origin, 80),
            config.origin
        )));
    }
    for line in consent::lines(answer.get("narrative"), &terms, &plan, &facts, &decision) {
        say(line);
    }
    if !options.yes && !confirmed(choice)? {
        return Err(CliError::Failed("nothing was signed".into()));
    }
    let signer =
        Seed::load(&key).and_then(|seed| Ed25519Key::from_seed("approval", &seed)).map_err(failed)?;
    let statement = Statement::new(terms, person, choice);
    let signature = signer.sign(&statement.signing_bytes().map_err(failed)?);
    let signed = SignedStatement { statement, signature };
    let (_, done) = client.post(&format!("/v1/holds/{hold}/decisions"), &signed).await?;
    let field = |name: &str| done.get(name).map(ToString::to_string).unwrap_or_default();
    say(format_args!(
        "signed and recorded: plan {} is {} ({} of {} approvals)",
        field("plan").trim_matches('"'),
        field("state").trim_matches('"'),
        field("approvals"),
        field("needed")
    ));
    Ok(())
}

/// Reads terms, plan, facts and decision out of the gate's answer, and checks that the terms name exactly those bytes.
pub(super) fn parts(answer: &Value) -> Result<(HoldTerms, Plan, Facts, Decision), CliError> {
    fn field<T: serde::de::DeserializeOwned>(answer: &Value, name: &str) -> Result<T, CliError> {
        serde_json::from_value(answer.get(name).cloned().unwrap_or_default())
            .map_err(|err| CliError::Failed(format!("the gate's answer has no readable `{name}`: {err}")))
    }
    let terms: HoldTerms = field(answer, "terms")?;
    let plan: Plan = field(answer, "plan")?;
    let facts: Facts = field(answer, "facts")?;
    let decision: Decision = field(answer, "decision")?;
    belong_together(&terms, &plan, &facts, &decision).map_err(|err| {
        CliError::NotVerified(format!(
            "what is shown is not what would be signed: {err}. Sign nothing, and have somebody look at the gate"
        ))
    })?;
    Ok((terms, plan, facts, decision))
}

#[allow(clippy::print_stdout, reason = "asks on the terminal")]
fn confirmed(choice: Choice) -> Result<bool, CliError> {
    let word = match choice {
        Choice::Approve => "approve",
        Choice::Reject => "reject",
    };
    print!("Type `{word}` to sign: ");
    std::io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    if !std::io::stdin().is_terminal() {
        // Nobody pressed Enter on the screen.
        say("");
    }
    Ok(line.trim() == word)
}
