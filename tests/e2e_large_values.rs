//! Large values in both directions: their memory in the proxy, and their effect on other clients.

mod support;

use support::{Proxy, Redis, array, wait_until};

const MB: u64 = 1 << 20;

/// Bytes of the large value.
const BIG: usize = 64 << 20;

#[test]
fn large_request_is_buffered_once() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut client = proxy.client();
    let mut neighbour = proxy.client();
    client.ask("PING");
    neighbour.ask("PING");
    let (before, _) = proxy.resident();
    client.send(format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${BIG}\r\n"));
    let part = vec![b'x'; MB as usize];
    for i in 0..BIG as u64 / MB {
        client.send(&part);
        // A slow uploader does not block other clients.
        assert_eq!(neighbour.ask("INCR n"), format!(":{}", i + 1));
    }
    client.send("\r\n");
    assert_eq!(client.reply(), "+OK");
    let (_, most) = proxy.resident();
    let grown = (most - before) / MB;
    assert!(grown <= 64 + 8, "a request of 64 MB took {grown} MB");
    wait_until("the memory is given back", || {
        proxy.resident().0 - before <= MB
    });
    assert_eq!(redis.ask("STRLEN big"), format!(":{BIG}"));
}

#[test]
fn large_reply_is_not_buffered() {
    let redis = Redis::open();
    redis.ask(&format!("SETRANGE big {} x", BIG - 1));
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut client = proxy.client();
    client.ask("PING");
    let (before, _) = proxy.resident();
    let reply = {
        client.send(array("GET big"));
        client.frame()
    };
    assert_eq!(reply.len(), BIG + format!("${BIG}\r\n\r\n").len());
    assert!(reply.ends_with(b"\0x\r\n"));
    let (_, most) = proxy.resident();
    assert!(
        most - before <= 8 * MB,
        "it took {} MB",
        (most - before) / MB
    );
}

/// No request waits behind the reader, so its backend connection is not read.
#[test]
fn slow_reader_alone_costs_no_memory() {
    let redis = Redis::open();
    redis.ask(&format!("SETRANGE big {} x", BIG - 1));
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut client = proxy.client();
    client.ask("PING");
    let (before, _) = proxy.resident();
    client.send([array("GET big"), array("ECHO end")].concat());
    client.expect(format!("${BIG}\r\n"));
    // Other clients are served meanwhile, on another connection.
    let mut neighbour = proxy.client();
    for i in 1..=200 {
        assert_eq!(neighbour.ask("INCR n"), format!(":{i}"));
        support::pause();
    }
    let (_, most) = proxy.resident();
    assert!(
        most - before <= 8 * MB,
        "it took {} MB",
        (most - before) / MB
    );
    let mut rest = vec![0; BIG - 1];
    rest.extend_from_slice(b"x\r\n");
    client.expect(rest);
    assert_eq!(client.reply(), "$3 end");
}

#[test]
fn other_clients_are_served_during_large_replies() {
    let redis = Redis::open();
    redis.ask(&format!("SETRANGE big {} x", (20 << 20) - 1));
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut reader = proxy.client();
    let mut neighbour = proxy.client();
    neighbour.ask("PING");
    for _ in 0..3 {
        reader.send(array("GET big"));
        for _ in 0..50 {
            assert!(neighbour.ask("INCR n").starts_with(':'));
        }
        assert_eq!(reader.frame().len(), (20 << 20) + 13);
    }
}

#[test]
fn client_may_disconnect_during_a_large_reply() {
    let redis = Redis::open();
    redis.ask(&format!("SETRANGE big {} x", (20 << 20) - 1));
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut neighbour = proxy.client();
    for _ in 0..5 {
        let mut reader = proxy.client();
        reader.send(array("GET big"));
        reader.expect("$20971520\r\n");
        drop(reader);
        assert!(neighbour.ask("INCR n").starts_with(':'));
    }
    wait_until("the replies are dropped", || {
        neighbour.ask("CLIENT LIST").matches(" addr=").count() == 1
    });
}

/// Client libraries write a whole pipeline before they read. Through the proxy such a pipeline must
/// finish as it does with a direct connection.
#[test]
fn pipeline_written_before_reading_is_answered() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let (one, four) = ("x".repeat(1_024), "y".repeat(4_096));
    let pipelines = [
        (20_000, array(&format!("GETSET a {one}")), one.len()),
        (10_000, array(&format!("SET b {four} GET")), four.len()),
        (250_000, array("GET a"), one.len()),
    ];
    redis.ask(&format!("MSET a {one} b {four}"));
    for (n, request, len) in pipelines {
        let mut client = proxy.client();
        client.send(request.repeat(n));
        let reply = format!("${len}\r\n").len() + len + 2;
        client.finish_sending();
        assert_eq!(
            client.rest_len(),
            n * reply,
            "of {n} replies of {len} bytes"
        );
    }
}
