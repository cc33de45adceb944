//! Requests that several nodes execute in parts: which commands these are, and the way of a part.

use crate::command::scatter::{self, Merge, Rule};
use crate::command::slot::Slot;
use crate::command::{Dedicated, ErrorReply, Plan, keys};
use crate::link::request::{Gather, Held, Kind, Part, PartEnd, Scattered};
use crate::link::verb::Verb;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::proxy::nodes::past_scripts::goes_past_scripts;
use crate::proxy::nodes::scan::is_scan;
use crate::proxy::texts::NOT_SERVED;
use crate::resp::Args;
use crate::session::client::Hold;
use crate::store::chunk::ChunkList;
use crate::store::key::{ClientKey, InstanceKey};

/// The error of a server that is no part of a Redis Cluster, which a client sees.
const NO_CLUSTER: ErrorReply = ErrorReply::fixed("ERR This instance has cluster support disabled");

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
            Plan::Forward | Plan::Script | Plan::Dedicated(Dedicated::Bypass(None)) => true,
            Plan::Admin(_) | Plan::Dedicated(Dedicated::Bypass(Some(_))) => {
                self.settings.admin_commands
            }
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
        if !self.is_clustered(key) {
            return None;
        }
        match plan {
            Plan::Dedicated(_) => self.send_past_scripts(key, frame),
            _ => self.scatter(key, frame),
        }
    }

    /// Handles a request, unless one node executes it.
    fn scatter(&mut self, key: ClientKey, frame: &[u8]) -> Option<Handled> {
        if let Some(error) = refusal(frame) {
            self.reply_error(key, &error);
            return Some(Handled::Yes);
        }
        if is_scan(frame) {
            return Some(self.scan(key, frame));
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
                    return Some(self.hold_unsent(key, (Verb::Plain, frame), &NOT_SERVED));
                };
                let merge = Merge::new(rule, nodes.len());
                let parts: Vec<_> = nodes.iter().map(|&(slot, _)| (slot, frame)).collect();
                Some(self.send_parts(key, merge, &parts, nodes_of(&nodes)))
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
                Some(self.send_parts(key, split.into_merge(), &parts, Vec::new()))
            }
        }
    }

    /// All nodes that serve slots. `None`: some are not known.
    pub(super) fn shards_of(&self, key: ClientKey) -> Option<Vec<(Slot, InstanceKey)>> {
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
        let of = (held.index, held.client);
        if goes_past_scripts(rule) {
            self.spread_past_scripts(of, rule, nodes, &held.bytes);
            return true;
        }
        let merge = Merge::new(rule, nodes.len());
        let parts: Vec<_> = nodes
            .iter()
            .map(|&(slot, _)| (slot, &*held.bytes))
            .collect();
        self.spread(of, merge, &parts, nodes_of(&nodes));
        true
    }

    pub(super) fn send_parts(
        &mut self,
        key: ClientKey,
        merge: Merge,
        parts: &[(Slot, &[u8])],
        nodes: Vec<InstanceKey>,
    ) -> Handled {
        if let Err(refusal) = self.renew_lanes(key) {
            return self.refuse(key, refusal);
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let kind = kind_of(client);
        client.in_flight += 1;
        if parts.iter().any(|(_, frame)| keys::has_several(frame)) {
            // As for a request with several keys of one slot.
            client.hold.set(Hold::BARRIER);
        }
        let record = self.requests.push_held(&mut client.fifo, key, kind);
        self.spread((record, key), merge, parts, nodes);
        Handled::Yes
    }

    /// Sends the parts of a request, whose client's record this is. `nodes`: see [`Scattered`].
    fn spread(
        &mut self,
        (record, key): (u32, ClientKey),
        merge: Merge,
        parts: &[(Slot, &[u8])],
        nodes: Vec<InstanceKey>,
    ) {
        let request = self.requests.scatter(Scattered {
            record,
            client: key,
            gather: Gather::Merge(merge),
            nodes,
        });
        self.stats.counters.requests_split += 1;
        let mut not_served = Vec::new();
        NOT_SERVED.write(&mut not_served);
        for (index, &(slot, frame)) in parts.iter().enumerate() {
            let part = self.requests.push_part();
            self.requests
                .add_part(part, Part::new(request, index, slot));
            let to = self.node_of(key, Some(slot));
            if !to.is_some_and(|to| self.resend((part, key, Verb::Plain), to, frame, false)) {
                self.hold(Held::new(part, key, frame, &not_served));
            }
        }
    }

    /// Handles the end of a part. The client gets its reply after the last one.
    pub(in crate::proxy) fn part_ended(&mut self, part: Part, end: &PartEnd) {
        if self.requests.piece(part).is_some() {
            return self.piece_ended(part, end);
        }
        let whole = self.requests.merge_part(part, |merge, index| match end {
            PartEnd::Reply(reply) => merge.part(index, reply),
            PartEnd::Lost(error) => {
                let text = error.strip_prefix(b"-").unwrap_or(error);
                let text = String::from_utf8_lossy(text).trim_end().to_owned();
                merge.lost(index, &ErrorReply::new(text));
            }
        });
        let Some(whole) = whole else { return };
        let Some(client) = self.clients.get(whole.client) else {
            return self.requests.forget(whole.record);
        };
        match whole.gather {
            Gather::Merge(merge) => {
                let reply = merge.finish(client.protocol);
                self.answer_held((whole.client, whole.record), &reply);
            }
            Gather::Scan(scan) => {
                self.scan_step_ended((whole.client, whole.record), *scan, end);
            }
            Gather::Transaction(_) => {}
        }
    }

    /// Answers all requests of a record that is in no link's queue with this reply.
    pub(super) fn answer_held(&mut self, (key, record): (ClientKey, u32), reply: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else {
            return self.requests.forget(record);
        };
        let record_of = self.requests.get(record);
        let (kind, count) = record_of.map_or((Kind::Swallow, 0), |it| (it.kind, it.count));
        client.in_flight -= count;
        let mut replies = ChunkList::default();
        if kind == Kind::Deliver {
            for _ in 0..count {
                self.clients.chunks_mut().append(&mut replies, reply);
            }
            self.stats.counters.replies += u64::from(count);
        }
        self.clients
            .answer(&mut self.requests, (key, record), replies);
        self.clients.release_parked(&mut self.requests, key);
        self.mark_ready(key);
    }
}

fn nodes_of(shards: &[(Slot, InstanceKey)]) -> Vec<InstanceKey> {
    shards.iter().map(|(_, node)| *node).collect()
}

/// Is a command handled by `dispatch_to_nodes`, although it has no keys?
pub(super) fn is_dispatched(frame: &[u8]) -> bool {
    let for_all = scatter::is_for_all(frame) && !is_wait(frame);
    refusal(frame).is_some() || for_all || is_scan(frame)
}

/// Is it WAIT or WAITAOF? It is sent on the links that carried the client's writes.
fn is_wait(frame: &[u8]) -> bool {
    let name = Args::new(frame).next();
    let is = |other: &[u8]| name.is_some_and(|name| name.eq_ignore_ascii_case(other));
    is(b"wait") || is(b"waitaof")
}

/// The error for a command that no node gets.
fn refusal(frame: &[u8]) -> Option<ErrorReply> {
    let name = Args::new(frame).next()?;
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match () {
        () if is("cluster") || is("asking") => Some(NO_CLUSTER),
        () => None,
    }
}
