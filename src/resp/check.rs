//! Checks of the decoders that hold for any bytes. The fuzz targets and the replay of their corpora
//! call them.
//!
//! A check compares a decoder with a simple, slow one ([`oracle`]), and with itself on the same
//! bytes in other pieces. A failed check panics. The checks are deterministic and are not used in
//! the data path.

use super::limits::RequestLimits;
use super::{Args, ProtocolError, ReplyError, ReplyScanner, RequestDecoder, Rest, Scan, Step};
use super::{inline_to_array, write};

pub mod oracle;

/// Longer inputs take more time without finding more, and the oracle recurses.
const INPUT_BYTES_MAX: usize = 8192;

/// Limits that short inputs reach.
const TINY: RequestLimits = RequestLimits {
    args_max: 3,
    arg_bytes_max: 12,
    request_bytes_max: 40,
    inline_bytes_max: 16,
    authenticated: true,
};

/// Checks the request decoder: pieces of any size give the same frames, the oracle finds the same
/// frames, hints are exact, and the arguments of a frame encode to the same bytes.
pub fn request(data: &[u8]) {
    let data = data.get(..INPUT_BYTES_MAX).unwrap_or(data);
    for limits in [
        RequestLimits::AFTER_LOGIN,
        RequestLimits::BEFORE_LOGIN,
        TINY,
    ] {
        let whole = decode_all(data, &limits, |_| usize::MAX);
        let mut random = Random::new(data);
        for pieces in [
            decode_all(data, &limits, |_| 1),
            decode_all(data, &limits, |at_least| at_least),
            decode_all(data, &limits, |_| random.piece()),
        ] {
            assert_eq!(pieces, whole, "{limits:?}");
        }
        for pieces in [
            decode_rests(data, &limits, || 1),
            decode_rests(data, &limits, || random.piece()),
        ] {
            assert_eq!(pieces.error, whole.error, "{limits:?}");
            let ends = whole.frames.iter().map(|(end, _)| *end);
            assert!(ends.eq(pieces.frames.iter().map(|(end, ())| *end)));
        }

        let mut start = 0;
        for (end, step) in &whole.frames {
            assert_eq!(oracle::request(&data[start..], &limits), Ok(Some(*step)));
            check_frame(&data[start..*end], *step);
            start = *end;
        }
        let end = oracle::request(&data[start..], &limits);
        assert_eq!(end.is_err(), whole.error.is_some(), "{end:?} {whole:?}");
        assert!(matches!(end, Err(_) | Ok(None)), "{end:?} {whole:?}");
    }
}

/// Checks the reply scanner: pieces of any size give the same frames, and the oracle finds the same
/// frames.
pub fn reply(data: &[u8]) {
    let data = data.get(..INPUT_BYTES_MAX).unwrap_or(data);
    let whole = scan_all(data, || usize::MAX);
    let mut random = Random::new(data);
    for pieces in [scan_all(data, || 1), scan_all(data, || random.piece())] {
        assert_eq!(pieces, whole);
    }

    let mut start = 0;
    for (end, kind) in &whole.frames {
        let reply = oracle::Reply {
            len: end - start,
            kind: *kind,
        };
        assert_eq!(oracle::reply(&data[start..]), Ok(reply));
        start = *end;
    }
    let end = oracle::reply(&data[start..]);
    let expected = if whole.error.is_some() {
        oracle::Stop::Refused
    } else {
        oracle::Stop::Partial
    };
    assert_eq!(end, Err(expected), "{whole:?}");
}

/// The result for an input: the frames with their ends, and the error that ended the decoding.
#[derive(Debug, PartialEq, Eq)]
struct Found<F, E> {
    frames: Vec<(usize, F)>,
    error: Option<E>,
}

/// Decodes `data` in pieces. `piece` returns the length of the next piece from the number of bytes
/// that the decoder needs.
fn decode_all(
    data: &[u8],
    limits: &RequestLimits,
    mut piece: impl FnMut(usize) -> usize,
) -> Found<Step, ProtocolError> {
    let mut found = Found {
        frames: Vec::new(),
        error: None,
    };
    let mut decoder = RequestDecoder::default();
    let (mut start, mut visible, mut promised) = (0, 0, 0);
    loop {
        assert!(decoder.is_idle() || start < visible);
        match decoder.decode(&data[start..visible], limits) {
            Ok(Step::NeedMore { at_least }) => {
                assert!(at_least > 0);
                assert_eq!(decoder.is_idle(), start == visible);
                promised = visible + at_least;
                if visible == data.len() {
                    return found;
                }
                visible += piece(at_least).clamp(1, data.len() - visible);
            }
            Ok(step) => {
                let (Step::Array { len, .. } | Step::Inline { len } | Step::Empty { len }) = step
                else {
                    return found;
                };
                assert!(decoder.is_idle() && len > 0 && len <= visible - start);
                start += len;
                assert!(start >= promised, "the hint was too large");
                found.frames.push((start, step));
            }
            Err(error) => {
                let again = decoder.decode(&data[start..visible], limits);
                assert_eq!(again, Err(error), "an error is permanent");
                found.error = Some(error);
                return found;
            }
        }
    }
}

