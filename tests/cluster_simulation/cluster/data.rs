//! The keys of a shard, and the names of commands that read them.

use std::collections::{BTreeMap, VecDeque};

use super::super::tag;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    keys: BTreeMap<Vec<u8>, Value>,
    /// How often each key was written.
    versions: BTreeMap<Vec<u8>, u64>,
}

impl Data {
    pub(super) fn text(&self, key: &[u8]) -> Option<&[u8]> {
        match self.keys.get(key)? {
            Value::Text(text) => Some(text),
            Value::List(_) => None,
        }
    }

    /// A key with a tag exists everywhere.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        tag::find(key).is_some() || self.keys.contains_key(key)
    }

    pub(super) fn set(&mut self, key: &[u8], value: Vec<u8>) {
        self.put(key, Value::Text(value));
    }

    pub(super) fn put(&mut self, key: &[u8], value: Value) {
        self.touch(key);
        self.keys.insert(key.to_vec(), value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Value> {
        self.touch(key);
        self.keys.remove(key)
    }

    pub(super) fn push(&mut self, key: &[u8], value: Vec<u8>) -> usize {
        self.touch(key);
        let empty = || Value::List(VecDeque::new());
        match self.keys.entry(key.to_vec()).or_insert_with(empty) {
            Value::List(list) => {
                list.push_front(value);
                list.len()
            }
            Value::Text(_) => 0,
        }
    }

    pub(super) fn pop(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let Value::List(list) = self.keys.get_mut(key)? else {
            return None;
        };
        let popped = list.pop_front();
        if list.is_empty() {
            self.keys.remove(key);
        }
        self.touch(key);
        popped
    }

    fn touch(&mut self, key: &[u8]) {
        *self.versions.entry(key.to_vec()).or_default() += 1;
    }

    pub(super) fn version(&self, key: &[u8]) -> u64 {
        self.versions.get(key).copied().unwrap_or_default()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.keys.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Whether a command only reads: it may be executed twice.
pub(crate) fn is_read(name: &str) -> bool {
    let reads = [
        "GET", "MGET", "EXISTS", "TOUCH", "DBSIZE", "KEYS", "PING", "ECHO",
    ];
    reads.contains(&name)
}
