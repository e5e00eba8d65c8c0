//! Room that is set aside, so that halt, undo, revocation and doubt can still be recorded on a full disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::remembered::beside;
use crate::step::{Step, Taken};

/// Written at a time.
const CHUNK: usize = 64 * 1024;

/// The file `<store>.reserve`: it takes up room, and is deleted when an essential transaction needs that room.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_there: bool,
}

impl Reserve {
    /// The reserve of a store, made if there is room. A store without a reserve opens: it can then end what is running, and
    /// takes nothing else on.
    pub(super) fn open(store: &Path, bytes: u64) -> Self {
        let mut reserve = Self { path: beside(store, "reserve"), bytes, is_there: false };
        if let Err(err) = reserve.restore() {
            tracing::warn!("no room for the reserve of {bytes} bytes beside the store: {err}");
        }
        reserve
    }

    /// Whether the room is set aside.
    pub(super) const fn is_there(&self) -> bool {
        self.is_there
    }

    /// Sets the room aside, or leaves everything as it is.
    pub(super) fn restore(&mut self) -> std::io::Result<()> {
        let is_whole = fs::metadata(&self.path).is_ok_and(|meta| meta.len() == self.bytes);
        if !is_whole {
            Step::ReserveFill.take(|taken| fill(&self.path, self.bytes, taken))?;
        }
        self.is_there = true;
        Ok(())
    }

    /// Gives the room away; false when there was none.
    pub(super) fn release(&mut self) -> bool {
        let was_there = self.is_there;
        self.is_there = false;
        was_there && Step::ReserveRelease.take(|_| fs::remove_file(&self.path)).is_ok()
    }
}

/// Writes every byte, and no run of zeros: a sparse or compressed file would take up no room.
fn fill(path: &Path, bytes: u64, taken: &Taken) -> std::io::Result<()> {
    // Under another name first: a reserve of the right length is a whole one.
    let half = path.with_extension("reserve-half");
    let filled = fill_with_noise(&half, bytes, taken).and_then(|()| fs::rename(&half, path));
    if filled.is_err() {
        // What was written of it is room that somebody needs, and so is a reserve of another length.
        let _ = fs::remove_file(&half);
        let _ = fs::remove_file(path);
    }
    filled
}

fn fill_with_noise(path: &Path, bytes: u64, _: &Taken) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut left = bytes;
    while left > 0 {
        chunk.clear();
        while chunk.len() < CHUNK {
            // Knuth's generator: nothing secret, only nothing that compresses.
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chunk.extend_from_slice(&noise.to_be_bytes());
        }
        let take = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(chunk.get(..take).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
    }
    file.sync_all()
}
