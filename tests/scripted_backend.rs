//! Backends that follow a script, byte for byte: the bytes that the proxy sends, and its reaction
//! to replies that no correct server sends.

mod support;

use std::ops::Range;
use std::time::Duration;

use support::{
    Backend, HELLO, Proxy, WHICH_BLOCK, array, hello_reply, now, packet, request, text, wait_until,
};

const LOST: &str = "-ERR elika: backend connection lost, outcome unknown";

/// A GET for each of these numbers.
fn gets(range: Range<usize>) -> Vec<u8> {
    range.flat_map(|i| array(&format!("GET {i}"))).collect()
}

#[test]
fn auth_is_alone_and_requests_follow_the_handshake() {
    let (backend, _proxy, _first, mut client) = Backend::greeted();
    client.send(packet(
        "HELLO 3 AUTH ann pw SETNAME mine | GET a | SELECT 5 | GET b",
    ));
    let mut three = backend.accept();
    three.expect_in_one_piece(array("AUTH ann pw"));
    three.expect_silence();
    three.send("+OK\r\n");
    three.expect_in_one_piece(array("HELLO 3 SETNAME elika"));
    three.expect_silence();
    three.send(hello_reply(3, 77));
    // The login is accepted; the client gets its own id, not that of the connection.
    let hello = client.reply();
    assert!(hello.contains(" $5 proto :3 $2 id :1 "), "{hello}");
    three.expect(array("GET a"));
    three.expect_silence();
    three.send("$1\r\nA\r\n");
    assert_eq!(client.reply(), "$1 A");
    let mut five = backend.accept();
    five.expect_in_one_piece(array("SELECT 5"));
    five.expect_silence();
    five.send("-NOAUTH Authentication required.\r\n");
    five.expect_in_one_piece(array("AUTH ann pw"));
    five.expect_silence();
    five.send("+OK\r\n");
    five.expect_in_one_piece(packet("HELLO 3 SETNAME elika | SELECT 5"));
    five.send(hello_reply(3, 78));
    five.expect_silence();
    five.send("+OK\r\n");
    assert_eq!(client.reply(), "+OK");
    five.expect(array("GET b"));
    five.send("_\r\n");
    assert_eq!(client.reply(), "_");
    three.expect_silence();
}

#[test]
fn requests_wait_for_the_handshake() {
    let (backend, proxy) = Backend::proxied();
    let mut server = backend.accept();
    server.expect_in_one_piece([HELLO, &array(WHICH_BLOCK)].concat());
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(array(&format!("GET {i}")));
    }
    let reply = hello_reply(2, 1);
    server.send(&reply[..40]);
    server.expect_silence();
    server.send(&reply[40..]);
    server.expect_silence();
    server.send("*0\r\n");
    for _ in 0..3 {
        let asked = text(&server.frame());
        server.send(format!("+{asked}\r\n"));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.reply(), format!("+*2 $3 GET $1 {i}"));
    }
}

#[test]
fn server_without_hello_is_supported() {
    const UNKNOWN: &str = "-ERR unknown command `HELLO`, with args beginning with: `2`, ";
    let (backend, proxy) = Backend::proxied();
    let mut server = backend.accept();
    server.expect([HELLO, &array(WHICH_BLOCK)].concat());
    server.send(format!("{UNKNOWN}\r\n-ERR wrong number of arguments\r\n"));
    let mut client = proxy.client();
    client.exchange(&mut server, "GET a", "$-1\r\n");
    // Clients get the replies that the server would send.
    assert_eq!(client.ask("HELLO"), UNKNOWN.trim_end());
    client.send(array("HELLO 3"));
    let mut three = backend.accept();
    three.expect(array("HELLO 3 SETNAME elika"));
    three.send(format!("{UNKNOWN}\r\n"));
    assert_eq!(client.reply(), UNKNOWN.trim_end());
    // Logins, with and without a name.
    for (login, says) in [
        ("AUTH wrong", "-ERR invalid password"),
        (
            "AUTH ann pw",
            "-ERR wrong number of arguments for 'auth' command",
        ),
    ] {
        client.send(array(login));
        let mut other = backend.accept();
        other.expect(array(login));
        other.send(format!("{says}\r\n"));
        assert_eq!(client.reply(), says);
        other.expect_end();
    }
    client.send(array("AUTH pw"));
    let mut user = backend.accept();
    user.expect(array("AUTH pw"));
    user.send("+OK\r\n");
    user.expect(HELLO);
    user.send(format!("{UNKNOWN}\r\n"));
    assert_eq!(client.reply(), "+OK");
    client.exchange(&mut user, "GET a", "$1\r\n1\r\n");
}

