//! How a node executes commands, and the journal of what it executed.

use super::super::tag::{self, Tag};
use super::super::wire;
use super::data::{Data, is_read};
use super::route::keys;
use super::{Cluster, Execution, Refusal};

/// A command: its name in upper case, and all its arguments with the name.
pub(super) type Command<'a> = (&'a str, &'a [Vec<u8>]);

impl Cluster {
    /// The data that a node uses.
    pub(super) fn data_of(&self, node: usize) -> &Data {
        let at = &self.nodes[node];
        at.stale.as_ref().unwrap_or(&self.data[at.shard])
    }

    pub(super) fn data_mut(&mut self, node: usize) -> &mut Data {
        let at = &mut self.nodes[node];
        at.stale.as_mut().unwrap_or(&mut self.data[at.shard])
    }

    /// Whether a request must wait because its slot is being handed over.
    pub(crate) fn pauses(&self, node: usize, args: &[Vec<u8>]) -> bool {
        let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
        let at = &self.nodes[node];
        let paused = |key: &&[u8]| {
            let slot = self.slot_of(key);
            slot.is_some_and(|slot| at.write_paused.contains(&slot))
        };
        !at.write_paused.is_empty() && !is_read(&name) && keys(&name, args).iter().any(paused)
    }

    /// A node executes a request. The reply is in the output of the connection, unless the request
    /// blocks it. An error is a fault of the proxy.
    pub(crate) fn execute(&mut self, node: usize, id: u64, args: &[Vec<u8>]) -> Result<(), String> {
        let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
        let command = (name.as_str(), args);
        let session = self.nodes[node].session(id);
        let asking = std::mem::take(&mut session.asking);
        let reply = match self.connection_command(node, id, command)? {
            Some(reply) => Some(reply),
            None => self.client_command(node, id, command, asking)?,
        };
        if let Some(reply) = reply
            && let Some(session) = self.nodes[node].sessions.get_mut(&id)
        {
            session.output.extend(reply);
        }
        self.serve_blocked(node);
        Ok(())
    }

    fn client_command(
        &mut self,
        node: usize,
        id: u64,
        command: Command<'_>,
        asking: bool,
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some(reply) = self.transaction_command(node, id, command)? {
            return Ok(Some(reply));
        }
        let (name, args) = command;
        let refused = self
            .route(node, &keys(name, args), asking)
            .and_then(|()| self.readiness(node));
        if let Err(text) = refused {
            self.note_refusal(id, command, &text);
            self.note_refused_in_transaction(node, id);
            return Ok(Some(wire::error(&text)));
        }
        if self.queue_in_transaction(node, id, args) {
            return Ok(Some(b"+QUEUED\r\n".to_vec()));
        }
        match name {
            "BLPOP" => Ok(self.block(node, id, args)),
            "WATCH" => Ok(Some(self.watch(node, id, args))),
            "SUBSCRIBE" => Ok(Some(self.subscribe(node, id, args))),
            _ => self.perform(node, id, command).map(Some),
        }
    }

    /// Executes a command and notes it in the journal.
    pub(super) fn perform(
        &mut self,
        node: usize,
        id: u64,
        command: Command<'_>,
    ) -> Result<Vec<u8>, String> {
        let (name, args) = command;
        let reply = match name {
            "PING" if args.len() == 1 => b"+PONG\r\n".to_vec(),
            "PING" | "ECHO" => wire::bulk(&args[1]),
            "DBSIZE" => integer(self.data_of(node).len()),
            "KEYS" => self.keys(node),
            "PUBLISH" => integer(self.publish(node, &args[1], &args[2])),
            "EVAL" => self.eval(node, args),
            "GET" | "MGET" | "EXISTS" | "TOUCH" => self.read(node, id, command),
            "SET" | "MSET" | "INCR" | "APPEND" | "LPUSH" | "DEL" | "UNLINK" => {
                self.write(node, command)
            }
            _ => return Err(format!("{name} reached a node")),
        };
        self.note(node, id, command, &reply);
        Ok(reply)
    }

