//! A real cluster of the same servers as [`Redis`].
//!
//! A node is named by its number. At the start the primaries have the first numbers, and the slots
//! in equal ranges; the replicas of the first primary follow, then those of the second.

mod migration;
mod slot;
mod view;

use super::{Feature, Redis, Wire, wait_until};

use slot::SLOTS;
pub(crate) use slot::{slot_of, tag_of};
use view::View;

/// Nodes notice a failure after a second, and replicas get their data at once. Nodes log in at each
/// other as `control`, which the users of every server have.
const CONFIG: &str = "\
cluster-enabled yes
cluster-node-timeout 1000
cluster-replica-validity-factor 0
repl-diskless-sync yes
repl-diskless-sync-delay 0
masteruser control
masterauth x
";

/// A cluster; its nodes are killed when it is dropped.
pub(crate) struct RedisCluster {
    nodes: Vec<Node>,
}

struct Node {
    redis: Redis,
    id: String,
    /// It is neither killed nor paused.
    is_running: bool,
}

impl RedisCluster {
    /// A cluster that serves all slots.
    pub(crate) fn start(primaries: usize, replicas_per_primary: usize) -> Self {
        Self::start_with(primaries, replicas_per_primary, "")
    }

    /// A cluster that serves all slots, with further lines of configuration for each node.
    pub(crate) fn start_with(primaries: usize, replicas_per_primary: usize, lines: &str) -> Self {
        let config = format!("{CONFIG}{lines}");
        let count = primaries * (1 + replicas_per_primary);
        let nodes = (0..count).map(|_| {
            let redis = Redis::node_with(&config);
            let id = redis.ask("CLUSTER MYID");
            Node {
                redis,
                id: id.rsplit(' ').next().unwrap().to_owned(),
                is_running: true,
            }
        });
        let cluster = Self {
            nodes: nodes.collect(),
        };
        cluster.assign_slots(primaries);
        cluster.introduce();
        for replica in primaries..count {
            let primary = cluster.id((replica - primaries) / replicas_per_primary);
            cluster.command(replica, &format!("CLUSTER REPLICATE {primary}"));
        }
        cluster.wait_settled();
        cluster
    }

    /// Gives each primary its slots and, so that no two nodes claim the same, an epoch.
    fn assign_slots(&self, primaries: usize) {
        for node in 0..self.nodes.len() {
            self.command(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", node + 1));
        }
        let bound = |primary: usize| primary * usize::from(SLOTS) / primaries;
        for primary in 0..primaries {
            let slots = (bound(primary)..bound(primary + 1)).map(|slot| format!(" {slot}"));
            let slots: String = slots.collect();
            self.command(primary, &format!("CLUSTER ADDSLOTS{slots}"));
        }
    }

    /// Makes all nodes known to each other.
    fn introduce(&self) {
        let all = self.running();
        for node in &all {
            for other in &all[node + 1..] {
                let port = self.node(*other).port();
                self.command(*node, &format!("CLUSTER MEET 127.0.0.1 {port}"));
            }
        }
        let ids: Vec<&str> = all.iter().map(|node| self.id(*node)).collect();
        wait_until("all nodes know each other", || {
            let views = self.views();
            views.iter().all(|view| view.is_complete(&ids))
        });
    }

    /// The server of a node.
    pub(crate) fn node(&self, node: usize) -> &Redis {
        &self.nodes[node].redis
    }

    /// The id of a node in the cluster.
    pub(crate) fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }

    /// A direct connection to a node, as the default user.
    pub(crate) fn client(&self, node: usize) -> Wire {
        self.node(node).direct()
    }

    /// Whether its servers lack the feature; see [`Redis::lacks`].
    pub(crate) fn lacks(&self, feature: Feature) -> bool {
        self.node(0).lacks(feature)
    }

    /// The running nodes that are primaries.
    pub(crate) fn primaries(&self) -> Vec<usize> {
        self.running_with(|view| view.is_primary())
    }

    /// The running nodes that are replicas.
    pub(crate) fn replicas(&self) -> Vec<usize> {
        self.running_with(|view| !view.is_primary())
    }

