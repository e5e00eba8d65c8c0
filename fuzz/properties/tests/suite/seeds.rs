//! Inputs from a seed: a little of what the fuzzer does, where there is none.

use holdpoint_properties::{TARGETS, check};

/// Enough to see a property that fails often, and few enough for every run.
const INPUTS: u64 = 20;

/// The generator of Steele, Lea and Flood (SplitMix64): the seed is printed, and makes the same bytes everywhere.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let len = next() % 300;
    (0..len).map(|_| next().to_le_bytes()[0]).collect()
}

#[test]
fn every_property_holds_for_bytes_from_a_seed() {
    for target in TARGETS {
        for seed in 0..INPUTS {
            println!("{} with seed {seed}", target.name);
            check(target.name, &bytes(seed));
        }
    }
}

#[test]
fn every_property_holds_for_nothing_and_for_a_little() {
    for target in TARGETS {
        check(target.name, &[]);
        for byte in (0..=u8::MAX).step_by(17) {
            println!("{} with byte {byte}", target.name);
            check(target.name, &[byte]);
        }
    }
}
