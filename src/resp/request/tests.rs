//! Tests of the request decoder: valid requests, errors, limits, and input in pieces.

use std::time::{Duration, Instant};

use super::*;
use crate::resp::{check, write};

const AFTER: RequestLimits = RequestLimits::AFTER_LOGIN;
const BEFORE: RequestLimits = RequestLimits::BEFORE_LOGIN;

fn decode(input: &[u8], limits: &RequestLimits) -> Result<Step, ProtocolError> {
    RequestDecoder::default().decode(input, limits)
}

fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    write::command(&mut out, args);
    out
}

#[test]
fn end_of_a_request_is_found() {
    let get = command(&[b"GET", b"key"]);
    let whole = Step::Array {
        len: get.len(),
        argc: 2,
    };
    assert_eq!(decode(&get, &AFTER), Ok(whole));
    let more = [get.as_slice(), b"*1\r\n$4\r\nPING\r\n"].concat();
    assert_eq!(decode(&more, &AFTER), Ok(whole));
    assert_eq!(
        decode(b"PING\r\nPING\r\n", &AFTER),
        Ok(Step::Inline { len: 6 })
    );
    assert_eq!(decode(b"\n", &AFTER), Ok(Step::Inline { len: 1 }));
    for empty in ["*0\r\n", "*-1\r\n", "*-9223372036854775808\r\n"] {
        assert_eq!(
            decode(empty.as_bytes(), &BEFORE),
            Ok(Step::Empty { len: empty.len() })
        );
    }
}

#[test]
fn payloads_are_not_read() {
    let tricky: [&[u8]; 4] = [b"\r\n$1\r\n", b"*1\r\n$4\r\nPING\r\n", b"\0\xff\r", b""];
    let frame = command(&tricky);
    assert_eq!(
        decode(&frame, &AFTER),
        Ok(Step::Array {
            len: frame.len(),
            argc: 4
        })
    );
}

#[test]
fn every_prefix_needs_more() {
    let frames = [
        command(&[b"GET", b"key"]),
        command(&[b"SET", b"", &[b'v'; 1234], b"\r\n"]),
        command(&[b"x".as_slice(); 12]),
        b"SET key \"va lue\"\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
    ];
    for frame in frames {
        for cut in 0..frame.len() {
            let step = decode(&frame[..cut], &AFTER);
            let Ok(Step::NeedMore { at_least }) = step else {
                panic!(
                    "{cut} bytes of {:?}: {step:?}",
                    frame.escape_ascii().to_string()
                );
            };
            assert!((1..=frame.len() - cut).contains(&at_least));
        }
    }
}

#[test]
fn every_split_gives_the_same_frames() {
    let input = [
        command(&[b"SET", b"k", b"0123456789abcdef"]),
        b"*0\r\nPING\r\n".to_vec(),
        command(&[b"GET", b"k"]),
        b"\r\nGET \"a b\"\n".to_vec(),
    ]
    .concat();
    // All pieces of one length, and pieces of random lengths.
    check::request(&input);
    for cut in 0..=input.len() {
        let mut decoder = RequestDecoder::default();
        let (mut start, mut lens) = (0, Vec::new());
        for visible in [cut, input.len()] {
            while start < visible {
                match decoder.decode(&input[start..visible], &AFTER).unwrap() {
                    Step::Array { len, .. } | Step::Inline { len } | Step::Empty { len } => {
                        start += len;
                        lens.push(len);
                    }
                    Step::NeedMore { .. } => break,
                }
            }
        }
        assert_eq!(lens, [43, 4, 6, 20, 2, 10], "cut at {cut}");
    }
}

