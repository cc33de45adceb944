//! Statistics of a worker, its counters, and its log lines about limits. Plain data, which
//! `proxy::report` fills in.

pub(crate) mod counters;
pub(crate) mod notice;
pub(crate) mod worker_stats;

use counters::Counters;
use notice::Notices;

/// Counters, and the rate limits of log lines.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub counters: Counters,
    pub notices: Notices,
}
