//! One direction of all edges: what never changes, and the lists that were changed since.

use std::{collections::BTreeMap, sync::Arc};

use super::lists::{Bits, Link, Lists};

/// The neighbours of every node in one direction. A copy shares the unchanged lists.
#[derive(Debug, Clone)]
pub(super) struct Side {
    base: Arc<Lists<Link>>,
    // INVARIANT: `changed` has exactly the nodes of `lists`; each of these lists is sorted and has nothing twice.
    lists: BTreeMap<u32, Vec<Link>>,
    changed: Bits,
}

impl Side {
    pub(super) fn new(base: Lists<Link>) -> Self {
        Self { base: Arc::new(base), lists: BTreeMap::new(), changed: Bits::default() }
    }

    /// The neighbours of a node.
    pub(super) fn of(&self, node: u32) -> &[Link] {
        if self.changed.has(node) {
            return self.lists.get(&node).map(Vec::as_slice).unwrap_or_default();
        }
        self.base.of(node)
    }

    /// Adds a neighbour; whether it was not there.
    pub(super) fn add(&mut self, node: u32, link: Link) -> bool {
        let Err(at) = self.of(node).binary_search(&link) else { return false };
        self.own(node).insert(at, link);
        true
    }

    /// Takes a neighbour out; whether it was there.
    pub(super) fn remove(&mut self, node: u32, link: Link) -> bool {
        let Ok(at) = self.of(node).binary_search(&link) else { return false };
        self.own(node).remove(at);
        true
    }

    fn own(&mut self, node: u32) -> &mut Vec<Link> {
        self.changed.set(node, true);
        self.lists.entry(node).or_insert_with(|| self.base.of(node).to_vec())
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let own = self.lists.values().map(|list| list.capacity().saturating_mul(size_of::<Link>()));
        own.fold(self.base.bytes().saturating_add(self.changed.bytes()), usize::saturating_add)
    }
}
