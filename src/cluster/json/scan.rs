//! Scans the JSON text: rejects what the parser does not detect, and finds the line of a value.
//!
//! The parser recurses for every bracket, and keeps the last of two fields with the same name. So a
//! text that nests too deep or has a field twice is rejected before it is parsed.

use std::borrow::Cow;
use std::collections::HashSet;

use tinyjson::JsonValue;

use super::error::JsonError;

/// Levels of nested brackets that a text may have. The longest valid text has six.
pub(super) const DEPTH_MAX: usize = 32;

/// A step from a value to one of its fields or items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

/// Rejects a text that nests too deep or has a field twice. The parser finds all other errors.
pub(super) fn check(text: &str) -> Result<(), JsonError> {
    let mut open: Vec<HashSet<Cow<'_, str>>> = Vec::new();
    let mut last = None;
    for (line, token) in Tokens::new(text) {
        match token {
            Token::Open if open.len() == DEPTH_MAX => {
                let reason = format!("nests deeper than {DEPTH_MAX} levels");
                return Err(JsonError::new(line, reason));
            }
            Token::Open => open.push(HashSet::new()),
            Token::Close => drop(open.pop()),
            Token::Colon => {
                if let (Some((line, Token::Text(raw))), Some(names)) = (last, open.last_mut())
                    && let Some(name) = unquoted(raw)
                    && let Some(name) = names.replace(name)
                {
                    return Err(JsonError::new(line, format!("field {name:?} occurs twice")));
                }
            }
            Token::Text(_) | Token::Comma | Token::Word => (),
        }
        last = Some((line, token));
    }
    Ok(())
}

/// The line at which the value at `path` begins. `text` is valid and has the value; otherwise the
/// result is 1.
pub(super) fn line_of(text: &str, path: &[Step<'_>]) -> usize {
    Tokens::new(text).find(path).unwrap_or(1)
}

/// The text between the quotes; `None` when `raw` is not a valid string.
fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('\\') {
        match raw.parse() {
            Ok(JsonValue::String(text)) => Some(text.into()),
            _ => None,
        }
    } else {
        Some(raw.strip_prefix('"')?.strip_suffix('"')?.into())
    }
}

#[derive(Debug, Clone, Copy)]
enum Token<'a> {
    Open,
    Close,
    Colon,
    Comma,
    /// A string with its quotes.
    Text(&'a str),
    /// A number, a constant, or text that is not JSON.
    Word,
}

/// The tokens of a text, each with its line, counted from 1.
struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }

    /// Removes `len` bytes from the rest and counts their lines.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.line += taken.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// The line of the value at `path`, which starts at the next token.
    fn find(&mut self, path: &[Step<'_>]) -> Option<usize> {
        let (line, token) = self.next()?;
        let Some((step, path)) = path.split_first() else {
            return Some(line);
        };
        let mut item = 0;
        if !matches!(token, Token::Open) {
            return None;
        }
        loop {
            let found = match *step {
                Step::Field(wanted) => {
                    let (_, Token::Text(raw)) = self.next()? else {
                        return None;
                    };
                    self.next()?;
                    unquoted(raw).is_some_and(|name| name == wanted)
                }
                Step::Item(wanted) => wanted == item,
            };
            if found {
                return self.find(path);
            }
            self.skip_value()?;
            item += 1;
            let (_, Token::Comma) = self.next()? else {
                return None;
            };
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.next()?.1 {
                Token::Open => depth += 1,
                Token::Close => depth = depth.checked_sub(1)?,
                _ => (),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let blank = |c: char| c.is_ascii_whitespace();
        self.take(self.rest.len() - self.rest.trim_start_matches(blank).len());
        let line = self.line;
        let token = match self.rest.bytes().next()? {
            b'{' | b'[' => Token::Open,
            b'}' | b']' => Token::Close,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return Some((line, Token::Text(self.take(string_len(self.rest))))),
            _ => {
                let ends = |c: char| blank(c) || "{}[]:,\"".contains(c);
                self.take(self.rest.find(ends).unwrap_or(self.rest.len()));
                return Some((line, Token::Word));
            }
        };
        self.take(1);
        Some((line, token))
    }
}

/// Bytes up to the closing quote, or to the end of the text.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "\n{ \"a]\\\"\": [1, \"}\\\\\",\n {\"\\u0062\":\n\n null}],\n\"c\"\n:\n-1e9}\n";

    #[test]
    fn line_of_a_value_is_the_line_where_it_begins() {
        let a = Step::Field("a]\"");
        let cases: [(&[Step<'_>], usize); 8] = [
            (&[], 2),
            (&[a], 2),
            (&[a, Step::Item(1)], 2),
            (&[a, Step::Item(2)], 3),
            (&[a, Step::Item(2), Step::Field("b")], 5),
            (&[Step::Field("c")], 8),
            // A missing value gives line 1.
            (&[a, Step::Item(3)], 1),
            (&[Step::Field("c"), Step::Item(0)], 1),
        ];
        assert!(TEXT.parse::<JsonValue>().is_ok());
        assert_eq!(check(TEXT), Ok(()));
        for (path, line) in cases {
            assert_eq!(line_of(TEXT, path), line, "{path:?}");
        }
    }

    #[test]
    fn deeply_nested_text_is_refused() {
        let nested = |depth: usize| "[\n".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(&nested(DEPTH_MAX)), Ok(()));
        let error = check(&nested(100_000)).unwrap_err();
        assert_eq!(error.to_string(), "line 33: nests deeper than 32 levels");
        assert_eq!(check(&format!("\"{}\"", "[".repeat(100))), Ok(()));
        assert!(check(&"{\"a\":".repeat(100_000)).is_err());
    }

    #[test]
    fn field_that_occurs_twice_is_refused() {
        let error =
            check("[{\"a\":1},{\"b\":{\"a\":1},\n\"a\":[\"a\"],\n\"\\u0061\":1}]").unwrap_err();
        assert_eq!(error.to_string(), "line 3: field \"a\" occurs twice");
        for text in [
            "\"a\":1,\"a\":1",
            "]]}{:\"\\",
            "\"",
            "\"\\\"",
            "{\"a\":\"a\"}",
            "é{:é}",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn every_prefix_of_a_text_can_be_scanned() {
        for end in (0..=TEXT.len()).filter(|&end| TEXT.is_char_boundary(end)) {
            let part = &TEXT[..end];
            let _ = check(part);
            assert!(line_of(part, &[Step::Field("c"), Step::Field("d")]) >= 1);
            assert_eq!(Tokens::new(part).count() == 0, part.trim().is_empty());
        }
    }
}
