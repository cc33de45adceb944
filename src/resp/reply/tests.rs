//! Tests of the reply scanner: every type, errors, and input in pieces.

use std::time::{Duration, Instant};

use super::*;
use crate::resp::check;

/// One reply of every kind, with its type.
const REPLIES: [(&str, u8); 36] = [
    ("+OK\r\n", b'+'),
    ("+\r\n", b'+'),
    ("-ERR no such key\r\n", b'-'),
    (":1\r\n", b':'),
    (":-9223372036854775808\r\n", b':'),
    ("$5\r\nhello\r\n", b'$'),
    ("$0\r\n\r\n", b'$'),
    ("$-1\r\n", b'$'),
    ("$12\r\n\r\n+OK\r\n$1\r\nx\r\n", b'$'),
    ("*0\r\n", b'*'),
    ("*-1\r\n", b'*'),
    ("*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n", b'*'),
    ("*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$-1\r\n", b'*'),
    (
        "*11\r\n+0\r\n+1\r\n+2\r\n+3\r\n+4\r\n+5\r\n+6\r\n+7\r\n+8\r\n+9\r\n+10\r\n",
        b'*',
    ),
    (
        "*1\r\n*1\r\n*1\r\n*1\r\n$100\r\n0123456789012345678901234567890123456789\
      012345678901234567890123456789012345678901234567890123456789\r\n",
        b'*',
    ),
    ("_\r\n", b'_'),
    ("#t\r\n", b'#'),
    (",3.14\r\n", b','),
    (",inf\r\n", b','),
    ("(3492890328409238509324850943850943825024385\r\n", b'('),
    ("!21\r\nSYNTAX invalid syntax\r\n", b'!'),
    ("=15\r\ntxt:Some string\r\n", b'='),
    ("%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", b'%'),
    ("%0\r\n", b'%'),
    ("~2\r\n+a\r\n+b\r\n", b'~'),
    (">2\r\n+message\r\n+hello\r\n", b'>'),
    (">0\r\n", b'>'),
    ("|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n", b'$'),
    ("|0\r\n+OK\r\n", b'+'),
    ("|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n+d\r\n_\r\n", b'_'),
    (
        "|1\r\n|1\r\n+meta\r\n+1\r\n+key\r\n*2\r\n:1\r\n:2\r\n#f\r\n",
        b'#',
    ),
    ("*2\r\n|1\r\n+ttl\r\n:1\r\n+a\r\n+b\r\n", b'*'),
    ("*1\r\n|1\r\n+ttl\r\n:1\r\n*1\r\n+a\r\n", b'*'),
    ("%1\r\n|1\r\n+k\r\n+v\r\n+key\r\n|0\r\n+value\r\n", b'%'),
    ("|1\r\n+a\r\n+b\r\n>1\r\n+pushed\r\n", b'>'),
    // EXEC of a transaction with a SUBSCRIBE in it.
    ("*1\r\n>3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n", b'*'),
];

const TOO_MANY: Result<Scan, ReplyError> = Err(ReplyError::TooManyElements);

fn scan(input: &[u8]) -> Result<Scan, ReplyError> {
    ReplyScanner::default().scan(input)
}

#[test]
fn end_of_a_reply_is_found() {
    for (reply, kind) in REPLIES {
        for next in ["", "+OK\r\n", "\r\n", "garbage"] {
            let mut scanner = ReplyScanner::default();
            let input = [reply, next].concat();
            let step = scanner.scan(input.as_bytes());
            assert_eq!(step, Ok(Scan::Complete { len: reply.len() }), "{reply:?}");
            assert_eq!(char::from(scanner.kind()), char::from(kind), "{reply:?}");
            assert_eq!(scanner.is_push(), kind == b'>');
            assert!(scanner.at_start());
            assert_eq!(scanner.bulk_left(), 0);
        }
    }
}

#[test]
fn every_prefix_is_partial_and_every_split_gives_the_same_result() {
    for (reply, kind) in REPLIES {
        assert_eq!(scan(b""), Ok(Scan::Partial));
        for cut in 1..reply.len() {
            let mut scanner = ReplyScanner::default();
            let (head, tail) = reply.as_bytes().split_at(cut);
            assert_eq!(
                scanner.scan(head),
                Ok(Scan::Partial),
                "{reply:?} cut at {cut}"
            );
            assert!(!scanner.at_start());
            assert_eq!(scanner.scan(b""), Ok(Scan::Partial));
            assert_eq!(
                scanner.scan(tail),
                Ok(Scan::Complete { len: tail.len() }),
                "{reply:?}"
            );
            assert_eq!(scanner.kind(), kind);
        }
        check::reply(reply.as_bytes());
    }
    let all: String = REPLIES.iter().map(|(reply, _)| *reply).collect();
    check::reply(all.as_bytes());
}

