//! A table of which one version is kept while the next is made: both share what is the same in
//! them, so that a change costs as much in a large table as in a small one.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::fnv1a;

/// Of a table of 3,000 entries, a change copies a dozen.
const SHARDS: usize = 256;

/// See the module. A clone is a version that later changes leave as it is.
#[derive(Debug, Clone)]
pub(super) struct Shards<K, V>(Vec<Arc<BTreeMap<K, V>>>);

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self(vec![Arc::default(); SHARDS])
    }
}

impl<K: Borrow<str> + Ord + Clone, V: Clone> Shards<K, V> {
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.0.get(index(key))?.get(key)
    }

    /// The value, to be changed in this version.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.get(key)?;
        Arc::make_mut(self.0.get_mut(index(key))?).get_mut(key)
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if let Some(shard) = self.0.get_mut(index(key.borrow())) {
            Arc::make_mut(shard).insert(key, value);
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        self.get(key)?;
        Arc::make_mut(self.0.get_mut(index(key))?).remove(key)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }

    /// All entries, in an order that depends on their keys alone.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    /// The parts that this version does not share with an older one: as they were, and as they are.
    pub(super) fn differing<'a>(
        &'a self,
        old: &'a Self,
    ) -> impl Iterator<Item = (&'a BTreeMap<K, V>, &'a BTreeMap<K, V>)> {
        let both = old.0.iter().zip(&self.0);
        let differ = both.filter(|(old, new)| !Arc::ptr_eq(old, new));
        differ.map(|(old, new)| (&**old, &**new))
    }
}

fn index(key: &str) -> usize {
    fnv1a(key.as_bytes()) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stays_as_it_is_and_shares_what_is_the_same() {
        let mut table = Shards::default();
        for n in 0..3_000 {
            table.insert(format!("t{n}"), n);
        }
        let old = table.clone();
        assert_eq!(table.differing(&old).count(), 0);
        *table.get_mut("t7").unwrap() = 70;
        assert_eq!(table.remove("t8"), Some(8));
        table.insert("new".to_owned(), 1);
        assert_eq!((table.remove("t8"), table.get_mut("t8")), (None, None));
        assert_eq!((old.get("t7"), old.get("t8")), (Some(&7), Some(&8)));
        assert_eq!((table.get("t7"), table.len()), (Some(&70), 3_000));
        assert!(!old.contains_key("new") && table.contains_key("new"));
        let copied: usize = table.differing(&old).map(|(_, new)| new.len()).sum();
        assert!(copied < 100, "{copied}");
        assert_eq!(table.iter().count(), 3_000);
    }
}
