//! What a client may find under its keys: nobody else writes them, but the backend forgets all at
//! each death, and of some writes nobody knows whether they were executed.

use std::collections::{HashMap, HashSet};

/// Where a value is: database and key.
pub(crate) type Place = (u8, String);

/// Under one key.
#[derive(Default)]
struct Entry {
    /// All that it may be; `None` is nothing.
    possible: HashSet<Option<String>>,
    /// The epoch in which the last write that is known to have happened was sent.
    epoch: u64,
}

/// All of one client's values.
#[derive(Default)]
pub(crate) struct Model {
    entries: HashMap<Place, Entry>,
}

impl Model {
    /// What it may be at the moment when the backend has died `epoch` times.
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

    /// It was read, or is known by the reply to a write.
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

    /// It was overwritten. Returns whether there can have been something, and nothing.
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

    /// It may have been overwritten.
    pub(crate) fn maybe_set(&mut self, place: &Place, value: String, epoch: u64) {
        self.entry(place, epoch).possible.insert(Some(value));
    }

    /// A counter was raised to `value`.
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

    /// A counter may have been raised.
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
