//! The ways in which the replies of several shards become one.

/// How replies are merged. The names in brackets are those of the tips of `COMMAND`.
///
/// A reply of another type than named here is no reply to the command: the merge is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// MGET: the values of all parts in the order of the request's keys.
    Values,
    /// The sum of numbers that are not negative (`agg_sum`).
    Sum,
    /// The smallest number (`agg_min`).
    Min,
    /// WAITAOF: an array of the smallest numbers at each position.
    EachMin,
    /// SCRIPT EXISTS: an array with 1 where all parts have 1 (`agg_logical_and`).
    EachAnd,
    /// All parts have the same reply, a status or a string (`all_succeeded`).
    Same,
    /// The status of any part that succeeded (`one_succeeded`). Other parts may fail.
    OneSucceeded,
    /// KEYS: the strings of all arrays.
    Strings,
    /// SLOWLOG GET: the entries of all arrays, which are arrays themselves.
    Entries,
    /// PUBSUB CHANNELS: the strings of all arrays, each once.
    Union,
    /// PUBSUB NUMSUB: arrays of the same names, each with a number. The sum for each name.
    SumByName,
    /// RANDOMKEY: one of the strings, or null when all parts have null.
    AnyKey,
    /// FUNCTION STATS: the reply of a part that runs a function, else of the first part.
    Running,
    /// INFO of a server without cluster support: see [`info`](super::info).
    Info,
    /// INFO of a node of a Redis Cluster: see [`info`](super::info).
    NodeInfo,
}

/// How the replies to one request are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeRule {
    /// How the replies become one when no part has failed.
    pub response: ResponsePolicy,
    /// Whether the request changes something, so that an error says whether a part was executed.
    pub writes: bool,
}
