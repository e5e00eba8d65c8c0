//! What a body looks like, as a table: the second opinion on names and kinds. Forms of names and digests are not in it.

use serde_json::Value;

/// Largest whole number in anything that is signed.
const MAX_WHOLE: u64 = (1 << 53) - 1;

/// The kind of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Flag,
    /// From 0 to this.
    Whole(u64),
    /// One of these.
    Word(&'static [&'static str]),
    /// Exactly these fields.
    Object(&'static [(&'static str, Need, Shape)]),
    /// Any names, with values of one kind.
    Map(&'static Shape),
    List(&'static Shape),
    /// A text, or something else.
    TextOr(&'static Shape),
    /// A parameter: a whole number, a flag or a word.
    Param,
}

/// Whether a field must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Must,
    /// May be left out.
    May,
    /// May be left out or `null`.
    Null,
}

use Need::{May, Must, Null};
use Shape::{Flag, List, Map, Object, Param, Text, TextOr, Whole, Word};

const HEAD: Shape = Object(&[("origin", Must, Text), ("size", Must, Whole(MAX_WHOLE)), ("root", Must, Text)]);
const CONTROL: Shape = Word(&["policy", "catalogue", "inventory", "registry", "limits"]);
const CHOICE: Shape = Word(&["approve", "reject"]);
const ANSWERS: Shape = Object(&[
    ("trigger_was_real", Must, Flag),
    ("did_what_it_should", Must, Flag),
    ("may_go_on", Must, Flag),
]);
const STEP: Shape = Object(&[("action", Must, Text), ("target", Must, Text), ("params", May, Map(&Param))]);

const DELEGATION: Shape = Object(&[
    ("to", Must, Text),
    ("actions", Null, List(&Text)),
    ("targets", Null, List(&Text)),
    ("life_ms", Must, Whole(MAX_WHOLE)),
]);
const PLAN: Shape = Object(&[
    ("action", Null, Text),
    ("target", Null, Text),
    ("params", May, Map(&Param)),
    ("steps", May, List(&STEP)),
    ("trigger", Must, Text),
    ("incident", Null, Text),
    ("summary", May, Text),
    ("reason", May, Text),
    ("confidence", Null, Text),
    ("prompt", Null, Text),
    ("model", Null, Text),
    ("transcript", Null, Text),
]);
const HOLD_TERMS: Shape = Object(&[
    ("hold", Must, Text),
    ("head", Must, HEAD),
    ("plan", Must, Text),
    ("narrative", Must, Text),
    ("facts", Must, Text),
    ("decision", Must, Text),
    ("policy", Must, Text),
    ("tier", Must, Word(&["T0", "T1", "T2", "T3", "T4", "T5"])),
    ("nonce", Must, Text),
    ("expires_at_ms", Must, Whole(MAX_WHOLE)),
]);
const HOLD_STATEMENT: Shape = Object(&[
    ("type", Must, Word(&["holdpoint/approval/v1"])),
    ("terms", Must, HOLD_TERMS),
    ("approver", Must, Text),
    ("choice", Must, CHOICE),
]);
const REVIEW: Shape = Object(&[
    ("type", Must, Word(&["holdpoint/review/v1"])),
    ("plan", Must, Text),
    ("digest", Must, Text),
    ("seen", Must, Whole(MAX_WHOLE)),
    ("reviewer", Must, Text),
    ("answers", Must, ANSWERS),
]);
const RESOLUTION: Shape = Object(&[
    ("type", Must, Word(&["holdpoint/resolution/v1"])),
    ("plan", Must, Text),
    ("digest", Must, Text),
    ("seen", Must, Whole(MAX_WHOLE)),
    ("resolver", Must, Text),
    ("found", Must, Word(&["as_before", "as_planned", "put_right"])),
]);
const ACCOUNT: Shape = Object(&[
    ("origin", Must, Text),
    ("action", Null, Text),
    ("target", Must, Text),
    ("from_ms", Must, Whole(MAX_WHOLE)),
    ("until_ms", Must, Whole(MAX_WHOLE)),
    ("people", Must, List(&Text)),
    ("incident", Null, Text),
    ("words", Must, Text),
]);
const ACCOUNT_WORDS: Shape =
    Object(&[("did", Must, Text), ("reason", Must, Text), ("before", Must, Text), ("after", Must, Text)]);
const RECONCILE: Shape = Object(&[
    ("type", Must, Word(&["holdpoint/reconcile/v1"])),
    ("account", Must, ACCOUNT),
    ("part", Must, Word(&["reported", "confirmed", "reviewed", "disputed"])),
    ("by", Must, Text),
]);
const RESUME: Shape = Object(&[
    ("type", Must, Word(&["holdpoint/resume/v1"])),
    ("origin", Must, Text),
    (
        "halt",
        Must,
        Object(&[
            ("reach", Must, Word(&["soft", "hard"])),
            ("by", Null, Text),
            ("at_ms", Must, Whole(MAX_WHOLE)),
        ]),
    ),
    ("by", Must, Text),
]);
/// A key's signature, or a passkey's assertion.
const PROOF: Shape = TextOr(&Object(&[
    ("credential", Must, Text),
    ("authenticator_data", Must, Text),
    ("client_data", Must, Text),
    ("signature", Must, Text),
]));
const CHANGE_TERMS: Shape = Object(&[
    ("id", Must, Text),
    ("head", Must, HEAD),
    ("control", Must, CONTROL),
    ("old", Must, Text),
    ("new", Must, Text),
    ("content", Must, Text),
    ("author", Must, Text),
    ("needed", Must, Whole(u32::MAX as u64)),
    ("nonce", Must, Text),
    ("expires_at_ms", Must, Whole(MAX_WHOLE)),
]);
const CHANGE_STATEMENT: Shape = Object(&[
    ("type", Must, Word(&["holdpoint/change-approval/v1"])),
    ("terms", Must, CHANGE_TERMS),
    ("approver", Must, Text),
    ("choice", Must, CHOICE),
]);

const BODIES: &[(&str, Shape)] = &[
    ("/v1/plans", PLAN),
    ("/v1/evaluations", Object(&[("action", Must, Text), ("target", Must, Text)])),
    ("/v1/holds/{id}/decisions", Object(&[("statement", Must, HOLD_STATEMENT), ("signature", Must, PROOF)])),
    (
        "/v1/plans/{id}/review",
        Object(&[
            ("statement", Must, Object(&[("statement", Must, REVIEW), ("signature", Must, PROOF)])),
            ("note", Null, Text),
        ]),
    ),
    (
        "/v1/plans/{id}/resolution",
        Object(&[
            ("statement", Must, Object(&[("statement", Must, RESOLUTION), ("signature", Must, PROOF)])),
            ("note", Null, Text),
        ]),
    ),
    (
        "/v1/reconciliations",
        Object(&[
            ("statement", Must, Object(&[("statement", Must, RECONCILE), ("signature", Must, PROOF)])),
            ("words", Null, ACCOUNT_WORDS),
            ("salt", Null, Text),
        ]),
    ),
    ("/v1/changes", Object(&[("control", Must, CONTROL), ("files", Must, Map(&Text))])),
    (
        "/v1/changes/{id}/decisions",
        Object(&[("statement", Must, CHANGE_STATEMENT), ("signature", Must, PROOF)]),
    ),
    ("/v1/leases/{id}/revocation", Object(&[])),
    ("/v1/halt", Object(&[("reach", Must, Word(&["soft", "hard"]))])),
    ("/v1/resume", Object(&[("statement", Must, RESUME), ("signature", Must, PROOF)])),
    ("/v1/probes", Object(&[("condition", Must, Text), ("target", Must, Text)])),
    ("/v1/invitations", Object(&[("person", Must, Text)])),
    ("/v1/sign-in-links", Object(&[])),
    ("/v1/delegations", DELEGATION),
    ("/v1/introspection", Object(&[("token", Must, Text), ("executor", Null, Text)])),
];

/// The shape of an endpoint's body.
pub(super) fn of(path: &str) -> Shape {
    let row = BODIES.iter().find(|(known, _)| *known == path);
    row.unwrap_or_else(|| panic!("no shape for the body of `{path}`")).1
}

impl Shape {
    /// Why a value is none of this shape.
    pub(super) fn fits(self, value: &Value) -> Result<(), String> {
        let fits = match (self, value) {
            (Text | TextOr(_), Value::String(_)) | (Flag | Param, Value::Bool(_)) => true,
            (Whole(most), Value::Number(number)) => number.as_u64().is_some_and(|number| number <= most),
            (Word(words), Value::String(word)) => words.contains(&word.as_str()),
            (Param, Value::Number(number)) => number.is_i64(),
            (Param, Value::String(word)) => !word.is_empty(),
            (TextOr(of), other) => return of.fits(other),
            (List(of), Value::Array(list)) => return list.iter().try_for_each(|value| of.fits(value)),
            (Map(of), Value::Object(fields)) => return fields.values().try_for_each(|value| of.fits(value)),
            (Object(known), Value::Object(fields)) => return fields_fit(known, fields),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("expected {self:?}, got {value}")) }
    }
}

fn fields_fit(
    known: &[(&'static str, Need, Shape)],
    fields: &serde_json::Map<String, Value>,
) -> Result<(), String> {
    if let Some(name) = fields.keys().find(|name| known.iter().all(|(known, ..)| known != name)) {
        return Err(format!("unknown name `{name}`"));
    }
    known.iter().try_for_each(|(name, need, shape)| match (fields.get(*name), need) {
        (None, Must) => Err(format!("no `{name}`")),
        (None, May | Null) | (Some(Value::Null), Null) => Ok(()),
        (Some(value), Must | May | Null) => shape.fits(value),
    })
}
