//! What a command is asked about: plans, holds, actions, targets, and how people name them.

use holdpoint_domain::{
    Id,
    id::{IdError, Kind, kind},
};

use super::CliError;

/// A kind of thing, or one thing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All plans.
    Plans,
    /// A plan.
    Plan(Id<kind::Plan>),
    /// All holds.
    Holds,
    /// A hold.
    Hold(Id<kind::Hold>),
    /// The catalogue.
    Actions,
    /// An action.
    Action(Id<kind::Action>),
    /// The inventory.
    Targets,
    /// A target.
    Target(Id<kind::Target>),
    /// Incidents that sources outside told of.
    Incidents,
}

/// The words for each kind, as the help and the completions show them first.
pub(crate) const KINDS: &str = "plans, holds, catalogue (actions), inventory (targets), incidents";

impl Wanted {
    /// Reads what stands on the command line: a kind and perhaps a name, or the id of a plan or hold, which says its kind
    /// itself. Nothing means plans.
    pub(crate) fn parse(what: Option<&str>, name: Option<&str>) -> Result<Self, CliError> {
        let what = what.unwrap_or("plans");
        Ok(match (what, name) {
            ("plan" | "plans", None) => Self::Plans,
            ("plan" | "plans", Some(name)) => Self::Plan(id(name)?),
            ("hold" | "holds" | "request" | "requests", None) => Self::Holds,
            ("hold" | "holds" | "request" | "requests", Some(name)) => Self::Hold(id(name)?),
            ("catalogue" | "catalog" | "action" | "actions", None) => Self::Actions,
            ("catalogue" | "catalog" | "action" | "actions", Some(name)) => Self::Action(id(name)?),
            ("inventory" | "target" | "targets", None) => Self::Targets,
            ("inventory" | "target" | "targets", Some(name)) => Self::Target(id(name)?),
            ("incident" | "incidents", None) => Self::Incidents,
            (plan, None) if plan.starts_with("plan-") => Self::Plan(id(plan)?),
            (hold, None) if hold.starts_with("hold-") => Self::Hold(id(hold)?),
            (other, _) => {
                let shown = holdpoint_domain::text::quoted(other, 48);
                return Err(CliError::Usage(format!(
                    "expected {KINDS}, or the id of a plan or hold, got {shown}"
                )));
            }
        })
    }
}

fn id<K: Kind>(text: &str) -> Result<Id<K>, CliError> {
    // What is wrong with an id is wrong with the command line.
    text.parse().map_err(|err: IdError| CliError::Usage(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_name_things_as_they_like() {
        let parse = |what: &[&str]| Wanted::parse(what.first().copied(), what.get(1).copied());
        let plan = || Wanted::Plan(Id::parse("plan-1").unwrap());
        for (words, wanted) in [
            (&[][..], Wanted::Plans),
            (&["plans"], Wanted::Plans),
            (&["plan-1"], plan()),
            (&["plan", "plan-1"], plan()),
            (&["holds"], Wanted::Holds),
            (&["hold-1"], Wanted::Hold(Id::parse("hold-1").unwrap())),
            (&["catalogue"], Wanted::Actions),
            (&["action", "process.restart"], Wanted::Action(Id::parse("process.restart").unwrap())),
            (&["inventory"], Wanted::Targets),
            (&["incidents"], Wanted::Incidents),
            (&["target", "worker-1"], Wanted::Target(Id::parse("worker-1").unwrap())),
        ] {
            assert_eq!(parse(words).unwrap(), wanted, "{words:?}");
        }
        for bad in [&["plums"][..], &["plan", "Plan 1"], &["worker-1"], &["plan-1", "plan-2"], &["a\u{202e}"]]
        {
            let err = parse(bad).err().unwrap();
            assert_eq!(err.code(), 2, "{bad:?}");
            assert!(!err.to_string().contains('\u{202e}'));
        }
    }
}
