//! One client: its unanswered requests, its account, and the settings of its session. Knows a link
//! only by its key.

pub(crate) mod change;
pub(crate) mod client;
pub(crate) mod former;
pub(crate) mod inbound;
pub(crate) mod lanes;
pub(crate) mod last_command;
pub(crate) mod phase;
pub(crate) mod question;
pub(crate) mod sessions;
pub(crate) mod share;
