//! Checks of the service port for arbitrary input, called by the fuzz target and by the replay of
//! its corpus.
//!
//! Each input is received by one connection, as a whole and in pieces. The responses must be the
//! same, and must be valid HTTP and JSON.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tinyjson::JsonValue;

use crate::proxy::Millis;

use super::access::Caller;
use super::connection::{Connection, Turn};
use super::context::{Context, ServiceSettings};
use super::fake_control::FakeControl;
use super::http::{CONTINUE, Decoder, Length, Refusal, Request, Step};
use super::limits::{BODY_BYTES_MAX, Class, HEAD_BYTES_MAX, WAIT_SECONDS_MAX};

/// A trusted caller.
const CALLER: Caller = Caller {
    peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    admin: true,
};

/// Longer inputs add nothing but time.
const INPUT_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// Checks one input.
pub fn requests(data: &[u8]) {
    let data = data.get(..INPUT_BYTES_MAX).unwrap_or(data);
    let whole = decode(data, data.len());
    let (sent, answered) = serve(data, data.len());
    for piece in pieces(data) {
        assert_eq!(decode(data, piece), whole, "in pieces of {piece}");
        assert_eq!(
            serve(data, piece),
            (sent.clone(), answered),
            "in pieces of {piece}"
        );
    }
    check_responses(&sent, answered);
}

/// Lengths of pieces: single bytes, and two that depend on the data.
fn pieces(data: &[u8]) -> [usize; 3] {
    let sum: usize = data.iter().map(|&byte| usize::from(byte)).sum();
    [1, 2 + sum % 31, 1 + sum % data.len().max(1)]
}

/// All requests in an input, and the refusal that ended them.
fn decode(data: &[u8], piece: usize) -> (Vec<Request>, Option<Refusal>) {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    let mut announced = None;
    for piece in data.chunks(piece.max(1)) {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Step::NeedMore) => break,
                Ok(Step::Head) => announced = decoder.head().cloned(),
                Ok(Step::Request(request)) => {
                    let head = announced.take();
                    assert!(head.is_none_or(|head| head == request.head));
                    check_request(&request);
                    found.push(request);
                }
                Err(refusal) => {
                    assert_eq!(decoder.next(), Err(refusal), "the error is repeated");
                    assert!((400..600).contains(&refusal.status));
                    return (found, Some(refusal));
                }
            }
        }
        assert_eq!(decoder.head(), announced.as_ref());
    }
    (found, None)
}

fn check_request(request: &Request) {
    let head = &request.head;
    assert!(head.path.starts_with('/') && !head.path.contains('?'));
    assert!(head.path.len() + head.query.len() < HEAD_BYTES_MAX);
    assert!(request.body.len() <= BODY_BYTES_MAX);
    match head.length {
        Length::None => assert!(request.body.is_empty()),
        Length::Bytes(bytes) => assert_eq!(request.body.len() as u64, bytes),
        Length::Chunked => assert!(!head.is_old),
    }
}

/// Sends `data` in pieces. Returns the bytes that the peer receives, without `100 Continue`, and
/// the number of responses. Requests that wait for a change run into their timeout.
fn serve(data: &[u8], piece: usize) -> (Vec<u8>, usize) {
    let settings = ServiceSettings {
        metrics_path: Some("/metrics".to_owned()),
        ..ServiceSettings::default()
    };
    let context = Arc::new(FakeControl::new()).context(settings);
    let mut connection = Connection::new(CALLER, Class::General, Millis(0));
    let mut got = (Vec::new(), 0);
    let mut now = Millis(0);
    for piece in data.chunks(piece.max(1)) {
        if connection.has_ended() || connection.is_lingering() {
            break;
        }
        assert!(connection.wants_input());
        connection.received(piece);
        settle(&mut connection, &context, &mut now, &mut got);
    }
    connection.input_ended();
    settle(&mut connection, &context, &mut now, &mut got);
    assert!(connection.has_ended());
    got
}

/// Runs the connection until it waits for the peer.
fn settle(
    connection: &mut Connection,
    context: &Context,
    now: &mut Millis,
    (got, answered): &mut (Vec<u8>, usize),
) {
    loop {
        let turn = Turn {
            context,
            now: *now,
            parked: 0,
        };
        if connection.is_fresh() {
            connection.proceed(&turn);
            if let Some((_, request)) = connection.call(0) {
                connection.answered(0, context.answer(&request, CALLER), &turn);
            }
        } else if connection.is_parked() {
            *now = now.after(WAIT_SECONDS_MAX * 1000);
            connection.tick(&Turn { now: *now, ..turn });
        } else if connection.outbound().is_empty() {
            return;
        }
        let outbound = connection.outbound();
        let n = outbound.len();
        let response = outbound.strip_prefix(CONTINUE).unwrap_or(outbound);
        *answered += usize::from(!response.is_empty());
        got.extend_from_slice(response);
        connection.sent(n, turn.now);
    }
}

/// Checks that `bytes` are exactly `answered` responses.
fn check_responses(mut bytes: &[u8], answered: usize) {
    for _ in 0..answered {
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else {
            unreachable!("no response: {}", bytes.escape_ascii());
        };
        let text = |name: &str| {
            let found = response.headers.iter().find(|it| it.name == name);
            found.map(|it| String::from_utf8_lossy(it.value).into_owned())
        };
        let length = text("Content-Length").and_then(|text| text.parse().ok());
        assert_eq!(length.is_none(), response.code == Some(304));
        // The response to HEAD has the length of a body, and no body.
        let rest = &bytes[head..];
        let length = match length.unwrap_or(0) {
            _ if rest.is_empty() || rest.starts_with(b"HTTP/1.1 ") => 0,
            length => length,
        };
        let (body, rest) = rest.split_at(length);
        if text("Content-Type").as_deref() == Some("application/json") && length > 0 {
            let body = str::from_utf8(body).ok();
            let json = body.and_then(|body| body.parse::<JsonValue>().ok());
            assert!(json.is_some(), "no JSON: {body:?}");
        }
        bytes = rest;
    }
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
}

/// Parses a request.
#[cfg(test)]
pub(super) fn request_of(text: &str) -> Request {
    let (mut requests, refusal) = decode(text.as_bytes(), text.len());
    assert_eq!((requests.len(), refusal), (1, None), "{text:?}");
    requests.remove(0)
}
