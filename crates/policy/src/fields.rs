//! Which fields of the context, and which attributes of the target, the conditions of a rule look at. Only those are built for
//! Cedar; see [`crate::narrow`].

use cedar_policy::pst::{Clause, Expr, Var};

/// The context of a plan but for the oversight: records, and their fields. The order is that of the values that
/// `request` builds.
pub(crate) const FIELDS: [(&str, &str); 42] = [
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
    ("brakes", "planLimit"),
    ("brakes", "neighbourhoodBusy"),
    ("brakes", "ownDoing"),
    ("brakes", "breakerOpen"),
    ("brakes", "errorBudgetSpent"),
    ("brakes", "dependenciesUnread"),
    ("catalogue", "tier"),
    ("catalogue", "reversibility"),
    ("catalogue", "idempotent"),
    ("catalogue", "additive"),
    ("catalogue", "cap"),
    ("time", "atMs"),
];

/// Those that follow from a measurement, beside the trigger and the undo.
const MEASURED: [(&str, &str); 2] = [("blast", "replicaSharePercent"), ("brakes", "errorBudgetSpent")];

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

    /// Whether it has a field that follows from what an observer says of the target or its neighbours.
    pub(crate) fn look_at_observed(self) -> bool {
        self.of_the_target().any(|name| name == "down")
            || self.of_context().any(|field| MEASURED.contains(&field))
    }

    pub(crate) fn look_at_time(self) -> bool {
        self.of_context().any(|(record, _)| record == "time")
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
