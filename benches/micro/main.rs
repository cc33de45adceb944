//! The decoders and the machine without sockets: bytes in, bytes out, nanoseconds per operation.
//!
//! Alone it measures all workloads; `micro NAME N` runs one for at least N operations and prints
//! how many they were. Under callgrind, the difference of two such runs is what the operations
//! cost in instructions: so does `benches/run`.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark may fail")]

mod worker;

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use elika::command::scatter::{CrossSlot, Rule, rule};
use elika::resp::{Args, Protocol, ReplyScanner, RequestDecoder, RequestLimits, Scan, Step, write};
use worker::{Exchange, Worker, one_instance};

/// How long each workload is measured, and how long it warms up.
const MEASURE: Duration = Duration::from_millis(400);
const WARM_UP: Duration = Duration::from_millis(50);

/// Clients that are connected and do nothing.
const IDLE_CLIENTS: usize = 8_000;

/// Requests or replies in a buffer that is parsed.
const FRAMES: usize = 100;

/// Some operations of a workload; returns how many.
type Operations = Box<dyn FnMut() -> usize>;

/// A name, what an operation is, and how the workload is set up.
struct Workload {
    name: &'static str,
    what: &'static str,
    set_up: fn() -> Operations,
}

const WORKLOADS: &[Workload] = &[
    workload("parse-get", "a GET is found and taken apart", || {
        parse(&[b"GET", b"key:000000012345"])
    }),
    workload("parse-mset", "an MSET of 100 keys is found", || {
        let mut words: Vec<&[u8]> = vec![b"MSET"];
        words.resize(201, b"key:000000012345");
        parse(&words)
    }),
    workload("scan-bulk", "a reply of 32 bytes is followed", || {
        let mut reply = Vec::new();
        write::bulk(&mut reply, &[b'x'; 32]);
        scan(&reply)
    }),
    workload("scan-array", "a reply of 100 elements is followed", || {
        let mut reply = b"*100\r\n".to_vec();
        (0..100).for_each(|_| write::bulk(&mut reply, &[b'x'; 32]));
        scan(&reply)
    }),
    workload("split-mget", "an MGET of 100 keys is split", || {
        split_mget(100, false)
    }),
    workload("split-10k", "an MGET of 10,000 keys is split", || {
        split_mget(10_000, false)
    }),
    workload(
        "merge-mget",
        "an MGET of 100 keys is split and merged",
        || split_mget(100, true),
    ),
    workload("c1", "1 client, one GET at a time", || {
        exchange(1, 1, Exchange::get(1, 32))
    }),
    workload("c50", "50 clients, one GET at a time", || {
        exchange(50, 50, Exchange::get(1, 32))
    }),
    workload("c500", "500 clients, one GET at a time", || {
        exchange(500, 500, Exchange::get(1, 32))
    }),
    workload("c50-idle", "50 clients beside 8,000 idle ones", || {
        exchange(50 + IDLE_CLIENTS, 50, Exchange::get(1, 32))
    }),
    workload(
        "c50-twice",
        "50 clients on each of two threads at once",
        || beside_another(50, Exchange::get(1, 32)),
    ),
    workload("c50-p16", "50 clients, 16 GETs at a time", || {
        exchange(50, 50, Exchange::get(16, 32))
    }),
    workload("c10-p100", "10 clients, 100 GETs at a time", || {
        exchange(10, 10, Exchange::get(100, 32))
    }),
    workload("v16k", "50 clients, GET of 16 KB", || {
        exchange(50, 50, Exchange::get(1, 16 << 10))
    }),
    workload("v1m-get", "4 clients, GET of 1 MB", || {
        exchange(4, 4, Exchange::get(1, 1 << 20))
    }),
    workload("v1m-set", "4 clients, SET of 1 MB", || {
        let value = vec![b'x'; 1 << 20];
        exchange(4, 4, Exchange::new(&[b"SET", b"key", &value], 1, 2))
    }),
];

const fn workload(name: &'static str, what: &'static str, set_up: fn() -> Operations) -> Workload {
    Workload { name, what, set_up }
}

fn main() {
    // Cargo adds `--bench`.
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match given.as_slice() {
        [] => WORKLOADS.iter().for_each(measure),
        [name, n] => {
            let n = n.parse().expect("a number of operations");
            let workload = WORKLOADS.iter().find(|one| one.name == name);
            let mut step = (workload.expect("the name of a workload").set_up)();
            println!("{}", run(&mut step, n));
        }
        _ => panic!("usage: micro [NAME N]"),
    }
}

