//! The meaning of commands for the proxy.
//!
//! Most commands have one request and one reply, and the proxy only needs to know where both end.
//! This module knows the exceptions: commands that leave state on the connection, commands about
//! the connection, and administrative commands. [`plan()`] classifies a request; [`answer()`]
//! writes the replies that need only the arguments and a [`View`] of the session; the parsers
//! ([`auth`], [`hello`], [`select`], [`client`]) parse the commands that the proxy executes itself.
//! [`scatter`] divides a request among the shards of a Redis Cluster and merges their replies.
//!
//! A request on a shared connection must have exactly one reply. The following requests have more,
//! fewer or late replies, as a PING behind each showed on Redis 6.2, 7.0 and 8.2 and on Valkey 8.1
//! and 9.1:
//!
//! | request | reply | plan |
//! |---|---|---|
//! | failed AUTH, HELLO AUTH | none while replies are pending (1) | separate; not in MULTI |
//! | MONITOR | a line for every command | dedicated |
//! | a second MONITOR | none | not forwarded |
//! | CLIENT REPLY OFF, SKIP | none | executed here |
//! | SUBSCRIBE, UNSUBSCRIBE, … | a confirmation for each channel | dedicated, or answered here |
//! | SYNC, PSYNC | the stream of writes | never |
//! | REPLCONF ACK, GETACK | none | never |
//! | SCRIPT DEBUG YES, EVAL | the debugger's dialogue, then the end | never |
//! | QUIT, RESET, CLIENT KILL | one reply, then the end or a new session | executed here |
//! | SHUTDOWN, DEBUG SEGFAULT, … | the end of the connection | administrative |
//! | DEBUG PROTOCOL PUSH, PUBLISH | in RESP3 a push before the reply | recognised by its type |
//! | POST, Host: | the end of the connection | the client is closed |
//!
//! (1) Redis 7.2 to 8.2 and Valkey up to 8.1; also inside EXEC, whose reply then lacks an element.
//! FAILOVER, CLIENT PAUSE, WAIT, WAITAOF and the other sub-commands of DEBUG have one reply.
//!
//! The module has no state, does no input or output, and knows neither clients nor backends.

mod answer;
pub mod auth;
pub mod blocking;
mod category;
pub mod client;
mod cluster_answers;
mod deny;
mod error_reply;
pub mod hello;
pub mod keys;
mod lookup;
mod name_index;
mod permission;
pub mod proxy_command;
pub mod scan;
pub mod scatter;
mod secret;
pub mod select;
pub mod slot;
mod table;
#[cfg(test)]
mod tests;
pub mod timeout;
mod writes;

pub use answer::{Answer, View, answer, answer_as_node};
pub use category::{
    categories, is_command, is_container, is_paused_with_writes, may_write, only_reads,
};
pub use deny::{DenyList, UNDENIABLE, denied_word};
pub use error_reply::{ErrorReply, denied};
pub use permission::{Permission, Permissions};
pub use writes::always_writes;

use crate::resp::Args;
use table::{Class, Row};

/// The way in which the proxy handles a request of a client on a shared connection.
///
/// When the client has a dedicated connection (for example inside MULTI), the backend answers most
/// of the commands that have an [`Answer`] here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Forward the request on a shared connection. Unknown commands are forwarded too.
    Forward,
    /// Forward the request, and prefer another connection for the requests behind it: a script may
    /// run long, and the server reports that (`-BUSY`) only on other connections.
    Script,
    /// [`answer()`] writes the reply.
    Answer(Answer),
    /// The request changes the client's session or is about clients of the proxy: the proxy
    /// executes it.
    Session(Session),
    /// The request needs a dedicated connection.
    Dedicated(Dedicated),
    /// Forward the request if administrative commands are allowed, else reject it with
    /// [`denied()`]. The name is the full name of ACL error texts (`config|set`).
    Admin(&'static str),
    /// Never forward the request: afterwards the connection does not have one reply per request, or
    /// cannot be shared. The name is the full name.
    Never(&'static str),
    /// The request is HTTP, which a browser was tricked into sending. Close the client without a
    /// reply, as Redis does.
    CrossProtocol,
}

impl Plan {
    /// Do the client's next requests belong to a transaction, if the server accepts this one?
    pub fn begins_transaction(self) -> bool {
        matches!(self, Self::Dedicated(Dedicated::Multi | Dedicated::Watch))
    }

    /// Do the client's next requests mean something else if this one succeeds? They then belong to
    /// a transaction, to another database or to another user.
    pub fn governs_next(self) -> bool {
        let changes = matches!(
            self,
            Self::Session(Session::Auth | Session::Hello | Session::Select)
        );
        changes || self.begins_transaction()
    }

    /// Does the request end the client's transaction, whatever the server replies?
    pub fn ends_transaction(self) -> bool {
        matches!(self, Self::Answer(Answer::Exec | Answer::Discard))
    }
}

/// The reason why a command needs a dedicated connection: it leaves state on the connection or
/// blocks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedicated {
    /// MULTI.
    Multi,
    /// WATCH.
    Watch,
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE.
    Subscribe(Topic),
    /// BLPOP and the like, which may block the connection.
    Block,
    /// WAIT and WAITAOF, which are about the writes on the same connection.
    Wait,
    /// SCRIPT KILL, FUNCTION KILL and FUNCTION STATS, which are sent on another connection than the
    /// running script. `Some` is the full name of an administrative command (the two KILLs);
    /// FUNCTION STATS is not administrative.
    Bypass(Option<&'static str>),
    /// MONITOR, which is also administrative.
    Monitor,
    /// CLIENT TRACKING ON.
    Tracking,
    /// CLIENT NO-TOUCH ON.
    NoTouch,
    /// CLIENT IMPORT-SOURCE (Valkey 8.1), which changes how keys expire for the connection.
    ImportSource,
    /// HIMPORT PREPARE, whose result stays on the connection.
    Prepare,
}

/// The kind of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Channels by name.
    Channel,
    /// Channels by pattern.
    Pattern,
    /// Channels of a cluster's shard.
    Shard,
}

