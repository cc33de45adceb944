//! Allocates and frees memory so that the allocator returns it to the system.
//!
//! The rules here are those of glibc; with another allocator they do no harm.

use std::collections::VecDeque;
use std::hint::black_box;

use slab::Slab;

/// Above the sizes (up to 1,032 bytes) that glibc caches for each thread and never returns.
pub(crate) const UNCACHED_BYTES: usize = 1_100;

/// The difference between two neighbouring sizes of that cache, bytes.
const CACHED_BYTES_STEP: usize = 16;

/// The most free pieces of one size in that cache.
const CACHED_PIECES: usize = 7;

/// The smallest allocation that glibc may map separately (malloc.c, `DEFAULT_MMAP_THRESHOLD_MIN`).
const MAPPED_BYTES_LEAST: usize = 128 * 1024;

/// An allocation of this size is always mapped separately and returned as soon as it is freed,
/// because the threshold for that is at most 32 MiB (malloc.c, `DEFAULT_MMAP_THRESHOLD_MAX`).
pub(crate) const MAPPED_BYTES_MIN: usize = 33 << 20;

/// Before a request causes a copy of this many bytes, the available memory is checked.
pub(crate) const LARGE_BYTES: usize = 1 << 20;

/// Can the process allocate this many bytes in one piece?
pub(crate) fn has_memory(bytes: usize) -> bool {
    let mut piece: Vec<u8> = Vec::new();
    let there = piece.try_reserve_exact(bytes).is_ok();
    // The memory is not written to, so it costs address space only. It must not be optimised away.
    black_box(&piece);
    // See `make_small`.
    piece.shrink_to(UNCACHED_BYTES);
    there
}

/// Shrinks the memory of a slab that is empty except for `something`; a slab without a value cannot
/// be shrunk.
///
/// Memory is shrunk before it is freed: glibc raises its thresholds to the size of the largest
/// mapped piece that is freed, and from then on keeps up to twice as much free memory (mallopt(3),
/// `M_MMAP_THRESHOLD`; malloc.c, `mp_.trim_threshold`).
#[cold]
pub(crate) fn make_small<T>(slab: &mut Slab<T>, something: T) -> T {
    slab.clear();
    let index = slab.insert(something);
    slab.shrink_to_fit();
    slab.remove(index)
}

/// Frees the memory of an empty slab; see [`make_small`]. A slab that is too small to be mapped
/// separately is not shrunk first: glibc would keep the rest of it in the thread's cache, between
/// free pieces.
pub(crate) fn give_back<T>(slab: &mut Slab<T>, something: T) {
    if slab.capacity() * size_of::<T>() >= MAPPED_BYTES_LEAST {
        make_small(slab, something);
    }
    *slab = Slab::new();
}

/// Frees most of a buffer that is larger than `max` and at most half full. The bytes are copied to
/// a new piece of at least `max` bytes: a piece shrunk in place could leave a rest so small that
/// glibc keeps it in the thread's cache, between free pieces.
pub(crate) fn shrink(bytes: &mut Vec<u8>, max: usize) {
    if bytes.is_empty() && bytes.capacity() > max {
        *bytes = Vec::new();
    }
    let mut small = Vec::new();
    if bytes.capacity() > max
        && bytes.len() <= bytes.capacity() / 2
        && small.try_reserve_exact(max.max(bytes.len())).is_ok()
    {
        small.extend_from_slice(bytes);
        *bytes = small;
    }
}

/// Exchanges the small free pieces in glibc's cache of the thread for others at lower addresses.
/// Pieces that were freed in a burst keep the free memory below them from being returned.
pub(crate) fn trade_cached_pieces() {
    for bytes in (CACHED_BYTES_STEP..UNCACHED_BYTES).step_by(CACHED_BYTES_STEP) {
        let pieces = || Vec::<u8>::with_capacity(bytes);
        let mut pieces: Vec<_> = (0..2 * CACHED_PIECES).map(|_| pieces()).collect();
        pieces.sort_unstable_by_key(|piece| piece.as_ptr());
        black_box(&pieces);
    }
}

/// Frees the memory of an empty list, which may lie above free memory and keep it from being
/// returned.
pub(crate) fn give_back_list<T>(list: &mut Vec<T>) {
    if list.is_empty() {
        *list = Vec::new();
    }
}

/// Frees memory that a queue does not need now; see [`make_small`].
pub(crate) fn shrink_queue<T>(queue: &mut VecDeque<T>) {
    queue.shrink_to(1);
    // The memory must move: it may lie behind everything that was freed.
    queue.shrink_to(0);
}
