//! The question about the slots of a Redis Cluster, and the answer.

use std::collections::HashSet;

use crate::link::request::Kind;
use crate::proxy::machine::Machine;
use crate::resp::{ReplyScanner, Scan};
use crate::store::key::{InstanceKey, LinkKey};

impl Machine {
    /// The server says that an instance is a Redis Cluster.
    pub(in crate::proxy) fn note_clustered(&mut self, of: InstanceKey) {
        if self.upstreams.is_clustered(of) {
            return;
        }
        self.upstreams.note_clustered(of);
        self.follow_modes(&HashSet::from([of]));
    }

    /// The servers or the labels of these instances say whether they are Redis Clusters.
    pub(in crate::proxy) fn follow_modes(&mut self, of: &HashSet<InstanceKey>) {
        for &of in of {
            let clustered = self.upstreams.is_clustered(of);
            let is_single = self.upstreams.is_single(of);
            self.links.set_clustered(of, clustered, is_single);
        }
    }

    /// Asks for the slots of the clusters that are due.
    pub(in crate::proxy) fn ask_slots(&mut self) {
        for on in self.upstreams.topologies_due(&self.links, self.now) {
            let on = match on {
                Ok(on) => on,
                // A link is opened for requests that wait for the answer.
                Err(Some(pool)) if self.requests.held() > 0 => {
                    if !self.upstreams.is_in_backoff(pool, self.now)
                        && self.upstreams.shared_links(pool).is_empty()
                    {
                        self.open_shared(pool);
                    }
                    continue;
                }
                Err(_) => continue,
            };
            let questions: [&[&[u8]]; 2] = [&[b"CLUSTER", b"INFO"], &[b"CLUSTER", b"SLOTS"]];
            (self.links).ask_all(&mut self.requests, on, Kind::Slots, &questions, self.now);
        }
    }

    /// A node answered the question.
    pub(in crate::proxy) fn slots_answered(&mut self, on: LinkKey, replies: &[u8]) {
        let Some(link) = self.links.get(on) else {
            return;
        };
        let node = (link.instance, link.address);
        let replies = match ReplyScanner::default().scan(replies) {
            Ok(Scan::Complete { len }) => replies.split_at(len.min(replies.len())),
            _ => return,
        };
        let left = self.upstreams.slots_answered(on, node, replies, self.now);
        self.retire_instances(&left);
    }
}
