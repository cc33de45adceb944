//! The arguments of SCAN.

use super::cursor::ScanCursor;
use super::glob;
use crate::command::error_reply::ErrorReply;
use crate::command::slot::Slot;
use crate::resp::number::parse_i64;
use crate::resp::{Args, write};

/// Less than this is not asked of a node, because what is asked with it costs as much as the scan.
const COUNT_MIN: i64 = 100;

/// A client's SCAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScanRequest {
    pub cursor: ScanCursor,
    pub count: i64,
    /// The pattern, unless all keys match.
    pub pattern: Option<Box<[u8]>>,
    /// TYPE.
    pub type_name: Option<Box<[u8]>>,
    /// The encoded options, except for COUNT.
    options: Vec<u8>,
    /// The number of arguments in `options`.
    args: usize,
    /// The options are all known and valid. Else a server is asked for its error.
    pub is_plain: bool,
}

impl ScanRequest {
    /// # Errors
    ///
    /// The error of a server for these arguments.
    pub(super) fn parse(frame: &[u8]) -> Result<Self, ErrorReply> {
        let mut args = Args::new(frame);
        let cursor = args.nth(1).ok_or_else(|| ErrorReply::arity("scan"))?;
        let cursor = ScanCursor::parse(cursor).ok_or(ErrorReply::INVALID_CURSOR)?;
        let mut request = Self {
            cursor,
            count: COUNT_MIN,
            pattern: None,
            type_name: None,
            options: Vec::new(),
            args: 0,
            is_plain: true,
        };
        while let Some(option) = args.next() {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            let before = args.clone();
            let value = args.next();
            match value {
                Some(value) if is(b"count") => match parse_i64(value) {
                    Some(count) if count > 0 => {
                        request.count = count.max(COUNT_MIN);
                        continue;
                    }
                    _ => request.is_plain = false,
                },
                Some(value) if is(b"match") => request.pattern = Some(value.into()),
                Some(value) if is(b"type") => request.type_name = Some(value.into()),
                _ => {
                    request.is_plain = false;
                    args = before;
                    request.keep(&[option]);
                    continue;
                }
            }
            request.keep(&[option, value.unwrap_or_default()]);
        }
        request.pattern = request.pattern.filter(|pattern| **pattern != *b"*");
        Ok(request)
    }

    fn keep(&mut self, words: &[&[u8]]) {
        for word in words {
            write::bulk(&mut self.options, word);
            self.args += 1;
        }
    }

    /// The slot of all keys that match, if they have one.
    pub(super) fn only_slot(&self) -> Option<Slot> {
        glob::only_slot(self.pattern.as_deref()?)
    }

    /// Whether a key matches the pattern.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        let pattern = self.pattern.as_deref();
        pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }

    /// Writes the request with the cursor of a server.
    pub(super) fn write(&self, cursor: u64, out: &mut Vec<u8>) {
        let count = self.count.to_string();
        let counted: &[&[u8]] = match self.is_plain {
            true => &[b"COUNT", count.as_bytes()],
            false => &[],
        };
        write::array(out, 2 + self.args + counted.len());
        write::bulk(out, b"SCAN");
        write::bulk(out, cursor.to_string().as_bytes());
        out.extend_from_slice(&self.options);
        for word in counted {
            write::bulk(out, word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<ScanRequest, ErrorReply> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut frame = Vec::new();
        write::command(&mut frame, &words);
        ScanRequest::parse(&frame)
    }

    fn sent(line: &str) -> String {
        let mut out = Vec::new();
        parse(line).unwrap().write(7, &mut out);
        let words: Vec<&[u8]> = Args::new(&out).collect();
        String::from_utf8(words.join(&b' ')).unwrap()
    }

    #[test]
    fn options_are_sent_with_another_cursor_and_at_least_the_least_count() {
        for (line, expected, is_plain) in [
            ("SCAN 0", "SCAN 7 COUNT 100", true),
            ("scan 0 count 5", "SCAN 7 COUNT 100", true),
            (
                "SCAN 0 COUNT 5000 MATCH a*",
                "SCAN 7 MATCH a* COUNT 5000",
                true,
            ),
            (
                "SCAN 0 TYPE set MATCH x",
                "SCAN 7 TYPE set MATCH x COUNT 100",
                true,
            ),
            ("SCAN 0 COUNT x", "SCAN 7 COUNT x", false),
            ("SCAN 0 COUNT 0", "SCAN 7 COUNT 0", false),
            ("SCAN 0 NOVALUES MATCH a", "SCAN 7 NOVALUES MATCH a", false),
            ("SCAN 0 MATCH", "SCAN 7 MATCH", false),
        ] {
            assert_eq!(sent(line), expected, "{line}");
            assert_eq!(parse(line).unwrap().is_plain, is_plain, "{line}");
        }
    }

    #[test]
    fn errors_are_those_of_a_server() {
        let text = |line| parse(line).unwrap_err().text().into_owned();
        assert_eq!(
            text("SCAN"),
            "ERR wrong number of arguments for 'scan' command"
        );
        assert_eq!(text("SCAN x"), "ERR invalid cursor");
        assert_eq!(text("SCAN -1"), "ERR invalid cursor");
    }

    #[test]
    fn pattern_of_all_keys_is_no_pattern() {
        assert_eq!(parse("SCAN 0 MATCH *").unwrap().pattern, None);
        let request = parse("SCAN 0 MATCH {a}*").unwrap();
        assert_eq!(request.only_slot(), Some(Slot::of(b"a")));
        assert!(request.matches(b"{a}b") && !request.matches(b"b"));
    }
}
