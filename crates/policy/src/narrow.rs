//! What a rule needs to be asked: which yes-or-no facts it begins with, and which parts of the context it looks at.
//!
//! Cedar's time goes into building a context of forty values for each rung and into rules whose first condition is
//! false. Both are known from the text of the rules. Narrowing must never change an answer, an error included; that it
//! does not is tested against a scan of all rules with the whole context.

use cedar_policy::{
    EntityUid,
    pst::{BinaryOp, Clause, Expr, Literal, UnaryOp, Var},
};
use holdpoint_domain::{
    facts::{Facts, Origin, TargetFacts},
    target::Criticality,
    trigger::Truth,
};

/// The context of a plan but for the oversight: records, and their fields. The order is that of the values that
/// `request` builds.
pub(crate) const FIELDS: [(&str, &str); 36] = [
    ("trigger", "condition"),
    ("trigger", "proven"),
    ("trigger", "refuted"),
    ("trigger", "indeterminate"),
    ("trigger", "agreeing"),
    ("trigger", "needed"),
    ("trigger", "sources"),
    ("undo", "kind"),
    ("undo", "computed"),
    ("undo", "counts"),
    ("blast", "targets"),
    ("blast", "services"),
    ("blast", "critical"),
    ("blast", "unknown"),
    ("blast", "replicaSharePercent"),
    ("blast", "environments"),
    ("blast", "environmentCount"),
    ("provenance", "tainted"),
    ("provenance", "targetTainted"),
    ("provenance", "actionTainted"),
    ("provenance", "scopeTainted"),
    ("build", "attested"),
    ("standing", "accepted"),
    ("standing", "earned"),
    ("brakes", "halted"),
    ("brakes", "frozen"),
    ("brakes", "suspended"),
    ("brakes", "overBudget"),
    ("brakes", "counterpartDeleted"),
    ("brakes", "inputRefused"),
    ("catalogue", "tier"),
    ("catalogue", "reversibility"),
    ("catalogue", "idempotent"),
    ("catalogue", "additive"),
    ("catalogue", "cap"),
    ("time", "atMs"),
];

/// The attributes of a target.
pub(crate) const TARGET_FIELDS: [&str; 10] = [
    "id",
    "service",
    "environment",
    "owner",
    "criticality",
    "critical",
    "dataClasses",
    "stateless",
    "replicas",
    "down",
];

/// A set of [`FIELDS`] and [`TARGET_FIELDS`], one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fields(u64);

impl Fields {
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// All attributes of the target.
    const TARGET: Self = Self(u64::MAX << FIELDS.len());

    /// Those of the context for which `keep(record, field)` holds.
    fn those(keep: impl Fn(&str, &str) -> bool) -> Self {
        let kept = FIELDS.iter().zip(0_u32..).filter(|((record, field), _)| keep(record, field));
        kept.fold(Self::default(), |fields, (_, at)| fields.with(Self::bit(at)))
    }

    /// One attribute of the target; none where it has no such attribute.
    fn of_target(name: &str) -> Self {
        let mut places = TARGET_FIELDS.iter().zip((0_u32..).skip(FIELDS.len()));
        places.find(|(known, _)| **known == name).map_or(Self::default(), |(_, at)| Self::bit(at))
    }

    /// There are fewer than 64.
    const fn bit(at: u32) -> Self {
        match 1_u64.checked_shl(at) {
            Some(bit) => Self(bit),
            None => Self::ALL,
        }
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its fields of the context, record and name; those of a record stand together.
    pub(crate) fn of_context(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let places = FIELDS.into_iter().zip(0_u32..);
        places.filter(move |(_, at)| self.0 & Self::bit(*at).0 != 0).map(|(field, _)| field)
    }

    /// Its attributes of the target.
    pub(crate) fn of_the_target(self) -> impl Iterator<Item = &'static str> {
        let places = TARGET_FIELDS.into_iter().zip((0_u32..).skip(FIELDS.len()));
        places.filter(move |(_, at)| self.0 & Self::bit(*at).0 != 0).map(|(name, _)| name)
    }
}

/// The parts of the context that the conditions of a rule look at. What takes a record or the context as a whole looks at
/// all of it.
pub(crate) fn fields_of(clauses: &[Clause]) -> Fields {
    clauses.iter().fold(Fields::default(), |fields, clause| {
        let (Clause::When(expr) | Clause::Unless(expr)) = clause;
        fields.with(fields_of_expr(expr))
    })
}

