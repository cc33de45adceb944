//! What a client sees: a server without cluster support, or a Redis Cluster of one node, which is
//! the proxy. Either may stand for a Redis Cluster, or for a single server.

use std::net::SocketAddr;

use crate::cluster::Front;
use crate::command::scatter::{self, CrossSlot, Merge, ResponsePolicy, Rule};
use crate::command::slot::Slot;
use crate::command::{Answer, Plan, answer_as_node, denied, hello};
use crate::link::verb::Verb;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::resp::Args;
use crate::session::client::Flag;
use crate::store::key::{ClientKey, PoolKey};

impl Machine {
    /// May any client see a Redis Cluster?
    #[inline]
    fn any_front(&self) -> bool {
        self.settings.front != Front::Single || self.upstreams.any_front()
    }

    /// Does a client see a Redis Cluster?
    #[inline]
    pub(in crate::proxy) fn shows_node(&self, key: ClientKey) -> bool {
        self.any_front() && self.front_node(key).is_some()
    }

    /// The address of the only node of the Redis Cluster that a client sees. `None`: it sees a
    /// server without cluster support.
    pub(in crate::proxy) fn front_node(&self, key: ClientKey) -> Option<SocketAddr> {
        let pool = self.clients.get(key)?.pool;
        self.front_node_at(key, pool)
    }

    /// See [`front_node`](Self::front_node), for a client that changes to this pool.
    fn front_node_at(&self, key: ClientKey, pool: PoolKey) -> Option<SocketAddr> {
        let client = self.clients.get(key)?;
        let front = self.upstreams.front_at(pool);
        let sees_node = match front.unwrap_or(self.settings.front) {
            Front::Single => false,
            Front::Cluster => true,
            Front::Auto => client.is(Flag::KnowsCluster),
        };
        sees_node.then(|| client.addresses().1)
    }

    /// Notes that a client has sent a command of a Redis Cluster.
    pub(in crate::proxy) fn note_cluster_command(&mut self, key: ClientKey, plan: Plan) {
        let of_cluster = match plan {
            Plan::Answer(Answer::ClusterDisabled | Answer::ReadOnly(_)) => true,
            Plan::Admin(name) => name.starts_with("cluster|"),
            _ => false,
        };
        if let Some(client) = self.clients.get_mut(key).filter(|_| of_cluster) {
            client.set(Flag::KnowsCluster);
        }
    }

    /// Writes what the client sees into a reply to HELLO.
    pub(in crate::proxy) fn show_mode(&self, key: ClientKey, pool: PoolKey, reply: &mut Vec<u8>) {
        hello::set_clustered(reply, self.front_node_at(key, pool).is_some());
    }

    /// Handles a command whose reply depends on what its client sees, unless it is one that the
    /// proxy answers anyway.
    pub(in crate::proxy) fn dispatch_to_front(
        &mut self,
        key: ClientKey,
        plan: Plan,
        frame: &[u8],
    ) -> Option<Handled> {
        match plan {
            Plan::Admin(name)
                if self.any_front()
                    && self.settings.admin_commands
                    && name.starts_with("cluster|") =>
            {
                if let Err(refusal) = self.admit(key) {
                    return Some(self.refuse(key, refusal));
                }
                self.note_cluster_command(key, plan);
                self.front_node(key)?;
                Some(self.administer_front(key, name, frame))
            }
            Plan::Forward if self.any_front() && scatter::is_info(frame) => {
                if let Err(refusal) = self.admit(key) {
                    return Some(self.refuse(key, refusal));
                }
                self.front_node(key)?;
                match self.is_clustered(key) {
                    true => None,
                    false => self.inform_as_node(key, frame),
                }
            }
            _ => None,
        }
    }

    /// Handles an administrative sub-command of CLUSTER. The cluster that the client sees is none
    /// that could be changed.
    fn administer_front(&mut self, key: ClientKey, name: &'static str, frame: &[u8]) -> Handled {
        if let "cluster|countkeysinslot" | "cluster|getkeysinslot" = name {
            return self.forward_to_slot(key, frame);
        }
        let Some(view) = self.view_of(key) else {
            return Handled::Yes;
        };
        let mut reply = Vec::new();
        if answer_as_node(Args::new(frame), &view, &mut reply) {
            self.stats.counters.answers += 1;
            self.reply(key, &reply);
        } else {
            let error = denied(self.user_of(key), name);
            self.reply_error(key, &error);
        }
        Handled::Yes
    }

    /// Sends a command about a slot, which is its first argument, to the node of the slot.
    fn forward_to_slot(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        if !self.is_clustered(key) {
            return self.forward_one(key, frame);
        }
        let slot = Args::new(frame).nth(2);
        let slot = slot.and_then(|slot| str::from_utf8(slot).ok()?.parse().ok());
        // The node has its own error for a number that is no slot.
        let node = self.node_of(key, slot.and_then(Slot::new));
        let Some(node) = node else {
            return Handled::Later;
        };
        match self.link_to_node(key, node) {
            Ok(on) => {
                if let Some(kind) = self.clients.get_mut(key).map(kind_of) {
                    self.put(key, on, (kind, Verb::Plain), 1, frame);
                }
                Handled::Yes
            }
            Err(refusal) => self.refuse(key, refusal),
        }
    }

    /// Sends INFO to a single server whose client sees a Redis Cluster: the reply is changed when
    /// it is complete.
    fn inform_as_node(&mut self, key: ClientKey, frame: &[u8]) -> Option<Handled> {
        let Rule::EveryPrimary(rule) = self.scatter_rule(key, frame) else {
            return None;
        };
        let node = self.node_of(key, None)?;
        Some(match self.link_to_node(key, node) {
            Ok(_) => self.send_parts(
                key,
                Merge::new(rule, 1),
                &[(Slot::of(b""), frame)],
                Vec::new(),
            ),
            Err(refusal) => self.refuse(key, refusal),
        })
    }

    /// How a request of a client is split, and what its client sees of the replies.
    pub(super) fn scatter_rule(&self, key: ClientKey, frame: &[u8]) -> Rule {
        let mut rule = scatter::rule(frame, self.cross_slot_of(key));
        if let Rule::EveryPrimary(merge) = &mut rule
            && merge.response == ResponsePolicy::Info
            && self.front_node(key).is_some()
        {
            merge.response = ResponsePolicy::NodeInfo;
        }
        rule
    }

    fn cross_slot_of(&self, key: ClientKey) -> CrossSlot {
        let tenant = self.tenant_of(key);
        tenant.map_or_else(CrossSlot::default, |slot| self.upstreams.cross_slot(slot))
    }
}
