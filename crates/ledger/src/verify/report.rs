//! What a verification found, in words that say what it means.

use std::fmt;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::tile::TilePath;

/// Most findings about single entries, bundles and tiles that a report lists. A log with more is refused
/// all the same; the rest are counted, so that a hostile export cannot fill the verifier's memory. Findings
/// about the log as a whole are few, and always listed.
pub const MAX_FINDINGS: usize = 256;

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The checkpoint is not signed by the log's key.
    BadSignature {
        /// Why the signature is refused.
        reason: String,
    },
    /// There is no readable checkpoint.
    CheckpointUnreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// A head that the verifier brought is of another log.
    OtherLog {
        /// Origin of the head brought.
        expected: String,
        /// Origin of the log.
        got: String,
    },
    /// A head that the verifier brought is larger than the log.
    Truncated {
        /// Entries of the log.
        log_size: u64,
        /// Entries that it once had.
        head_size: u64,
    },
    /// A head that the verifier brought has another root than the log had at that size.
    Fork {
        /// Size of the head brought.
        size: u64,
        /// Root of the head brought.
        expected: Hash,
        /// Root of the log's first `size` entries.
        got: Hash,
    },
    /// The entries do not give the signed root.
    RootMismatch {
        /// Size of the signed head.
        size: u64,
        /// Root of the signed head.
        expected: Hash,
        /// Root of the entries.
        got: Hash,
    },
    /// An entry is not the one that was signed.
    EntryChanged {
        /// Index of the first such entry in its bundle.
        index: u64,
        /// How many more in the same bundle are not.
        more: u64,
    },
    /// An entry and its tile contradict each other, and neither is proven by the checkpoint.
    EntryUnproven {
        /// Index of the first such entry in its bundle.
        index: u64,
        /// How many more in the same bundle are not.
        more: u64,
    },
    /// There are fewer entries than were signed.
    EntriesMissing {
        /// Entries of the signed head.
        expected: u64,
        /// Entries found.
        got: u64,
    },
    /// There are more entries than were signed.
    EntriesExtra {
        /// Entries of the signed head.
        expected: u64,
        /// Entries found.
        got: u64,
    },
    /// A bundle holds another number of entries than its place demands.
    BundleCount {
        /// The bundle.
        path: TilePath,
        /// Entries that it must hold.
        expected: u64,
        /// Entries that it holds.
        got: u64,
    },
    /// A bundle cannot be read to its end.
    BundleMalformed {
        /// The bundle.
        path: TilePath,
        /// What is wrong with it.
        reason: String,
    },
    /// A tile is not the one that was signed.
    TileChanged {
        /// The tile.
        path: TilePath,
    },
    /// A file of the layout is not there.
    FileMissing {
        /// The tile or bundle.
        path: TilePath,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSignature { reason } => write!(
                f,
                "the checkpoint is not validly signed ({reason}): it was altered, or is not of the log whose \
                 key you trust; nothing below it was checked"
            ),
            Self::CheckpointUnreadable { reason } => {
                write!(f, "the checkpoint cannot be read ({reason}): nothing below it was checked")
            }
            Self::OtherLog { expected, got } => write!(
                f,
                "you brought a head of the log `{expected}`, this is the log `{got}`: they cannot be compared"
            ),
            Self::Truncated { log_size, head_size } => write!(
                f,
                "the log has {log_size} entries, but you hold a head of {head_size}: it was truncated or \
                 rolled back"
            ),
            Self::Fork { size, expected, got } => write!(
                f,
                "the first {size} entries have the root `{got}`, but you hold a head of that size with \
                 `{expected}`: history was rewritten, or you were shown another branch of the log"
            ),
            Self::RootMismatch { size, expected, got } => write!(
                f,
                "the {size} entries have the root `{got}`, but `{expected}` was signed: an entry was changed, \
                 dropped, reordered or duplicated"
            ),
            Self::EntryChanged { index, more: 0 } => {
                write!(f, "entry {index} is not the one that was signed: it was changed")
            }
            Self::EntryChanged { index, more } => write!(
                f,
                "entry {index} is not the one that was signed, nor are {more} more in its bundle: it was \
                 changed, or entries were dropped, reordered or duplicated from there on"
            ),
            Self::EntryUnproven { index, more } => write!(
                f,
                "entry {index} and {more} more in its bundle contradict their tile, and the tile is not \
                 proven either: one of the two was altered"
            ),
            Self::EntriesMissing { expected, got } => {
                write!(f, "{expected} entries were signed, {got} are there: entries were dropped")
            }
            Self::EntriesExtra { expected, got } => write!(
                f,
                "{expected} entries were signed, {got} are there: entries were duplicated or slipped in"
            ),
            Self::BundleCount { path, expected, got } => write!(
                f,
                "bundle `{path}` must hold {expected} entries and holds {got}: entries were dropped or \
                 slipped in"
            ),
            Self::BundleMalformed { path, reason } => {
                write!(f, "bundle `{path}` cannot be read ({reason}): it was altered or cut off")
            }
            Self::TileChanged { path } => {
                write!(f, "tile `{path}` is not the one that was signed: it was altered")
            }
            Self::FileMissing { path } => {
                write!(f, "`{path}` is missing: the export is incomplete, or a part of it was removed")
            }
        }
    }
}

