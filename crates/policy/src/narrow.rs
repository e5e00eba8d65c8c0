//! What a rule needs to be asked: which yes-or-no facts it begins with, and which groups of actions.
//!
//! Cedar's time goes into building what nobody looks at ([`crate::fields`]) and into rules whose first condition is false. Both
//! are known from the text of the rules. Narrowing must never change an answer, an error included; that it does not is
//! tested against a scan of all rules with the whole context.

use cedar_policy::{
    EntityUid,
    pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var},
};
use holdpoint_domain::{
    facts::{Facts, Origin, TargetFacts},
    target::Criticality,
    trigger::Truth,
};

type Value = fn(&Facts, &TargetFacts) -> bool;

/// Yes-or-no facts that a rule may begin with: variable, record (none for the target) and attribute, as in the schema.
const ATOMS: [(Var, &str, &str, Value); 28] = [
    (Var::Context, "trigger", "proven", |facts, _| facts.trigger.agreement.truth == Truth::Holds),
    (Var::Context, "trigger", "refuted", |facts, _| facts.trigger.agreement.truth == Truth::DoesNotHold),
    (Var::Context, "trigger", "indeterminate", |facts, _| {
        facts.trigger.agreement.truth == Truth::Indeterminate
    }),
    (Var::Context, "undo", "computed", |facts, _| facts.undo.computed),
    (Var::Context, "undo", "counts", |facts, _| facts.has_undo()),
    (Var::Context, "provenance", "tainted", |facts, _| facts.provenance.tainted()),
    (Var::Context, "provenance", "targetTainted", |facts, _| facts.provenance.target == Origin::Tainted),
    (Var::Context, "provenance", "actionTainted", |facts, _| facts.provenance.action == Origin::Tainted),
    (Var::Context, "provenance", "scopeTainted", |facts, _| facts.provenance.scope == Origin::Tainted),
    (Var::Context, "build", "attested", |facts, _| facts.principal.attested_build.is_some()),
    (Var::Context, "standing", "accepted", |facts, _| facts.principal.accepted),
    (Var::Context, "brakes", "halted", |facts, _| facts.brakes.halted),
    (Var::Context, "brakes", "frozen", |facts, _| facts.brakes.frozen),
    (Var::Context, "brakes", "suspended", |facts, _| facts.brakes.suspended),
    (Var::Context, "brakes", "overBudget", |facts, _| facts.brakes.over_budget.is_some()),
    (Var::Context, "brakes", "counterpartDeleted", |facts, _| facts.brakes.counterpart_deleted),
    (Var::Context, "brakes", "inputRefused", |facts, _| facts.brakes.input_refused),
    (Var::Context, "brakes", "planLimit", |facts, _| facts.brakes.plan_limit.is_some()),
    (Var::Context, "brakes", "neighbourhoodBusy", |facts, _| facts.brakes.neighbour.is_some()),
    (Var::Context, "brakes", "ownDoing", |facts, _| facts.brakes.own_doing.is_some()),
    (Var::Context, "brakes", "breakerOpen", |facts, _| facts.brakes.breaker.is_some()),
    (Var::Context, "brakes", "errorBudgetSpent", |facts, _| facts.brakes.error_budget.is_some()),
    (Var::Context, "brakes", "dependenciesUnread", |facts, _| facts.brakes.dependencies_unread.is_some()),
    (Var::Context, "catalogue", "idempotent", |facts, _| facts.action.idempotent),
    (Var::Context, "catalogue", "additive", |facts, _| facts.action.additive),
    (Var::Resource, "", "stateless", |_, target| target.stateless),
    (Var::Resource, "", "critical", |_, target| target.criticality == Criticality::Critical),
    (Var::Resource, "", "down", |_, target| target.down),
];

/// The values of all atoms, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Atoms(u32);

/// What must be so for a rule to match or to fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// Atoms, and their values.
    mask: u32,
    want: u32,
    /// What the action is in, or is not in.
    groups: Vec<(EntityUid, bool)>,
}

impl Atoms {
    pub(crate) fn of(facts: &Facts, target: &TargetFacts) -> Self {
        let held = ATOMS.iter().zip(0_u32..).filter(|((_, _, _, value), _)| value(facts, target));
        Self(held.fold(0, |bits, (_, at)| bits | bit(at)))
    }

