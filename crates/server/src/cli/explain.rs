//! `holdpoint explain`: why a plan has its tier, or was denied.

use clap::Args;
use holdpoint_domain::{
    Id,
    decision::{Answer, ReasonEffect},
    id::kind,
};

use super::{
    CliError, Door,
    client::Client,
    describe::{line, reason_text},
    failed,
    output::{Print, plain, read},
    say,
};
use crate::http::wire::PlanDetail;

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    #[command(flatten)]
    door: Door,
    /// The plan
    plan: String,
    #[command(flatten)]
    print: Print,
}

/// Explains the last decision on a plan.
pub(crate) async fn explain(options: ExplainOptions) -> Result<(), CliError> {
    let id: Id<kind::Plan> = options.plan.parse().map_err(failed)?;
    let answer = Client::connect(&options.door)?.get(&format!("/v1/plans/{id}")).await?;
    let plan: PlanDetail = read(&answer)?;
    let part = |name: &str| answer.get(name).cloned().unwrap_or_default();
    let parts = serde_json::json!({
        "id": part("id"), "state": part("state"), "answer": part("answer"), "tier": part("tier"),
        "floor": part("floor"), "reasons": part("reasons"), "hints": part("hints"), "run": part("run"),
    });
    if !options.print.data(&parts)? {
        lines(&plan).into_iter().for_each(say);
    }
    Ok(())
}

fn lines(plan: &PlanDetail) -> Vec<String> {
    let (Some(answer), Some(tier), Some(floor)) = (plan.answer, plan.tier, plan.floor) else {
        return vec![format!("plan {} is not decided yet: it is {}", plan.id, plan.state)];
    };
    let said = match answer {
        Answer::Allow => "may run by itself",
        Answer::Hold => "waits for people",
        Answer::Deny => "is denied",
        Answer::Defer => "cannot be decided yet",
    };
    let mut lines =
        vec![format!("plan {} {said}, at {tier} ({}); it is {}", plan.id, tier.meaning(), plan.state)];
    let raised =
        plan.reasons.iter().filter(|reason| matches!(reason.effect, ReasonEffect::Raised(at) if at == floor));
    let by: Vec<_> = raised.map(|reason| reason.rule.as_str()).collect();
    if !by.is_empty() {
        lines.push(format!("no policy makes it less than {floor}, because of {}", by.join(", ")));
    }
    for reason in &plan.reasons {
        lines.push(line("rule", reason_text(reason)));
        lines.push(line("  next", plain(&reason.next)));
    }
    for hint in &plan.hints {
        lines.push(line("hint", format_args!("rule {} would have permitted it, and wants:", hint.rule)));
        lines.extend(hint.unmet.iter().map(|unmet| line("", plain(unmet))));
    }
    let run = &plan.run;
    lines.extend(run.worse.iter().map(|worse| line("worse", plain(worse))));
    lines.extend(run.failed.iter().map(|why| line("failed", plain(why))));
    lines.extend(run.doubt.iter().map(|why| line("in doubt", plain(why))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::describe::tests::plan;

    #[test]
    fn every_reason_comes_with_rule_fact_and_what_to_do() {
        let lines = lines(&plan());
        let text = lines.join("\n");
        assert!(lines[0].starts_with("plan plan-1 is denied, at T3 (one approver); it is denied"), "{text}");
        for part in [
            "no policy makes it less than T3, because of no-undo",
            "no-undo (not below T3): nothing would undo it",
            "a person must approve",
            "rule yours would have permitted it",
            "facts.tier < 3",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{202e}'), "{text}");
    }
}