#[test]
fn pushes_between_replies_are_dropped() {
    let (backend, _proxy, _first, mut client) = Backend::greeted();
    client.send(array("HELLO 3"));
    let mut server = backend.accept();
    server.expect(array("HELLO 3 SETNAME elika"));
    let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    server.send([&push[..], &hello_reply(3, 1), push].concat());
    assert!(client.reply().starts_with("%7 "));
    let pipeline = packet("GET a | GET b | GET c");
    let bytes = [
        &push[..],
        b"+a\r\n",
        push,
        push,
        b"*1\r\n$1\r\nb\r\n",
        b"+c\r\n",
        push,
    ]
    .concat();
    for cut in 0..=bytes.len() {
        client.send_through(&mut server, &pipeline);
        server.send(&bytes[..cut]);
        // Without the pause, the kernel would merge the pieces; with it they mostly stay separate.
        std::thread::yield_now();
        server.send(&bytes[cut..]);
        client.expect("+a\r\n*1\r\n$1\r\nb\r\n+c\r\n");
    }
    client.expect_silence();
}

#[test]
fn replies_may_arrive_in_any_pieces() {
    let (_backend, _proxy, mut server, mut client) = Backend::greeted();
    let replies: [&[u8]; 9] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-12\r\n",
        b"$0\r\n\r\n",
        b"$6\r\n+a\r\n:1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n$-1\r\n",
        b"*2\r\n$2\r\n\r\n\r\n+\r\n",
    ];
    let bytes = replies.concat();
    let pipeline = gets(0..replies.len());
    for cut in 1..bytes.len() {
        client.send_through(&mut server, &pipeline);
        server.send(&bytes[..cut]);
        // The part of a reply that has arrived is sent at once.
        client.expect(&bytes[..cut]);
        server.send(&bytes[cut..]);
        client.expect(&bytes[cut..]);
    }
    client.send_through(&mut server, &pipeline);
    for byte in &bytes {
        server.send([*byte]);
        client.expect([*byte]);
    }
}

#[test]
fn unexpected_reply_closes_the_connection() {
    let (backend, _proxy, mut server, mut client) = Backend::greeted();
    client.send_through(&mut server, array("GET a"));
    server.send("+mine\r\n+whose?\r\n");
    assert_eq!(client.reply(), "+mine");
    server.expect_end();
    client.send(array("GET b"));
    let mut next = backend.accept_greeted();
    next.expect(array("GET b"));
    next.send("+b\r\n");
    assert_eq!(client.reply(), "+b");
    // Without a request.
    next.send("+whose?\r\n");
    next.expect_end();
    client.expect_silence();
}

#[test]
fn invalid_bytes_close_the_connection() {
    let (backend, proxy) = Backend::proxied();
    let mut first = Some(backend.accept_greeted());
    let mut client = proxy.client();
    for bad in [
        "$?\r\n;4\r\nabcd\r\n;0\r\n",
        "*?\r\n+a\r\n.\r\n",
        "@huh\r\n",
        "$1x\r\na\r\n",
        "$-2\r\n",
        "*99999999999\r\n",
        "$3\r\nabcd\r\n",
        "+a\nb\r\n",
    ] {
        client.send(packet("GET a | GET b | UNWATCH | GET c"));
        let mut server = first.take().unwrap_or_else(|| backend.accept_greeted());
        server.expect(packet("GET a | GET b | GET c"));
        server.send(format!("+good\r\n{bad}"));
        server.expect_end();
        // No byte of the invalid reply was forwarded, because it arrived at once.
        let mut next = backend.accept_greeted();
        next.expect(packet("GET b | GET c"));
        next.send("+b\r\n+c\r\n");
        assert_eq!(client.replies(4), ["+good", "+b", "+OK", "+c"], "{bad:?}");
        first = Some(next);
    }
}

