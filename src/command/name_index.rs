//! Finds the index of a command by its name, in a few nanoseconds and without allocating.
//!
//! Every request needs a lookup, and most commands have no row in the command table, so a miss must
//! be as cheap as a hit. The name is converted to lower case in one 128-bit word, which is the key
//! of an open-addressing table that is built at compile time.

/// The longest name in an index: the sixteenth byte of the key holds the length, so that `ping`
/// and `ping\0` differ.
pub(super) const NAME_BYTES_MAX: usize = 15;

/// A slot without a row.
const EMPTY: u16 = u16::MAX;

/// `ROWS` names in `SLOTS` slots, a power of two.
pub(super) struct NameIndex<const ROWS: usize, const SLOTS: usize> {
    keys: [u128; ROWS],
    slots: [u16; SLOTS],
}

impl<const ROWS: usize, const SLOTS: usize> NameIndex<ROWS, SLOTS> {
    /// The index of these keys; `0` is no key.
    pub(super) const fn of(keys: [u128; ROWS]) -> Self {
        // Then most misses end at the first slot.
        assert!(ROWS * 3 <= SLOTS, "the index is too small for the table");
        let mut slots = [EMPTY; SLOTS];
        let mut row = 0;
        while row < ROWS {
            let mut slot = Self::hash(keys[row]);
            while keys[row] != 0 && slots[slot] != EMPTY {
                assert!(
                    keys[slots[slot] as usize] != keys[row],
                    "a name occurs twice"
                );
                slot = (slot + 1) % SLOTS;
            }
            if keys[row] != 0 {
                slots[slot] = row as u16;
            }
            row += 1;
        }
        Self { keys, slots }
    }

    /// The row of the command `name`, in any case.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let key = key(name)?;
        let mut slot = Self::hash(key);
        // Ends: the index has empty slots.
        loop {
            let row = usize::from(self.slots[slot % SLOTS]);
            match self.keys.get(row) {
                Some(found) if *found == key => return Some(row),
                Some(_) => slot += 1,
                None => return None,
            }
        }
    }

    /// The slot at which the search for a key begins.
    const fn hash(key: u128) -> usize {
        (mix(key) >> (u64::BITS - SLOTS.ilog2())) as usize
    }
}

/// The name in lower case and its length, in one word. `None` when the name is empty or too long to
/// have a row.
///
/// The first and the last bytes of the name are read as two words that may overlap, which is
/// cheaper than copying a variable number of bytes.
#[inline]
pub(super) const fn key(name: &[u8]) -> Option<u128> {
    let len = name.len();
    let word = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) if len <= NAME_BYTES_MAX => {
            u64::from_le_bytes(*first) as u128
                | (u64::from_le_bytes(*last) as u128) << (8 * (len - 8))
        }
        (Some(_), _) | (_, Some(_)) => return None,
        (None, None) => short_word(name),
    };
    if len == 0 {
        None
    } else {
        Some(lower_case(word) | (len as u128) << 120)
    }
}

/// The bytes of a name that has less than eight bytes.
#[inline]
const fn short_word(name: &[u8]) -> u128 {
    let len = name.len();
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let first = u32::from_le_bytes(*first) as u64;
        let last = u32::from_le_bytes(*last) as u64;
        return (first | last << (8 * (len - 4))) as u128;
    }
    match *name {
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]) as u128,
        [a, b] => u16::from_le_bytes([a, b]) as u128,
        [a] => a as u128,
        _ => 0,
    }
}

/// Converts `A` to `Z` into `a` to `z` in all sixteen bytes at once.
///
/// The top bit of each byte is cleared first. After an addition it tells whether the byte is at
/// least `A`, or above `Z`; no sum carries into the next byte. Bytes that are not ASCII are kept.
const fn lower_case(word: u128) -> u128 {
    const ONES: u128 = u128::MAX / 255;
    const TOP: u128 = ONES * 0x80;
    let low = word & !TOP;
    let from_a = low + ONES * (0x80 - b'A' as u128);
    let above_z = low + ONES * (0x80 - b'Z' as u128 - 1);
    let upper = from_a & !above_z & !word & TOP;
    // 0x80 >> 2 is 0x20, the bit in which the cases differ.
    word | upper >> 2
}

/// A hash of the key. The multiplication carries upwards, so the top byte depends on all others.
pub(super) const fn mix(key: u128) -> u64 {
    // 2^64 divided by the golden ratio: the usual odd multiplier of Fibonacci hashing.
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(29);
    folded.wrapping_mul(MULTIPLIER)
}
