//! Why a text is refused: the line, and what is wrong there.

use std::fmt;

/// Characters of an error's text: enough for its place and a reason.
const REASON_CHARS_MAX: usize = 400;

/// Why a text was refused. Nothing of it was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong, after its place: `data[2].instances[0].port: must be 1 to 65535`.
    pub reason: String,
}

impl JsonError {
    /// One line, whatever the text had in it, and not too long for a log.
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
