//! Requests that several nodes execute in parts: which commands these are, and the way of a part.

use crate::command::keys;
use crate::command::scatter::{self, Merge, Rule};
use crate::command::slot::Slot;
use crate::command::{Dedicated, ErrorReply, Plan};
use crate::link::request::{Held, Kind, Part, PartEnd, Scattered};
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::resp::Args;
use crate::session::client::Hold;
use crate::store::chunk::ChunkList;
use crate::store::key::{ClientKey, InstanceKey};

/// The error of a server that is no part of a Redis Cluster, which a client sees.
const NO_CLUSTER: ErrorReply = ErrorReply::fixed("ERR This instance has cluster support disabled");

/// The error of a server that does not know who serves the slots.
const NOT_SERVED: ErrorReply = ErrorReply::fixed("CLUSTERDOWN Hash slot not served");

/// The errors for commands that need more than one node, and are not split.
const NO_SCAN: ErrorReply =
    ErrorReply::Proxy("ERR elika: SCAN of a Redis Cluster is not supported");
const NO_WAIT: ErrorReply =
    ErrorReply::Proxy("ERR elika: WAIT on a Redis Cluster is not supported");

impl Machine {
    /// Handles a command of a client of a Redis Cluster, unless one node executes it.
    pub(in crate::proxy) fn dispatch_to_nodes(
        &mut self,
        key: ClientKey,
        plan: Plan,
        frame: &[u8],
    ) -> Option<Handled> {
        if !self.upstreams.any_clustered() {
            return None;
        }
        let forwards = match plan {
            Plan::Forward | Plan::Script | Plan::Dedicated(Dedicated::Wait) => true,
            Plan::Admin(_) => self.settings.admin_commands,
            _ => false,
        };
        if !forwards {
            return None;
        }
        // The client's first request gives it an instance. If that fails, so does forwarding.
        let pool = self.clients.get(key)?.pool;
        if !self.upstreams.has_pool(pool) && self.admit(key).is_err() {
            return None;
        }
        self.is_clustered(key)
            .then(|| self.scatter(key, frame))
            .flatten()
    }

    /// Handles a request, unless one node executes it.
    fn scatter(&mut self, key: ClientKey, frame: &[u8]) -> Option<Handled> {
        if let Some(error) = refusal(frame) {
            self.reply_error(key, &error);
            return Some(Handled::Yes);
        }
        match self.scatter_rule(key, frame) {
            Rule::Slot(_) | Rule::AnyPrimary | Rule::Unknown => None,
            Rule::Refused(error) => {
                self.reply_error(key, &error);
                Some(Handled::Yes)
            }
            Rule::EveryPrimary(rule) => {
                let Some(nodes) = self.shards_of(key) else {
                    // Not all nodes are known.
                    return Some(self.hold_unsent(key, frame, &NOT_SERVED));
                };
                let merge = Merge::new(rule, nodes.len());
                let parts: Vec<_> = nodes.iter().map(|&(slot, _)| (slot, frame)).collect();
                Some(self.send_parts(key, merge, &parts))
            }
            Rule::Slots(split) => {
                let parts: Vec<(Slot, Box<[u8]>)> = split
                    .parts()
                    .map(|(slot, frame)| (slot, frame.into()))
                    .collect();
                let parts: Vec<_> = parts
                    .iter()
                    .map(|(slot, frame)| (*slot, &**frame))
                    .collect();
                Some(self.send_parts(key, split.into_merge(), &parts))
            }
        }
    }

    /// All nodes that serve slots. `None`: some are not known.
    fn shards_of(&self, key: ClientKey) -> Option<Vec<(Slot, InstanceKey)>> {
        let pool = self.clients.get(key)?.pool;
        let nodes = self.upstreams.nodes_at(pool)?;
        nodes.is_complete().then(|| nodes.shards())
    }

