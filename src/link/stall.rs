//! The state of clients that wait behind another client's reply; `slow_reader` and `late` act on
//! it.

use crate::store::time::Millis;

/// Above this many unread bytes of a client, its link is read paused.
pub(crate) const PAUSE_BYTES: usize = 256 * 1024;

/// Between two attempts to retry requests on another link, ms.
pub(crate) const LOOK_AGAIN_MS: u64 = 10;

/// The state of clients that wait behind a slowly read or late reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stall {
    /// No client waits.
    #[default]
    None,
    /// Clients have waited behind a slowly read reply since then.
    Since(Millis),
    /// The reply at the head has been late since then; whether the server answers elsewhere is
    /// unknown.
    Late(Millis),
    /// The server answers elsewhere, as was found then.
    Served(Millis),
    /// The server answers elsewhere but holds back the write at the head, as was found then: reads
    /// go to other links, and writes come here.
    Held(Millis),
    /// Clients cannot be served on other links: the reply is buffered, so that theirs can arrive.
    Kept,
}