    /// Only those that some rule needs: others must not tell slices apart.
    pub(crate) const fn only(self, mask: u32) -> u32 {
        self.0 & mask
    }
}

impl Needs {
    pub(crate) const fn mask(&self) -> u32 {
        self.mask
    }

    /// What it wants to know of the action.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &EntityUid> {
        self.groups.iter().map(|(group, _)| group)
    }

    /// Whether all of it is so, for an action that is in all of `action` and in nothing else.
    pub(crate) fn met_by(&self, atoms: Atoms, action: &[EntityUid]) -> bool {
        self.met_in(u32::MAX, atoms, action)
    }

    /// Whether all of it may be so, for a target of which nobody knows whether it is down, or what is left of its error budget.
    pub(crate) fn met_unseen(&self, atoms: Atoms, action: &[EntityUid]) -> bool {
        let unseen =
            |((_, _, name, _), _): &(&(_, _, &str, _), u32)| ["down", "errorBudgetSpent"].contains(name);
        let unseen = ATOMS.iter().zip(0_u32..).filter(unseen);
        self.met_in(unseen.fold(u32::MAX, |known, (_, at)| known & !bit(at)), atoms, action)
    }

    fn met_in(&self, known: u32, atoms: Atoms, action: &[EntityUid]) -> bool {
        atoms.0 & self.mask & known == self.want & known
            && self.groups.iter().all(|(group, within)| action.contains(group) == *within)
    }
}

/// What the conditions of a rule *begin* with. Cedar evaluates the scope, then the conditions from left to right, and stops
/// at the first that is false: nothing after it is looked at, so nothing after it can fail.
pub(crate) fn needs_of(clauses: &[Clause]) -> Needs {
    let mut needs = Needs::default();
    for part in clauses.iter().flat_map(conjuncts) {
        if let Some((at, value)) = atom(&part) {
            // A rule that needs an atom both ways never matches; it is left for Cedar to say so.
            if needs.mask & bit(at) != 0 && (needs.want & bit(at) != 0) != value {
                break;
            }
            needs.mask |= bit(at);
            needs.want |= if value { bit(at) } else { 0 };
        } else if let Some(group) = group(&part) {
            needs.groups.push(group);
        } else {
            break;
        }
    }
    needs
}

/// `action in Action::"group"`, and whether it is negated.
fn group(expr: &Expr) -> Option<(EntityUid, bool)> {
    if let Expr::UnaryOp { op: UnaryOp::Not, expr } = expr {
        return group(expr).map(|(group, within)| (group, !within));
    }
    let Expr::BinaryOp { op: BinaryOp::In, left, right } = expr else { return None };
    let Expr::Literal(Literal::EntityUID(uid)) = right.as_ref() else { return None };
    // As text and back: Cedar has no other way out of its syntax tree.
    let group = uid.to_string().parse().ok()?;
    (**left == Expr::Var(Var::Action)).then_some((group, true))
}

/// The parts of a clause that must all hold, from left to right; those of `unless` are negated.
pub(crate) fn conjuncts(clause: &Clause) -> Vec<Expr> {
    let mut parts = Vec::new();
    match clause {
        Clause::When(expr) => split(expr, BinaryOp::And, &mut parts),
        Clause::Unless(expr) => {
            split(expr, BinaryOp::Or, &mut parts);
            let not = |expr: Expr| Expr::UnaryOp { op: UnaryOp::Not, expr: expr.into() };
            parts = parts.into_iter().map(not).collect();
        }
    }
    parts
}

/// Recurses as deep as the condition, which is limited when the bundle is loaded.
fn split(expr: &Expr, at: BinaryOp, parts: &mut Vec<Expr>) {
    if let Expr::BinaryOp { op, left, right } = expr
        && *op == at
    {
        split(left, at, parts);
        split(right, at, parts);
    } else {
        parts.push(expr.clone());
    }
}