    /// Sends a request for every node that waited until all are known. Returns `false` if they are
    /// not.
    pub(super) fn send_held_to_all(&mut self, held: &Held) -> bool {
        let rule = self.scatter_rule(held.client, &held.bytes);
        let (Rule::EveryPrimary(rule), Some(nodes)) = (rule, self.shards_of(held.client)) else {
            return false;
        };
        let merge = Merge::new(rule, nodes.len());
        let parts: Vec<_> = nodes
            .iter()
            .map(|&(slot, _)| (slot, &*held.bytes))
            .collect();
        self.spread(held.index, held.client, merge, &parts);
        true
    }

    pub(super) fn send_parts(
        &mut self,
        key: ClientKey,
        merge: Merge,
        parts: &[(Slot, &[u8])],
    ) -> Handled {
        if let Err(refusal) = self.renew_lanes(key) {
            return self.refuse(key, refusal);
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        if parts.iter().any(|(_, frame)| keys::has_several(frame)) {
            // See `route_to_node`.
            client.hold.set(Hold::BARRIER);
        }
        let kind = kind_of(client);
        client.in_flight += 1;
        let record = self.requests.push_held(&mut client.fifo, key, kind);
        self.spread(record, key, merge, parts);
        Handled::Yes
    }

    /// Sends the parts of a request, whose client's record this is.
    fn spread(&mut self, record: u32, key: ClientKey, merge: Merge, parts: &[(Slot, &[u8])]) {
        let request = self.requests.scatter(Scattered {
            record,
            client: key,
            merge,
        });
        self.stats.counters.requests_split += 1;
        let mut not_served = Vec::new();
        NOT_SERVED.write(&mut not_served);
        for (index, &(slot, frame)) in parts.iter().enumerate() {
            let part = self.requests.push_part();
            self.requests.add_part(part, request, index);
            let to = self.node_of(key, Some(slot));
            if !to.is_some_and(|to| self.resend(part, key, to, frame, false)) {
                self.hold(Held::new(part, key, frame, &not_served));
            }
        }
    }

    /// Handles the end of a part. The client gets its reply after the last one.
    pub(in crate::proxy) fn part_ended(&mut self, part: Part, end: &PartEnd) {
        let whole = self.requests.merge_part(part, |merge, index| match end {
            PartEnd::Reply(reply) => merge.part(index, reply),
            PartEnd::Lost(error) => {
                let text = error.strip_prefix(b"-").unwrap_or(error);
                let text = String::from_utf8_lossy(text).trim_end().to_owned();
                merge.lost(index, &ErrorReply::new(text));
            }
        });
        let Some(whole) = whole else { return };
        let Some(client) = self.clients.get_mut(whole.client) else {
            return self.requests.forget(whole.record);
        };
        client.in_flight -= 1;
        let kind = self.requests.get(whole.record).map(|record| record.kind);
        let mut replies = ChunkList::default();
        if kind == Some(Kind::Deliver) {
            let reply = whole.merge.finish(client.protocol);
            self.clients.chunks_mut().append(&mut replies, &reply);
            self.stats.counters.replies += 1;
        }
        let of = (whole.client, whole.record);
        self.clients.answer(&mut self.requests, of, replies);
        self.clients
            .release_parked(&mut self.requests, whole.client);
        self.mark_ready(whole.client);
    }
}

/// Is a command handled by `dispatch_to_nodes`, although it has no keys?
pub(super) fn is_dispatched(frame: &[u8]) -> bool {
    refusal(frame).is_some() || scatter::is_for_all(frame)
}

/// The error for a command that no node gets.
fn refusal(frame: &[u8]) -> Option<ErrorReply> {
    let name = Args::new(frame).next()?;
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match () {
        () if is("cluster") || is("asking") => Some(NO_CLUSTER),
        () if is("scan") => Some(NO_SCAN),
        () if is("wait") || is("waitaof") => Some(NO_WAIT),
        () => None,
    }
}
