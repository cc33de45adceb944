//! Backends that are missing, lost, hung or full: the errors that clients get, and the recovery.

mod support;

use std::time::Duration;

use support::{Proxy, Redis, Wire, array, assert_took, now, unused_port, wait_until};

const LOST: &str = "-ERR elika: backend connection lost, outcome unknown";
const LATE: &str = "-ERR elika: backend did not answer in time, outcome unknown";
const REFUSED: &str = "-ERR elika: backend unavailable: connection refused";
const UNAVAILABLE: &str = "-ERR elika: backend unavailable: ";

/// Sends requests until the backend is available again.
fn wait_served(client: &mut Wire, line: &str, reply: &str) {
    wait_until("requests are served again", || {
        let came = client.ask(line);
        assert!(
            came == reply || came.starts_with(UNAVAILABLE) || came == LOST,
            "{line}: {came}"
        );
        came == reply
    });
}

/// The client whose session change succeeds when the backend is available again: the proxy closes
/// those before.
fn change_served(proxy: &Proxy, line: &str) -> Wire {
    let mut client = proxy.client();
    wait_until("session changes are served again", || {
        client = proxy.client();
        let came = client.ask(line);
        let is_error = came.starts_with(UNAVAILABLE) || came.contains("max number of clients");
        assert!(came == "+OK" || is_error, "{line}: {came}");
        came == "+OK"
    });
    client
}

/// Makes sure that the proxy has forwarded all requests so far: the clients have one worker, which
/// writes to backends before it replies to the last one.
fn all_is_passed_on(asker: &mut Wire) {
    assert_eq!(asker.ask("UNWATCH"), "+OK");
}

#[test]
fn proxy_starts_without_its_backend() {
    let port = unused_port();
    let proxy = Proxy::at(&format!("127.0.0.1:{port}"), &[]);
    wait_until("the log says so", || proxy.logged("backend: offline ") == 1);
    let mut client = proxy.client();
    let start = now();
    for line in ["GET k", "PING", "SELECT 1", "AUTH ann annpw", "HELLO 3"] {
        wait_until("a client hears the reason", || {
            proxy.client().ask(line) == REFUSED
        });
    }
    for line in ["GET k", "PING"] {
        assert_eq!(client.ask(line), REFUSED, "{line}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "failing took too long"
    );
    // What follows the login is not executed as another user.
    let mut pipelined = proxy.client();
    pipelined.send([array("GET a"), array("AUTH ann annpw"), array("SET b 1")].concat());
    assert_eq!(pipelined.replies(2), [REFUSED; 2]);
    pipelined.expect_end();
    let redis = Redis::open_at(port);
    wait_served(&mut client, "SET k v", "+OK");
    let mut user = change_served(&proxy, "AUTH ann annpw");
    assert_eq!(user.ask("GET k"), "$1 v");
    wait_until("the log says so", || proxy.logged(" online, ") == 1);
    assert_eq!(proxy.logged("backend: offline "), 1, "{}", proxy.log());
    drop(redis);
}

#[test]
fn requests_in_flight_get_one_reply_when_the_backend_is_killed() {
    let mut redis = Redis::open();
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut asker = proxy.client();
    let logins = [("ann", "annpw"), ("bob", "bobpw"), ("default", "x")];
    let mut clients: Vec<_> = (0..9)
        .map(|i| {
            let (user, password) = logins[i % 3];
            let mut client = proxy.client_as(user, password);
            assert_eq!(client.ask(&format!("SELECT {}", i % 2)), "+OK");
            assert_eq!(client.ask("SET k v"), "+OK");
            client
        })
        .collect();
    assert_eq!(asker.ask("PING"), "+PONG");
    redis.freeze();
    for (i, client) in clients.iter_mut().enumerate() {
        for _ in 0..=i {
            client.send(["INCR n", "UNWATCH", "GET n"].map(array).concat());
        }
    }
    all_is_passed_on(&mut asker);
    redis.kill();
    for (i, client) in clients.iter_mut().enumerate() {
        for n in 0..=i {
            let [write, ours, read] = client.replies(3).try_into().unwrap();
            assert_eq!([&*write, &*ours], [LOST, "+OK"]);
            // The last read has no write behind it: it is retried, and finds no backend.
            let again = if n == i { UNAVAILABLE } else { LOST };
            assert!(read.starts_with(again), "{read}");
        }
    }
    // No further replies arrived, no client was closed, and every client has its database.
    redis.start_again();
    for (i, client) in clients.iter_mut().enumerate() {
        wait_served(client, &format!("SET of{i} {i}"), "+OK");
        let user = logins[i % 3].0;
        assert_eq!(client.ask("ACL WHOAMI"), format!("${} {user}", user.len()));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        for other in 0..9 {
            let same_db = other % 2 == i % 2;
            let wanted = if same_db {
                format!("$1 {other}")
            } else {
                "$-1".into()
            };
            assert_eq!(client.ask(&format!("GET of{other}")), wanted);
        }
    }
}

#[test]
fn proxy_reconnects_after_repeated_restarts() {
    let mut redis = Redis::open();
    let proxy = Proxy::of(&redis);
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client_as("ann", "annpw")).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("SELECT {i}")), "+OK");
    }
    for round in 0..3 {
        redis.kill();
        for client in &mut clients {
            wait_until("a client hears of it", || {
                client.ask("GET k").starts_with(UNAVAILABLE)
            });
        }
        redis.start_again();
        for (i, client) in clients.iter_mut().enumerate() {
            wait_served(client, &format!("SET k {i}"), "+OK");
        }
        for (i, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask("GET k"), format!("$1 {i}"));
        }
        wait_until("the log says so", || proxy.logged(" online, ") == round + 2);
        assert_eq!(
            proxy.logged("backend: offline "),
            round + 1,
            "{}",
            proxy.log()
        );
    }
}

