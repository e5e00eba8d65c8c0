//! A first look at policy text, before any parser sees it: limits, hidden characters, and where each rule begins.
//!
//! Cedar's parser, validator and evaluator recurse; a hostile or broken file must not be able to exhaust the stack of
//! the process that decides. So brackets and operators are counted here, in one pass that does not recurse.

use std::sync::Arc;

use holdpoint_domain::text;

use crate::error::{Place, PolicyError};

/// Limits on a bundle.
pub mod limit {
    /// Policy files. One a team and service family is plenty.
    pub const FILES: usize = 256;
    /// Bytes of one file.
    pub const FILE_BYTES: usize = 8 << 20;
    /// Bytes of all files: 20,000 rules of 800 bytes.
    pub const TOTAL_BYTES: usize = 16 << 20;
    /// Rules and links. Loading validates each against every action; matching is by index and does not depend on it.
    pub const RULES: usize = 20_000;
    /// How deep one rule may go: a bracket counts twice; an operator that chains (`&&`, `||`, `+`, `-`, `*`, `else`), a dot
    /// in a row and a clause before this one count once. A chain of `&&` is a tree as deep as it is long, and Cedar's
    /// conversions need some 40 kB of stack for each step of it in a debug build; a thread has 2 MB. Long lists belong
    /// into a set, long conditions into several rules.
    pub const DEPTH: usize = 36;
}

/// One rule of a source, with its annotations and its `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: Place,
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    Text,
    Comment,
}

/// Splits a source into its rules. `;` ends a rule and stands nowhere else in Cedar's grammar, except within texts and
/// comments; each piece is parsed on its own, so a piece that was cut wrongly does not parse and refuses the bundle.
pub(crate) fn statements<'a>(
    file: &Arc<str>,
    source: &'a str,
) -> Result<Vec<Statement<'a>>, Vec<PolicyError>> {
    let mut scanner = Scanner { file, line: 1, start: None, depth: Depth::default(), faults: Vec::new() };
    let mut found = Vec::new();
    let mut inside = Inside::Code;
    let mut chars = source.char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        scanner.see(c);
        let next = chars.peek().map(|(_, next)| *next);
        inside = match (inside, c) {
            (Inside::Code, '/') if next == Some('/') => Inside::Comment,
            (Inside::Comment, '\n') => Inside::Code,
            (Inside::Text, '\\') => {
                // The character after a backslash never ends the text.
                if let Some((_, escaped)) = chars.next() {
                    scanner.see(escaped);
                }
                Inside::Text
            }
            (Inside::Text, '"') => Inside::Code,
            (Inside::Code, _) => {
                scanner.code(source, offset, c);
                if c == ';'
                    && let Some(statement) = scanner.end(source, offset)
                {
                    found.push(statement);
                }
                if c == '"' { Inside::Text } else { Inside::Code }
            }
            (Inside::Text | Inside::Comment, _) => inside,
        };
    }
    if let Some((_, line)) = scanner.start {
        scanner.faults.push(PolicyError::Unterminated { at: scanner.place(line) });
    }
    if scanner.faults.is_empty() { Ok(found) } else { Err(scanner.faults) }
}

struct Scanner<'s> {
    file: &'s Arc<str>,
    line: u32,
    start: Option<(usize, u32)>,
    depth: Depth,
    faults: Vec<PolicyError>,
}

/// How deep a rule goes, without a parser: never less than the depth of the tree that one would build.
struct Depth {
    /// Chained operators at each level of brackets, the outermost first.
    levels: Vec<usize>,
    /// Levels beyond those that are worth a place.
    beyond: usize,
    now: usize,
    dots: usize,
    deepest: usize,
    /// The last character that is not white space, and whether white space came after it.
    before: char,
    spaced: bool,
}

impl Default for Depth {
    fn default() -> Self {
        Self { levels: vec![0], beyond: 0, now: 0, dots: 0, deepest: 0, before: ' ', spaced: true }
    }
}

impl Depth {
    const BRACKET: usize = 2;

    fn see(&mut self, c: char, rest: &str) {
        if c.is_whitespace() {
            self.spaced = true;
            return;
        }
        let is_word = |c: char| c == '_' || c.is_alphanumeric();
        let word = is_word(c);
        let begins = word && (self.spaced || !is_word(self.before));
        match c {
            '(' | '[' | '{' => {
                // `a["b"]["c"]`
                if c == '[' && self.before == ']' {
                    self.chain();
                }
                self.open();
            }
            ')' | ']' | '}' => self.close(c),
            ',' => self.forget(),
            '&' | '|' if self.before == c => self.chain(),
            '+' | '-' | '*' => self.chain(),
            'e' if begins && rest.starts_with("else") => self.chain(),
            '.' if matches!(self.before, ')' | ']') => self.chain(),
            '.' => self.dots = self.dots.saturating_add(1),
            _ => {}
        }
        // Dots are in a row as long as words and dots take turns.
        if c != '.' && (!word || (begins && self.before != '.')) {
            self.dots = 0;
        }
        self.deepest = self.deepest.max(self.now.saturating_add(self.dots));
        (self.before, self.spaced) = (c, false);
    }

