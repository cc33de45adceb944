//! What CLUSTER replies to a client that sees a Redis Cluster of one node.
//!
//! The node has the address that the client uses, and serves all slots. So a client library for
//! clusters sends everything to it. The errors are those of such a node.

use std::net::{IpAddr, SocketAddr};

use crate::resp::number::parse_i64;
use crate::resp::{Args, Protocol, write};

use super::error_reply::{ErrorReply, shown};
use super::slot::Slot;

/// The bus of a node, which the proxy does not have.
const NO_BUS_PORT: u16 = 0;

const INFO: &str = "cluster_state:ok\r\n\
    cluster_slots_assigned:16384\r\n\
    cluster_slots_ok:16384\r\n\
    cluster_slots_pfail:0\r\n\
    cluster_slots_fail:0\r\n\
    cluster_known_nodes:1\r\n\
    cluster_size:1\r\n\
    cluster_current_epoch:1\r\n\
    cluster_my_epoch:1\r\n\
    cluster_stats_messages_sent:0\r\n\
    cluster_stats_messages_received:0\r\n\
    total_cluster_links_buffer_limit_exceeded:0\r\n";

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return 0: no other node reports failures.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names of <slot>.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "LINKS",
    "    Return nothing: there is no other node.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the shard id.",
    "NODES",
    "    Return the proxy as the only node.",
    "REPLICAS <node-id>",
    "    Return the replicas of a node.",
    "SHARDS",
    "    Return the proxy as the only shard.",
    "SLOTS",
    "    Return the proxy as the node of all slots.",
    "HELP",
    "    Print this help. The proxy presents one node that serves all slots.",
];

/// The node that a client sees.
#[derive(Clone, Copy, Debug)]
struct Node(SocketAddr);

impl Node {
    /// 40 hexadecimal digits, which are the same for the same address.
    fn id(self) -> String {
        let ip = match self.0.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        format!("{:032x}{:04x}0000", u128::from(ip), self.0.port())
    }

    fn ip(self) -> String {
        self.0.ip().to_string()
    }

    fn port(self) -> i64 {
        self.0.port().into()
    }

    /// The error for an id that is not the node's.
    fn check_id(self, id: &[u8]) -> Result<(), ErrorReply> {
        match id == self.id().as_bytes() {
            true => Ok(()),
            false => Err(ErrorReply::new(format!("ERR Unknown node {}", shown(id)))),
        }
    }
}

/// Appends the reply of the node at this address to ASKING, or to a sub-command of CLUSTER that
/// needs no server. `args` begins with the name of the command. Returns `false` for a sub-command
/// without a reply here.
pub(super) fn answer(
    at: SocketAddr,
    mut args: Args<'_>,
    protocol: Protocol,
    out: &mut Vec<u8>,
) -> bool {
    let argc = args.len();
    let node = Node(SocketAddr::new(at.ip().to_canonical(), at.port()));
    args.next();
    let Some(sub) = args.next() else {
        // ASKING.
        write::simple(out, "OK");
        return true;
    };
    let sub = sub.to_ascii_lowercase();
    let Some((name, words, only)) = arity(&sub) else {
        return false;
    };
    if argc < words || only && argc > words {
        ErrorReply::arity(name).write(out);
        return true;
    }
    let first = args.next().unwrap_or_default();
    match &sub[..] {
        b"help" => {
            write::array(out, HELP.len());
            HELP.iter().for_each(|line| write::simple(out, line));
        }
        b"info" => write::verbatim(out, protocol, INFO.as_bytes()),
        b"nodes" => write::verbatim(out, protocol, nodes(node).as_bytes()),
        b"slots" => slots(node, protocol, out),
        b"shards" => shards(node, protocol, out),
        b"myid" | b"myshardid" => write::bulk(out, node.id().as_bytes()),
        b"links" => write::array(out, 0),
        b"keyslot" => write::integer(out, Slot::of(first).number().into()),
        b"replicas" | b"slaves" => reply(node.check_id(first), out, |out| write::array(out, 0)),
        b"count-failure-reports" => {
            reply(node.check_id(first), out, |out| write::integer(out, 0));
        }
        _ => refusal(&sub, node, first).write(out),
    }
    true
}

