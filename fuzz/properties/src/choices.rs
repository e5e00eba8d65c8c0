//! Bytes as choices: how a fuzzer's bytes become a structure.

use holdpoint_domain::{Digest, Id, id::Kind};

/// Reads choices off bytes. When the bytes are over, every choice is the first: a short input is a small structure, so that
/// whoever minimises bytes minimises what they mean.
#[derive(Debug, Clone)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    /// The choices that these bytes make.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all bytes are read.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    /// Yes or no.
    pub fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        if end <= 256 { usize::from(self.byte()) % end } else { self.number() as usize % end }
    }

    /// Any number; small ones and those beside powers of two more often than others.
    pub fn number(&mut self) -> u64 {
        let kind = self.byte();
        match kind % 4 {
            0 => u64::from(self.byte()),
            1 => (1_u64 << (kind >> 2)).wrapping_add(u64::from(self.byte())).wrapping_sub(128),
            2 => u64::MAX.wrapping_sub(u64::from(self.byte())),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// `0..=most` of what `make` makes.
    pub fn several<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    /// One of sixteen ids, so that two of them are often the same.
    pub fn id<K: Kind>(&mut self) -> Id<K> {
        const NAMES: [&str; 16] = [
            "a", "b", "c", "d", "e", "f", "g", "a.b", "a.c", "b.a", "a-b", "a_b", "0", "1", "worker-1",
            "worker-2",
        ];
        Id::parse(self.one_of(&NAMES)).unwrap()
    }

    /// One of 256 digests.
    pub fn digest(&mut self) -> Digest {
        Digest::of_bytes(&[self.byte()])
    }

    /// Changes bytes: up to eight times it sets, inserts, removes, doubles or flips something.
    pub fn edit(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..8 {
            if self.is_over() {
                return;
            }
            let at = self.below(bytes.len() + 1);
            let len = bytes.len();
            match self.byte() % 6 {
                0 if at < len => bytes[at] = self.byte(),
                1 if at < len => bytes[at] ^= 1 << (self.byte() % 8),
                2 if at < len => {
                    bytes.remove(at);
                }
                3 => bytes.truncate(at),
                4 => {
                    let copied: Vec<u8> = bytes[at..].iter().copied().take(self.below(64)).collect();
                    let to = self.below(len + 1);
                    bytes.splice(to..to, copied);
                }
                _ => bytes.insert(at, self.byte()),
            }
        }
    }
}