#[test]
fn kind_is_the_type_after_the_attributes() {
    let mut scanner = ReplyScanner::default();
    assert_eq!((scanner.kind(), scanner.is_push()), (0, false));
    assert_eq!(scanner.scan(b"|1\r\n+key\r\n>1\r\n+no"), Ok(Scan::Partial));
    assert_eq!((scanner.kind(), scanner.is_push()), (0, false));
    assert_eq!(scanner.scan(b"pe\r\n"), Ok(Scan::Partial));
    assert_eq!((scanner.kind(), scanner.is_push()), (0, false));
    assert_eq!(scanner.scan(b">"), Ok(Scan::Partial));
    assert_eq!((scanner.kind(), scanner.is_push()), (b'>', true));
    assert_eq!(scanner.scan(b"1\r\n:1\r\n"), Ok(Scan::Complete { len: 7 }));
    assert_eq!((scanner.kind(), scanner.is_push()), (b'>', true));
    assert_eq!(scanner.scan(b"$5"), Ok(Scan::Partial));
    assert_eq!((scanner.kind(), scanner.is_push()), (b'$', false));
}

#[test]
fn pushes_between_elements_do_not_count_as_elements() {
    let reply = b"*2\r\n>2\r\n+message\r\n+x\r\n:1\r\n>1\r\n+y\r\n+OK\r\n";
    for piece in 1..=reply.len() {
        let mut scanner = ReplyScanner::default();
        scanner.pushes_between();
        let mut scans: Vec<_> = reply.chunks(piece).map(|part| scanner.scan(part)).collect();
        let last = scans.pop();
        assert!(matches!(last, Some(Ok(Scan::Complete { .. }))), "{piece}");
        assert!(
            scans.iter().all(|scan| *scan == Ok(Scan::Partial)),
            "{piece}"
        );
    }
    // The setting is for one reply. A push that is a reply itself is complete.
    let mut scanner = ReplyScanner::default();
    scanner.pushes_between();
    assert_eq!(scanner.scan(b">1\r\n:1\r\n"), Ok(Scan::Complete { len: 8 }));
    assert_eq!(
        scanner.scan(b"*1\r\n>1\r\n:1\r\n"),
        Ok(Scan::Complete { len: 12 })
    );
}

#[test]
fn bulk_left_is_the_rest_of_a_string() {
    let mut scanner = ReplyScanner::default();
    assert_eq!(
        scanner.scan(b"*2\r\n$1\r\nx\r\n$20000000\r\nab"),
        Ok(Scan::Partial)
    );
    assert_eq!(scanner.bulk_left(), 20_000_000);
    let chunk = vec![b'\r'; 1_000_000];
    for million in (0..20).rev() {
        assert_eq!(scanner.bulk_left(), million * 1_000_000 + 1_000_000);
        let payload = if million == 0 {
            &chunk[..999_998]
        } else {
            &chunk
        };
        assert_eq!(scanner.scan(payload), Ok(Scan::Partial));
    }
    assert_eq!(scanner.bulk_left(), 2);
    assert_eq!(scanner.scan(b"\r"), Ok(Scan::Partial));
    assert_eq!(scanner.bulk_left(), 1);
    assert_eq!(scanner.scan(b"\n+OK\r\n"), Ok(Scan::Complete { len: 1 }));
}

