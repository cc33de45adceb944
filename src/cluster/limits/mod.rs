//! What a tenant may use, as the tenants' file or the labels of its instances say.
//!
//! Owns the names of the limits and the order in which sources count. Whoever reads the file and
//! follows it is elsewhere.

mod labels;
mod rules;

pub use rules::TenantRules;

/// Limits of one tenant, over all workers of a proxy if nothing else is said. `None` and an empty
/// list mean: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantLimits {
    /// Clients at a time.
    pub clients: Option<u32>,
    /// Backend connections that are clients' own, at a time.
    pub pinned: Option<u32>,
    /// Requests in one second.
    pub requests_per_second: Option<u32>,
    /// Bytes of requests and replies together in one second.
    pub bytes_per_second: Option<u64>,
    /// Bytes of one request.
    pub request_bytes: Option<u64>,
    /// Bytes of requests and replies that one worker keeps for its clients; `None`: what holds for
    /// every tenant.
    pub tenant_buffer_bytes: Option<u64>,
    /// Commands (`flushall`, `config|set`) and categories (`@dangerous`) that are refused, in
    /// lower case, sorted, each once.
    pub deny: Vec<String>,
}

/// The categories of commands that can be refused: those of Redis's access control lists. Which
/// commands they have is known elsewhere.
pub const CATEGORIES: [&str; 22] = [
    "admin",
    "all",
    "bitmap",
    "blocking",
    "connection",
    "dangerous",
    "fast",
    "geo",
    "hash",
    "hyperloglog",
    "keyspace",
    "list",
    "pubsub",
    "read",
    "scripting",
    "set",
    "slow",
    "sortedset",
    "stream",
    "string",
    "transaction",
    "write",
];

/// What cannot be denied: without these a client library cannot open a connection, keep it or end
/// it, and says that the server is down.
pub const UNDENIABLE: [&str; 8] = [
    "auth",
    "client|reply",
    "client|setinfo",
    "client|setname",
    "hello",
    "ping",
    "quit",
    "reset",
];

/// Every limit that is a number: its name in JSON, its label, and what it may be. A rate of 0
/// would refuse everything, and so would requests of a few bytes: neither can be meant.
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

/// Whole numbers up to here are exact in JSON.
const EXACT_MAX: u64 = 1 << 53;

/// See [`NUMBERS`].
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

/// What one source says about a limit: nothing; that there is none; how much it is.
type Said<T> = Option<Option<T>>;

/// What one source says about the limits of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Saying {
    /// In the order of [`NUMBERS`].
    numbers: [Said<u64>; NUMBERS.len()],
    deny: Said<Vec<String>>,
}

impl Saying {
    /// What `self` says, and where it says nothing, what `other` does.
    fn or(self, other: &Self) -> Self {
        let mut numbers = self.numbers;
        for (number, other) in numbers.iter_mut().zip(other.numbers) {
            *number = number.or(other);
        }
        Self {
            numbers,
            deny: self.deny.or_else(|| other.deny.clone()),
        }
    }

    fn limits(self) -> TenantLimits {
        let [clients, pinned, requests, bytes, request, buffer] = self.numbers.map(Option::flatten);
        // The range of each is that of its type.
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        TenantLimits {
            clients: clients.map(small),
            pinned: pinned.map(small),
            requests_per_second: requests.map(small),
            bytes_per_second: bytes,
            request_bytes: request,
            tenant_buffer_bytes: buffer,
            deny: self.deny.flatten().unwrap_or_default(),
        }
    }
}

/// A word of a list of what is refused, in lower case; or what is wrong with it.
fn denied_word(word: &str) -> Result<String, String> {
    let word = word.to_ascii_lowercase();
    if let Some(category) = word.strip_prefix('@') {
        if CATEGORIES.contains(&category) {
            return Ok(word);
        }
        let known = CATEGORIES.join(", @");
        return Err(format!("{word:?} is no category; there are: @{known}"));
    }
    if UNDENIABLE.contains(&&*word) {
        return Err(format!("{word:?} cannot be denied: every client needs it"));
    }
    let named = |name: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=64).contains(&name.len()) && name.bytes().all(known)
    };
    let (name, sub) = word.split_once('|').unwrap_or((&word, "x"));
    if named(name) && named(sub) {
        return Ok(word);
    }
    Err(format!(
        "{word:?} is no name of a command, such as flushall or config|set"
    ))
}

/// Sorted, each once.
fn in_order(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests;
