//! A company of services, always the same one for a seed.

use holdpoint_domain::graph::{Edge, EdgeKind};

/// How many layers there are: services of one need those of lower ones.
const LAYERS: u64 = 40;
/// How many of a hundred dependencies are on the next layer below; the others are on any lower one.
const NEAR_PERCENT: u64 = 60;
/// How unevenly services are needed: the share of dependencies that the most popular ones of a layer have grows with it.
const SKEW: f64 = 8.0;

/// A sequence of numbers that look random (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }
}

/// Who needs whom: layers, in each of which a few services are needed by many. Numbers say nothing about layer or popularity.
pub(crate) fn company(services: u32, edges: usize, random: &mut Random) -> Vec<Edge> {
    let mut numbers: Vec<u32> = (0..services).collect();
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, random.below(at as u64 + 1) as usize);
    }
    let size = u64::from(services) / LAYERS;
    let one = |_| {
        let layer = 1 + random.below(LAYERS - 1);
        let dependent = layer * size + random.below(size);
        let below = if random.below(100) < NEAR_PERCENT { layer - 1 } else { random.below(layer) };
        let popular = (random.unit().powf(SKEW) * size as f64) as u64;
        let on = below * size + popular.min(size - 1);
        let kind = EdgeKind::ALL[random.below(4) as usize];
        Edge { dependent: numbers[dependent as usize], on: numbers[on as usize], kind }
    };
    (0..edges).map(one).collect()
}
