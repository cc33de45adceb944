//! Links on which clients wait for replicas.

use std::mem;

use super::Links;
use crate::store::key::LinkKey;

impl Links {
    pub(crate) fn any_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    pub(crate) fn waits(&self) -> &[LinkKey] {
        &self.waits
    }

    /// Adds a link on which a client waits: it is asked after the others.
    pub(crate) fn add_wait(&mut self, key: LinkKey) {
        if !self.waits.contains(&key) {
            self.waits.push(key);
        }
    }

    /// Moves a link behind the others.
    pub(crate) fn put_last(&mut self, key: LinkKey) {
        self.waits.retain(|&other| other != key);
        self.waits.push(key);
    }

    /// Takes the links in the order in which they are asked; the caller puts back those that still
    /// have waiters, before the ones that were added meanwhile.
    pub(crate) fn take_waits(&mut self) -> Vec<LinkKey> {
        mem::take(&mut self.waits)
    }

    /// See [`take_waits`](Self::take_waits).
    pub(crate) fn put_back_waits(&mut self, mut all: Vec<LinkKey>) {
        all.append(&mut self.waits);
        self.waits = all;
    }
}
