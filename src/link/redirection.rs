//! The errors of a node of a Redis Cluster that say that another node, or the same one later, may
//! execute the request. The request that got one was not executed.

use std::net::{IpAddr, SocketAddr};

use crate::command::slot::Slot;
use crate::link::verb::Verb;
use crate::store::key::{ClientKey, InstanceKey};

/// The longest of these errors, bytes. Host names have at most 253.
const LINE_BYTES_MAX: usize = 512;

/// What such an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirection {
    /// Another node serves the slot. `None`: the node is named by a host name.
    Moved(Slot, Option<SocketAddr>),
    /// The slot is migrating: the other node executes this request, and only behind ASKING.
    Ask(Slot, Option<SocketAddr>),
    /// The node, or the cluster, cannot execute the request at the moment.
    Later,
}

/// A request whose node did not execute it. Its record is in no link's queue.
#[derive(Debug)]
pub(crate) struct Redirected {
    pub index: u32,
    pub client: ClientKey,
    /// The node, and its address.
    pub from: InstanceKey,
    pub at: Option<SocketAddr>,
    pub to: Redirection,
    pub verb: Verb,
    pub bytes: Box<[u8]>,
    /// The reply of the node.
    pub reply: Box<[u8]>,
}

/// What the bytes at the start of a reply are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A redirection of this many bytes.
    Redirection(Redirection, usize),
    /// The beginning of what may be a redirection.
    Unknown,
    Other,
}

impl Redirection {
    /// Reads the start of a reply. `from`: the address of the node, which an error without an
    /// address means.
    pub(crate) fn read(reply: &[u8], from: Option<SocketAddr>) -> Start {
        const WORDS: [&[u8]; 6] = [
            b"-MOVED ",
            b"-ASK ",
            b"-TRYAGAIN ",
            b"-CLUSTERDOWN ",
            b"-LOADING ",
            b"-MASTERDOWN ",
        ];
        let begins = |word: &&[u8]| {
            let common = word.len().min(reply.len());
            word.get(..common) == reply.get(..common)
        };
        if !WORDS.iter().any(begins) {
            return Start::Other;
        }
        let Some(end) = reply.iter().position(|&byte| byte == b'\n') else {
            return match reply.len() < LINE_BYTES_MAX {
                true => Start::Unknown,
                false => Start::Other,
            };
        };
        let line = str::from_utf8(reply.get(..end).unwrap_or_default());
        let redirection = line.ok().and_then(|line| Self::of(line.trim_end(), from));
        redirection.map_or(Start::Other, |it| Start::Redirection(it, end + 1))
    }

    /// A complete reply that is one of these errors, of a node whose address is not known.
    pub(crate) fn of_line(reply: &[u8]) -> Option<Self> {
        match Self::read(reply, None) {
            Start::Redirection(redirection, len) if len == reply.len() => Some(redirection),
            _ => None,
        }
    }

    fn of(line: &str, from: Option<SocketAddr>) -> Option<Self> {
        let mut words = line.split(' ');
        let moved = match words.next()? {
            "-MOVED" => true,
            "-ASK" => false,
            _ => return Some(Self::Later),
        };
        let slot = Slot::new(words.next()?.parse().ok()?)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let host = host.trim_matches(['[', ']']);
        let ip = match host {
            // The node does not know its own address: it is where the request was sent.
            "" | "?" => from.map(|from| from.ip()),
            _ => host.parse::<IpAddr>().ok(),
        };
        let to = ip.map(|ip| SocketAddr::new(ip, port));
        Some(if moved {
            Self::Moved(slot, to)
        } else {
            Self::Ask(slot, to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> Start {
        Redirection::read(reply.as_bytes(), "10.0.0.1:7000".parse().ok())
    }

    #[test]
    fn redirections_name_a_slot_and_an_address() {
        let slot = Slot::new(3999).unwrap();
        let to = |text: &str| text.parse().ok();
        for (reply, redirection) in [
            (
                "-MOVED 3999 127.0.0.1:6381\r\n",
                Redirection::Moved(slot, to("127.0.0.1:6381")),
            ),
            (
                "-MOVED 3999 ::1:6381\r\n",
                Redirection::Moved(slot, to("[::1]:6381")),
            ),
            (
                "-MOVED 3999 :6381\r\n",
                Redirection::Moved(slot, to("10.0.0.1:6381")),
            ),
            (
                "-MOVED 3999 ?:6381\r\n",
                Redirection::Moved(slot, to("10.0.0.1:6381")),
            ),
            (
                "-MOVED 3999 a.example:6381\r\n",
                Redirection::Moved(slot, None),
            ),
            (
                "-ASK 3999 127.0.0.1:6381\r\n",
                Redirection::Ask(slot, to("127.0.0.1:6381")),
            ),
            ("-TRYAGAIN Multiple keys\r\n", Redirection::Later),
            ("-CLUSTERDOWN Hash slot not served\r\n", Redirection::Later),
            ("-LOADING Redis is loading\r\n", Redirection::Later),
            ("-MASTERDOWN Link with MASTER\r\n", Redirection::Later),
        ] {
            assert_eq!(
                read(reply),
                Start::Redirection(redirection, reply.len()),
                "{reply}"
            );
            assert_eq!(read(&format!("{reply}+OK\r\n")), read(reply));
            for cut in 1..reply.len() {
                assert_eq!(read(&reply[..cut]), Start::Unknown, "{reply} {cut}");
            }
        }
    }

    #[test]
    fn other_replies_are_passed_on() {
        for reply in [
            "+MOVED 1 127.0.0.1:1\r\n",
            "-ERR MOVED\r\n",
            "-MOVED\r\n",
            "-MOVED 16384 127.0.0.1:1\r\n",
            "-MOVED 1 127.0.0.1:99999\r\n",
            "-ASKED 1\r\n",
            "$-1\r\n",
        ] {
            assert_eq!(read(reply), Start::Other, "{reply}");
        }
        assert_eq!(read(&format!("-LOADING {}", "x".repeat(600))), Start::Other);
    }
}
