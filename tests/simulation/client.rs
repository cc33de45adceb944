//! A fake client: its end of the connection, and what it asked for and has not been answered.

use std::collections::VecDeque;

use elika::proxy::ClientKey;

use super::oracle::Model;
use super::redis::{Moment, Tag};
use super::script::{Asks, Script};
use super::wire;

/// As whom a client wants to log in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// As it says; `None`: the password only.
    pub(crate) name: Option<String>,
    pub(crate) password: String,
}

impl Login {
    /// Does nobody else have this password?
    pub(crate) fn is_unique(&self) -> bool {
        self.password.contains('-')
    }
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
    /// With a message, or without.
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
    /// WAIT for so many replicas and so long, 0: for ever.
    Wait {
        replicas: u64,
        ms: u64,
    },
    /// SCRIPT KILL.
    ScriptKill,
    /// A command that no server knows.
    Unknown {
        tag: Tag,
    },
    /// A command that nobody may give.
    Denied(&'static str),
    Malformed,
    /// An HTTP request: hung up on without a word.
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

    /// Is it passed on to a server that keeps no book of it?
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

    /// Does it need a connection of its own?
    pub(crate) fn is_own(&self) -> bool {
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

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) op: Op,
    pub(crate) at: Moment,
    /// Confirmations that have come.
    pub(crate) done: usize,
    pub(crate) asks: Asks,
}

impl Sent {
    /// Is it the server that answers?
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
    /// It writes all that it has to say before it reads: while its send blocks, it reads nothing.
    pub(crate) hasty: bool,
    pub(crate) paused: bool,
    /// The kernel took less than the proxy had.
    pub(crate) wants_write: bool,
    /// It will send no more.
    pub(crate) eof: bool,
    pub(crate) eof_told: bool,
    /// The proxy heard that it will send no more, though it does not read it.
    pub(crate) gone_told: bool,
    /// When it last sent anything.
    pub(crate) asked: Moment,
    /// Commands refused before a login, since the last one.
    pub(crate) refused: u32,
    /// Commands since its last login that may count as such: errors, and what needs no login.
    pub(crate) vain: u32,
    /// When it sent what it last heard a reply to and that needs a connection of its own.
    pub(crate) held: Moment,
    /// Whatever became of that, it had a request under way ever since: all may have gone there.
    pub(crate) followed: bool,
    /// It has asked for something to which no reply comes.
    pub(crate) silent: bool,
    /// When its own connection was lost, with something held there or under way.
    pub(crate) bereft: Option<Moment>,
    /// The same, if that was not for another reason.
    pub(crate) maybe_bereft: bool,
    /// The proxy hung up, and when.
    pub(crate) hung_up: bool,
    pub(crate) hung_up_at: Moment,
    /// A server was waiting for something to come for it.
    pub(crate) was_blocked: bool,
    /// A reply said that this is the end.
    pub(crate) closing: Option<&'static str>,
    /// The last reply left it open whether this is the end.
    pub(crate) may_close: bool,
    /// All over, and judged.
    pub(crate) done: bool,
    /// Clients that tried to kill it, and when.
    pub(crate) killers: Vec<(u64, Moment)>,
    /// Somebody tried to end its blocking command.
    pub(crate) unblocked: bool,
}

/// What the kernel takes of a client's bytes before its send blocks.
const SOCKET_BYTES: usize = 300;

/// Commands that are refused before a login.
pub(crate) const REFUSED_COMMANDS_MAX: u32 = 64;

impl Client {
    /// Is it stuck in its send, where it reads nothing?
    pub(crate) fn is_stuck_in_send(&self) -> bool {
        self.hasty && !self.hung_up && self.wire.len() > SOCKET_BYTES
    }

    /// Notes a reply: a client without a login is refused so often, and then closed.
    pub(crate) fn note_refusal(&mut self, op: &Op, reply: &[u8]) {
        let login = matches!(op, Op::Auth(_) | Op::Hello { login: Some(_), .. });
        let vain = matches!(op, Op::Reset | Op::ReplyOn) || wire::error_text(reply).is_some();
        self.vain = if login && !vain {
            0
        } else {
            self.vain + u32::from(vain)
        };
        match wire::error_text(reply) {
            Some(text) if text.starts_with("NOAUTH") => self.refused += 1,
            None if login => self.refused = 0,
            _ => {}
        }
    }

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

    /// Has it heard all that there is to hear, and nothing happened that nobody knows of?
    pub(crate) fn is_settled(&self) -> bool {
        let unread = self.wire.len() + self.kernel.len() + self.read.len();
        let lost = self.bereft.is_some() || self.maybe_bereft;
        let quiet = self.pending.is_empty() && unread == 0 && !self.silent;
        quiet && !lost && !self.done && self.closing.is_none() && !self.may_close
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.done
            && !self.wedged
            && (!self.pending.is_empty() || !self.wire.is_empty() || self.hung_up)
    }
}
