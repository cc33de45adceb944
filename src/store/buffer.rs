//! What a worker reads into.

/// Bytes that are read at once. A read that fills them is rare, and pages that nobody wrote to cost
/// nothing.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Bytes that were just read. Where most of them have one destination, the buffer leaves with
/// them and another takes its place, instead of a copy.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    /// [`READ_BYTES`] long, but for the default, which is nothing.
    bytes: Vec<u8>,
    filled: usize,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; READ_BYTES],
            filled: 0,
        }
    }

    /// Where to read to.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// So many bytes were read to the beginning of [`space`](Self::space).
    pub(crate) fn fill(&mut self, n: usize) {
        self.filled = n.min(self.bytes.len());
    }

    /// As if these bytes had been read. Returns how many found room.
    pub(crate) fn copy_from(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.bytes.len());
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..n), bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        self.filled = n;
        n
    }

    /// What was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Gives the memory away for another buffer's.
    pub(crate) fn exchange(&mut self, fresh: Vec<u8>) -> Vec<u8> {
        debug_assert_eq!(fresh.len(), READ_BYTES);
        self.filled = 0;
        std::mem::replace(&mut self.bytes, fresh)
    }
}
