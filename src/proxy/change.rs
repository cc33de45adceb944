//! A change of a client's session that is under way: who it wants to be, where and how, and what
//! it hears then.

use crate::command::Permission;
use crate::resp::Protocol;

use super::key::AccountKey;
use super::question::Gathering;

/// A session change under way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub goal: Goal,
    /// Who, where and how the client will be.
    pub account: AccountKey,
    pub db: u32,
    pub protocol: Protocol,
    pub login: Login,
}

impl Waiting {
    /// Bytes of the other clients' lines that have been found.
    pub(super) fn gathered_bytes(&self) -> usize {
        match &self.goal {
            Goal::Peers(gathering) => gathering.bytes(),
            _ => 0,
        }
    }
}

/// How far the credential of a session change is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// It waits for a connection that verifies it.
    Waits,
    /// A backend is asked.
    Asked,
    /// It is accepted, or there is none to verify.
    Done,
}

/// What the client asked for, hence what it hears in the end.
#[derive(Debug)]
pub(super) enum Goal {
    Auth,
    Hello {
        name: Option<Vec<u8>>,
    },
    Select,
    /// Nothing: its command is decoded again, once it is known whether the backend wants a login.
    Verdict,
    /// Nothing: it moves to another instance, and does not know.
    Move,
    /// Nothing: its command is decoded again, once it is known whether the user may give it.
    Permission(Permission),
    /// A question about other clients: the other workers' answers.
    Peers(Box<Gathering>),
}

/// Who, where and how a client wants to be.
#[derive(Debug)]
pub(super) struct Target {
    pub account: AccountKey,
    /// The account's credential is to be verified.
    pub login: bool,
    pub db: u32,
    pub protocol: Protocol,
}