#[test]
fn invalid_replies_are_errors() {
    let cases = [
        ("\r\n", ReplyError::UnknownType(b'\r')),
        ("HTTP/1.1 200 OK\r\n", ReplyError::UnknownType(b'H')),
        ("*1\r\n\0", ReplyError::UnknownType(0)),
        ("$?\r\n", ReplyError::Streamed),
        ("*?\r\n", ReplyError::Streamed),
        ("%?\r\n", ReplyError::Streamed),
        (";4\r\nabcd\r\n", ReplyError::Streamed),
        ("*1\r\n.\r\n", ReplyError::Streamed),
        ("$\r\n", ReplyError::InvalidLength),
        ("$-\r\n", ReplyError::InvalidLength),
        ("$-0\r\n", ReplyError::InvalidLength),
        ("$-2\r\n", ReplyError::InvalidLength),
        ("$-11\r\n", ReplyError::InvalidLength),
        ("$+1\r\nx\r\n", ReplyError::InvalidLength),
        ("$01\r\nx\r\n", ReplyError::InvalidLength),
        ("$00\r\n\r\n", ReplyError::InvalidLength),
        ("$ 1\r\nx\r\n", ReplyError::InvalidLength),
        ("$1 \r\nx\r\n", ReplyError::InvalidLength),
        ("$1\n", ReplyError::InvalidLength),
        ("$10000000000000", ReplyError::InvalidLength),
        ("!-1\r\n", ReplyError::InvalidLength),
        ("=-1\r\n", ReplyError::InvalidLength),
        ("%-1\r\n", ReplyError::InvalidLength),
        ("~-1\r\n", ReplyError::InvalidLength),
        (">-1\r\n", ReplyError::InvalidLength),
        ("|-1\r\n", ReplyError::InvalidLength),
        ("$1099511627777\r\n", ReplyError::BulkTooLong),
        ("*4294967296\r\n", ReplyError::TooManyElements),
        ("%4294967296\r\n", ReplyError::TooManyElements),
        ("+OK\n", ReplyError::ExpectedCrlf),
        ("+OK\rx", ReplyError::ExpectedCrlf),
        ("+OK\r\r\n", ReplyError::ExpectedCrlf),
        ("$1\rx", ReplyError::ExpectedCrlf),
        ("$1\r\nxyz", ReplyError::ExpectedCrlf),
        ("$1\r\nx\ry", ReplyError::ExpectedCrlf),
        ("$0\r\nx", ReplyError::ExpectedCrlf),
    ];
    for (input, error) in cases {
        assert_eq!(scan(input.as_bytes()), Err(error), "{input:?}");
        check::reply(input.as_bytes());
    }
}

#[test]
fn largest_allowed_numbers_are_accepted() {
    assert_eq!(scan(b"$1099511627776\r\n"), Ok(Scan::Partial));
    assert_eq!(scan(b"%4294967295\r\n"), Ok(Scan::Partial));
    // Nested until the sum reaches the limit: each level replaces one element by 2^32 - 1.
    for (last, step) in [("*512\r\n", Ok(Scan::Partial)), ("*513\r\n", TOO_MANY)] {
        let mut scanner = ReplyScanner::default();
        for _ in 0..256 {
            assert_eq!(scanner.scan(b"*4294967295\r\n"), Ok(Scan::Partial));
        }
        assert_eq!(scanner.scan(last.as_bytes()), step);
    }
}

#[test]
fn single_bytes_and_deep_nesting_take_linear_time() {
    let started = now();
    let million = "*1000000\r\n".to_owned() + &"$1\r\nx\r\n".repeat(1_000_000);
    let deep = "*1\r\n".repeat(1_000_000) + "+OK\r\n";
    let wide = "*1000\r\n".repeat(1000);
    for (input, complete) in [(million, true), (deep, true), (wide, false)] {
        let mut scanner = ReplyScanner::default();
        let (last, bytes) = input.as_bytes().split_last().unwrap();
        for byte in bytes {
            assert_eq!(scanner.scan(&[*byte]), Ok(Scan::Partial));
        }
        let end = if complete {
            Scan::Complete { len: 1 }
        } else {
            Scan::Partial
        };
        assert_eq!(scanner.scan(&[*last]), Ok(end));
        if complete {
            let len = input.len();
            assert_eq!(scan(input.as_bytes()), Ok(Scan::Complete { len }));
        }
    }
    // Quadratic work takes hours.
    assert!(now() - started < Duration::from_secs(10));
}

#[test]
fn all_short_inputs_agree_with_the_oracle() {
    let alphabet = b"+$*|>-?012x\r\n";
    for prefix in [
        "",
        "$",
        "*2\r\n",
        "|1\r\n",
        "%1\r\n+a\r\n",
        "$1\r\n",
        "$-1",
        "=1",
        "_\r\n",
    ] {
        let longest = if prefix.is_empty() { 5 } else { 4 };
        check::all_strings(alphabet, longest, |tail| {
            check::reply(&[prefix.as_bytes(), tail].concat());
        });
    }
}

#[allow(clippy::disallowed_methods, reason = "a test may look at the clock")]
fn now() -> Instant {
    Instant::now()
}
