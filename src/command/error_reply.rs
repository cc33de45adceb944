//! Error replies that the proxy generates. The texts of Redis are here word for word, because
//! client libraries compare them.

use std::borrow::Cow;

use crate::resp::write;

/// Bytes of a client's argument that an error text repeats. Redis has this limit in some texts and
/// no limit in others.
const SHOWN_BYTES_MAX: usize = 128;

/// An error reply that the proxy generates. What follows for the client depends on whose words they
/// are. Texts are without the leading `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorReply {
    /// What the server said, or says in the same case: the client's command was refused.
    Server(Cow<'static, str>),
    /// A login is required, or the server no longer accepts the client's credential.
    NoAuth,
    /// What only a proxy has to say. The text starts with `ERR elika: `.
    Proxy(&'static str),
    /// There is no connection to the backend, for this reason.
    Unavailable(Cow<'static, str>),
}

impl ErrorReply {
    pub(super) const SYNTAX: Self = Self::fixed("ERR syntax error");
    pub(super) const INVALID_CURSOR: Self = Self::fixed("ERR invalid cursor");
    pub(super) const NOT_AN_INTEGER: Self =
        Self::fixed("ERR value is not an integer or out of range");
    pub(super) const BAD_NAME: Self =
        Self::fixed("ERR Client names cannot contain spaces, newlines or special characters.");

    /// The keys of a request have several slots, and the request is not split.
    pub const CROSS_SLOT: Self =
        Self::fixed("CROSSSLOT Keys in request don't hash to the same slot");

    pub(super) const NAME_TOO_LONG: Self = Self::Proxy("ERR elika: name longer than 4096 bytes");

    /// A text of the server's.
    pub const fn fixed(text: &'static str) -> Self {
        Self::Server(Cow::Borrowed(text))
    }

    /// A text of the server's, or one in its words.
    pub const fn new(text: String) -> Self {
        Self::Server(Cow::Owned(text))
    }

    /// There is no connection to the backend, for this reason.
    pub const fn unavailable(why: &'static str) -> Self {
        Self::Unavailable(Cow::Borrowed(why))
    }

    /// A wrong number of arguments for the command with this full name.
    pub(super) fn arity(full_name: &str) -> Self {
        Self::new(format!(
            "ERR wrong number of arguments for '{full_name}' command"
        ))
    }

    /// The text without the leading `-`.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Server(text) => Cow::Borrowed(text),
            Self::NoAuth => Cow::Borrowed("NOAUTH Authentication required."),
            Self::Proxy(text) => Cow::Borrowed(text),
            Self::Unavailable(why) => Cow::Owned(format!("ERR elika: backend unavailable: {why}")),
        }
    }

    /// Writes the reply.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::error(out, &self.text());
    }
}

/// The error for a user that lacks the permission for a command. `full_name` has the form
/// `config|set`.
pub fn denied(user: &[u8], full_name: &str) -> ErrorReply {
    ErrorReply::new(format!(
        "NOPERM User {} has no permissions to run the '{full_name}' command",
        shown(user)
    ))
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
