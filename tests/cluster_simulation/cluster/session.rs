//! A connection to a node: its login and protocol, and the commands that are about it.

use std::collections::BTreeMap;

use super::super::wire;
use super::blocking::Blocked;
use super::transactions::Queue;
use super::{Cluster, Node};

/// The password of every user.
pub(crate) const PASSWORD: &str = "secret";

const NOAUTH: &str = "NOAUTH Authentication required.";

#[derive(Debug, Default)]
pub(crate) struct Session {
    logged_in: bool,
    pub(crate) protocol: u8,
    /// ASKING was the last command.
    pub(super) asking: bool,
    pub(super) queue: Option<Queue>,
    /// The watched keys with their versions.
    pub(super) watched: BTreeMap<Vec<u8>, u64>,
    pub(super) blocked: Option<Blocked>,
    pub(super) channels: Vec<Vec<u8>>,
    /// Replies and messages that are not sent yet.
    pub(crate) output: Vec<u8>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            protocol: 2,
            ..Self::default()
        }
    }

    /// When a blocked command ends without an element.
    pub(super) fn due(&self) -> Option<u64> {
        self.blocked.as_ref().map(|blocked| blocked.until)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub(super) fn null(&self) -> Vec<u8> {
        match self.protocol {
            3 => b"_\r\n".to_vec(),
            _ => b"$-1\r\n".to_vec(),
        }
    }

    pub(super) fn null_array(&self) -> Vec<u8> {
        match self.protocol {
            3 => b"_\r\n".to_vec(),
            _ => b"*-1\r\n".to_vec(),
        }
    }
}

impl Node {
    pub(super) fn session(&mut self, id: u64) -> &mut Session {
        self.sessions.get_mut(&id).unwrap()
    }
}

impl Cluster {
    /// A command about the connection or the cluster. `None`: it is another one.
    pub(super) fn connection_command(
        &mut self,
        node: usize,
        id: u64,
        (name, args): (&str, &[Vec<u8>]),
    ) -> Result<Option<Vec<u8>>, String> {
        let hello = self.plan.hello;
        let session = self.nodes[node].session(id);
        Ok(Some(match name {
            "AUTH" => {
                session.logged_in = args.last().is_some_and(|it| it == PASSWORD.as_bytes());
                match session.logged_in {
                    true => b"+OK\r\n".to_vec(),
                    false => wire::error("WRONGPASS invalid username-password pair"),
                }
            }
            "HELLO" if !hello => wire::error("ERR unknown command 'HELLO'"),
            _ if !session.logged_in => wire::error(NOAUTH),
            "HELLO" => {
                session.protocol = match args.get(1).map(|version| version.as_slice()) {
                    Some(b"3") => 3,
                    Some(_) => 2,
                    None => session.protocol,
                };
                let protocol = session.protocol;
                self.hello(node, protocol, id)
            }
            "ASKING" => {
                session.asking = true;
                self.happened.asked += 1;
                b"+OK\r\n".to_vec()
            }
            // The question about blocking commands.
            "COMMAND" if !hello => wire::error("ERR unknown subcommand"),
            "COMMAND" => b"*1\r\n$5\r\nblpop\r\n".to_vec(),
            "SELECT" => match args.get(1).map(|db| db.as_slice()) {
                Some(b"0") => b"+OK\r\n".to_vec(),
                _ => wire::error("ERR DB index is out of range"),
            },
            "CLUSTER" => match args.get(1).map(|sub| sub.to_ascii_uppercase()).as_deref() {
                Some(b"INFO") => self.cluster_info(node),
                Some(b"SLOTS") => self.cluster_slots(node),
                _ => wire::error("ERR unknown subcommand"),
            },
            "CLIENT" => wire::error("ERR syntax error"),
            "ROLE" => b"*1\r\n$6\r\nmaster\r\n".to_vec(),
            "RESET" => return Err("RESET reached a node".into()),
            _ => return Ok(None),
        }))
    }
}
