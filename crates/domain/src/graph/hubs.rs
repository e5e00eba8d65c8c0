//! Which nodes have so many dependents that a search for them is slow, and how many they are.

use super::{
    Count, Indexing,
    components::Components,
    lists::{Bits, Link, Lists, at, position, put},
    sweep,
};

/// Up to so many dependents, nothing is gained by knowing exactly how many there are.
const SMALL: u32 = 64;

/// What is known beforehand of the dependents of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Known {
    /// At most as many as the limit of hubs: a search is fast. There are between so many, without the node itself.
    Few {
        /// No fewer.
        at_least: u32,
        /// No more.
        at_most: u32,
    },
    /// More than that.
    #[default]
    Many,
    /// Exactly so many.
    Exactly(Count),
}

/// What is known of a component while dependents are gone through before what they depend on.
#[derive(Clone, Copy, Default)]
struct Size {
    /// No more than there are, with itself; of use unless it is a hub.
    at_least: u32,
    /// No less than there are, with itself, unless it is a hub.
    at_most: u32,
    hub: bool,
}

/// What is known of the dependents of every node.
pub(super) fn known(up: &Lists<Link>, critical: &Bits, indexing: Indexing) -> Vec<Known> {
    let components = Components::of(up, critical);
    let sizes = sizes(&components, indexing.hub);
    let count = position(sizes.len());
    let is_hub = |component: &u32| at(&sizes, *component).hub;
    // What only one component needs has the dependents of that one, and that one.
    let sources: Vec<u32> =
        (0..count).rev().filter(is_hub).filter(|component| components.up.of(*component).len() > 1).collect();
    let swept = sweep::counts(&components, &sources, indexing.workers);
    let mut counts: Vec<Option<Count>> = vec![None; sizes.len()];
    for (source, count) in sources.iter().zip(swept.into_iter().flatten()) {
        put(&mut counts, *source, Some(count));
    }
    for component in 0..count {
        let own =
            Count { all: at(&components.weight, component), critical: at(&components.critical, component) };
        let counted = match components.up.of(component) {
            [] => Some(own),
            [only] => at(&counts, *only).map(|above| above.plus(own)),
            _ => continue,
        };
        put(&mut counts, component, counted);
    }
    let of_node = |(node, component): (u32, &u32)| match at(&counts, *component) {
        Some(with_itself) => Known::Exactly(with_itself.without(u32::from(critical.has(node)))),
        None => match at(&sizes, *component) {
            Size { hub: true, .. } => Known::Many,
            Size { at_least, at_most, hub: false } => {
                Known::Few { at_least: at_least.saturating_sub(1), at_most: at_most.saturating_sub(1) }
            }
        },
    };
    (0_u32..).zip(&components.of).map(of_node).collect()
}

/// Finds out which components are hubs. What a hub depends on is a hub, so only those are searched of which neither that nor
/// what is known of their dependents tells how many need them.
fn sizes(components: &Components, limit: u32) -> Vec<Size> {
    let count = components.weight.len();
    let mut sizes: Vec<Size> = vec![Size::default(); count];
    let mut search = Bounded { seen: vec![0; count], queue: Vec::new(), limit };
    for component in 0..position(count) {
        let own = at(&components.weight, component);
        let mut size = Size { at_least: 0, at_most: own, hub: false };
        let mut direct = 0_u32;
        for dependent in components.up.of(component) {
            let above = at(&sizes, *dependent);
            size.hub |= above.hub;
            size.at_most = size.at_most.saturating_add(above.at_most);
            size.at_least = size.at_least.max(above.at_least);
            direct = direct.saturating_add(at(&components.weight, *dependent));
        }
        size.at_least = own.saturating_add(size.at_least.max(direct));
        // A component itself is no dependent of its own.
        let settled = size.at_least == size.at_most || size.at_most <= SMALL.min(limit);
        if !size.hub && !settled {
            size.at_most = search.size(components, component);
            size.at_least = size.at_most;
            size.hub = size.at_most > limit;
        }
        put(&mut sizes, component, size);
    }
    sizes
}

/// A search among components that ends soon.
struct Bounded {
    /// The component, plus one, that each one was last reached from.
    seen: Vec<u32>,
    queue: Vec<u32>,
    limit: u32,
}

impl Bounded {
    /// How many nodes need the component, with its own; more than the limit if that is passed.
    fn size(&mut self, components: &Components, from: u32) -> u32 {
        let round = from.saturating_add(1);
        let mut size = at(&components.weight, from);
        self.queue.clear();
        self.queue.push(from);
        put(&mut self.seen, from, round);
        while let Some(component) = self.queue.pop() {
            for dependent in components.up.of(component) {
                if at(&self.seen, *dependent) == round {
                    continue;
                }
                put(&mut self.seen, *dependent, round);
                size = size.saturating_add(at(&components.weight, *dependent));
                if size > self.limit {
                    return size;
                }
                self.queue.push(*dependent);
            }
        }
        size
    }
}