    /// The running replicas of this node.
    pub(crate) fn replicas_of(&self, primary: usize) -> Vec<usize> {
        self.running_with(|view| view.primary() == Some(self.id(primary)))
    }

    /// The running node that has the slot, according to itself.
    pub(crate) fn node_of(&self, slot: u16) -> usize {
        let owns = |node: &usize| self.view(*node).owner(slot) == Some(self.id(*node));
        let mut running = self.running_with(View::is_primary).into_iter();
        running
            .find(owns)
            .unwrap_or_else(|| panic!("no node has slot {slot}"))
    }

    /// A hash tag, see [`tag_of`], of a slot of this node.
    pub(crate) fn tag_on(&self, node: usize) -> String {
        let view = self.view(node);
        let mut slots = 0..SLOTS;
        let owned = slots.find(|slot| view.owner(*slot) == Some(self.id(node)));
        tag_of(owned.unwrap_or_else(|| panic!("node {node} has no slot")))
    }

    /// Makes a replica the primary by CLUSTER FAILOVER, and waits until all nodes know it.
    pub(crate) fn failover(&self, replica: usize) {
        self.command(replica, "CLUSTER FAILOVER");
        self.wait_primary(replica);
        self.wait_settled();
    }

    /// Waits until a node is a primary, according to itself.
    pub(crate) fn wait_primary(&self, node: usize) {
        wait_until(&format!("node {node} is a primary"), || {
            self.view(node).is_primary()
        });
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].is_running = false;
        self.nodes[node].redis.kill();
    }

    /// Starts a killed node again, without data. It knows the cluster, which may not know yet that
    /// it is back.
    pub(crate) fn start_again(&mut self, node: usize) {
        self.nodes[node].redis.start_again();
        self.nodes[node].is_running = true;
    }

    /// Stops the process of a node, which keeps its connections.
    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].is_running = false;
        self.node(node).freeze();
    }

    pub(crate) fn resume(&mut self, node: usize) {
        self.node(node).thaw();
        self.nodes[node].is_running = true;
    }

    /// Waits until each running node serves all slots, has a link to each other and, if it is a
    /// replica, the data of its primary; and all agree on the owners of slots, replicas and epochs.
    pub(crate) fn wait_settled(&self) {
        let running = self.running();
        let ids: Vec<&str> = running.iter().map(|node| self.id(*node)).collect();
        wait_until("the cluster is settled", || {
            let views = self.views();
            let epochs = |view: &View| ids.iter().map(|id| view.epoch(id)).collect::<Vec<_>>();
            let first = &views[0];
            let agreed = |view: &View| {
                view.owners() == first.owners()
                    && view.replicas() == first.replicas()
                    && epochs(view) == epochs(first)
            };
            let ready = |node: &usize| self.serves(*node) && self.has_data(*node);
            views
                .iter()
                .all(|view| agreed(view) && view.is_complete(&ids))
                && running.iter().all(ready)
        });
    }

    /// Whether a node serves its slots: it stops when parts of the cluster are missing.
    pub(crate) fn serves(&self, node: usize) -> bool {
        let info = self.node(node).ask("CLUSTER INFO");
        info.contains("cluster_state:ok")
    }

    fn has_data(&self, node: usize) -> bool {
        let info = self.node(node).ask("INFO replication");
        !info.contains("master_link_status:down")
    }

    /// Sends a command to a node, which must reply `OK`.
    fn command(&self, node: usize, line: &str) {
        let reply = self.node(node).ask(line);
        assert_eq!(reply, "+OK", "node {node}: {line:.100}");
    }

    fn view(&self, node: usize) -> View {
        View::parse(&self.node(node).ask("CLUSTER NODES"))
    }

    /// The views of all running nodes.
    fn views(&self) -> Vec<View> {
        let running = self.running().into_iter();
        running.map(|node| self.view(node)).collect()
    }

    fn running(&self) -> Vec<usize> {
        let all = 0..self.nodes.len();
        all.filter(|node| self.nodes[*node].is_running).collect()
    }

    /// The running nodes with such a view.
    fn running_with(&self, fits: impl Fn(&View) -> bool) -> Vec<usize> {
        let mut running = self.running();
        running.retain(|node| fits(&self.view(*node)));
        running
    }
}
