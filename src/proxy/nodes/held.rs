//! Requests that no node executes at the moment: they are held, and sent again until a node
//! executes them or they have waited long enough.

use std::collections::HashMap;

use crate::command::scatter;
use crate::command::slot::Slot;
use crate::command::{Dedicated, ErrorReply};
use crate::link::request::{Held, Kind};
use crate::link::verb::Verb;
use crate::proxy::deliver::unanswered::End;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::proxy::nodes::scan;
use crate::resp::Args;
use crate::session::client::Hold;
use crate::store::key::ClientKey;
use crate::store::time::Millis;

/// Between two attempts, ms.
const AGAIN_MS: u64 = 20;

/// Between two looks whether an earlier request has its reply, ms.
const BEHIND_MS: u64 = 1;

impl Machine {
    /// Holds a request. Its client sends no more until it has all replies.
    pub(super) fn hold(&mut self, mut held: Held) {
        held.due = self.now.after(AGAIN_MS);
        if let Some(pool) = self.clients.get(held.client).map(|client| client.pool)
            && let Some(instance) = self.upstreams.instance_of(pool)
        {
            self.upstreams.doubt_slots(instance);
        }
        if let Some(client) = self.clients.get_mut(held.client) {
            client.hold.set(Hold::BARRIER);
        }
        self.stats.counters.requests_held += 1;
        self.requests.hold(held);
    }

    /// Holds a request that cannot be sent now. `error` is its reply if it cannot be sent later.
    pub(in crate::proxy) fn hold_unsent(
        &mut self,
        key: ClientKey,
        (verb, frame): (Verb, &[u8]),
        error: &ErrorReply,
    ) -> Handled {
        let mut reply = Vec::new();
        error.write(&mut reply);
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let kind = kind_of(client);
        let replies = match verb {
            Verb::Confirm(_) => Args::new(frame).len().saturating_sub(1).max(1) as u32,
            _ => 1,
        };
        client.in_flight += replies;
        let index = self.requests.push_held(&mut client.fifo, key, kind);
        if let Some(record) = self.requests.get_mut(index) {
            record.count = replies;
            if verb == Verb::Script {
                record.verb = verb;
            }
        }
        let mut held = Held::new(index, key, frame, &reply);
        held.verb = verb;
        self.hold(held);
        Handled::Yes
    }

    /// There is no dedicated link for a command. Another node of a Redis Cluster may serve its slot
    /// soon.
    pub(in crate::proxy) fn hold_or_refuse(
        &mut self,
        key: ClientKey,
        own: Dedicated,
        refusal: Refusal,
        frame: &[u8],
    ) -> Handled {
        let verb = match own {
            Dedicated::Block => Verb::Block,
            Dedicated::Watch => Verb::Watch,
            Dedicated::Subscribe(topic) => Verb::Confirm(topic),
            _ => return self.refuse(key, refusal),
        };
        match refusal {
            Refusal::Error(error @ ErrorReply::Unavailable(_)) if self.is_clustered(key) => {
                self.hold_unsent(key, (verb, frame), &error)
            }
            refusal => self.refuse(key, refusal),
        }
    }

    /// Holds a request of a link that ended, whose bytes are these; it was not executed, or it only
    /// reads. `error`: see [`hold_unsent`](Self::hold_unsent).
    pub(in crate::proxy) fn hold_lost(&mut self, index: u32, bytes: Option<&[u8]>, error: &[u8]) {
        let Some((request, bytes)) = self.requests.get(index).zip(bytes) else {
            return self.answer_lost(index, error, End::Error);
        };
        if request.kind == Kind::Batch && !self.requests.is_transaction(index) {
            return self.answer_lost(index, error, End::Error);
        }
        let client = self
            .requests
            .client_of_part(index)
            .unwrap_or(request.client);
        self.hold(Held::new(index, client, bytes, error));
    }

    /// Sends the requests that are due again, in the order in which they began to wait.
    pub(in crate::proxy) fn resend_held(&mut self) {
        if self.requests.next_held().is_none_or(|due| self.now < due) {
            return;
        }
        let mut behind: HashMap<(ClientKey, Option<Slot>), Option<u32>> = HashMap::new();
        for mut held in self.requests.take_held() {
            let place = (held.client, held.slot);
            if !self.clients.contains(held.client) {
                self.answer_lost(held.index, &held.reply, End::Error);
                continue;
            }
            let waits = |index: &u32| !self.requests.is_answered(*index, held.client);
            held.behind = held.behind.filter(waits);
            if let Some(&earlier) = behind.get(&place) {
                (held.behind, held.due) = (earlier, self.now.after(BEHIND_MS));
            } else if held.behind.is_some() {
                held.due = self.now.after(BEHIND_MS);
            } else if self.now < held.due {
                // It goes on waiting.
            } else if self.requests.held_ms(&held) >= self.settings.cluster_hold_ms
                || self.was_left(&held) == Some(false)
            {
                self.answer_lost(held.index, &held.reply, End::Error);
                continue;
            } else if self.was_left(&held).is_some() && self.send_held(&held) {
                behind.insert(place, Some(held.index));
                continue;
            } else {
                held.due = self.now.after(AGAIN_MS);
            }
            behind.entry(place).or_insert(held.behind);
            self.requests.hold(held);
        }
    }

    /// Has the slot of a request left its node, as the reply says? `None`: the slots have not been
    /// learned since.
    fn was_left(&self, held: &Held) -> Option<bool> {
        let Some(doubt) = held.doubt else {
            return Some(true);
        };
        let pool = self.clients.get(held.client)?.pool;
        let nodes = self.upstreams.nodes_at(pool)?;
        let serves = nodes.address_of(held.slot?)?;
        let left = doubt.node != Some(serves) && doubt.named.is_none_or(|it| it == serves);
        (nodes.learned() != doubt.learned).then_some(left)
    }

    fn send_held(&mut self, held: &Held) -> bool {
        if held.slot.is_none() && scatter::is_for_all(&held.bytes) {
            return self.send_held_to_all(held);
        }
        if held.slot.is_none() && scan::is_scan(&held.bytes) {
            self.start_scan(held.index, held.client, &held.bytes);
            return true;
        }
        let to = match held
            .slot
            .filter(|_| self.requests.is_for_one_node(held.index))
        {
            Some(slot) => self.server_of(held.client, slot),
            None => self.node_of(held.client, held.slot),
        };
        // The slots of two parts may have the same node now.
        let to = to.filter(|to| !self.requests.has_other_part(held.index, *to));
        to.is_some_and(|to| {
            let of = (held.index, held.client, held.verb);
            self.resend(of, to, &held.bytes, false)
        })
    }

    /// When requests are sent again, or the slots of a cluster are asked for.
    #[inline]
    pub(in crate::proxy) fn next_of_nodes(&self) -> Option<Millis> {
        if !self.upstreams.any_clustered() {
            return None;
        }
        let all = [self.requests.next_held(), self.upstreams.next_topology()];
        all.into_iter().flatten().min()
    }
}
