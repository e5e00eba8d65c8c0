//! SHA-256 of eight messages at a time, one in each lane of a vector register.
//!
//! A log is hashed whole when it is verified and when a gate starts: millions of messages that do not depend on each other. A
//! processor without instructions for SHA-256 but with AVX2 takes eight of them in little more than the time of one. Everywhere
//! else [`usual`] is as fast or faster, and used. The function is that of FIPS 180-4, section 6.2; the tests hold it to [`sha2`].

use fearless_simd::{Level, dispatch};
use sha2::{Digest as _, Sha256};

/// Lanes of a vector of 256 bits.
const LANES: usize = 8;
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// What padding takes at least: a bit, and the length in 64 bits.
const LEAST_PADDING: usize = 9;
/// With fewer messages than this, one after the other is faster.
const WORTH_IT: usize = 3;

/// A message: one byte, and bytes after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) prefix: u8,
    pub(crate) rest: &'a [u8],
}

/// The SHA-256 of each message, in order.
pub(crate) fn sha256(messages: &[Message<'_>]) -> Vec<[u8; 32]> {
    match gaining().filter(|_| messages.len() >= WORTH_IT) {
        Some(level) => in_lanes(level, messages),
        None => messages.iter().map(usual).collect(),
    }
}

fn usual(message: &Message<'_>) -> [u8; 32] {
    Sha256::new().chain_update([message.prefix]).chain_update(message.rest).finalize().into()
}

/// The vectors to use, if this processor is one that gains by them.
fn gaining() -> Option<Level> {
    #[cfg(target_arch = "x86_64")]
    if !std::is_x86_feature_detected!("sha") {
        let level = Level::new();
        return level.as_avx2().map(|_| level);
    }
    None
}

/// Up to eight messages; lanes without one are empty.
type Eight<'a> = [Option<Message<'a>>; LANES];

