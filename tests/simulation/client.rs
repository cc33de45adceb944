//! A fake client: its end of the connection, and what it asked for and has not been answered.

use std::collections::VecDeque;

use elika::proxy::ClientKey;

use super::judge::Model;
use super::redis::{Moment, Tag};
use super::script::Script;

/// Where and as whom a client wants to log in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// `None`: a tenant nobody knows.
    pub(crate) server: Option<usize>,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What a client asked for, as far as the reply depends on it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Executed by the backend; `big`: over the limits of a stranger.
    Data {
        tag: Tag,
        big: bool,
    },
    /// The same, where the backend decides who may; refused elsewhere.
    Admin {
        tag: Tag,
    },
    /// Answered with exactly this to whoever may ask anything at all.
    Exact(Vec<u8>),
    WhoAmI,
    ClientId,
    GetName,
    SetName(String),
    Info,
    List,
    /// CLIENT KILL; `me`: it means the client itself.
    Kill {
        me: bool,
    },
    ReplyOn,
    Auth(Login),
    Hello {
        protocol: Option<u8>,
        login: Option<Login>,
        name: Option<String>,
    },
    Select(i64),
    Reset,
    Quit,
    /// A command that needs a connection of its own.
    Own(&'static str),
    /// A command that nobody may give.
    Denied(&'static str),
    Malformed,
    /// An HTTP request: hung up on without a word.
    Http,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) op: Op,
    pub(crate) at: Moment,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) worker: usize,
    pub(crate) key: ClientKey,
    pub(crate) script: Script,
    pub(crate) model: Model,
    /// When it last became somebody else.
    pub(crate) changed: Moment,
    /// Requests that will be answered, in order.
    pub(crate) pending: VecDeque<Sent>,
    /// Requests that must never be executed: an error said so, or they came after the end.
    pub(crate) never: Vec<Tag>,
    /// Sent and not yet read by the proxy.
    pub(crate) wire: Vec<u8>,
    /// Sent by the proxy and not yet read by the client.
    pub(crate) kernel: Vec<u8>,
    /// How much `kernel` holds.
    pub(crate) room: usize,
    /// Read and not yet judged.
    pub(crate) read: Vec<u8>,
    /// It reads nothing before this, ms.
    pub(crate) asleep_until: u64,
    /// It reads nothing at all until all others are done.
    pub(crate) wedged: bool,
    pub(crate) paused: bool,
    /// The kernel took less than the proxy had.
    pub(crate) wants_write: bool,
    /// It will send no more.
    pub(crate) eof: bool,
    pub(crate) eof_told: bool,
    /// The proxy hung up.
    pub(crate) hung_up: bool,
    /// A reply said that this is the end.
    pub(crate) closing: Option<&'static str>,
    /// The last reply left it open whether this is the end.
    pub(crate) may_close: bool,
    /// All over, and judged.
    pub(crate) done: bool,
    /// Clients that tried to kill it, and when.
    pub(crate) killers: Vec<(u64, Moment)>,
}

impl Client {
    /// May the script go on?
    pub(crate) fn may_send(&self) -> bool {
        !self.done
            && !self.eof
            && !self.hung_up
            && !self.script.ended
            && self.closing.is_none()
            && self.wire.len() < 1 << 20
            && self.pending.len() < self.script.pending_max
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.done
            && !self.wedged
            && (!self.pending.is_empty() || !self.wire.is_empty() || self.hung_up)
    }
}
