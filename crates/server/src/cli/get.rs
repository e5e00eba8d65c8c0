//! `holdpoint get`: lists, and single things in short.

use clap::Args;
use holdpoint_domain::quorum::Quorum;
use serde_json::Value;

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    describe,
    follow::Follower,
    output::{Cell, Print, Table, list, read},
    requests, say,
    wait::{self, WaitOptions},
    wanted::Wanted,
    watch,
};
use crate::http::wire::{
    Catalogue, Health, HoldDetail, Holds, Incidents, Inventory, PlanDetail, PlanSummary, Plans,
};

#[derive(Debug, Args)]
pub(crate) struct GetOptions {
    #[command(flatten)]
    door: Door,
    /// plans, holds, catalogue (actions), inventory (targets), incidents, or the id of a plan or hold
    #[arg(value_name = "WHAT")]
    what: Option<String>,
    /// The one
    name: Option<String>,
    /// Only plans in these states, with commas between them
    #[arg(long)]
    state: Option<String>,
    /// At most so many plans or holds
    #[arg(long)]
    limit: Option<u32>,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    print: Print,
}

/// Shows what is asked for.
pub(crate) async fn get(options: GetOptions) -> Result<(), CliError> {
    let wanted = Wanted::parse(options.what.as_deref(), options.name.as_deref())?;
    let plans_only = matches!(wanted, Wanted::Plan(_)) || (wanted == Wanted::Plans && options.wait.watches());
    if options.wait.waits() && !plans_only {
        return Err(CliError::Usage("only a plan can be waited for, and only plans can be watched".into()));
    }
    let client = Client::connect(&options.door)?;
    let print = &options.print;
    match wanted {
        Wanted::Plans => plans(&client, &options).await,
        Wanted::Plan(id) if options.wait.waits() => {
            let plan = wait::settled(&client, &id, &options.wait, print).await?;
            ended(&plan, &options.wait, print)?;
            wait::outcome(&id, plan.state)
        }
        Wanted::Plan(id) => {
            let answer = client.get(&format!("/v1/plans/{id}")).await?;
            if !print.data(&answer)? {
                short(&read(&answer)?, print);
            }
            Ok(())
        }
        Wanted::Holds => holds(&client, options.limit, print).await,
        Wanted::Actions => actions(&client, print).await,
        Wanted::Targets => targets(&client, print).await,
        Wanted::Incidents => incidents(&client, print).await,
        Wanted::Hold(_) | Wanted::Action(_) | Wanted::Target(_) => {
            describe::one(&client, wanted, print).await
        }
    }
}

async fn plans(client: &Client, options: &GetOptions) -> Result<(), CliError> {
    let health: Option<Health> =
        if options.wait.watches() { Some(read(&client.get("/healthz").await?)?) } else { None };
    let mut query = Vec::new();
    query.extend(options.state.as_deref().map(|state| format!("state={}", word(state))));
    query.extend(options.limit.map(|limit| format!("limit={limit}")));
    let answer = client.get(&format!("/v1/plans?{}", query.join("&"))).await?;
    let print = &options.print;
    if !print.data(&answer)? {
        let plans: Plans = read(&answer)?;
        let mut table = Table::new(plan_columns(print));
        plans.plans.iter().for_each(|plan| table.row(plan_row(plan, print)));
        table.print(print.paint(), "no plans");
    }
    match health {
        // From the size that was seen before the list: a record may come twice, and none is missed.
        Some(Health { size, .. }) => {
            let following = watch::everything(Follower::from(&options.door, size), print);
            watch::within(options.wait.timeout(), following).await.unwrap_or(Ok(()))
        }
        None => Ok(()),
    }
}

/// A word for a query: whoever writes anything else is told by the gate what is wrong with it.
fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "_,-".contains(c) { c } else { '.' }).collect()
}

fn plan_columns(print: &Print) -> Vec<&'static str> {
    let mut head = vec!["PLAN", "STATE", "TIER", "ACTION", "TARGET", "AGENT", "PROPOSED"];
    if print.wide() {
        head.extend(["DEADLINE", "ENTRY", "HOLD"]);
    }
    head
}

fn plan_row(plan: &PlanSummary, print: &Print) -> Vec<Cell> {
    let mut row = vec![
        Cell::new(&plan.id),
        Cell::state(plan.state),
        Cell::maybe(plan.tier),
        Cell::new(&plan.action),
        Cell::new(&plan.target),
        Cell::new(&plan.agent),
        Cell::new(clock_time(plan.proposed_at_ms)),
    ];
    if print.wide() {
        row.push(Cell::maybe(plan.deadline_ms.map(clock_time)));
        row.push(Cell::new(plan.last_index));
        row.push(Cell::maybe(plan.hold.as_ref()));
    }
    row
}

/// Prints a plan that was waited for; of one that was watched, what is not on the screen yet.
pub(crate) fn ended(plan: &PlanDetail, wait: &WaitOptions, print: &Print) -> Result<(), CliError> {
    if !wait.watches() {
        if !print.data(plan)? {
            short(plan, print);
        }
    } else if !print.item(plan)? {
        say(format_args!("plan {} is {}", plan.id, print.paint().state(plan.state)));
    }
    Ok(())
}

/// A plan in short: where it is, why, and what happened.
pub(crate) fn short(plan: &PlanDetail, print: &Print) {
    let tier = plan.tier.map_or_else(|| "-".to_owned(), |tier| tier.to_string());
    say(format_args!("plan    {}  {}  tier {tier}", plan.id, print.paint().state(plan.state)));
    describe::reason_lines(&plan.reasons).into_iter().for_each(say);
    if let Some(hold) = &plan.hold {
        say(format_args!("hold    {}", hold.id));
    }
    plan.timeline.iter().for_each(|moment| say(watch::moment_line(moment)));
}

