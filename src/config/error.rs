//! The one line a user reads when the proxy does not start.

use std::fmt;

/// Why the proxy cannot start as told. [`Display`](fmt::Display) is one line: what was given,
/// why it will not do, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    given: String,
    reason: String,
    remedy: String,
}

impl ConfigError {
    /// `given` is shown with control characters escaped and cut at a length fit for a line.
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

/// Long enough for any sensible address.
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
