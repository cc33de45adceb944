//! The read buffer of a worker.

/// Bytes of one read. A read that fills the buffer is rare, and untouched pages cost nothing.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Bytes that were just read. If most of them go to one list, the list takes the buffer and another
/// one replaces it, instead of a copy.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    /// [`READ_BYTES`] long, except for the default, which is empty.
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

    /// The space for the next read.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Records that a read wrote this many bytes to [`space`](Self::space).
    pub(crate) fn fill(&mut self, n: usize) {
        self.filled = n.min(self.bytes.len());
    }

    /// Copies bytes as if they were read. Returns how many fit.
    pub(crate) fn copy_from(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.bytes.len());
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..n), bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        self.filled = n;
        n
    }

    /// The bytes of the last read.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Takes the buffer, and puts another one in its place.
    pub(crate) fn exchange(&mut self, fresh: Vec<u8>) -> Vec<u8> {
        debug_assert_eq!(fresh.len(), READ_BYTES);
        self.filled = 0;
        std::mem::replace(&mut self.bytes, fresh)
    }
}
