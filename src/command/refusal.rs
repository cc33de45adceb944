//! The texts with which Redis refuses a command, word for word: client libraries compare them.
//!
//! It owns the wording. It does not decide when to refuse, and does not put the text into a frame.

use std::borrow::Cow;
use std::fmt;

/// How much of a client's own argument is repeated to it, in bytes. Redis has this limit in some
/// texts and none in others; here nobody gets a megabyte back.
const SHOWN_BYTES_MAX: usize = 128;

/// The text of an error reply without its leading `-`, such as `ERR syntax error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Cow<'static, str>);

impl Refusal {
    pub(super) const SYNTAX: Self = Self::fixed("ERR syntax error");
    pub(super) const NOT_AN_INTEGER: Self =
        Self::fixed("ERR value is not an integer or out of range");
    pub(super) const BAD_NAME: Self =
        Self::fixed("ERR Client names cannot contain spaces, newlines or special characters.");

    pub(super) const NAME_TOO_LONG: Self = Self::fixed("ERR elika: name longer than 4096 bytes");

    pub(super) const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub(super) const fn new(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// Too few or too many arguments for the command of this full name.
    pub(super) fn arity(full_name: &str) -> Self {
        Self::new(format!(
            "ERR wrong number of arguments for '{full_name}' command"
        ))
    }

    /// The text, to be written as an error reply.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text for a user who may not run a command; `full_name` as in `config|set`.
pub fn denied(user: &[u8], full_name: &str) -> String {
    format!(
        "NOPERM User {} has no permissions to run the '{full_name}' command",
        shown(user)
    )
}

/// A client's argument as an error text repeats it: up to the first NUL, because Redis prints a C
/// string, and not endlessly.
pub(super) fn shown(argument: &[u8]) -> Cow<'_, str> {
    let end = argument
        .iter()
        .take(SHOWN_BYTES_MAX)
        .take_while(|byte| **byte != 0)
        .count();
    String::from_utf8_lossy(argument.get(..end).unwrap_or_default())
}
