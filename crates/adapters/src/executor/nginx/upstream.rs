//! One `server` line in one `upstream` block of an include file: found by the rules of nginx's own reader, and changed
//! without touching any other byte.

use std::ops::Range;

use holdpoint_domain::Digest;

/// What takes a server out of its upstream.
const DOWN: &[u8] = b"down";

/// Why there is no such line, or none that we would touch. The fault is with the file, or with whoever configured us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UpstreamError {
    /// Braces or quotes that do not match, or a statement without an end.
    #[error("the file does not parse: expected a `;`, a quote or a `}}` before its end, or fewer of them")]
    Syntax,
    /// No such block, or several.
    #[error("expected one block of this upstream, got {0}")]
    Blocks(usize),
    /// No such line, or several.
    #[error("expected one `server` line of this address in the upstream, got {0}")]
    Lines(usize),
    /// What is in the block is not all that is in the upstream.
    #[error("the upstream has an `include` or a block of its own, which we do not follow")]
    Foreign,
    /// A line that our memory could not hold as text.
    #[error("the `server` line is not UTF-8")]
    Text,
    /// The snapshot does not describe this server.
    #[error("what would be put back is not a `server` line of this address")]
    Snapshot,
}

/// The line, and what is around it.
#[derive(Debug, Clone)]
pub(super) struct Upstream<'a> {
    // INVARIANT: all ranges are within `text` and on the bounds of its tokens.
    text: &'a [u8],
    block: Range<usize>,
    line: Line,
    /// Other servers of the block that are not `down`.
    others_live: usize,
}

/// A `server` statement.
#[derive(Debug, Clone)]
struct Line {
    /// From the word `server` to the semicolon, both included.
    span: Range<usize>,
    /// Its words; `server` is the first.
    words: Vec<Range<usize>>,
}

impl<'a> Upstream<'a> {
    /// Finds the one line of `server` in the one block of `upstream`.
    pub(super) fn find(text: &'a [u8], upstream: &str, server: &str) -> Result<Self, UpstreamError> {
        let mut blocks = blocks(text, upstream)?;
        let count = blocks.len();
        let block = blocks.pop().filter(|_| count == 1).ok_or(UpstreamError::Blocks(count))?;
        if block.foreign {
            return Err(UpstreamError::Foreign);
        }
        let is_ours = |line: &Line| line.words.get(1).is_some_and(|word| at(text, word) == server.as_bytes());
        let (mut ours, others): (Vec<_>, Vec<_>) = block.lines.into_iter().partition(is_ours);
        let count = ours.len();
        let line = ours.pop().filter(|_| count == 1).ok_or(UpstreamError::Lines(count))?;
        let others_live = others.iter().filter(|line| down(text, line).is_none()).count();
        Ok(Self { text, block: block.span, line, others_live })
    }

    /// Whether the server takes no traffic.
    pub(super) fn is_down(&self) -> bool {
        down(self.text, &self.line).is_some()
    }

    /// How many other servers of the upstream take traffic.
    pub(super) const fn others_live(&self) -> usize {
        self.others_live
    }

    /// The digest of the whole block.
    pub(super) fn digest(&self) -> Digest {
        Digest::of_bytes(at(self.text, &self.block))
    }

    /// The line as it stands.
    pub(super) fn line(&self) -> Result<&'a str, UpstreamError> {
        std::str::from_utf8(at(self.text, &self.line.span)).map_err(|_| UpstreamError::Text)
    }

    /// The file with ` down` behind the line's last word.
    pub(super) fn with_down(&self) -> Vec<u8> {
        let end = self.line.words.last().map_or(self.line.span.end, |word| word.end);
        spliced(self.text, &(end..end), b" down")
    }

    /// The file without the line's `down`, and without the space before it.
    pub(super) fn without_down(&self) -> Vec<u8> {
        let Some(word) = down(self.text, &self.line) else { return self.text.to_vec() };
        let before = self.line.words.iter().rfind(|other| other.end <= word.start);
        let gap = before.map_or(word.start..word.start, |before| before.end..word.start);
        // A comment in the gap stays, with the line feed that ends it.
        let plain = at(self.text, &gap).iter().all(u8::is_ascii_whitespace);
        let start = if plain { gap.start } else { word.start };
        spliced(self.text, &(start..word.end), b"")
    }

    /// The file with `line` in the place of the line. Only a `server` line of the same address gets in.
    pub(super) fn with_line(&self, line: &str) -> Result<Vec<u8>, UpstreamError> {
        let address = self.line.words.get(1).map(|word| at(self.text, word)).unwrap_or_default();
        let shown = [b"upstream x {".as_slice(), line.as_bytes(), b"}"].concat();
        let address = std::str::from_utf8(address).map_err(|_| UpstreamError::Text)?;
        let alone = Upstream::find(&shown, "x", address).map_err(|_| UpstreamError::Snapshot)?;
        if alone.line() != Ok(line) {
            return Err(UpstreamError::Snapshot);
        }
        Ok(spliced(self.text, &self.line.span, line.as_bytes()))
    }
}

