//! Bodies of HTTP requests: two readers, and what must be refused beside whatever is accepted.

use holdpoint::bodies::{self, RequestBody};
use serde_json::Value;

mod shapes;

/// Most values in a body that may have more than a few fields, as docs/http.md says.
const MOST_VALUES: usize = 512;
/// Deeper than the JSON parser goes.
const TOO_DEEP: usize = 200;

/// Each endpoint refuses with a problem that is the caller's, or gets a value that reads back the same; what a second reader refuses
/// is refused, and so is everything that is accepted with one hostile change.
pub(crate) fn holds(bytes: &[u8]) {
    let naive = second_reader(bytes);
    for body in bodies::ALL {
        match body.read(bytes) {
            Ok(value) => accepted(body, bytes, naive.as_ref(), &value),
            Err(refused) => assert!(
                (400..500).contains(&refused.status),
                "{}: {} for what a caller sent: {}",
                body.path,
                refused.status,
                refused.detail
            ),
        }
    }
}

fn accepted(body: &RequestBody, bytes: &[u8], naive: Option<&Value>, value: &Value) {
    let path = body.path;
    let naive = naive.unwrap_or_else(|| panic!("{path}: the second reader refuses this as JSON"));
    if let Err(fault) = shapes::of(path).fits(naive) {
        panic!("{path}: the second reader refuses this: {fault}");
    }
    assert_eq!(body.read(value.to_string().as_bytes()).as_ref(), Ok(value), "{path}: written, read");
    let spaced = [b" \n".as_slice(), bytes, b"\t\r\n"].concat();
    assert_eq!(body.read(&spaced).as_ref(), Ok(value), "{path}: space around a body says nothing");
    for (what, hostile) in hostile(bytes, naive) {
        let answer = body.read(hostile.as_bytes());
        assert!(answer.is_err(), "{path}: {what} is accepted: {hostile}");
    }
}

/// A body that was accepted, with one change after which it must not be.
fn hostile(bytes: &[u8], naive: &Value) -> Vec<(&'static str, String)> {
    let text = std::str::from_utf8(bytes).expect("what was accepted is UTF-8");
    let Value::Object(fields) = naive else { return Vec::new() };
    let open = text.trim_end().strip_suffix('}').expect("what was accepted is an object");
    let with = |member: &str| match fields.is_empty() {
        true => format!("{open}{member}}}"),
        false => format!("{open},{member}}}"),
    };
    let deep = format!("{}{}", "[".repeat(TOO_DEEP), "]".repeat(TOO_DEEP));
    let mut list = vec![
        ("an unknown name", with("\"surprise\":1")),
        ("a name twice", with("\"surprise\":1,\"surprise\":1")),
        ("a deep value", with(&format!("\"surprise\":{deep}"))),
        ("a second value", format!("{text} {{}}")),
        ("a list of it", format!("[{text}]")),
        ("a body cut short", open.to_owned()),
        ("a byte order mark", format!("\u{feff}{text}")),
    ];
    for (name, value) in fields {
        let name = Value::String(name.clone());
        list.push(("a name of its own twice", with(&format!("{name}:{value}"))));
    }
    list
}

/// The body as a plain reader has it, if it is JSON with no name twice and at most [`MOST_VALUES`] values.
fn second_reader(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let (values, members) = counted(&value);
    // The plain reader forgets all but the last member of a name; their colons are still in the text.
    (values <= MOST_VALUES && members == colons(bytes)).then_some(value)
}

/// How many values there are, and how many of them have a name.
fn counted(value: &Value) -> (usize, usize) {
    let (inside, members): (Vec<&Value>, _) = match value {
        Value::Array(list) => (list.iter().collect(), 0),
        Value::Object(fields) => (fields.values().collect(), fields.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (Vec::new(), 0),
    };
    inside
        .into_iter()
        .map(counted)
        .fold((1, members), |(all, named), (more, more_named)| (all + more, named + more_named))
}

/// Colons outside of strings.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b':' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}
