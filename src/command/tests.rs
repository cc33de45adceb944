//! Helpers of the tests: requests from words, their plans and replies.

use super::client::{Dialect, Line};
use super::{Plan, View, answer, plan};
use crate::resp::{Args, Protocol, write};

mod answers;
mod deny;
mod live;
mod names;
mod plans;
mod requests;

/// A request with these words, which are separated by spaces.
fn request(words: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let mut frame = Vec::new();
    write::command(&mut frame, &words);
    frame
}

fn plan_of(words: &str) -> Plan {
    plan(Args::new(&request(words)))
}

/// The reply of [`answer`] to a client without state.
fn answered(words: &str, protocol: Protocol) -> String {
    let frame = request(words);
    let Plan::Answer(which) = plan(Args::new(&frame)) else {
        panic!("{words} is not answered here");
    };
    let view = View {
        protocol,
        id: 7,
        name: b"",
        dialect: Dialect::Redis70,
        node: None,
    };
    let mut out = Vec::new();
    answer(which, Args::new(&frame), &view, &mut out);
    String::from_utf8(out).unwrap()
}

fn resp2(words: &str) -> String {
    answered(words, Protocol::Resp2)
}

/// A client without state.
fn line() -> Line<'static> {
    Line {
        id: 5,
        addr: b"10.0.0.1:4000",
        laddr: b"10.0.0.9:6378",
        name: b"",
        age: 30,
        idle: 2,
        db: 0,
        sub: 0,
        psub: 0,
        ssub: 0,
        multi: None,
        watch: 0,
        blocked: false,
        monitor: false,
        no_touch: false,
        tracking: None,
        read_only: false,
        takes_redirects: false,
        net_in: 70,
        net_out: 80,
        commands: 9,
        closing: false,
        qbuf: 0,
        omem: 0,
        cmd: b"get",
        user: b"app",
        protocol: Protocol::Resp2,
        lib_name: b"",
        lib_ver: b"",
        dialect: Dialect::Redis70,
    }
}
