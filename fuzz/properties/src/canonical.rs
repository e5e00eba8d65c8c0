//! Canonical JSON against a second implementation of RFC 8785, written from the text of the standard.

use holdpoint_domain::digest::canonical;
use serde_json::Value;

/// Bytes that are JSON have the canonical form that a naive reader of RFC 8785 gives them, and that form is its own.
pub(crate) fn holds(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    // A whole number that a double would round, and too many levels, have no canonical form.
    let Ok(form) = canonical(&value) else { return };
    let mut naive = String::new();
    write(&value, &mut naive);
    assert_eq!(String::from_utf8_lossy(&form), naive, "two readings of RFC 8785");
    let again: Value = serde_json::from_slice(&form).expect("the canonical form is JSON");
    assert_eq!(canonical(&again).unwrap(), form, "the canonical form is a fixed point");
}

/// Section 3.2: no white space, names sorted by UTF-16 code units, numbers as ECMAScript writes them.
pub(crate) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        // The standard knows IEEE 754 doubles only: a whole number is the double that is nearest.
        Value::Number(number) => {
            out.push_str(&number_text(number.as_f64().expect("JSON numbers are doubles")))
        }
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                string(name, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// Section 3.2.2.2.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Section 3.2.2.3: `Number.prototype.toString` of ECMA-262, with the digits that its note 2 wants: as few as Rust finds, and of
/// those the nearest, the even one if two are as near.
fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let number_of_digits =
        |text: &str| text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let shortest = format!("{:e}", number.abs());
    let nearest = format!("{:.*e}", number_of_digits(&shortest) - 1, number.abs());
    let scientific = if nearest.parse() == Ok(number.abs()) { nearest } else { shortest };
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let digits = mantissa.replace('.', "");
    let count = digits.len() as i32;
    // The position of the decimal point behind the first digit: `n` of the standard.
    let point = exponent.parse::<i32>().unwrap() + 1;
    let text = if count <= point && point <= 21 {
        format!("{digits}{}", "0".repeat(point.abs_diff(count) as usize))
    } else if 0 < point && point <= 21 {
        let (whole, rest) = digits.split_at(point.unsigned_abs() as usize);
        format!("{whole}.{rest}")
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else {
        let sign = if point > 0 { "+" } else { "-" };
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{first}{dot}{rest}e{sign}{}", (point - 1).unsigned_abs())
    };
    if number < 0.0 { format!("-{text}") } else { text }
}
