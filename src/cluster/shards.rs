//! A map whose clones share the unchanged parts, so that the cost of a change does not depend on
//! the size of the map.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::fnv1a;

/// With 3,000 entries, a change copies a dozen of them.
const SHARDS: usize = 256;

/// A map in 256 shared parts. A change copies the part that it concerns; clones keep the old one.
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

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }

    /// All entries, in an order that depends only on their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    /// The parts that are not shared with an older clone: the old and the new content of each.
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
    fn clone_keeps_its_content_and_shares_unchanged_parts() {
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
