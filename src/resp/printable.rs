//! Text from outside, as it may be shown in a line of a log or of a list.

use std::fmt::{self, Write as _};

/// Shows bytes from outside: what is not printable is escaped, so that nobody ends a line, begins
/// another, or steers a terminal. Backslashes stay: this is for people, not to be read back.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    // Line and paragraph separators, and what turns the direction of the text.
                    '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                        write!(f, "{}", char.escape_unicode())?;
                    }
                    char if char.is_control() => write!(f, "{}", char.escape_default())?,
                    char => f.write_char(char)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_ends_a_line_or_steers_a_terminal() {
        for (bytes, shown) in [
            (&b"ERR \\ plain \xc3\xa9"[..], "ERR \\ plain é"),
            (b"a\nb\r\tc", "a\\nb\\r\\tc"),
            (b"\x1b[2J\x07\x00", "\\u{1b}[2J\\u{7}\\u{0}"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (
                "\u{85}\u{9b}31m\u{2028}\u{202e}".as_bytes(),
                "\\u{85}\\u{9b}31m\\u{2028}\\u{202e}",
            ),
        ] {
            assert_eq!(Printable(bytes).to_string(), shown);
        }
    }
}
