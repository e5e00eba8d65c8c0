//! Alerts of an Alertmanager: which are meant, and what must be seen of them.
//!
//! Matchers: <https://prometheus.io/docs/alerting/latest/configuration/#matcher>.

use serde::{Deserialize, Serialize};

use super::{
    check::{CheckFault, age},
    promql::Promql,
    template::{Param, QueryFault, Subject},
};
use crate::Millis;

/// Most matchers of one kind of alert.
const MAX_MATCHERS: usize = 16;

/// Which alerts an Alertmanager is asked for, and what must be seen of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerCheck {
    /// [`AlertMatcher`]s of the alerts that are meant: all of them must fit.
    pub matchers: Vec<String>,
    /// What must be seen.
    pub expect: AlertExpect,
    /// Matchers of an alert that always fires. Only while it does, no alert means that there is none: an Alertmanager that
    /// nobody sends anything says so, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heartbeat: Vec<String>,
    /// An alert that nobody has sent again for longer is stale.
    pub max_age_ms: Millis,
}

/// What must be seen of alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertExpect {
    /// One of them is active, and neither silenced nor inhibited.
    Firing,
    /// One of them is silenced.
    Silenced,
    /// There is none.
    NotFiring,
}

impl AlertmanagerCheck {
    pub(super) fn check(&self) -> Result<(), CheckFault> {
        age(self.max_age_ms)?;
        let needs_heartbeat = self.expect == AlertExpect::NotFiring;
        for (field, texts, is_needed) in
            [("matchers", &self.matchers, true), ("heartbeat", &self.heartbeat, needs_heartbeat)]
        {
            if (texts.is_empty() && is_needed) || texts.len() > MAX_MATCHERS {
                return Err(CheckFault::Matchers { field, got: texts.len() });
            }
            for text in texts {
                AlertMatcher::parse(text).map_err(|fault| CheckFault::Query { field, fault })?;
            }
        }
        Ok(())
    }
}

/// A matcher with parameters: `name="value"`, with `=`, `!=`, `=~` or `!~` and double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMatcher(
    // INVARIANT: a pair of braces with one matcher inside, as PromQL has them.
    Promql,
);

impl AlertMatcher {
    /// Reads a matcher. Its quotes and escapes are those of PromQL, as far as Alertmanager has them.
    pub fn parse(text: &str) -> Result<Self, QueryFault> {
        let matcher = Promql::parse(&format!("{{{text}}}"))?;
        if matcher.is_one_matcher() && text.trim_end().ends_with('"') {
            Ok(Self(matcher))
        } else {
            Err(QueryFault::NotAMatcher)
        }
    }

    /// The matcher for a target; none where the target has not a label that it names.
    #[must_use]
    pub fn about(&self, subject: Subject<'_>) -> Option<String> {
        let braced = self.0.about(subject)?;
        braced.strip_prefix('{')?.strip_suffix('}').map(str::to_owned)
    }

    /// The parameters, in their order.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.0.params()
    }
}
