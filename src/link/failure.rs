//! Why a link ended.

use crate::command::ErrorReply;
use crate::resp::ReplyError;

/// Why a link ended. Gives the errors for its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be opened. The text is the operating system's.
    Unreachable(String),
    /// The operating system does not let this process open it: no file descriptor or no port is
    /// free. The text is the operating system's.
    Starved(String),
    /// It was open and ended.
    Lost,
    /// It was not ready in time, or a reply was outstanding for too long.
    TimedOut,
    /// The server violated the protocol: no further byte on the link can be matched to a request.
    Desync(String),
    /// The server refused the credential, or requires one. The text is its own, without the `-`.
    Refused(String),
    /// The server refused the database or the protocol version. The text is its own, without the
    /// `-`.
    Rejected(String),
    /// The server rejects connections, because it is full for example. Its text, without the `-`.
    TurnedAway(String),
    /// The server runs a script: this is its reply to all commands. Its text, without the `-`.
    Busy(String),
    /// The proxy closed the link: another server is the primary of the instance. Not a failure.
    Fenced,
    /// The proxy closed the link: it is not needed or not usable any more. Not a failure.
    Removed,
}

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Self {
        Self::Desync(error.to_string())
    }
}

impl Failure {
    /// Did the proxy end the link itself?
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Fenced | Self::Removed)
    }

    /// The error for a request that may have been executed.
    pub(crate) fn error_if_sent(&self) -> ErrorReply {
        ErrorReply::Proxy(match self {
            Self::TimedOut => "ERR elika: backend did not answer in time, outcome unknown",
            _ => "ERR elika: backend connection lost, outcome unknown",
        })
    }

    /// The error for a request that was never sent, or a session change that failed.
    pub(crate) fn error_if_unsent(&self) -> ErrorReply {
        match self {
            Self::Refused(_) => ErrorReply::NoAuth,
            Self::Rejected(text) | Self::TurnedAway(text) | Self::Busy(text) => {
                ErrorReply::new(text.clone())
            }
            Self::Lost => ErrorReply::unavailable("connection closed"),
            Self::TimedOut => ErrorReply::unavailable("timed out"),
            Self::Fenced => ErrorReply::unavailable("the primary has changed"),
            Self::Removed => ErrorReply::unavailable("removed"),
            Self::Unreachable(why) | Self::Starved(why) | Self::Desync(why) => {
                ErrorReply::Unavailable(why.clone().into())
            }
        }
    }

    /// The reason for an error, without the common start of such errors.
    pub(crate) fn reason(&self) -> String {
        match self.error_if_unsent() {
            ErrorReply::Unavailable(why) => why.into_owned(),
            error => error.text().into_owned(),
        }
    }

    /// The error for the login that failed: the server's own text, if it sent one.
    pub(crate) fn error_for_login(&self) -> ErrorReply {
        match self {
            Self::Refused(text) => ErrorReply::new(text.clone()),
            other => other.error_if_unsent(),
        }
    }
}
