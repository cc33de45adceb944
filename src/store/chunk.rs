//! Outbound bytes: lists of chunks, their nodes and their memory owned by one pool per worker.
//!
//! An empty list owns nothing, so an idle connection costs its record only. Small appends share
//! pooled chunks; what is larger than a chunk gets memory of exactly its size. Large bytes that
//! were just read are not copied: the buffer that they were read into becomes a chunk
//! ([`ChunkPool::offer`]).

mod lists;

use std::collections::TryReserveError;
use std::io::IoSlice;
use std::mem;

use slab::Slab;

use crate::store::allocator::{UNCACHED_BYTES, give_back, give_back_list};
use crate::store::buffer::{READ_BYTES, ReadBuffer};

/// Bytes of a pooled chunk: a turn's requests to one server fit in a few, and only written pages
/// cost memory.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes of the first chunk of a short list: many clients have one reply each in a turn, and a
/// whole chunk for each would exceed the number that is kept.
pub(crate) const FIRST_BYTES: usize = UNCACHED_BYTES;

/// From this size on, bytes are not copied out of their read buffer: at most half of its memory is
/// then unused.
const TAKE_BYTES_MIN: usize = READ_BYTES / 2;

/// Free read buffers kept for the next turn: one megabyte.
const FREE_BUFFERS_MAX: usize = 16;

/// Free first chunks kept for the next turn: as many as a turn has events.
const FREE_FIRST_MAX: usize = 512;

/// Free chunks kept for the next turn. The last one freed is used first, because it is in the CPU
/// cache.
const FREE_CHUNKS_MAX: usize = 64;

/// Slices of one vectored write: as many read buffers are one megabyte, and the cost of setting up
/// the slices is small beside the write.
pub const SLICES_MAX: usize = 16;

const NIL: u32 = u32::MAX;

/// All chunks of a worker.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    chunks: Slab<Chunk>,
    free: Vec<Vec<u8>>,
    free_first: Vec<Vec<u8>>,
    free_buffers: Vec<Vec<u8>>,
    /// The lists are many and mostly short: they start with a small chunk.
    short_lists: bool,
    bytes: usize,
    /// Address and length of the bytes in a buffer that may be taken.
    offer: Option<(usize, usize)>,
    /// The chunk that took the buffer, and gets its memory when the offer ends.
    taker: u32,
}

/// `bytes[start..end]` is to be sent. `start <= end <= bytes.len()`, except for the taker of an
/// offer.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    next: u32,
}

