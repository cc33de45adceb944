//! A fake client: its end of the connection, and its unanswered requests.

use std::collections::VecDeque;

use elika::proxy::ClientKey;

use super::oracle::{Model, is_unavailable};
use super::redis::{Moment, Tag};
use super::script::{Asks, Script};
use super::wire;

/// The arguments of a login.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The user name as the client sends it; `None`: the password only.
    pub(crate) name: Option<String>,
    pub(crate) password: String,
}

impl Login {
    /// Whether no other client has this password.
    pub(crate) fn is_unique(&self) -> bool {
        self.password.contains('-')
    }
}

/// The part of a request that the reply depends on.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Executed by the backend; `big`: over the limits of an anonymous client.
    Data {
        tag: Tag,
        big: bool,
    },
    /// The same command, if the backend permits it; refused elsewhere.
    Admin {
        tag: Tag,
    },
    /// Answered with exactly this reply to every client that may send requests.
    Exact(Vec<u8>),
    WhoAmI,
    ClientId,
    GetName,
    SetName(String),
    Info,
    List,
    /// CLIENT KILL; `me`: it names the client itself.
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
    /// PING with or without a message.
    Ping(Option<&'static str>),
    /// PING with too many arguments.
    Miscounted,
    Multi,
    Exec,
    Discard,
    Unwatch,
    Watch {
        tag: Tag,
    },
    /// BLPOP and BRPOP.
    Pop {
        tag: Tag,
    },
    /// SUBSCRIBE or PSUBSCRIBE; the last of the channels is the tag.
    Subscribe {
        tag: Tag,
        channels: Vec<String>,
        pattern: bool,
    },
    /// UNSUBSCRIBE or PUNSUBSCRIBE; without channels: all.
    Unsubscribe {
        channels: Vec<String>,
        pattern: bool,
    },
    Tracking(bool),
    NoTouch(bool),
    /// CLIENT UNBLOCK.
    Unblock,
    /// WAIT for a number of replicas, with a timeout; 0: none.
    Wait {
        replicas: u64,
        ms: u64,
    },
    /// SCRIPT KILL.
    ScriptKill,
    /// A command that no server has.
    Unknown {
        tag: Tag,
    },
    /// A command that no client may send.
    Denied(&'static str),
    Malformed,
    /// An HTTP request: the client is closed without a reply.
    Http,
}

impl Op {
    /// The tag of a request that a backend executes.
    pub(crate) fn tag(&self) -> Option<Tag> {
        match self {
            Self::Data { tag, .. }
            | Self::Admin { tag }
            | Self::Watch { tag }
            | Self::Pop { tag }
            | Self::Subscribe { tag, .. }
            | Self::Unknown { tag } => Some(*tag),
            _ => None,
        }
    }

    /// Whether the request is forwarded to a server that does not record it.
    pub(crate) fn is_passed_on(&self) -> bool {
        matches!(
            self,
            Self::Ping(_)
                | Self::Miscounted
                | Self::Unblock
                | Self::Unknown { .. }
                | Self::WhoAmI
                | Self::ScriptKill
        )
    }

    /// Whether the request says who the client wants to be.
    pub(crate) fn is_login(&self) -> bool {
        matches!(self, Self::Auth(_) | Self::Hello { login: Some(_), .. })
    }

    /// Whether the request needs a dedicated connection.
    pub(crate) fn is_dedicated(&self) -> bool {
        matches!(
            self,
            Self::Multi
                | Self::Watch { .. }
                | Self::Pop { .. }
                | Self::Subscribe { .. }
                | Self::Tracking(true)
                | Self::NoTouch(true)
                | Self::Wait { .. }
        )
    }
}

/// A request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) op: Op,
    pub(crate) at: Moment,
    /// Confirmations that have arrived.
    pub(crate) done: usize,
    pub(crate) asks: Asks,
}