#[test]
fn incomplete_reply_closes_the_client() {
    let (backend, proxy) = Backend::proxied();
    let mut server = backend.accept_greeted();
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(packet("GET a | GET b"));
    server.expect(packet("GET a | GET b"));
    second.send_through(&mut server, array("GET c"));
    server.send("$10\r\n12345");
    first.expect("$10\r\n12345");
    drop(server);
    first.expect_end();
    let mut next = backend.accept_greeted();
    next.expect(array("GET c"));
    next.send("+c\r\n");
    assert_eq!(second.reply(), "+c");
}

#[test]
fn handshake_without_end_fails() {
    let options = ["--core-num=1", "--backend-pool.reply-ms=300"];
    for said in ["", "*14\r\n$6\r\nserver\r\n"] {
        let backend = Backend::listen();
        let proxy = Proxy::at(&backend.address(), &options);
        let mut server = backend.accept();
        server.expect([HELLO, &array(WHICH_BLOCK)].concat());
        server.send(said);
        let mut client = proxy.client();
        let start = now();
        let reply = client.ask("GET a");
        assert_eq!(reply, "-ERR elika: backend unavailable: timed out");
        assert!(start.elapsed() < Duration::from_secs(3));
        server.expect_end();
        // From now on requests fail at once, until the backend is available.
        assert_eq!(
            client.ask("GET a"),
            "-ERR elika: backend unavailable: timed out"
        );
        let mut server = backend.accept_greeted();
        wait_until("the log says so", || proxy.logged(" online, ") == 1);
        client.exchange(&mut server, "GET a", "+a\r\n");
    }
}

#[test]
fn refused_handshake_gives_its_error() {
    for (says, hears) in [
        (
            "-ERR max number of clients reached\r\n",
            "-ERR max number of clients reached",
        ),
        (
            "-DENIED Redis is running in protected mode\r\n",
            "-DENIED Redis is running in protected mode",
        ),
        (
            "-LOADING Redis is loading the dataset in memory\r\n",
            "-LOADING Redis is loading the dataset in memory",
        ),
        ("", "-ERR elika: backend unavailable: connection closed"),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "-ERR elika: backend unavailable: unknown reply type 'H'",
        ),
    ] {
        let (backend, proxy, mut first, mut client) = Backend::greeted();
        let mut other = proxy.client();
        client.send(array("AUTH ann pw"));
        let mut server = backend.accept();
        server.send(says);
        server.finish_sending();
        assert_eq!(client.reply(), hears);
        // The login of one client does not affect the others.
        other.exchange(&mut first, "GET a", "+a\r\n");
    }
}

/// The first connection is refused: waiting clients get the reason, and the proxy retries.
#[test]
fn backend_that_is_full_at_the_start_is_retried() {
    let (backend, proxy) = Backend::proxied();
    let mut server = backend.accept();
    let mut client = proxy.client();
    client.send(array("GET a"));
    server.expect(HELLO);
    server.send("-ERR max number of clients reached\r\n");
    drop(server);
    let reply = client.reply();
    assert_eq!(reply, "-ERR max number of clients reached");
    let mut server = backend.accept_greeted();
    wait_until("the log says so", || proxy.logged(" online, ") == 1);
    client.exchange(&mut server, "GET a", "+a\r\n");
}

#[test]
fn pipeline_above_limit_in_flight_is_answered_in_order() {
    let backend = Backend::listen();
    let proxy = Proxy::at(&backend.address(), &["--core-num=1", "--limit.in-flight=4"]);
    let mut server = backend.accept_greeted();
    let (mut client, mut other) = (proxy.client(), proxy.client());
    client.send(gets(0..10));
    server.expect(gets(0..4));
    server.expect_silence();
    other.send_through(&mut server, array("GET other"));
    server.send("+0\r\n+1\r\n+2\r\n+3\r\n+other\r\n");
    other.expect("+other\r\n");
    server.expect(gets(4..8));
    server.expect_silence();
    server.send("+4\r\n+5\r\n+6\r\n+7\r\n");
    server.expect(gets(8..10));
    server.send("+8\r\n+9\r\n");
    for i in 0..10 {
        assert_eq!(client.reply(), format!("+{i}"));
    }
}

