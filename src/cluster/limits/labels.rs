//! Limits in the labels of instances: `limit.*`, `deny` and `cross-slot`.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::{NUMBERS, PartialLimits, TenantLimits, sorted};
use crate::cluster::ClusterInstance;
use crate::command::denied_word;
use crate::command::scatter::CrossSlot;

/// The label that lists denied commands and categories.
const DENY: &str = "deny";

/// The label that says which requests with keys in several slots are split.
const CROSS_SLOT: &str = "cross-slot";

/// The prefix of the labels of all other limits.
const PREFIX: &str = "limit.";

impl TenantLimits {
    /// Parses the labels of one instance: `limit.clients`, `limit.pinned`,
    /// `limit.requests-per-second`, `limit.bytes-per-second`, `limit.request-bytes` (at least
    /// 1024), `limit.tenant-buffer-bytes` (at least 65536), `deny`, a list of commands and
    /// @categories that are separated by commas or spaces, and `cross-slot` (`error`, `read` or
    /// `all`).
    ///
    /// A label with a wrong name or value is ignored. The second part of the result has a line
    /// about each ignored label, for a log.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let mut errors = Vec::new();
        let limits = of_one(labels, &mut |error| errors.push(error));
        (limits.complete(), errors)
    }
}

/// The limits from the labels of all instances of a tenant: the smallest of all numbers, and every
/// command that one of them denies, and the `cross-slot` that splits least. An error that several
/// instances share is returned once.
pub(super) fn of_all(instances: &[impl Borrow<ClusterInstance>]) -> (PartialLimits, Vec<String>) {
    let mut all = PartialLimits::default();
    let mut errors = BTreeSet::new();
    for instance in instances {
        let one = of_one(&instance.borrow().labels, &mut |error| {
            errors.insert(error);
        });
        for (number, other) in all.numbers.iter_mut().zip(one.numbers) {
            *number = [*number, other].into_iter().flatten().min();
        }
        let cross_slot = [all.cross_slot, one.cross_slot].into_iter().flatten();
        all.cross_slot = cross_slot.min();
        if let Some(words) = one.deny.flatten() {
            let all = all.deny.get_or_insert_default().get_or_insert_default();
            all.extend(words);
        }
    }
    all.deny = all.deny.map(|words| words.map(sorted));
    (all, errors.into_iter().collect())
}

fn of_one(labels: &BTreeMap<String, String>, report: &mut dyn FnMut(String)) -> PartialLimits {
    let mut limits = PartialLimits::default();
    for (name, value) in labels.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let mut known = NUMBERS.iter().zip(&mut limits.numbers);
        let Some((number, limit)) = known.find(|(number, _)| number.label == name) else {
            let all = NUMBERS.each_ref().map(|number| number.label).join(", ");
            report(format!("label {name:?} is not a limit; allowed: {all}"));
            continue;
        };
        let range = number.min..=number.max;
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(value) if digits && range.contains(&value) => *limit = Some(Some(value)),
            _ => {
                let (min, max) = range.into_inner();
                report(format!(
                    "label {name}={value:?} must be a whole number from {min} to {max}"
                ));
            }
        }
    }
    if let Some(list) = labels.get(DENY) {
        let words = list.split([',', ' ']).filter(|word| !word.is_empty());
        let words = words.filter_map(|word| {
            let word = denied_word(word);
            let report = |error| report(format!("label {DENY}: {error}"));
            word.map_err(report).ok()
        });
        // A list without a valid word does not override the entry for all tenants.
        let words = sorted(words.collect());
        limits.deny = (!words.is_empty()).then_some(Some(words));
    }
    if let Some(name) = labels.get(CROSS_SLOT) {
        match CrossSlot::from_name(name) {
            Some(setting) => limits.cross_slot = Some(Some(setting)),
            None => report(format!(
                "label {CROSS_SLOT}={name:?} must be one of {}",
                CrossSlot::NAMES
            )),
        }
    }
    limits
}
