//! `holdpoint describe`: everything about one thing, for people.

use std::collections::BTreeSet;

use clap::Args;
use holdpoint_domain::{
    Id, Millis,
    action::BlastCap,
    blast::Blast,
    decision::ReasonEffect,
    facts::{Facts, Origin},
    id::Kind,
    trigger::{Agreement, Check, Condition, Evidence, Reading},
};
use serde::Serialize;
use serde_json::Value;

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    consent,
    output::{Print, list, plain, read},
    requests, say,
    wanted::Wanted,
    watch,
};
use crate::http::{
    aftermath_lines,
    wire::{
        CatalogueAction, HoldDetail, Inventory, InventoryService, InventoryTarget, PlanDetail, Reason,
        Sourced,
    },
};

/// Most names of a blast radius in a line: a graph may have a million.
const MAX_NAMES: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct DescribeOptions {
    #[command(flatten)]
    door: Door,
    /// plan, hold, action or target; may be left out
    #[arg(value_name = "WHAT")]
    what: String,
    /// Its id
    name: Option<String>,
    #[command(flatten)]
    print: Print,
}

/// Shows everything about one thing.
pub(crate) async fn describe(options: DescribeOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let wanted = match (Wanted::parse(Some(&options.what), options.name.as_deref()), &options.name) {
        (Err(err), None) => found(&client, &options.what).await?.ok_or(err)?,
        (wanted, _) => wanted?,
    };
    one(&client, wanted, &options.print).await
}

/// The action or the target with a bare name.
async fn found(client: &Client, name: &str) -> Result<Option<Wanted>, CliError> {
    if let Ok(action) = Id::parse(name)
        && client.find(&format!("/v1/catalogue/{action}")).await?.is_some()
    {
        return Ok(Some(Wanted::Action(action)));
    }
    Ok(Id::parse(name).ok().map(Wanted::Target))
}

/// Shows everything about one thing.
pub(crate) async fn one(client: &Client, wanted: Wanted, print: &Print) -> Result<(), CliError> {
    let (answer, lines) = match wanted {
        Wanted::Plan(id) => {
            let answer = client.get(&format!("/v1/plans/{id}")).await?;
            let plan: PlanDetail = read(&answer)?;
            let mut lines = vec![line("state", print.paint().state(plan.state))];
            lines.extend(plan_lines(&answer, &plan));
            (answer, lines)
        }
        Wanted::Hold(id) => {
            let answer = client.get(&format!("/v1/holds/{id}")).await?;
            let lines = hold_lines(&answer)?;
            (answer, lines)
        }
        Wanted::Action(id) => {
            let answer = client.get(&format!("/v1/catalogue/{id}")).await?;
            let lines = action_lines(&read(&answer)?);
            (answer, lines)
        }
        Wanted::Target(id) => {
            let answer = client.pages("/v1/inventory", &["targets", "services"]).await?;
            let inventory: Inventory = read(&answer)?;
            let target = inventory.targets.into_iter().find(|target| target.id == id);
            let target =
                target.ok_or_else(|| CliError::Failed(format!("the inventory has no target `{id}`")))?;
            let service = inventory.services.into_iter().find(|service| service.id == target.service);
            let lines = target_lines(&target, service.as_ref());
            (serde_json::json!({"target": target, "service": service}), lines)
        }
        Wanted::Plans | Wanted::Holds | Wanted::Actions | Wanted::Targets | Wanted::Incidents => {
            return Err(CliError::Usage("expected the name of one: `holdpoint get` shows lists".into()));
        }
    };
    if !print.data(&answer)? {
        lines.into_iter().for_each(say);
    }
    Ok(())
}

/// A line of a description.
pub(crate) fn line(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name:<12}  {value}")
}

/// A word of a closed list, as it is written in files and answers.
pub(crate) fn word(word: &impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => "-".to_owned(),
    }
}

/// Reasons, a line each.
pub(crate) fn reason_lines(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(|reason| plain(&format!("rule    {}: {}", reason.rule, reason.fact))).collect()
}