/// The full name of a sub-command that is answered here, how many words it has, and whether it may
/// have no more.
fn arity(sub: &[u8]) -> Option<(&'static str, usize, bool)> {
    const ALL: &[(&str, usize, bool)] = &[
        ("cluster|addslots", 3, false),
        ("cluster|addslotsrange", 4, false),
        ("cluster|count-failure-reports", 3, true),
        ("cluster|failover", 2, false),
        ("cluster|forget", 3, true),
        ("cluster|help", 2, true),
        ("cluster|info", 2, true),
        ("cluster|keyslot", 3, true),
        ("cluster|links", 2, true),
        ("cluster|myid", 2, true),
        ("cluster|myshardid", 2, true),
        ("cluster|nodes", 2, true),
        ("cluster|replicas", 3, true),
        ("cluster|replicate", 3, true),
        ("cluster|shards", 2, true),
        ("cluster|slaves", 3, true),
        ("cluster|slots", 2, true),
    ];
    let named = |(name, ..): &&(&str, usize, bool)| {
        name.strip_prefix("cluster|").map(str::as_bytes) == Some(sub)
    };
    ALL.iter().find(named).copied()
}

fn reply(checked: Result<(), ErrorReply>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    match checked {
        Ok(()) => write(out),
        Err(error) => error.write(out),
    }
}

/// The error of the only node of a cluster, which is a primary, for a command that would change
/// the cluster.
fn refusal(sub: &[u8], node: Node, first: &[u8]) -> ErrorReply {
    let own = node.check_id(first);
    match (sub, own) {
        (b"failover", _) => ErrorReply::fixed("ERR You should send CLUSTER FAILOVER to a replica"),
        (b"forget", Ok(())) => ErrorReply::fixed("ERR I tried hard but I can't forget myself..."),
        (b"replicate", Ok(())) => ErrorReply::fixed("ERR Can't replicate myself"),
        (b"forget" | b"replicate", Err(unknown)) => unknown,
        _ => match parse_i64(first).and_then(|slot| Slot::new(u16::try_from(slot).ok()?)) {
            Some(slot) => ErrorReply::new(format!("ERR Slot {} is already busy", slot.number())),
            None => ErrorReply::fixed("ERR Invalid or out of range slot"),
        },
    }
}

fn nodes(node: Node) -> String {
    let (id, ip, port) = (node.id(), node.ip(), node.port());
    format!("{id} {ip}:{port}@{NO_BUS_PORT} myself,master - 0 0 1 connected 0-16383\n")
}

fn slots(node: Node, protocol: Protocol, out: &mut Vec<u8>) {
    write::array(out, 1);
    write::array(out, 3);
    all_slots(out);
    write::array(out, 4);
    write::bulk(out, node.ip().as_bytes());
    write::integer(out, node.port());
    write::bulk(out, node.id().as_bytes());
    write::map(out, protocol, 0);
}

fn shards(node: Node, protocol: Protocol, out: &mut Vec<u8>) {
    write::array(out, 1);
    write::map(out, protocol, 2);
    write::bulk(out, b"slots");
    write::array(out, 2);
    all_slots(out);
    write::bulk(out, b"nodes");
    write::array(out, 1);
    write::map(out, protocol, 7);
    let (id, ip) = (node.id(), node.ip());
    let texts = [("id", &*id), ("ip", &ip), ("endpoint", &ip)];
    let texts = texts
        .into_iter()
        .chain([("role", "master"), ("health", "online")]);
    for (name, text) in texts {
        write::bulk(out, name.as_bytes());
        write::bulk(out, text.as_bytes());
    }
    for (name, number) in [("port", node.port()), ("replication-offset", 0)] {
        write::bulk(out, name.as_bytes());
        write::integer(out, number);
    }
}

