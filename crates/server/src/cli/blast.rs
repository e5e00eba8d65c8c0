//! `holdpoint blast`: what an action on a target would disturb, before anything is proposed.

use clap::Args;
use holdpoint_domain::{Id, id::kind};

use super::{
    CliError, Door,
    client::Client,
    describe::{blast_lines, line},
    failed,
    output::{Cell, Print, Table, read},
    say,
};
use crate::{
    http::wire::{Disturbance, Reached, ReachedNeed, ReachedService},
    picture::Picture,
};

#[derive(Debug, Args)]
pub(crate) struct BlastOptions {
    #[command(flatten)]
    door: Door,
    /// The target
    target: String,
    /// The action
    action: String,
    /// Print a picture of it: one SVG document that refers to nothing else
    #[arg(long, conflicts_with = "output")]
    svg: bool,
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
    if !options.svg && options.print.data(&answer)? {
        return Ok(());
    }
    let found: Disturbance = read(&answer)?;
    if options.svg {
        say(Picture::of(&found.reached).document(&found).map_err(failed)?);
        return Ok(());
    }
    say(line("action", format_args!("{} on {}, of service {}", found.action, found.target, found.service)));
    blast_lines(&found.blast, &found.cap).into_iter().for_each(say);
    reached_lines(&found.reached).into_iter().for_each(say);
    say("");
    table(&found.reached, options.print.wide()).print(options.print.paint(), "");
    if let Some(left) = left(&found.reached) {
        say(left);
    }
    Ok(())
}

fn reached_lines(reached: &Reached) -> Vec<String> {
    let share = |share: &crate::http::wire::TrafficShare| {
        let percent =
            share.percent.map_or_else(|| "nobody knows how much".to_owned(), |of| format!("{of} %"));
        line("traffic", format_args!("{percent} of the requests that {} counts", share.source))
    };
    let mut lines: Vec<_> = reached.traffic.iter().map(share).collect();
    lines.extend(reached.shared.iter().map(|fate| line("falls with", fate.words())));
    if reached.more_shared > 0 {
        lines.push(line("falls with", format_args!("{} things more", reached.more_shared)));
    }
    lines
}

/// The services, with the way on which each is reached first; with all ways where there is room.
fn table(reached: &Reached, wide: bool) -> Table {
    let mut head = vec!["AWAY", "SERVICE", "CLASS", "OWNER", "BECAUSE IT", "SAID BY"];
    if wide {
        head.insert(4, "ENVIRONMENT");
    }
    if !reached.traffic.is_empty() {
        head.push("TRAFFIC");
    }
    let mut table = Table::new(head);
    for one in &reached.services {
        let mut cells = vec![
            Cell::maybe(one.depth),
            Cell::new(&one.service),
            class(one),
            Cell::maybe(one.owner.as_ref()),
            Cell::new(because(one, wide)),
            Cell::maybe(said_by(one, wide)),
        ];
        if wide {
            cells.insert(4, Cell::maybe(one.environment.as_ref()));
        }
        if !reached.traffic.is_empty() {
            cells.push(Cell::maybe(one.traffic_percent.map(|of| format!("{of} %"))));
        }
        table.row(cells);
    }
    table
}

fn class(one: &ReachedService) -> Cell {
    match (one.unknown, one.critical) {
        (true, _) => Cell::bad("unknown, critical"),
        (false, true) => Cell::bad("critical"),
        (false, false) => Cell::new(one.criticality.as_str()),
    }
}

fn because(one: &ReachedService, wide: bool) -> String {
    match (one.depth, one.needs.first()) {
        (Some(0), _) => "is acted on".to_owned(),
        (_, None) => "was connected once".to_owned(),
        _ if wide => one.through(),
        (_, Some(nearest)) => nearest.words(),
    }
}

fn said_by(one: &ReachedService, wide: bool) -> Option<String> {
    let needs = one.needs.iter().filter(|_| one.depth != Some(0));
    let said: Vec<_> = needs.take(if wide { usize::MAX } else { 1 }).map(ReachedNeed::sources).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn left(reached: &Reached) -> Option<String> {
    let Reached { more, more_critical, .. } = reached;
    (*more > 0).then(|| format!("and {more} services more, {more_critical} of them critical"))
}