fn plan_lines(answer: &Value, plan: &PlanDetail) -> Vec<String> {
    let mut lines = vec![line("plan", &plan.id)];
    lines.extend(plan.answer.map(|answer| line("answer", answer)));
    lines.extend(plan.tier.map(|tier| line("tier", format_args!("{tier} ({})", tier.meaning()))));
    lines.push(line("digest", plan.plan_digest));
    lines.push(line("asked by", format_args!("{}", plan.plan.requester().words())));
    for step in plan.plan.steps() {
        lines.push(line("does", format_args!("{} on {}", step.action, step.target)));
        lines.push(line("version", step.expected_version));
        lines.extend(
            step.params
                .iter()
                .map(|(name, value)| line("with", format_args!("{name} = {}", consent::setting(value)))),
        );
    }
    lines.push(line("trigger", plan.plan.trigger()));
    lines.extend(plan.reasons.iter().map(|reason| line("because", reason_text(reason))));
    if let Some(facts) = &plan.facts {
        lines.extend(facts.steps().flat_map(facts_lines));
    }
    lines.extend(plan.provenance.iter().filter_map(origin_line));
    lines.extend(plan.evidence.iter().flat_map(|signed| evidence_lines(&signed.evidence)));
    if let Some(hold) = &plan.hold {
        let (approved, rejected) = (list(&hold.approvals), list(&hold.rejections));
        lines.push(line("hold", format_args!("{}, ends {}", hold.id, clock_time(hold.terms.expires_at_ms))));
        let of = format_args!("{} of {}: {approved}", hold.approvals.len(), hold.needed).to_string();
        lines.push(line("approved", of));
        lines.extend(hold.missing.as_ref().map(|missing| line("missing", missing)));
        lines.push(line("rejected", rejected));
    }
    if let Some(permit) = &plan.permit {
        let starts = clock_time(permit.start_before_ms);
        let text = format!("{}, epoch {}, for executor {}", permit.id, permit.epoch, list(&permit.executors));
        lines.push(line("permit", text));
        lines.push(line("start before", starts));
        lines.push(line("undo until", clock_time(permit.undo_until_ms)));
    }
    lines.extend(plan.run.failed.iter().map(|why| line("failed", plain(why))));
    lines.extend(plan.run.doubt.iter().map(|why| line("in doubt", plain(why))));
    lines.extend(plan.run.worse.iter().map(|worse| line("worse", plain(worse))));
    let moved = plan.aftermath.iter().flat_map(aftermath_lines);
    lines.extend(moved.map(|moved| line("afterwards", plain(&moved))));
    lines.extend(plan.review_due_ms.map(|due| line("review due", clock_time(due))));
    lines.extend(consent::words(answer.get("narrative")));
    lines.push("what happened:".to_owned());
    lines.extend(plan.timeline.iter().map(watch::moment_line));
    lines
}

/// A reason with what it did.
pub(crate) fn reason_text(reason: &Reason) -> String {
    let effect = match reason.effect {
        ReasonEffect::Raised(tier) => format!("not below {tier}"),
        ReasonEffect::Denied => "denies".to_owned(),
        ReasonEffect::Deferred => "defers".to_owned(),
        ReasonEffect::Permitted => "permits".to_owned(),
        ReasonEffect::Forbade => "forbids".to_owned(),
        ReasonEffect::Failed => "failed".to_owned(),
    };
    plain(&format!("{} ({effect}): {}", reason.rule, reason.fact))
}

/// Why a field of the plan is clean or tainted; none for what no agent chose.
fn origin_line(of: &Sourced) -> Option<String> {
    let is_chosen = ["target", "action", "scope"].contains(&of.field.as_str());
    let word = match of.origin.filter(|_| is_chosen)? {
        Origin::Clean => "clean",
        Origin::Tainted => "tainted",
    };
    Some(line(word, format_args!("{}: {}", of.field, plain(&of.why))))
}

