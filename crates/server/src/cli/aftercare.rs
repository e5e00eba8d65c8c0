//! `holdpoint review` and `holdpoint resolve`: what people owe to runs that are over, or in doubt.

use clap::{Args, Subcommand, ValueEnum};
use holdpoint_domain::{
    Digest, Id,
    aftercare::{Answers, Found, ResolutionStatement, ResolutionType, ReviewStatement, ReviewType},
    id::kind,
};

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    describe::{self, line},
    failed,
    output::{Cell, Print, Table, list, plain, read},
    say,
    sign::{self, SignOptions},
    wanted::Wanted,
};
use crate::http::wire::{LookedAfter, NewResolution, NewReview, PlanDetail, Reviews};

/// Commands on reviews.
#[derive(Debug, Subcommand)]
pub(crate) enum ReviewCommand {
    /// List runs that somebody must still look at
    Ls(LsOptions),
    /// Show everything about a run
    Show(ShowOptions),
    /// Answer the three questions about a run, and sign
    Answer(AnswerOptions),
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
    /// The plan
    plan: String,
    #[command(flatten)]
    print: Print,
}

/// Yes or no, said out loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Said {
    /// Yes
    Yes,
    /// No
    No,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerOptions {
    #[command(flatten)]
    door: Door,
    /// The plan
    plan: String,
    /// Was the trigger what the probes said it was?
    #[arg(long, value_enum)]
    trigger_was_real: Said,
    /// Did the action do what it should, and nothing else?
    #[arg(long, value_enum)]
    did_what_it_should: Said,
    /// Should this agent go on doing this by itself?
    #[arg(long, value_enum)]
    may_go_on: Said,
    /// In your words
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    print: Print,
}

/// How a run in doubt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ended {
    /// The targets are as they were before
    AsBefore,
    /// The targets are as the plan wanted them
    AsPlanned,
    /// Neither: I put them right by hand
    PutRight,
}

#[derive(Debug, Args)]
pub(crate) struct ResolveOptions {
    #[command(flatten)]
    door: Door,
    /// The plan in doubt
    plan: String,
    /// How you found its targets
    #[arg(long, value_enum)]
    found: Ended,
    /// In your words
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    print: Print,
}

/// Runs a command on reviews.
pub(crate) async fn run(command: ReviewCommand) -> Result<(), CliError> {
    match command {
        ReviewCommand::Ls(options) => ls(options).await,
        ReviewCommand::Show(options) => {
            let plan = options.plan.parse().map_err(failed)?;
            describe::one(&Client::connect(&options.door)?, Wanted::Plan(plan), &options.print).await
        }
        ReviewCommand::Answer(options) => answer(options).await,
    }
}

async fn ls(options: LsOptions) -> Result<(), CliError> {
    let answer = Client::connect(&options.door)?.get("/v1/reviews").await?;
    if options.print.data(&answer)? {
        return Ok(());
    }
    let Reviews { reviews } = read(&answer)?;
    let mut table = Table::new(["PLAN", "STATE", "AGENT", "ACTIONS", "DUE", "TEAM", "SUSPENDS T1 AND T2"]);
    for run in reviews {
        table.row(vec![
            Cell::new(&run.plan),
            Cell::state(run.state),
            Cell::new(&run.agent),
            Cell::new(list(&run.actions)),
            Cell::maybe(run.due_at_ms.map(clock_time)),
            Cell::maybe(run.owner),
            Cell::new(if run.suspends { "yes" } else { "not yet" }),
        ]);
    }
    table.print(options.print.paint(), "nothing to look at");
    Ok(())
}

/// The plan as it is now: what a statement names of it.
async fn seen(client: &Client, id: &Id<kind::Plan>) -> Result<(PlanDetail, Digest, u64), CliError> {
    let plan: PlanDetail = read(&client.get(&format!("/v1/plans/{id}")).await?)?;
    let digest = plan.plan.digest().map_err(failed)?;
    let last = plan.timeline.last().map(|moment| moment.index);
    if plan.id != *id || digest != plan.plan_digest {
        return Err(CliError::NotVerified(format!("the gate answered with another plan than `{id}`")));
    }
    let last = last.ok_or_else(|| CliError::Failed(format!("plan `{id}` has no records")))?;
    for step in plan.plan.steps() {
        say(line("did", format_args!("{} on {}", step.action, step.target)));
    }
    for moment in &plan.timeline {
        say(line("entry", format_args!("{}  {}", moment.index, plain(&moment.what))));
    }
    say(line("agent", &plan.plan.requester().agent));
    say(line("digest", digest));
    say(line("plan", format_args!("{id}, which is {}", plan.state)));
    Ok((plan, digest, last))
}

async fn answer(options: AnswerOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let id: Id<kind::Plan> = options.plan.parse().map_err(failed)?;
    let (reviewer, key) = options.sign.signer(&options.door, &client)?;
    let (_, digest, seen) = seen(&client, &id).await?;
    let yes = |said: Said| said == Said::Yes;
    let answers = Answers {
        trigger_was_real: yes(options.trigger_was_real),
        did_what_it_should: yes(options.did_what_it_should),
        may_go_on: yes(options.may_go_on),
    };
    let word = |yes: bool| if yes { "yes" } else { "no" };
    say(line("you say", format_args!("the trigger was real: {}", word(answers.trigger_was_real))));
    say(line(
        "",
        format_args!("it did what it should, and nothing else: {}", word(answers.did_what_it_should)),
    ));
    say(line("", format_args!("the agent may go on doing this by itself: {}", word(answers.may_go_on))));
    options.sign.confirm("review")?;
    let r#type = ReviewType::V1;
    let statement = ReviewStatement { r#type, plan: id.clone(), digest, seen, reviewer, answers };
    let new = NewReview { statement: sign::sign(&key, statement)?, note: options.note };
    let (_, answer) = client.post(&format!("/v1/plans/{id}/review"), &new).await?;
    if !options.print.data(&answer)? {
        let done: LookedAfter = read(&answer)?;
        say(format_args!("signed and recorded: plan {} is reviewed", done.plan));
    }
    Ok(())
}

/// Says how a run in doubt ended.
pub(crate) async fn resolve(options: ResolveOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let id: Id<kind::Plan> = options.plan.parse().map_err(failed)?;
    let (resolver, key) = options.sign.signer(&options.door, &client)?;
    let (_, digest, seen) = seen(&client, &id).await?;
    let found = match options.found {
        Ended::AsBefore => Found::AsBefore,
        Ended::AsPlanned => Found::AsPlanned,
        Ended::PutRight => Found::PutRight,
    };
    say(line("you say", format_args!("found {}", found.as_str().replace('_', " "))));
    options.sign.confirm("resolve")?;
    let r#type = ResolutionType::V1;
    let statement = ResolutionStatement { r#type, plan: id.clone(), digest, seen, resolver, found };
    let new = NewResolution { statement: sign::sign(&key, statement)?, note: options.note };
    let (_, answer) = client.post(&format!("/v1/plans/{id}/resolution"), &new).await?;
    if !options.print.data(&answer)? {
        let done: LookedAfter = read(&answer)?;
        say(format_args!("signed and recorded: plan {} is {}", done.plan, done.state));
    }
    Ok(())
}
