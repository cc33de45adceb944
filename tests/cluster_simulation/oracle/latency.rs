//! How long a request may take: what is wrong with one shard does not delay requests to others.

use super::super::client::{Op, Sent};
use super::super::world::World;

/// After something was wrong, requests may be late for this time: connections are opened again, ms.
const AFTER_MS: u64 = 700;

/// The longest time for a request while all is well with its shard, ms: a new connection and some
/// redirections.
const LATE_MS: u64 = 400;

impl World {
    pub(super) fn check_latency(&mut self, index: usize, sent: &Sent) -> Result<(), String> {
        let took = self.now - sent.at;
        self.summary.slowest_ms = self.summary.slowest_ms.max(took);
        if !self.is_clean(index, sent) {
            self.clients[index].unclean_at = self.now;
            return Ok(());
        }
        self.summary.count("clean requests", 1);
        match took <= LATE_MS {
            true => Ok(()),
            false => Err(format!("client {}: {took} ms for {sent:?}", index + 1)),
        }
    }

    /// Whether nothing was wrong with the shard of a request, and with those of the requests of its
    /// client that it had to wait for; and its client reads all the time.
    fn is_clean(&self, index: usize, sent: &Sent) -> bool {
        let client = &self.clients[index];
        let Op::One {
            slot: Some(slot), ..
        } = sent.op
        else {
            return false;
        };
        let awake = client.asleep_until < sent.at && !client.writes_first && client.room > 500;
        let first = self.plan.settings.pool_connections_max < 2;
        if !awake || first || sent.at <= client.unclean_at || !self.knows_cluster(index, sent) {
            return false;
        }
        let cluster = &self.clusters[client.cluster];
        let from = sent.at.saturating_sub(AFTER_MS);
        let mut losses = self.losses[client.cluster].iter();
        let lost = losses
            .any(|(at, node)| *at >= from && cluster.members(slot).any(|member| member == *node));
        let mut troubles = cluster.troubles.between(from, self.now);
        !lost && !troubles.any(|it| cluster.concerns(it, slot))
    }
}
