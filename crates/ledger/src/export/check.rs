//! Verifying an exported log, and pointing at what was altered.
//!
//! The entries are the truth to be tested: their leaf hashes rebuild the tree and every tile. Where a
//! stored tile differs from the rebuilt one, it is set aside as a suspect and judged at the end, when it
//! is known whether the entries give the signed root. If they do, the tile was altered. If they do not,
//! a stored tile whose own chain of hashes leads to the signed root proves which entry was.

use crate::bundle::read_bundle;
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::edge::RightEdge;
use crate::export::{CHECKPOINT_PATH, ExportError, ExportSource};
use crate::frontier::root_over;
use crate::hash::{Hash, leaf_hashes};
use crate::key::VerifierKey;
use crate::tile::{TilePath, bundle_paths, decode_tile, full_tiles, partial_tile_paths};
use crate::tree::FullTile;
use crate::verify::{Finding, MAX_FINDINGS, Report, Verifier};

/// Verifies an exported log against the keys that the caller trusts and the heads that it remembers.
///
/// Every bit of the files of the layout is covered: a change in any of them is found. Files outside the
/// layout are not looked at.
///
/// # Errors
/// Only when `source` fails. Whatever is wrong with the log is in the report.
pub fn verify_export(
    source: &dyn ExportSource,
    keys: &[VerifierKey],
    against: &[Checkpoint],
) -> Result<Report, ExportError> {
    let Some(bytes) = source.file(CHECKPOINT_PATH)? else {
        let reason = format!("`{CHECKPOINT_PATH}` is missing");
        return Ok(Report::without_head(Finding::CheckpointUnreadable { reason }));
    };
    let checkpoint = match SignedCheckpoint::parse(&bytes) {
        Ok(checkpoint) => checkpoint,
        Err(err) => {
            return Ok(Report::without_head(Finding::CheckpointUnreadable { reason: reason_of(&err) }));
        }
    };
    let verifier = match Verifier::new(&checkpoint, keys, against) {
        Ok(verifier) => verifier,
        Err(err) => return Ok(Report::without_head(Finding::BadSignature { reason: reason_of(&err) })),
    };
    let mut check = Check { source, verifier, suspects: Vec::new(), suspects_omitted: 0 };
    check.entries()?;
    check.right_edge()?;
    check.judge()
}

/// The message of an error and of what caused it.
fn reason_of(err: &CheckpointError) -> String {
    match std::error::Error::source(err) {
        Some(cause) => format!("{err}: {cause}"),
        None => err.to_string(),
    }
}

/// A stored tile that differs from the one rebuilt from the entries.
struct Suspect {
    path: TilePath,
    level: u8,
    // Number within the tile of the first hash that differs, and how many more do.
    first: u64,
    more: u64,
}

struct Check<'a> {
    source: &'a dyn ExportSource,
    verifier: Verifier,
    suspects: Vec<Suspect>,
    suspects_omitted: u64,
}

