//! Parses the header lines of a request: `*3\r\n` and `$5\r\n`.
//!
//! The request decoder uses it, and the iterator over arguments, which parses the same lines again.

use super::number::parse_i64;

/// The number in a header line, and the bytes of the line with CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) value: i64,
    pub(super) line_bytes: usize,
}

/// The error of a header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LengthError {
    TooLong,
    NotANumber,
    NoLineFeed,
}

/// Parses the header line at the start of `input`. Returns `None` if the line is incomplete and
/// shorter than `bytes_max`. The caller checks the first byte, which is the type.
#[inline]
pub(super) fn read_length(input: &[u8], bytes_max: usize) -> Result<Option<Length>, LengthError> {
    // Most lines have one of these two forms.
    match *input {
        [_, ones @ b'0'..=b'9', b'\r', b'\n', ..] => Ok(Some(Length {
            value: i64::from(ones - b'0'),
            line_bytes: 4,
        })),
        [_, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => Ok(Some(Length {
            value: i64::from(tens - b'0') * 10 + i64::from(ones - b'0'),
            line_bytes: 5,
        })),
        _ => read_any_length(input, bytes_max),
    }
}

fn read_any_length(input: &[u8], bytes_max: usize) -> Result<Option<Length>, LengthError> {
    let end = input
        .iter()
        .position(|&byte| byte == b'\r')
        .filter(|&end| end <= bytes_max);
    let Some(end) = end else {
        return if input.len() <= bytes_max {
            Ok(None)
        } else {
            Err(LengthError::TooLong)
        };
    };
    let Some(line_feed) = input.get(end + 1) else {
        return Ok(None);
    };
    let digits = input.get(1..end).unwrap_or_default();
    let value = parse_i64(digits).ok_or(LengthError::NotANumber)?;
    if *line_feed != b'\n' {
        return Err(LengthError::NoLineFeed);
    }
    Ok(Some(Length {
        value,
        line_bytes: end + 2,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 32;

    #[test]
    fn short_lines_are_parsed_like_all_others() {
        for value in (-200..2000).chain([i64::MIN, i64::MAX]) {
            let line = format!("*{value}\r\n");
            let expected = Length {
                value,
                line_bytes: line.len(),
            };
            for tail in ["", "\r", "\n", "$1\r\nx\r\n"] {
                let input = format!("{line}{tail}");
                assert_eq!(read_length(input.as_bytes(), MAX), Ok(Some(expected)));
                assert_eq!(read_any_length(input.as_bytes(), MAX), Ok(Some(expected)));
            }
            for cut in 1..line.len() {
                assert_eq!(
                    read_length(&line.as_bytes()[..cut], MAX),
                    Ok(None),
                    "{line:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn incomplete_line_is_an_error_only_when_it_is_too_long() {
        let ones = [b'1'; MAX + 1];
        assert_eq!(read_length(&ones[1..], MAX), Ok(None));
        assert_eq!(read_length(&ones, MAX), Err(LengthError::TooLong));
        let late = [&ones, b"\r\n".as_slice()].concat();
        assert_eq!(read_length(&late, MAX), Err(LengthError::TooLong));
        let last = &late[1..];
        assert_eq!(read_length(last, MAX), Err(LengthError::NotANumber));
    }

    #[test]
    fn numbers_of_a_lenient_server_are_refused() {
        let cases: [(&[u8], LengthError); 8] = [
            (b"*1\rX", LengthError::NoLineFeed),
            (b"*1\r\r\n", LengthError::NoLineFeed),
            (b"*01\r\n", LengthError::NotANumber),
            (b"*+1\r\n", LengthError::NotANumber),
            (b"* 1\r\n", LengthError::NotANumber),
            (b"*1\n\r\n", LengthError::NotANumber),
            (b"*\r\n", LengthError::NotANumber),
            (b"*9223372036854775808\r\n", LengthError::NotANumber),
        ];
        for (input, error) in cases {
            assert_eq!(
                read_length(input, MAX),
                Err(error),
                "{:?}",
                input.escape_ascii().to_string()
            );
        }
    }
}
