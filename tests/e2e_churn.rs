//! Clients that come, ask once and go, by the thousand: nothing of them is left behind.

mod support;

use std::thread;

use support::{Proxy, Redis, array, wait_until};

const AT_A_TIME: usize = 6;
const EACH: usize = 1_000;

/// A client that leaves and one that comes in the same turn of the loop share a slot. If one of
/// them were not counted off, the limit would be reached sooner or later.
#[test]
fn clients_that_left_do_not_count() {
    let redis = Redis::open();
    let proxy = Proxy::with(&redis, &["--core-num=1", "--limit.clients=60"]);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                for i in 0..EACH {
                    assert_eq!(proxy.client().ask("PING"), "+PONG", "client {i}");
                }
            });
        }
    });
    // All of the limit is there for others.
    let mut clients = Vec::new();
    wait_until("60 clients fit in", || {
        let mut client = proxy.client();
        client.try_send(array("PING"));
        if client.try_frame().is_ok_and(|reply| reply == b"+PONG\r\n") {
            clients.push(client);
        }
        clients.len() == 60
    });
    let refusal = proxy.client().reply();
    assert_eq!(refusal, "-ERR max number of clients reached");
}
