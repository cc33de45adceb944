//! Questions about clients that all workers answer: for CLIENT LIST, KILL, UNBLOCK and others.

use crate::cluster::{InstanceId, TenantKey};
use crate::command::client::Filter;

/// Which clients a question is about: those of one user of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub(crate) tenant: TenantKey,
    pub(crate) instance: InstanceId,
    pub(crate) user: Box<[u8]>,
}

/// A question to the other workers.
#[derive(Clone, Debug)]
pub enum Question {
    /// Some of the clients that match: list them, or close them.
    Search(Search),
    /// The link on which the client with this number is blocked. A client that waits for replicas
    /// is unblocked by its worker at once; `true`: with an error.
    Blocked(Scope, i64, bool),
    /// The link on which the client with this number gets messages.
    Subscriber(Scope, i64),
    /// This instance requires a login, as the asking worker found. The answer is not used.
    LoginNeeded(TenantKey, InstanceId),
}

/// Another worker's answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The clients that match, and whether there are more to search.
    Found(Matches, bool),
    /// The link of the client.
    Connection(Found),
    /// Nothing: that worker has ended, or no answer was wanted.
    Gone,
}

/// The result of a search for a client by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// This worker has no such client.
    #[default]
    NoSuchClient,
    /// The client is not blocked, or cannot get a dedicated link.
    NotPossible,
    /// The client's dedicated link is not ready yet: ask again.
    NotReady,
    /// The client was unblocked.
    Unblocked,
    /// The server's number of its dedicated link.
    Connection(u64),
}

/// The answers to a question that have arrived.
#[derive(Debug)]
pub(crate) struct PendingAnswers {
    /// Workers that have not answered.
    pub(crate) left: u16,
    pub(crate) matches: Matches,
    pub(crate) found: Found,
    /// The question, which for a search is asked slice by slice.
    pub(crate) question: Option<Question>,
    /// The length of the request in bytes: it shows in the asking client's own line.
    pub(crate) asked: usize,
    /// Some worker has more slots behind this slice.
    pub(crate) more: bool,
    pub purpose: Purpose,
}

/// The search of CLIENT LIST or CLIENT KILL, which is done slice by slice.
#[derive(Clone, Debug)]
pub struct Search {
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
    /// Close the clients that match.
    pub(crate) kill: bool,
    /// The slice of each worker's clients.
    pub(crate) slice: u32,
}

/// The clients that were found.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// Their numbers and lines.
    pub(crate) lines: Vec<(u64, Vec<u8>)>,
    /// Bytes of the lines.
    pub(crate) bytes: usize,
    /// How many clients were closed.
    pub(crate) killed: u64,
}

impl Matches {
    /// Bytes of memory for them.
    pub(crate) fn kept(&self) -> usize {
        self.bytes + self.lines.len() * size_of::<(u64, Vec<u8>)>()
    }

    pub(crate) fn add(&mut self, others: Self) {
        self.bytes += others.bytes;
        self.killed += others.killed;
        self.lines.extend(others.lines);
    }
}

/// What is done when all answers have arrived.
#[derive(Debug, Default)]
pub(crate) enum Purpose {
    /// CLIENT LIST.
    #[default]
    List,
    /// CLIENT KILL: the form of the reply, and whether the asking client is closed too.
    Kill { old_form: bool, close_asking: bool },
    /// CLIENT UNBLOCK: how the blocked command ends.
    Unblock { with_error: bool },
    /// CLIENT TRACKING ON REDIRECT: the client's number, its place in the request, and the request.
    Redirect {
        id: u64,
        at: usize,
        frame: Box<[u8]>,
        /// How often the question was asked.
        tries: u32,
    },
}

impl PendingAnswers {
    /// Bytes of what was found.
    pub(crate) fn bytes(&self) -> usize {
        self.matches.kept()
    }

    pub(crate) fn new(purpose: Purpose) -> Self {
        Self {
            left: 0,
            matches: Matches::default(),
            found: Found::NoSuchClient,
            question: None,
            asked: 0,
            more: false,
            purpose,
        }
    }
}
