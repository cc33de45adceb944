//! The values that a client may find under its keys: no other client writes them, but the backend
//! loses all of them at each kill, and the outcome of some writes is unknown.

use std::collections::{HashMap, HashSet};

/// The place of a value: database and key.
pub(crate) type Place = (u8, String);

/// The values that a key may have.
#[derive(Default)]
struct Entry {
    /// All possible values; `None` is no value.
    possible: HashSet<Option<String>>,
    /// The epoch of the last write that is known to be executed.
    epoch: u64,
}

/// The values of one client.
#[derive(Default)]
pub(crate) struct Model {
    entries: HashMap<Place, Entry>,
}

impl Model {
    /// The possible values after the backend has been killed `epoch` times.
    fn entry(&mut self, place: &Place, epoch: u64) -> &mut Entry {
        let entry = self.entries.entry(place.clone()).or_insert_with(|| Entry {
            possible: HashSet::from([None]),
            epoch,
        });
        if epoch > entry.epoch {
            entry.possible.insert(None);
        }
        entry
    }

    /// The value is known, from a read or from the reply to a write.
    pub(crate) fn is(
        &mut self,
        place: &Place,
        value: Option<String>,
        sent: u64,
        epoch: u64,
    ) -> bool {
        let entry = self.entry(place, epoch);
        let possible = entry.possible.contains(&value);
        entry.possible = HashSet::from([value]);
        entry.epoch = sent;
        possible
    }

    /// The key was overwritten. Returns whether it can have had a value, and no value.
    pub(crate) fn set(
        &mut self,
        place: &Place,
        value: String,
        sent: u64,
        epoch: u64,
    ) -> (bool, bool) {
        let entry = self.entry(place, epoch);
        let something = entry.possible.iter().any(Option::is_some);
        let nothing = entry.possible.contains(&None);
        entry.possible = HashSet::from([Some(value)]);
        entry.epoch = sent;
        (something, nothing)
    }

    /// The key may have been overwritten.
    pub(crate) fn maybe_set(&mut self, place: &Place, value: String, epoch: u64) {
        self.entry(place, epoch).possible.insert(Some(value));
    }

    /// A counter was incremented to `value`.
    pub(crate) fn raised(&mut self, place: &Place, value: u64, sent: u64, epoch: u64) -> bool {
        let entry = self.entry(place, epoch);
        let before = value
            .checked_sub(1)
            .filter(|&n| n > 0)
            .map(|n| n.to_string());
        let possible = entry.possible.contains(&before);
        entry.possible = HashSet::from([Some(value.to_string())]);
        entry.epoch = sent;
        possible
    }

    /// A counter may have been incremented.
    pub(crate) fn maybe_raised(&mut self, place: &Place, epoch: u64) {
        let entry = self.entry(place, epoch);
        let number = |value: &Option<String>| -> u64 {
            value.as_deref().map_or(0, |digits| digits.parse().unwrap())
        };
        let raised: Vec<_> = entry
            .possible
            .iter()
            .map(|value| Some((number(value) + 1).to_string()))
            .collect();
        entry.possible.extend(raised);
    }
}
