//! A backend that is a Valkey 9.

use elika::proxy::{ClientKey, LinkKey};

use super::harness::Worker;

/// The HELLO reply of a Valkey 9.
pub(crate) const HELLO_OF_VALKEY: &str = "*6\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n\
    $7\r\nversion\r\n$5\r\n9.1.2\r\n$2\r\nid\r\n:77\r\n";

/// A client whose backend is a Valkey 9, and its shared connection.
pub(crate) fn on_valkey_9(worker: &mut Worker) -> (ClientKey, LinkKey) {
    let ann = worker.client_sends("AUTH ann pw");
    let shared = worker.new_link();
    worker.open_handshake(shared);
    worker.reply(shared, "+OK\r\n");
    worker.reply(shared, format!("{HELLO_OF_VALKEY}*0\r\n"));
    worker.received(ann);
    (ann, shared)
}

#[test]
fn client_reply_inside_multi_gets_the_error_of_the_server() {
    let mut worker = Worker::new();
    let (ann, _) = on_valkey_9(&mut worker);
    worker.send(ann, "MULTI");
    let dedicated = worker.new_link();
    worker.open_handshake(dedicated);
    worker.reply(dedicated, "+OK\r\n");
    worker.reply(dedicated, HELLO_OF_VALKEY);
    worker.settle();
    worker.reply(dedicated, "+OK\r\n");
    worker.received(ann);
    worker.send(ann, "CLIENT REPLY OFF");
    assert!(
        worker.requests(dedicated).contains("MULTI"),
        "it loses the transaction"
    );
    worker.reply(dedicated, "-ERR no\r\n");
    assert_eq!(
        worker.received(ann),
        "-ERR Command 'client|reply' not allowed inside a transaction\r\n"
    );
}

#[test]
fn readonly_and_capabilities_appear_in_client_info() {
    let mut worker = Worker::new();
    let (ann, shared) = on_valkey_9(&mut worker);
    worker.send(ann, "CLIENT INFO");
    worker.permit(shared);
    worker.received(ann);
    let shown = |worker: &mut Worker, line: &str| {
        worker.send(ann, line);
        worker.received(ann)
    };
    assert!(shown(&mut worker, "CLIENT INFO").contains(" flags=N capa= "));
    assert_eq!(shown(&mut worker, "READONLY"), "+OK\r\n");
    worker.send(ann, "CLIENT CAPA x redirect");
    worker.permit(shared);
    assert_eq!(worker.received(ann), "+OK\r\n");
    assert!(shown(&mut worker, "CLIENT INFO").contains(" flags=r capa=r "));
    assert_eq!(shown(&mut worker, "READWRITE"), "+OK\r\n");
    assert!(shown(&mut worker, "CLIENT INFO").contains(" flags=N capa=r "));
    let mut redis = Worker::new();
    let (ann, _) = redis.user("ann");
    redis.send(ann, "READONLY");
    let refused = "-ERR This instance has cluster support disabled\r\n";
    assert_eq!(redis.received(ann), refused);
}

#[test]
fn key_watched_twice_counts_once() {
    let mut worker = Worker::new();
    let (ann, _) = on_valkey_9(&mut worker);
    let dedicated = worker.dedicated(ann, "WATCH k k", "+OK\r\n");
    worker.send(ann, "WATCH k l");
    worker.reply(dedicated, "+OK\r\n");
    worker.received(ann);
    worker.send(ann, "CLIENT INFO");
    worker.permit(dedicated);
    assert!(worker.received(ann).contains(" watch=2 "));
}

#[test]
fn quotes_mix_in_inline_commands() {
    let mut worker = Worker::new();
    let (ann, shared) = on_valkey_9(&mut worker);
    worker.requests(shared);
    worker.send_bytes(ann, b"GET \"tes\"t-'k'ey\r\n");
    assert_eq!(
        worker.requests(shared),
        "*2\r\n$3\r\nGET\r\n$8\r\ntest-key\r\n"
    );
    let (mut worker, ann, _) = Worker::with_user("ann");
    worker.send_bytes(ann, b"GET \"tes\"t\r\n");
    let refused = "-ERR Protocol error: unbalanced quotes in request\r\n";
    assert_eq!(worker.received(ann), refused);
}
