//! What a task may do to which session: exactly the steps of its plan.

use holdpoint_domain::{Id, id::kind, plan::ParamValue, plan::Step};
use serde::{Deserialize, Serialize};

/// The action that cancels what a session is doing.
pub const CANCEL: &str = "postgres.backend.cancel";
/// The action that ends a session.
pub const TERMINATE: &str = "postgres.backend.terminate";
/// The parameter with the session's process id.
const PID: &str = "pid";
/// The parameter with the session's start, in microseconds since 1970.
const STARTED: &str = "started_us";

/// What is done to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Cancel,
    Terminate,
}

impl Verb {
    /// The verb of an action; none for what is not done to sessions.
    pub(crate) fn of(action: &Id<kind::Action>) -> Option<Self> {
        match action.as_str() {
            CANCEL => Some(Self::Cancel),
            TERMINATE => Some(Self::Terminate),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Terminate => "terminate",
        }
    }

    /// The function of `deploy/postgres/holdpoint.sql` that does it.
    pub(crate) const fn function(self) -> &'static str {
        match self {
            Self::Cancel => "holdpoint.cancel_backend",
            Self::Terminate => "holdpoint.terminate_backend",
        }
    }
}

/// One session and what may be done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Warrant {
    pub(crate) verb: Verb,
    pub(crate) pid: i32,
    pub(crate) started_us: i64,
}

impl Warrant {
    /// What a step does, or why it is not one on sessions.
    pub(crate) fn of(step: &Step) -> Result<Self, String> {
        let verb = Verb::of(&step.action);
        let verb = verb.ok_or_else(|| format!("action `{}` does nothing to sessions", step.action))?;
        let number = |name: &str| {
            let value = step.params.iter().find(|(param, _)| param.as_str() == name);
            match value {
                Some((_, ParamValue::Int(number))) if *number > 0 => Ok(*number),
                _ => Err(format!("expected parameter `{name}` to be a whole number above 0")),
            }
        };
        let pid = i32::try_from(number(PID)?).map_err(|_| format!("`{PID}` is no process id"))?;
        Ok(Self { verb, pid, started_us: number(STARTED)? })
    }

    /// The arguments of the functions. Numbers: nothing in them has to be quoted.
    pub(crate) fn arguments(&self) -> String {
        format!("({}, {})", self.pid, self.started_us)
    }
}
