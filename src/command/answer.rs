//! The replies that the proxy writes by itself, from the arguments and a view of the session.
//!
//! They are the replies of a standalone Redis (or of a node of a Redis Cluster, if the client sees
//! one) to a client without watched keys, tracking and
//! subscriptions. A client with one of these has a dedicated connection, and the backend replies.

use std::net::SocketAddr;

use crate::resp::{Args, Protocol, write};

use super::Topic;
use super::client::Dialect;
use super::cluster_answers;
use super::error_reply::{ErrorReply, shown};

/// A command that [`answer()`] replies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// CLIENT ID.
    ClientId,
    /// CLIENT GETNAME.
    ClientGetName,
    /// CLIENT GETREDIR without tracking.
    ClientGetRedir,
    /// CLIENT TRACKINGINFO without tracking.
    ClientTrackingInfo,
    /// CLIENT TRACKING with anything but ON.
    ClientTrackingOff,
    /// CLIENT CACHING without tracking.
    ClientCaching,
    /// CLIENT CAPA, which only appears in the client's line of CLIENT LIST.
    ClientCapa,
    /// CLIENT NO-EVICT, which has no effect on a shared connection.
    ClientSwitch,
    /// CLIENT NO-TOUCH with anything but ON.
    ClientNoTouchOff,
    /// CLIENT HELP.
    ClientHelp,
    /// CLIENT with an unknown sub-command.
    ClientUnknown,
    /// A command that needs cluster mode.
    ClusterDisabled,
    /// READONLY (true) and READWRITE (false). Valkey accepts them without a cluster too, and shows
    /// them in CLIENT LIST.
    ReadOnly(bool),
    /// CLUSTER HELP.
    ClusterHelp,
    /// EXEC without MULTI.
    Exec,
    /// DISCARD without MULTI.
    Discard,
    /// UNWATCH without WATCH.
    Unwatch,
    /// UNSUBSCRIBE, PUNSUBSCRIBE or SUNSUBSCRIBE without subscriptions.
    Unsubscribe(Topic),
    /// A wrong number of arguments for the command with this full name.
    Arity(&'static str),
}

/// The part of a client's session that replies depend on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The protocol version of replies.
    pub protocol: Protocol,
    /// The id that the proxy gave the client.
    pub id: u64,
    /// The name from CLIENT SETNAME; empty if there is none.
    pub name: &'a [u8],
    /// The dialect of the client's backend.
    pub dialect: Dialect,
    /// The address of the only node of the Redis Cluster that the client sees. `None`: it sees a
    /// server without cluster support.
    pub node: Option<SocketAddr>,
}

const OK: &str = "OK";

const CLIENT_HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Track the keys of the next command or not, in OPTIN and OPTOUT mode.",
    "CAPA <option> [<option> ...]",
    "    Accepted, without effect.",
    "GETNAME",
    "    Return the name of this connection.",
    "GETREDIR",
    "    Return the id of the client that gets the invalidation messages.",
    "ID",
    "    Return the id of this connection to the proxy.",
    "INFO",
    "    Return what CLIENT LIST says about this connection.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close connections to the proxy by ADDR, LADDR, ID, MAXAGE, TYPE, USER; SKIPME (YES|NO).",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> [<id> ...]]",
    "    Return the connections to the proxy.",
    "NO-EVICT (ON|OFF)",
    "    Accepted, without effect.",
    "NO-TOUCH (ON|OFF)",
    "    Leave the keys' last access as it is; takes a backend connection of its own.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend the clients of the backend, if the proxy allows it.",
    "REPLY (ON|OFF|SKIP)",
    "    Send replies to this connection or not.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Note the name or version of the client's library.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
    "    Switch invalidation messages for client-side caching. REDIRECT means a subscriber.",
    "TRACKINGINFO",
    "    Return the state of tracking.",
    "UNBLOCK <id> [TIMEOUT|ERROR]",
    "    End the blocking command of another connection to the proxy.",
    "UNPAUSE",
    "    End a pause, if the proxy allows it.",
    "HELP",
    "    Print this help.",
];

const CLUSTER_HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "HELP",
    "    Print this help. The proxy presents one server with cluster support disabled.",
];

/// Appends the reply to `out`. `args` begins with the name of the command.
///
/// UNSUBSCRIBE, PUNSUBSCRIBE and SUNSUBSCRIBE have one reply per channel; all others have one.
pub fn answer(answer: Answer, args: Args<'_>, view: &View<'_>, out: &mut Vec<u8>) {
    match (answer, view.node) {
        (Answer::ClusterDisabled | Answer::ClusterHelp, Some(node)) => {
            if !cluster_answers::answer(node, args.clone(), view.protocol, out) {
                let sub = { args }.nth(1).unwrap_or_default();
                write::error(out, &unknown(sub, "cluster", view.dialect));
            }
        }
        (Answer::ReadOnly(_), Some(_)) => write::simple(out, OK),
        _ => answer_as_server(answer, args, view, out),
    }
}

/// Appends the reply to a sub-command of CLUSTER that is administrative, if the node that the
/// client sees needs no server for it. Returns whether it does not.
pub fn answer_as_node(args: Args<'_>, view: &View<'_>, out: &mut Vec<u8>) -> bool {
    let node = view.node;
    node.is_some_and(|node| cluster_answers::answer(node, args, view.protocol, out))
}

