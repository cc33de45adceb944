//! Outbound bytes: lists of chunks, their nodes and their memory owned by one pool per worker.
//!
//! An empty list owns nothing, so an idle connection costs its record only. Small appends share
//! pooled chunks; what is larger than a chunk gets memory of exactly its size, and a request that
//! is in a buffer of its own already is moved in whole.

use std::io::IoSlice;

use slab::Slab;

/// Bytes of a pooled chunk: a turn's requests to one backend fit in a few, and only the pages
/// that are written to cost memory.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes of the chunk that a list begins with, if no more is wanted: many clients have one reply
/// each in a turn, and a whole chunk for each would go beyond those that are kept.
const FIRST_BYTES: usize = 1024;

/// Free first chunks kept for the next turn: as many as a turn has events.
const FREE_FIRST_MAX: usize = 512;

/// Free chunks kept for the next turn (last in, first out: the warm ones are reused first).
const FREE_CHUNKS_MAX: usize = 64;

/// Slices of one vectored write: as many chunks are a quarter of a megabyte, and setting them up
/// costs nothing beside the write.
pub const SLICES_MAX: usize = 16;

const NIL: u32 = u32::MAX;

/// All chunks of a worker.
#[derive(Debug, Default)]
pub(super) struct ChunkPool {
    chunks: Slab<Chunk>,
    free: Vec<Vec<u8>>,
    free_first: Vec<Vec<u8>>,
    bytes: usize,
}

/// `start <= bytes.len()`; what is before `start` has been sent.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    start: usize,
    next: u32,
}

