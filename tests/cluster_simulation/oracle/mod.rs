//! What a reply must be: that of the nodes that executed its request, in order, once.

use super::client::{Behaviour, Op, Sent};
use super::cluster::Execution;
use super::wire;
use super::world::World;

mod audit;
mod dedicated;
mod errors;
mod latency;
mod merged;

impl World {
    /// A client has read a reply or a message.
    pub(crate) fn hear(&mut self, index: usize, reply: &[u8]) -> Result<(), String> {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
        if self.is_message(index, reply)? {
            self.note(|| format!("client {} gets {shown:?}", index + 1));
            return Ok(());
        }
        let Some(sent) = self.clients[index].pending.pop_front() else {
            return Err(format!("client {} got {shown:?} unasked", index + 1));
        };
        self.note(|| format!("client {} reads {shown:?} for {}", index + 1, sent.tag));
        self.judge(index, &sent, reply)
            .map_err(|why| format!("client {}: {shown:?} for {sent:?}: {why}", index + 1))?;
        self.check_latency(index, &sent)?;
        self.summary.count("requests", 1);
        Ok(())
    }

    fn judge(&mut self, index: usize, sent: &Sent, reply: &[u8]) -> Result<(), String> {
        if !self.knows_cluster(index, sent) && self.may_be_wrong(index, sent) {
            return Ok(());
        }
        let cluster = &self.clusters[self.clients[index].cluster];
        let executions = cluster.executions(sent.tag);
        if let Some(text) = wire::error_text(reply) {
            let same = |it: &Execution| it.reply == reply;
            // A script chooses the text of its error.
            if matches!(sent.op, Op::Script(_)) && executions.iter().any(same) {
                return Ok(());
            }
            let text = text.to_owned();
            return self.judge_error(index, sent, &text);
        }
        let right = match &sent.op {
            Op::Login => {
                let hello = self.clients[index].protocol == 3;
                let right = match hello {
                    true => reply.starts_with(b"%") && !contains(reply, b"cluster"),
                    false => reply == b"+OK\r\n",
                };
                self.clients[index].logged_in = right;
                right
            }
            Op::Select | Op::Multi | Op::Watch => reply == b"+OK\r\n",
            Op::Queued => reply == b"+QUEUED\r\n",
            Op::One { .. } | Op::Script(_) | Op::Block(_) => {
                self.clients[index].heard.push((sent.tag, reply.to_vec()));
                self.clusters[self.clients[index].cluster]
                    .executions(sent.tag)
                    .iter()
                    .any(|it| it.reply == reply)
            }
            Op::Values(slots) => merged::is_values(reply, slots, executions)?,
            Op::Sum(slots, least) => merged::is_sum(reply, slots, *least, executions)?,
            Op::DbSize => self.is_size(index, sent, reply)?,
            Op::Keys => self.are_keys(index, sent, reply)?,
            Op::CrossSlot { queued } => *queued && reply == b"+QUEUED\r\n",
            Op::Exec { tags, fails } => !fails && self.is_exec(index, tags, reply)?,
            Op::Subscribe(_) => false,
        };
        if matches!(sent.op, Op::Block(_)) && reply.starts_with(b"*2") {
            self.summary.count("elements popped", 1);
        }
        match right {
            true => Ok(()),
            false => {
                let cluster = &self.clusters[self.clients[index].cluster];
                let executions = cluster.executions(sent.tag);
                Err(format!("a wrong reply, executed as {executions:?}"))
            }
        }
    }
}

impl World {
    /// Whether the proxy knew the slots of the client's cluster when it got this request.
    fn knows_cluster(&self, index: usize, sent: &Sent) -> bool {
        let client = &self.clients[index];
        let known = self.known[client.worker][client.cluster];
        known.is_some_and(|known| sent.at > known + KNOWN_MS)
    }
}

impl World {
    /// Whether the proxy may take the node for a server of its own: one without HELLO, until its
    /// first MOVED.
    pub(super) fn may_be_single(&self, index: usize, sent: &Sent) -> bool {
        let hello = self.clusters[self.clients[index].cluster].plan.hello;
        !hello && !self.knows_cluster(index, sent)
    }

    /// Whether a request may get a wrong reply before the proxy knows the slots: a transaction and
    /// a blocked client go to any node.
    fn may_be_wrong(&self, index: usize, sent: &Sent) -> bool {
        let client = &self.clients[index];
        let dedicated = matches!(
            client.behaviour,
            Behaviour::Transactions | Behaviour::Blocking
        );
        let several = sent.op.is_for_several() || matches!(sent.op, Op::Script(_));
        dedicated || several && self.may_be_single(index, sent)
    }
}

/// After a node has said who serves the slots, the reply and earlier requests may be on their way,
/// ms.
const KNOWN_MS: u64 = 100;

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
