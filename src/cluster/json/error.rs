//! The error of a JSON text that is rejected.

use std::fmt;

/// Characters of a reason, including the path.
const REASON_CHARS_MAX: usize = 400;

/// The error of a JSON text that is rejected. A rejected text is not applied, not even in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The line of the error, counted from 1.
    pub line: usize,
    /// The path of the value and the reason: `data[2].instances[0].port: must be 1 to 65535`.
    pub reason: String,
}

impl JsonError {
    /// Replaces control characters by spaces and cuts the reason, so that it fits into a log line.
    pub(super) fn new(line: usize, reason: impl AsRef<str>) -> Self {
        let reason = reason.as_ref().chars().take(REASON_CHARS_MAX);
        let reason = reason
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self { line, reason }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for JsonError {}
