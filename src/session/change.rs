//! A change of a client's session that is in progress: the account, instance, database and protocol
//! that it leads to, and what the client gets at its end.

use crate::command::Permission;
use crate::resp::Protocol;

use crate::session::question::PendingAnswers;
use crate::store::key::AccessKey;

/// A session change in progress.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub goal: Goal,
    /// The account and instance, the database and the protocol after the change.
    pub access: AccessKey,
    pub db: u32,
    pub protocol: Protocol,
    pub login: Login,
}

impl Waiting {
    /// Bytes of the other workers' answers to the client's question.
    pub(crate) fn answer_bytes(&self) -> usize {
        match &self.goal {
            Goal::Question(pending) => pending.bytes(),
            _ => 0,
        }
    }
}

/// The state of the login of a session change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// The login is queued for a verifier.
    Waits,
    /// AUTH is in flight.
    Asked,
    /// The credential is accepted, or there is none to verify.
    Done,
}

/// The command or event that started the change, which decides the client's reply.
#[derive(Debug)]
pub(crate) enum Goal {
    Auth,
    Hello {
        name: Option<Vec<u8>>,
    },
    Select,
    /// The client's command is decoded again when it is known whether the backend admits the
    /// default user. No reply.
    Admission,
    /// The client moves to another instance when a link of its account is ready there. No reply:
    /// the client does not notice.
    Move,
    /// The client's command is decoded again when it is known whether the user may send it. No
    /// reply.
    Permission(Permission),
    /// A question about other clients, with the answers of the workers.
    Question(Box<PendingAnswers>),
}

/// The account and instance, the database and the protocol after a session change.
#[derive(Debug)]
pub(crate) struct Target {
    pub access: AccessKey,
    /// The account's credential is to be verified.
    pub login: bool,
    pub db: u32,
    pub protocol: Protocol,
}

impl Goal {
    /// The permission that the server is asked for before the change is done.
    pub(crate) fn permission(&self) -> Option<Permission> {
        match self {
            Self::Select => Some(Permission::Select),
            Self::Permission(what) => Some(*what),
            _ => None,
        }
    }
}
