//! Converts inline requests (lines typed into a telnet session) to arrays.
//!
//! The line is split like in Redis (`sdssplitargs`). Backends get arrays only.

use super::error::ProtocolError;
use super::write;

/// Splits `line`, with or without its newline, and appends the command to `out` as a RESP array.
/// Returns the number of arguments. Appends nothing for a blank line, which has 0 arguments, and
/// for an error.
///
/// Words are separated by white space. In double quotes `\n \r \t \b \a \xHH` are escapes, and any
/// other escaped byte stands for itself; in single quotes only `\'` is an escape. White space must
/// follow a closing quote, unless `mix` is set: then the word continues.
pub fn inline_to_array(line: &[u8], mix: bool, out: &mut Vec<u8>) -> Result<u32, ProtocolError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
    if rest.contains(&0) {
        return Err(ProtocolError::InlineZeroByte);
    }
    let mut argc = 0;
    let mut args = Vec::new();
    let mut word = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = rest.get(blanks..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        word.clear();
        rest = take_word(rest, mix, &mut word)?;
        write::bulk(&mut args, &word);
        argc += 1;
    }
    if argc > 0 {
        write::array(out, argc as usize);
        out.extend_from_slice(&args);
    }
    Ok(argc)
}

/// Appends the word at the start of `rest` to `word`, and returns the bytes behind it.
fn take_word<'a>(
    mut rest: &'a [u8],
    mix: bool,
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    while let [byte, tail @ ..] = rest {
        let closed = match byte {
            // Not is_space: vertical tab and form feed are skipped between words, but do not end a
            // word.
            b' ' | b'\t' | b'\r' | b'\n' => break,
            b'"' => take_double_quoted(tail, word)?,
            b'\'' => take_single_quoted(tail, word)?,
            _ => {
                word.push(*byte);
                rest = tail;
                continue;
            }
        };
        if !mix {
            return quote_closed(closed);
        }
        rest = closed;
    }
    Ok(rest)
}

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_value(*high) * 16 + hex_value(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(unescape(*escaped));
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        }
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        }
    }
}

/// Checks that white space or the end of the line follows a closing quote.
fn quote_closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit
            .to_ascii_lowercase()
            .wrapping_sub(b'a')
            .wrapping_add(10),
    }
}

/// The `isspace` of C. Unlike `is_ascii_whitespace`, it includes the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Args;

    fn split(line: &str) -> Option<Vec<String>> {
        split_with(line, false)
    }

    fn split_with(line: &str, mix: bool) -> Option<Vec<String>> {
        let mut out = b"before".to_vec();
        match inline_to_array(line.as_bytes(), mix, &mut out) {
            Ok(0) => {
                assert_eq!(out, b"before");
                Some(Vec::new())
            }
            Ok(argc) => {
                let args: Vec<_> = Args::new(&out[6..])
                    .map(|arg| arg.escape_ascii().to_string())
                    .collect();
                assert_eq!(args.len(), argc as usize);
                Some(args)
            }
            Err(ProtocolError::UnbalancedQuotes) => {
                assert_eq!(out, b"before");
                None
            }
            Err(error) => panic!("{line:?}: {error}"),
        }
    }

    #[test]
    fn line_is_split_like_in_redis() {
        let cases: [(&str, &[&str]); 26] = [
            ("\r\n", &[]),
            ("\n", &[]),
            ("", &[]),
            (" \t\x0b\x0c \r\n", &[]),
            ("PING\r\n", &["PING"]),
            ("PING\n", &["PING"]),
            ("PING", &["PING"]),
            ("  SET  k\tv  \r\n", &["SET", "k", "v"]),
            ("a\rb\r\r\n", &["a", "b"]),
            ("a\x0bb\r\n", &["a\\x0bb"]),
            ("a \x0b b\r\n", &["a", "b"]),
            ("\"\"\r\n", &[""]),
            ("'' \"\"\r\n", &["", ""]),
            ("\"a b\"\r\n", &["a b"]),
            ("ab\"c d\" e\r\n", &["abc d", "e"]),
            ("ab'c d' e\r\n", &["abc d", "e"]),
            (r#""\n\r\t\b\a""#, &[r"\n\r\t\x08\x07"]),
            (r#""\x00\xfF\x7""#, &[r"\x00\xffx7"]),
            (r#""\xZZ""#, &["xZZ"]),
            (r#""\"\\\q""#, &[r#"\"\\q"#]),
            (r"'\'\n\x41'", &[r"\'\\n\\x41"]),
            (r"a\nb", &[r"a\\nb"]),
            ("\"a'b\"", &[r"a\'b"]),
            ("'a\"b'", &[r#"a\"b"#]),
            ("\"a\"\x0b\"b\"", &["a", "b"]),
            ("caf\u{e9}", &[r"caf\xc3\xa9"]),
        ];
        for (line, expected) in cases {
            assert_eq!(
                split(line).as_deref(),
                Some(expected.map_strings().as_slice()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn unbalanced_quotes_are_an_error() {
        for line in [
            "\"",
            "'",
            "a \"b",
            "\"a\"b",
            "'a'b",
            "\"a\"\"b\"",
            "\"a\\\"",
            "'a\\'",
            "\"\\",
        ] {
            assert_eq!(split(line), None, "{line:?}");
        }
    }

    #[test]
    fn zero_byte_is_an_error() {
        let mut out = Vec::new();
        assert_eq!(
            inline_to_array(b"GET \0\n", false, &mut out),
            Err(ProtocolError::InlineZeroByte)
        );
        assert_eq!(
            inline_to_array(b"\0\n", false, &mut out),
            Err(ProtocolError::InlineZeroByte)
        );
        assert!(out.is_empty());
    }

    trait MapStrings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl MapStrings for &[&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|&text| text.to_owned()).collect()
        }
    }

    #[test]
    fn word_continues_after_a_quote_when_quotes_mix() {
        for (line, words) in [
            (
                r#"set """tes"t-'k'e"y" "test"'-'value"#,
                vec!["set", "test-key", "test-value"],
            ),
            (r#"get test'-'key ''"#, vec!["get", "test-key", ""]),
        ] {
            assert_eq!(split_with(line, true).unwrap(), words);
            assert_eq!(split(line), None);
        }
        for line in [r#"set foo "b"a"r"#, "set foo 'b'a'r"] {
            assert_eq!(split_with(line, true), None);
        }
    }
}
