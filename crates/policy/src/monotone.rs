//! Whether more oversight can turn a rule against the action: a static analysis of its conditions.
//!
//! Each expression gets a trend: what its value does while oversight rises (`false` before `true`, smaller before
//! larger). A permit must not fall, a forbid must not rise. What cannot be told is not refused here: all rungs are always
//! asked, and an answer that falls while oversight rises is a denial.

use cedar_policy::pst::{BinaryOp, Clause, Expr, UnaryOp, Var};
use serde::Serialize;

use crate::report::RuleEffect;

/// Whether it is shown that more oversight never turns a rule against the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Monotone {
    /// It is.
    Proven,
    /// It is not; all rungs are asked, and a falling answer is a denial.
    Unproven,
}

/// What a value does while oversight rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trend {
    /// Nothing: it does not depend on oversight.
    Constant,
    /// It stays or rises.
    Rises,
    /// It stays or falls.
    Falls,
    /// Nobody can tell.
    Unknown,
}

/// What the analysis says about a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    Proven,
    Unproven,
    /// More oversight can only turn it against the action.
    Against,
}

impl Trend {
    const fn flip(self) -> Self {
        match self {
            Self::Rises => Self::Falls,
            Self::Falls => Self::Rises,
            Self::Constant | Self::Unknown => self,
        }
    }

    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant, trend) | (trend, Self::Constant) => trend,
            (Self::Rises, Self::Rises) => Self::Rises,
            (Self::Falls, Self::Falls) => Self::Falls,
            (Self::Rises, Self::Falls)
            | (Self::Falls, Self::Rises)
            | (Self::Unknown, _)
            | (_, Self::Unknown) => Self::Unknown,
        }
    }

    /// Anything but a constant becomes unknown: for operators that keep no order.
    const fn blurred(self) -> Self {
        match self {
            Self::Constant => Self::Constant,
            Self::Rises | Self::Falls | Self::Unknown => Self::Unknown,
        }
    }
}

/// What the conditions of a rule do, taken together, while oversight rises.
pub(crate) fn trend_of(clauses: &[Clause]) -> Trend {
    clauses.iter().fold(Trend::Constant, |trend, clause| {
        trend.and(match clause {
            Clause::When(expr) => trend_of_expr(expr),
            Clause::Unless(expr) => trend_of_expr(expr).flip(),
        })
    })
}

/// Judges a rule by its effect and the trend of its conditions.
pub(crate) const fn judge(effect: RuleEffect, trend: Trend) -> Finding {
    match (effect, trend) {
        (_, Trend::Constant) | (RuleEffect::Permit, Trend::Rises) | (RuleEffect::Forbid, Trend::Falls) => {
            Finding::Proven
        }
        (RuleEffect::Permit, Trend::Falls) | (RuleEffect::Forbid, Trend::Rises) => Finding::Against,
        (_, Trend::Unknown) => Finding::Unproven,
    }
}