fn facts_lines(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(target) = &facts.target {
        lines.push(line(
            "target",
            format_args!(
                "service {} in {}, owner {}, {} criticality, {} replicas, {}",
                target.service,
                target.environment,
                target.owner,
                target.criticality.as_str(),
                target.replicas,
                if target.down { "down" } else { "up" }
            ),
        ));
    }
    lines.extend(blast_lines(&facts.blast, &facts.action.cap));
    let undo =
        if facts.undo.computed { word(&facts.action.undo) } else { "nothing would undo it".to_owned() };
    lines.push(line("undo", undo));
    lines.push(line("trigger", agreement(&facts.trigger.agreement)));
    lines
}

/// What a plan can disturb, and the most that it may.
pub(crate) fn blast_lines(blast: &Blast, cap: &BlastCap) -> Vec<String> {
    let most = |most: u32| format!("(at most {most})");
    let mut lines = vec![
        line("disturbs", format_args!("{} {}", first(&blast.services), most(cap.services))),
        line("critical", format_args!("{} {}", first(&blast.critical), most(cap.critical))),
        line("in", format_args!("{} {}", list(&blast.environments), most(cap.environments))),
        line(
            "replicas",
            format_args!("{} % {}", blast.replica_share_percent, most(cap.replica_share_percent)),
        ),
    ];
    if !blast.unknown.is_empty() {
        lines.push(line("unknown", first(&blast.unknown)));
    }
    lines
}

