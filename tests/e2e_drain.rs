//! SIGTERM: requests in flight are finished, nothing new starts, and the process ends in time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{
    Proxy, Redis, Wire, array, assert_took, now, request, signal, unused_port, wait_for, wait_until,
};

/// A script that keeps the server busy for this time in ms, then replies 7.
fn slow(ms: u32) -> Vec<u8> {
    let script = format!(
        "local t = redis.call('TIME') local s = t[1] * 1000 + t[2] / 1000 \
         repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 - s >= {ms} return 7"
    );
    request(&[b"EVAL", script.as_bytes(), b"0"])
}

/// Sends the script, and waits until the backend has it.
fn begin(client: &mut Wire, asker: &mut Wire, bytes: Vec<u8>) {
    assert_eq!(client.ask("PING"), "+PONG");
    client.send(bytes);
    // The worker has read both requests now.
    assert_eq!(asker.ask("UNWATCH"), "+OK");
}

#[test]
fn requests_in_flight_are_finished() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=1"]);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    begin(
        &mut client,
        &mut idle,
        [slow(400), array("GET k"), array("PING")].concat(),
    );
    proxy.signal("TERM");
    idle.expect_end();
    wait_until("new connections are refused", || {
        TcpStream::connect(proxy.address()).is_err()
    });
    assert!(!proxy.has_ended());
    assert_eq!(client.replies(3), [":7", "$-1", "+PONG"]);
    client.expect_end();
    assert_eq!(proxy.wait().code(), Some(0));
}

/// Probes see the drain; the SIGTERM that Kubernetes sends afterwards does not shorten it.
#[test]
fn service_port_starts_a_drain() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=1", "--grace-seconds=60"]);
    let service = proxy.service();
    wait_until("it is ready", || service.get("/readyz").status == 200);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    begin(&mut client, &mut idle, slow(400));
    assert_eq!(service.post("/drain", "").status, 202);
    idle.expect_end();
    let answer = service.get("/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("draining"), "{answer:?}");
    assert_eq!(service.get("/healthz").status, 200);
    assert!(
        service
            .get("/metrics")
            .body
            .contains("\nelika_draining 1\n")
    );
    proxy.signal("TERM");
    wait_until("that is noted", || proxy.logged("already draining") == 1);
    assert_eq!(client.reply(), ":7");
    client.expect_end();
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(service.try_ask("GET", "/healthz", None).is_err());
}

/// Workers without a client end at once, which is not a failure.
#[test]
fn service_port_drains_idle_workers() {
    let redis = Redis::open();
    for _ in 0..40 {
        let mut proxy = Proxy::with(&redis, &["--core-num=4"]);
        assert_eq!(proxy.service().post("/drain", "").status, 202);
        assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
    }
}

#[test]
fn signal_after_a_drain_call_needs_a_second_one_to_end_at_once() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=1", "--grace-seconds=60"]);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    begin(&mut client, &mut idle, slow(10_000));
    proxy.service().post("/drain", "");
    idle.expect_end();
    proxy.signal("TERM");
    wait_until("that is noted", || proxy.logged("already draining") == 1);
    proxy.signal("TERM");
    proxy.wait();
    client.expect_end();
    assert_eq!(proxy.logged("closing all connections"), 1);
}

#[test]
fn idle_proxy_ends_at_once() {
    for name in ["TERM", "INT"] {
        let redis = Redis::open();
        let mut proxy = Proxy::of(&redis);
        let mut clients: Vec<_> = (0..10).map(|_| proxy.client()).collect();
        assert!(
            clients
                .iter_mut()
                .all(|client| client.ask("PING") == "+PONG")
        );
        let start = now();
        proxy.signal(name);
        assert_eq!(proxy.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(2));
        for client in &mut clients {
            client.expect_end();
        }
    }
}

#[test]
fn second_signal_ends_the_drain_at_once() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=1", "--grace-seconds=60"]);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    begin(&mut client, &mut idle, slow(10_000));
    proxy.signal("TERM");
    idle.expect_end();
    let start = now();
    proxy.signal("TERM");
    proxy.wait();
    assert!(start.elapsed() < Duration::from_secs(2));
    client.expect_end();
}

#[test]
fn drain_ends_after_the_grace_period() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=1", "--grace-seconds=1"]);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    begin(&mut client, &mut idle, slow(10_000));
    let start = now();
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    assert_took(start, 1_000..3_000);
    assert!(proxy.log().contains("grace period ended"));
}

/// A client that never reads its replies does not keep the process alive beyond the grace period.
#[test]
fn slow_reader_does_not_extend_the_drain() {
    let redis = Redis::open();
    redis.ask("SETRANGE big 20000000 x");
    let mut proxy = Proxy::with(&redis, &["--core-num=1", "--grace-seconds=1"]);
    let mut client = proxy.client();
    client.send(array("GET big"));
    client.expect("$20000001\r\n");
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn sighup_does_not_end_the_proxy() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    assert_eq!(client.ask("PING"), "+PONG");
    proxy.signal("HUP");
    wait_until("the log says so", || proxy.logged("SIGHUP") == 1);
    assert_eq!(client.ask("SET k v"), "+OK");
}

#[test]
fn port_in_use_is_one_error_line() {
    refused_for("port", "service-port");
    refused_for("service-port", "port");
}

fn refused_for(option: &str, other: &str) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = Command::new(env!("CARGO_BIN_EXE_elika-proxy"))
        .args(["--bind=127.0.0.1", "--log.level=off"])
        .args([format!("--{option}={port}"), format!("--{other}=0")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = format!("elika-proxy: cannot listen at 127.0.0.1:{port} (--{option}): ");
    assert!(text.starts_with(&line), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn ignored_signals_do_not_end_the_proxy() {
    let redis = Redis::open();
    let mut proxy = Proxy::of(&redis);
    let mut client = proxy.client();
    for name in [
        "XFSZ", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "XCPU", "IO",
    ] {
        proxy.signal(name);
        assert_eq!(client.ask("PING"), "+PONG", "SIG{name}");
    }
    // Ctrl-\\ starts a drain, as Ctrl-C does.
    proxy.signal("QUIT");
    client.expect_end();
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(proxy.logged("stopped"), 1);
}

/// The log fills the pipe and the queue behind it; nothing reads the pipe.
#[test]
fn full_log_pipe_does_not_block_the_proxy() {
    let redis = Redis::open();
    let port = unused_port();
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_elika-proxy"))
        .args(["--bind=127.0.0.1", "--service-port=0", "--log.level=debug"])
        .arg(format!("--port={port}"))
        .arg(format!("--router.static-be={}", redis.address()))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let unread = proxy.stderr.take().unwrap();
    wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    // Each call logs a line of about 80 bytes, and a pipe holds 64 KiB.
    for _ in 0..2_000 {
        let mut client = Wire::connect(("127.0.0.1", port));
        assert_eq!(client.ask("PING"), "+PONG");
    }
    signal(proxy.id(), "TERM");
    assert_eq!(wait_for(&mut proxy).code(), Some(0));
    drop(unread);
}