impl Chunk {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// A queue of bytes in a [`ChunkPool`]. Not `Clone`: a list has one owner, which must free it with
/// [`ChunkPool::clear`]. Otherwise its bytes leak until the pool is dropped.
#[derive(Debug)]
pub(crate) struct ChunkList {
    head: u32,
    tail: u32,
    len: usize,
}

impl Default for ChunkList {
    fn default() -> Self {
        Self {
            head: NIL,
            tail: NIL,
            len: 0,
        }
    }
}

impl ChunkList {
    /// Bytes in the list.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Is there nothing to send?
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl ChunkPool {
    /// A pool for many lists that are short for most of the time.
    pub(crate) fn of_short_lists() -> Self {
        Self::new(true)
    }

    /// A pool for few lists that are long for most of the time.
    pub(crate) fn of_long_lists() -> Self {
        Self::new(false)
    }

    fn new(short_lists: bool) -> Self {
        Self {
            chunks: Slab::new(),
            free: Vec::new(),
            free_first: Vec::new(),
            free_buffers: Vec::new(),
            short_lists,
            bytes: 0,
            offer: None,
            taker: NIL,
        }
    }

    /// Bytes in all lists.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the table of chunks.
    pub(crate) fn table_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Offers a buffer whose bytes are about to be appended to lists: if most of them go to one
    /// list, that list takes the buffer itself, until [`end_offer`](Self::end_offer).
    pub(crate) fn offer(&mut self, bytes: &[u8]) {
        let whole = bytes.len() >= TAKE_BYTES_MIN;
        self.offer = whole.then_some((bytes.as_ptr() as usize, bytes.len()));
    }

    /// Ends an offer: all bytes are appended. Replaces a buffer that was taken; returns whether it
    /// was.
    pub(crate) fn end_offer(&mut self, buffer: &mut ReadBuffer) -> bool {
        self.offer = None;
        let taker = mem::replace(&mut self.taker, NIL);
        let Some(chunk) = self.chunks.get_mut(taker as usize) else {
            return false;
        };
        let fresh = self.free_buffers.pop();
        chunk.bytes = buffer.exchange(fresh.unwrap_or_else(|| vec![0; READ_BYTES]));
        true
    }

    /// Does a list have bytes that cannot be read before [`end_offer`](Self::end_offer)?
    pub(crate) fn is_taking(&self) -> bool {
        self.taker != NIL
    }

    /// Reserves this many bytes for a list in a chunk of its own, if there is memory for it.
    pub(crate) fn reserve(&mut self, list: &mut ChunkList, bytes: usize) {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(bytes).is_ok() {
            self.link(list, chunk, 0, 0);
        }
    }

    /// The room in the last chunk of a list, bytes.
    #[inline]
    pub(crate) fn room(&self, list: &ChunkList) -> usize {
        match self.chunks.get(list.tail as usize) {
            Some(tail) if tail.end == tail.bytes.len() => tail.bytes.capacity() - tail.end,
            _ => 0,
        }
    }

    /// Appends bytes to a list.
    pub(crate) fn append(&mut self, list: &mut ChunkList, mut bytes: &[u8]) {
        list.len += bytes.len();
        self.bytes += bytes.len();
        let room = self.room(list);
        if bytes.len() >= TAKE_BYTES_MIN
            && room < bytes.len()
            && let Some((offered, len)) = self.offer
            && let Some(start) = (bytes.as_ptr() as usize).checked_sub(offered)
            && start + bytes.len() <= len
        {
            self.offer = None;
            self.taker = self.link(list, Vec::new(), start, start + bytes.len());
            return;
        }
        if room > 0
            && let Some(tail) = self.chunks.get_mut(list.tail as usize)
        {
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            tail.bytes.extend_from_slice(now);
            tail.end = tail.bytes.len();
            bytes = later;
        }
        if bytes.is_empty() {
            return;
        }
        let short = self.short_lists && list.head == NIL;
        let (free, capacity) = match bytes.len() {
            ..=FIRST_BYTES if short => (self.free_first.pop(), FIRST_BYTES),
            ..=CHUNK_BYTES => (self.free.pop(), CHUNK_BYTES),
            more => (None, more),
        };
        let mut chunk = free.unwrap_or_else(|| Vec::with_capacity(capacity));
        chunk.extend_from_slice(bytes);
        self.link(list, chunk, 0, bytes.len());
    }

    /// Appends a buffer to a list without a copy.
    pub(crate) fn append_owned(&mut self, list: &mut ChunkList, bytes: Vec<u8>) {
        let len = bytes.len();
        if len > 0 {
            list.len += len;
            self.bytes += len;
            self.link(list, bytes, 0, len);
        }
    }

    fn link(&mut self, list: &mut ChunkList, bytes: Vec<u8>, start: usize, end: usize) -> u32 {
        let node = self.chunks.insert(Chunk {
            bytes,
            start,
            end,
            next: NIL,
        }) as u32;
        match self.chunks.get_mut(list.tail as usize) {
            Some(tail) => tail.next = node,
            None => list.head = node,
        }
        list.tail = node;
        node
    }

    /// The first piece of a list.
    pub(crate) fn first_piece(&self, list: &ChunkList) -> &[u8] {
        self.chunks
            .get(list.head as usize)
            .map_or(&[], Chunk::bytes)
    }

    /// Empties a list. Returns its bytes in one piece, if there is memory for it. Must not be
    /// called while a buffer is being taken.
    pub(crate) fn take_whole(&mut self, list: &mut ChunkList) -> Result<Vec<u8>, TryReserveError> {
        debug_assert!(!self.is_taking());
        let mut whole = Vec::new();
        if list.head == list.tail
            && let Some(chunk) = self.chunks.get_mut(list.head as usize)
            && chunk.bytes().len() == chunk.bytes.len()
        {
            whole = mem::take(&mut chunk.bytes);
            self.clear(list);
            return Ok(whole);
        }
        let room = whole.try_reserve_exact(list.len);
        let mut node = list.head;
        while room.is_ok()
            && let Some(chunk) = self.chunks.get(node as usize)
        {
            whole.extend_from_slice(chunk.bytes());
            node = chunk.next;
        }
        self.clear(list);
        room.map(|()| whole)
    }

    /// All bytes of a list, if they are in one piece.
    #[inline]
    pub(crate) fn whole(&self, list: &ChunkList) -> Option<&[u8]> {
        let chunk = self.chunks.get(list.head as usize)?;
        (list.head == list.tail).then(|| chunk.bytes())
    }

    /// The front of a list as slices for one write; `into` bounds how many. Returns their number.
    #[inline]
    pub(crate) fn slices<'a>(&'a self, list: &ChunkList, into: &mut [IoSlice<'a>]) -> usize {
        let mut node = list.head;
        let mut n = 0;
        while let (Some(chunk), Some(slot)) = (self.chunks.get(node as usize), into.get_mut(n)) {
            *slot = IoSlice::new(chunk.bytes());
            node = chunk.next;
            n += 1;
        }
        n
    }

    /// Drops `n` bytes from the front, which were sent. `n <= list.len()`.
    pub(crate) fn consume(&mut self, list: &mut ChunkList, mut n: usize) {
        debug_assert!(n <= list.len);
        n = n.min(list.len);
        list.len -= n;
        self.bytes -= n;
        while let Some(chunk) = self.chunks.get_mut(list.head as usize) {
            let here = chunk.end - chunk.start;
            if n < here {
                chunk.start += n;
                return;
            }
            n -= here;
            self.unlink(list);
        }
    }

    /// Empties a list and frees its memory.
    pub(crate) fn clear(&mut self, list: &mut ChunkList) {
        self.consume(list, list.len);
    }

    fn unlink(&mut self, list: &mut ChunkList) {
        if self.taker == list.head {
            // The buffer stays where it is.
            self.taker = NIL;
        }
        let chunk = self.chunks.remove(list.head as usize);
        list.head = chunk.next;
        if list.head == NIL {
            list.tail = NIL;
        }
        let mut bytes = chunk.bytes;
        let (free, max) = match bytes.capacity() {
            FIRST_BYTES => (&mut self.free_first, FREE_FIRST_MAX),
            CHUNK_BYTES => (&mut self.free, FREE_CHUNKS_MAX),
            // Kept at its full length, which `ReadBuffer::exchange` requires.
            _ if bytes.len() == READ_BYTES && bytes.capacity() < 2 * READ_BYTES => {
                if self.free_buffers.len() < FREE_BUFFERS_MAX {
                    self.free_buffers.push(bytes);
                }
                return;
            }
            _ => return,
        };
        if free.len() < max {
            bytes.clear();
            free.push(bytes);
        }
    }

    /// Frees memory that is not needed now.
    pub(crate) fn trim(&mut self) {
        for free in [&mut self.free, &mut self.free_first, &mut self.free_buffers] {
            free.clear();
            give_back_list(free);
        }
        if self.chunks.is_empty() {
            let chunk = Chunk {
                bytes: Vec::new(),
                start: 0,
                end: 0,
                next: NIL,
            };
            give_back(&mut self.chunks, chunk);
        }
    }

    /// The bytes of a list in one piece.
    #[cfg(test)]
    pub(crate) fn to_vec(&self, list: &ChunkList) -> Vec<u8> {
        let mut all = Vec::with_capacity(list.len);
        let mut node = list.head;
        while let Some(chunk) = self.chunks.get(node as usize) {
            all.extend_from_slice(chunk.bytes());
            node = chunk.next;
        }
        all
    }
}

#[cfg(test)]
mod tests;
