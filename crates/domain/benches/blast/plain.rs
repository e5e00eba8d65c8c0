//! The plain search over compressed lists that everything is compared with.

use holdpoint_domain::graph::{Count, Edge};

/// Lists of dependents, and the memory of a search.
pub(crate) struct Plain {
    starts: Vec<u32>,
    dependents: Vec<u32>,
    /// Instead of what is in the lists.
    changed: Option<(u32, Vec<u32>)>,
    critical: Vec<bool>,
    seen: Vec<u32>,
    round: u32,
    queue: Vec<u32>,
}

impl Plain {
    pub(crate) fn new(services: u32, edges: &[Edge], critical: &[u32]) -> Self {
        let mut pairs: Vec<(u32, u32)> = edges.iter().map(|edge| (edge.on, edge.dependent)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0; services as usize + 1];
        for (on, _) in &pairs {
            starts[*on as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut is_critical = vec![false; services as usize];
        critical.iter().for_each(|service| is_critical[*service as usize] = true);
        Self {
            starts,
            dependents: pairs.into_iter().map(|(_, dependent)| dependent).collect(),
            changed: None,
            critical: is_critical,
            seen: vec![0; services as usize],
            round: 0,
            queue: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, service: u32) -> Count {
        self.search(service, usize::MAX);
        let critical = self.queue[1..].iter().filter(|one| self.critical[**one as usize]).count();
        Count { all: self.queue.len() as u32 - 1, critical: critical as u32 }
    }

    pub(crate) fn more_than(&mut self, service: u32, bound: u32) -> bool {
        self.search(service, bound as usize);
        self.queue.len() > bound as usize + 1
    }

    fn search(&mut self, service: u32, at_most: usize) {
        self.round += 1;
        self.queue.clear();
        self.queue.push(service);
        self.seen[service as usize] = self.round;
        let mut next = 0;
        while next < self.queue.len() {
            let service = self.queue[next];
            next += 1;
            let list = match &self.changed {
                Some((changed, list)) if *changed == service => list.as_slice(),
                _ => {
                    let (from, to) = (self.starts[service as usize], self.starts[service as usize + 1]);
                    &self.dependents[from as usize..to as usize]
                }
            };
            for dependent in list {
                let seen = &mut self.seen[*dependent as usize];
                if *seen != self.round {
                    *seen = self.round;
                    self.queue.push(*dependent);
                    if self.queue.len() > at_most.saturating_add(1) {
                        return;
                    }
                }
            }
        }
    }

    /// Adds an edge or takes it out, until [`Self::restore`].
    pub(crate) fn change(&mut self, edge: Edge, add: bool, others: bool) {
        let (from, to) = (self.starts[edge.on as usize], self.starts[edge.on as usize + 1]);
        let mut list = self.dependents[from as usize..to as usize].to_vec();
        if add {
            list.push(edge.dependent);
        } else if !others {
            list.retain(|dependent| *dependent != edge.dependent);
        }
        self.changed = Some((edge.on, list));
    }

    pub(crate) fn restore(&mut self) {
        self.changed = None;
    }
}
