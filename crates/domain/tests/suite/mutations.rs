//! Every way to change one thing in a JSON value: each leaf, each key, each element.

use serde_json::{Map, Value, json};

/// Words of which one stands for another, so that a changed enum still parses.
const WORDS: [&[&str]; 15] = [
    &["T0", "T1", "T2", "T3", "T4", "T5"],
    &["approve", "reject"],
    &[
        "inverse",
        "previous_revision",
        "snapshot",
        "git_revert",
        "delete_artifact",
        "self_heals",
        "compensate",
        "none",
    ],
    &["clean", "tainted"],
    &["int", "bool", "choice", "secret"],
    &["policy", "catalogue", "inventory", "registry", "limits"],
    &["read_only", "reversible", "externally_reversible", "irreversible"],
    &["observe", "decide", "execute"],
    &["low", "medium", "high", "critical"],
    &["holds", "does_not_hold", "indeterminate"],
    &["allow", "hold", "defer", "deny"],
    &["denied", "deferred", "permitted", "forbade", "failed"],
    &["as_before", "as_planned", "put_right"],
    &["soft", "hard"],
    &["reported", "confirmed", "reviewed", "disputed"],
];

/// `value` with one thing changed, each with the JSON pointer of what was changed. Every result differs from `value`.
pub(crate) fn mutations(value: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    visit(value, "", &mut |path, name, changed| {
        let mut whole = value.clone();
        *whole.pointer_mut(path).unwrap() = changed;
        assert_ne!(whole, *value, "{path}{name}: nothing was changed");
        all.push((format!("{path}{name}"), whole));
    });
    all
}

/// The pointers of all leaves: what is neither an object nor an array.
pub(crate) fn leaves(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(name, inner)| walk(inner, &format!("{path}/{name}"), out))
            }
            Value::Array(list) => {
                list.iter()
                    .enumerate()
                    .for_each(|(index, inner)| walk(inner, &format!("{path}/{index}"), out));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    walk(value, "", &mut out);
    out
}

fn visit(value: &Value, path: &str, found: &mut impl FnMut(&str, &str, Value)) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let place = format!("/{name}");
                found(path, &place, Value::Object(without(map, name)));
                for other in renamed(name) {
                    let mut changed = without(map, name);
                    changed.insert(other, inner.clone());
                    found(path, &place, Value::Object(changed));
                }
                visit(inner, &format!("{path}/{name}"), found);
            }
            // Something new beside what is there: a value of each kind that occurs in our formats.
            for extra in [Value::Null, json!(true), json!({"bool": true}), json!("x")] {
                let mut changed = map.clone();
                changed.insert("zz".into(), extra);
                found(path, "/zz", Value::Object(changed));
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                let (mut less, mut more) = (list.clone(), list.clone());
                less.remove(index);
                more.insert(index, inner.clone());
                found(path, "", Value::Array(less));
                found(path, "", Value::Array(more));
                visit(inner, &format!("{path}/{index}"), found);
            }
            found(path, "", Value::Null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            other_leaves(value).into_iter().for_each(|changed| found(path, "", changed));
        }
    }
}

fn other_leaves(leaf: &Value) -> Vec<Value> {
    let mut others = vec![json!([]), json!({}), json!(-1), json!(1.5)];
    match leaf {
        Value::Null => others.extend([json!("x"), json!(0), json!(false)]),
        Value::Bool(yes) => others.extend([json!(!yes), Value::Null]),
        Value::Number(number) => {
            others.extend([json!(number.to_string()), Value::Null]);
            match number.as_i64() {
                Some(whole) => others.extend([json!(whole + 1), json!(whole - 1)]),
                None => others.push(json!(number.as_f64().unwrap() * 2.0)),
            }
        }
        Value::String(text) => {
            others.extend([json!(format!("{text}x")), json!(""), Value::Null]);
            others.extend(renamed(text).into_iter().map(Value::String));
        }
        Value::Array(_) | Value::Object(_) => panic!("{leaf} is no leaf"),
    }
    others.retain(|other| other != leaf);
    others
}

/// Other texts that are likely to be read in the same place.
fn renamed(text: &str) -> Vec<String> {
    let mut others: Vec<String> = WORDS
        .iter()
        .filter(|group| group.contains(&text))
        .flat_map(|group| group.iter().filter(|word| **word != text).map(|word| (*word).to_owned()))
        .collect();
    // Another character in the first, the middle and the last place that is one of a digest, an id or base64.
    for place in [text.find(':').map_or(0, |colon| colon + 1), text.len() / 2, text.len().saturating_sub(1)] {
        let Some(old) = text.get(place..=place) else { continue };
        let new = if old == "a" { "b" } else { "a" };
        others.push(format!("{}{new}{}", &text[..place], &text[place + 1..]));
    }
    others.sort();
    others.dedup();
    others
}

fn without(map: &Map<String, Value>, name: &str) -> Map<String, Value> {
    map.iter().filter(|(key, _)| *key != name).map(|(key, inner)| (key.clone(), inner.clone())).collect()
}
