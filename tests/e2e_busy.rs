//! A server that is busy, stopped, full, or pauses writes: clients of the proxy get what a client
//! with a direct connection gets.

mod support;

use std::time::Duration;

use support::{
    Feature, PATIENCE, Proxy, Redis, Wire, array, id_of, now, pause, request, wait_until,
};

/// A script that only SCRIPT KILL ends.
const ENDLESS: &[&[u8]] = &[b"EVAL", b"while true do end", b"0"];

/// Waits for a time in which nothing may happen.
fn let_pass(time: Duration) {
    let until = now() + time;
    while now() < until {
        pause();
    }
}

fn many(proxy: &Proxy, n: usize) -> Vec<Wire> {
    (0..n).map(|_| proxy.client_as("ann", "annpw")).collect()
}

/// Longer than connect-ms and health.timeout-ms.
#[test]
fn stopped_server_that_continues_loses_no_reply() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let options = [
        "--core-num=1",
        "--backend-pool.connect-ms=200",
        "--health.check-ms=100",
        "--health.timeout-ms=50",
    ];
    let proxy = Proxy::with(&redis, &options);
    let mut clients = many(&proxy, 8);
    assert_eq!(clients[0].ask("SET k v"), "+OK");
    redis.freeze();
    for (i, client) in clients.iter_mut().enumerate() {
        match i % 2 {
            0 => client.send(array(&format!("INCR n{i}"))),
            _ => client.send(array("GET k")),
        }
    }
    let_pass(Duration::from_secs(1));
    // Some clients send their requests later, and some only now.
    for client in &mut clients {
        client.send(array("GET k"));
    }
    let mut late = proxy.client();
    late.send([array("AUTH bob bobpw"), array("GET k")].concat());
    let_pass(Duration::from_secs(1));
    redis.thaw();
    for (i, client) in clients.iter_mut().enumerate() {
        let first = if i % 2 == 0 { ":1" } else { "$1 v" };
        assert_eq!(client.replies(2), [first, "$1 v"]);
    }
    assert_eq!(late.replies(2), ["+OK", "$1 v"]);
    assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
}

#[test]
fn long_command_loses_no_reply() {
    let redis = Redis::open();
    if redis.lacks(Feature::Users) {
        return;
    }
    let redis = Redis::open_with(if redis.lacks(Feature::Functions) {
        ""
    } else {
        "enable-debug-command yes"
    });
    let options = ["--core-num=1", "--backend-pool.connect-ms=200"];
    let proxy = Proxy::with(&redis, &options);
    let mut clients = many(&proxy, 6);
    let (mut direct, mut sleeper) = (redis.direct(), clients.pop().unwrap());
    assert_eq!(sleeper.ask("SET k v"), "+OK");
    sleeper.send(array("DEBUG SLEEP 1.5"));
    let start = now();
    // Two clients send at once, the others later.
    for (i, client) in clients.iter_mut().enumerate() {
        if i == 2 {
            let_pass(Duration::from_millis(300));
        }
        client.send(array(if i % 2 == 0 { "INCR n" } else { "GET k" }));
    }
    assert_eq!(direct.ask("ECHO x"), "$1 x");
    let direct = start.elapsed();
    let mut counted = Vec::new();
    for (i, client) in clients.iter_mut().enumerate() {
        match i % 2 {
            0 => counted.push(client.reply()),
            _ => assert_eq!(client.reply(), "$1 v"),
        }
    }
    counted.sort();
    assert_eq!(counted, [":1", ":2", ":3"]);
    let ours = start.elapsed();
    assert!(
        ours < direct + Duration::from_secs(1),
        "{ours:?} {direct:?}"
    );
    assert_eq!(sleeper.reply(), "+OK");
    assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
}

/// CLIENT PAUSE with WRITE, which servers have since 6.2.
fn pauses_writes(redis: &Redis) -> bool {
    let said = redis.ask("CLIENT PAUSE 60000 WRITE");
    if said != "+OK" {
        println!("not checked: the server cannot pause writes alone");
    }
    said == "+OK"
}

#[test]
fn reads_continue_while_the_server_pauses_writes() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut clients = many(&proxy, 13);
    let mut direct = redis.direct();
    assert_eq!(clients[0].ask("SET k v"), "+OK");
    if !pauses_writes(&redis) {
        return;
    }
    let (writer, readers) = clients.split_first_mut().unwrap();
    writer.send(array("SET k w"));
    for reader in &mut *readers {
        reader.send(array("GET k"));
    }
    for reader in &mut *readers {
        assert_eq!(reader.reply(), "$1 v");
    }
    assert_eq!(direct.ask("GET k"), "$1 v");
    for reader in &mut *readers {
        assert_eq!(reader.ask("GET k"), "$1 v");
    }
    writer.expect_silence();
    assert_eq!(redis.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(writer.reply(), "+OK");
    for reader in &mut *readers {
        assert_eq!(reader.ask("GET k"), "$1 w");
    }
}

/// One connection carries all paused writes, and the others serve reads.
#[test]
fn reads_continue_while_many_writes_are_paused() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1", "--backend-pool.max-size=2"]);
    let mut readers = many(&proxy, 5);
    let mut writers = many(&proxy, 8);
    assert_eq!(readers[0].ask("SET k v"), "+OK");
    if !pauses_writes(&redis) {
        return;
    }
    for writer in &mut writers {
        writer.send(array("SET k w"));
        let_pass(Duration::from_millis(150));
        for reader in &mut readers {
            assert_eq!(reader.ask("GET k"), "$1 v");
        }
    }
    assert_eq!(redis.ask("CLIENT UNPAUSE"), "+OK");
    for writer in &mut writers {
        assert_eq!(writer.reply(), "+OK");
    }
}

