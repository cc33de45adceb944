//! Questions about clients that all workers answer: CLIENT LIST, KILL, UNBLOCK and their like.

use crate::cluster::{InstanceId, TenantKey};
use crate::command::client::Filter;

/// Whose clients are meant: those of one backend user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub(crate) tenant: TenantKey,
    pub(crate) instance: InstanceId,
    pub(crate) user: Box<[u8]>,
}

/// What one worker wants to know from the others.
#[derive(Clone, Debug)]
pub enum Question {
    /// Some of the clients that match: their lines, or their end.
    Search(Search),
    /// The connection on which the client of this number is blocked; or it is unblocked at once,
    /// maybe with an error.
    Blocked(Scope, i64, bool),
    /// The connection on which the client of this number gets messages.
    Subscriber(Scope, i64),
    /// Nothing: this instance wants a login of everybody, as the asker was told.
    LoginNeeded(TenantKey, InstanceId),
}

/// What another worker says to it.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What was found, and whether there are more clients to look at.
    Found(Matches, bool),
    /// The connection asked for.
    Connection(Found),
    /// Nothing: that worker has ended, or was only told something.
    Gone,
}

/// What is known of a client that was asked for by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// It is none of this worker's.
    #[default]
    Nobody,
    /// It is there, but not in the state asked for.
    Otherwise,
    /// It is about to be.
    Soon,
    /// It was blocked, and is not any more.
    Unblocked,
    /// The backend's number of its own connection.
    Connection(u64),
}

/// Answers that came so far.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// Workers that have not answered.
    pub(crate) left: u16,
    pub(crate) matches: Matches,
    pub(crate) found: Found,
    /// What is asked, slice by slice if it is a search.
    pub(crate) question: Option<Question>,
    /// In how many bytes: they show in the asker's own line.
    pub(crate) asked: usize,
    /// Some worker has clients behind this slice.
    pub(crate) more: bool,
    pub purpose: Purpose,
}

/// What CLIENT LIST or CLIENT KILL looks for among the clients, slice by slice.
#[derive(Clone, Debug)]
pub struct Search {
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
    /// The clients that match are closed.
    pub(crate) kill: bool,
    /// Which slice of each worker's clients.
    pub(crate) slice: u32,
}

/// What was found of them.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// Numbers and lines.
    pub(crate) lines: Vec<(u64, Vec<u8>)>,
    /// Bytes of the lines.
    pub(crate) bytes: usize,
    /// How many were closed.
    pub(crate) killed: u64,
}

impl Matches {
    /// Bytes that they take up.
    pub(crate) fn kept(&self) -> usize {
        self.bytes + self.lines.len() * size_of::<(u64, Vec<u8>)>()
    }

    pub(crate) fn add(&mut self, others: Self) {
        self.bytes += others.bytes;
        self.killed += others.killed;
        self.lines.extend(others.lines);
    }
}

/// What is done when all answers are in.
#[derive(Debug, Default)]
pub(crate) enum Purpose {
    /// CLIENT LIST.
    #[default]
    List,
    /// CLIENT KILL: how the reply looks, and whether the asker goes too.
    Kill { old_form: bool, me_too: bool },
    /// CLIENT UNBLOCK: how the command shall end.
    Unblock { with_error: bool },
    /// CLIENT TRACKING ON REDIRECT: the client's number, where it stands in the request, and that.
    Redirect {
        id: u64,
        at: usize,
        frame: Box<[u8]>,
        /// How often it was asked already.
        tries: u32,
    },
}

impl Gathering {
    /// Bytes of what was found.
    pub(crate) fn bytes(&self) -> usize {
        self.matches.kept()
    }

    pub(crate) fn new(purpose: Purpose) -> Self {
        Self {
            left: 0,
            matches: Matches::default(),
            found: Found::Nobody,
            question: None,
            asked: 0,
            more: false,
            purpose,
        }
    }
}