fn fields_of_expr(expr: &Expr) -> Fields {
    match expr {
        Expr::Var(Var::Context) => Fields::ALL,
        Expr::GetAttr { expr, attr } => attribute(expr, attr),
        Expr::HasAttr { expr, attrs } => attribute(expr, attrs.first()),
        Expr::Like { expr, .. } | Expr::UnaryOp { expr, .. } => fields_of_expr(expr),
        Expr::BinaryOp { left, right, .. } => fields_of_expr(left).with(fields_of_expr(right)),
        Expr::Is { expr, in_expr, .. } => in_expr
            .as_ref()
            .map_or(Fields::default(), |within| fields_of_expr(within))
            .with(fields_of_expr(expr)),
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            fields_of_expr(cond).with(fields_of_expr(then_expr)).with(fields_of_expr(else_expr))
        }
        Expr::Set(items) => {
            items.iter().fold(Fields::default(), |fields, item| fields.with(fields_of_expr(item)))
        }
        Expr::Record(of) => {
            of.values().fold(Fields::default(), |fields, item| fields.with(fields_of_expr(item)))
        }
        // An entity by itself is its name and what it is in: those are always there.
        Expr::Literal(_) | Expr::Slot(_) | Expr::Var(Var::Principal | Var::Action | Var::Resource) => {
            Fields::default()
        }
        Expr::Unknown { .. } | _ => Fields::ALL,
    }
}

/// An attribute of an expression, read or asked for.
fn attribute(of: &Expr, attr: &str) -> Fields {
    if let Expr::Var(var) = of {
        return match var {
            Var::Context => Fields::those(|record, _| record == attr),
            Var::Resource => Fields::of_target(attr),
            // Those of principal and action are always there.
            Var::Principal | Var::Action => Fields::default(),
        };
    }
    if let Expr::GetAttr { expr, attr: record } = of
        && is_context(expr)
    {
        return Fields::those(|of, field| of == record.as_str() && field == attr);
    }
    // Deeper in the context there are no entities. Whatever else it is an attribute of may turn out to be the target.
    if is_of_context(of) { fields_of_expr(of) } else { fields_of_expr(of).with(Fields::TARGET) }
}

fn is_of_context(expr: &Expr) -> bool {
    matches!(expr, Expr::GetAttr { expr, .. } if is_context(expr) || is_of_context(expr))
}

fn is_context(expr: &Expr) -> bool {
    *expr == Expr::Var(Var::Context)
}

type Value = fn(&Facts, &TargetFacts) -> bool;

/// Yes-or-no facts that a rule may begin with: variable, record (none for the target) and attribute, as in the schema.
const ATOMS: [(Var, &str, &str, Value); 22] = [
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
        atoms.0 & self.mask == self.want
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
    use crate::{request::Asked, sample};

    fn clauses(conditions: &str) -> Vec<Clause> {
        let policy: cedar_policy::Policy =
            format!("permit (principal, action, resource) {conditions};").parse().unwrap();
        policy.to_pst().unwrap().body().clauses().clone()
    }

    fn named(fields: Fields) -> Vec<String> {
        let of_context = fields.of_context().map(|(record, field)| format!("{record}.{field}"));
        of_context.chain(fields.of_the_target().map(|name| format!("resource.{name}"))).collect()
    }

    #[test]
    fn the_fields_that_conditions_look_at() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (
                "when { principal in resource && action == Action::\"x\" && principal.phase == \"decide\" }",
                &[],
            ),
            (
                "when { resource.stateless && principal in resource.owner && resource has nothing }",
                &["resource.owner", "resource.stateless"],
            ),
            ("when { context.undo.counts } unless { context.time.atMs < 5 }", &["undo.counts", "time.atMs"]),
            (
                "when { context.catalogue.cap.services > context[\"blast\"][\"services\"] }",
                &["blast.services", "catalogue.cap"],
            ),
            ("when { context.undo == context.undo }", &["undo.kind", "undo.computed", "undo.counts"]),
            (
                "when { context has build.attested || context.time has atMs }",
                &["build.attested", "time.atMs"],
            ),
            (
                "when { if context.build.attested then [context.time.atMs] == [] else {a: context.undo.kind} == {a: \"x\"} }",
                &["undo.kind", "build.attested", "time.atMs"],
            ),
            ("when { context.oversight.strong && context.nothing }", &[]),
        ];
        for (conditions, want) in cases {
            assert_eq!(named(fields_of(&clauses(conditions))), *want, "{conditions}");
        }
        let all = FIELDS.len() + TARGET_FIELDS.len();
        assert_eq!(named(fields_of(&clauses("when { [context] == [] }"))).len(), all);
        // It may be the target.
        let other = fields_of(&clauses("when { Target::\"t\".down && [resource].contains(principal) }"));
        assert_eq!(named(other).len(), TARGET_FIELDS.len());
        assert!(all < 64);
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
