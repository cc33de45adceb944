//! How long others have waited on a connection behind one client, and what came of it; what is done
//! about it is in `stalled` and `late`.

use crate::store::time::Millis;

/// Above this many bytes for a client, its backend is not read.
pub(crate) const PAUSE_BYTES: usize = 256 * 1024;

/// Between two looks for a way round, ms.
pub(crate) const LOOK_AGAIN_MS: u64 = 10;

/// What becomes of those who wait behind a reply that its client reads slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Nobody does.
    #[default]
    None,
    /// They have waited since then.
    Since(Millis),
    /// The reply at the head has been late since then: does the server answer anybody?
    Late(Millis),
    /// It does, as was found out then.
    Served(Millis),
    /// It does, and holds back the write at the head, as was seen then: reads go elsewhere, and
    /// writes come here.
    Held(Millis),
    /// They cannot go elsewhere: the reply is kept here, so that theirs can come.
    Kept,
}
