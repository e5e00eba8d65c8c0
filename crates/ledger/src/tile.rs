//! Tiles of C2SP `tlog-tiles`: runs of 256 hashes, their paths and their bytes.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;
use crate::text::parse_decimal;

/// Levels of the tree in a tile.
pub(crate) const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 1 << TILE_HEIGHT;
/// Bytes of a full tile.
pub const TILE_BYTES: usize = 8192;
/// Levels of tiles that a tree of up to 2^64 - 1 entries can have.
pub const TILE_LEVELS: u8 = 8;
/// Highest level that a path may name (`tlog-tiles`: between 0 and 63).
pub const MAX_PATH_LEVEL: u8 = 63;

const FULL: u16 = 256;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileKind {
    /// Hashes of the tree at this tile level (0: leaf hashes).
    Hashes {
        /// Level, 0 to 63.
        level: u8,
    },
    /// A bundle of entries, parallel to level 0.
    Entries,
}

/// `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TilePath {
    // INVARIANT: a level is at most MAX_PATH_LEVEL, and width is 1 to 256.
    kind: TileKind,
    index: u64,
    width: u16,
}

/// Why a tile or its path is refused. The fault is with whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The text is no tile path, or not its only spelling.
    #[error("not a tile path, expected `tile/<level>/<index>[.p/<width>]` or `tile/entries/...`")]
    Path,
    /// The level is out of range.
    #[error("tile level out of range, expected 0 to 63, got {got}")]
    Level {
        /// The level that came.
        got: u8,
    },
    /// The width is out of range.
    #[error("tile width out of range, expected 1 to 256, got {got}")]
    Width {
        /// The width that came.
        got: u16,
    },
    /// The bytes are not a tile of that width.
    #[error("tile has the wrong length, expected {expected} bytes, got {got}")]
    Length {
        /// 32 bytes a hash.
        expected: usize,
        /// How many came.
        got: usize,
    },
}

impl TilePath {
    /// The path of a tile of hashes; `width` 256 is the full tile.
    ///
    /// # Errors
    /// A level above 63, or a width of 0 or above 256.
    pub fn hashes(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        Self::new(TileKind::Hashes { level }, index, width)
    }

    /// The path of a bundle of entries; `width` 256 is the full bundle.
    ///
    /// # Errors
    /// A width of 0 or above 256.
    pub fn entries(index: u64, width: u16) -> Result<Self, TileError> {
        Self::new(TileKind::Entries, index, width)
    }

    fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        if let TileKind::Hashes { level } = kind
            && level > MAX_PATH_LEVEL
        {
            return Err(TileError::Level { got: level });
        }
        if width == 0 || width > FULL {
            return Err(TileError::Width { got: width });
        }
        Ok(Self { kind, index, width })
    }

    /// What stands there.
    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Index within its level.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries, 1 to 256.
    #[must_use]
    pub fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// The tile of leaf hashes beside a bundle of entries.
    pub(crate) fn level_zero(self) -> Self {
        Self { kind: TileKind::Hashes { level: 0 }, ..self }
    }

    /// Whether it holds fewer than 256.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.width < FULL
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        write_index(f, self.index)?;
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// Groups of three digits; all but the last begin with `x`, so that no file stands where a folder must.
fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    let digits = index.to_string();
    let digits = format!("{digits:0>width$}", width = digits.len().next_multiple_of(3));
    let mut rest = digits.as_str();
    while let Some((group, after)) = rest.split_at_checked(3) {
        if after.is_empty() {
            return f.write_str(group);
        }
        write!(f, "x{group}/")?;
        rest = after;
    }
    Ok(())
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(text: &str) -> Result<Self, TileError> {
        let rest = text.strip_prefix("tile/").ok_or(TileError::Path)?;
        let (kind, rest) = rest.split_once('/').ok_or(TileError::Path)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes { level: parse_small(level)? },
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, parse_small::<u8>(width)?.into()),
            None => (rest, FULL),
        };
        let path = Self::new(kind, parse_index(index)?, width)?;
        // One tile has one name: whatever would be written differently is refused.
        if path.to_string() == text { Ok(path) } else { Err(TileError::Path) }
    }
}

fn parse_small<T: TryFrom<u64>>(text: &str) -> Result<T, TileError> {
    parse_decimal(text).and_then(|number| number.try_into().ok()).ok_or(TileError::Path)
}

fn parse_index(text: &str) -> Result<u64, TileError> {
    // 20 digits make 7 groups `x123/`; anything longer is no index and need not be copied.
    if text.len() > 40 {
        return Err(TileError::Path);
    }
    let digits: String = text.split('/').map(|group| group.strip_prefix('x').unwrap_or(group)).collect();
    digits.parse().map_err(|_| TileError::Path)
}

/// How many hashes stand in the partial tile at `level` of a tree of `size` (0: there is none).
///
/// `tlog-tiles`: `floor(size / 256^level) mod 256`, the digit of `size` in base 256.
#[must_use]
pub fn partial_width(size: u64, level: u8) -> u8 {
    size.to_le_bytes().get(usize::from(level)).copied().unwrap_or(0)
}

/// How many full tiles stand at `level` of a tree of `size`: `floor(size / 256^(level + 1))`.
#[must_use]
pub fn full_tiles(size: u64, level: u8) -> u64 {
    let shift = u32::from(level).saturating_add(1).saturating_mul(8);
    size.checked_shr(shift).unwrap_or(0)
}

/// The bundles of entries of a tree of `size`, in order; the last may be partial.
pub fn bundle_paths(size: u64) -> impl Iterator<Item = TilePath> {
    paths_of(TileKind::Entries, 0, size)
}

/// The tiles of hashes of a tree of `size`, level by level; the last of each level may be partial.
pub fn tile_paths(size: u64) -> impl Iterator<Item = TilePath> {
    (0..TILE_LEVELS).flat_map(move |level| paths_of(TileKind::Hashes { level }, level, size))
}

/// The partial tiles of hashes of a tree of `size`, with their level.
pub(crate) fn partial_tile_paths(size: u64) -> impl Iterator<Item = (u8, TilePath)> {
    (0..TILE_LEVELS).filter_map(move |level| {
        let width = partial_width(size, level);
        let kind = TileKind::Hashes { level };
        (width > 0).then_some((level, TilePath { kind, index: full_tiles(size, level), width: width.into() }))
    })
}

fn paths_of(kind: TileKind, level: u8, size: u64) -> impl Iterator<Item = TilePath> {
    let full = full_tiles(size, level);
    let partial = partial_width(size, level);
    let last = (partial > 0).then_some(TilePath { kind, index: full, width: partial.into() });
    (0..full).map(move |index| TilePath { kind, index, width: FULL }).chain(last)
}

/// The bytes of a tile.
#[must_use]
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
}

/// The hashes of a tile that must be `width` wide.
///
/// # Errors
/// [`TileError::Length`] for any other number of bytes.
pub fn decode_tile(bytes: &[u8], width: usize) -> Result<Vec<Hash>, TileError> {
    let expected = width.saturating_mul(Hash::BYTES);
    let (hashes, rest) = bytes.as_chunks::<{ Hash::BYTES }>();
    if hashes.len() != width || !rest.is_empty() {
        return Err(TileError::Length { expected, got: bytes.len() });
    }
    Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
}
