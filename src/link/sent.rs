//! The bytes of requests that a connection carried last: what is needed to ask them again.

/// Unanswered requests of one connection that are remembered, bytes: what a turn's pipelines have.
const RECENT_BYTES_MAX: usize = 64 * 1024;

/// Requests that came in one piece of more than this are not, bytes.
const RECENT_PIECE_BYTES_MAX: usize = 8 * 1024;

/// The requests that a connection carried last and has not answered, so that those that only read
/// can be asked again.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    bytes: Vec<u8>,
    /// Where the first of `bytes` stands in all that was ever queued for the connection.
    from: u64,
}

impl Recent {
    /// Where the next byte will stand.
    pub(crate) fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// More was queued.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let fits = self.bytes.len() + bytes.len() <= RECENT_BYTES_MAX;
        if fits && bytes.len() <= RECENT_PIECE_BYTES_MAX {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.skip(bytes.len());
        }
    }

    /// More was queued that is not remembered, and nothing before it from now on.
    pub(crate) fn skip(&mut self, len: usize) {
        self.from = self.end() + len as u64;
        self.bytes.clear();
    }

    /// All before this has been answered.
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

    /// The bytes between two places, if all of them are remembered.
    pub(crate) fn get(&self, start: u64, end: u64) -> Option<&[u8]> {
        let start = usize::try_from(start.checked_sub(self.from)?).ok()?;
        let end = usize::try_from(end.checked_sub(self.from)?).ok()?;
        self.bytes.get(start..end)
    }
}
