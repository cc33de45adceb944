//! Every limit: the error of the client that reaches it, and that other clients are not affected.

mod support;

use std::time::Duration;

use support::{
    Proxy, Redis, Wire, array, assert_took, now, request, timers_of_established, wait_until,
};

#[test]
fn client_above_limit_clients_gets_an_error_and_is_closed() {
    let (_redis, proxy) = Redis::open().proxied(&["--limit.clients=3"]);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "+PONG");
    }
    for _ in 0..3 {
        let mut refused = proxy.client();
        assert_eq!(refused.reply(), "-ERR max number of clients reached");
        refused.expect_end();
    }
    clients.pop();
    wait_until("there is room again", || {
        let mut client = proxy.client();
        client.try_send(array("PING"));
        client.try_frame().is_ok_and(|reply| reply == b"+PONG\r\n")
    });
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "+PONG");
    }
}

#[test]
fn clients_leave_descriptors_for_backends_and_probes() {
    let redis = Redis::open();
    let proxy = Proxy::by_shell(
        "ulimit -n 128; exec \"$0\" \"$@\"",
        &redis,
        &["--core-num=1"],
    );
    assert_eq!(
        proxy.logged("limit lowered limit=limit.clients"),
        1,
        "{}",
        proxy.log()
    );
    let mut first = proxy.client();
    assert_eq!(first.ask("SET k v"), "+OK");
    let mut clients: Vec<_> = (0..150).map(|_| proxy.client()).collect();
    let last = clients.last_mut().unwrap();
    assert_eq!(last.reply(), "-ERR max number of clients reached");
    assert_eq!(proxy.logged("acceptor: paused"), 0, "{}", proxy.log());
    // Everything that needs a descriptor gets one.
    assert_eq!(first.ask("AUTH ann annpw"), "+OK");
    assert_eq!(first.ask("SUBSCRIBE news"), "*3 $9 subscribe $4 news :1");
    assert_eq!(proxy.service().get("/healthz").status, 200);
    drop(clients);
    wait_until("there is room again", || {
        let mut client = proxy.client();
        client.try_send(array("GET k"));
        client
            .try_frame()
            .is_ok_and(|reply| reply == b"$1\r\nv\r\n")
    });
}

/// A peer whose machine is gone sends nothing, so the kernel probes it. The timer is the second
/// column after the queues, `02` for keepalive.
#[cfg(target_os = "linux")]
#[test]
fn silent_peers_are_probed_on_both_sides() {
    let redis = Redis::open();
    for (option, timer) in [
        ("tcp.keepalive-seconds=30", "02"),
        ("tcp.keepalive-seconds=0", "00"),
    ] {
        let proxy = Proxy::with(&redis, &[&format!("--{option}")]);
        let mut client = proxy.client();
        assert_eq!(client.ask("PING"), "+PONG");
        let ports = [(proxy.address().port(), true), (redis.port(), false)];
        for (port, local) in ports {
            let mut timers = Vec::new();
            wait_until(&format!("{option}: timer {timer} at {port}"), || {
                timers = timers_of_established(port, local);
                !timers.is_empty() && timers.iter().all(|it| it == timer)
            });
        }
        drop(client);
    }
}

/// A request that no process can store is an error, not the end of the process.
#[test]
fn incomplete_requests_without_memory_get_an_error() {
    let redis = Redis::open();
    let proxy = Proxy::by_shell(
        "ulimit -v 1500000; exec \"$0\" \"$@\"",
        &redis,
        &["--core-num=1"],
    );
    let lowered = "memory: limit lowered limit=limit.worker-buffer-bytes";
    assert_eq!(proxy.logged(lowered), 1, "{}", proxy.log());
    let half = vec![b'x'; 100 << 20];
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.try_send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\n");
        client.try_send(&half);
        assert_eq!(proxy.client().ask("PING"), "+PONG", "{}", proxy.log());
    }
}

/// The limits are higher than the memory of the process: the client with the most bytes is closed,
/// and others are not affected.
#[test]
fn incomplete_requests_that_fill_the_memory_close_the_largest_client() {
    let redis = Redis::open();
    let options = [
        "--core-num=1",
        "--limit.worker-buffer-bytes=2000000000",
        "--limit.worker-outbound-bytes=2000000000",
        "--limit.tenant-buffer-bytes=2000000000",
    ];
    let proxy = Proxy::by_shell("ulimit -v 400000; exec \"$0\" \"$@\"", &redis, &options);
    let mut neighbour = proxy.client();
    assert_eq!(neighbour.ask("SET k v"), "+OK");
    let mut clients = Vec::new();
    for round in 0..120 {
        // Buffered in pieces, in one piece, and with a buffer that doubles.
        let sent = [40_000, 1 << 20, 5 << 20, 12 << 20][round % 4];
        let mut client = proxy.client();
        client.try_send(format!("*3\r\n$3\r\nSET\r\n$1\r\nh\r\n${}\r\n", 2 * sent));
        client.try_send(vec![b'x'; sent]);
        clients.push(client);
        assert_eq!(neighbour.ask("GET k"), "$1 v", "{}", proxy.log());
    }
    assert!(proxy.logged("limit=memory") >= 1, "{}", proxy.log());
    // And requests whose reply would be as large as they are.
    for _ in 0..4 {
        let mut client = proxy.client();
        client.try_send("*2\r\n$4\r\nECHO\r\n$60000000\r\n");
        client.try_send(vec![b'x'; 60_000_000]);
        client.try_send("\r\n");
        clients.push(client);
        assert_eq!(neighbour.ask("GET k"), "$1 v", "{}", proxy.log());
    }
    drop(clients);
    assert_eq!(neighbour.ask("GET k"), "$1 v", "{}", proxy.log());
}

