//! Exact counts for many components at once.
//!
//! Each source is a bit. Going through the components from what is depended on to what depends, the row of a component is the union
//! of the rows of all that it needs, and its own bit: it says from which sources the component is reached. The sums of the columns
//! are the counts. A sweep takes [`SOURCES`] of them; sweeps are independent, and are shared among the workers.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    Count,
    columns::{COLUMNS, Columns, EMPTY, Row},
    components::Components,
    lists::{Lists, at, position, put},
};

/// How many blocks of [`COLUMNS`] sources a sweep takes. A row has a bit in `live` for each of them that is not empty: most sources
/// are reached from a small part of the graph.
const BLOCKS: usize = 8;
/// The sources of one sweep.
const SOURCES: usize = BLOCKS * COLUMNS;

/// Most rows of a sweep: 1 GiB for each worker.
const MAX_ROWS: usize = 1 << 21;

/// No row.
const NONE: u32 = u32::MAX;

/// What sweeps go through: the components that any source reaches, from what is depended on to what depends. Components that are
/// reached exactly when another one is are counted with it and have no row of their own.
struct Plan {
    /// The rows that each component's row is the union of.
    needs: Lists<u32>,
    /// The row that each component's own is kept in, if others need it.
    slots: Vec<u32>,
    /// Nodes that are counted with each component, and critical ones.
    weights: Vec<Count>,
    /// The sources, as positions in `weights`, ascending.
    sources: Vec<u32>,
}

/// The dependents of each source and itself, in the order of `sources`; nothing where there are too many rows. `sources` are
/// components, from the last to the first.
pub(super) fn counts(components: &Components, sources: &[u32], workers: NonZeroUsize) -> Option<Vec<Count>> {
    if sources.is_empty() {
        return Some(Vec::new());
    }
    let plan = Plan::new(components, sources);
    let rows = plan.slots.iter().filter(|slot| **slot != NONE).count();
    if rows > MAX_ROWS {
        return None;
    }
    let batches: Vec<&[u32]> = plan.sources.chunks(SOURCES).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut sweep = Sweep::new(&plan, rows);
        let mut done = Vec::new();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*batch, sweep.run(batch)));
        }
        done
    };
    let mut done: Vec<(&[u32], Vec<Count>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers.get().min(batches.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        // A worker that broke leaves its batches out, and the caller sees that there are too few.
        done.extend(others.into_iter().filter_map(|other| other.join().ok()).flatten());
        done
    });
    done.sort_unstable_by_key(|(batch, _)| batch.first().copied());
    let counts: Vec<Count> = done.into_iter().flat_map(|(_, counts)| counts).collect();
    (counts.len() == sources.len()).then_some(counts)
}

impl Plan {
    fn new(components: &Components, sources: &[u32]) -> Self {
        let mut is_source = vec![false; components.weight.len()];
        for source in sources {
            put(&mut is_source, *source, true);
        }
        let mut plan =
            Self { needs: Lists::empty(), slots: Vec::new(), weights: Vec::new(), sources: Vec::new() };
        // The position that a component is counted at.
        let mut places = vec![NONE; components.weight.len()];
        let mut needs: Vec<u32> = Vec::new();
        for component in (0..position(components.weight.len())).rev() {
            needs.clear();
            let on = components.down.of(component).iter().map(|on| at(&places, *on));
            needs.extend(on.filter(|place| *place != NONE));
            needs.sort_unstable();
            needs.dedup();
            let counted = Count {
                all: at(&components.weight, component),
                critical: at(&components.critical, component),
            };
            let place = match (at(&is_source, component), needs.as_slice()) {
                // No source reaches it.
                (false, []) => NONE,
                // Reached exactly when what it needs is.
                (false, [only]) => {
                    let together = at(&plan.weights, *only).plus(counted);
                    put(&mut plan.weights, *only, together);
                    *only
                }
                (source, _) => {
                    let place = position(plan.weights.len());
                    plan.weights.push(counted);
                    plan.needs.push(&needs);
                    if source {
                        plan.sources.push(place);
                    }
                    place
                }
            };
            put(&mut places, component, place);
        }
        plan.give_slots();
        plan
    }

    /// Gives a row to everything that others need, and names rows instead of positions in `needs`.
    fn give_slots(&mut self) {
        let mut needed = vec![false; self.weights.len()];
        for place in self.needs.items_mut() {
            put(&mut needed, *place, true);
        }
        let mut rows = 0_u32;
        self.slots = Vec::with_capacity(needed.len());
        for needed in needed {
            self.slots.push(if needed { rows } else { NONE });
            rows = rows.saturating_add(u32::from(needed));
        }
        for place in self.needs.items_mut() {
            *place = at(&self.slots, *place);
        }
    }
}

/// One worker's memory.
struct Sweep<'a> {
    plan: &'a Plan,
    rows: Vec<[Row; BLOCKS]>,
    /// Which blocks of each row mean something; the others are left over from another sweep.
    live: Vec<u8>,
    sums: Vec<Sums>,
}

/// The sums of one block.
struct Sums {
    all: Columns,
    critical: Columns,
}

impl<'a> Sweep<'a> {
    fn new(plan: &'a Plan, rows: usize) -> Self {
        let sums = (0..BLOCKS).map(|_| Sums { all: Columns::new(), critical: Columns::new() });
        Self { plan, rows: vec![[EMPTY; BLOCKS]; rows], live: vec![0; rows], sums: sums.collect() }
    }

    /// The counts of up to [`SOURCES`] sources, which are positions in ascending order.
    fn run(&mut self, sources: &[u32]) -> Vec<Count> {
        self.live.fill(0);
        for sums in &mut self.sums {
            sums.all.clear();
            sums.critical.clear();
        }
        let mut coming = (0_usize..).zip(sources.iter().copied()).peekable();
        // Before the first source nothing is reached.
        for place in at(sources, 0)..position(self.plan.weights.len()) {
            let (mut row, mut live) = ([EMPTY; BLOCKS], 0_u8);
            for slot in self.plan.needs.of(place) {
                let others = at(&self.live, *slot);
                if others == 0 {
                    continue;
                }
                let Some(other) = self.rows.get(*slot as usize) else { continue };
                live |= others;
                for (block, (words, other)) in row.iter_mut().zip(other).enumerate() {
                    if others >> block & 1 == 1 {
                        words.iter_mut().zip(other).for_each(|(word, other)| *word |= other);
                    }
                }
            }
            if let Some((bit, _)) = coming.next_if(|(_, source)| *source == place)
                && let Some(word) = row.as_flattened_mut().get_mut(bit >> 6)
            {
                *word |= 1 << (bit & 63);
                live |= 1 << (bit / COLUMNS);
            }
            if live == 0 {
                continue;
            }
            let weight = at(&self.plan.weights, place);
            for (block, (row, sums)) in row.iter().zip(&mut self.sums).enumerate() {
                if live >> block & 1 == 1 {
                    sums.all.add(row, weight.all);
                    sums.critical.add(row, weight.critical);
                }
            }
            let slot = at(&self.plan.slots, place);
            if slot != NONE {
                put(&mut self.live, slot, live);
                put(&mut self.rows, slot, row);
            }
        }
        let sums = self.sums.iter().flat_map(|sums| sums.all.sums().into_iter().zip(sums.critical.sums()));
        sums.take(sources.len()).map(|(all, critical)| Count { all, critical }).collect()
    }
}
