//! Dedicated connections to backends that follow a script: replies and messages in pieces, blocking
//! commands that only this backend has, and losses at the worst moment.

mod support;

use std::thread;

use support::{
    Backend, HELLO, Proxy, WHICH_BLOCK, Wire, array, commands, hello_reply, packet, request,
};

/// A backend that was asked for its blocking commands, a client in RESP3, and its shared
/// connection.
fn greeted_in_3() -> (Backend, Proxy, Wire, [Wire; 2]) {
    let (backend, proxy, first, mut client) = Backend::greeted();
    client.send(array("HELLO 3"));
    let shared = accept_3(&backend);
    assert!(client.reply().starts_with("%7 "));
    (backend, proxy, client, [first, shared])
}

fn accept_3(backend: &Backend) -> Wire {
    let mut wire = backend.accept();
    wire.expect(array("HELLO 3 SETNAME elika"));
    wire.send(hello_reply(3, 7));
    wire
}

/// The dedicated connection that the proxy opens for this command, to which it replies.
fn dedicated(backend: &Backend, client: &mut Wire, line: &str, reply: impl AsRef<[u8]>) -> Wire {
    client.send(packet(line));
    let mut own = accept_3(backend);
    own.expect(packet(line));
    own.send(&reply);
    client.expect(reply);
    own
}

