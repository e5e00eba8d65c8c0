//! `holdpoint watch`: what happens, one line a record.

use std::time::Duration;

use clap::Args;
use holdpoint_domain::{Id, flow, id::kind};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    failed,
    follow::{Follower, Seen},
    output::{Print, plain, read},
    say, wait,
};
use crate::http::{
    self,
    wire::{Health, Moment, PlanDetail},
};

/// The plan column, when all plans are watched.
const PLAN_WIDTH: usize = 37;

#[derive(Debug, Args)]
pub(crate) struct WatchOptions {
    #[command(flatten)]
    door: Door,
    /// The plan; everything when left out. Ends when the plan has ended
    plan: Option<String>,
    /// Begin after this ledger index, instead of now
    #[arg(long, conflicts_with = "plan")]
    after: Option<u64>,
    /// Begin with the first entry of the ledger
    #[arg(long, conflicts_with_all = ["plan", "after"])]
    all: bool,
    /// Stop after this time, for instance 60s or 5m
    #[arg(long, value_name = "SPAN", value_parser = wait::span)]
    timeout: Option<Duration>,
    #[command(flatten)]
    print: Print,
}

/// A record for programs.
#[derive(Serialize)]
struct Item<'a> {
    index: u64,
    record: &'a RawValue,
}

/// Follows the ledger.
pub(crate) async fn watch(options: WatchOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let Some(plan) = &options.plan else {
        let health: Health = read(&client.get("/healthz").await?)?;
        let first = match (options.all, options.after) {
            (true, _) => 0,
            (false, Some(after)) => after.saturating_add(1),
            (false, None) => health.size,
        };
        let following = everything(Follower::from(&options.door, first), &options.print);
        return within(options.timeout, following).await.unwrap_or(Ok(()));
    };
    let id: Id<kind::Plan> = plan.parse().map_err(failed)?;
    let mut seen: PlanDetail = read(&client.get(&format!("/v1/plans/{id}")).await?)?;
    let following = one(&options, &mut seen);
    within(options.timeout, following).await.unwrap_or(Ok(()))?;
    wait::outcome(&id, seen.state)
}

pub(super) async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

pub(super) async fn everything(mut follower: Follower, print: &Print) -> Result<(), CliError> {
    loop {
        let seen = follower.next().await?;
        if !item(&seen, print)? {
            let plan = seen.record.plan.as_ref().map_or("-", |plan| plan.as_str());
            say(format_args!("{}  {plan:<PLAN_WIDTH$}  {}", place(&seen), told(&seen)));
        }
    }
}

/// Shows a plan's records until its end. `plan` is kept up to date, so that whoever is interrupted knows where it was.
async fn one(options: &WatchOptions, plan: &mut PlanDetail) -> Result<(), CliError> {
    for moment in &plan.timeline {
        self::moment(moment, &options.print)?;
    }
    let first = plan.timeline.last().map_or(0, |moment| moment.index.saturating_add(1));
    let mut follower = Follower::from(&options.door, first);
    while !plan.state.is_final() {
        let seen = match follower.next().await {
            Ok(seen) => seen,
            // The stream is for people; an agent looks at its own plan again and again.
            Err(CliError::Denied(_)) => return by_looking(options, plan).await,
            Err(err) => return Err(err),
        };
        if seen.record.plan.as_ref() != Some(&plan.id) {
            continue;
        }
        if let Some(event) = seen.record.body.event() {
            plan.state = flow::next(plan.state, event).map_err(failed)?;
        }
        if !item(&seen, &options.print)? {
            say(format_args!("{}  {}", place(&seen), told(&seen)));
        }
    }
    Ok(())
}

async fn by_looking(options: &WatchOptions, plan: &mut PlanDetail) -> Result<(), CliError> {
    while !plan.state.is_final() {
        tokio::time::sleep(wait::LOOK_EVERY).await;
        let client = Client::connect(&options.door)?;
        let now: PlanDetail = read(&client.get(&format!("/v1/plans/{}", plan.id)).await?)?;
        let last = plan.timeline.last().map(|moment| moment.index);
        for moment in now.timeline.iter().filter(|moment| last.is_none_or(|last| moment.index > last)) {
            self::moment(moment, &options.print)?;
        }
        *plan = now;
    }
    Ok(())
}

/// Prints a record for programs, where that was asked for.
fn item(seen: &Seen, print: &Print) -> Result<bool, CliError> {
    let record = serde_json::from_str(&seen.json).map_err(failed)?;
    print.item(&Item { index: seen.index, record })
}

fn place(seen: &Seen) -> String {
    format!("{:>6}  {}", seen.index, clock_time(seen.record.at_ms))
}

fn told(seen: &Seen) -> String {
    let Seen { record, .. } = seen;
    plain(&format!("{:<12}  {}  ({})", record.body.word(), http::moment(&record.body), record.actor))
}

/// Prints a moment of a plan's timeline.
pub(crate) fn moment(moment: &Moment, print: &Print) -> Result<(), CliError> {
    if !print.item(moment)? {
        say(moment_line(moment));
    }
    Ok(())
}

/// A line of a plan's timeline.
pub(crate) fn moment_line(moment: &Moment) -> String {
    let Moment { index, at_ms, actor, what } = moment;
    plain(&format!("{index:>6}  {}  {what}  ({actor})", clock_time(*at_ms)))
}