#[test]
fn hint_is_exact_within_an_argument() {
    let mut decoder = RequestDecoder::default();
    let mut frame = b"*2\r\n$3\r\nGET\r\n$1000\r\n".to_vec();
    assert!(decoder.is_idle());
    assert_eq!(
        decoder.decode(&frame, &AFTER),
        Ok(Step::NeedMore { at_least: 1002 })
    );
    assert!(!decoder.is_idle());
    frame.extend([b'v'; 1000]);
    assert_eq!(
        decoder.decode(&frame, &AFTER),
        Ok(Step::NeedMore { at_least: 2 })
    );
    frame.extend(b"\r\n");
    assert_eq!(
        decoder.decode(&frame, &AFTER),
        Ok(Step::Array {
            len: frame.len(),
            argc: 2
        })
    );
    assert!(decoder.is_idle());
}

#[test]
fn errors_have_the_texts_of_redis() {
    let cases = [
        ("*x\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*3000000000\r\n", "invalid multibulk length"),
        ("*1048577\r\n", "invalid multibulk length"),
        ("*1\r\nfooz\r\n", "expected '$', got 'f'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
        ("*1\r\n*0\r\n", "expected '$', got '*'"),
        ("*1\r\n$x\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$00\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$2000000000\r\n", "invalid bulk length"),
    ];
    for (input, text) in cases {
        let error = decode(input.as_bytes(), &AFTER).unwrap_err();
        assert_eq!(
            error.text().to_string(),
            format!("ERR Protocol error: {text}"),
            "{input:?}"
        );
    }
    let long = vec![b'1'; AFTER.inline_bytes_max];
    let too_long = [b"*".as_slice(), &long].concat();
    assert_eq!(
        decode(&too_long, &AFTER),
        Err(ProtocolError::MultibulkHeaderTooLong)
    );
    let too_long = [b"*1\r\n$".as_slice(), &long].concat();
    assert_eq!(
        decode(&too_long, &AFTER),
        Err(ProtocolError::BulkHeaderTooLong)
    );
}

#[test]
fn ambiguous_requests_are_refused() {
    let smuggled = [
        "*1\rX$4\r\nPING\r\n",
        "*1\r\n$4\rXPING\r\n",
        "*1\r\n$4\r\nPINGxx",
        "*1\r\n$4\r\nPING\rx",
        "*1\r\n$4\r\nPINGx\n",
        "*1\r\n$3\r\nPING\r\n",
        "*1\r\n$5\r\nPING\r\n*",
    ];
    for input in smuggled {
        assert_eq!(
            decode(input.as_bytes(), &AFTER),
            Err(ProtocolError::ExpectedCrlf),
            "{input:?}"
        );
    }
    assert_eq!(
        decode(b"*1\n$4\nPING\n\r\n", &AFTER),
        Err(ProtocolError::InvalidMultibulkLength)
    );
    assert_eq!(
        decode(b"*1\r\n$+4\r\nPING\r\n", &AFTER),
        Err(ProtocolError::InvalidBulkLength)
    );
}

#[test]
fn anonymous_clients_have_lower_limits() {
    let eleven = command(&[b"x".as_slice(); 11]);
    assert_eq!(
        decode(&eleven, &BEFORE),
        Err(ProtocolError::UnauthenticatedMultibulkLength)
    );
    assert_eq!(
        decode(&eleven, &AFTER),
        Ok(Step::Array {
            len: eleven.len(),
            argc: 11
        })
    );
    let long = b"*2\r\n$4\r\nAUTH\r\n$16385\r\n";
    assert_eq!(
        decode(long, &BEFORE),
        Err(ProtocolError::UnauthenticatedBulkLength)
    );
    assert_eq!(decode(long, &AFTER), Ok(Step::NeedMore { at_least: 16387 }));
    // A length above the limit of all clients has the same error before and after login.
    assert_eq!(
        decode(b"*3000000000\r\n", &BEFORE),
        Err(ProtocolError::InvalidMultibulkLength)
    );
    let huge = b"*1\r\n$2000000000\r\n";
    assert_eq!(decode(huge, &BEFORE), Err(ProtocolError::InvalidBulkLength));
}

#[test]
fn limits_are_checked_at_the_header() {
    let limits = RequestLimits {
        request_bytes_max: 40,
        ..AFTER
    };
    // 4 + 8 + 2 bytes of headers and CRLF leave 26 for the argument.
    assert_eq!(
        decode(b"*1\r\n$29\r\n", &limits),
        Ok(Step::NeedMore { at_least: 31 })
    );
    assert_eq!(
        decode(b"*1\r\n$30\r\n", &limits),
        Err(ProtocolError::RequestTooBig)
    );
    let sum = b"*2\r\n$10\r\n0123456789\r\n$13\r\n";
    assert_eq!(decode(sum, &limits), Err(ProtocolError::RequestTooBig));
    let text = ProtocolError::RequestTooBig.text().to_string();
    assert_eq!(text, "ERR Protocol error: too big request");
}

#[test]
fn inline_line_that_is_too_long_is_refused() {
    let max = AFTER.inline_bytes_max;
    let mut line = vec![b'x'; max];
    assert_eq!(decode(&line, &AFTER), Ok(Step::NeedMore { at_least: 1 }));
    line.push(b'\n');
    assert_eq!(decode(&line, &AFTER), Ok(Step::Inline { len: max + 1 }));
    line.insert(0, b'x');
    assert_eq!(decode(&line, &AFTER), Err(ProtocolError::InlineTooBig));
    line.truncate(max + 1);
    assert_eq!(decode(&line, &AFTER), Err(ProtocolError::InlineTooBig));
}

#[test]
fn single_bytes_take_linear_time() {
    let started = now();
    // With lines of this length, a search from the start for each byte takes minutes.
    let limits = RequestLimits {
        inline_bytes_max: 1 << 20,
        ..AFTER
    };
    let line = [vec![b'x'; limits.inline_bytes_max], b"\r\n".to_vec()].concat();
    let line = &line[1..];
    let many = command(&vec![b"".as_slice(); 1_000_000]);
    let long = command(&[b"SET", b"k", &vec![b'v'; 1 << 20]]);
    for (input, whole) in [
        (line, Step::Inline { len: line.len() }),
        (
            &many,
            Step::Array {
                len: many.len(),
                argc: 1_000_000,
            },
        ),
        (
            &long,
            Step::Array {
                len: long.len(),
                argc: 3,
            },
        ),
    ] {
        let mut decoder = RequestDecoder::default();
        for visible in 1..input.len() {
            let step = decoder.decode(&input[..visible], &limits);
            assert!(matches!(step, Ok(Step::NeedMore { .. })), "{step:?}");
        }
        assert_eq!(decoder.decode(input, &limits), Ok(whole));
    }
    let digits = vec![b'1'; limits.inline_bytes_max - 1];
    for header in [b"*".as_slice(), b"*1\r\n$"] {
        let endless = [header, &digits].concat();
        let mut decoder = RequestDecoder::default();
        for visible in 1..=endless.len() {
            let step = decoder.decode(&endless[..visible], &limits);
            assert_eq!(step, Ok(Step::NeedMore { at_least: 1 }));
        }
    }
    assert!(now() - started < Duration::from_secs(10));
}

#[test]
fn all_short_inputs_agree_with_the_oracle() {
    let alphabet = b"*$012-x\r\n";
    for prefix in [
        "",
        "*",
        "*1\r\n",
        "*2\r\n$1\r\nx\r\n",
        "*1\r\n$1\r\n",
        "*1\r\n$2",
        "PING\r",
        "*1\r\n$1\r\nx\r\n",
    ] {
        let longest = if prefix.is_empty() { 6 } else { 5 };
        check::all_strings(alphabet, longest, |tail| {
            check::request(&[prefix.as_bytes(), tail].concat());
        });
    }
}

#[allow(clippy::disallowed_methods, reason = "a test may look at the clock")]
fn now() -> Instant {
    Instant::now()
}