#[test]
fn write_may_be_paused_for_longer_than_reply_ms() {
    for size in ["30", "1"] {
        let redis = Redis::open();
        let size = format!("--backend-pool.max-size={size}");
        let options = ["--core-num=1", "--backend-pool.reply-ms=600", &size];
        let proxy = Proxy::with(&redis, &options);
        let mut clients = many(&proxy, 4);
        assert_eq!(clients[0].ask("SET k v"), "+OK");
        if !pauses_writes(&redis) {
            return;
        }
        let (writer, readers) = clients.split_first_mut().unwrap();
        writer.send(array("SET k w"));
        let until = now() + Duration::from_millis(2_000);
        while now() < until {
            for reader in &mut *readers {
                assert_eq!(reader.ask("GET k"), "$1 v");
            }
            pause();
        }
        // Nor if no client sends anything meanwhile.
        let_pass(Duration::from_millis(2_000));
        writer.expect_silence();
        assert_eq!(redis.ask("CLIENT UNPAUSE"), "+OK");
        assert_eq!(writer.reply(), "+OK");
        assert_eq!(writer.ask("GET k"), "$1 w");
        assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
    }
}

#[test]
fn long_script_gives_the_busy_error_of_the_server() {
    let redis = Redis::open_with("lua-time-limit 1000");
    if redis.lacks(Feature::Users) {
        return;
    }
    let options = [
        "--core-num=1",
        "--backend-pool.connect-ms=200",
        "--backend-pool.reply-ms=2000",
    ];
    let proxy = Proxy::with(&redis, &options);
    let mut clients = many(&proxy, 5);
    let mut direct = redis.direct();
    let mut runner = clients.pop().unwrap();
    assert_eq!(runner.ask("SET k v"), "+OK");
    runner.send(request(ENDLESS));
    for client in &mut clients {
        client.send(array("GET k"));
    }
    wait_until("the script is slow", || {
        direct.ask("GET k").starts_with("-BUSY ")
    });
    for client in &mut clients {
        let heard = client.reply();
        assert!(heard == "$1 v" || heard.starts_with("-BUSY "), "{heard}");
        assert!(client.ask("GET k").starts_with("-BUSY "));
    }
    // The script runs for longer than reply-ms, and the server answers all the time.
    let_pass(Duration::from_millis(4_500));
    runner.expect_silence();
    assert_eq!(clients[0].ask("SCRIPT KILL"), "+OK");
    assert!(runner.reply().contains("killed by user"));
    for client in &mut clients {
        assert_eq!(client.ask("GET k"), "$1 v");
    }
    assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
}

/// Clients of a shared connection continue, although no further connection can be opened.
#[test]
fn full_server_still_serves_shared_connections() {
    let redis = Redis::open_with("maxclients 4\nlua-time-limit 200");
    if redis.lacks(Feature::Users) {
        return;
    }
    let mut control = redis.control();
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut clients = many(&proxy, 5);
    assert_eq!(clients[0].ask("SET k v"), "+OK");
    let mut taken = Vec::new();
    wait_until("the server is full", || {
        let mut wire = redis.direct();
        let full = wire.ask("ECHO x").contains("max number of clients");
        taken.push(wire);
        full
    });
    let (runner, others) = clients.split_first_mut().unwrap();
    runner.send(request(&[
        b"EVAL",
        b"for i = 1, 20000000 do end return 1",
        b"0",
    ]));
    for client in &mut *others {
        client.send(array("GET k"));
    }
    for client in &mut *others {
        let heard = client.reply();
        assert!(heard == "$1 v" || heard.starts_with("-BUSY "), "{heard}");
    }
    assert_eq!(runner.reply(), ":1");
    for client in &mut *others {
        assert_eq!(client.ask("GET k"), "$1 v");
    }
    let mut new = proxy.client();
    let heard = new.ask("SUBSCRIBE c");
    assert!(heard.contains("max number of clients"), "{heard}");
    assert_eq!(control.ask("CONFIG SET maxclients 100"), "+OK");
    wait_until("there is room", || !new.ask("SUBSCRIBE c").starts_with('-'));
    assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
}

/// The server closes a connection whose replies are not read.
#[test]
fn slow_reader_does_not_affect_other_clients() {
    let redis = Redis::open_with("client-output-buffer-limit normal 8mb 0 0");
    if redis.lacks(Feature::Users) {
        return;
    }
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let mut clients = many(&proxy, 5);
    let mut slow = clients.pop().unwrap();
    let mut control = redis.control();
    assert_eq!(slow.ask("SET k v"), "+OK");
    assert_eq!(control.ask("SETRANGE big 1000000 x"), ":1000001");
    let of_ann = || {
        let all = redis.connections().into_iter();
        let its = all.filter(|line| line.contains(" user=ann "));
        its.map(|line| id_of(&line).to_owned()).collect::<Vec<_>>()
    };
    let shared = of_ann();
    assert_eq!(shared.len(), 1);
    let is_cut = || !of_ann().contains(&shared[0]);
    // All of them are on one connection when the server starts to reply.
    redis.freeze();
    slow.send(array("GET big").repeat(40));
    let mut asker = proxy.client();
    for client in &mut clients {
        asker.ask("UNWATCH");
        client.send(array("GET k"));
        asker.ask("UNWATCH");
    }
    redis.thaw();
    for client in &mut clients {
        assert_eq!(client.reply(), "$1 v");
    }
    let until = now() + PATIENCE;
    while !is_cut() {
        assert!(
            now() < until,
            "the server is patient: {}",
            redis.ask("CLIENT LIST")
        );
        for client in &mut clients {
            client.send([array("GET k"), array("GET k")].concat());
        }
        for client in &mut clients {
            assert_eq!(client.replies(2), ["$1 v", "$1 v"]);
        }
    }
}
