//! Limits in the labels of instances: `limit.clients` and the like, and `deny`.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::{NUMBERS, Saying, TenantLimits, denied_word, in_order};
use crate::cluster::ClusterInstance;

/// The label whose value lists what is refused.
const DENY: &str = "deny";

/// Labels that begin like this are ours.
const PREFIX: &str = "limit.";

impl TenantLimits {
    /// What the labels of one instance say: `limit.clients`, `limit.pinned`,
    /// `limit.requests-per-second`, `limit.bytes-per-second`, `limit.request-bytes` (at least
    /// 1024), `limit.tenant-buffer-bytes` (at least 65536), and `deny`, a list of commands and
    /// @categories with commas or spaces between.
    ///
    /// A label that makes no sense is no limit: the second part tells of each of them, for a log.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let mut complaints = Vec::new();
        let said = said(labels, &mut |complaint| complaints.push(complaint));
        (said.limits(), complaints)
    }
}

/// What the labels of all instances say together: of two numbers the smaller one counts, and what
/// one of them denies is denied. Each complaint is made once, however many instances deserve it.
pub(super) fn of_all(instances: &[impl Borrow<ClusterInstance>]) -> (Saying, Vec<String>) {
    let mut all = Saying::default();
    let mut complaints = BTreeSet::new();
    for instance in instances {
        let one = said(&instance.borrow().labels, &mut |complaint| {
            complaints.insert(complaint);
        });
        for (number, other) in all.numbers.iter_mut().zip(one.numbers) {
            *number = [*number, other].into_iter().flatten().min();
        }
        if let Some(words) = one.deny.flatten() {
            let all = all.deny.get_or_insert_default().get_or_insert_default();
            all.extend(words);
        }
    }
    all.deny = all.deny.map(|words| words.map(in_order));
    (all, complaints.into_iter().collect())
}

fn said(labels: &BTreeMap<String, String>, complain: &mut dyn FnMut(String)) -> Saying {
    let mut said = Saying::default();
    for (name, value) in labels.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let known = NUMBERS.iter().zip(&mut said.numbers);
        let Some((number, place)) = { known }.find(|(number, _)| number.label == name) else {
            let all = NUMBERS.each_ref().map(|number| number.label).join(", ");
            complain(format!("label {name:?} is no limit; there are: {all}"));
            continue;
        };
        let range = number.min..=number.max;
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(value) if digits && range.contains(&value) => *place = Some(Some(value)),
            _ => {
                let (min, max) = range.into_inner();
                complain(format!(
                    "label {name}={value:?} must be a whole number from {min} to {max}"
                ));
            }
        }
    }
    if let Some(list) = labels.get(DENY) {
        let words = list.split([',', ' ']).filter(|word| !word.is_empty());
        let words = words.filter_map(|word| {
            let word = denied_word(word);
            let complain = |what| complain(format!("label {DENY}: {what}"));
            word.map_err(complain).ok()
        });
        // A list without a good word must not stand above what holds for everybody.
        let words = in_order(words.collect());
        said.deny = (!words.is_empty()).then_some(Some(words));
    }
    said
}
