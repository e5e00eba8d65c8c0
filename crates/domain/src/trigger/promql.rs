//! PromQL expressions with parameters.
//!
//! A parameter stands inside a quoted value of a matcher and nowhere else, and is escaped for the quotes that it stands in, and
//! as a regular expression after `=~` and `!~`. So a value can neither end the literal nor mean anything but itself.
//!
//! Strings and escapes: <https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals>.

use super::template::{MAX_QUERY, Param, QueryFault, Subject};

/// What counters end in, and what of histograms and summaries counts.
const COUNTERS: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];
/// What means something in a regular expression, as Go's `regexp.QuoteMeta` has it.
const META: &str = r"\.+*?()|[]{}^$";

/// An expression whose parameters stand where they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promql {
    // INVARIANT: each parameter stands inside the quotes that it is escaped for.
    parts: Vec<Part>,
    /// The expression without comments and without what is between quotes.
    skeleton: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Param { param: Param, quote: char, is_regex: bool },
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Code,
    Comment,
    Quoted { quote: char, matcher: Matcher },
}

/// What stands before a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matcher {
    None,
    Equal,
    Regex,
}

impl Promql {
    /// Reads an expression. What it means, Prometheus says; here it is made sure that parameters stand where they may.
    pub fn parse(text: &str) -> Result<Self, QueryFault> {
        if text.trim().is_empty() || text.len() > MAX_QUERY {
            return Err(QueryFault::Size(text.len()));
        }
        let (mut parts, mut plain, mut skeleton) = (Vec::new(), String::new(), String::new());
        let (mut place, mut depth) = (Place::Code, 0_u32);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '$' && chars.as_str().starts_with('{') {
                let (word, rest) =
                    chars.as_str().trim_start_matches('{').split_once('}').ok_or(QueryFault::Unterminated)?;
                let param = Param::parse(word)?;
                let (quote, is_regex) = match place {
                    Place::Quoted { quote: '`', .. } => return Err(QueryFault::Raw),
                    Place::Quoted { quote, matcher: Matcher::Equal } => (quote, false),
                    Place::Quoted { quote, matcher: Matcher::Regex } => (quote, true),
                    Place::Quoted { matcher: Matcher::None, .. } | Place::Code | Place::Comment => {
                        return Err(QueryFault::Outside);
                    }
                };
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Param { param, quote, is_regex });
                chars = rest.chars();
                continue;
            }
            plain.push(c);
            place = match (place, c) {
                (Place::Code, '#') => Place::Comment,
                (Place::Code, '"' | '\'' | '`') => {
                    let matcher = if depth == 0 { Matcher::None } else { matcher(&skeleton) };
                    Place::Quoted { quote: c, matcher }
                }
                (Place::Code, _) => {
                    match c {
                        '{' => depth = depth.saturating_add(1),
                        '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    skeleton.push(c);
                    Place::Code
                }
                (Place::Comment, '\n') => {
                    skeleton.push(' ');
                    Place::Code
                }
                (Place::Quoted { quote, .. }, _) if c == quote => {
                    skeleton.push_str("\"\"");
                    Place::Code
                }
                // A literal in these quotes ends with its line.
                (Place::Quoted { quote, .. }, '\n') if quote != '`' => return Err(QueryFault::Unterminated),
                (Place::Quoted { quote, .. }, '\\') if quote != '`' => {
                    plain.push(chars.next().ok_or(QueryFault::Unterminated)?);
                    place
                }
                (Place::Comment | Place::Quoted { .. }, _) => place,
            };
        }
        if matches!(place, Place::Quoted { .. }) {
            return Err(QueryFault::Unterminated);
        }
        parts.push(Part::Text(plain));
        if skeleton.contains("__name__") {
            return Err(QueryFault::Nameless);
        }
        Ok(Self { parts, skeleton })
    }

    /// The expression about a target; none where the target has not a label that it names.
    #[must_use]
    pub fn about(&self, subject: Subject<'_>) -> Option<String> {
        let mut query = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => query.push_str(text),
                Part::Param { param, quote, is_regex } => {
                    let value = param.value(subject)?;
                    let value = if *is_regex { as_regex(value) } else { value.to_owned() };
                    query.push_str(&as_literal(&value, *quote));
                }
            }
        }
        Some(query)
    }

    /// The parameters, in their order.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.parts.iter().filter_map(|part| match part {
            Part::Param { param, .. } => Some(param),
            Part::Text(_) => None,
        })
    }

    /// Whether it is a pair of braces with exactly one matcher in it.
    pub(super) fn is_one_matcher(&self) -> bool {
        let inside = self.skeleton.strip_prefix('{').and_then(|code| code.strip_suffix('}'));
        let matcher = inside.and_then(|code| code.trim().strip_suffix("\"\""));
        let Some(matcher) = matcher.map(str::trim_end) else { return false };
        let operators = ["=~", "!~", "!=", "="];
        let name = operators.into_iter().find_map(|operator| matcher.strip_suffix(operator));
        let name = name.unwrap_or_default().trim_end();
        let starts_well = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Refuses what is not a selector of instant samples as they are: only those have time stamps of their own.
    pub fn expect_selector(&self) -> Result<(), QueryFault> {
        match selector(&self.skeleton) {
            Some((_, "")) => Ok(()),
            Some(_) | None => Err(QueryFault::NotASelector),
        }
    }

    /// Refuses an expression that is a counter and nothing else.
    pub fn refuse_bare_counter(&self) -> Result<(), QueryFault> {
        let Some((name, rest)) = selector(&self.skeleton) else { return Ok(()) };
        // An `offset` or an `@` moves it and leaves it what it is; a range `[…]`, an operator or a function does not.
        let is_bare = rest.is_empty() || rest.starts_with("offset") || rest.starts_with('@');
        if is_bare && COUNTERS.iter().any(|end| name.ends_with(end)) {
            return Err(QueryFault::BareCounter(name.to_owned()));
        }
        Ok(())
    }
}

/// What the code before a quote makes of the text in it.
fn matcher(before: &str) -> Matcher {
    let before = before.trim_end();
    if before.ends_with("=~") || before.ends_with("!~") {
        Matcher::Regex
    } else if before.ends_with('=') {
        Matcher::Equal
    } else {
        Matcher::None
    }
}

/// The metric's name of a selector, and what follows it. Parentheses around it change nothing.
fn selector(skeleton: &str) -> Option<(&str, &str)> {
    let mut code = skeleton.trim();
    while let Some(inside) = code.strip_prefix('(').and_then(|code| code.strip_suffix(')')) {
        code = inside.trim();
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = code.find(|c| !inside(c)).unwrap_or(code.len());
    let (name, rest) = code.split_at_checked(end)?;
    if name.chars().next().is_none_or(|c| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('{') {
        Some(matchers) => matchers.split_once('}')?.1.trim_start(),
        None => rest,
    };
    Some((name, rest))
}

/// A text that, as a regular expression, means itself.
pub(super) fn as_regex(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if META.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The inside of a literal in these quotes.
pub(super) fn as_literal(value: &str, quote: char) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            // The other quotes must not be escaped: Go's literals know no such escape.
            _ if c == quote => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}