impl Check<'_> {
    /// Reads the bundles in order. Ends early where neither entries nor their leaf hashes are there:
    /// what follows could not be put in its place.
    fn entries(&mut self) -> Result<(), ExportError> {
        for path in bundle_paths(self.verifier.signed().size()) {
            let tile_path = path.level_zero();
            let stored = self.stored_tile(tile_path)?;
            let leaves = self.bundle_leaves(path)?;
            if let Some(stored) = &stored {
                self.compare(tile_path, 0, &leaves, stored);
            }
            // For entries that are not there the stored leaf hashes stand in, so that later entries keep
            // their place and a later change is still pointed at. The finding has been made.
            let stand_ins = stored.as_deref().and_then(|stored| stored.get(leaves.len()..));
            if leaves.len() < path.width() && stand_ins.is_none() {
                return Ok(());
            }
            for some in [leaves.as_slice(), stand_ins.unwrap_or_default()] {
                for tile in self.verifier.push_leaves(some) {
                    self.full_tile(&tile)?;
                }
            }
        }
        Ok(())
    }

    /// The leaf hashes of a bundle's entries, at most as many as its place has room for.
    fn bundle_leaves(&mut self, path: TilePath) -> Result<Vec<Hash>, ExportError> {
        let Some(bytes) = self.source.file(&path.to_string())? else {
            self.verifier.add(Finding::FileMissing { path });
            return Ok(Vec::new());
        };
        let mut entries = Vec::with_capacity(path.width());
        let mut got = 0_u64;
        for entry in read_bundle(&bytes) {
            match entry {
                Ok(entry) => {
                    got = got.saturating_add(1);
                    self.verifier.count_entry();
                    if entries.len() < path.width() {
                        entries.push(entry);
                    }
                }
                Err(err) => self.verifier.add(Finding::BundleMalformed { path, reason: err.to_string() }),
            }
        }
        let expected = to_u64(path.width());
        if got != expected {
            self.verifier.add(Finding::BundleCount { path, expected, got });
        }
        Ok(leaf_hashes(entries))
    }

    /// Compares a tile rebuilt from the entries with the stored one; level 0 was compared with its bundle.
    fn full_tile(&mut self, rebuilt: &FullTile) -> Result<(), ExportError> {
        if rebuilt.level() == 0 {
            return Ok(());
        }
        let path = TilePath::hashes(rebuilt.level(), rebuilt.index(), 256)?;
        if let Some(stored) = self.stored_tile(path)? {
            self.compare(path, rebuilt.level(), rebuilt.hashes(), &stored);
        }
        Ok(())
    }

    /// Compares the partial tiles above level 0, once the tree has its whole size.
    fn right_edge(&mut self) -> Result<(), ExportError> {
        let size = self.verifier.signed().size();
        if self.verifier.tree().size() != size {
            return Ok(());
        }
        for (level, path) in partial_tile_paths(size).filter(|(level, _)| *level > 0) {
            if let Some(stored) = self.stored_tile(path)? {
                let rebuilt = self.verifier.tree().partial(level).to_vec();
                self.compare(path, level, &rebuilt, &stored);
            }
        }
        Ok(())
    }

    /// Reads a stored tile; a missing or misshapen one is a finding at once.
    fn stored_tile(&mut self, path: TilePath) -> Result<Option<Vec<Hash>>, ExportError> {
        let Some(bytes) = self.source.file(&path.to_string())? else {
            self.verifier.add(Finding::FileMissing { path });
            return Ok(None);
        };
        let hashes = decode_tile(&bytes, path.width()).ok();
        if hashes.is_none() {
            self.verifier.add(Finding::TileChanged { path });
        }
        Ok(hashes)
    }

    /// Sets a stored tile aside if it differs from the rebuilt one, as far as that reaches.
    fn compare(&mut self, path: TilePath, level: u8, rebuilt: &[Hash], stored: &[Hash]) {
        let mut differing = rebuilt.iter().zip(stored).zip(0_u64..).filter(|((a, b), _)| a != b);
        let Some((_, first)) = differing.next() else { return };
        let more = to_u64(differing.count());
        if self.suspects.len() < MAX_FINDINGS {
            self.suspects.push(Suspect { path, level, first, more });
        } else {
            self.suspects_omitted = self.suspects_omitted.saturating_add(1);
        }
    }

    fn judge(self) -> Result<Report, ExportError> {
        let Self { source, mut verifier, suspects, suspects_omitted } = self;
        if verifier.is_tree_as_signed() {
            for Suspect { path, .. } in suspects {
                verifier.add(Finding::TileChanged { path });
            }
        } else if !suspects.is_empty() {
            let size = verifier.signed().size();
            let edge = proven_edge(source, verifier.signed())?;
            for Suspect { path, level, first, more } in suspects {
                let index = (path.index() << 8).saturating_add(first);
                let is_proven = match &edge {
                    Some(edge) => is_proven(source, size, edge, level, path.index())?,
                    None => false,
                };
                match (level, is_proven) {
                    (0, true) => verifier.add(Finding::EntryChanged { index, more }),
                    (0, false) => verifier.add(Finding::EntryUnproven { index, more }),
                    // It differs only because an entry below it was changed.
                    (_, true) => {}
                    (_, false) => verifier.add(Finding::TileChanged { path }),
                }
            }
        }
        verifier.omit(suspects_omitted);
        Ok(verifier.finish())
    }
}

/// The stored partial tiles, level by level, if together they give the signed root.
fn proven_edge(source: &dyn ExportSource, signed: &Checkpoint) -> Result<Option<RightEdge>, ExportError> {
    let mut edge = RightEdge::default();
    for (level, path) in partial_tile_paths(signed.size()) {
        edge.set(level, read_tile(source, path)?.unwrap_or_default());
    }
    let root = edge.frontier(signed.size()).root();
    Ok((root == signed.root()).then_some(edge))
}

/// Whether the stored tile is a part of the signed tree: its root stands in the tile above, and so on up
/// to the right edge, which gives the signed root.
fn is_proven(
    source: &dyn ExportSource,
    size: u64,
    edge: &RightEdge,
    mut level: u8,
    mut index: u64,
) -> Result<bool, ExportError> {
    while index < full_tiles(size, level) {
        let Some(hashes) = read_tile(source, TilePath::hashes(level, index, 256)?)? else { return Ok(false) };
        let [number, ..] = index.to_le_bytes();
        level = level.saturating_add(1);
        index >>= 8;
        let above = if index < full_tiles(size, level) {
            read_tile(source, TilePath::hashes(level, index, 256)?)?
        } else {
            Some(edge.level(level).to_vec())
        };
        let stands_above = above.as_deref().and_then(|above| above.get(usize::from(number)));
        if stands_above != Some(&root_over(&hashes)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_tile(source: &dyn ExportSource, path: TilePath) -> Result<Option<Vec<Hash>>, ExportError> {
    let bytes = source.file(&path.to_string())?;
    Ok(bytes.and_then(|bytes| decode_tile(&bytes, path.width()).ok()))
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
