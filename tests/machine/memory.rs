//! The memory that a large request uses, as the kernel reports it.
//!
//! Other tests run in the same process, so each of these tests runs itself again in its own
//! process.

use std::env;
use std::fs;
use std::process::Command;

use super::harness::{READ_BYTES, Worker, command};

const ALONE: &str = "ELIKA_TEST_ALONE";

/// The reads of the value, without its last bytes, which arrive with the start of the next request.
const READS: usize = 760;
const VALUE_BYTES: usize = READS * READ_BYTES + 1_000;

/// The number of clients whose replies wait for earlier ones, and of replies of each client.
const CLIENTS: usize = 200;
const ROUNDS: usize = 100;

#[test]
fn large_request_is_buffered_once_when_another_follows() {
    alone(
        "memory::large_request_is_buffered_once_when_another_follows",
        keep_a_big_request,
    );
}

#[test]
fn replies_that_waited_leave_no_memory() {
    alone(
        "memory::replies_that_waited_leave_no_memory",
        let_replies_wait,
    );
}

/// Runs the test with this name in its own process.
fn alone(name: &str, measure: fn()) {
    if env::var_os(ALONE).is_some() {
        return measure();
    }
    let mut again = Command::new(env::current_exe().unwrap());
    let output = again.args(["--exact", name]).env(ALONE, "1").output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn let_replies_wait() {
    let mut worker = Worker::new();
    let (first, backend) = worker.anonymous();
    let clients: Vec<_> = (1..CLIENTS).map(|_| worker.client()).collect();
    worker.send(first, "CLIENT ID");
    worker.permit(backend);
    assert_eq!(worker.received(first), ":1\r\n");
    let before = resident("VmRSS:");
    worker.stall(backend);
    let pair = [command("GET x"), command("CLIENT ID")].concat();
    for &client in clients.iter().chain([&first]) {
        worker.send_bytes(client, pair.repeat(ROUNDS));
    }
    let held = resident("VmRSS:") - before;
    worker.discard(backend);
    for &client in clients.iter().chain([&first]) {
        worker.machine.client_closed(client);
    }
    worker.reply(backend, "$-1\r\n".repeat(ROUNDS * CLIENTS));
    worker.advance(10_000);
    worker.advance(10_000);
    let kept = resident("VmRSS:").saturating_sub(before);
    assert!(held > CLIENTS * ROUNDS * 1_000, "{held} bytes were held");
    assert!(kept < held / 5, "{kept} of {held} bytes are kept");
}

fn keep_a_big_request() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.stall(backend);
    let before = resident("VmRSS:");
    worker.send_bytes(
        client,
        format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${VALUE_BYTES}\r\n"),
    );
    for _ in 0..READS {
        worker.send_bytes(client, [b'x'; READ_BYTES]);
    }
    let rest = VALUE_BYTES - READS * READ_BYTES;
    worker.send_bytes(client, format!("{}\r\n*", "x".repeat(rest)));
    let waiting = worker.machine.outbound_bytes();
    assert!(
        waiting > VALUE_BYTES,
        "{waiting} bytes wait for the backend"
    );
    let most = resident("VmHWM:") - before;
    assert!(most < VALUE_BYTES * 3 / 2, "it took {most} bytes");
    worker.discard(backend);
    worker.deliver(backend, client, "+OK\r\n");
    // When the next request is complete as well, no memory of either is left.
    worker.send_bytes(client, "1\r\n$6\r\nDBSIZE\r\n");
    worker.discard(backend);
    worker.reply(backend, ":1\r\n");
    worker.advance(10_000);
    let kept = resident("VmRSS:").saturating_sub(before);
    assert!(kept < VALUE_BYTES / 10, "{kept} bytes are kept");
}

/// A field of this process's status, in bytes.
fn resident(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() * 1024
}
