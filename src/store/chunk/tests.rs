//! Lists of bytes: what goes in comes out, and nothing is kept.

use super::*;

#[test]
fn bytes_are_read_in_the_order_in_which_they_were_appended() {
    let mut pool = ChunkPool::of_short_lists();
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
    let mut pool = ChunkPool::of_short_lists();
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
    let mut pool = ChunkPool::of_short_lists();
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
