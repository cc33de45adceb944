//! The workload itself: a single server gives the right replies, and each fault is found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
mod workload;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use support::{Proxy, Redis, Wire};
use workload::{Kind, Summary, Workload, after_seconds};

/// Every this many replies of a connection, the relay makes a mistake.
const EVERY: u64 = 500;

const UNAVAILABLE: &[u8] = b"-ERR elika: backend unavailable: nothing is wrong\r\n";

/// What a relay does with a reply.
#[derive(Clone, Copy)]
enum Fault {
    /// The next reply is sent first.
    Swap,
    /// An error is sent instead, which says that the command was not executed.
    Refuse,
}

#[test]
fn single_server_gives_the_right_replies() {
    let redis = Redis::open();
    assert_faultless(&Workload::new(8).run(redis.address(), after_seconds(2)));
}

#[test]
fn proxy_gives_the_right_replies() {
    let redis = Redis::open();
    let proxy = Proxy::with(&redis, &["--core-num=2"]);
    assert_faultless(&Workload::new(8).run(proxy.address(), after_seconds(2)));
}

fn assert_faultless(summary: &Summary) {
    println!("{summary}");
    let [wrong, closed] = [summary.wrong, summary.closed];
    assert!(
        summary.errors.is_empty() && wrong + closed == 0,
        "{summary}"
    );
    for kind in Kind::ALL {
        assert!(summary.right.contains_key(&kind), "no {kind:?}: {summary}");
    }
}

#[test]
fn swapped_replies_are_found() {
    let summary = run_at_relay(Fault::Swap, &Kind::ALL);
    assert!(summary.wrong > 0 && summary.reordered > 0, "{summary}");
    assert!(summary.errors.is_empty(), "{summary}");
}

#[test]
fn executed_commands_with_an_error_that_says_otherwise_are_found() {
    let summary = run_at_relay(Fault::Refuse, &[Kind::Incr, Kind::Append]);
    assert!(summary.wrong > 0, "{summary}");
    assert_eq!(summary.errors_beside(&["-ERR elika: "]), [""; 0]);
    assert!(!summary.errors.is_empty(), "{summary}");
}

/// Runs some kinds of commands through a relay that makes mistakes.
fn run_at_relay(fault: Fault, kinds: &[Kind]) -> Summary {
    let redis = Redis::open();
    let workload = Workload {
        kinds: kinds.to_vec(),
        ..Workload::new(2)
    };
    let summary = workload.run(relay(redis.address(), fault), after_seconds(1));
    println!("{summary}");
    summary
}

/// A relay in front of a server, until the test ends.
fn relay(server: String, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            thread::spawn(move || pass_replies(Wire::over(server), client, fault));
        }
    });
    address
}

/// Passes on the replies of a server. A reply that waits for the next one is sent alone if none
/// comes.
fn pass_replies(mut server: Wire, mut client: TcpStream, fault: Fault) -> std::io::Result<()> {
    let a_moment = Some(Duration::from_millis(20));
    server.tcp().set_read_timeout(a_moment)?;
    client.set_nodelay(true)?;
    let mut waiting = Vec::new();
    let mut count = 0;
    loop {
        match server.try_frame() {
            Ok(frame) => {
                count += 1;
                match fault {
                    Fault::Swap if count % EVERY == 0 => {
                        waiting = frame;
                        continue;
                    }
                    Fault::Refuse if count % EVERY == 0 => client.write_all(UNAVAILABLE)?,
                    _ => client.write_all(&frame)?,
                }
            }
            Err(why) if why == "the end" => return Ok(()),
            Err(_) => {}
        }
        client.write_all(&waiting)?;
        waiting.clear();
    }
}