/// The first and the last slot.
fn all_slots(out: &mut Vec<u8>) {
    write::integer(out, 0);
    write::integer(out, i64::from(Slot::COUNT) - 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::read::{self, Elements};

    const ID: &str = "00000000000000000000ffff0a00000118ea0000";

    fn said(line: &str, protocol: Protocol) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        write::command(&mut frame, &words);
        let at = "[::ffff:10.0.0.1]:6378".parse().unwrap();
        if !answer(at, Args::new(&frame), protocol, &mut out) {
            return String::new();
        }
        assert!(read::is_complete(&out), "{line}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_node_serves_all_slots() {
        let said = |line| said(line, Protocol::Resp2);
        let node = format!("$8\r\n10.0.0.1\r\n:6378\r\n$40\r\n{ID}\r\n*0\r\n");
        let slots = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n{node}");
        assert_eq!(said("cluster slots"), slots);
        let nodes = format!("{ID} 10.0.0.1:6378@0 myself,master - 0 0 1 connected 0-16383\n");
        assert_eq!(
            said("CLUSTER NODES"),
            format!("${}\r\n{nodes}\r\n", nodes.len())
        );
        assert_eq!(said("CLUSTER MYID"), format!("$40\r\n{ID}\r\n"));
        assert_eq!(said("CLUSTER KEYSLOT {123456789}x"), ":12739\r\n");
        assert_eq!(said("CLUSTER LINKS"), "*0\r\n");
        let own = format!("CLUSTER REPLICAS {ID}");
        assert_eq!(said(&own), "*0\r\n");
        let reports = format!("CLUSTER COUNT-FAILURE-REPORTS {ID}");
        assert_eq!(said(&reports), ":0\r\n");
        assert_eq!(said("asking"), "+OK\r\n");
        assert!(said("CLUSTER INFO").contains("cluster_slots_ok:16384"));
        assert!(said("CLUSTER HELP").starts_with("*27\r\n+CLUSTER"));
    }

    #[test]
    fn shards_are_arrays_or_maps() {
        for (protocol, lengths) in [(Protocol::Resp2, (4, 14)), (Protocol::Resp3, (4, 14))] {
            let text = said("CLUSTER SHARDS", protocol);
            let shard = Elements::new(text.as_bytes()).unwrap().next().unwrap();
            let mut fields = Elements::new(shard).unwrap();
            let nodes = fields.nth(3).unwrap();
            let node = Elements::new(nodes).unwrap().next().unwrap();
            assert_eq!((4, Elements::new(node).unwrap().count()), lengths);
        }
        assert!(said("CLUSTER SLOTS", Protocol::Resp3).ends_with("%0\r\n"));
        assert!(said("CLUSTER NODES", Protocol::Resp3).starts_with("=101\r\ntxt:"));
    }

    #[test]
    fn commands_that_make_no_sense_get_the_errors_of_a_node() {
        for (line, error) in [
            (
                "CLUSTER FAILOVER",
                "You should send CLUSTER FAILOVER to a replica",
            ),
            ("CLUSTER ADDSLOTS 5", "Slot 5 is already busy"),
            (
                "CLUSTER ADDSLOTSRANGE 16384 1",
                "Invalid or out of range slot",
            ),
            ("CLUSTER REPLICAS x", "Unknown node x"),
            ("CLUSTER COUNT-FAILURE-REPORTS x", "Unknown node x"),
            ("CLUSTER FORGET x", "Unknown node x"),
            (&format!("CLUSTER REPLICATE {ID}"), "Can't replicate myself"),
            (
                "CLUSTER KEYSLOT",
                "wrong number of arguments for 'cluster|keyslot' command",
            ),
        ] {
            assert_eq!(
                said(line, Protocol::Resp2),
                format!("-ERR {error}\r\n"),
                "{line}"
            );
        }
        for line in [
            "CLUSTER NONE",
            "CLUSTER MEET 127.0.0.1 1",
            "CLUSTER COUNTKEYSINSLOT 1",
        ] {
            assert_eq!(said(line, Protocol::Resp2), "", "{line}");
        }
    }
}
