//! A change of a client's session that is under way: who it wants to be, where and how, and what
//! it hears then.

use crate::command::Permission;
use crate::resp::Protocol;

use crate::session::question::Gathering;
use crate::store::key::AccessKey;

/// A session change under way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub goal: Goal,
    /// Who and where the client will be, and how.
    pub access: AccessKey,
    pub db: u32,
    pub protocol: Protocol,
    pub login: Login,
}

impl Waiting {
    /// Bytes of the other clients' lines that have been found.
    pub(crate) fn gathered_bytes(&self) -> usize {
        match &self.goal {
            Goal::Peers(gathering) => gathering.bytes(),
            _ => 0,
        }
    }
}

/// How far the credential of a session change is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// It waits for a connection that verifies it.
    Waits,
    /// A backend is asked.
    Asked,
    /// It is accepted, or there is none to verify.
    Done,
}

/// What the client asked for, hence what it hears in the end.
#[derive(Debug)]
pub(crate) enum Goal {
    Auth,
    Hello {
        name: Option<Vec<u8>>,
    },
    Select,
    /// Nothing: its command is decoded again, once it is known whether the backend wants a login.
    Admission,
    /// Nothing: it moves to another instance when a link of its account is ready there, and does
    /// not know.
    Move,
    /// Nothing: its command is decoded again, once it is known whether the user may give it.
    Permission(Permission),
    /// A question about other clients: the other workers' answers.
    Peers(Box<Gathering>),
}

/// Who, where and how a client wants to be.
#[derive(Debug)]
pub(crate) struct Target {
    pub access: AccessKey,
    /// The account's credential is to be verified.
    pub login: bool,
    pub db: u32,
    pub protocol: Protocol,
}

impl Goal {
    /// What the server is asked about before it is done.
    pub(crate) fn permission(&self) -> Option<Permission> {
        match self {
            Self::Select => Some(Permission::Select),
            Self::Permission(what) => Some(*what),
            _ => None,
        }
    }
}
