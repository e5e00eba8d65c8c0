//! Entry bundles of C2SP `tlog-tiles`: up to 256 entries, each after its length as big-endian `u16`.

/// Longest entry that a bundle can carry: its length is a `u16`.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Why an entry or a bundle is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The caller's entry does not fit the format.
    #[error("entry is too long, expected at most 65535 bytes, got {got}")]
    EntryTooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// The bytes end within an entry or its length.
    #[error("bundle ends within entry {entry}, expected {expected} more bytes, got {got}")]
    CutShort {
        /// Number of the entry within the bundle, from 0.
        entry: usize,
        /// How many bytes it still needs.
        expected: usize,
        /// How many are left.
        got: usize,
    },
}

/// Appends one entry to the bytes of a bundle.
///
/// # Errors
/// [`BundleError::EntryTooLong`]; the bundle is then unchanged.
pub fn append_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong { got: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The bytes of a bundle with these entries.
///
/// # Errors
/// [`BundleError::EntryTooLong`].
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, BundleError> {
    let mut bundle = Vec::new();
    entries.into_iter().try_for_each(|entry| append_entry(&mut bundle, entry))?;
    Ok(bundle)
}

/// Reads the entries of a bundle one by one, without copying them.
///
/// The reader does not know how many there should be: the caller compares with the width of the path.
#[must_use]
pub fn read_bundle(bytes: &[u8]) -> BundleReader<'_> {
    BundleReader { rest: bytes, entry: 0 }
}

/// The entries of a bundle; after an error it ends.
#[derive(Clone, Debug)]
pub struct BundleReader<'a> {
    rest: &'a [u8],
    entry: usize,
}

impl<'a> Iterator for BundleReader<'a> {
    type Item = Result<&'a [u8], BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = split_entry(self.rest, self.entry);
        self.rest = read.as_ref().map_or(&[], |(_, rest)| rest);
        self.entry = self.entry.saturating_add(1);
        Some(read.map(|(entry, _)| entry))
    }
}

fn split_entry(bytes: &[u8], entry: usize) -> Result<(&[u8], &[u8]), BundleError> {
    let cut_short = |expected, got| BundleError::CutShort { entry, expected, got };
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or(cut_short(2, bytes.len()))?;
    let length = usize::from(u16::from_be_bytes(*length));
    rest.split_at_checked(length).ok_or(cut_short(length, rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_format() {
        let bundle = encode_bundle([b"ab".as_slice(), b"", b"c"]).unwrap();
        assert_eq!(bundle, b"\x00\x02ab\x00\x00\x00\x01c");
        let entries: Result<Vec<_>, _> = read_bundle(&bundle).collect();
        assert_eq!(entries, Ok(vec![b"ab".as_slice(), b"", b"c"]));
    }

    #[test]
    fn the_longest_entry_fits_and_one_byte_more_does_not() {
        let longest = vec![7; MAX_ENTRY_BYTES];
        let mut bundle = encode_bundle([longest.as_slice()]).unwrap();
        assert_eq!(read_bundle(&bundle).next(), Some(Ok(longest.as_slice())));

        let before = bundle.clone();
        let refused = append_entry(&mut bundle, &vec![7; 65_536]);
        assert_eq!(refused, Err(BundleError::EntryTooLong { got: 65_536 }));
        assert_eq!(bundle, before);
    }

    #[test]
    fn a_bundle_cut_anywhere_within_an_entry_is_refused() {
        let bundle = encode_bundle([b"ab".as_slice(), b"cde"]).unwrap();
        for cut in 0..bundle.len() {
            let read: Result<Vec<_>, _> = read_bundle(bundle.get(..cut).unwrap()).collect();
            // At 0 and 4 the bundle ends between entries: the count, not the framing, is wrong there.
            assert_eq!(read.is_ok(), cut == 0 || cut == 4, "cut at {cut}");
        }
        let mut after_error = read_bundle(b"\x00\x05ab");
        assert!(after_error.next().is_some_and(|read| read.is_err()));
        assert_eq!(after_error.next(), None);
    }
}