    /// Notes an execution.
    pub(super) fn note(&mut self, node: usize, id: u64, command: Command<'_>, reply: &[u8]) {
        let (name, args) = command;
        let slot = keys(name, args).first().and_then(|key| self.slot_of(key));
        let Some(tag) = args.iter().find_map(|arg| tag::find(arg)) else {
            return;
        };
        self.executions += 1;
        let at = &self.nodes[node];
        let all = keys(name, args).into_iter();
        let all = all.filter(|key| tag::find(key).is_none());
        let execution = Execution {
            keys: all.map(<[u8]>::to_vec).collect(),
            at: self.executions,
            session: id,
            shard: at.shard,
            slot,
            protocol: at.sessions.get(&id).map_or(0, |session| session.protocol),
            write: !is_read(name),
            reply: reply.to_vec(),
        };
        self.log.entry(tag).or_default().push(execution);
    }

    fn note_refusal(&mut self, session: u64, (_, args): Command<'_>, text: &str) {
        if let Some(tag) = args.iter().find_map(|arg| tag::find(arg)) {
            self.executions += 1;
            let refusal = Refusal {
                at: self.executions,
                session,
                text: text.to_owned(),
            };
            self.refusals.entry(tag).or_default().push(refusal);
        }
    }

    /// The executions of a request.
    pub(crate) fn executions(&self, tag: Tag) -> &[Execution] {
        self.log.get(&tag).map_or(&[], Vec::as_slice)
    }

    fn read(&mut self, node: usize, id: u64, (name, args): Command<'_>) -> Vec<u8> {
        let null = self.nodes[node].session(id).null();
        let data = self.data_of(node);
        let value = |key: &Vec<u8>| match tag::find(key) {
            Some(_) => wire::bulk(key),
            None => data.text(key).map_or_else(|| null.clone(), wire::bulk),
        };
        match name {
            "GET" => value(&args[1]),
            "MGET" => {
                let mut out = format!("*{}\r\n", args.len() - 1).into_bytes();
                out.extend(args[1..].iter().flat_map(value));
                out
            }
            _ => integer(args[1..].iter().filter(|key| data.has(key)).count()),
        }
    }

    fn write(&mut self, node: usize, (name, args): Command<'_>) -> Vec<u8> {
        let data = self.data_mut(node);
        match name {
            "SET" => data.set(&args[1], args[2].clone()),
            "MSET" => {
                for pair in args[1..].chunks_exact(2) {
                    data.set(&pair[0], pair[1].clone());
                }
            }
            "INCR" => {
                let before = data.text(&args[1]).and_then(|it| str::from_utf8(it).ok());
                let number = before.map_or(0, |it| it.parse().unwrap_or(0)) + 1;
                data.set(&args[1], number.to_string().into_bytes());
                return integer(number);
            }
            "APPEND" => {
                let before = data.text(&args[1]).unwrap_or_default();
                let kept = before.len().saturating_sub(200);
                let text = [&before[kept..], &args[2]].concat();
                let len = text.len();
                data.set(&args[1], text);
                return integer(len);
            }
            "LPUSH" => return integer(data.push(&args[1], args[2].clone())),
            _ => {
                let removed = args[1..].iter().filter(|key| tag::find(key).is_none());
                let removed = removed.filter_map(|key| data.remove(key));
                return integer(removed.count());
            }
        }
        b"+OK\r\n".to_vec()
    }

    fn keys(&self, node: usize) -> Vec<u8> {
        let data = self.data_of(node);
        let mut out = format!("*{}\r\n", data.len()).into_bytes();
        out.extend(data.names().flat_map(|key| wire::bulk(key)));
        out
    }

    /// Scripts: `set` sets its key, `error TEXT` fails with this text, others return their last
    /// argument.
    fn eval(&mut self, node: usize, args: &[Vec<u8>]) -> Vec<u8> {
        let script = String::from_utf8_lossy(&args[1]).into_owned();
        let last = args.last().cloned().unwrap_or_default();
        match script.split_once(' ') {
            Some(("error", text)) => wire::error(text),
            _ => {
                if script == "set" {
                    self.data_mut(node).set(&args[3], last.clone());
                }
                wire::bulk(&last)
            }
        }
    }
}

pub(super) fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}
