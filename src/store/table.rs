//! A slab whose keys carry a generation, so that a stale key finds nothing.

use std::marker::PhantomData;
use std::ops::Range;

use slab::Slab;

use crate::store::allocator::make_small;
use crate::store::key::Key;

/// Slots that an empty table may keep.
const EMPTY_SLOTS_MAX: usize = 64;

/// Values by key. An index is reused, a key is not (the generation has 32 bits).
#[derive(Debug)]
pub(crate) struct Table<K, T> {
    slots: Slab<Slot<T>>,
    generation: u32,
    key: PhantomData<fn() -> K>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: T,
}

impl<K: Key, T> Default for Table<K, T> {
    fn default() -> Self {
        Self {
            slots: Slab::new(),
            generation: 0,
            key: PhantomData,
        }
    }
}

impl<K: Key, T> Table<K, T> {
    /// Stores a value and returns its key.
    pub(crate) fn insert(&mut self, value: T) -> K {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(Slot { generation, value });
        // The reactor's tokens have 30 bits for the index; limits keep us far below.
        debug_assert!(index < 1 << 30);
        K::new(index as u32, generation)
    }

    /// The value, unless it was removed.
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let slot = self.slots.get(key.index() as usize)?;
        (slot.generation == key.generation()).then_some(&slot.value)
    }

    /// The value, unless it was removed.
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        (slot.generation == key.generation()).then_some(&mut slot.value)
    }

    /// Removes a value; its key is stale from now on.
    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        self.get(key)?;
        let mut slot = self.slots.remove(key.index() as usize);
        if self.slots.is_empty() && self.slots.capacity() > EMPTY_SLOTS_MAX {
            slot = make_small(&mut self.slots, slot);
        }
        Some(slot.value)
    }

    /// Gives memory back if most of it is unused. Slots behind the last one in use are freed; stale
    /// keys of them stay stale.
    pub(crate) fn shrink(&mut self) {
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to_fit();
        }
    }

    /// Does the key name a value?
    pub(crate) fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Is the table empty?
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All values, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> + Clone {
        self.slots
            .iter()
            .map(|(i, slot)| (K::new(i as u32, slot.generation), &slot.value))
    }

    /// All values, mutable, in the order of their slots.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.slots
            .iter_mut()
            .map(|(i, slot)| (K::new(i as u32, slot.generation), &mut slot.value))
    }

    /// The values of some slots.
    pub(crate) fn within(&self, slots: Range<usize>) -> impl Iterator<Item = (K, &T)> {
        let end = slots.end.min(self.slots.capacity());
        (slots.start..end).filter_map(|i| {
            let slot = self.slots.get(i)?;
            Some((K::new(i as u32, slot.generation), &slot.value))
        })
    }

    /// An upper bound on the slots in use.
    pub(crate) fn slots(&self) -> usize {
        self.slots.capacity()
    }

    /// The keys of all values.
    pub(crate) fn keys(&self) -> Vec<K> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::ClientKey;

    #[test]
    fn a_reused_slot_has_a_new_key() {
        let mut table: Table<ClientKey, &str> = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(first.index(), second.index());
        assert_ne!(first, second);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get_mut(second), Some(&mut "second"));
        assert_eq!(table.len(), 1);
        assert!(!table.contains(ClientKey::NONE));
    }

    #[test]
    fn an_empty_table_is_small() {
        let mut table: Table<ClientKey, usize> = Table::default();
        let keys: Vec<_> = (0..1_000).map(|n| table.insert(n)).collect();
        for (n, &key) in keys.iter().enumerate() {
            assert_eq!(table.remove(key), Some(n));
        }
        assert!(table.slots.capacity() <= EMPTY_SLOTS_MAX);
        let key = table.insert(7);
        assert_eq!(table.get(key), Some(&7));
        assert!(keys.iter().all(|&old| !table.contains(old)));
    }
}