/// Lists what waits for people.
pub(crate) async fn holds(client: &Client, limit: Option<u32>, print: &Print) -> Result<(), CliError> {
    let query = limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
    let answer = client.get(&format!("/v1/holds{query}")).await?;
    if print.data(&answer)? {
        return Ok(());
    }
    let mut head = vec!["HOLD", "TIER", "ACTION", "TARGET", "AGENT", "APPROVED", "ENDS"];
    if print.wide() {
        head.extend(["PLAN", "BY"]);
    }
    let mut table = Table::new(head);
    // Checked against its own digests before a line of it is shown.
    for hold in answer.get("holds").and_then(Value::as_array).into_iter().flatten() {
        requests::parts(hold)?;
    }
    let holds: Holds = read(&answer)?;
    holds.holds.iter().for_each(|hold| table.row(hold_row(hold, print)));
    table.print(print.paint(), "nothing waits for people");
    Ok(())
}

fn hold_row(hold: &HoldDetail, print: &Print) -> Vec<Cell> {
    let step = hold.plan.steps().first();
    let needed = Quorum::of(&hold.decision, &hold.plan, &hold.facts).needed();
    let mut row = vec![
        Cell::new(&hold.id),
        Cell::new(hold.terms.tier),
        Cell::maybe(step.map(|step| &step.action)),
        Cell::maybe(step.map(|step| &step.target)),
        Cell::new(&hold.plan.requester().agent),
        Cell::new(format_args!("{}/{needed}", hold.approvals.len())),
        Cell::new(clock_time(hold.terms.expires_at_ms)),
    ];
    if print.wide() {
        row.push(Cell::new(&hold.plan_id));
        row.push(Cell::new(list(&hold.approvals)));
    }
    row
}

/// Lists the catalogue.
pub(crate) async fn actions(client: &Client, print: &Print) -> Result<(), CliError> {
    let answer = client.pages("/v1/catalogue", &["actions", "conditions"]).await?;
    if print.data(&answer)? {
        return Ok(());
    }
    let mut head = vec!["ACTION", "TIER", "REVERSIBILITY", "UNDO", "TRIGGERS", "TITLE"];
    if print.wide() {
        head.extend(["EXECUTOR", "VERIFY", "FLOORS"]);
    }
    let mut table = Table::new(head);
    let catalogue: Catalogue = read(&answer)?;
    for entry in &catalogue.actions {
        let action = &entry.action;
        let mut row = vec![
            Cell::new(&action.id),
            Cell::new(action.tier),
            Cell::new(describe::word(&action.reversibility)),
            Cell::new(describe::word(&action.undo)),
            Cell::new(list(&action.triggers)),
            Cell::new(&action.title),
        ];
        if print.wide() {
            row.push(Cell::new(&action.executor));
            row.push(Cell::new(&action.verify));
            row.push(Cell::new(list(
                entry.floors.iter().map(|floor| format!("{} {}", floor.tier, floor.rule)),
            )));
        }
        table.row(row);
    }
    table.print(print.paint(), "the catalogue is empty");
    Ok(())
}

/// Lists the inventory.
async fn incidents(client: &Client, print: &Print) -> Result<(), CliError> {
    let answer = client.get("/v1/incidents").await?;
    if print.data(&answer)? {
        return Ok(());
    }
    let Incidents { incidents } = read(&answer)?;
    let mut table = Table::new(["INCIDENT", "STATE", "FIRING", "CONCERNS", "SOURCE", "SINCE", "HEARD"]);
    for incident in incidents {
        let services = match (incident.everywhere, incident.services.is_empty()) {
            (true, _) => "every service".to_owned(),
            (false, true) => "no service of the inventory".to_owned(),
            (false, false) => list(&incident.services),
        };
        table.row(vec![
            Cell::new(&incident.id),
            Cell::new(if incident.open { "open" } else { "over" }),
            Cell::new(incident.firing),
            Cell::new(services),
            Cell::new(&incident.source),
            Cell::new(clock_time(incident.opened_at_ms)),
            Cell::new(clock_time(incident.heard_at_ms)),
        ]);
    }
    table.print(print.paint(), "no incidents: no source told of any");
    Ok(())
}

async fn targets(client: &Client, print: &Print) -> Result<(), CliError> {
    let answer = client.pages("/v1/inventory", &["targets", "services"]).await?;
    if print.data(&answer)? {
        return Ok(());
    }
    let mut head = vec!["TARGET", "SERVICE", "ENVIRONMENT", "CRITICALITY", "OWNER"];
    if print.wide() {
        head.extend(["REPLICAS", "EXECUTOR", "ENDPOINTS"]);
    }
    let mut table = Table::new(head);
    let inventory: Inventory = read(&answer)?;
    for target in &inventory.targets {
        let service = inventory.services.iter().find(|service| service.id == target.service);
        let mut row = vec![
            Cell::new(&target.id),
            Cell::new(&target.service),
            Cell::maybe(service.map(|service| &service.environment)),
            Cell::maybe(service.map(|service| service.criticality.as_str())),
            Cell::maybe(service.map(|service| &service.owner)),
        ];
        if print.wide() {
            row.push(Cell::maybe(service.map(|service| service.replicas)));
            row.push(Cell::new(&target.executor));
            row.push(Cell::new(list(target.endpoints.iter().map(|endpoint| &endpoint.name))));
        }
        table.row(row);
    }
    table.print(print.paint(), "the inventory is empty");
    Ok(())
}
