//! Verifying a whole log offline: one pass over its entries, in order, against a signed head.

mod report;

pub use report::{Continuity, Finding, MAX_FINDINGS, Report};

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::hash::{Hash, leaf_hash};
use crate::key::VerifierKey;
use crate::tree::{FullTile, Tree};
use report::Findings;

/// Recomputes a log's tree from its entries, and compares it with the signed head and with every head
/// that the verifier remembers. Memory is bounded by the heads brought, never by the log.
///
/// The heads brought may come from a receipt, a permit, an approval, a witness or an earlier
/// verification. They, and nothing that the log itself hands out, find truncation, roll-back and fork.
#[derive(Clone, Debug)]
pub struct Verifier {
    signed: Checkpoint,
    // INVARIANT: heads of this log, none larger than it, by size; those before `next_head` are compared.
    heads: Vec<Checkpoint>,
    next_head: usize,
    tree: Tree,
    entries: u64,
    findings: Findings,
    confirmed_to: u64,
}

impl Verifier {
    /// Begins to verify the log of `checkpoint`, whose signature must be by one of `keys`.
    ///
    /// Entries mean nothing without an authentic head, so a refused checkpoint ends it here.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::open`].
    pub fn new(
        checkpoint: &SignedCheckpoint,
        keys: &[VerifierKey],
        against: &[Checkpoint],
    ) -> Result<Self, CheckpointError> {
        let signed = checkpoint.open(keys)?;
        let mut findings = Findings::default();
        let mut heads = Vec::new();
        for head in against {
            if head.origin() != signed.origin() {
                let (expected, got) = (head.origin().to_owned(), signed.origin().to_owned());
                findings.add(Finding::OtherLog { expected, got });
            } else if head.size() > signed.size() {
                findings.add(Finding::Truncated { log_size: signed.size(), head_size: head.size() });
            } else {
                heads.push(head.clone());
            }
        }
        heads.sort_by_key(Checkpoint::size);
        let tree = Tree::new();
        let verifier = Self { signed, heads, next_head: 0, tree, entries: 0, findings, confirmed_to: 0 };
        Ok(verifier.with_heads_compared())
    }

    /// Takes the next entry. Entries past the size of the signed head are counted and reported.
    pub fn push(&mut self, entry: &[u8]) {
        self.entries = self.entries.saturating_add(1);
        self.push_leaves(&[leaf_hash(entry)]);
    }

    /// Ends the pass and tells what was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let (expected, got) = (self.signed.size(), self.entries);
        if got > expected {
            self.findings.add(Finding::EntriesExtra { expected, got });
        } else if self.tree.size() < expected {
            self.findings.add(Finding::EntriesMissing { expected, got });
        }
        let (expected, got) = (self.signed.root(), self.tree.root());
        if self.has_whole_tree() && got != expected {
            self.findings.add(Finding::RootMismatch { size: self.signed.size(), expected, got });
        }
        Report::new(self.signed, self.entries, self.findings, self.confirmed_to)
    }

    /// The head that is being verified against.
    #[must_use]
    pub fn signed(&self) -> &Checkpoint {
        &self.signed
    }

    /// Takes the leaf hashes of the next entries; returns the tiles that they completed.
    pub(crate) fn push_leaves(&mut self, leaves: &[Hash]) -> Vec<FullTile> {
        let (mut rest, mut full) = (leaves, Vec::new());
        while !rest.is_empty() && !self.has_whole_tree() {
            // As far as the next size at which something is compared.
            let next_head = self.heads.get(self.next_head).map(Checkpoint::size);
            let stop = next_head.unwrap_or(u64::MAX).min(self.signed.size());
            let room = usize::try_from(stop.saturating_sub(self.tree.size())).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            // The tree is smaller than a size that is a u64, so it is not full.
            full.extend(self.tree.append_all(now).unwrap_or_default());
            if next_head == Some(self.tree.size()) {
                self.compare_heads();
            }
            rest = later;
        }
        full
    }

    /// Counts an entry whose leaf hash was pushed by [`Verifier::push_leaves`].
    pub(crate) fn count_entry(&mut self) {
        self.entries = self.entries.saturating_add(1);
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.findings.add(finding);
    }

    pub(crate) fn omit(&mut self, count: u64) {
        self.findings.omit(count);
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether the leaves that were pushed are exactly those that were signed.
    pub(crate) fn is_tree_as_signed(&self) -> bool {
        self.has_whole_tree() && self.tree.root() == self.signed.root()
    }

    fn has_whole_tree(&self) -> bool {
        self.tree.size() == self.signed.size()
    }

    fn with_heads_compared(mut self) -> Self {
        self.compare_heads();
        self
    }

    /// Compares the heads brought at the tree's present size; the root is computed only when there are.
    fn compare_heads(&mut self) {
        let size = self.tree.size();
        let got = self.tree.root();
        while let Some(head) = self.heads.get(self.next_head).filter(|head| head.size() == size) {
            if head.root() == got {
                self.confirmed_to = size;
            } else {
                self.findings.add(Finding::Fork { size, expected: head.root(), got });
            }
            self.next_head = self.next_head.saturating_add(1);
        }
    }
}
