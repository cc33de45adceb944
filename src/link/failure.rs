//! Why a link ended.

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
    /// The proxy closed the link: it is not needed or not usable any more. Not a failure.
    Removed,
}

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Self {
        Self::Desync(error.to_string())
    }
}

impl Failure {
    /// The error for a request that may have been executed.
    pub(crate) fn text_if_sent(&self) -> &'static str {
        match self {
            Self::TimedOut => "ERR elika: backend did not answer in time, outcome unknown",
            _ => "ERR elika: backend connection lost, outcome unknown",
        }
    }

    /// The error for a request that was never sent, or a session change that failed.
    pub(crate) fn text_if_unsent(&self) -> String {
        match self {
            Self::Unreachable(why) | Self::Starved(why) => {
                format!("ERR elika: backend unavailable: {why}")
            }
            Self::Lost => "ERR elika: backend unavailable: connection closed".into(),
            Self::TimedOut => "ERR elika: backend unavailable: timed out".into(),
            Self::Desync(why) => format!("ERR elika: backend unavailable: {why}"),
            Self::Refused(_) => NOAUTH.into(),
            Self::Rejected(text) | Self::TurnedAway(text) | Self::Busy(text) => text.clone(),
            Self::Removed => "ERR elika: backend unavailable: removed".into(),
        }
    }

    /// The reason for an error, without the common start of such errors.
    pub(crate) fn reason(&self) -> String {
        let text = self.text_if_unsent();
        let prefix = "ERR elika: backend unavailable: ";
        text.strip_prefix(prefix).unwrap_or(&text).to_owned()
    }

    /// The error for the login that failed: the server's own text, if it sent one.
    pub(crate) fn text_for_login(&self) -> String {
        match self {
            Self::Refused(text) => text.clone(),
            other => other.text_if_unsent(),
        }
    }
}

/// The error for commands before a login, where one is required.
pub(crate) const NOAUTH: &str = "NOAUTH Authentication required.";
