//! The keys that a client watches, for CLIENT INFO and CLIENT LIST.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Distinct keys counted per client; above this, a key that is watched twice counts twice.
const KEYS_MAX: usize = 1 << 16;

/// Watched keys, by a hash of database and name: a key that is watched twice counts once.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    keys: BTreeSet<u64>,
    /// Keys above [`KEYS_MAX`].
    more: u32,
}

impl Watches {
    /// The hashes of keys of a database.
    pub(crate) fn hashes<'a>(database: u32, keys: impl Iterator<Item = &'a [u8]>) -> Box<[u64]> {
        let hashes = keys.map(|key| {
            let mut hasher = DefaultHasher::new();
            (database, key).hash(&mut hasher);
            hasher.finish()
        });
        hashes.collect()
    }

    pub(crate) fn add(&mut self, hashes: &[u64]) {
        for hash in hashes {
            if self.keys.len() < KEYS_MAX {
                self.keys.insert(*hash);
            } else if !self.keys.contains(hash) {
                self.more = self.more.saturating_add(1);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.keys.len())
            .unwrap_or(u32::MAX)
            .saturating_add(self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_in_each_database() {
        let mut watches = Watches::default();
        let keys = [&b"x"[..], b"x", b"y"];
        watches.add(&Watches::hashes(0, keys.into_iter()));
        watches.add(&Watches::hashes(0, keys.into_iter()));
        watches.add(&Watches::hashes(1, keys.into_iter().take(1)));
        assert_eq!(watches.count(), 3);
        watches.clear();
        assert_eq!(watches.count(), 0);
    }
}
