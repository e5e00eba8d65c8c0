//! Lists of neighbours in one block of memory, links that carry their kind, and sets of nodes.

use std::ops::Range;

use super::EdgeKind;

/// Bits of a [`Link`] that hold the kind.
const KIND_BITS: u32 = 2;

/// One end of an edge, and what kind of edge it is. Ordered by the node, then by the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link(
    // INVARIANT: the node is below `MAX_NODES`, so that it fits beside the kind.
    u32,
);

impl Link {
    pub(super) const fn new(node: u32, kind: EdgeKind) -> Self {
        let kind = match kind {
            EdgeKind::Needs => 0,
            EdgeKind::Calls => 1,
            EdgeKind::Messages => 2,
            EdgeKind::Data => 3,
        };
        Self(node << KIND_BITS | kind)
    }

    pub(super) const fn node(self) -> u32 {
        self.0 >> KIND_BITS
    }

    pub(super) const fn kind(self) -> EdgeKind {
        match self.0 & 3 {
            0 => EdgeKind::Needs,
            1 => EdgeKind::Calls,
            2 => EdgeKind::Messages,
            _ => EdgeKind::Data,
        }
    }
}

/// A list for each of a number of nodes, one behind the other (compressed adjacency).
#[derive(Debug)]
pub(super) struct Lists<T> {
    // INVARIANT: one more than there are nodes; ascending; the last one is the length of `items`.
    starts: Vec<u32>,
    items: Vec<T>,
}

impl<T: Copy + Ord> Lists<T> {
    /// The lists of `nodes` nodes from pairs of a node and an item of its list, which are gone through twice. Each list is sorted and
    /// has nothing twice. There are fewer pairs than `u32` counts: the graph refuses more edges.
    pub(super) fn of_pairs<P: Iterator<Item = (u32, T)>>(nodes: usize, pairs: impl Fn() -> P) -> Self {
        let mut ends = vec![0_u32; nodes.saturating_add(1)];
        for (node, _) in pairs() {
            if let Some(count) = ends.get_mut(node as usize) {
                *count = count.saturating_add(1);
            }
        }
        let mut total = 0_u32;
        for end in &mut ends {
            let count = *end;
            *end = total;
            total = total.saturating_add(count);
        }
        // What a list is filled with before its items are known: any of them.
        let Some((_, filler)) = pairs().next() else { return Self { starts: ends, items: Vec::new() } };
        let mut items = vec![filler; total as usize];
        for (node, item) in pairs() {
            let Some(at) = ends.get_mut(node as usize) else { continue };
            if let Some(place) = items.get_mut(*at as usize) {
                *place = item;
            }
            *at = at.saturating_add(1);
        }
        Self::tidied(&ends, items)
    }

    /// Sorts each list and takes out what stands twice in it. `ends` has where each list ends.
    fn tidied(ends: &[u32], mut items: Vec<T>) -> Self {
        let nodes = ends.len().saturating_sub(1);
        let mut starts = Vec::with_capacity(ends.len());
        let (mut from, mut kept) = (0_usize, 0_usize);
        for end in ends.iter().take(nodes) {
            starts.push(position(kept));
            let end = *end as usize;
            if let Some(list) = items.get_mut(from..end) {
                list.sort_unstable();
            }
            let mut last = None;
            for at in from..end {
                let Some(item) = items.get(at).copied().filter(|item| last != Some(*item)) else { continue };
                last = Some(item);
                if let Some(place) = items.get_mut(kept) {
                    *place = item;
                }
                kept = kept.saturating_add(1);
            }
            from = end;
        }
        starts.push(position(kept));
        items.truncate(kept);
        items.shrink_to_fit();
        Self { starts, items }
    }

    /// Lists one after the other, as they are.
    pub(super) fn empty() -> Self {
        Self { starts: vec![0], items: Vec::new() }
    }

    /// Adds the list of the next node.
    pub(super) fn push(&mut self, list: &[T]) {
        self.items.extend_from_slice(list);
        self.starts.push(position(self.items.len()));
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// How many items there are in all lists.
    pub(super) fn items(&self) -> usize {
        self.items.len()
    }

    fn range(&self, node: u32) -> Range<usize> {
        let from = node as usize;
        match self.starts.get(from..from.saturating_add(2)) {
            Some([from, to]) => *from as usize..*to as usize,
            _ => 0..0,
        }
    }

    /// The list of a node; a node that is not there has an empty one.
    pub(super) fn of(&self, node: u32) -> &[T] {
        self.items.get(self.range(node)).unwrap_or_default()
    }

    /// The list of a node from one of its items on.
    pub(super) fn rest(&self, node: u32, from: u32) -> &[T] {
        self.of(node).get(from as usize..).unwrap_or_default()
    }

    /// Every item, to be changed in place.
    pub(super) fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    /// Bytes of memory.
    pub(super) const fn bytes(&self) -> usize {
        let starts = self.starts.capacity().saturating_mul(size_of::<u32>());
        starts.saturating_add(self.items.capacity().saturating_mul(size_of::<T>()))
    }
}

/// A position or a number of nodes as `u32`; the graph refuses what would not fit.
pub(super) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What stands at a position. Positions come from the graph itself and are there.
pub(super) fn at<T: Copy + Default>(list: &[T], position: u32) -> T {
    list.get(position as usize).copied().unwrap_or_default()
}

/// Writes at a position.
pub(super) fn put<T>(list: &mut [T], position: u32, value: T) {
    if let Some(place) = list.get_mut(position as usize) {
        *place = value;
    }
}

/// A set of nodes, as bits. Grows as nodes are put in.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Clone for Bits {
    fn clone(&self) -> Self {
        Self { words: self.words.clone() }
    }

    // Into the memory that is there.
    fn clone_from(&mut self, other: &Self) {
        self.words.clone_from(&other.words);
    }
}

impl Bits {
    pub(super) fn has(&self, node: u32) -> bool {
        let (word, bit) = (node >> 6, node & 63);
        self.words.get(word as usize).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Puts a node in or takes it out.
    pub(super) fn set(&mut self, node: u32, present: bool) {
        let (word, bit) = ((node >> 6) as usize, node & 63);
        if present && word >= self.words.len() {
            self.words.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word = if present { *word | 1 << bit } else { *word & !(1 << bit) };
        }
    }

    /// Puts a node in; whether it was not there.
    pub(super) fn insert(&mut self, node: u32) -> bool {
        let (word, mask) = ((node >> 6) as usize, 1_u64 << (node & 63));
        let Some(word) = self.words.get_mut(word) else {
            self.set(node, true);
            return true;
        };
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    pub(super) fn count(&self) -> u32 {
        self.words.iter().fold(0, |count, word| count.saturating_add(word.count_ones()))
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    pub(super) const fn bytes(&self) -> usize {
        self.words.capacity().saturating_mul(size_of::<u64>())
    }
}