/// Takes the messages by eights, those of one length together: a lane that has ended waits for the longest.
fn in_lanes(level: Level, messages: &[Message<'_>]) -> Vec<[u8; 32]> {
    let mut by_length: Vec<(usize, &Message<'_>)> = messages.iter().enumerate().collect();
    if messages.iter().any(|message| blocks(message) != messages.first().map_or(0, blocks)) {
        by_length.sort_by_key(|(_, message)| blocks(message));
    }
    let mut digests = vec![[0; 32]; messages.len()];
    for chunk in by_length.chunks(LANES) {
        let mut together: Eight<'_> = [None; LANES];
        for (lane, (_, message)) in together.iter_mut().zip(chunk) {
            *lane = Some(**message);
        }
        let eight = dispatch!(level, simd => vectors::sha256(simd, &together));
        for ((place, _), digest) in chunk.iter().zip(eight) {
            if let Some(slot) = digests.get_mut(*place) {
                *slot = digest;
            }
        }
    }
    digests
}

/// How many blocks a message has with its padding.
fn blocks(message: &Message<'_>) -> usize {
    message.rest.len().saturating_add(1).saturating_add(LEAST_PADDING).div_ceil(BLOCK)
}

/// A block of a message, by its number: of its bytes, or with the first one or the padding in it.
#[inline(always)]
fn block<'a>(message: &Message<'a>, number: usize, edge: &'a mut [u8; BLOCK]) -> &'a [u8; BLOCK] {
    let from = number.saturating_mul(BLOCK);
    let whole = from.checked_sub(1).and_then(|start| message.rest.get(start..)?.first_chunk());
    match whole {
        Some(whole) => whole,
        None => {
            *edge = edge_block(message, from);
            edge
        }
    }
}

/// The block whose first byte is the message's byte `from`.
fn edge_block(message: &Message<'_>, from: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let length = message.rest.len().saturating_add(1);
    for (at, byte) in (from..).zip(&mut block) {
        *byte = match at {
            0 => message.prefix,
            at if at < length => message.rest.get(at.saturating_sub(1)).copied().unwrap_or(0),
            at if at == length => 0x80,
            _ => 0,
        };
    }
    if from.saturating_add(BLOCK) >= length.saturating_add(LEAST_PADDING) {
        let bits = u64::try_from(length).unwrap_or(u64::MAX).saturating_mul(8);
        if let Some(end) = block.last_chunk_mut() {
            *end = bits.to_be_bytes();
        }
    }
    block
}

/// The function itself, on vectors of any kind.
mod vectors {
    #![allow(
        clippy::inline_always,
        reason = "a function that is not inlined is compiled without the vector instructions"
    )]
    #![allow(
        clippy::arithmetic_side_effects,
        reason = "sums of vectors are modulo 2^32, as the standard wants them"
    )]
    #![allow(clippy::many_single_char_names, reason = "the names of the standard")]

    use fearless_simd::{Simd, prelude::*, u32x8};

    use super::{BLOCK, Eight, LANES, Message, block, blocks};

    /// FIPS 180-4, section 5.3.3.
    const START: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    /// FIPS 180-4, section 4.2.2, sixteen in a row.
    const K: [[u32; 16]; 4] = [
        [
            0x428a_2f98,
            0x7137_4491,
            0xb5c0_fbcf,
            0xe9b5_dba5,
            0x3956_c25b,
            0x59f1_11f1,
            0x923f_82a4,
            0xab1c_5ed5,
            0xd807_aa98,
            0x1283_5b01,
            0x2431_85be,
            0x550c_7dc3,
            0x72be_5d74,
            0x80de_b1fe,
            0x9bdc_06a7,
            0xc19b_f174,
        ],
        [
            0xe49b_69c1,
            0xefbe_4786,
            0x0fc1_9dc6,
            0x240c_a1cc,
            0x2de9_2c6f,
            0x4a74_84aa,
            0x5cb0_a9dc,
            0x76f9_88da,
            0x983e_5152,
            0xa831_c66d,
            0xb003_27c8,
            0xbf59_7fc7,
            0xc6e0_0bf3,
            0xd5a7_9147,
            0x06ca_6351,
            0x1429_2967,
        ],
        [
            0x27b7_0a85,
            0x2e1b_2138,
            0x4d2c_6dfc,
            0x5338_0d13,
            0x650a_7354,
            0x766a_0abb,
            0x81c2_c92e,
            0x9272_2c85,
            0xa2bf_e8a1,
            0xa81a_664b,
            0xc24b_8b70,
            0xc76c_51a3,
            0xd192_e819,
            0xd699_0624,
            0xf40e_3585,
            0x106a_a070,
        ],
        [
            0x19a4_c116,
            0x1e37_6c08,
            0x2748_774c,
            0x34b0_bcb5,
            0x391c_0cb3,
            0x4ed8_aa4a,
            0x5b9c_ca4f,
            0x682e_6ff3,
            0x748f_82ee,
            0x78a5_636f,
            0x84c8_7814,
            0x8cc7_0208,
            0x90be_fffa,
            0xa450_6ceb,
            0xbef9_a3f7,
            0xc671_78f2,
        ],
    ];

    /// The digests of eight messages; of an empty lane, something.
    #[inline(always)]
    pub(super) fn sha256<S: Simd>(simd: S, messages: &Eight<'_>) -> [[u8; 32]; LANES] {
        let empty = Message { prefix: 0, rest: &[] };
        let mut ends = [0; LANES];
        for (end, message) in ends.iter_mut().zip(messages) {
            *end = message.as_ref().map_or(0, blocks);
        }
        let longest = ends.into_iter().max().unwrap_or(0);
        let mut state = [u32x8::splat(simd, 0); 8];
        for (word, start) in state.iter_mut().zip(START) {
            *word = u32x8::splat(simd, start);
        }
        let mut digests = [[0; 32]; LANES];
        for number in 0..longest {
            let mut edges = [[0; BLOCK]; LANES];
            let mut words = [[0; LANES]; 16];
            for (lane, (message, edge)) in messages.iter().zip(&mut edges).enumerate() {
                let bytes = block(message.as_ref().unwrap_or(&empty), number, edge);
                for (row, word) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    if let Some(place) = row.get_mut(lane) {
                        *place = u32::from_be_bytes(*word);
                    }
                }
            }
            let mut schedule = [u32x8::splat(simd, 0); 16];
            for (word, row) in schedule.iter_mut().zip(&words) {
                *word = u32x8::from_slice(simd, row);
            }
            compress(simd, &mut state, schedule);
            if ends.iter().any(|end| *end == number.saturating_add(1)) {
                keep(&state, &ends, number, &mut digests);
            }
        }
        digests
    }

    /// Writes down the digests of the messages that end with this block.
    #[inline(always)]
    fn keep<S: Simd>(
        state: &[u32x8<S>; 8],
        ends: &[usize; LANES],
        number: usize,
        digests: &mut [[u8; 32]; LANES],
    ) {
        for (at, word) in state.iter().enumerate() {
            let mut lanes = [0; LANES];
            word.store_slice(&mut lanes);
            for ((digest, lane), end) in digests.iter_mut().zip(lanes).zip(ends) {
                if *end == number.saturating_add(1)
                    && let Some(place) = digest.as_chunks_mut::<4>().0.get_mut(at)
                {
                    *place = lane.to_be_bytes();
                }
            }
        }
    }

    /// FIPS 180-4, section 6.2.2.
    #[inline(always)]
    fn compress<S: Simd>(simd: S, state: &mut [u32x8<S>; 8], mut words: [u32x8<S>; 16]) {
        let mut working = *state;
        for (turn, constants) in K.iter().enumerate() {
            if turn > 0 {
                words = next_words(words);
            }
            for (word, constant) in words.iter().zip(constants) {
                working = round(simd, working, *word, *constant);
            }
        }
        for (sum, word) in state.iter_mut().zip(working) {
            *sum += word;
        }
    }

    /// The next sixteen words of the message schedule.
    #[inline(always)]
    fn next_words<S: Simd>(before: [u32x8<S>; 16]) -> [u32x8<S>; 16] {
        let mut words = before;
        macro_rules! next {
            ($($at:literal $second:literal $tenth:literal $fifteenth:literal)*) => {$(
                words[$at] = words[$at] + small_0(words[$second]) + words[$tenth] + small_1(words[$fifteenth]);
            )*};
        }
        next!(0 1 9 14  1 2 10 15  2 3 11 0  3 4 12 1  4 5 13 2  5 6 14 3  6 7 15 4  7 8 0 5);
        next!(8 9 1 6  9 10 2 7  10 11 3 8  11 12 4 9  12 13 5 10  13 14 6 11  14 15 7 12  15 0 8 13);
        words
    }

    #[inline(always)]
    fn round<S: Simd>(simd: S, working: [u32x8<S>; 8], word: u32x8<S>, constant: u32) -> [u32x8<S>; 8] {
        let [a, b, c, d, e, f, g, h] = working;
        let large_1 = right(e, 6) ^ right(e, 11) ^ right(e, 25);
        let choice = g ^ (e & (f ^ g));
        let first = h + large_1 + choice + word + u32x8::splat(simd, constant);
        let large_0 = right(a, 2) ^ right(a, 13) ^ right(a, 22);
        let majority = (a & b) | (c & (a | b));
        [first + large_0 + majority, a, b, c, d + first, e, f, g]
    }

    #[inline(always)]
    fn small_0<S: Simd>(word: u32x8<S>) -> u32x8<S> {
        right(word, 7) ^ right(word, 18) ^ (word >> 3)
    }

    #[inline(always)]
    fn small_1<S: Simd>(word: u32x8<S>) -> u32x8<S> {
        right(word, 17) ^ right(word, 19) ^ (word >> 10)
    }

    /// Rotates to the right.
    #[inline(always)]
    fn right<S: Simd>(word: u32x8<S>, by: u32) -> u32x8<S> {
        (word >> by) | (word << (32 - by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_as_usual(messages: &[Message<'_>], digests: &[[u8; 32]]) {
        let expected: Vec<_> = messages.iter().map(usual).collect();
        assert_eq!(digests, expected);
    }

    /// The function with whatever vectors there are, also where it is not the faster one.
    fn vectored(messages: &[Message<'_>]) -> Vec<[u8; 32]> {
        in_lanes(Level::new(), messages)
    }

    #[test]
    fn eight_at_once_have_the_digests_that_each_has_alone() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        // Every place where padding may begin, around one, two and three blocks.
        let of =
            |length: usize| Message { prefix: u8::try_from(length % 3).unwrap(), rest: &bytes[..length] };
        for count in [0, 1, 2, 3, 7, 8, 9, 16, 200] {
            let messages: Vec<_> = (0..count).map(of).collect();
            is_as_usual(&messages, &vectored(&messages));
            is_as_usual(&messages, &sha256(&messages));
        }
        let same = vec![of(513); 20];
        is_as_usual(&same, &vectored(&same));
        let mixed: Vec<_> = [1_000, 0, 63, 64, 65, 3, 999, 55, 54, 56, 119, 120, 1].map(of).to_vec();
        is_as_usual(&mixed, &vectored(&mixed));
    }

    #[test]
    fn a_published_vector_comes_out() {
        // FIPS 180-4's example of two blocks, first byte apart.
        let rest = b"bcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let digest = vectored(&[Message { prefix: b'a', rest }]);
        let hex: String = digest[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
}