fn answer_as_server(answer: Answer, mut args: Args<'_>, view: &View<'_>, out: &mut Vec<u8>) {
    match answer {
        Answer::ClientId => write::integer(out, view.id.cast_signed()),
        Answer::ClientGetName if view.name.is_empty() => write::null(out, view.protocol),
        Answer::ClientGetName => write::bulk(out, view.name),
        Answer::ClientGetRedir => write::integer(out, -1),
        Answer::ClientTrackingInfo => tracking_info(view.protocol, out),
        Answer::ClientTrackingOff => confirm(tracking_off(args), out),
        Answer::ClientCaching => write::error(
            out,
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        ),
        Answer::ClientCapa | Answer::Unwatch => write::simple(out, OK),
        Answer::ClientSwitch | Answer::ClientNoTouchOff => confirm(switch(args), out),
        Answer::ClientHelp => help(CLIENT_HELP, out),
        Answer::ClientUnknown => {
            let sub = args.nth(1).unwrap_or_default();
            write::error(out, &unknown(sub, "client", view.dialect));
        }
        Answer::ReadOnly(_) if view.dialect.is_valkey() => write::simple(out, OK),
        // Redis 6 accepts READWRITE without a cluster, but not READONLY.
        Answer::ReadOnly(false) if view.dialect == Dialect::Redis6 => write::simple(out, OK),
        Answer::ClusterDisabled | Answer::ReadOnly(_) => {
            write::error(out, "ERR This instance has cluster support disabled");
        }
        Answer::ClusterHelp => help(CLUSTER_HELP, out),
        // A wrong EXEC ends a transaction too, so Redis checks the arguments first.
        Answer::Exec if args.len() > 1 => write::error(
            out,
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
             command",
        ),
        Answer::Exec => write::error(out, "ERR EXEC without MULTI"),
        Answer::Discard => write::error(out, "ERR DISCARD without MULTI"),
        Answer::Unsubscribe(topic) => unsubscribe(topic, args, view.protocol, out),
        Answer::Arity(full_name) => match full_name.split_once('|') {
            Some((container, _)) if view.dialect == Dialect::Redis6 => {
                let sub = args.nth(1).unwrap_or_default();
                write::error(out, &unknown(sub, container, view.dialect));
            }
            _ => ErrorReply::arity(full_name).write(out),
        },
    }
}

/// The error for an unknown sub-command.
fn unknown(sub: &[u8], container: &str, dialect: Dialect) -> String {
    let what = match dialect {
        Dialect::Redis6 => "Unknown subcommand or wrong number of arguments for",
        _ => "unknown subcommand",
    };
    let (sub, container) = (shown(sub), container.to_ascii_uppercase());
    format!("ERR {what} '{sub}'. Try {container} HELP.")
}

fn confirm(result: Result<(), ErrorReply>, out: &mut Vec<u8>) {
    match result {
        Ok(()) => write::simple(out, OK),
        Err(refusal) => refusal.write(out),
    }
}

fn help(lines: &[&str], out: &mut Vec<u8>) {
    write::array(out, lines.len());
    for line in lines {
        write::simple(out, line);
    }
}

fn tracking_info(protocol: Protocol, out: &mut Vec<u8>) {
    write::map(out, protocol, 3);
    write::bulk(out, b"flags");
    write::set(out, protocol, 1);
    write::bulk(out, b"off");
    write::bulk(out, b"redirect");
    write::integer(out, -1);
    write::bulk(out, b"prefixes");
    write::array(out, 0);
}

/// CLIENT TRACKING without `ON`. There is nothing to turn off; Redis still checks the options.
fn tracking_off(mut args: Args<'_>) -> Result<(), ErrorReply> {
    const PLAIN_OPTIONS: [&str; 4] = ["bcast", "optin", "optout", "noloop"];
    let switch = args.nth(2).unwrap_or_default();
    while let Some(option) = args.next() {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        let with_value = is("prefix") || is("redirect");
        if with_value && args.next().is_none() || !with_value && !PLAIN_OPTIONS.into_iter().any(is)
        {
            return Err(ErrorReply::SYNTAX);
        }
    }
    if switch.eq_ignore_ascii_case(b"off") {
        Ok(())
    } else {
        Err(ErrorReply::SYNTAX)
    }
}

/// CLIENT NO-EVICT or NO-TOUCH with `ON` or `OFF`.
fn switch(mut args: Args<'_>) -> Result<(), ErrorReply> {
    let value = args.nth(2).unwrap_or_default();
    let valid = value.eq_ignore_ascii_case(b"on") || value.eq_ignore_ascii_case(b"off");
    if valid {
        Ok(())
    } else {
        Err(ErrorReply::SYNTAX)
    }
}

/// Writes one confirmation per channel, or one without a channel when none is given.
fn unsubscribe(topic: Topic, mut args: Args<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let kind = match topic {
        Topic::Channel => "unsubscribe",
        Topic::Pattern => "punsubscribe",
        Topic::Shard => "sunsubscribe",
    };
    args.next();
    let mut channel = args.next();
    loop {
        write::push(out, protocol, 3);
        write::bulk(out, kind.as_bytes());
        match channel {
            Some(channel) => write::bulk(out, channel),
            None => write::null(out, protocol),
        }
        write::integer(out, 0);
        channel = args.next();
        if channel.is_none() {
            return;
        }
    }
}