/// Only connections are closed and the server stays, so no client may get an unavailable error.
#[test]
fn killed_connections_are_reopened() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client_as("ann", "annpw");
    let mut control = redis.control();
    for i in 0..20 {
        assert_eq!(client.ask(&format!("SET k{i} v")), "+OK");
        assert!(control.ask("CLIENT KILL USER ann").starts_with(':'));
        // A read that was written before the proxy saw the loss is retried.
        assert_eq!(client.ask(&format!("GET k{i}")), "$1 v");
    }
    assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
}

#[test]
fn hung_backend_gives_an_error_after_reply_ms() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1", "--backend-pool.reply-ms=500"]);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    assert_eq!(client.ask("SET k v"), "+OK");
    redis.freeze();
    let start = now();
    client.send([array("INCR n"), array("UNWATCH"), array("GET k")].concat());
    other.send(array("GET k"));
    assert_eq!(client.replies(3), [LATE, "+OK", LATE]);
    assert_eq!(other.reply(), LATE);
    assert_took(start, 490..3_000);
    redis.thaw();
    wait_served(&mut client, "GET k", "$1 v");
    wait_served(&mut other, "GET k", "$1 v");
}

/// A backend that accepts connections and sends nothing does not block clients for long.
#[test]
fn backend_that_hangs_during_the_handshake_gives_an_error() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1", "--backend-pool.reply-ms=300"]);
    let (mut client, mut user) = (proxy.client(), proxy.client());
    assert_eq!(client.ask("PING"), "+PONG");
    redis.freeze();
    assert_eq!(
        user.ask("AUTH ann annpw"),
        "-ERR elika: backend unavailable: timed out"
    );
    assert_eq!(
        client.ask("SELECT 5"),
        "-ERR elika: backend unavailable: timed out"
    );
    redis.thaw();
    change_served(&proxy, "AUTH ann annpw");
    change_served(&proxy, "SELECT 5");
}

#[test]
fn full_backend_gives_its_error() {
    let redis = Redis::open_with("maxclients 3");
    let mut control = redis.control();
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k v"), "+OK");
    let mut ann = proxy.client_as("ann", "annpw");
    let mut bob = proxy.client();
    let reply = bob.ask("AUTH bob bobpw");
    assert!(reply.contains("max number of clients reached"), "{reply}");
    // Connected clients continue.
    assert_eq!(client.ask("GET k"), "$1 v");
    assert_eq!(ann.ask("GET k"), "$1 v");
    assert_eq!(control.ask("CONFIG SET maxclients 100"), "+OK");
    let mut bob = change_served(&proxy, "AUTH bob bobpw");
    assert_eq!(bob.ask("GET k"), "$1 v");
}

#[test]
fn loading_and_busy_errors_are_forwarded() {
    let (_redis, proxy) = Redis::open_with("lua-time-limit 50").proxied(&[]);
    let (mut client, mut other) = (proxy.client(), proxy.client_as("ann", "annpw"));
    client.ask("SET k v");
    client.send(support::request(&[b"EVAL", b"while true do end", b"0"]));
    wait_until("the script is slow", || {
        other.ask("GET k").starts_with("-BUSY ")
    });
    assert_eq!(other.ask("SCRIPT KILL"), "+OK");
    assert!(client.reply().starts_with("-ERR "));
    assert_eq!(client.ask("GET k"), "$1 v");
}