/// A queue of bytes in a [`ChunkPool`]. Not `Clone`: one owner. It must be given back with
/// [`ChunkPool::clear`]; forgetting leaks it until the pool goes.
#[derive(Debug)]
pub(super) struct ChunkList {
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
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Is there nothing to send?
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl ChunkPool {
    /// Bytes in all lists.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies bytes to the end of a list.
    pub(super) fn append(&mut self, list: &mut ChunkList, mut bytes: &[u8]) {
        list.len += bytes.len();
        self.bytes += bytes.len();
        if let Some(tail) = self.chunks.get_mut(list.tail as usize) {
            let room = tail.bytes.capacity() - tail.bytes.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            tail.bytes.extend_from_slice(now);
            bytes = later;
        }
        if bytes.is_empty() {
            return;
        }
        let first = list.head == NIL;
        let (free, capacity) = match bytes.len() {
            ..=FIRST_BYTES if first => (self.free_first.pop(), FIRST_BYTES),
            ..=CHUNK_BYTES => (self.free.pop(), CHUNK_BYTES),
            more => (None, more),
        };
        let mut chunk = free.unwrap_or_else(|| Vec::with_capacity(capacity));
        chunk.extend_from_slice(bytes);
        self.link(list, chunk);
    }

    /// Moves a buffer to the end of a list, without a copy.
    pub(super) fn append_owned(&mut self, list: &mut ChunkList, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        list.len += bytes.len();
        self.bytes += bytes.len();
        self.link(list, bytes);
    }

    #[inline]
    fn link(&mut self, list: &mut ChunkList, bytes: Vec<u8>) {
        let node = self.chunks.insert(Chunk {
            bytes,
            start: 0,
            next: NIL,
        }) as u32;
        match self.chunks.get_mut(list.tail as usize) {
            Some(tail) => tail.next = node,
            None => list.head = node,
        }
        list.tail = node;
    }

    /// All bytes of a list, if they are in one piece.
    #[inline]
    pub(super) fn whole(&self, list: &ChunkList) -> Option<&[u8]> {
        let chunk = self.chunks.get(list.head as usize)?;
        (list.head == list.tail).then_some(chunk.bytes.get(chunk.start..)?)
    }

    /// The front of a list as slices for one write; `into` bounds how many. Returns their number.
    #[inline]
    pub(super) fn slices<'a>(&'a self, list: &ChunkList, into: &mut [IoSlice<'a>]) -> usize {
        let mut node = list.head;
        let mut n = 0;
        while let (Some(chunk), Some(slot)) = (self.chunks.get(node as usize), into.get_mut(n)) {
            *slot = IoSlice::new(chunk.bytes.get(chunk.start..).unwrap_or_default());
            node = chunk.next;
            n += 1;
        }
        n
    }

    /// Drops `n` bytes from the front: they have been sent. `n <= list.len()`.
    pub(super) fn consume(&mut self, list: &mut ChunkList, mut n: usize) {
        debug_assert!(n <= list.len);
        n = n.min(list.len);
        list.len -= n;
        self.bytes -= n;
        while let Some(chunk) = self.chunks.get_mut(list.head as usize) {
            let here = chunk.bytes.len() - chunk.start;
            if n < here {
                chunk.start += n;
                return;
            }
            n -= here;
            self.unlink(list);
        }
    }

    /// Empties a list and takes its memory back.
    pub(super) fn clear(&mut self, list: &mut ChunkList) {
        self.consume(list, list.len);
    }

    fn unlink(&mut self, list: &mut ChunkList) {
        let chunk = self.chunks.remove(list.head as usize);
        list.head = chunk.next;
        if list.head == NIL {
            list.tail = NIL;
        }
        let mut bytes = chunk.bytes;
        let (free, max) = match bytes.capacity() {
            FIRST_BYTES => (&mut self.free_first, FREE_FIRST_MAX),
            CHUNK_BYTES => (&mut self.free, FREE_CHUNKS_MAX),
            _ => return,
        };
        if free.len() < max {
            bytes.clear();
            free.push(bytes);
        }
    }

    /// The bytes of a list in one piece.
    #[cfg(test)]
    pub(super) fn to_vec(&self, list: &ChunkList) -> Vec<u8> {
        let mut all = Vec::with_capacity(list.len);
        let mut node = list.head;
        while let Some(chunk) = self.chunks.get(node as usize) {
            all.extend_from_slice(chunk.bytes.get(chunk.start..).unwrap_or_default());
            node = chunk.next;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_pieces() {
        let mut pool = ChunkPool::default();
        let mut list = ChunkList::default();
        let mut expected = Vec::new();
        for (i, size) in [1, 7, CHUNK_BYTES, 3, 50_000, 2 * CHUNK_BYTES, 9]
            .into_iter()
            .enumerate()
        {
            let piece = vec![i as u8; size];
            expected.extend_from_slice(&piece);
            if i == 4 {
                pool.append_owned(&mut list, piece);
            } else {
                pool.append(&mut list, &piece);
            }
        }
        assert_eq!(list.len(), expected.len());
        assert_eq!(pool.to_vec(&list), expected);
        let mut got = Vec::new();
        for step in [1usize, 10, 16_000, 70_000, 1].into_iter().cycle() {
            if list.is_empty() {
                break;
            }
            let all = pool.to_vec(&list);
            let n = step.min(all.len());
            got.extend_from_slice(&all[..n]);
            pool.consume(&mut list, n);
        }
        assert_eq!(got, expected);
        assert_eq!(pool.bytes(), 0);
        assert!(pool.chunks.is_empty());
    }

    #[test]
    fn an_empty_list_owns_nothing_and_free_chunks_are_bounded() {
        let mut pool = ChunkPool::default();
        let mut lists: Vec<ChunkList> = Vec::new();
        for _ in 0..2 * FREE_FIRST_MAX {
            let mut list = ChunkList::default();
            pool.append(&mut list, b"x");
            pool.append(&mut list, &[b'x'; FIRST_BYTES]);
            lists.push(list);
        }
        for list in &mut lists {
            pool.clear(list);
            assert!(list.is_empty());
        }
        assert!(pool.chunks.is_empty());
        assert_eq!(pool.free.len(), FREE_CHUNKS_MAX);
        assert_eq!(pool.free_first.len(), FREE_FIRST_MAX);
    }

    #[test]
    fn slices_are_bounded_and_skip_what_was_sent() {
        let mut pool = ChunkPool::default();
        let mut list = ChunkList::default();
        for _ in 0..5 {
            pool.append_owned(&mut list, b"abc".to_vec());
        }
        pool.consume(&mut list, 4);
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(pool.slices(&list, &mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"bc"[..], &b"abc"[..]));
        pool.clear(&mut list);
    }
}