fn at<'a>(text: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    text.get(range.clone()).unwrap_or_default()
}

fn spliced(text: &[u8], range: &Range<usize>, with: &[u8]) -> Vec<u8> {
    let (head, tail) = (text.get(..range.start), text.get(range.end..));
    [head.unwrap_or_default(), with, tail.unwrap_or_default()].concat()
}

fn down(text: &[u8], line: &Line) -> Option<Range<usize>> {
    line.words.iter().skip(2).find(|word| at(text, word) == DOWN).cloned()
}

/// A block of the upstream that we look for.
struct Block {
    span: Range<usize>,
    lines: Vec<Line>,
    foreign: bool,
}

/// Every block `upstream NAME { … }` of the file.
fn blocks(text: &[u8], name: &str) -> Result<Vec<Block>, UpstreamError> {
    let mut found = Vec::new();
    // The blocks that are open; ours among them, if we are in it.
    let mut open: Vec<Option<Block>> = Vec::new();
    let mut words: Vec<Range<usize>> = Vec::new();
    for token in tokens(text)? {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                if let Some(Some(block)) = open.last_mut() {
                    block.foreign = true;
                }
                let is_ours = matches!(words.as_slice(), [first, second]
                    if at(text, first) == b"upstream" && at(text, second) == name.as_bytes());
                let start = words.first().map(|word| word.start);
                let block = start.filter(|_| is_ours).map(|start| Block {
                    span: start..start,
                    lines: Vec::new(),
                    foreign: false,
                });
                open.push(block);
                words.clear();
            }
            Token::Close(end) => {
                let closed = open.pop().filter(|_| words.is_empty()).ok_or(UpstreamError::Syntax)?;
                found.extend(closed.map(|block| Block { span: block.span.start..end, ..block }));
            }
            Token::End(end) => {
                let words = std::mem::take(&mut words);
                let first = words.first().ok_or(UpstreamError::Syntax)?.clone();
                if let Some(Some(block)) = open.last_mut() {
                    match at(text, &first) {
                        b"server" => block.lines.push(Line { span: first.start..end, words }),
                        b"include" => block.foreign = true,
                        _ => {}
                    }
                }
            }
        }
    }
    if open.is_empty() && words.is_empty() { Ok(found) } else { Err(UpstreamError::Syntax) }
}

/// A token, with where it is or where it ends, if that matters.
enum Token {
    Word(Range<usize>),
    Open,
    Close(usize),
    End(usize),
}

/// Where the reader is.
enum Place {
    Between,
    Comment,
    Word { start: usize, escaped: bool, variable: bool },
    Quoted { start: usize, quote: u8, escaped: bool },
}

/// Cuts a file into tokens, as `ngx_conf_read_token` does: quotes and comments begin only where a word would, `${` does
/// not open a block, and a `}` within a word is part of it.
fn tokens(text: &[u8]) -> Result<Vec<Token>, UpstreamError> {
    let mut tokens = Vec::new();
    let mut place = Place::Between;
    for (index, byte) in text.iter().copied().enumerate() {
        let next = index.saturating_add(1);
        place = match place {
            Place::Comment if byte == b'\n' => Place::Between,
            Place::Comment => Place::Comment,
            Place::Quoted { start, quote, escaped: false } if byte == quote => {
                tokens.push(Token::Word(start..next));
                Place::Between
            }
            Place::Quoted { start, quote, escaped } => {
                Place::Quoted { start, quote, escaped: byte == b'\\' && !escaped }
            }
            Place::Word { start, escaped: true, .. } => {
                Place::Word { start, escaped: false, variable: false }
            }
            Place::Word { start, variable: true, .. } if byte == b'{' => {
                Place::Word { start, escaped: false, variable: false }
            }
            Place::Word { start, .. } if byte.is_ascii_whitespace() || matches!(byte, b';' | b'{') => {
                tokens.push(Token::Word(start..index));
                separator(byte, next, &mut tokens);
                Place::Between
            }
            Place::Word { start, .. } => {
                Place::Word { start, escaped: byte == b'\\', variable: byte == b'$' }
            }
            Place::Between => match byte {
                b'#' => Place::Comment,
                b'"' | b'\'' => Place::Quoted { start: index, quote: byte, escaped: false },
                _ if byte.is_ascii_whitespace() || matches!(byte, b';' | b'{' | b'}') => {
                    separator(byte, next, &mut tokens);
                    Place::Between
                }
                _ => Place::Word { start: index, escaped: byte == b'\\', variable: byte == b'$' },
            },
        };
    }
    match place {
        Place::Between | Place::Comment => Ok(tokens),
        Place::Word { .. } | Place::Quoted { .. } => Err(UpstreamError::Syntax),
    }
}

fn separator(byte: u8, next: usize, tokens: &mut Vec<Token>) {
    match byte {
        b';' => tokens.push(Token::End(next)),
        b'{' => tokens.push(Token::Open),
        b'}' => tokens.push(Token::Close(next)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