#[test]
fn pipeline_above_limit_in_flight_is_answered_in_order() {
    let (_redis, proxy) = Redis::open().proxied(&["--limit.in-flight=7"]);
    let mut client = proxy.client();
    for n in [1, 6, 7, 8, 500] {
        client.ask("DEL n");
        client.send(
            (0..n)
                .flat_map(|_| [array("INCR n"), array("PING")].concat())
                .collect::<Vec<_>>(),
        );
        for i in 1..=n {
            assert_eq!(client.replies(2), [format!(":{i}"), "+PONG".into()]);
        }
    }
}

#[test]
fn slow_reader_with_a_write_behind_it_is_closed() {
    let redis = Redis::open();
    redis.ask("SETRANGE big 39999999 x");
    let options = [
        "--core-num=1",
        "--backend-pool.max-size=1",
        "--limit.client-outbound-bytes=1000000",
    ];
    let proxy = Proxy::with(&redis, &options);
    let (mut reader, mut neighbour) = (proxy.client(), proxy.client());
    assert_eq!(neighbour.ask("PING"), "+PONG");
    let (before, _) = proxy.resident();
    reader.send(array("GET big"));
    reader.expect("$40000000\r\n");
    for i in 1..=10 {
        assert_eq!(neighbour.ask("INCR n"), format!(":{i}"));
    }
    let came = reader.rest_len();
    assert!(came < 39_000_000, "all of it came");
    let (_, most) = proxy.resident();
    assert!(most - before < 16 << 20, "it took {} bytes", most - before);
    assert_eq!(neighbour.ask("GET n"), "$2 10");
}

/// Many small replies: a pipeline whose replies are not read.
#[test]
fn unread_pipeline_takes_bounded_memory_and_delays_no_other_client() {
    let redis = Redis::open();
    redis.ask("SETRANGE big 99999 x");
    let options = ["--core-num=1", "--limit.client-outbound-bytes=1000000"];
    let proxy = Proxy::with(&redis, &options);
    let (mut reader, mut neighbour) = (proxy.client(), proxy.client());
    neighbour.ask("PING");
    let (before, _) = proxy.resident();
    reader.send((0..300).flat_map(|_| array("GET big")).collect::<Vec<_>>());
    for i in 1..=100 {
        assert_eq!(neighbour.ask("INCR n"), format!(":{i}"));
    }
    let (_, most) = proxy.resident();
    assert!(most - before < 16 << 20, "it took {} bytes", most - before);
}

#[test]
fn worker_outbound_bytes_are_limited() {
    let redis = Redis::open();
    redis.ask("SETRANGE big 29999999 x");
    let options = [
        "--core-num=1",
        "--backend-pool.max-size=1",
        "--limit.client-outbound-bytes=1000000000",
        "--limit.worker-outbound-bytes=4000000",
    ];
    let proxy = Proxy::with(&redis, &options);
    let (mut reader, mut neighbour) = (proxy.client(), proxy.client());
    neighbour.ask("PING");
    reader.send(array("GET big"));
    reader.expect("$30000000\r\n");
    assert_eq!(neighbour.ask("INCR n"), ":1");
    assert!(reader.rest_len() < 29_000_000, "all of it came");
    assert_eq!(neighbour.ask("INCR n"), ":2");
}

#[test]
fn idle_client_is_closed() {
    let redis = Redis::open();
    let proxy = Proxy::with(
        &redis,
        &["--limit.idle-seconds=1", "--limit.login-seconds=0"],
    );
    let (mut silent, mut busy) = (proxy.client(), proxy.client());
    assert_eq!(silent.ask("SET k v"), "+OK");
    let start = now();
    let active = std::thread::spawn(move || {
        while start.elapsed() < Duration::from_millis(2500) {
            assert_eq!(busy.ask("GET k"), "$1 v");
        }
        busy
    });
    silent.expect_end();
    // The client was active just before, and time counts in whole milliseconds.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert_eq!(active.join().unwrap().ask("PING"), "+PONG");
}

