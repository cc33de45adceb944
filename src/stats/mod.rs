//! What a worker counts, what it says about itself when it is asked, and what it tells the log.
//! Plain data: `proxy::report` fills it in.

pub(crate) mod counters;
pub(crate) mod notice;
pub(crate) mod survey;

use counters::Counters;
use notice::Notices;

/// What a worker has counted, and which lines for the log it has left out.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub counters: Counters,
    pub notices: Notices,
}
