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

/// Checks that the counter works.
#[test]
fn allocations_are_counted() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 7])));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 7));
}
