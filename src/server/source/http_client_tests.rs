//! Responses of all kinds, from a scripted server.

use std::io::BufRead as _;
use std::io::BufReader;
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

/// A server for one connection: it reads the request, sends these bytes and closes. Its thread
/// returns the request.
fn server(response: impl Into<Vec<u8>>) -> (HostPort, JoinHandle<String>) {
    let response = response.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = HostPort {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
    };
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        while !request.ends_with("\r\n\r\n") {
            lines.read_line(&mut request).unwrap();
        }
        // The client may have closed already.
        let _ = stream.write_all(&response);
        request
    });
    (to, thread)
}

fn request(to: &HostPort) -> Request<'_> {
    Request {
        to,
        target: "/list_cluster?wait=1",
        headers: &[("If-None-Match", "\"v1\""), ("Authorization", "Bearer t")],
        timeout: Duration::from_secs(20),
    }
}

fn answer_to(bytes: impl Into<Vec<u8>>) -> Result<Response, String> {
    let (to, server) = server(bytes);
    let response = get(&request(&to));
    server.join().unwrap();
    response
}

#[track_caller]
fn body_of(bytes: impl Into<Vec<u8>>) -> String {
    String::from_utf8(answer_to(bytes).unwrap().body).unwrap()
}

#[track_caller]
fn refusal(bytes: impl Into<Vec<u8>>) -> String {
    answer_to(bytes).unwrap_err()
}

#[test]
fn get_sends_one_request() {
    let (to, server) = server("HTTP/1.1 204 No Content\r\n\r\n");
    let response = get(&request(&to)).unwrap();
    assert_eq!((response.status, response.body.len()), (204, 0));
    let sent = server.join().unwrap();
    let port = to.port;
    let wanted = format!(
        "GET /list_cluster?wait=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
         User-Agent: elika/{}\r\nAccept: application/json\r\nConnection: close\r\n\
         If-None-Match: \"v1\"\r\nAuthorization: Bearer t\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(sent, wanted);
    let split = Request {
        headers: &[("Authorization", "Bearer t\r\nX: y")],
        ..request(&to)
    };
    assert_eq!(
        encode(&split).unwrap_err(),
        "Authorization has a line break"
    );
}

#[test]
fn bodies_of_every_framing_are_read() {
    let head = "HTTP/1.1 200 OK\r\nETag: \"v2\"\r\n";
    let response = answer_to(format!("{head}Content-Length: 3\r\n\r\nabc and more")).unwrap();
    assert_eq!(response.etag.as_deref(), Some("\"v2\""));
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"abc"[..])
    );
    assert_eq!(body_of(format!("{head}\r\nuntil the end")), "until the end");
    assert_eq!(body_of(format!("{head}content-length: 0\r\n\r\n")), "");
    let chunked = format!("{head}Transfer-Encoding: Chunked\r\n\r\n");
    let chunks = "3\r\nabc\r\n10;name=value\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(body_of(format!("{chunked}{chunks}")), "abc0123456789abcdef");
    let big = "x".repeat(100_000);
    assert_eq!(
        body_of(format!("{chunked}186a0\r\n{big}\r\n0\r\n\r\n")),
        big
    );
    assert_eq!(
        body_of(format!(
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{head}\r\nafter hints"
        )),
        "after hints"
    );
    let unchanged = answer_to("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n").unwrap();
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let denied = answer_to("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").unwrap();
    assert_eq!(denied.status, 401);
}

#[test]
fn truncated_responses_are_errors() {
    let cut = "the connection was closed before the response was complete";
    for bytes in [
        "",
        "HTTP/1.1 200 OK\r\nETag",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert_eq!(refusal(bytes), cut, "{bytes:?}");
    }
}

#[test]
fn invalid_responses_are_errors() {
    for (bytes, why) in [
        ("+PONG\r\n\r\n", "no HTTP response"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "not clear",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not clear"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "gzip is not understood",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "no size",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "where it should",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n",
            "larger than 67108864",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "larger than",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
            "larger than",
        ),
    ] {
        let refusal = refusal(bytes);
        assert!(refusal.contains(why), "{bytes:?}: {refusal}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
    assert!(refusal(endless).contains("the head is larger than"));
    let extension = "x".repeat(CHUNK_LINE_BYTES_MAX);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(refusal(format!("{chunked}1;{extension}")).contains("no size"));
}

#[test]
fn response_timeout_applies() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = HostPort {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
    };
    let impatient = || Request {
        timeout: Duration::from_millis(50),
        ..request(&to)
    };
    // The server accepts and sends nothing.
    assert_eq!(get(&impatient()).unwrap_err(), "no response in time");
    // The server sends a byte now and then, and never a complete response.
    let drip = thread::spawn({
        let listener = listener.try_clone().unwrap();
        move || {
            let (_, _) = listener.accept().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            while stream.write_all(b"X: y\r\n").is_ok() {
                thread::yield_now();
            }
        }
    });
    let why = get(&impatient()).unwrap_err();
    assert!(
        why.contains("in time") || why.contains("larger") || why.contains("too many"),
        "{why}"
    );
    drip.join().unwrap();
    drop(listener);
    assert_eq!(get(&impatient()).unwrap_err(), "connection refused");
}
