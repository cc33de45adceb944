//! Displays bytes from outside in a log line or a list.

use std::fmt::{self, Write as _};

/// Displays bytes from outside with escapes for everything that is not printable, so that they
/// cannot end a line or control a terminal. Backslashes are not escaped, because the text is not
/// parsed again.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    // Line and paragraph separators, and characters that change the direction.
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
    fn unprintable_bytes_are_escaped() {
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