/// As many names as a line has room for, and how many more there are.
fn first<K: Kind>(names: &BTreeSet<Id<K>>) -> String {
    let shown = list(names.iter().take(MAX_NAMES));
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What was measured, a line a probe.
pub(crate) fn evidence_lines(evidence: &Evidence) -> Vec<String> {
    let mut lines = vec![
        line("condition", format_args!("{} on {}", evidence.condition, evidence.target)),
        line("measured", clock_time(evidence.measured_at_ms)),
        line("verdict", agreement(&evidence.agreement)),
    ];
    lines.extend(evidence.readings.iter().map(reading));
    lines
}

fn reading(reading: &Reading) -> String {
    let value = reading.value.map(|value| format!(", value {value}")).unwrap_or_default();
    let age = if reading.age_ms == Millis::secs(0) {
        String::new()
    } else {
        format!(", {} old", ms(reading.age_ms))
    };
    let said = format!("{} ({}{value}{age})", word(&reading.truth), word(&reading.why));
    line("  probe", format_args!("{} of source {}: {said}", reading.endpoint, reading.source))
}

fn agreement(agreement: &Agreement) -> String {
    let Agreement { truth, needed, holding, sources } = agreement;
    let truth = word(truth).replace('_', " ");
    format!("{truth}: {holding} of {sources} independent sources say that it holds, {needed} needed")
}

fn hold_lines(answer: &Value) -> Result<Vec<String>, CliError> {
    // Checked against its own digests before a line of it is shown.
    let (terms, plan, facts, decision) = requests::parts(answer)?;
    let hold: HoldDetail = read(answer)?;
    let mut lines = consent::lines(answer.get("narrative"), &terms, &plan, &facts, &decision);
    lines.push(format!("state     plan {} is {}", hold.plan_id, hold.state));
    lines.push(format!("approved  {} of {}: {}", hold.approvals.len(), hold.needed, list(&hold.approvals)));
    lines.extend(hold.missing.map(|missing| format!("missing   {missing}")));
    lines.push(format!("rejected  {}", list(&hold.rejections)));
    Ok(lines)
}

/// An action, with what follows from its facts.
pub(crate) fn action_lines(found: &CatalogueAction) -> Vec<String> {
    let (entry, action) = (&found.entry, &found.entry.action);
    let mut lines = vec![
        line("action", &action.id),
        line("title", plain(&action.title)),
        line("tier", format_args!("{} ({})", action.tier, action.tier.meaning())),
    ];
    for floor in &entry.floors {
        let text = format!("{}: guardrail {}, {}", floor.tier, plain(&floor.rule), plain(&floor.fact));
        lines.push(line("not below", text));
    }
    lines.extend(action.approvals.as_ref().map(|asked| line("waits for", asked)));
    lines.push(line("effect", word(&action.reversibility).replace('_', " ")));
    lines.push(line(
        "twice",
        if action.idempotent { "is the same as once" } else { "is not the same as once" },
    ));
    let touches = action.touches.iter().map(|(state, effect)| format!("{} {}", word(effect), state.as_str()));
    lines.push(line("touches", list(touches)));
    lines.push(line("undo", format_args!("{}, armed for {}", word(&action.undo), ms(action.undo_window_ms))));
    let BlastCap { targets, services, critical, environments, replica_share_percent } = action.cap;
    let cap = format!(
        "{targets} targets, {services} services, {critical} critical, {environments} environments, {replica_share_percent} % of replicas"
    );
    lines.push(line("at most", cap));
    lines.push(line("executor", &action.executor));
    lines.push(line("groups", list(&entry.groups)));
    lines.extend(action.params.iter().map(|(name, spec)| line("parameter", format_args!("{name}: {spec}"))));
    lines.push(line("because of", list(&action.triggers)));
    let soak = format!("{} for {}, within {}", action.verify, ms(action.soak_ms), ms(action.settle_ms));
    lines.push(line("verified by", soak));
    lines.push(line("digest", entry.digest));
    lines.extend(found.conditions.iter().flat_map(condition_lines));
    lines
}

fn condition_lines(condition: &Condition) -> Vec<String> {
    let title = format!("{}: {}", condition.id, plain(&condition.title));
    let mut lines = vec![line("condition", title)];
    lines.push(line("  needs", format_args!("{} sources that agree", condition.needs)));
    lines.extend(condition.probes.iter().map(|probe| {
        let check = match &probe.check {
            Check::Http { expect } => format!("http {}", word(expect)),
            Check::Tcp { expect } => format!("tcp {}", word(expect)),
            Check::Process { expect } => format!("process {}", word(expect)),
            Check::Prometheus { metric, is, .. } => format!("metric {} {}", plain(metric), word(is)),
            Check::Promql(check) => format!("promql {} {}", plain(&check.query), word(&check.is)),
            Check::HttpJson(check) => format!("json {} {}", plain(&check.path), word(&check.is)),
            Check::Sql(check) => format!("sql {} {}", plain(&check.statement), word(&check.is)),
            Check::Alertmanager(check) => {
                format!("alerts {} {}", plain(&check.matchers.join(",")), word(&check.expect))
            }
        };
        line("  probe", format_args!("{}: {check}, within {}", probe.endpoint, ms(probe.timeout_ms)))
    }));
    lines
}

fn target_lines(target: &InventoryTarget, service: Option<&InventoryService>) -> Vec<String> {
    let mut lines = vec![line("target", &target.id), line("executor", &target.executor)];
    for endpoint in &target.endpoints {
        lines.push(line("endpoint", format_args!("{} of source {}", endpoint.name, endpoint.source)));
    }
    lines.push(line("service", &target.service));
    let Some(service) = service else { return lines };
    lines.push(line("environment", &service.environment));
    lines.push(line("owner", &service.owner));
    lines.push(line("criticality", service.criticality.as_str()));
    lines.push(line("replicas", service.replicas));
    lines.push(line(
        "state",
        if service.stateless { "none: an instance can be lost" } else { "in its instances" },
    ));
    lines.push(line("data", list(&service.data_classes)));
    lines.push(line("needs", list(&service.depends_on)));
    lines.push(line("needed by", list(&service.dependents)));
    lines
}

fn ms(span: Millis) -> String {
    let (ms, secs) = (span.ms(), span.ms().checked_div(1_000).unwrap_or_default());
    if secs.saturating_mul(1_000) == ms { format!("{secs} s") } else { format!("{ms} ms") }
}

#[cfg(test)]
pub(super) mod tests;
