//! Requests in every prefix and every split, and refused ones.

use super::*;
use crate::service::limits::{
    BODY_BYTES_MAX, CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, TRAILER_BYTES_MAX,
};

/// All requests that the pieces contain, and the refusal that ended them.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<Refusal>) {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Step::NeedMore) => break,
                Ok(Step::Head) => assert!(decoder.head().is_some()),
                Ok(Step::Request(request)) => found.push(request),
                Err(refusal) => return (found, Some(refusal)),
            }
        }
    }
    assert_eq!(
        decoder.has_begun(),
        decoder.has_input() || decoder.head().is_some()
    );
    (found, None)
}

/// Decodes the text in one piece, in all splits into two, and byte by byte; the results must be
/// equal.
#[track_caller]
fn decode_text(text: &str) -> (Vec<Request>, Option<Refusal>) {
    let bytes = text.as_bytes();
    let whole = decode([bytes]);
    assert_eq!(decode(bytes.chunks(1)), whole, "{text:?} byte by byte");
    for at in 0..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(decode([left, right]), whole, "{text:?} split at {at}");
    }
    whole
}

#[track_caller]
fn one(text: &str) -> Request {
    let (mut requests, refusal) = decode_text(text);
    assert_eq!((requests.len(), refusal), (1, None), "{text:?}");
    requests.remove(0)
}

#[track_caller]
fn refused(text: &str) -> (u16, &'static str) {
    let (requests, refusal) = decode_text(text);
    assert!(requests.is_empty(), "{text:?}");
    let refusal = refusal.unwrap_or_else(|| panic!("{text:?} is taken"));
    (refusal.status, refusal.reason)
}

const CURL: &str = "GET /list_cluster?wait=30 HTTP/1.1\r\nHost: 127.0.0.1:7080\r\n\
    User-Agent: curl/7.88.1\r\nAccept: */*\r\nIf-None-Match: \"a\"\r\nif-none-match: \"b\"\r\n\r\n";

#[test]
fn head_is_parsed() {
    let head = one(CURL).head;
    let expected = Head {
        method: Method::Get,
        path: "/list_cluster".into(),
        query: "wait=30".into(),
        is_old: false,
        keep_alive: true,
        expects_continue: false,
        length: Length::None,
        host: Some("127.0.0.1:7080".into()),
        authorization: None,
        if_none_match: Some("\"a\",\"b\"".into()),
        has_origin: false,
        is_forwarded: false,
    };
    assert_eq!(head, expected);
    let head =
        one("POST / HTTP/1.0\r\nOrigin: null\r\nVia: x\r\nAuthorization: Bearer a\r\n\r\n").head;
    assert_eq!(
        (head.method, head.is_old, head.keep_alive),
        (Method::Post, true, false)
    );
    assert!(head.has_origin && head.is_forwarded);
    assert_eq!(head.authorization.as_deref(), Some("Bearer a"));
}

#[test]
fn methods_are_case_sensitive() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("DELETE", Method::Delete),
        ("get", Method::Other),
        ("OPTIONS", Method::Other),
        ("BREW", Method::Other),
    ] {
        let text = format!("{name} / HTTP/1.0\r\n\r\n");
        assert_eq!(one(&text).head.method, method, "{name}");
    }
}

#[test]
fn targets_are_paths_with_or_without_a_host() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a/b?", "/a/b", ""),
        ("/a?b=c?d", "/a", "b=c?d"),
        ("//x", "//x", ""),
        ("/a%20b", "/a%20b", ""),
        ("/a?u=http://b/c", "/a", "u=http://b/c"),
        ("http://elika:7080/pools?x", "/pools", "x"),
        ("HTTP://elika", "/", ""),
        ("http://elika?x", "/", "x"),
    ] {
        let head = one(&format!("GET {target} HTTP/1.0\r\n\r\n")).head;
        assert_eq!((&*head.path, &*head.query), (path, query), "{target}");
    }
    for target in ["*", "elika:7080", "a/b", "https://elika/"] {
        let text = format!("GET {target} HTTP/1.0\r\n\r\n");
        assert_eq!(refused(&text), (400, "the target is not a path"));
    }
}

#[test]
fn keep_alive_follows_version_and_header() {
    let kept = |version: &str, value: &str| {
        let text = format!("GET / HTTP/{version}\r\nHost: x\r\nConnection: {value}\r\n\r\n");
        one(&text).head.keep_alive
    };
    assert!(kept("1.1", "keep-alive") && kept("1.1", "Upgrade, HTTP2-Settings"));
    assert!(!kept("1.1", "close") && !kept("1.1", "keep-alive, Close"));
    assert!(kept("1.0", "Keep-Alive") && !kept("1.0", "close") && !kept("1.0", "x"));
}

