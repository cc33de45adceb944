//! Replies to clients with a connection of their own: transactions, subscriptions.

use super::super::client::{Behaviour, Op};
use super::super::tag::{self, Tag};
use super::super::wire;
use super::super::world::World;

/// The proxy knows within this time that a node was replaced, ms.
const REPLACED_MS: u64 = 3_000;

impl World {
    /// Whether this is the reply to an EXEC of these requests.
    pub(super) fn is_exec(
        &mut self,
        index: usize,
        tags: &[Tag],
        reply: &[u8],
    ) -> Result<bool, String> {
        let cluster = &self.clusters[self.clients[index].cluster];
        let aborted = match self.clients[index].protocol {
            3 => b"_\r\n".as_slice(),
            _ => b"*-1\r\n",
        };
        if reply == aborted {
            // A watched key was written.
            self.clients[index].never.extend(tags);
            return Ok(true);
        }
        let elements = wire::elements(reply)?;
        if elements.len() != tags.len() {
            return Ok(false);
        }
        for (element, tag) in elements.iter().zip(tags) {
            let executions = cluster.executions(*tag);
            if executions.len() != 1 || executions[0].reply != *element {
                return Ok(false);
            }
        }
        self.summary.count("transactions", 1);
        Ok(true)
    }

    /// Handles a confirmation or a message of a subscriber.
    pub(super) fn is_message(&mut self, index: usize, reply: &[u8]) -> Result<bool, String> {
        let push = reply.starts_with(b">3") || reply.starts_with(b"*3");
        let subscribes = self.clients[index].behaviour == Behaviour::Subscriber;
        if !push || !subscribes {
            return Ok(false);
        }
        let parts = wire::elements(reply)?;
        let text = |at: usize| parts.get(at).and_then(|part| wire::text(part));
        match text(0) {
            Some(b"subscribe") => {
                let sent = self.clients[index].pending.pop_front();
                match sent.map(|sent| sent.op) {
                    Some(Op::Subscribe(channel)) if text(1) == Some(&channel) => Ok(true),
                    other => Err(format!("a confirmation for {other:?}")),
                }
            }
            Some(b"message") => {
                let message = text(2).unwrap_or_default().to_vec();
                self.check_message(index, message)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Messages of one publisher come in order, once.
    fn check_message(&mut self, index: usize, message: Vec<u8>) -> Result<(), String> {
        let client = &self.clients[index];
        let Some(tag) = tag::find(&message) else {
            return Err("a message that nobody published".into());
        };
        let publisher = tag::client(tag) as usize - 1;
        if self.clients[publisher].cluster != client.cluster {
            return Err(format!("client {} got {tag} of another tenant", client.id));
        }
        let earlier = client.messages.iter().filter_map(|it| tag::find(it));
        let last = earlier
            .filter(|it| tag::client(*it) == tag::client(tag))
            .max();
        if last.is_some_and(|last| last >= tag) {
            return Err(format!("client {} got {tag} after {last:?}", client.id));
        }
        self.clients[index].messages.push(message);
        self.summary.count("messages", 1);
        Ok(())
    }

    /// The proxy has closed a client: it must have a reason.
    pub(crate) fn check_closed(&self, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        let since = client.pending.front().map_or(self.now, |sent| sent.at);
        let since = since.min(self.now.saturating_sub(200));
        let lost = self.losses[client.cluster]
            .iter()
            .any(|(at, _)| *at >= since);
        // A node that serves no slots any more loses the clients that have a dedicated connection
        // to it.
        let cluster = &self.clusters[client.cluster];
        let from = self.now.saturating_sub(REPLACED_MS);
        let changed = cluster.troubles.between(from, self.now).next().is_some();
        let left = client.behaviour != Behaviour::Plain && changed;
        match lost || left {
            true => Ok(()),
            false => Err(format!("client {} was closed", client.id)),
        }
    }
}