#[test]
fn login_time_is_limited() {
    let (_redis, proxy) = Redis::guarded().proxied(&["--limit.login-seconds=1"]);
    let (mut silent, mut partial) = (proxy.client(), proxy.client());
    partial.send("*2\r\n$4\r\nAUTH\r\n$6\r\n");
    let mut user = proxy.client_as("ann", "annpw");
    silent.expect_end();
    partial.expect_end();
    assert_eq!(user.ask("SET k v"), "+OK");
}

#[test]
fn request_size_is_limited() {
    let (_redis, proxy) = Redis::open().proxied(&["--limit.request-bytes=4096"]);
    let (long, longer) = (vec![b'x'; 3000], vec![b'x'; 5000]);
    let mut client = proxy.client();
    client.send(request(&[b"SET", b"k", &long]));
    assert_eq!(client.reply(), "+OK");
    for words in [
        &[&b"SET"[..], b"k", &longer][..],
        &[b"MSET", b"k", &long, b"l", &long],
    ] {
        let mut client = proxy.client();
        client.send([array("ECHO x"), request(words)].concat());
        assert_eq!(client.reply(), "$1 x");
        let reply = client.reply();
        assert!(reply.starts_with("-ERR Protocol error: "), "{reply}");
        client.expect_end();
    }
    assert_eq!(client.ask("STRLEN k"), ":3000");
}

#[test]
fn anonymous_requests_are_limited() {
    let (open, guarded) = (Redis::open(), Redis::guarded());
    let many = array("DEL 1 2 3 4 5 6 7 8 9 10");
    let long = request(&[b"SET", b"k", &[b'x'; 16_385]]);
    let most = array("DEL 1 2 3 4 5 6 7 8 9");
    let longest = request(&[b"SET", b"k", &[b'x'; 16_384]]);
    let proxy = Proxy::of(&guarded);
    for (bytes, says) in [
        (
            &many,
            "-ERR Protocol error: unauthenticated multibulk length",
        ),
        (&long, "-ERR Protocol error: unauthenticated bulk length"),
    ] {
        let mut client = proxy.client();
        client.send(bytes);
        assert_eq!(client.reply(), says);
        client.expect_end();
        let mut user = proxy.client_as("ann", "annpw");
        user.send(bytes);
        assert!(!user.reply().starts_with("-ERR Protocol"), "{says}");
    }
    for bytes in [&most, &longest] {
        let mut client = proxy.client();
        client.send(bytes);
        assert_eq!(client.reply(), "-NOAUTH Authentication required.");
    }
    // Without a required login there is no limit.
    let proxy = Proxy::of(&open);
    for (bytes, reply) in [(&many, ":0"), (&long, "+OK")] {
        let mut client = proxy.client();
        client.send(bytes);
        assert_eq!(client.reply(), reply);
    }
}

/// Guesses wait for each other, but not for long; logged-in clients are not affected.
#[test]
fn logins_per_second_are_limited() {
    let (_redis, proxy) = Redis::open().proxied(&["--core-num=1", "--limit.logins-per-second=20"]);
    let mut client = proxy.client_as("ann", "annpw");
    let start = now();
    let mut guessers: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    for (i, guesser) in guessers.iter_mut().enumerate() {
        guesser.send(array(&format!("AUTH nobody{i} x")));
    }
    for i in 1..=100 {
        assert_eq!(client.ask("INCR n"), format!(":{i}"));
    }
    for guesser in &mut guessers {
        assert!(guesser.reply().starts_with("-WRONGPASS "));
    }
    assert_took(start, 500..5_000);
}

#[test]
fn accepts_per_second_are_limited() {
    let (_redis, proxy) = Redis::open().proxied(&["--limit.accepts-per-second=20"]);
    let start = now();
    let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "+PONG");
    }
    assert_took(start, 900..5_000);
}

/// Requests that a backend does not read stay with the clients.
#[test]
fn requests_wait_for_a_backend_that_does_not_read() {
    const COUNT: usize = 2_000;
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut client = proxy.client();
    client.ask("PING");
    let (before, _) = proxy.resident();
    redis.freeze();
    let mut writer = Wire::over(client.tcp().try_clone().unwrap());
    let value = vec![b'v'; 50_000];
    let sender = std::thread::spawn(move || {
        let bytes = request(&[b"SET", b"k", &value]);
        (0..COUNT).for_each(|_| writer.send(&bytes));
    });
    wait_until("the proxy takes no more", || {
        let ticks = proxy.cpu_ticks();
        (0..20).for_each(|_| support::pause());
        proxy.cpu_ticks() == ticks
    });
    assert!(!sender.is_finished(), "100 MB are somewhere");
    let (_, most) = proxy.resident();
    assert!(most - before < 16 << 20, "it took {} bytes", most - before);
    redis.thaw();
    for _ in 0..COUNT {
        assert_eq!(client.reply(), "+OK");
    }
    sender.join().unwrap();
    let (_, most) = proxy.resident();
    assert!(most - before < 16 << 20, "it took {} bytes", most - before);
}
