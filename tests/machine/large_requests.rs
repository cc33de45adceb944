//! Large requests: they leave in the pieces in which they arrive.

use super::harness::{READ_BYTES, Worker, command};

/// Arguments of all sizes arrive in pieces of all sizes.
#[test]
fn large_requests_reach_the_backend_unchanged() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    let small: Vec<_> = (0..9_000).map(|nth| format!("k{nth} v{nth}")).collect();
    let line = |value: usize| format!("SET key {} EX 10", "x".repeat(value));
    let requests = [
        line(32_700),
        line(65_500),
        line(200_000),
        format!("MSET {}", small.join(" ")),
        // It is seen whole.
        format!("EVAL {} 0", "x".repeat(100_000)),
    ];
    for request in requests.map(|line| command(&line)) {
        for size in [READ_BYTES, 40_000, 33_333, 1_009] {
            let bytes = [request.clone(), command("GET behind")].concat();
            for part in bytes.chunks(size) {
                worker.send_bytes(client, part);
            }
            let sent = worker.requests(backend);
            let same = sent.as_bytes() == bytes;
            assert!(same, "{} of {} bytes in {size}", sent.len(), bytes.len());
            worker.deliver(backend, client, "+OK\r\n$-1\r\n");
        }
    }
}

#[test]
fn protocol_error_behind_a_large_argument_closes_the_client() {
    let text = "-ERR Protocol error: expected '$', got ':'\r\n";
    for tail in [b"\r\n:1\r\n".as_slice(), b"\r\n$1\r\nk\r\n:1\r\n"] {
        for size in [READ_BYTES, 1_009] {
            let mut worker = Worker::new();
            let (client, _) = worker.anonymous();
            let mut bytes = b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$200000\r\n".to_vec();
            bytes.resize(bytes.len() + 200_000, b'x');
            bytes.extend_from_slice(tail);
            for part in bytes.chunks(size) {
                worker.send_bytes(client, part);
            }
            assert_eq!(worker.received(client), text);
            assert!(worker.closed(client));
        }
    }
}
