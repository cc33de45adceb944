//! BLPOP: clients that wait at a node for an element.

use super::super::wire;
use super::Cluster;

/// A connection that waits.
#[derive(Debug)]
pub(crate) struct Blocked {
    args: Vec<Vec<u8>>,
    key: Vec<u8>,
    slot: usize,
    pub(super) until: u64,
    /// Connections that waited before are served first.
    order: u64,
}

const UNBLOCKED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed \
    (master -> replica?)";

impl Cluster {
    /// BLPOP with one key. `None`: the connection waits.
    pub(super) fn block(&mut self, node: usize, id: u64, args: &[Vec<u8>]) -> Option<Vec<u8>> {
        let key = args[1].clone();
        let ms = str::from_utf8(args.last()?).ok()?.parse::<f64>().ok()? * 1_000.0;
        let slot = self.slot_of(&key)?;
        self.executions += 1;
        let blocked = Blocked {
            args: args.to_vec(),
            key,
            slot,
            until: self.now + ms as u64,
            order: self.executions,
        };
        self.nodes[node].session(id).blocked = Some(blocked);
        None
    }

    /// Serves connections for whose keys there are elements.
    pub(super) fn serve_blocked(&mut self, node: usize) {
        let mut waiting: Vec<(u64, u64)> = { self.nodes[node].sessions.iter() }
            .filter_map(|(id, session)| Some((session.blocked.as_ref()?.order, *id)))
            .collect();
        waiting.sort_unstable();
        for (_, id) in waiting {
            let blocked = self.nodes[node].session(id).blocked.as_ref();
            let Some(key) = blocked.map(|blocked| blocked.key.clone()) else {
                continue;
            };
            if let Some(element) = self.data_mut(node).pop(&key) {
                let mut reply = b"*2\r\n".to_vec();
                reply.extend(wire::bulk(&key));
                reply.extend(wire::bulk(&element));
                self.end_blocked(node, id, reply, true);
            }
        }
    }

    /// Ends a blocked command with this reply.
    fn end_blocked(&mut self, node: usize, id: u64, reply: Vec<u8>, executed: bool) {
        let session = self.nodes[node].session(id);
        let Some(blocked) = session.blocked.take() else {
            return;
        };
        session.output.extend_from_slice(&reply);
        if executed {
            self.note(node, id, ("BLPOP", &blocked.args), &reply);
        }
    }

    pub(super) fn expire_blocked(&mut self) {
        let now = self.now;
        for node in 0..self.nodes.len() {
            if self.is_silent(node) {
                continue;
            }
            self.end_blocked_if(node, |blocked| blocked.until <= now, None);
        }
    }

    /// A node has heard that a slot is another node's.
    pub(super) fn redirect_blocked(&mut self, node: usize, slot: usize) {
        let to = self.nodes[node].view.owner(slot);
        let error = wire::error(&self.redirection("MOVED", slot, to));
        self.end_blocked_if(node, |blocked| blocked.slot == slot, Some(error));
    }

    /// A node has heard that it is a replica.
    pub(super) fn end_blocked_of_replica(&mut self, node: usize) {
        self.end_blocked_if(node, |_| true, Some(wire::error(UNBLOCKED)));
    }

    /// Ends some blocked commands of a node with an error, or as their time ends.
    fn end_blocked_if(
        &mut self,
        node: usize,
        ends: impl Fn(&Blocked) -> bool,
        error: Option<Vec<u8>>,
    ) {
        let sessions = self.nodes[node].sessions.iter();
        let ending: Vec<u64> = sessions
            .filter(|(_, session)| session.blocked.as_ref().is_some_and(&ends))
            .map(|(id, _)| *id)
            .collect();
        for id in ending {
            let null = self.nodes[node].session(id).null_array();
            self.happened.moved_blocked += u64::from(error.is_some());
            match &error {
                Some(error) => self.end_blocked(node, id, error.clone(), false),
                None => self.end_blocked(node, id, null, true),
            }
        }
    }
}
