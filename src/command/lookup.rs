//! Finds the row of a command in the command table.

use super::name_index::{NameIndex, key};
use super::table::{ROWS, Row};

static INDEX: NameIndex<{ ROWS.len() }, 256> = NameIndex::of(keys());

/// The row of the command `name`, in any case.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<&'static Row> {
    ROWS.get(INDEX.find(name)?)
}

const fn keys() -> [u128; ROWS.len()] {
    let mut keys = [0; ROWS.len()];
    let mut row = 0;
    while row < ROWS.len() {
        let key = key(ROWS[row].name.as_bytes());
        assert!(key.is_some(), "a name in the table is too long");
        if let Some(key) = key {
            keys[row] = key;
        }
        row += 1;
    }
    keys
}