#[test]
fn every_prefix_of_a_request_is_incomplete() {
    let fixed = "POST /pause HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /pause HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n";
    for text in [CURL, fixed, chunked] {
        for at in 0..text.len() {
            let found = decode([&text.as_bytes()[..at]]);
            assert_eq!(found, (vec![], None), "{:?}", &text[..at]);
        }
        assert_eq!(one(text).body.len(), if text == CURL { 0 } else { 5 });
    }
}

#[test]
fn pipelined_requests_are_decoded() {
    let fixed = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
    let chunked = "DELETE /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n\
        A \r\n0123456789\r\n00\r\n\r\n";
    let empty = "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    // An additional line end, as some clients send it, is part of no request.
    let text = format!("{fixed}{chunked}{empty}\r\n{CURL}\r\n\n{fixed}\r\n");
    let (requests, refusal) = decode_text(&text);
    let got: Vec<_> = requests
        .iter()
        .map(|it| (&*it.head.path, str::from_utf8(&it.body).unwrap()))
        .collect();
    let expected = [
        ("/a", "hi"),
        ("/b", "0123456789"),
        ("/c", ""),
        ("/list_cluster", ""),
        ("/a", "hi"),
    ];
    assert_eq!((&*got, refusal), (&expected[..], None));
}

#[test]
fn no_memory_is_held_between_requests() {
    let mut decoder = Decoder::default();
    decoder.feed(CURL.as_bytes());
    assert!(decoder.has_begun());
    assert!(matches!(decoder.next(), Ok(Step::Request(_))));
    decoder.feed(b"\r\n");
    assert_eq!(decoder.next(), Ok(Step::NeedMore));
    assert!(!decoder.has_begun());
    assert_eq!(decoder.input.capacity(), 0);
}

#[test]
fn head_is_returned_before_its_body() {
    let mut decoder = Decoder::default();
    decoder.feed(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n");
    decoder.feed(b"Content-Length: 1048576\r\n\r\n");
    assert_eq!(decoder.next(), Ok(Step::Head));
    let head = decoder.head().unwrap();
    assert!(head.expects_continue && head.length == Length::Bytes(1_048_576));
    assert_eq!(decoder.next(), Ok(Step::NeedMore));
    assert!(decoder.has_begun() && !decoder.has_input());
    for _ in 0..64 {
        decoder.feed(&[b'x'; 16 * 1024]);
    }
    let Ok(Step::Request(request)) = decoder.next() else {
        panic!("it is complete");
    };
    assert_eq!(request.body, vec![b'x'; BODY_BYTES_MAX]);
}

#[test]
fn invalid_requests_are_refused_at_once() {
    const REQUEST: &str = "invalid HTTP request";
    const VERSION: &str = "only HTTP/1.0 and HTTP/1.1 are supported";
    const HEADER: &str = "invalid HTTP header";
    const TWICE: &str = "a header occurs twice";
    const NUMBER: &str = "Content-Length is not a number";
    const LARGE: &str = "the body is too large";
    const ENCODING: &str = "only chunked Transfer-Encoding is supported";
    let host = "GET / HTTP/1.1\r\nHost: x\r\n";
    for (text, status, reason) in [
        ("\u{1}", 400, REQUEST),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}", 400, REQUEST),
        ("*1\r\n$4\r\nPING\r\n", 400, REQUEST),
        ("GET /\r\n", 400, REQUEST),
        ("GET  / HTTP/1.1\r\n", 400, REQUEST),
        ("GET / JTTP/1.1\r\n", 400, REQUEST),
        ("GET / HTTP/1.2\r\n", 505, VERSION),
        ("PRI * HTTP/2.0\r\n\r\nSM", 505, VERSION),
        ("GET / HTTP/1.1\r\nHost x\r\n", 400, HEADER),
        ("GET / HTTP/1.1\r\nHost : x\r\n", 400, HEADER),
        ("GET / HTTP/1.1\r\n Host: x\r\n", 400, HEADER),
        ("GET / HTTP/1.1\r\nA: x\r\n b\r\n", 400, HEADER),
        ("GET / HTTP/1.1\r\nA: \0\r\n", 400, HEADER),
        ("GET / HTTP/1.1\r\n\r\n", 400, "the Host header is missing"),
    ] {
        assert_eq!(refused(text), (status, reason), "{text:?}");
    }
    for (headers, status, reason) in [
        ("Host: y", 400, TWICE),
        ("Content-Length: 1\r\nContent-Length: 1", 400, TWICE),
        ("Authorization: a\r\nAuthorization: b", 400, TWICE),
        ("Authorization: \u{e9}", 200, ""),
        ("Content-Length: 1, 1", 400, NUMBER),
        ("Content-Length: +1", 400, NUMBER),
        ("Content-Length: -1", 400, NUMBER),
        ("Content-Length: 0x1", 400, NUMBER),
        ("Content-Length:", 400, NUMBER),
        ("Content-Length: 1048577", 413, LARGE),
        ("Content-Length: 99999999999999999999999", 413, LARGE),
        ("Transfer-Encoding: gzip", 501, ENCODING),
        ("Transfer-Encoding: gzip, chunked", 501, ENCODING),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            400,
            "both Content-Length and Transfer-Encoding",
        ),
        (
            "Expect: 200-ok",
            417,
            "only Expect: 100-continue is supported",
        ),
    ] {
        let text = format!("{host}{headers}\r\n\r\n");
        if status == 200 {
            one(&text);
        } else {
            assert_eq!(refused(&text), (status, reason), "{headers}");
        }
    }
    let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), (400, "Transfer-Encoding in HTTP/1.0"));
}

