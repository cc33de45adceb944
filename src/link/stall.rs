//! The state of clients that wait behind another client's reply; `slow_reader` and `late` act on
//! it.

use crate::store::time::Millis;

/// Above this many unread bytes of a client, its link is read paused.
pub(crate) const PAUSE_BYTES: usize = 256 * 1024;

/// Between two attempts to retry requests on another link, ms.
pub(crate) const STALL_CHECK_MS: u64 = 10;

/// The state of clients that wait behind a slowly read or late reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stall {
    /// No client waits.
    #[default]
    None,
    /// Clients wait behind a slowly read reply, since this time.
    Since(Millis),
    /// The reply at the head has been late since this time. Whether the server answers on other
    /// links is unknown.
    Late(Millis),
    /// The server answers on other links; found at this time.
    Served(Millis),
    /// The server answers on other links but delays the write at the head; found at this time.
    /// Reads go to other links, and writes to this one.
    Held(Millis),
    /// No other link can serve the clients: the reply at the head is buffered, so that their
    /// replies can arrive.
    Kept,
}
