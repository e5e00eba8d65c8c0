//! What can be wrong with a bundle, and what deserves a second look.

use std::{fmt, sync::Arc};

use holdpoint_domain::{
    Id,
    digest::DigestError,
    id::{IdError, kind},
    text::quoted,
};
use serde::Serialize;

use crate::scan::limit;

/// Longest part of a message that Cedar wrote; enough for its sentence, too short to fill a screen.
const MAX_MESSAGE: usize = 400;

/// Where a rule begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The name of the source.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why the schema cannot be made from a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// An action has the name of a group, or of what people do.
    #[error("catalogue: action `{action}` has the name of an action group: expected a name of its own")]
    ActionIsGroup {
        /// The action.
        action: Id<kind::Action>,
    },
    /// A group has the name of what people do.
    #[error(
        "catalogue: action `{action}` is in group `{group}`: expected another name, `{group}` is what people do"
    )]
    GroupIsTaken {
        /// The action.
        action: Id<kind::Action>,
        /// The group.
        group: &'static str,
    },
    /// A catalogue entry has no canonical form.
    #[error("catalogue: action `{action}`: {source}")]
    Digest {
        /// The action.
        action: Id<kind::Action>,
        /// Why.
        source: DigestError,
    },
    /// Cedar does not take the schema that we generated: our fault.
    #[error("the generated schema does not load: {0}")]
    Generated(String),
}

/// Why a bundle is refused. Every fault of a stage is reported, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too many sources.
    #[error("expected at most {} policy files, got {got}", limit::FILES)]
    TooManyFiles {
        /// How many.
        got: usize,
    },
    /// Two sources with one name, or one with the name of the guardrails.
    #[error("{file}: expected a name of its own for each policy file, got this one twice")]
    DuplicateFile {
        /// The name.
        file: Arc<str>,
    },
    /// A source is too large.
    #[error("{file}: expected at most {} bytes, got {got}", limit::FILE_BYTES)]
    FileTooLarge {
        /// The source.
        file: Arc<str>,
        /// Its size.
        got: usize,
    },
    /// All sources together are too large.
    #[error("expected at most {} bytes of policy in all, got {got}", limit::TOTAL_BYTES)]
    BundleTooLarge {
        /// Their size.
        got: usize,
    },
    /// Too many rules and links.
    #[error("expected at most {} policy rules and links, got {got}", limit::RULES)]
    TooManyRules {
        /// How many.
        got: usize,
    },
    /// Brackets within brackets, or long chains of operators.
    #[error("{at}: expected a rule at most {} deep, got {got}: use a set, or several rules", limit::DEPTH)]
    TooDeep {
        /// The rule.
        at: Place,
        /// How deep it is: brackets count twice, chained operators once.
        got: usize,
    },
    /// A character that cannot be seen, or changes how its neighbours are seen.
    #[error("{at}: expected text that can be seen, got the character {shown}")]
    Hidden {
        /// The line.
        at: Place,
        /// The character, escaped.
        shown: String,
    },
    /// A text or the last rule does not end.
    #[error("{at}: expected the rule that begins here to end with `;`")]
    Unterminated {
        /// The rule.
        at: Place,
    },
    /// Cedar cannot read the rule.
    #[error("{at}: {message}")]
    Syntax {
        /// The rule.
        at: Place,
        /// What Cedar says.
        message: String,
    },
    /// A rule without `@id`.
    #[error("{at}: expected the rule to have an id such as `@id(\"restart-stateless\")`, got none")]
    NoId {
        /// The rule.
        at: Place,
    },
    /// A rule whose `@id` is not one.
    #[error("{at}: {source}")]
    BadId {
        /// The rule.
        at: Place,
        /// Why.
        source: IdError,
    },
    /// Two rules with one id.
    #[error("{at}: rule `{rule}`: expected an id of its own, got the one of {first}")]
    DuplicateId {
        /// The second rule.
        at: Place,
        /// The id.
        rule: Id<kind::Rule>,
        /// The first rule.
        first: Place,
    },
    /// A rule with the id of a guardrail or of a reason that the gate itself gives.
    #[error("{at}: rule `{rule}`: expected an id of its own, got one that is the gate's")]
    ReservedId {
        /// The rule.
        at: Place,
        /// The id.
        rule: Id<kind::Rule>,
    },
    /// No rule that could ever apply.
    #[error(
        "expected at least one policy rule beside the guardrails, got none: such a gate would deny everything"
    )]
    Empty,
    /// The rule does not fit the schema.
    #[error("{at}: rule `{rule}` does not fit the schema: {message}")]
    Invalid {
        /// The rule.
        at: Place,
        /// Its id.
        rule: Id<kind::Rule>,
        /// What Cedar says.
        message: String,
    },
    /// The rule can never apply to any request.
    #[error("{at}: rule `{rule}` can never match: {message}")]
    NeverMatches {
        /// The rule.
        at: Place,
        /// Its id.
        rule: Id<kind::Rule>,
        /// What Cedar says.
        message: String,
    },
    /// More oversight turns the rule against the action.
    #[error(
        "{at}: rule `{rule}` allows less the more people look: expected `context.oversight` to widen a permit (`approvals >= 1`) \
         and to narrow a forbid (`unless {{ context.oversight.approvals >= 1 }}`)"
    )]
    AntiMonotone {
        /// The rule.
        at: Place,
        /// Its id.
        rule: Id<kind::Rule>,
    },
    /// A link of a template that nobody wrote.
    #[error("link `{link}`: expected the id of a template, got {template}")]
    UnknownTemplate {
        /// The link.
        link: String,
        /// What it names.
        template: String,
    },
    /// A link that does not fit its template.
    #[error("link `{link}`: {message}")]
    BadLink {
        /// The link.
        link: String,
        /// Why.
        message: String,
    },
    /// The bundle has no canonical form: our fault.
    #[error("the bundle has no digest: {0}")]
    Digest(DigestError),
}

