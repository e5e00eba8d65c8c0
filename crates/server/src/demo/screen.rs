//! What the demo prints: acts, short lines, what to notice.
#![allow(clippy::print_stdout, reason = "the demo's result is what it shows")]

use std::{fmt::Display, io::IsTerminal as _};

use holdpoint_adapters::system::SystemClock;
use holdpoint_app::port::Clock as _;
use holdpoint_domain::Millis;

/// Width that names of facts are padded to.
const NAME_WIDTH: usize = 10;
/// Widest line: what a narrow terminal shows without breaking it.
const WIDTH: usize = 100;
/// Where lines of the story begin.
const MARGIN: usize = 3;

/// The terminal. Text of the gate, of policies and of other processes goes through `visible`: nothing that others wrote
/// moves the cursor.
pub(super) struct Screen {
    colour: bool,
    clock: SystemClock,
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

impl Screen {
    /// Standard output. Coloured on a terminal, unless `NO_COLOR` says otherwise (no-color.org).
    pub(super) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = std::io::stdout().is_terminal() && !plain && !dumb;
        Self { colour, clock: SystemClock::new() }
    }

    /// The time since the demo began.
    pub(super) fn elapsed(&self) -> Millis {
        self.clock.elapsed()
    }

    /// Seconds since the demo began.
    pub(super) fn seconds(&self) -> String {
        let ms = self.elapsed().ms();
        let tenths = ms.checked_div(100).unwrap_or(0);
        format!("{}.{} s", tenths.checked_div(10).unwrap_or(0), tenths.checked_rem(10).unwrap_or(0))
    }

    /// An act begins.
    pub(super) fn act(&self, number: u8, title: &str) {
        println!();
        println!(
            "{}  {}",
            self.ink(Ink::Bold, &format!("{number}. {title}")),
            self.ink(Ink::Dim, &self.seconds())
        );
    }

    /// A headline without a number.
    pub(super) fn headline(&self, title: &str) {
        println!();
        println!("{}", self.ink(Ink::Bold, title));
    }

    /// A line of the story.
    pub(super) fn say(&self, text: impl Display) {
        for line in wrapped(&text.to_string(), WIDTH.saturating_sub(MARGIN)) {
            println!("   {line}");
        }
    }

    /// A row of a table: its columns, and a text that goes on below itself.
    pub(super) fn row(&self, columns: &str, text: &str) {
        let indent = columns.chars().count().saturating_add(MARGIN).saturating_add(2);
        let mut columns = columns.to_owned();
        for line in wrapped(text, WIDTH.saturating_sub(indent)) {
            println!("   {columns}  {line}");
            columns = " ".repeat(columns.chars().count());
        }
    }

    /// What to take away from an act.
    pub(super) fn lesson(&self, text: impl Display) {
        self.named(Ink::Bold, "=>", text);
    }

    /// A named fact.
    pub(super) fn fact(&self, name: &str, value: impl Display) {
        self.named(Ink::Dim, name, value);
    }

    /// What went as it should.
    pub(super) fn good(&self, name: &str, value: impl Display) {
        self.named(Ink::Green, name, value);
    }

    /// What waits for somebody.
    pub(super) fn held(&self, name: &str, value: impl Display) {
        self.named(Ink::Yellow, name, value);
    }

    /// What was refused, or is broken.
    pub(super) fn bad(&self, name: &str, value: impl Display) {
        self.named(Ink::Red, name, value);
    }

    fn named(&self, ink: Ink, name: &str, value: impl Display) {
        let indent = MARGIN.saturating_add(NAME_WIDTH).saturating_add(2);
        let mut name = self.ink(ink, &format!("{name:<NAME_WIDTH$}"));
        for line in wrapped(&value.to_string(), WIDTH.saturating_sub(indent)) {
            println!("   {name}  {line}");
            name = " ".repeat(NAME_WIDTH);
        }
    }

    /// A command, as a person would type it; a long one over several lines, which a shell takes as one.
    pub(super) fn command(&self, command: &str) {
        // A break within quotation marks would be part of a word.
        let width =
            if command.contains('\'') { usize::MAX } else { WIDTH.saturating_sub(MARGIN).saturating_sub(6) };
        // An option stays with its value.
        let options = command.replace(' ', "\u{a0}").replace("\u{a0}--", " --");
        let lines = wrapped(&options, width);
        let last = lines.len().saturating_sub(1);
        for (number, line) in lines.iter().enumerate() {
            let (before, after) =
                (if number == 0 { "$ " } else { "    " }, if number == last { "" } else { " \\" });
            println!(
                "   {}",
                self.ink(Ink::Bold, &format!("{before}{}{after}", line.replace('\u{a0}', " ")))
            );
        }
    }

    /// What a command printed, or somebody else's words: set apart, made visible.
    pub(super) fn quoted(&self, text: &str) {
        for line in text.lines() {
            for line in wrapped(
                &holdpoint_domain::text::visible(line),
                WIDTH.saturating_sub(MARGIN).saturating_sub(2),
            ) {
                println!("   {} {line}", self.ink(Ink::Dim, "|"));
            }
        }
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Yellow => 33,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A text in lines of at most `width`, broken between words. A longer word stays whole, and so do blanks that line something up.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), None::<String>);
    for word in text.split(' ') {
        line = Some(match line {
            None => word.to_owned(),
            Some(full) if !word.is_empty() && !full.trim().is_empty() && length(&full, word) > width => {
                lines.push(full);
                word.to_owned()
            }
            Some(open) => format!("{open} {word}"),
        });
    }
    lines.extend(line);
    lines
}

/// How long a line would be with one more word.
fn length(line: &str, word: &str) -> usize {
    line.chars().count().saturating_add(word.chars().count()).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("", 7), [""]);
        assert_eq!(wrapped("x averylongword y", 7), ["x", "averylongword", "y"]);
        assert_eq!(wrapped("  a    b", 20), ["  a    b"], "what is lined up stays so");
    }
}
