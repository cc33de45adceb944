//! The limits of tenants, from the tenants file and from the labels of instances.
//!
//! Defines the names of the limits and the precedence of their sources. `server` reads and watches
//! the file.

mod labels;
mod rules;

pub use rules::TenantRules;

use crate::command::scatter::CrossSlot;

/// The limits of one tenant. A limit counts all workers of the process together, unless its
/// documentation says otherwise. `None` and an empty list mean no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantLimits {
    /// Concurrent clients.
    pub clients: Option<u32>,
    /// Concurrent dedicated backend connections.
    pub pinned: Option<u32>,
    /// Requests per second.
    pub requests_per_second: Option<u32>,
    /// Bytes of requests and replies per second.
    pub bytes_per_second: Option<u64>,
    /// Bytes of one request.
    pub request_bytes: Option<u64>,
    /// Bytes of requests and replies that one worker buffers for the tenant. `None` is the value of
    /// the option `limit.tenant-buffer-bytes`.
    pub tenant_buffer_bytes: Option<u64>,
    /// Denied commands (`flushall`, `config|set`) and categories (`@dangerous`), in lower case,
    /// sorted and without duplicates.
    pub deny: Vec<String>,
    /// Which requests with keys in several slots of a Redis Cluster are split.
    pub cross_slot: CrossSlot,
}

/// Every limit that is a number: its name in JSON, its label, and its range. The minima exclude
/// rates and sizes that would reject every request.
const NUMBERS: [Number; 6] = [
    number("clients", "limit.clients", 0, u32::MAX as u64),
    number("pinned", "limit.pinned", 0, u32::MAX as u64),
    number(
        "requests_per_second",
        "limit.requests-per-second",
        1,
        u32::MAX as u64,
    ),
    number("bytes_per_second", "limit.bytes-per-second", 1, EXACT_MAX),
    number("request_bytes", "limit.request-bytes", 1024, EXACT_MAX),
    number(
        "tenant_buffer_bytes",
        "limit.tenant-buffer-bytes",
        64 * 1024,
        EXACT_MAX,
    ),
];

/// The largest number up to which all whole numbers are exact in JSON.
const EXACT_MAX: u64 = 1 << 53;

/// A limit that is a number, see [`NUMBERS`].
struct Number {
    field: &'static str,
    label: &'static str,
    min: u64,
    max: u64,
}

const fn number(field: &'static str, label: &'static str, min: u64, max: u64) -> Number {
    Number {
        field,
        label,
        min,
        max,
    }
}

/// A limit in one source: not set (`None`), set to no limit (`Some(None)`), or set to a value.
type Setting<T> = Option<Option<T>>;

/// The limits that one source sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PartialLimits {
    /// In the order of [`NUMBERS`].
    numbers: [Setting<u64>; NUMBERS.len()],
    deny: Setting<Vec<String>>,
    cross_slot: Setting<CrossSlot>,
}

impl PartialLimits {
    /// The limits of `self`, and those of `other` that `self` does not set.
    fn or(self, other: &Self) -> Self {
        let mut numbers = self.numbers;
        for (number, other) in numbers.iter_mut().zip(other.numbers) {
            *number = number.or(other);
        }
        Self {
            numbers,
            deny: self.deny.or_else(|| other.deny.clone()),
            cross_slot: self.cross_slot.or(other.cross_slot),
        }
    }

    /// The limits of a tenant, in which a limit that is not set is no limit.
    fn complete(self) -> TenantLimits {
        let [clients, pinned, requests, bytes, request, buffer] = self.numbers.map(Option::flatten);
        // The range in NUMBERS is that of the type.
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        TenantLimits {
            clients: clients.map(small),
            pinned: pinned.map(small),
            requests_per_second: requests.map(small),
            bytes_per_second: bytes,
            request_bytes: request,
            tenant_buffer_bytes: buffer,
            deny: self.deny.flatten().unwrap_or_default(),
            cross_slot: self.cross_slot.flatten().unwrap_or_default(),
        }
    }
}

/// Sorts the words and removes duplicates.
fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests;