/// What does not stop a bundle from loading but deserves a second look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// It cannot be shown that more oversight never turns this rule against the action. Every rung is asked, and an
    /// answer that falls while oversight rises is a denial.
    Unproven {
        /// Where.
        at: Place,
        /// The rule.
        rule: Id<kind::Rule>,
    },
    /// The rule names something that inventory and registry do not have: a spelling mistake never matches.
    UnknownName {
        /// Where.
        at: Place,
        /// The rule.
        rule: Id<kind::Rule>,
        /// What it names, as Cedar writes it.
        name: String,
    },
    /// The permit has no limit on actions, so it lets people approve, too.
    PermitsApproving {
        /// Where.
        at: Place,
        /// The rule.
        rule: Id<kind::Rule>,
    },
    /// No rule lets anybody approve: whatever is held will expire.
    NobodyApproves,
    /// A template without a link never applies.
    Unlinked {
        /// Where.
        at: Place,
        /// The template.
        rule: Id<kind::Rule>,
    },
    /// Cedar finds the rule odd (letters of several scripts, for instance).
    Odd {
        /// Where.
        at: Place,
        /// The rule.
        rule: Id<kind::Rule>,
        /// What Cedar says.
        message: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven { at, rule } => write!(
                f,
                "{at}: rule `{rule}`: cannot show that more oversight never makes it stricter; an answer that does is denied"
            ),
            Self::UnknownName { at, rule, name } => {
                write!(f, "{at}: rule `{rule}` names {name}, which inventory and registry do not have")
            }
            Self::PermitsApproving { at, rule } => write!(
                f,
                "{at}: rule `{rule}` permits people to approve, too: limit it with `principal is Agent` if that is not meant"
            ),
            Self::NobodyApproves => {
                f.write_str("no rule permits `Action::\"approve\"`: whatever is held will expire")
            }
            Self::Unlinked { at, rule } => write!(f, "{at}: template `{rule}` has no link and never applies"),
            Self::Odd { at, rule, message } => write!(f, "{at}: rule `{rule}`: {message}"),
        }
    }
}

/// What Cedar says, as one line without hidden characters.
pub(crate) fn one_line(message: &str) -> String {
    let joined = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = quoted(&joined, MAX_MESSAGE);
    shown.trim_matches('`').replace("\\\\", "\\")
}