/// What the heads that the verifier brought say about truncation, roll-back and fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing: no usable head was brought. A log that is sound in itself may still be an older copy, a
    /// shortened one, or another branch than the one that others see.
    NotExcluded,
    /// The log continues the largest head that it was compared with. Of what came after that size,
    /// nothing can be said.
    ConfirmedTo {
        /// Size of that head.
        size: u64,
    },
    /// At least one head contradicts the log: see the findings.
    Contradicted,
}

impl fmt::Display for Continuity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExcluded => f.write_str(
                "truncation, roll-back and fork cannot be excluded: bring a head from a receipt, a permit, an \
                 approval or a witness",
            ),
            Self::ConfirmedTo { size } => write!(
                f,
                "the log continues the head of {size} entries that you brought; for later entries, \
                 truncation, roll-back and fork cannot be excluded"
            ),
            Self::Contradicted => f.write_str("the log contradicts a head that you brought"),
        }
    }
}

/// The result of verifying a log. Only verification makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    head: Option<Checkpoint>,
    entries: u64,
    findings: Findings,
    continuity: Continuity,
}

impl Report {
    pub(crate) fn new(head: Checkpoint, entries: u64, findings: Findings, confirmed_to: u64) -> Self {
        let continuity = if findings.contradicts_head {
            Continuity::Contradicted
        } else if confirmed_to > 0 {
            Continuity::ConfirmedTo { size: confirmed_to }
        } else {
            // A head of size 0 is the beginning of every log and excludes nothing.
            Continuity::NotExcluded
        };
        Self { head: Some(head), entries, findings, continuity }
    }

    /// The report on a log whose checkpoint is refused.
    pub(crate) fn without_head(finding: Finding) -> Self {
        let mut findings = Findings::default();
        findings.add(finding);
        Self { head: None, entries: 0, findings, continuity: Continuity::NotExcluded }
    }

    /// Whether nothing is wrong. Read [`Report::continuity`] too: a sound log may be an old one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.list.is_empty()
    }

    /// The authentic head that the log was verified against, if there is one.
    #[must_use]
    pub fn head(&self) -> Option<&Checkpoint> {
        self.head.as_ref()
    }

    /// How many entries were read.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// What is wrong; of single entries, bundles and tiles at most [`MAX_FINDINGS`].
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings.list
    }

    /// How many entries, bundles and tiles more were suspect and are not listed.
    #[must_use]
    pub fn findings_omitted(&self) -> u64 {
        self.findings.omitted
    }

    /// What can be said about truncation, roll-back and fork.
    #[must_use]
    pub fn continuity(&self) -> Continuity {
        self.continuity
    }
}

impl fmt::Display for Report {
    /// Several lines: the log, the verdict, each finding, and what could not be excluded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.head {
            Some(head) => writeln!(
                f,
                "log `{}`: {} entries signed, {} read, root `{}`",
                head.origin(),
                head.size(),
                self.entries,
                head.root()
            )?,
            None => writeln!(f, "log without an authentic checkpoint")?,
        }
        if self.is_sound() {
            writeln!(f, "sound: no entry was changed, dropped, reordered or duplicated")?;
        } else {
            writeln!(f, "not sound:")?;
            self.findings.list.iter().try_for_each(|finding| writeln!(f, "- {finding}"))?;
        }
        if self.findings.omitted > 0 {
            writeln!(f, "- and {} places more that differ", self.findings.omitted)?;
        }
        write!(f, "{}", self.continuity)
    }
}

/// Findings up to the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    places: usize,
    omitted: u64,
    contradicts_head: bool,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.contradicts_head |= matches!(finding, Finding::Truncated { .. } | Finding::Fork { .. });
        if !is_about_a_place(&finding) {
            // A flood of other findings must not hide these; the verifier brought the heads, so they are few.
            self.list.push(finding);
        } else if self.places < MAX_FINDINGS {
            self.places = self.places.saturating_add(1);
            self.list.push(finding);
        } else {
            self.omit(1);
        }
    }

    pub(crate) fn omit(&mut self, count: u64) {
        self.omitted = self.omitted.saturating_add(count);
    }
}

/// Whether an export can have as many of these as it has files.
fn is_about_a_place(finding: &Finding) -> bool {
    match finding {
        Finding::EntryChanged { .. }
        | Finding::EntryUnproven { .. }
        | Finding::BundleCount { .. }
        | Finding::BundleMalformed { .. }
        | Finding::TileChanged { .. }
        | Finding::FileMissing { .. } => true,
        Finding::BadSignature { .. }
        | Finding::CheckpointUnreadable { .. }
        | Finding::OtherLog { .. }
        | Finding::Truncated { .. }
        | Finding::Fork { .. }
        | Finding::RootMismatch { .. }
        | Finding::EntriesMissing { .. }
        | Finding::EntriesExtra { .. } => false,
    }
}
