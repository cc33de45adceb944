//! Joins lists, and splits a list in two.

use std::mem;

use crate::store::chunk::{ChunkList, ChunkPool, FIRST_BYTES, NIL};

impl ChunkPool {
    /// Moves a whole list to the end of another one.
    pub(crate) fn append_list(&mut self, list: &mut ChunkList, other: &mut ChunkList) {
        let other = mem::take(other);
        if other.is_empty() {
            return;
        }
        match self.chunks.get_mut(list.tail as usize) {
            Some(tail) => tail.next = other.head,
            None => list.head = other.head,
        }
        list.tail = other.tail;
        list.len += other.len;
    }

    /// Like [`append_list`](Self::append_list), but copies a short list, so that many short lists
    /// become few chunks.
    pub(crate) fn join(&mut self, list: &mut ChunkList, other: &mut ChunkList) {
        if !list.is_empty()
            && other.len <= FIRST_BYTES
            && other.head == other.tail
            && self.taker != other.head
            && let Some(chunk) = self.chunks.get_mut(other.head as usize)
        {
            let bytes = mem::take(&mut chunk.bytes);
            let range = chunk.start..chunk.end;
            self.append(list, bytes.get(range).unwrap_or_default());
            if let Some(chunk) = self.chunks.get_mut(other.head as usize) {
                chunk.bytes = bytes;
            }
            return self.clear(other);
        }
        self.append_list(list, other);
    }

    /// Splits off the first `n` bytes of a list. Only the chunk at the cut is copied. Must not be
    /// called while a buffer is being taken.
    pub(crate) fn split_front(&mut self, list: &mut ChunkList, n: usize) -> ChunkList {
        debug_assert!(!self.is_taking());
        let (mut front, mut n) = (ChunkList::default(), n.min(list.len));
        while n > 0
            && let Some(chunk) = self.chunks.get_mut(list.head as usize)
        {
            let here = chunk.end - chunk.start;
            if n < here {
                let part = chunk.bytes().get(..n).unwrap_or_default().to_vec();
                self.consume(list, n);
                self.append(&mut front, &part);
                break;
            }
            let next = mem::replace(&mut chunk.next, NIL);
            let mut first = ChunkList {
                head: list.head,
                tail: list.head,
                len: here,
            };
            list.head = next;
            if next == NIL {
                list.tail = NIL;
            }
            list.len -= here;
            n -= here;
            self.append_list(&mut front, &mut first);
        }
        front
    }
}