    fn chain(&mut self) {
        if let Some(last) = self.levels.last_mut() {
            *last = last.saturating_add(1);
            self.now = self.now.saturating_add(1);
        }
    }

    fn open(&mut self) {
        self.now = self.now.saturating_add(Self::BRACKET);
        if self.levels.len() > limit::DEPTH {
            self.beyond = self.beyond.saturating_add(1);
        } else {
            self.levels.push(0);
        }
    }

    fn close(&mut self, c: char) {
        if self.beyond > 0 {
            self.beyond = self.beyond.saturating_sub(1);
        } else if self.levels.len() > 1 {
            self.forget();
            self.levels.pop();
        } else {
            // More closed than opened: does not parse.
            return;
        }
        self.now = self.now.saturating_sub(Self::BRACKET);
        // Clauses are chained, too.
        if c == '}' && self.levels.len() == 1 {
            self.chain();
        }
    }

    /// What comes after a comma stands beside what came before, not within it.
    fn forget(&mut self) {
        if let Some(last) = self.levels.last_mut() {
            self.now = self.now.saturating_sub(*last);
            *last = 0;
        }
    }
}

impl Scanner<'_> {
    fn place(&self, line: u32) -> Place {
        Place { file: Arc::clone(self.file), line }
    }

    /// Counts lines and refuses what cannot be seen, also in texts and comments.
    fn see(&mut self, c: char) {
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        // One report a file is enough to find it, and keeps a binary file from making a million of them.
        let reported = self.faults.iter().any(|fault| matches!(fault, PolicyError::Hidden { .. }));
        if text::is_hidden(c) && !matches!(c, '\n' | '\t' | '\r') && !reported {
            let shown = text::visible(&c.to_string());
            self.faults.push(PolicyError::Hidden { at: self.place(self.line), shown });
        }
    }

    fn code(&mut self, source: &str, offset: usize, c: char) {
        if self.start.is_none() && !c.is_whitespace() {
            self.start = Some((offset, self.line));
        }
        self.depth.see(c, source.get(offset..).unwrap_or_default());
    }

    fn end<'a>(&mut self, source: &'a str, offset: usize) -> Option<Statement<'a>> {
        let (start, line) = self.start.take()?;
        let at = self.place(line);
        let got = std::mem::take(&mut self.depth).deepest;
        if got > limit::DEPTH {
            self.faults.push(PolicyError::TooDeep { at: at.clone(), got });
        }
        let text = source.get(start..=offset)?;
        Some(Statement { text, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(source: &str) -> Result<Vec<(u32, String)>, Vec<String>> {
        statements(&"f".into(), source)
            .map(|found| found.iter().map(|s| (s.at.line, s.text.to_owned())).collect())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rules_are_found_where_they_begin() {
        let source = "// a; \"b\n@id(\"x;\\\";y\")\npermit(a); // c\n\n  forbid(\"//;\");\n// end";
        let want = [(2, "@id(\"x;\\\";y\")\npermit(a);".to_owned()), (5, "forbid(\"//;\");".to_owned())];
        assert_eq!(scan(source).unwrap(), want);
    }

    #[test]
    fn t36_hidden_unfinished_deep_and_long_rules_are_refused() {
        let deep = format!("{}{};", "(".repeat(19), ")".repeat(19));
        let cases = [
            ("a;\n// \u{202e}\nb;", "f:2: expected text that can be seen, got the character \\u{202E}"),
            ("a;\n\nb", "f:3: expected the rule that begins here to end with `;`"),
            ("a \"b;", "f:1: expected the rule that begins here to end with `;`"),
            (&deep, "f:1: expected a rule at most 36 deep, got 38: use a set, or several rules"),
        ];
        for (source, want) in cases {
            assert_eq!(scan(source).unwrap_err(), [want], "{source:?}");
        }
    }

    #[test]
    fn the_depth_of_a_rule() {
        let cases = [
            ("permit (p in T::x, a, r);", 2),
            ("when { a };", 2),
            ("when { a && b || c };", 4),
            ("when { a && (b || (c)) };", 8),
            ("when { (a || b || c) && (d || e) };", 6),
            ("when { [a + b, c + d, e] };", 5),
            ("when { a } when { b } unless { c };", 4),
            ("when { a.b.c >= 1 && d . e . f };", 5),
            ("when { a.b().c().d() };", 6),
            ("when { a[0][1] [2] };", 6),
            ("when { if a then b else if c then d else e };", 4),
            ("when { a.b then c.d then e.f };", 3),
            ("when { a_.b_c.d_ };", 4),
            ("}))) };", 0),
        ];
        for (source, want) in cases {
            let mut depth = Depth::default();
            source.char_indices().for_each(|(offset, c)| depth.see(c, &source[offset..]));
            assert_eq!(depth.deepest, want, "{source}");
        }
    }

    #[test]
    fn t36_any_text_is_scanned_without_panic() {
        use proptest::prelude::*;
        proptest!(|(source in any::<String>())| { let _ = statements(&"f".into(), &source); });
        proptest!(|(source in "[\\\\\"/;\n(){}a]{0,40}")| { let _ = statements(&"f".into(), &source); });
    }
}
