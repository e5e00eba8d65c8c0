//! The plain search, and the memory that it is done in.

use super::{lists::Bits, side::Side};

/// Memory that searches use again and again: one for each thread that asks. It grows to four bytes a node.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The round in which a node was seen last.
    seen: Vec<u32>,
    round: u32,
    /// What the last search reached, in its order; the starting nodes first.
    pub(super) queue: Vec<u32>,
    /// How many of these are starting nodes.
    starts: usize,
    /// Sets for [`below`]: bits stay in the cache where rounds do not, and a change has to be fast.
    pub(super) reached: Bits,
    pub(super) except: Bits,
}

impl Scratch {
    /// Empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins another round: what was seen before is seen no more.
    pub(super) fn begin(&mut self, nodes: u32) {
        self.seen.resize(self.seen.len().max(nodes as usize), 0);
        if self.round > u32::MAX >> 1 {
            self.seen.fill(0);
            self.round = 0;
        }
        self.round = self.round.saturating_add(1);
        self.queue.clear();
    }

    /// Marks a node; whether it was not marked in this round.
    pub(super) fn mark(&mut self, node: u32) -> bool {
        let round = self.round;
        match self.seen.get_mut(node as usize) {
            Some(seen) if *seen != round => {
                *seen = round;
                true
            }
            _ => false,
        }
    }

    /// What the last search reached, without its starting nodes.
    pub(super) fn reached(&self) -> &[u32] {
        self.queue.get(self.starts..).unwrap_or_default()
    }
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything was reached that can be.
    Whole,
    /// It stopped at its bound.
    Bound,
}

/// Reaches what can be reached from `starts`, until more than `at_most` others are. `Scratch::queue` has them all.
pub(super) fn reach(side: &Side, starts: &[u32], at_most: usize, nodes: u32, scratch: &mut Scratch) -> End {
    scratch.begin(nodes);
    for start in starts {
        if scratch.mark(*start) {
            scratch.queue.push(*start);
        }
    }
    scratch.starts = scratch.queue.len();
    let at_most = scratch.starts.saturating_add(at_most);
    let mut next = 0_usize;
    while let Some(node) = scratch.queue.get(next).copied() {
        next = next.saturating_add(1);
        for link in side.of(node) {
            let node = link.node();
            if scratch.mark(node) {
                scratch.queue.push(node);
                if scratch.queue.len() > at_most {
                    return End::Bound;
                }
            }
        }
    }
    End::Whole
}

/// Reaches `start` and what can be reached from it, except for what is in `except`, and what lies only behind that. Stops after
/// having followed `at_most` edges, and some. `queue` has what was reached, `reached` that and what is in `except`.
pub(super) fn below(
    side: &Side,
    start: u32,
    at_most: usize,
    except: &Bits,
    reached: &mut Bits,
    queue: &mut Vec<u32>,
) -> End {
    queue.clear();
    reached.clone_from(except);
    if reached.insert(start) {
        queue.push(start);
    }
    let (mut next, mut followed) = (0_usize, 0_usize);
    while let Some(node) = queue.get(next).copied() {
        next = next.saturating_add(1);
        let links = side.of(node);
        followed = followed.saturating_add(links.len());
        if followed > at_most {
            return End::Bound;
        }
        for link in links {
            let node = link.node();
            if reached.insert(node) {
                queue.push(node);
            }
        }
    }
    End::Whole
}
