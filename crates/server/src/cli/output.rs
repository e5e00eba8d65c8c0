//! How commands print: tables for people, JSON and YAML for programs, colour only where somebody looks.
//!
//! What the gate says may carry text of agents and of monitored systems. Nothing reaches the screen from here before its
//! hidden characters are escapes.

use std::{ffi::OsStr, io::IsTerminal as _};

use clap::{Args, ValueEnum};
use holdpoint_domain::{
    flow::State,
    text::{is_hidden, visible},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{CliError, failed, say};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[value(alias = "text")]
    Table,
    /// For people with a wide screen
    Wide,
    /// For programs; hidden characters are escaped, nothing is lost
    Json,
    /// For people who read data; hidden characters are shown as escapes
    Yaml,
}

/// The options of everything that prints.
#[derive(Debug, Clone, Args)]
pub(crate) struct Print {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Never colour; NO_COLOR does the same, and so does anything but a terminal
    #[arg(long)]
    no_color: bool,
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(bool);

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It went well.
    Good,
    /// Somebody is waited for.
    Waits,
    /// It did not go well.
    Bad,
    /// Beside the point.
    Quiet,
    /// Nothing.
    Plain,
}

/// Rows under a head.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A cell: its text, already visible.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Print {
    /// The colours.
    pub(crate) fn paint(&self) -> Paint {
        let no_color = std::env::var_os("NO_COLOR");
        Paint(colours(std::io::stdout().is_terminal(), no_color.as_deref(), self.no_color))
    }

    /// Whether there is room for more columns.
    pub(crate) fn wide(&self) -> bool {
        self.output == Output::Wide
    }

    /// Prints a value for programs, where that was asked for. When not, the caller prints for people.
    pub(crate) fn data(&self, value: &impl Serialize) -> Result<bool, CliError> {
        match self.output {
            Output::Table | Output::Wide => return Ok(false),
            Output::Json => say(json(value)?),
            Output::Yaml => say(yaml(value)?.trim_end()),
        }
        Ok(true)
    }

    /// As [`Self::data`], for one of many values in a row: a line of JSON, or a document of YAML.
    pub(crate) fn item(&self, value: &impl Serialize) -> Result<bool, CliError> {
        match self.output {
            Output::Table | Output::Wide => return Ok(false),
            Output::Json => say(escaped(&serde_json::to_string(value).map_err(failed)?)),
            Output::Yaml => say(format_args!("---\n{}", yaml(value)?.trim_end())),
        }
        Ok(true)
    }
}

/// Whether to colour: only for somebody who looks and did not say no (no-color.org).
fn colours(terminal: bool, no_color: Option<&OsStr>, flag: bool) -> bool {
    terminal && !flag && no_color.is_none_or(OsStr::is_empty)
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map(|text| escaped(&text)).map_err(failed)
}

/// JSON with its hidden characters as `\u` escapes: other bytes, the same values. Only new lines stand between values, for
/// inside of them JSON escapes them anyway.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_hidden(c) {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

fn yaml(value: &impl Serialize) -> Result<String, CliError> {
    let mut value = serde_json::to_value(value).map_err(failed)?;
    show_hidden(&mut value);
    serde_saphyr::to_string(&value).map_err(failed)
}

fn show_hidden(value: &mut Value) {
    match value {
        Value::String(text) => *text = plain(text),
        Value::Array(list) => list.iter_mut().for_each(show_hidden),
        Value::Object(fields) => fields.values_mut().for_each(show_hidden),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text for the screen. One that hides nothing stays as it is, so that what the gate made visible is not escaped twice.
pub(crate) fn plain(text: &str) -> String {
    if text.chars().any(is_hidden) { visible(text) } else { text.to_owned() }
}

/// Words with commas between them.
pub(crate) fn list(items: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| plain(&item.to_string())).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// What the gate answered, as the type that it documents.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, CliError> {
    T::deserialize(value)
        .map_err(|err| CliError::Failed(format!("the gate's answer is not what is expected here: {err}")))
}

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(false);

    /// A text in a tone.
    pub(crate) fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Waits => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A state in its tone.
    pub(crate) fn state(self, state: State) -> String {
        self.text(tone(state), &state.to_string())
    }
}

