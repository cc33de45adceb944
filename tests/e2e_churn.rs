//! Thousands of clients that connect, send one request and disconnect: nothing of them remains, and
//! workers have equal numbers of clients.

mod support;

use std::thread;

use support::{Exposition, Proxy, Redis, array, wait_until};

const AT_A_TIME: usize = 6;
const EACH: usize = 1_000;

/// A client that disconnects and one that connects in the same turn share a slot. If one of them
/// were counted wrongly, the limit would be reached some time.
#[test]
fn disconnected_clients_do_not_count() {
    let (_redis, proxy) = Redis::open().proxied(&["--core-num=1", "--limit.clients=60"]);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                for i in 0..EACH {
                    assert_eq!(proxy.client().ask("PING"), "+PONG", "client {i}");
                }
            });
        }
    });
    // The whole limit is available for other clients.
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

/// The busiest worker has at most a tenth more than the mean.
#[test]
fn workers_get_equal_numbers_of_clients() {
    let redis = Redis::open();
    for workers in [2, 4] {
        let proxy = Proxy::with(&redis, &[&format!("--core-num={workers}")]);
        let of_each = || {
            let page = proxy.service().get("/metrics").body;
            let page = Exposition::read(&page).unwrap();
            let of = |worker: u32| {
                page.value("elika_worker_clients", &[("worker", &worker.to_string())])
            };
            (0..workers).map(of).collect::<Vec<f64>>()
        };
        let even = |all: u32| {
            let mut counts = Vec::new();
            wait_until("all are counted", || {
                counts = of_each();
                counts.iter().sum::<f64>() == f64::from(all)
            });
            let mean = f64::from(all) / f64::from(workers);
            assert!(counts.iter().all(|&n| n <= mean * 1.1), "{counts:?}");
        };
        let come = |n: u32| {
            let mut clients: Vec<_> = (0..n).map(|_| proxy.client()).collect();
            for client in &mut clients {
                assert_eq!(client.ask("PING"), "+PONG");
            }
            clients
        };
        let mut clients = come(50);
        even(50);
        // The clients of one worker disconnect; the next clients fill it up again.
        let mut at = 0..50;
        clients.retain(|_| at.next().is_some_and(|i| i % workers != 0));
        let left = u32::try_from(clients.len()).unwrap();
        wait_until("they are gone", || {
            of_each().iter().sum::<f64>() == f64::from(left)
        });
        clients.extend(come(50 - left));
        even(50);
    }
}
