//! The line printed when the options are wrong and the proxy does not start.

use std::fmt;

/// An error in the options. [`Display`](fmt::Display) writes one line: the option as it was given,
/// why it is rejected, and what is allowed or how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    given: String,
    reason: String,
    remedy: String,
}

impl ConfigError {
    /// Escapes control characters in `given` and cuts it after [`SHOWN_CHARS_MAX`] characters.
    pub(super) fn new(given: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            given: one_line(given),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.given, self.reason, self.remedy)
    }
}

impl std::error::Error for ConfigError {}

/// Enough for a long host name.
const SHOWN_CHARS_MAX: usize = 120;

fn one_line(text: &str) -> String {
    let mut chars = text.chars();
    let mut line: String = chars
        .by_ref()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}
