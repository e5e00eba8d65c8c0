//! What the demo prints: acts, short lines, what to notice.
#![allow(clippy::print_stdout, reason = "the demo's result is what it shows")]

use std::{fmt::Display, io::IsTerminal as _};

use holdpoint_adapters::system::SystemClock;
use holdpoint_app::port::Clock as _;

/// Width that names of facts are padded to.
const NAME_WIDTH: usize = 10;

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

    /// Seconds since the demo began.
    pub(super) fn seconds(&self) -> String {
        let ms = self.clock.elapsed().ms();
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
        println!("   {text}");
    }

    /// A named fact.
    pub(super) fn fact(&self, name: &str, value: impl Display) {
        println!("   {}  {value}", self.ink(Ink::Dim, &format!("{name:<NAME_WIDTH$}")));
    }

    /// What went as it should.
    pub(super) fn good(&self, name: &str, value: impl Display) {
        println!("   {}  {value}", self.ink(Ink::Green, &format!("{name:<NAME_WIDTH$}")));
    }

    /// What waits for somebody.
    pub(super) fn held(&self, name: &str, value: impl Display) {
        println!("   {}  {value}", self.ink(Ink::Yellow, &format!("{name:<NAME_WIDTH$}")));
    }

    /// What was refused, or is broken.
    pub(super) fn bad(&self, name: &str, value: impl Display) {
        println!("   {}  {value}", self.ink(Ink::Red, &format!("{name:<NAME_WIDTH$}")));
    }

    /// A command, as a person would type it.
    pub(super) fn command(&self, command: &str) {
        println!("   {}", self.ink(Ink::Bold, &format!("$ {command}")));
    }

    /// What a command printed, or somebody else's words: set apart, made visible.
    pub(super) fn quoted(&self, text: &str) {
        for line in text.lines() {
            println!("   {} {}", self.ink(Ink::Dim, "|"), holdpoint_domain::text::visible(line));
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