/// Requests that the kernel has not accepted cannot have been executed: they move to a new
/// connection.
#[test]
fn unsent_requests_move_to_a_new_connection() {
    const COUNT: usize = 300;
    let (backend, proxy, server, mut client) = Backend::greeted();
    let value = vec![b'v'; 100_000];
    let set = |i: usize| request(&[b"SET", i.to_string().as_bytes(), &value]);
    let mut writer = support::Wire::over(client.tcp().try_clone().unwrap());
    let bytes: Vec<u8> = (0..COUNT).flat_map(set).collect();
    let sender = std::thread::spawn(move || writer.send(bytes));
    // Never read: the kernel's buffers fill up, then the proxy's. Then the connection is lost.
    wait_until("the proxy takes no more", || {
        let before = proxy.cpu_ticks();
        (0..10).for_each(|_| support::pause());
        !sender.is_finished() && proxy.cpu_ticks() == before
    });
    drop(server);
    let mut next = backend.accept_greeted();
    let mut lost = 0;
    while lost < COUNT {
        let reply = client.reply();
        if reply != LOST {
            assert_eq!(reply, "+first");
            break;
        }
        lost += 1;
        if lost == 1 {
            let first = next.frame();
            next.send("+first\r\n");
            let digits = text(&first);
            assert!(digits.starts_with("*3 $3 SET "), "{}", &digits[..40]);
        }
    }
    assert!(lost > 0 && lost < COUNT, "{lost}");
    for i in lost + 1..COUNT {
        next.expect(set(i));
        next.send(format!(":{i}\r\n"));
        assert_eq!(client.reply(), format!(":{i}"));
    }
    sender.join().unwrap();
    client.expect_silence();
}

/// While a large reply is in flight, other clients are served on another connection.
#[test]
fn large_reply_does_not_block_other_clients() {
    let (backend, proxy) = Backend::proxied();
    let mut first = backend.accept_greeted();
    let (mut reader, mut other) = (proxy.client(), proxy.client());
    reader.exchange(&mut first, "GET big", "$1000000\r\nxyz");
    other.send(array("GET small"));
    let mut second = backend.accept_greeted();
    second.expect(array("GET small"));
    second.send("+small\r\n");
    assert_eq!(other.reply(), "+small");
    // The client's next request stays behind it, because a client's order is kept.
    reader.send_through(&mut first, array("GET next"));
    second.expect_silence();
    first.send([vec![b'x'; 999_997], b"\r\n+next\r\n".to_vec()].concat());
    reader.expect([vec![b'x'; 999_997], b"\r\n+next\r\n".to_vec()].concat());
}

/// The next request of a client is sent when the last reply of the old connection has arrived.
#[test]
fn change_of_connection_keeps_the_order() {
    let (backend, _proxy, mut zero, mut client) = Backend::greeted();
    client.send(packet("GET a | SELECT 1 | GET b | SELECT 0 | GET c"));
    zero.expect(array("GET a"));
    zero.expect_silence();
    assert!(backend.try_accept().is_none());
    zero.send("+a\r\n");
    let mut one = backend.accept();
    one.expect([HELLO, &array("SELECT 1")].concat());
    one.send([hello_reply(2, 2), b"+OK\r\n".to_vec()].concat());
    one.expect(array("GET b"));
    zero.expect_silence();
    one.send("+b\r\n");
    // The handshake does not show whether the user may select this database.
    zero.expect(array("SELECT 0"));
    zero.send("+OK\r\n");
    zero.expect(array("GET c"));
    zero.send("+c\r\n");
    assert_eq!(client.replies(5), ["+a", "+OK", "+b", "+OK", "+c"]);
}