/// A command that the proxy executes: it changes the client's session or is about clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// See [`auth::parse`].
    Auth,
    /// See [`hello::parse`].
    Hello,
    /// See [`select::parse`].
    Select,
    /// RESET: the session gets its initial state.
    Reset,
    /// QUIT: `+OK` after all earlier replies, then close.
    Quit,
    /// See [`client::parse_set_name`].
    ClientSetName,
    /// See [`client::parse_set_info`].
    ClientSetInfo,
    /// See [`client::parse_reply`].
    ClientReply,
    /// See [`client::Filter::parse_list`].
    ClientList,
    /// CLIENT INFO: the [`client::Line`] of the client.
    ClientInfo,
    /// See [`client::Filter::parse_kill`].
    ClientKill,
    /// See [`client::parse_unblock`].
    ClientUnblock,
}

/// Classifies a request. `args` begins with the name of the command.
///
/// The number of arguments is checked for commands that the proxy answers or executes, because
/// Redis checks it before anything else: a wrong number is [`Answer::Arity`].
pub fn plan(mut args: Args<'_>) -> Plan {
    let argc = args.len();
    let Some(name) = args.next() else {
        return Plan::Forward;
    };
    match lookup::find(name) {
        Some(row) => plan_row(row, argc, args),
        None => Plan::Forward,
    }
}

/// Whether the request is forwarded regardless of its arguments. `frame` may end after the name.
pub fn is_plain(frame: &[u8]) -> bool {
    let name = Args::new(frame).next();
    name.is_some_and(|name| lookup::find(name).is_none())
}

/// The plan for a command of the table. `rest` are the arguments after the name.
fn plan_row(row: &'static Row, argc: usize, mut rest: Args<'_>) -> Plan {
    match row.class {
        Class::Answer(answer, arity) if arity.admits(argc) => Plan::Answer(answer),
        Class::Session(session, arity) if arity.admits(argc) => Plan::Session(session),
        Class::Answer(..) | Class::Session(..) => Plan::Answer(Answer::Arity(row.name)),
        Class::Dedicated(own) => Plan::Dedicated(own),
        Class::DedicatedIfBlocking => {
            if blocks(rest) {
                Plan::Dedicated(Dedicated::Block)
            } else {
                Plan::Forward
            }
        }
        Class::DedicatedIfOn(own, off, arity) if arity.admits(argc) => match rest.next() {
            Some(switch) if switch.eq_ignore_ascii_case(b"on") => Plan::Dedicated(own),
            _ => Plan::Answer(off),
        },
        Class::DedicatedIfOn(..) => Plan::Answer(Answer::Arity(row.name)),
        Class::Script => Plan::Script,
        Class::Admin => Plan::Admin(row.name),
        Class::AdminIfSecret => match secret::shows_secret(rest) {
            true => Plan::Admin(row.name),
            false => Plan::Forward,
        },
        Class::Never => Plan::Never(row.name),
        Class::CrossProtocol => Plan::CrossProtocol,
        Class::Container(subs, other) => match (rest.next(), other) {
            (Some(sub), _) => subs
                .iter()
                .find(|row| row.last_name().as_bytes().eq_ignore_ascii_case(sub))
                .map_or(other, |row| plan_row(row, argc, rest)),
            (None, Plan::Answer(_)) => Plan::Answer(Answer::Arity(row.name)),
            (None, _) => other,
        },
    }
}

/// Whether the options of XREAD or XREADGROUP contain `BLOCK`.
///
/// Options end at `STREAMS`; a group, a consumer or a stream may be called `block`. An unknown
/// option does not end the search: a `BLOCK` found by mistake costs a dedicated connection, a
/// `BLOCK` that is missed blocks all clients of a shared connection.
fn blocks(mut options: Args<'_>) -> bool {
    while let Some(option) = options.next() {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("block") {
            return true;
        } else if is("streams") {
            return false;
        } else if is("count") || is("claim") {
            options.next();
        } else if is("group") {
            options.nth(1);
        }
    }
    false
}