/// A message in RESP3, or, as an array, in RESP2.
fn message(mark: char, words: &[&str]) -> Vec<u8> {
    let mut out = request(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    out[0] = mark as u8;
    out
}

/// A confirmation: `kind`, a channel, and the number of subscriptions.
fn confirmation(mark: char, kind: &str, channel: &str, count: u32) -> Vec<u8> {
    let (kind_len, channel_len) = (kind.len(), channel.len());
    format!("{mark}3\r\n${kind_len}\r\n{kind}\r\n${channel_len}\r\n{channel}\r\n:{count}\r\n")
        .into()
}

#[test]
fn blocking_commands_of_the_backend_get_a_dedicated_connection() {
    let (backend, proxy) = Backend::proxied();
    let mut shared = backend.accept();
    shared.expect([HELLO, &array(WHICH_BLOCK)].concat());
    let names = b"*4\r\n$5\r\nblpop\r\n$8\r\nfoo.wait\r\n+BAR.pop\r\n$5\r\nxread\r\n";
    shared.send([&hello_reply(2, 1)[..], names].concat());
    let (mut client, mut other) = (proxy.client(), proxy.client());
    other.exchange(&mut shared, "GET a", "+a\r\n");
    let mut own = None;
    for line in ["foo.wait k 0", "FOO.WAIT", "bar.POP x"] {
        client.send([array(line), array("GET b")].concat());
        let own = own.get_or_insert_with(|| {
            let mut own = backend.accept();
            own.expect(HELLO);
            own.send(hello_reply(2, 2));
            own
        });
        own.expect([array(line), array("GET b")].concat());
        // Only its client waits for the reply.
        other.exchange(&mut shared, "GET c", "+c\r\n");
        client.expect_silence();
        own.send("+served\r\n+b\r\n");
        assert_eq!(client.replies(2), ["+served", "+b"]);
    }
    // A name with the same beginning is not the same command.
    client.exchange(&mut shared, "foo.waits", "-ERR unknown command\r\n");
}

#[test]
fn messages_may_arrive_in_pieces() {
    let (backend, _proxy, mut client, _shared) = greeted_in_3();
    let mut own = dedicated(
        &backend,
        &mut client,
        "SUBSCRIBE c",
        confirmation('>', "subscribe", "c", 1),
    );
    let long = "x".repeat(100);
    let first = [
        message('>', &["message", "c", "one"]),
        b"$3\r\nabc\r\n".to_vec(),
    ]
    .concat();
    let rest = [
        message('>', &["message", "c", &long]),
        message('>', &["pmessage", "*", "c", "subscribe"]),
        b"*1\r\n:1\r\n".to_vec(),
        message('>', &["invalidate", "k"]),
        message('>', &["message", "c", "last"]),
    ]
    .concat();
    let bytes = [&first[..], &rest].concat();
    // A reply of the proxy follows the previous reply, and never stands inside a message.
    let heard = |cut: usize| match cut >= first.len() {
        true => [&first[..], ANSWER.as_bytes(), &bytes[first.len()..cut]].concat(),
        false => bytes[..cut].to_vec(),
    };
    for cut in 1..bytes.len() {
        client.send(packet("GET a | READONLY | GET b"));
        own.expect(packet("GET a | GET b"));
        own.send(&bytes[..cut]);
        let begin = heard(cut);
        client.expect(&begin);
        own.send(&bytes[cut..]);
        client.expect(&heard(bytes.len())[begin.len()..]);
    }
    // Without a request, and with a reply of the proxy in the middle of a message.
    let message = message('>', &["message", "c", "alone"]);
    for cut in 1..message.len() {
        own.send(&message[..cut]);
        client.expect(&message[..cut]);
        client.send(array("READONLY"));
        client.expect_silence();
        own.send(&message[cut..]);
        client.expect([&message[cut..], ANSWER.as_bytes()].concat());
    }
}

#[test]
fn confirmations_may_arrive_in_pieces() {
    for mark in ['*', '>'] {
        let (backend, _proxy, mut client, mut shared) = greeted_in_3();
        if mark == '*' {
            client.send(array("HELLO 2"));
            assert!(client.reply().starts_with("*14 "));
        }
        let requests =
            packet("SUBSCRIBE a b | PSUBSCRIBE p | UNSUBSCRIBE | PUNSUBSCRIBE p | GET x");
        let bytes = [
            confirmation(mark, "subscribe", "a", 1),
            confirmation(mark, "subscribe", "b", 2),
            message(mark, &["message", "a", "x"]),
            confirmation(mark, "psubscribe", "p", 3),
            confirmation(mark, "unsubscribe", "b", 2),
            confirmation(mark, "unsubscribe", "a", 1),
            message(mark, &["pmessage", "p", "p", ""]),
            confirmation(mark, "punsubscribe", "p", 0),
            b"*3\r\n$1\r\na\r\n*1\r\n:1\r\n:0\r\n".to_vec(),
        ]
        .concat();
        let mut own = None;
        for cut in 1..bytes.len() {
            client.send(&requests);
            let own = own.get_or_insert_with(|| match mark {
                '*' => backend.accept_greeted(),
                _ => accept_3(&backend),
            });
            own.expect(&requests);
            own.send(&bytes[..cut]);
            // The second byte of an array shows whether it is a message.
            let begun = usize::from(mark == '*' && bytes[..cut].ends_with(b"\r\n*"));
            let now = if cut == 1 && mark == '*' {
                0
            } else {
                cut - begun
            };
            client.expect(&bytes[..now]);
            own.send(&bytes[cut..]);
            client.expect(&bytes[now..]);
            // No subscription is left: the client uses a shared connection again.
            let shared = &mut shared[usize::from(mark == '>')];
            client.exchange(shared, "GET y", "+y\r\n");
        }
        // All at once, refused.
        client.send(&requests);
        let own = own.as_mut().unwrap();
        own.expect(&requests);
        own.send("-NOPERM a\r\n-NOPERM b\r\n");
        let goodbyes = [
            confirmation(mark, "unsubscribe", "none", 0),
            confirmation(mark, "punsubscribe", "p", 0),
            b"+x\r\n".to_vec(),
        ];
        own.send(goodbyes.concat());
        client.expect([&b"-NOPERM a\r\n-NOPERM b\r\n"[..], &goodbyes.concat()].concat());
    }
}

/// The client gets the proxy's id of the other client, and all other bytes unchanged.
#[test]
fn end_of_a_redirection_may_arrive_in_pieces() {
    let (backend, proxy, mut client, _shared) = greeted_in_3();
    let mut other = proxy.client();
    other.send(array("HELLO 3"));
    assert!(other.reply().starts_with("%7 "));
    let _others = dedicated(
        &backend,
        &mut other,
        "SUBSCRIBE c",
        confirmation('>', "subscribe", "c", 1),
    );
    client.send(array("CLIENT TRACKING ON REDIRECT 2"));
    let mut own = accept_3(&backend);
    own.expect(array("CLIENT TRACKING ON REDIRECT 7"));
    own.send("+OK\r\n");
    assert_eq!(client.reply(), "+OK");

    let broken = |id: &str| format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n");
    let pushes = |id: &str| {
        let near = b">2\r\n$21\r\ntracking-redir-brokem\r\n:7\r\n".to_vec();
        let invalid = message('>', &["invalidate", "k"]);
        let long = message('>', &["message", "c", &"x".repeat(100)]);
        [near, invalid, broken(id).into_bytes(), long].concat()
    };
    let alone = |id: &str| [&pushes(id)[..], b"$1\r\na\r\n"].concat();
    let inside = |id: &str| [b"*2\r\n", &pushes(id)[..], b"+OK\r\n:1\r\n"].concat();
    for (lines, says, hears) in [
        ("GET a", alone("7"), alone("2")),
        ("MULTI | SET k v | DEL k | EXEC", inside("7"), inside("2")),
    ] {
        for cut in 0..says.len() {
            client.send_through(&mut own, packet(lines));
            if lines.starts_with("MULTI") {
                own.send("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
                client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
            }
            own.send(&says[..cut]);
            if cut > 0 && !hears.starts_with(b">") {
                // This shows that the first piece was read.
                client.expect(&hears[..1]);
                own.send(&says[cut..]);
                client.expect(&hears[1..]);
            } else {
                thread::yield_now();
                own.send(&says[cut..]);
                client.expect(&hears);
            }
        }
        client.send_through(&mut own, packet(lines));
        if lines.starts_with("MULTI") {
            own.send("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
            client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        }
        for byte in &says {
            own.send([*byte]);
            thread::yield_now();
        }
        client.expect(&hears);
    }
}

/// A line about a proxy command is not shown, in pieces of any size.
#[test]
fn monitor_lines_may_arrive_in_pieces() {
    let (backend, _proxy, mut client, _shared) = greeted_in_3();
    let mut own = dedicated(&backend, &mut client, "MONITOR", "+OK\r\n");
    let line = |rest: &str| format!("+1339518083.107412 [0 127.0.0.1:60866] {rest}\r\n");
    let long = format!("\"SET\" \"k\" \"{}\"", "x".repeat(600));
    let (get, set) = (line("\"GET\" \"k\""), line(&long));
    let says = [
        &line("\"pinG\"")[..],
        &get,
        &line("\"hellO\" \"3\" \"SETNAME\" \"elika\""),
        &set,
        &line("\"selecT\" \"3\""),
        "+x\r\n",
    ]
    .concat();
    let hears = [&get[..], &set, "+x\r\n"].concat();
    for cut in 1..says.len() {
        client.send_through(&mut own, array("GET a"));
        own.send(&says[..cut]);
        thread::yield_now();
        own.send(&says[cut..]);
        client.expect(&hears);
    }
    client.send_through(&mut own, array("GET a"));
    for byte in says.as_bytes() {
        own.send([*byte]);
        thread::yield_now();
    }
    client.expect(&hears);
}

/// The proxy's own reply to READONLY.
const ANSWER: &str = "-ERR This instance has cluster support disabled\r\n";

/// A transaction up to its EXEC, on the idle connection or a new one.
fn begin_exec(idle: Option<Wire>, backend: &Backend, client: &mut Wire) -> Wire {
    let lines = "MULTI | CLIENT ID | GET a | CLIENT GETNAME | SELECT 0 | CLIENT ID | EXEC";
    client.send(packet(&format!("{lines} | READONLY")));
    let mut own = idle.unwrap_or_else(|| backend.accept_greeted());
    for line in commands(lines) {
        own.expect(array(line));
        let reply = match line {
            "MULTI" => "+OK\r\n",
            "EXEC" => return own,
            _ => "+QUEUED\r\n",
        };
        own.send(reply);
        client.expect(reply);
    }
    own
}

#[test]
fn reply_to_exec_may_arrive_in_pieces() {
    let (backend, proxy, _shared, mut client) = Backend::greeted();
    let reply = "*5\r\n:77\r\n*2\r\n$3\r\n\r\nb\r\n*-1\r\n$7\r\nbackend\r\n+OK\r\n:77\r\n";
    let heard = "*5\r\n:1\r\n*2\r\n$3\r\n\r\nb\r\n*-1\r\n$-1\r\n+OK\r\n:1\r\n";
    let heard = format!("{heard}{ANSWER}");
    let mut idle = None;
    for cut in 1..=reply.len() {
        let mut own = begin_exec(idle, &backend, &mut client);
        own.send(&reply[..cut]);
        if cut < reply.len() {
            // The count is forwarded as it arrives, which shows that the first piece was read.
            let seen = cut.min(4);
            client.expect(&heard[..seen]);
            own.send(&reply[cut..]);
            client.expect(&heard[seen..]);
        } else {
            client.expect(&heard);
        }
        // No state of the client stays on the connection, so it serves the next one.
        idle = Some(own);
    }
    let mut own = begin_exec(idle, &backend, &mut client);
    for byte in reply.as_bytes() {
        own.send([*byte]);
        thread::yield_now();
    }
    client.expect(&heard);
    let mut idle = Some(own);
    // The reply ends inside an element that is replaced or not: the client is closed.
    for cut in 0..reply.len() {
        let mut client = proxy.client();
        let mut own = begin_exec(idle.take(), &backend, &mut client);
        own.send(&reply[..cut]);
        drop(own);
        let rest = client.rest();
        assert!(
            !rest.contains("ERR") && rest.len() < reply.len() + 40,
            "{cut}: {rest}"
        );
    }
}

#[test]
fn dedicated_connection_lost_during_its_handshake_gives_an_error() {
    const CLOSED: &str = "-ERR elika: backend unavailable: connection closed";
    let full = "-ERR max number of clients reached";
    for (lines, says, hears) in [
        ("MULTI | SET k v | EXEC", "", CLOSED),
        ("WATCH k", "*14\r\n$6\r\nserver\r\n", CLOSED),
        ("SUBSCRIBE a b c", "", CLOSED),
        ("BLPOP l 0 | GET l", "", CLOSED),
        ("SUBSCRIBE a b c | PSUBSCRIBE a | UNSUBSCRIBE", "", CLOSED),
        (
            "MULTI | SET k v | EXEC",
            "-ERR max number of clients reached\r\n",
            full,
        ),
    ] {
        let (backend, _proxy, mut shared, mut client) = Backend::greeted();
        client.send(packet(lines));
        let mut own = backend.accept();
        own.expect(HELLO);
        own.send(says);
        drop(own);

        if lines.starts_with("MULTI") || lines.starts_with("WATCH") {
            // What the client sends next may belong to the transaction.
            assert_eq!(client.reply(), hears, "{lines}");
            client.expect_end();
            continue;
        }
        for reply in client.replies(commands(lines).count()) {
            assert_eq!(reply, hears, "{lines}");
        }
        // The client uses a shared connection as before.
        client.exchange(&mut shared, "GET a", "+a\r\n");
    }
}

/// A server that moves a shard's slot elsewhere ends the subscription.
#[test]
fn server_may_end_a_subscription() {
    let (backend, _proxy, mut client, [_, mut shared]) = greeted_in_3();
    let mut own = dedicated(
        &backend,
        &mut client,
        "SSUBSCRIBE c",
        confirmation('>', "ssubscribe", "c", 1),
    );
    let ended = confirmation('>', "sunsubscribe", "c", 0);
    for cut in 1..ended.len() {
        own.send(&ended[..cut]);
        client.expect(&ended[..cut]);
        own.send(&ended[cut..]);
        client.expect(&ended[cut..]);
        // Its connection has no state any more.
        client.exchange(&mut shared, "GET a", "+a\r\n");
        client.exchange(
            &mut own,
            "SSUBSCRIBE c",
            confirmation('>', "ssubscribe", "c", 1),
        );
    }
    // While further channels are requested.
    client.send_through(&mut own, packet("SSUBSCRIBE d | GET a"));
    let bytes = [
        ended,
        confirmation('>', "ssubscribe", "d", 1),
        b"+a\r\n".to_vec(),
    ]
    .concat();
    own.send(&bytes);
    client.expect(&bytes);
    client.exchange(&mut own, "GET b", "+b\r\n");
}

/// Bytes that no server may send on a dedicated connection close the connection and its client.
#[test]
fn unexpected_replies_close_the_client() {
    for bad in [
        "+whose?\r\n",
        ":1\r\n",
        "*1\r\n:1\r\n",
        "@huh\r\n",
        "$1x\r\n",
    ] {
        let (backend, _proxy, mut client, [_, mut shared]) = greeted_in_3();
        let mut own = dedicated(
            &backend,
            &mut client,
            "SUBSCRIBE c",
            confirmation('>', "subscribe", "c", 1),
        );
        own.send(bad);
        own.expect_end();
        client.expect_end();
        shared.expect_silence();
    }
}
