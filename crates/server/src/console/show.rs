//! How pages say things: times and spans in words, and text of others made visible.

use holdpoint_domain::{
    Timestamp,
    text::{Piece, Suspect, is_hidden, made_visible},
};

pub(super) use crate::moment::span;

/// How much of a text of an agent stands on a page before the rest is folded away.
const MAX_OPEN_CHARS: usize = 600;

/// A point in time, in two spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    /// For machines: RFC 3339.
    pub(super) iso: String,
    /// For people: date and time in UTC.
    pub(super) text: String,
    /// How long ago, or until then.
    pub(super) span: String,
    /// How long it is until then; nothing when it is over.
    pub(super) left: String,
    /// In milliseconds, for whoever counts down.
    pub(super) ms: u64,
}

/// A text that somebody else wrote, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Foreign {
    /// What is seen at once.
    pub(super) open: Vec<Vec<Part>>,
    /// The rest.
    pub(super) folded: Vec<Vec<Part>>,
    /// How many characters it has as a whole.
    pub(super) chars: usize,
    /// How many of them are shown as escapes.
    pub(super) escaped: usize,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// What is shown.
    pub(super) text: String,
    /// Why it is marked; none for ordinary characters.
    pub(super) why: Option<&'static str>,
}

impl When {
    /// A time, seen from now.
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        Self {
            iso: moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            text: moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            span: relative(at, now),
            left: span(at.since(now)),
            ms: at.ms(),
        }
    }
}

/// How long ago a time was, or how long it is until then.
fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) }
}

/// A number of things: `1 step`, `2 steps`.
pub(super) fn count(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// A word of a closed list, as people write it.
pub(super) fn word(word: &str) -> String {
    word.replace('_', " ")
}

/// The word of a value of a closed list.
pub(super) fn word_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => word(&text),
        Ok(other) => other.to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

/// Names with commas between them, or `none`.
pub(super) fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// One line of somebody else, escapes included, with what is hidden escaped. For texts that were made visible before, or that are
/// the operator's: unlike [`foreign`] it leaves backslashes alone.
pub(super) fn tame(text: &str) -> String {
    let one = |c: char| if is_hidden(c) { format!("\\u{{{:04X}}}", u32::from(c)) } else { c.to_string() };
    text.chars().map(one).collect()
}

/// A line of a control input, with what could hide or imitate marked.
pub(super) fn line(text: &str) -> Vec<Part> {
    let one = |piece| match piece {
        // Code has backslashes of its own: what is escaped is marked, so that nobody takes one for the other.
        Piece::Plain(text) => Part { text: text.replace("\\\\", "\\"), why: None },
        escaped @ Piece::Escaped { .. } => part(escaped),
    };
    made_visible(text).into_iter().map(one).collect()
}

/// A text of somebody else as a whole: its lines, with what could hide or imitate marked, and nothing left out.
pub(super) fn foreign(text: &str) -> Foreign {
    let mut shown = Foreign { chars: text.chars().count(), ..Foreign::default() };
    let mut seen = 0_usize;
    for line in text.split('\n') {
        let parts: Vec<_> = made_visible(line).into_iter().map(part).collect();
        shown.escaped = shown.escaped.saturating_add(parts.iter().filter(|part| part.why.is_some()).count());
        let target = if seen < MAX_OPEN_CHARS { &mut shown.open } else { &mut shown.folded };
        let chars = line.chars().count();
        let room = MAX_OPEN_CHARS.saturating_sub(seen);
        seen = seen.saturating_add(chars).saturating_add(1);
        if room > 0 && chars > room {
            // One endless line: its head, and the rest of it folded.
            let head: String = line.chars().take(room).collect();
            let tail: String = line.chars().skip(room).collect();
            shown.open.push(made_visible(&head).into_iter().map(part).collect());
            shown.folded.push(made_visible(&tail).into_iter().map(part).collect());
            continue;
        }
        target.push(parts);
    }
    shown
}

fn part(piece: Piece) -> Part {
    match piece {
        Piece::Plain(text) => Part { text, why: None },
        Piece::Escaped { shown, why } => Part { text: shown, why: Some(reason(why)) },
    }
}

const fn reason(why: Suspect) -> &'static str {
    match why {
        Suspect::Hidden => "a character that cannot be seen, or that changes how others are seen",
        Suspect::Imitates => "a character that imitates one of another script",
        Suspect::Piled => "one of a pile of marks",
    }
}

impl Foreign {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.chars == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_from_now() {
        let at = |ms| Timestamp::from_ms(ms).unwrap();
        assert_eq!(relative(at(5_000), at(65_000)), "1 min ago");
        assert_eq!(relative(at(65_000), at(5_000)), "in 1 min");
    }

    #[test]
    fn t13_a_long_text_is_folded_and_never_cut() {
        for text in ["x".repeat(5_000), "line\n".repeat(1_000), "a\u{202e}b\n".repeat(300)] {
            let shown = foreign(&text);
            assert_eq!(shown.chars, text.chars().count());
            let joined = |lines: &[Vec<Part>]| -> usize {
                lines
                    .iter()
                    .flatten()
                    .filter(|part| part.why.is_none())
                    .map(|part| part.text.chars().count())
                    .sum()
            };
            let visible = text.chars().filter(|c| !is_hidden(*c)).count();
            assert_eq!(joined(&shown.open) + joined(&shown.folded), visible);
            assert!(joined(&shown.open) <= MAX_OPEN_CHARS && !shown.folded.is_empty());
        }
        assert!(foreign("").is_empty());
    }
}