/// The tone of a state.
pub(crate) const fn tone(state: State) -> Tone {
    match state {
        State::Succeeded | State::Resolved => Tone::Good,
        State::Held | State::Deferred => Tone::Waits,
        State::Denied
        | State::Rejected
        | State::Expired
        | State::Void
        | State::Failed
        | State::Undone
        | State::UndoFailed
        | State::InDoubt => Tone::Bad,
        State::New
        | State::Proposed
        | State::Allowed
        | State::Permitted
        | State::Claimed
        | State::Leased
        | State::Rehearsed
        | State::Applying
        | State::Stepped
        | State::Applied
        | State::Undoing
        | State::Unwound => Tone::Plain,
    }
}

impl Cell {
    /// A cell.
    pub(crate) fn new(text: impl std::fmt::Display) -> Self {
        Self { text: plain(&text.to_string()), tone: Tone::Plain }
    }

    /// A cell that may have nothing in it.
    pub(crate) fn maybe(text: Option<impl std::fmt::Display>) -> Self {
        text.map_or_else(|| Self::new("-"), Self::new)
    }

    /// A cell that stands out.
    pub(crate) fn bad(text: impl std::fmt::Display) -> Self {
        Self { tone: Tone::Bad, ..Self::new(text) }
    }

    /// A state.
    pub(crate) fn state(state: State) -> Self {
        Self { tone: tone(state), ..Self::new(state) }
    }
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(head: impl Into<Vec<&'static str>>) -> Self {
        Self { head: head.into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Prints the table, or what to say when it is empty.
    pub(crate) fn print(&self, paint: Paint, empty: &str) {
        if self.rows.is_empty() {
            return say(empty);
        }
        self.lines(paint).into_iter().for_each(say);
    }

    /// The lines.
    fn lines(&self, paint: Paint) -> Vec<String> {
        let head: Vec<Cell> =
            self.head.iter().map(|name| Cell { tone: Tone::Quiet, ..Cell::new(name) }).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&head).chain(&self.rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |row: &Vec<Cell>| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = width.saturating_sub(cell.text.chars().count()).saturating_add(2);
                line.push_str(&paint.text(cell.tone, &cell.text));
                line.extend(std::iter::repeat_n(' ', gap));
            }
            line.trim_end().to_owned()
        };
        std::iter::once(&head).chain(&self.rows).map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BARE: Paint = Paint(false);

    #[test]
    fn colour_is_for_somebody_who_looks_and_wants_it() {
        let set = |text| Some(OsStr::new(text));
        for (terminal, no_color, flag, wanted) in [
            (true, None, false, true),
            (true, set(""), false, true),
            (true, set("1"), false, false),
            (true, set("0"), false, false),
            (true, None, true, false),
            (false, None, false, false),
        ] {
            assert_eq!(colours(terminal, no_color, flag), wanted, "{terminal} {no_color:?} {flag}");
        }
        assert_eq!(BARE.state(State::Held), "held");
        assert_eq!(Paint(true).state(State::Held), "\x1b[33mheld\x1b[0m");
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(["A", "LONGER", "C"]);
        table.row(vec![Cell::new("ümlaut"), Cell::new("b"), Cell::state(State::Held)]);
        table.row(vec![Cell::new("a"), Cell::maybe(None::<&str>), Cell::new("")]);
        assert_eq!(table.lines(BARE), ["A       LONGER  C", "ümlaut  b       held", "a       -"]);
        // Colour does not count as width.
        let coloured = table.lines(Paint(true));
        assert!(coloured[1].starts_with("ümlaut  b       \x1b[33mheld"), "{coloured:?}");
    }

    #[test]
    fn t14_nothing_hidden_reaches_the_screen() {
        let nasty = "a\u{202e}b\x1b[2J\u{200b}\nc";
        let mut table = Table::new(["A"]);
        table.row(vec![Cell::new(nasty)]);
        let value = json!({"text": nasty, "list": [nasty]});
        let texts =
            [table.lines(BARE).join(" "), json(&value).unwrap(), yaml(&value).unwrap(), list([nasty])];
        for text in texts {
            assert!(!text.chars().any(|c| c != '\n' && is_hidden(c)), "{text:?}");
        }
        assert_eq!(plain("\\u{202E} stays"), "\\u{202E} stays");
    }

    #[test]
    fn json_loses_nothing_and_yaml_is_yaml() {
        let value = json!({"text": "a\u{202e}\u{e0041}\"\\\n", "number": 1, "none": null});
        assert_eq!(serde_json::from_str::<Value>(&json(&value).unwrap()).unwrap(), value);
        let simple = json!({"plans": [{"id": "plan-1", "tier": "T3", "yes": "true", "at": 5, "none": null}]});
        let back: Value = serde_saphyr::from_str(&yaml(&simple).unwrap()).unwrap();
        assert_eq!(back, simple);
    }
}
