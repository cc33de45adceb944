//! SCRIPT KILL, FUNCTION KILL and FUNCTION STATS, which every primary executes. A node that runs a
//! script executes them, and nothing else: they are sent on links with nothing in flight, because
//! the replies on the others come after the end of the script.

use crate::command::ErrorReply;
use crate::command::scatter::{self, CrossSlot, Merge, MergeRule, ResponsePolicy, Rule};
use crate::command::slot::Slot;
use crate::link::link::Link;
use crate::link::request::{Gather, Part, Scattered};
use crate::link::role::Role;
use crate::link::verb::Verb;
use crate::proxy::deliver::unanswered::End;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::proxy::texts::{NOT_SERVED, TOO_MANY_CONNECTIONS};
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};

impl Machine {
    /// Sends a command to every primary, past the scripts that they run.
    pub(super) fn send_past_scripts(&mut self, key: ClientKey, frame: &[u8]) -> Option<Handled> {
        let Rule::EveryPrimary(rule) = scatter::rule(frame, CrossSlot::default()) else {
            return None;
        };
        let Some(nodes) = self.shards_of(key) else {
            return Some(self.hold_unsent(key, (Verb::Plain, frame), &NOT_SERVED));
        };
        let client = self.clients.get_mut(key)?;
        let kind = kind_of(client);
        client.in_flight += 1;
        let record = self.requests.push_held(&mut client.fifo, key, kind);
        self.spread_past_scripts((record, key), rule, nodes, frame);
        Some(Handled::Yes)
    }

    /// Sends a command to these nodes, past the scripts that they run. `record`: its client's.
    pub(super) fn spread_past_scripts(
        &mut self,
        (record, key): (u32, ClientKey),
        rule: MergeRule,
        nodes: Vec<(Slot, InstanceKey)>,
        frame: &[u8],
    ) {
        let like = self.clients.get(key).map(|client| client.pool);
        let like = like.unwrap_or_default();
        let request = self.requests.scatter(Scattered {
            record,
            client: key,
            gather: Gather::Merge(Merge::new(rule, nodes.len())),
            nodes: nodes.iter().map(|(_, node)| *node).collect(),
        });
        for (index, (slot, node)) in nodes.into_iter().enumerate() {
            let part = self.requests.push_part();
            self.requests
                .add_part(part, Part::new(request, index, slot));
            let pool = self.upstreams.pool_on(node, like);
            match self.link_without_requests(pool) {
                Ok(on) => {
                    self.move_record(part, on, frame.len() as u64);
                    self.links.append(on, frame);
                }
                Err(error) => {
                    let mut reply = Vec::new();
                    error.write(&mut reply);
                    self.answer_lost(part, &reply, End::Error);
                }
            }
        }
    }

    /// A shared link of a pool with nothing in flight, or a new one.
    fn link_without_requests(&mut self, pool: PoolKey) -> Result<LinkKey, ErrorReply> {
        let free = |key: &LinkKey| {
            let shared = |link: &Link| link.role() == Role::Shared && link.is_open();
            self.links.get(*key).is_some_and(shared) && self.upstreams.is_clean(*key, &self.links)
        };
        let free = self.upstreams.shared_links(pool).iter().copied().find(free);
        if let Some(error) = self.upstreams.down_error(pool, self.now) {
            return free.ok_or(error);
        }
        free.or_else(|| self.open_shared(pool))
            .ok_or(TOO_MANY_CONNECTIONS)
    }
}

/// Is a command with this rule one of those that a node executes while it runs a script?
pub(super) fn goes_past_scripts(rule: MergeRule) -> bool {
    matches!(
        rule.response,
        ResponsePolicy::OneSucceeded | ResponsePolicy::Running
    )
}
