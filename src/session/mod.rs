//! One client: what it has sent and has not been answered, who it is, and what its session is set
//! to. Knows no link but by its key.

pub(crate) mod change;
pub(crate) mod client;
pub(crate) mod former;
pub(crate) mod inbound;
pub(crate) mod last_command;
pub(crate) mod phase;
pub(crate) mod question;
pub(crate) mod sessions;
pub(crate) mod share;