/// The atom that an expression is, and whether it is negated.
fn atom(expr: &Expr) -> Option<(u32, bool)> {
    if let Expr::UnaryOp { op: UnaryOp::Not, expr } = expr {
        return atom(expr).map(|(at, value)| (at, !value));
    }
    let Expr::GetAttr { expr, attr } = expr else { return None };
    let (of, record) = if let Expr::GetAttr { expr, attr: record } = expr.as_ref() {
        (expr.as_ref(), record.as_str())
    } else {
        (expr.as_ref(), "")
    };
    let Expr::Var(var) = of else { return None };
    let found = ATOMS
        .iter()
        .zip(0_u32..)
        .find(|((of, within, name, _), _)| of == var && *within == record && *name == attr.as_str());
    found.map(|(_, at)| (at, true))
}

const fn bit(at: u32) -> u32 {
    match 1_u32.checked_shl(at) {
        Some(bit) => bit,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fields::Fields, request::Asked, sample};

    fn clauses(conditions: &str) -> Vec<Clause> {
        let policy: cedar_policy::Policy =
            format!("permit (principal, action, resource) {conditions};").parse().unwrap();
        policy.to_pst().unwrap().body().clauses().clone()
    }

    #[test]
    fn rules_are_left_out_by_what_they_begin_with() {
        let cases = [
            ("when { context.brakes.halted && context.nothing }", 1),
            ("when { context.nothing && context.brakes.halted }", 0),
            ("when { context.brakes.halted || context.trigger.proven }", 0),
            ("unless { context.trigger.proven || resource.down }", 2),
            ("unless { context.trigger.proven && resource.down }", 0),
            ("when { !context.trigger.proven } unless { !resource.stateless || context.nothing }", 2),
            ("when { resource.down && !resource.down }", 1),
            ("when { (resource.down && resource.stateless) && resource.critical }", 3),
            ("when { context.oversight.strong && resource.down }", 0),
        ];
        for (conditions, want) in cases {
            assert_eq!(needs_of(&clauses(conditions)).mask.count_ones(), want, "{conditions}");
        }
    }

    /// An atom says what Cedar would.
    #[test]
    fn atoms_have_the_values_that_the_request_has() {
        let schema = sample::schema();
        let mut other = sample::facts();
        other.trigger.agreement.truth = Truth::DoesNotHold;
        other.undo.computed = false;
        other.provenance.action = Origin::Tainted;
        other.principal.attested_build = None;
        other.principal.accepted = false;
        (other.brakes.halted, other.brakes.frozen, other.brakes.suspended) = (true, true, true);
        other.brakes.over_budget = Some(sample::over_budget());
        (other.brakes.counterpart_deleted, other.brakes.input_refused) = (true, true);
        sample::hold_back(&mut other.brakes);
        (other.action.idempotent, other.action.additive) = (false, true);
        let target = other.target.as_mut().unwrap();
        (target.stateless, target.down, target.criticality) = (false, true, Criticality::Critical);
        let mut unsure = sample::facts();
        unsure.trigger.agreement.truth = Truth::Indeterminate;
        unsure.provenance.target = Origin::Tainted;
        let mut scope = sample::facts();
        scope.provenance.scope = Origin::Tainted;
        let (mut ever, mut always) = (0, u32::MAX);
        for facts in [sample::facts(), other, unsure, scope] {
            let asked = Asked::plan(&schema, &facts).unwrap();
            let request = asked.under(None, Fields::ALL).unwrap();
            let entities = asked.entities(Fields::ALL).unwrap();
            let atoms = Atoms::of(&facts, facts.target.as_ref().unwrap());
            (ever, always) = (ever | atoms.0, always & atoms.0);
            for ((var, record, name, _), at) in ATOMS.iter().zip(0_u32..) {
                let path = if *var == Var::Context {
                    format!("context.{record}.{name}")
                } else {
                    format!("resource.{name}")
                };
                let set: cedar_policy::PolicySet =
                    format!("permit (principal, action, resource) when {{ {path} }};").parse().unwrap();
                let response = cedar_policy::Authorizer::new().is_authorized(&request, &set, &entities);
                assert_eq!(response.diagnostics().errors().count(), 0, "{path}");
                assert_eq!(
                    response.decision() == cedar_policy::Decision::Allow,
                    atoms.0 & bit(at) != 0,
                    "{path}"
                );
            }
        }
        assert_eq!(
            (ever.count_ones() as usize, always),
            (ATOMS.len(), 0),
            "each atom is seen as yes and as no"
        );
        assert!(ATOMS.len() < 32);
    }
}
