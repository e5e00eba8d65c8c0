//! Strings, names and integers as RFC 8785 writes them.

use std::cmp::Ordering;

/// Whether all of a text is ASCII that stands for itself in a string. Without a way out in the middle, so that many bytes are
/// looked at at once.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, c| plain & matches!(c, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7f))
}

/// Whether a name, as it is written in quotes, is plain.
pub(super) fn is_all_plain(name: &[u8]) -> bool {
    is_plain(name.get(1..name.len().saturating_sub(1)).unwrap_or_default())
}

/// Writes a string in quotes: `\b \t \n \f \r \" \\` by name, other control characters as `\u00xx`, the rest as it is
/// (RFC 8785 section 3.2.2.2). Whether all of it is plain ASCII.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) -> bool {
    out.push(b'"');
    let plain = is_plain(text.as_bytes());
    if plain {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text);
    }
    out.push(b'"');
    plain
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|c| *c < 0x20 || matches!(c, b'"' | b'\\')) {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((c, after)) = special.split_first() else { break };
        escape(out, *c);
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn escape(out: &mut Vec<u8>, c: u8) {
    let named = match c {
        b'"' | b'\\' => c,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let digit = |nibble: u8| if nibble < 10 { nibble | b'0' } else { nibble.wrapping_add(b'a' - 10) };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(c >> 4), digit(c & 0xf)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', named]);
}

/// Writes an integer.
pub(super) fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        // Below ten.
        *digit = b'0' | u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

/// The order of two names, as they are written in quotes: by UTF-16 code units (RFC 8785 section 3.2.3). For plain ones
/// that is the order of their bytes.
pub(super) fn order(one: &[u8], other: &[u8]) -> Ordering {
    let units = |name: &[u8]| {
        // What was just written in quotes always reads.
        let text: String = serde_json::from_slice(name).unwrap_or_default();
        text.encode_utf16().collect::<Vec<_>>()
    };
    units(one).cmp(&units(other))
}
