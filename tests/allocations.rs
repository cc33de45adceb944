//! Forwarding a request and delivering its reply allocates nothing, once all buffers have grown.
//!
//! The machine runs without sockets, driven like by a reactor; the allocator counts. Buffers may
//! grow while the worker warms up; the counted turns must not allocate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../benches/micro/worker.rs"]
mod worker;

use allocation_counter::AllocationInfo;
use elika::command::scatter::{CrossSlot, Rule, rule};
use elika::resp::{Protocol, write};
use worker::{Exchange, Worker};

/// Turns before counting: each queue and free list has its size after the first few.
const WARM_UP_TURNS: usize = 20;

/// Counted turns.
const TURNS: usize = 20;

/// Requests, and the allocations for them.
fn count(clients: usize, exchange: &Exchange) -> (u64, AllocationInfo) {
    let mut worker = Worker::new(clients);
    for _ in 0..WARM_UP_TURNS {
        worker.exchange(clients, exchange);
    }
    let mut requests = 0;
    let counted = allocation_counter::measure(|| {
        for _ in 0..TURNS {
            requests += worker.exchange(clients, exchange);
        }
    });
    assert_eq!(requests, TURNS * clients * exchange.pipeline);
    (requests as u64, counted)
}

#[track_caller]
fn allocate_nothing(clients: usize, exchange: &Exchange) {
    let (requests, counted) = count(clients, exchange);
    assert_eq!(
        (counted.count_total, counted.bytes_total),
        (0, 0),
        "allocations and bytes for {requests} requests of {clients} clients"
    );
}

#[test]
fn one_client_allocates_nothing() {
    allocate_nothing(1, &Exchange::get(1, 32));
}

#[test]
fn fifty_clients_allocate_nothing() {
    allocate_nothing(50, &Exchange::get(1, 32));
}

#[test]
fn five_hundred_clients_allocate_nothing() {
    allocate_nothing(500, &Exchange::get(1, 32));
}

#[test]
fn pipelines_allocate_nothing() {
    allocate_nothing(50, &Exchange::get(16, 32));
    allocate_nothing(10, &Exchange::get(100, 32));
}

#[test]
fn writes_allocate_nothing() {
    allocate_nothing(50, &Exchange::new(&[b"SET", b"key", &[b'x'; 512]], 1, 2));
}

/// Memory of exactly their size, once.
#[test]
fn large_values_allocate_once() {
    let exchange = Exchange::get(1, 16 << 10);
    let (requests, counted) = count(50, &exchange);
    assert!(counted.count_total <= requests, "{counted:?}");
    assert!(counted.bytes_total <= requests * (17 << 10), "{counted:?}");
}

/// A request with keys in several slots allocates for its parts together.
#[test]
fn split_request_does_not_allocate_for_each_key() {
    for (command, reply, keys) in [
        ("MGET", "*1\r\n$1\r\nx\r\n", 2),
        ("MGET", "*1\r\n$1\r\nx\r\n", 100),
        ("EXISTS", ":1\r\n", 10_000),
    ] {
        let words: Vec<String> = (0..keys).map(|n| format!("key:{n:012}")).collect();
        let words = std::iter::once(command).chain(words.iter().map(String::as_str));
        let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
        let mut request = Vec::new();
        write::command(&mut request, &words);
        let mut merge = None;
        let split = allocation_counter::measure(|| {
            let Rule::Slots(split) = rule(&request, CrossSlot::Read) else {
                panic!("not split");
            };
            merge = Some((split.count(), split.into_merge()));
        });
        assert!(split.count_total <= 5, "{keys} keys: {split:?}");
        assert!(split.bytes_total <= keys * 128, "{keys} keys: {split:?}");
        let (parts, mut merge) = merge.unwrap();
        let merged = allocation_counter::measure(|| {
            (0..parts).for_each(|part| merge.part(part, reply.as_bytes()));
            let reply = merge.finish(Protocol::Resp2);
            assert!(!reply.starts_with(b"-"), "{}", reply.escape_ascii());
        });
        assert!(merged.count_total <= 4, "{keys} keys: {merged:?}");
    }
}

/// Checks that the counter works.
#[test]
fn allocations_are_counted() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 7])));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 7));
}
