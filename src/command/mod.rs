//! What a command means to a proxy.
//!
//! Redis speaks one request and one reply, and for nearly every command a proxy need not know more
//! than where they end. The exceptions are collected here: commands that leave something behind on
//! the connection, commands that ask about the connection, and commands meant for whoever runs the
//! server. [`plan()`] names the exception; [`answer()`] writes the replies that need nothing but
//! the arguments and a [`View`] of the session; the parsers ([`auth`], [`hello`], [`select`],
//! [`client`]) read the commands that the proxy itself carries out.
//!
//! A shared connection must have one reply for each request. These have not, on Redis 6.2, 7.0 and
//! 8.2, and on Valkey 8.1 and 9.1, where each was sent before a PING:
//!
//! | request | what comes | here |
//! |---|---|---|
//! | failed AUTH, HELLO AUTH | nothing while replies are pending (1) | apart; not in MULTI |
//! | MONITOR | a line for every command | dedicated |
//! | a second MONITOR | nothing | not forwarded |
//! | CLIENT REPLY OFF, SKIP | nothing | carried out here |
//! | SUBSCRIBE, UNSUBSCRIBE, … | a confirmation for each channel | dedicated, or answered here |
//! | SYNC, PSYNC | the stream of writes | never |
//! | REPLCONF ACK, GETACK | nothing | never |
//! | SCRIPT DEBUG YES, EVAL | the debugger's dialogue, then the end | never |
//! | QUIT, RESET, CLIENT KILL | one reply, then the end or a new session | carried out here |
//! | SHUTDOWN, DEBUG SEGFAULT, … | the end of the connection | administrative |
//! | DEBUG PROTOCOL PUSH, PUBLISH | in RESP3 a push before the reply | told by its type |
//! | POST, Host: | the end of the connection | the client is closed |
//!
//! (1) Redis 7.2 to 8.2 and Valkey up to 8.1; inside EXEC, too, whose reply then lacks an element.
//! FAILOVER, CLIENT PAUSE, WAIT, WAITAOF and the other sub-commands of DEBUG have one reply.
//!
//! The room is pure: it has no state, does no input or output, and knows neither clients nor
//! backends.

mod answer;
pub mod auth;
mod category;
pub mod client;
mod deny;
pub mod hello;
pub mod learned;
mod lookup;
pub mod marked;
mod permission;
mod refusal;
mod secret;
pub mod select;
mod table;
#[cfg(test)]
mod tests;
mod writes;

pub use answer::{Answer, View, answer};
pub use category::{categories, is_command, is_container, is_held_back, may_write, only_reads};
pub use deny::{Denied, UNDENIABLE};
pub use permission::{Permission, Permissions};
pub use refusal::{Refusal, denied};
pub use writes::writes_if_done;

use crate::resp::Args;
use table::{Class, Row};

/// What the proxy does with a command.
///
/// It is the plan for a client that shares its backend connection. For one that has a connection of
/// its own (inside MULTI, say), that connection answers what is an [`Answer`] here, as far as it
/// knows the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Passed on unseen, on a shared connection; so is every command nobody here has heard of.
    Forward,
    /// Passed on as well, but others had better not stand behind it: a script may run for long, and
    /// only on other connections the server says so.
    Script,
    /// Answered here, by [`answer()`].
    Answer(Answer),
    /// Changes the client's session or asks about clients: the proxy carries it out.
    Session(Session),
    /// Needs a backend connection of its own.
    Own(Own),
    /// Forwarded for those who may administer the backend, refused to others with [`denied()`].
    /// The full name as in Redis's ACL texts (`config|set`).
    Admin(&'static str),
    /// Never forwarded: the connection would no longer speak request and reply, or no longer be fit
    /// to share. The full name.
    Never(&'static str),
    /// An HTTP request sent to us by trickery: close without a word, as Redis does.
    CrossProtocol,
}

/// Why a command needs a connection of its own: what it leaves behind there, or how it stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// MULTI.
    Multi,
    /// WATCH.
    Watch,
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE.
    Subscribe(Topic),
    /// May wait for something to come: nobody else could be served meanwhile.
    Block,
    /// WAIT and WAITAOF: about the writes that went over the very connection.
    Wait,
    /// SCRIPT KILL, FUNCTION KILL and FUNCTION STATS: must not stand behind what they are about.
    /// The full name of those that are administrative.
    Apart(Option<&'static str>),
    /// MONITOR, which is administrative, too.
    Monitor,
    /// CLIENT TRACKING ON.
    Tracking,
    /// CLIENT NO-TOUCH ON.
    NoTouch,
    /// CLIENT IMPORT-SOURCE (Valkey 8.1): how keys expire for this connection.
    ImportSource,
    /// HIMPORT PREPARE: what it prepares stays until the connection ends.
    Prepare,
}

/// What one subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Channels by name.
    Channel,
    /// Channels by pattern.
    Pattern,
    /// Channels of a cluster's shard.
    Shard,
}

/// A command that changes the client's session or asks about clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// See [`auth::parse`].
    Auth,
    /// See [`hello::parse`].
    Hello,
    /// See [`select::parse`].
    Select,
    /// Back to how the connection began.
    Reset,
    /// `+OK` after all earlier replies, then close.
    Quit,
    /// See [`client::parse_set_name`].
    ClientSetName,
    /// See [`client::parse_set_info`].
    ClientSetInfo,
    /// See [`client::parse_reply`].
    ClientReply,
    /// See [`client::Filter::parse_list`].
    ClientList,
    /// One [`client::Line`] about the client itself.
    ClientInfo,
    /// See [`client::Filter::parse_kill`].
    ClientKill,
    /// See [`client::parse_unblock`].
    ClientUnblock,
}

/// Decides what to do with a request; `args` begins with the command's name.
///
/// Commands that the proxy answers or carries out have had their arguments counted afterwards, as
/// Redis counts them before anything else: too few or too many are [`Answer::Arity`].
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

/// Is a request forwarded whatever its arguments are? Only its name has to be there.
pub fn is_plain(frame: &[u8]) -> bool {
    let name = Args::new(frame).next();
    name.is_some_and(|name| lookup::find(name).is_none())
}

/// The plan for a command with a row; `rest` are the arguments after the name.
fn plan_row(row: &'static Row, argc: usize, mut rest: Args<'_>) -> Plan {
    match row.class {
        Class::Answer(answer, arity) if arity.admits(argc) => Plan::Answer(answer),
        Class::Session(session, arity) if arity.admits(argc) => Plan::Session(session),
        Class::Answer(..) | Class::Session(..) => Plan::Answer(Answer::Arity(row.name)),
        Class::Own(own) => Plan::Own(own),
        Class::OwnIfBlocking => {
            if blocks(rest) {
                Plan::Own(Own::Block)
            } else {
                Plan::Forward
            }
        }
        Class::OwnIfOn(own, off, arity) if arity.admits(argc) => match rest.next() {
            Some(switch) if switch.eq_ignore_ascii_case(b"on") => Plan::Own(own),
            _ => Plan::Answer(off),
        },
        Class::OwnIfOn(..) => Plan::Answer(Answer::Arity(row.name)),
        Class::Script => Plan::Script,
        Class::Admin => Plan::Admin(row.name),
        Class::AdminIfSecret => match secret::is_asked_for(rest) {
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

/// Whether the options of XREAD or XREADGROUP ask to wait for entries.
///
/// Options end at `STREAMS`; a group, a consumer or a stream called `block` means nothing.
/// An option unknown here does not end the search: to be wrong costs a connection of its own, to
/// miss one stalls everybody on the shared one.
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
