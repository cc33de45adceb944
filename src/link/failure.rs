//! Why a connection to a backend is lost.

use crate::resp::ReplyError;

/// Why a backend connection ended, and what those hear who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be opened. The text is the operating system's.
    Unreachable(String),
    /// This process may not or cannot open it: no descriptor, no port. The text is the operating
    /// system's.
    Starved(String),
    /// It was open and ended.
    Lost,
    /// It did not get ready, or owed a reply for too long.
    TimedOut,
    /// It sent what no server may send: nothing on it can be trusted any more.
    Desync(String),
    /// It refused the credential, or wants one. The text is its own, without the `-`.
    Refused(String),
    /// It refused the database or the protocol version. The text is its own, without the `-`.
    Rejected(String),
    /// It serves nobody just now: it is full, say. The text is its own, without the `-`.
    TurnedAway(String),
    /// It is not needed any more, or not to be used: nobody's fault.
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
            Self::Rejected(text) | Self::TurnedAway(text) => text.clone(),
            Self::Removed => "ERR elika: backend unavailable: removed".into(),
        }
    }

    /// What a request for it hears, without the words that all such errors begin with.
    pub(crate) fn reason(&self) -> String {
        let text = self.text_if_unsent();
        let prefix = "ERR elika: backend unavailable: ";
        text.strip_prefix(prefix).unwrap_or(&text).to_owned()
    }

    /// The error for the login that failed: the backend's own words, if it had any.
    pub(crate) fn text_for_login(&self) -> String {
        match self {
            Self::Refused(text) => text.clone(),
            other => other.text_if_unsent(),
        }
    }
}

/// The answer to everything before a login that is needed.
pub(crate) const NOAUTH: &str = "NOAUTH Authentication required.";
