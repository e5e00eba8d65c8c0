//! Cycles: nodes that reach each other have the same dependents, and are one component.

use super::lists::{Bits, Link, Lists, at, position, put};

/// The strongly connected components of a graph, and the edges between them.
pub(super) struct Components {
    /// The component of each node. Dependents have smaller numbers than what they depend on.
    pub(super) of: Vec<u32>,
    /// How many nodes each component has.
    pub(super) weight: Vec<u32>,
    /// How many of them are critical.
    pub(super) critical: Vec<u32>,
    /// The components that need one.
    pub(super) up: Lists<u32>,
    /// The components that one needs.
    pub(super) down: Lists<u32>,
}

impl Components {
    pub(super) fn of(up: &Lists<Link>, critical: &Bits) -> Self {
        let of = components(up);
        let count = of.iter().max().map_or(0, |last| last.saturating_add(1)) as usize;
        let (mut weights, mut criticals) = (vec![0_u32; count], vec![0_u32; count]);
        for (node, component) in (0_u32..).zip(&of) {
            let at = *component as usize;
            if let (Some(weight), Some(criticals)) = (weights.get_mut(at), criticals.get_mut(at)) {
                *weight = weight.saturating_add(1);
                *criticals = criticals.saturating_add(u32::from(critical.has(node)));
            }
        }
        let pairs = || {
            (0_u32..).zip(&of).flat_map(|(node, on)| {
                let dependents = up.of(node).iter().map(|link| at(&of, link.node()));
                dependents.filter(|dependent| *dependent != *on).map(|dependent| (*on, dependent))
            })
        };
        let lists = Lists::of_pairs(count, pairs);
        let down = Lists::of_pairs(count, || pairs().map(|(on, dependent)| (dependent, on)));
        Self { weight: weights, critical: criticals, up: lists, down, of }
    }
}

/// Not visited yet.
const NEW: u32 = u32::MAX;

/// Tarjan's algorithm with a stack of its own: a chain of a million services must not use up the thread's. A component is numbered
/// after everything that can be reached from it.
fn components(up: &Lists<Link>) -> Vec<u32> {
    let nodes = up.nodes();
    let mut component = vec![NEW; nodes];
    // When a node was visited first, and the earliest one on the stack that it reaches.
    let (mut order, mut low) = (vec![NEW; nodes], vec![0_u32; nodes]);
    let (mut visited, mut made) = (0_u32, 0_u32);
    let mut stack: Vec<u32> = Vec::new();
    // A node, and which of its links comes next.
    let mut path: Vec<(u32, u32)> = Vec::new();
    for root in 0..position(nodes) {
        if at(&order, root) != NEW {
            continue;
        }
        path.push((root, 0));
        while let Some((node, mut next)) = path.pop() {
            if at(&order, node) == NEW {
                put(&mut order, node, visited);
                put(&mut low, node, visited);
                visited = visited.saturating_add(1);
                stack.push(node);
            }
            let mut deeper = None;
            for link in up.rest(node, next) {
                let other = link.node();
                if at(&order, other) == NEW {
                    deeper = Some(other);
                    break;
                }
                if at(&component, other) == NEW {
                    let lowest = at(&low, node).min(at(&low, other));
                    put(&mut low, node, lowest);
                }
                next = next.saturating_add(1);
            }
            if let Some(other) = deeper {
                // It comes back to the same link, and takes over what was found behind it.
                path.push((node, next));
                path.push((other, 0));
                continue;
            }
            if at(&low, node) == at(&order, node) {
                while let Some(member) = stack.pop() {
                    put(&mut component, member, made);
                    if member == node {
                        break;
                    }
                }
                made = made.saturating_add(1);
            }
        }
    }
    component
}
