//! The bytes of the last requests that were sent on a link, for a retry.

/// Unanswered requests of one link that are remembered, bytes: the pipelines of one turn.
const RECENT_BYTES_MAX: usize = 64 * 1024;

/// Requests in one piece above this are not remembered, bytes.
const RECENT_PIECE_BYTES_MAX: usize = 8 * 1024;

/// Unanswered requests of a link to a node of a Redis Cluster that are remembered, bytes: the node
/// may send any of them away.
const CLUSTERED_BYTES_MAX: usize = 4 << 20;

/// The last requests of a link that are not answered, so that read-only ones can be retried.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    bytes: Vec<u8>,
    /// The position of the first of `bytes`, in bytes ever queued for the link.
    from: u64,
}

impl Recent {
    /// The position of the next byte.
    pub(crate) fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// Adds bytes that were queued.
    pub(crate) fn push(&mut self, bytes: &[u8], clustered: bool) {
        let (total, piece) = match clustered {
            true => (CLUSTERED_BYTES_MAX, CLUSTERED_BYTES_MAX),
            false => (RECENT_BYTES_MAX, RECENT_PIECE_BYTES_MAX),
        };
        let fits = self.bytes.len() + bytes.len() <= total;
        if fits && bytes.len() <= piece {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.skip(bytes.len());
        }
    }

    /// Skips bytes that were queued; nothing before them is remembered from now on.
    pub(crate) fn skip(&mut self, len: usize) {
        self.from = self.end() + len as u64;
        self.bytes.clear();
    }

    /// Forgets everything before this position: it is answered.
    pub(crate) fn answered(&mut self, until: u64) {
        let done = usize::try_from(until.saturating_sub(self.from)).unwrap_or(usize::MAX);
        if done >= self.bytes.len() {
            self.from = self.end();
            self.bytes.clear();
        } else if done > self.bytes.len() / 2 {
            self.bytes.drain(..done);
            self.from += done as u64;
        }
    }

    /// The bytes between two positions, if all of them are remembered.
    pub(crate) fn get(&self, start: u64, end: u64) -> Option<&[u8]> {
        let start = usize::try_from(start.checked_sub(self.from)?).ok()?;
        let end = usize::try_from(end.checked_sub(self.from)?).ok()?;
        self.bytes.get(start..end)
    }
}
