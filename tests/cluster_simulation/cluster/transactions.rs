//! MULTI, EXEC and WATCH on a node.

use super::super::wire;
use super::Cluster;
use super::execute::Command;
use super::route::keys;

/// A transaction that has begun.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    commands: Vec<Vec<Vec<u8>>>,
    failed: bool,
}

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

impl Cluster {
    /// A command that begins or ends a transaction. `None`: it is another one.
    pub(super) fn transaction_command(
        &mut self,
        node: usize,
        id: u64,
        (name, _): Command<'_>,
    ) -> Result<Option<Vec<u8>>, String> {
        let session = self.nodes[node].session(id);
        let ok = Some(b"+OK\r\n".to_vec());
        match name {
            "MULTI" if session.queue.is_some() => {
                Ok(Some(wire::error("ERR MULTI calls can not be nested")))
            }
            "MULTI" => {
                session.queue = Some(Queue::default());
                Ok(ok)
            }
            "DISCARD" => {
                let queue = session.queue.take();
                session.watched.clear();
                match queue {
                    Some(_) => Ok(ok),
                    None => Err("DISCARD without MULTI reached a node".into()),
                }
            }
            "UNWATCH" => {
                session.watched.clear();
                Ok(ok)
            }
            "EXEC" => self.exec(node, id).map(Some),
            _ => Ok(None),
        }
    }

    /// Queues a command, if its connection is in a transaction.
    pub(super) fn queue_in_transaction(&mut self, node: usize, id: u64, args: &[Vec<u8>]) -> bool {
        let queue = self.nodes[node].session(id).queue.as_mut();
        let inside = queue.is_some();
        if let Some(queue) = queue {
            queue.commands.push(args.to_vec());
        }
        inside
    }

    pub(super) fn note_refused_in_transaction(&mut self, node: usize, id: u64) {
        if let Some(queue) = self.nodes[node].session(id).queue.as_mut() {
            queue.failed = true;
        }
    }

    fn exec(&mut self, node: usize, id: u64) -> Result<Vec<u8>, String> {
        let session = self.nodes[node].session(id);
        let Some(queue) = session.queue.take() else {
            return Err("EXEC without MULTI reached a node".into());
        };
        let watched = std::mem::take(&mut session.watched);
        let null = session.null_array();
        if queue.failed {
            return Ok(wire::error(ABORTED));
        }
        let commands: Vec<(String, Vec<Vec<u8>>)> = queue
            .commands
            .into_iter()
            .map(|args| {
                let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
                (name, args)
            })
            .collect();
        // The slots are checked again for all commands.
        let mut all: Vec<Vec<u8>> = Vec::new();
        for (name, args) in &commands {
            all.extend(keys(name, args).into_iter().map(<[u8]>::to_vec));
        }
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let refused = self.route(node, &all, false);
        if let Err(text) = refused.and_then(|()| self.readiness(node)) {
            return Ok(wire::error(&text));
        }
        let data = self.data_of(node);
        if watched
            .iter()
            .any(|(key, version)| data.version(key) != *version)
        {
            return Ok(null);
        }
        let mut out = format!("*{}\r\n", commands.len()).into_bytes();
        for (name, args) in &commands {
            out.extend(self.perform(node, id, (name, args))?);
        }
        Ok(out)
    }

    pub(super) fn watch(&mut self, node: usize, id: u64, args: &[Vec<u8>]) -> Vec<u8> {
        for key in &args[1..] {
            let version = self.data_of(node).version(key);
            let watched = &mut self.nodes[node].session(id).watched;
            watched.entry(key.clone()).or_insert(version);
        }
        b"+OK\r\n".to_vec()
    }
}