/// As [`decode_all`], but continues each request with a [`RestDecoder`](super::RestDecoder) as soon
/// as one is available. The frames have no [`Step`].
fn decode_rests(
    data: &[u8],
    limits: &RequestLimits,
    mut piece: impl FnMut() -> usize,
) -> Found<(), ProtocolError> {
    let mut found = Found {
        frames: Vec::new(),
        error: None,
    };
    let mut decoder = RequestDecoder::default();
    let (mut rest, mut start, mut visible) = (None, 0, 0);
    loop {
        let input = &data[start..visible];
        let end = match &mut rest {
            None => match decoder.decode(input, limits) {
                Ok(Step::NeedMore { at_least }) => {
                    rest = decoder.rest(input, at_least);
                    start += if rest.is_some() { input.len() } else { 0 };
                    None
                }
                Ok(Step::Array { len, .. } | Step::Inline { len } | Step::Empty { len }) => {
                    Some(Ok(len))
                }
                Err(error) => Some(Err(error)),
            },
            Some(rest) => match rest.decode(input, limits) {
                Ok(Rest::NeedMore { used }) => {
                    start += used;
                    None
                }
                Ok(Rest::Complete { len }) => Some(Ok(len)),
                Err(error) => Some(Err(error)),
            },
        };
        match end {
            Some(Ok(len)) => {
                start += len;
                (decoder, rest) = (RequestDecoder::default(), None);
                found.frames.push((start, ()));
            }
            Some(Err(error)) => {
                found.error = Some(error);
                return found;
            }
            None if visible == data.len() => return found,
            None => visible += piece().clamp(1, data.len() - visible),
        }
    }
}

fn check_frame(frame: &[u8], step: Step) {
    match step {
        Step::Array { len, argc } => check_array(frame, len, argc),
        Step::Inline { len } => {
            assert_eq!(len, frame.len());
            let mut array = b"before".to_vec();
            let argc = inline_to_array(frame, false, &mut array).unwrap_or(0);
            let array = array.strip_prefix(b"before").unwrap_or_default();
            assert_eq!(argc == 0, array.is_empty());
            if argc > 0 {
                let step = RequestDecoder::default().decode(array, &RequestLimits::AFTER_LOGIN);
                assert_eq!(
                    step,
                    Ok(Step::Array {
                        len: array.len(),
                        argc
                    })
                );
                check_array(array, array.len(), argc);
            }
        }
        Step::Empty { len } => assert_eq!(len, frame.len()),
        Step::NeedMore { .. } => {}
    }
}

/// Checks that the arguments of the frame encode to the same bytes.
fn check_array(frame: &[u8], len: usize, argc: u32) {
    assert_eq!(len, frame.len());
    let args: Vec<_> = Args::new(frame).collect();
    assert_eq!(args.len(), argc as usize);
    let mut again = Vec::new();
    write::command(&mut again, &args);
    assert_eq!(again, frame);
}

/// Scans `data` in pieces. `piece` returns the length of the next piece.
fn scan_all(data: &[u8], mut piece: impl FnMut() -> usize) -> Found<u8, ReplyError> {
    let mut found = Found {
        frames: Vec::new(),
        error: None,
    };
    let mut scanner = ReplyScanner::default();
    let mut at = 0;
    while at < data.len() {
        let next = at + piece().clamp(1, data.len() - at);
        while at < next {
            match scanner.scan(&data[at..next]) {
                Ok(Scan::Complete { len }) => {
                    assert!(len > 0 && len <= next - at);
                    assert!(scanner.at_start() && scanner.bulk_left() == 0);
                    at += len;
                    found.frames.push((at, scanner.kind()));
                    assert_eq!(scanner.is_push(), scanner.kind() == b'>');
                }
                Ok(Scan::Partial) => {
                    assert!(!scanner.at_start());
                    at = next;
                }
                Err(error) => {
                    found.error = Some(error);
                    return found;
                }
            }
        }
    }
    found
}

/// Random lengths of pieces that depend only on the data (xorshift over its FNV-1a hash).
struct Random(u64);

impl Random {
    fn new(data: &[u8]) -> Self {
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// The length of the next piece: mostly a few bytes, sometimes many.
    fn piece(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let random = (self.0 >> 32) as usize;
        if random.is_multiple_of(8) {
            random / 8 % 700
        } else {
            random / 8 % 9
        }
    }
}

/// Calls `visit` with every string of at most `longest` bytes over `alphabet`.
#[cfg(test)]
pub(super) fn all_strings(alphabet: &[u8], longest: usize, mut visit: impl FnMut(&[u8])) {
    for len in 0..=longest {
        let mut digits = vec![0; len];
        loop {
            let string: Vec<u8> = digits.iter().map(|digit| alphabet[*digit]).collect();
            visit(&string);
            // Counts up in base alphabet.len(); the carry out of the last digit is the end.
            let Some(at) = digits.iter().position(|digit| digit + 1 < alphabet.len()) else {
                break;
            };
            digits[at] += 1;
            digits[..at].fill(0);
        }
    }
}