/// At least `n` operations; returns how many.
fn run(step: &mut Operations, n: usize) -> usize {
    let mut done = 0;
    while done < n {
        done += step();
    }
    done
}

fn measure(workload: &Workload) {
    let mut step = (workload.set_up)();
    run_for(&mut step, WARM_UP);
    let (operations, took) = run_for(&mut step, MEASURE);
    let ns = took.as_nanos() as f64 / operations as f64;
    println!("{:12} {ns:10.1} ns   {}", workload.name, workload.what);
}

#[allow(clippy::disallowed_methods, reason = "a benchmark's clock")]
fn run_for(step: &mut Operations, time: Duration) -> (usize, Duration) {
    let (start, mut operations) = (Instant::now(), 0);
    loop {
        operations += step();
        let took = start.elapsed();
        if took >= time {
            return (operations, took);
        }
    }
}

/// All of `clients` are connected, and the first `active` do this.
fn exchange(clients: usize, active: usize, exchange: Exchange) -> Operations {
    let mut worker = Worker::new(clients);
    Box::new(move || worker.exchange(active, &exchange))
}

/// Another thread does the same for clients of its own, as another worker of the process would:
/// what the two shared for each request would make both slower than one alone.
fn beside_another(clients: usize, exchange: Exchange) -> Operations {
    let (clusters, goes_on) = (one_instance(), Arc::new(()));
    let mut worker = Worker::following(Arc::clone(&clusters), clients);
    let (ends, same) = (Arc::downgrade(&goes_on), exchange.clone());
    thread::spawn(move || {
        let mut other = Worker::following(clusters, clients);
        while ends.strong_count() > 0 {
            other.exchange(clients, &same);
        }
    });
    Box::new(move || {
        let _until_dropped = &goes_on;
        worker.exchange(clients, &exchange)
    })
}

/// The request of these words, many in a buffer.
fn parse(words: &[&[u8]]) -> Operations {
    let mut request = Vec::new();
    write::command(&mut request, words);
    let buffer = request.repeat(FRAMES);
    Box::new(move || {
        let (mut decoder, mut rest) = (RequestDecoder::default(), buffer.as_slice());
        while !rest.is_empty() {
            let step = decoder.decode(rest, &RequestLimits::AFTER_LOGIN);
            let Ok(Step::Array { len, .. }) = step else {
                panic!("{step:?}");
            };
            let (frame, behind) = rest.split_at(len);
            black_box(Args::new(frame).next());
            rest = behind;
        }
        FRAMES
    })
}

/// A reply, many in a buffer.
fn scan(reply: &[u8]) -> Operations {
    let buffer = reply.repeat(FRAMES);
    Box::new(move || {
        let (mut scanner, mut rest) = (ReplyScanner::default(), buffer.as_slice());
        while !rest.is_empty() {
            let scan = scanner.scan(black_box(rest));
            let Ok(Scan::Complete { len }) = scan else {
                panic!("{scan:?}");
            };
            rest = &rest[len..];
        }
        FRAMES
    })
}

/// The MGET of this number of keys is split. To merge the replies, each key must have a slot of its
/// own, because each reply has one value.
fn split_mget(keys: usize, merge: bool) -> Operations {
    let words: Vec<String> = (0..keys).map(|n| format!("key:{n:012}")).collect();
    let words = std::iter::once("MGET").chain(words.iter().map(String::as_str));
    let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
    let mut request = Vec::new();
    write::command(&mut request, &words);
    let mut reply = b"*1\r\n".to_vec();
    write::bulk(&mut reply, &[b'x'; 32]);
    Box::new(move || {
        let Rule::Slots(split) = rule(black_box(&request), CrossSlot::Read) else {
            panic!("the keys have one slot");
        };
        for part in split.parts() {
            black_box(part);
        }
        if merge {
            let mut merge = split.into_merge();
            (0..keys).for_each(|part| merge.part(part, black_box(&reply)));
            let merged = merge.finish(Protocol::Resp2);
            assert!(merged.starts_with(b"*100\r\n$32\r\n"));
            black_box(merged);
        }
        1
    })
}