impl Sent {
    /// Whether the server replies.
    pub(crate) fn is_passed_on(&self) -> bool {
        self.op.is_passed_on() || self.asks.command == "echo"
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) worker: usize,
    pub(crate) key: ClientKey,
    pub(crate) script: Script,
    pub(crate) model: Model,
    /// When it last logged in as another user.
    pub(crate) changed: Moment,
    /// Requests that will be answered, in order.
    pub(crate) pending: VecDeque<Sent>,
    /// Requests that must never be executed: an error said so, or they were sent after the end.
    pub(crate) never: Vec<Tag>,
    /// Sent and not yet read by the proxy.
    pub(crate) wire: Vec<u8>,
    /// Sent by the proxy and not yet read by the client.
    pub(crate) kernel: Vec<u8>,
    /// The size of `kernel`.
    pub(crate) room: usize,
    /// Read and not yet checked.
    pub(crate) read: Vec<u8>,
    /// The client reads nothing before this time, ms.
    pub(crate) asleep_until: u64,
    /// The client reads nothing until all other clients are done.
    pub(crate) reads_nothing: bool,
    /// The client writes all its requests before it reads: while its send blocks, it reads nothing.
    pub(crate) writes_first: bool,
    pub(crate) paused: bool,
    /// The kernel has accepted less than the proxy had.
    pub(crate) wants_write: bool,
    /// The client sends no more.
    pub(crate) eof: bool,
    pub(crate) eof_told: bool,
    /// The proxy has noticed the end of input, although it does not read the client.
    pub(crate) gone_told: bool,
    /// When the client last sent anything.
    pub(crate) asked: Moment,
    /// Commands that were refused before a login, since the last login.
    pub(crate) refused: u32,
    /// Commands since its last login that may count as refused: errors, and commands that need no
    /// login.
    pub(crate) possibly_refused: u32,
    /// Replies that say that the backend is unavailable.
    pub(crate) unavailable: u32,
    /// When the client sent the last answered request that needs a dedicated connection.
    pub(crate) held: Moment,
    /// Since then it has always had a request in flight, so all requests may have used that
    /// connection.
    pub(crate) followed: bool,
    /// The client has sent a request that has no reply.
    pub(crate) silent: bool,
    /// When its dedicated connection was lost with state or a request in flight.
    pub(crate) lost_dedicated: Option<Moment>,
    /// The same, if the loss had no other reason.
    pub(crate) maybe_lost_dedicated: bool,
    /// When the proxy closed the connection.
    pub(crate) hung_up: bool,
    pub(crate) hung_up_at: Moment,
    /// A server had blocked the client.
    pub(crate) was_blocked: bool,
    /// A reply said that the connection ends.
    pub(crate) closing: Option<&'static str>,
    /// After the last reply, the connection may end.
    pub(crate) may_close: bool,
    /// The client is closed and checked.
    pub(crate) done: bool,
    /// Clients that tried to kill this client, with the times.
    pub(crate) killers: Vec<(u64, Moment)>,
    /// A client tried to unblock this client.
    pub(crate) unblocked: bool,
}

/// Bytes that the kernel accepts from a client before its send blocks.
const SOCKET_BYTES: usize = 300;

/// Commands that may be refused before a login.
pub(crate) const REFUSED_COMMANDS_MAX: u32 = 64;

impl Client {
    /// Whether the client is stuck in its send, where it reads nothing.
    pub(crate) fn is_stuck_in_send(&self) -> bool {
        self.writes_first && !self.hung_up && self.wire.len() > SOCKET_BYTES
    }

    /// Records a reply: a client without a login is closed after too many refusals.
    pub(crate) fn note_refusal(&mut self, op: &Op, reply: &[u8]) {
        let login = matches!(op, Op::Auth(_) | Op::Hello { login: Some(_), .. });
        let possibly_refused =
            matches!(op, Op::Reset | Op::ReplyOn) || wire::error_text(reply).is_some();
        self.possibly_refused = if login && !possibly_refused {
            0
        } else {
            self.possibly_refused + u32::from(possibly_refused)
        };
        let unavailable = wire::error_text(reply).is_some_and(is_unavailable);
        self.unavailable += u32::from(unavailable);
        match wire::error_text(reply) {
            Some(text) if text.starts_with("NOAUTH") => self.refused += 1,
            None if login => self.refused = 0,
            _ => {}
        }
    }

    /// Whether the script may send the next request.
    pub(crate) fn may_send(&self) -> bool {
        !self.done
            && !self.eof
            && !self.hung_up
            && !self.script.ended
            && self.closing.is_none()
            && self.wire.len() < 1 << 20
            && self.pending.len() < self.script.pending_max
    }

    /// Whether the client has all its replies, and nothing unknown has happened to it.
    pub(crate) fn is_settled(&self) -> bool {
        let unread = self.wire.len() + self.kernel.len() + self.read.len();
        let lost = self.lost_dedicated.is_some() || self.maybe_lost_dedicated;
        let quiet = self.pending.is_empty() && unread == 0 && !self.silent;
        quiet && !lost && !self.done && self.closing.is_none() && !self.may_close
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.done
            && !self.reads_nothing
            && (!self.pending.is_empty() || !self.wire.is_empty() || self.hung_up)
    }
}
