//! How often each bit is set in many rows: sums of all columns at once, in carry-save form.

/// Words of a row: one line of the cache.
const WORDS: usize = 8;
/// Columns, which are bits of a row.
pub(super) const COLUMNS: usize = WORDS * 64;
/// A bit for each column.
pub(super) type Row = [u64; WORDS];
/// The row that adds nothing.
pub(super) const EMPTY: Row = [0; WORDS];

/// No sum of a column exceeds the number of nodes, which fits into so many binary digits.
const DIGITS: usize = 32;

/// The sums of all columns. A digit has up to two rows that are still to be added up: a third one makes a carry of the three.
pub(super) struct Columns {
    digits: Vec<Digit>,
}

#[derive(Clone)]
struct Digit {
    rows: [Row; 2],
    used: u8,
}

impl Columns {
    pub(super) fn new() -> Self {
        Self { digits: vec![Digit { rows: [EMPTY; 2], used: 0 }; DIGITS] }
    }

    /// Makes all sums zero.
    pub(super) fn clear(&mut self) {
        for digit in &mut self.digits {
            digit.used = 0;
        }
    }

    /// Adds a row as many times as `weight` says.
    pub(super) fn add(&mut self, row: &Row, weight: u32) {
        let mut weight = weight;
        while weight != 0 {
            self.add_at(weight.trailing_zeros() as usize, row);
            weight &= weight.wrapping_sub(1);
        }
    }

    fn add_at(&mut self, digit: usize, row: &Row) {
        let mut carried: Row = EMPTY;
        let mut carrying = false;
        for digit in self.digits.iter_mut().skip(digit) {
            let row = if carrying { &carried } else { row };
            let [first, second] = &mut digit.rows;
            match digit.used {
                0 => *first = *row,
                1 => *second = *row,
                _ => {
                    let mut carry: Row = EMPTY;
                    for (((first, second), third), carry) in
                        first.iter_mut().zip(second.iter()).zip(row).zip(&mut carry)
                    {
                        let both = *first ^ second;
                        *carry = *first & second | both & third;
                        *first = both ^ third;
                    }
                    digit.used = 1;
                    carried = carry;
                    carrying = true;
                    continue;
                }
            }
            digit.used = digit.used.saturating_add(1);
            return;
        }
    }

    /// The sum of each column.
    pub(super) fn sums(&self) -> Vec<u32> {
        let mut sums = vec![0_u32; COLUMNS];
        for (place, digit) in self.digits.iter().enumerate() {
            for row in digit.rows.iter().take(usize::from(digit.used)) {
                let bits = row.iter().flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1));
                for (sum, bit) in sums.iter_mut().zip(bits) {
                    *sum = sum.saturating_add(u32::from(bit) << place);
                }
            }
        }
        sums
    }
}