#[test]
fn a_head_has_limits() {
    let line = |bytes: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(bytes - 18));
    let fits = line(HEAD_BYTES_MAX);
    assert_eq!(decode([fits.as_bytes()]).0.len(), 1);
    let too_long = line(HEAD_BYTES_MAX + 1);
    let header = |bytes: usize| format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "a".repeat(bytes - 23));
    let fits = header(HEAD_BYTES_MAX);
    assert_eq!(decode([fits.as_bytes()]).0.len(), 1);
    let headers = |n: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(n));
    let fits = headers(HEADERS_MAX);
    assert_eq!(decode([fits.as_bytes()]).0.len(), 1);
    for (text, status, reason) in [
        // The request line is within the limit, the head is not.
        (too_long, 431, "the headers are too large"),
        (
            line(HEAD_BYTES_MAX + 9),
            414,
            "the request line is too long",
        ),
        (header(HEAD_BYTES_MAX + 1), 431, "the headers are too large"),
        (headers(HEADERS_MAX + 1), 431, "too many headers"),
    ] {
        for piece in [1, 1000, text.len()] {
            let (_, refusal) = decode(text.as_bytes().chunks(piece));
            assert_eq!(refusal, Some(Refusal::new(status, reason)));
        }
    }
}

fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn invalid_chunks_are_refused() {
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\n",
        "1 2\r\n",
        "0x1\r\n",
        ";a\r\n",
        "1\n",
        "1\r\nab",
        "1\r\na\r\r",
        "1\r\na\n",
        "1\r\na\r\n\r\n",
        "0\r\nA: b\n",
    ] {
        assert_eq!(refused(&chunked(body)), (400, "invalid chunk"), "{body:?}");
    }
    let too_large = (413, "the body is too large");
    for size in ["100001", "fffffffffffffffff", "FFFFFFFFFFFFFFFF"] {
        assert_eq!(
            refused(&chunked(&format!("{size}\r\n"))),
            too_large,
            "{size}"
        );
    }
}

#[test]
fn size_limit_applies_to_all_chunks_together() {
    let half = format!("80000\r\n{}\r\n", "x".repeat(BODY_BYTES_MAX / 2));
    let request = |end: &str| {
        let text = chunked(&format!("{half}{half}{end}"));
        decode(text.as_bytes().chunks(10_000))
    };
    let (requests, refusal) = request("0\r\n\r\n");
    assert_eq!((requests[0].body.len(), refusal), (BODY_BYTES_MAX, None));
    let too_large = Refusal::new(413, "the body is too large");
    assert_eq!(request("1\r\nx\r\n0\r\n\r\n").1, Some(too_large));

    let extension = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(bytes - 4));
    assert_eq!(one(&chunked(&extension(CHUNK_LINE_BYTES_MAX))).body, b"x");
    let too_long = chunked(&extension(CHUNK_LINE_BYTES_MAX + 1));
    assert_eq!(refused(&too_long), (400, "invalid chunk"));

    let trailer = |bytes: usize| format!("0\r\nA: b\r\nC: {}\r\n\r\n", "d".repeat(bytes - 13));
    assert_eq!(one(&chunked(&trailer(TRAILER_BYTES_MAX))).body, b"");
    let too_long = chunked(&trailer(TRAILER_BYTES_MAX + 1));
    let too_large = (431, "the trailer is too large");
    assert_eq!(refused(&too_long), too_large);
}

#[test]
fn responses_are_encoded() {
    let response = || Response::json(409, "{}".to_owned()).with("ETag", "\"a\"");
    let bytes = response().into_bytes(false, After::Keep);
    let head = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
        ETag: \"a\"\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), format!("{head}\r\n{{}}"));
    let bytes = response().into_bytes(true, After::Close);
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text, format!("{head}Connection: close\r\n\r\n"));
    let bytes = Response::not_modified().into_bytes(false, After::SayKeep);
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n"
    );
}