fn trend_of_expr(expr: &Expr) -> Trend {
    match expr {
        Expr::Literal(_) | Expr::Slot(_) | Expr::Var(Var::Principal | Var::Action | Var::Resource) => {
            Trend::Constant
        }
        // The context as a whole carries the oversight with it.
        Expr::Var(Var::Context) => Trend::Unknown,
        Expr::UnaryOp { op, expr } => unary(*op, trend_of_expr(expr)),
        Expr::BinaryOp { op, left, right } => binary(*op, trend_of_expr(left), trend_of_expr(right)),
        Expr::GetAttr { expr, attr } => attribute(expr, attr),
        Expr::HasAttr { expr, .. } | Expr::Like { expr, .. } => trend_of_expr(expr).blurred(),
        Expr::Is { expr, in_expr, .. } => {
            let within = in_expr.as_ref().map_or(Trend::Constant, |within| trend_of_expr(within));
            trend_of_expr(expr).and(within).blurred()
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => match trend_of_expr(cond) {
            Trend::Constant => trend_of_expr(then_expr).and(trend_of_expr(else_expr)),
            Trend::Rises | Trend::Falls | Trend::Unknown => Trend::Unknown,
        },
        Expr::Set(items) => together(items.iter().map(|item| trend_of_expr(item))),
        Expr::Record(fields) => together(fields.values().map(|field| trend_of_expr(field))),
        // Not part of Cedar's surface, or newer than this analysis: never proven.
        Expr::Unknown { .. } | _ => Trend::Unknown,
    }
}

fn together(trends: impl Iterator<Item = Trend>) -> Trend {
    trends.fold(Trend::Constant, Trend::and).blurred()
}

fn unary(op: UnaryOp, operand: Trend) -> Trend {
    if op == UnaryOp::Not { operand.flip() } else { operand.blurred() }
}

fn binary(op: BinaryOp, left: Trend, right: Trend) -> Trend {
    #[allow(clippy::wildcard_enum_match_arm, reason = "an operator that is not listed is never proven")]
    match op {
        BinaryOp::And | BinaryOp::Or => left.and(right),
        BinaryOp::Greater | BinaryOp::GreaterEq => left.and(right.flip()),
        BinaryOp::Less | BinaryOp::LessEq => left.flip().and(right),
        // Equality, sets, hierarchy, arithmetic (which can overflow), tags and extension types keep no order.
        _ => left.and(right).blurred(),
    }
}

/// `context.oversight.approvals` rises; `context.oversight` as a value is unknown; the rest of the context is constant.
fn attribute(of: &Expr, attr: &str) -> Trend {
    if *of == Expr::Var(Var::Context) {
        return if attr == "oversight" { Trend::Unknown } else { Trend::Constant };
    }
    if let Expr::GetAttr { expr, attr: outer } = of
        && **expr == Expr::Var(Var::Context)
        && outer.as_str() == "oversight"
    {
        // Every attribute of it is one that counts upward or turns true (`Oversight::dominates`).
        return Trend::Rises;
    }
    trend_of_expr(of).blurred()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &str) -> Finding {
        let policy: cedar_policy::Policy = rule.parse().unwrap();
        let pst = policy.to_pst().unwrap();
        let effect = if rule.starts_with("permit") { RuleEffect::Permit } else { RuleEffect::Forbid };
        judge(effect, trend_of(pst.body().clauses()))
    }

    /// Conditions of a permit. For a forbid, `Proven` and `Against` change places unless the condition is constant.
    const CASES: &[(&str, Finding)] = &[
        ("when { resource.stateless }", Finding::Proven),
        ("when { context.oversight.approvals >= 1 }", Finding::Proven),
        ("when { context.oversight.approvals > 0 }", Finding::Proven),
        ("when { 1 <= context.oversight.approvals }", Finding::Proven),
        ("when { 0 < context[\"oversight\"][\"approvals\"] }", Finding::Proven),
        ("when { context.oversight.reviewPromised && context.oversight.strong }", Finding::Proven),
        ("when { context.oversight.fresh || context.blast.services <= 3 }", Finding::Proven),
        ("unless { !context.oversight.strong }", Finding::Proven),
        ("unless { context.oversight.approvals < 1 }", Finding::Proven),
        ("when { !(!(context.oversight.approvals >= 1)) }", Finding::Proven),
        ("when { context.oversight.approvals >= resource.replicas }", Finding::Proven),
        (
            "when { if resource.critical then context.oversight.approvals >= 2 else context.oversight.reviewPromised }",
            Finding::Proven,
        ),
        ("when { context.oversight.approvals < 1 }", Finding::Against),
        ("when { context.oversight.approvals <= 1 }", Finding::Against),
        ("when { !context.oversight.reviewPromised }", Finding::Against),
        ("unless { context.oversight.approvals >= 1 }", Finding::Against),
        ("when { context.oversight.approvals >= 1 } unless { context.oversight.strong }", Finding::Unproven),
        ("when { context.oversight.approvals == 1 }", Finding::Unproven),
        ("when { context.oversight.approvals != 0 }", Finding::Unproven),
        ("when { context.oversight.approvals - 1 >= 0 }", Finding::Unproven),
        ("when { context.oversight.approvals * -1 >= -5 }", Finding::Unproven),
        ("when { [1, 2].contains(context.oversight.approvals) }", Finding::Unproven),
        ("when { if context.oversight.strong then true else resource.stateless }", Finding::Unproven),
        ("when { context.oversight has strong }", Finding::Unproven),
        ("when { context has oversight.strong }", Finding::Unproven),
        ("when { context.oversight == {approvals: 0} }", Finding::Unproven),
        ("when { context == {} }", Finding::Unproven),
        ("when { {a: context}.a.oversight.approvals >= 1 }", Finding::Unproven),
        ("when { {a: context.oversight}.a.strong }", Finding::Unproven),
        ("when { (if true then context else context).oversight.strong }", Finding::Unproven),
        ("when { (if true then context.oversight else context.oversight).strong }", Finding::Unproven),
        ("when { [context.oversight.strong] == [true] }", Finding::Unproven),
        ("when { {a: context.oversight.strong}.a }", Finding::Unproven),
    ];

    #[test]
    fn the_trend_of_conditions() {
        for (conditions, want) in CASES {
            assert_eq!(
                finding(&format!("permit (principal, action, resource) {conditions};")),
                *want,
                "permit {conditions}"
            );
            let mirrored = match (*want, conditions.contains("oversight")) {
                (Finding::Proven, true) => Finding::Against,
                (Finding::Against, _) => Finding::Proven,
                (same, _) => same,
            };
            assert_eq!(
                finding(&format!("forbid (principal, action, resource) {conditions};")),
                mirrored,
                "forbid {conditions}"
            );
        }
    }
}
