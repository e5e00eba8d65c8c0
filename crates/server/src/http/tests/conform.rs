//! Whether answers are what the documentation says: a small validator for the part of JSON Schema that it is written in.

use std::sync::LazyLock;

use axum::http::{Method, header};
use serde_json::Value;

use super::bench::Answer;
use crate::http::openapi::document;

pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// Panics unless the answer is documented: its status, its content type, and all of its fields.
#[track_caller]
pub(super) fn check(method: &Method, path: &str, answer: &Answer) {
    // No bodies of answers to `HEAD`, and nothing is documented of paths and methods that are not there.
    let Some(operation) = operation(method, path) else { return };
    let mut response = &operation["responses"][answer.status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = resolve(reference);
    }
    let kind =
        answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let media = &response["content"][kind];
    assert!(media.is_object(), "{method} {path}: {} with `{kind}` is not documented", answer.status);
    if let Some(schema) = media.get("schema") {
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        if let Err(fault) = valid(schema, &body) {
            panic!("{method} {path}, {}: {fault}\n{body:#}", answer.status);
        }
    }
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let fits = |template: &str| {
        let (mut wanted, mut got) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), got.next()) {
                (None, None) => return true,
                // The rest of a path.
                (Some("{path}"), Some(_)) => return true,
                (Some(word), Some(part)) if word == part || (word.starts_with('{') && !part.is_empty()) => {}
                _ => return false,
            }
        }
    };
    let (_, item) = DOCUMENT["paths"].as_object()?.iter().find(|(template, _)| fits(template))?;
    item.get(method.as_str().to_lowercase())
}

/// What a reference inside the document leads to.
#[track_caller]
pub(super) fn resolve(reference: &str) -> &'static Value {
    let pointer =
        reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the document"));
    DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Whether a value fits a schema. A field that no schema declares does not fit, whether or not it were allowed.
pub(super) fn valid(schema: &Value, value: &Value) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return if schema == &Value::Bool(true) { Ok(()) } else { Err(format!("{value} is never allowed")) };
    };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        valid(resolve(reference), value)?;
    }
    for word in ["oneOf", "anyOf"] {
        let Some(choices) = schema.get(word).and_then(Value::as_array) else { continue };
        let faults: Vec<_> = choices.iter().filter_map(|choice| valid(choice, value).err()).collect();
        let fits = choices.len().saturating_sub(faults.len());
        if fits == 0 || (word == "oneOf" && fits > 1) {
            return Err(format!("{value} fits {fits} of {word}: {}", faults.join("; ")));
        }
    }
    let listed = schema.get("enum").and_then(Value::as_array);
    if listed.is_some_and(|listed| !listed.contains(value))
        || schema.get("const").is_some_and(|is| is != value)
    {
        return Err(format!("{value} is none of the words"));
    }
    if let Some(kind) = schema.get("type") {
        let kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
        if !kinds.iter().filter_map(Value::as_str).any(|kind| is(kind, value)) {
            return Err(format!("{value} is no {kind}"));
        }
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        list.iter().try_for_each(|item| valid(items, item))?;
    }
    value.as_object().map_or(Ok(()), |fields| valid_fields(schema, fields))
}

fn valid_fields(
    schema: &serde_json::Map<String, Value>,
    fields: &serde_json::Map<String, Value>,
) -> Result<(), String> {
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !fields.contains_key(name) {
            return Err(format!("no field `{name}`"));
        }
    }
    let declared = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties").filter(|others| *others != &Value::Bool(false));
    if declared.is_none() && others.is_none() {
        return Ok(());
    }
    for (name, value) in fields {
        let schema = declared.and_then(|declared| declared.get(name)).or(others);
        let schema = schema.ok_or_else(|| format!("field `{name}` is not declared"))?;
        valid(schema, value).map_err(|fault| format!("{name}: {fault}"))?;
    }
    Ok(())
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_validator_refuses_what_does_not_fit() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": ["integer", "null"]}, "b": {"oneOf": [{"const": "x"}, {"type": "array"}]}},
    });
    for good in [json!({"a": 1}), json!({"a": null, "b": "x"}), json!({"a": 1, "b": []})] {
        assert_eq!(valid(&schema, &good), Ok(()), "{good}");
    }
    for bad in [json!({}), json!({"a": "1"}), json!({"a": 1, "b": "y"}), json!({"a": 1, "c": 1}), json!([])] {
        assert!(valid(&schema, &bad).is_err(), "{bad}");
    }
}
