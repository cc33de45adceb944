//! The error texts of Redis, word for word, because client libraries compare them.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a client's argument that an error text repeats. Redis has this limit in some texts and
/// no limit in others.
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

    /// A wrong number of arguments for the command with this full name.
    pub(super) fn arity(full_name: &str) -> Self {
        Self::new(format!(
            "ERR wrong number of arguments for '{full_name}' command"
        ))
    }

    /// The text without the leading `-`.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text for a user that lacks the permission for a command. `full_name` has the form
/// `config|set`.
pub fn denied(user: &[u8], full_name: &str) -> String {
    format!(
        "NOPERM User {} has no permissions to run the '{full_name}' command",
        shown(user)
    )
}

/// A client's argument as an error text repeats it: up to the first NUL, because Redis prints a C
/// string, and at most [`SHOWN_BYTES_MAX`] bytes.
pub(super) fn shown(argument: &[u8]) -> Cow<'_, str> {
    let end = argument
        .iter()
        .take(SHOWN_BYTES_MAX)
        .take_while(|byte| **byte != 0)
        .count();
    String::from_utf8_lossy(argument.get(..end).unwrap_or_default())
}
