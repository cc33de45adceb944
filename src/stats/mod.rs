//! What a worker counts, what it says about itself when it is asked, and what it tells the log.
//! Plain data: `proxy::report` fills it in.

pub(crate) mod counters;
pub(crate) mod notice;
pub(crate) mod survey;
