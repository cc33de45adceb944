//! Nodes that end, start again, pause, and are replaced by their replicas.

use super::{Cluster, Trouble};

/// What happens to a node later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A replica becomes the primary of a shard, if its primary is still away.
    Failover { shard: usize },
    /// A node starts again.
    Restart { node: usize },
    /// The nodes notice that a primary is away: they refuse requests until this time, ms.
    Down { until: u64 },
}

impl Cluster {
    /// A node ends. Returns it: its connections end.
    pub(crate) fn kill(&mut self) -> Option<usize> {
        let node = self.rng.below(self.nodes.len());
        let away = { self.nodes.iter() }.filter(|it| it.is_down || it.silent_until > self.now);
        // A majority stays, and the shard keeps a node that has its data.
        if away.count() > 0 {
            return None;
        }
        let at = &mut self.nodes[node];
        at.is_down = true;
        at.sessions.clear();
        let primary = self.truth.primary[self.nodes[node].shard] == node;
        let until = self.now + self.rng.between(200, 1_500);
        self.events.push((until, Event::Restart { node }));
        self.happened.restarts += 1;
        if primary {
            self.primary_is_away(node, until);
        }
        Some(node)
    }

    /// A node executes nothing for a while, but stays connected. For some time its replica may take
    /// its place.
    pub(crate) fn pause(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let away = { self.nodes.iter() }.filter(|it| it.is_down || it.silent_until > self.now);
        if away.count() > 0 {
            return;
        }
        let until = self.now + self.rng.between(20, 1_500);
        let deaf_ms = *self.rng.pick(&[0, 0, 5, 60]);
        let at = &mut self.nodes[node];
        (at.silent_until, at.deaf_until) = (until, until + deaf_ms);
        let shard = self.nodes[node].shard;
        self.trouble(until, &[node], Trouble::PAUSE);
        if self.truth.primary[shard] == node && self.rng.one_in(2) {
            self.primary_is_away(node, until);
        }
    }

    fn primary_is_away(&mut self, node: usize, until: u64) {
        let shard = self.nodes[node].shard;
        let failover = self.now + self.rng.between(50, 600);
        let mut end = until;
        if self.plan.replicas > 0 {
            self.events.push((failover, Event::Failover { shard }));
            end = failover.min(until);
            for other in &mut self.nodes {
                if other.shard == shard && other.id != node {
                    other.unlinked_until = failover;
                }
            }
        }
        if self.plan.full_coverage {
            let noticed = self.now + (end - self.now) / 2;
            self.events.push((noticed, Event::Down { until: end }));
        }
        let nodes = { self.nodes.iter() }
            .filter(|other| self.plan.full_coverage || other.shard == shard)
            .map(|other| other.id);
        let nodes: Vec<usize> = nodes.collect();
        self.trouble(
            until.max(failover + self.plan.lag_ms),
            &nodes,
            Trouble::ABSENT,
        );
    }

    /// The events that are due.
    pub(super) fn happen(&mut self) {
        let now = self.now;
        let due: Vec<(u64, Event)> = self.events.extract_if(.., |it| it.0 <= now).collect();
        for (_, event) in due {
            match event {
                Event::Failover { shard } => self.fail_over(shard),
                Event::Restart { node } => self.restart(node),
                Event::Down { until } => {
                    for node in &mut self.nodes {
                        node.fail_until = node.fail_until.max(until);
                    }
                }
            }
        }
    }

    fn fail_over(&mut self, shard: usize) {
        let old = self.truth.primary[shard];
        let at = &self.nodes[old];
        if !at.is_down && at.silent_until <= self.now {
            return;
        }
        let replica = |node: &&super::Node| node.shard == shard && node.id != old && !node.is_down;
        let Some(new) = self.nodes.iter().find(replica).map(|node| node.id) else {
            return;
        };
        self.happened.failovers += 1;
        self.truth.primary[shard] = new;
        let old_node = &mut self.nodes[old];
        old_node.stale = Some(self.data[shard].clone());
        // The replica knows which slots move.
        let migrating = old_node.migrating.clone();
        let importing = old_node.importing.clone();
        let new_node = &mut self.nodes[new];
        (new_node.migrating, new_node.importing) = (migrating, importing);
        self.announce(&[new]);
    }

    /// A node starts again: it loads its data, and may have been replaced.
    fn restart(&mut self, node: usize) {
        let loading = self.now + self.rng.between(0, 300);
        let at = &mut self.nodes[node];
        at.is_down = false;
        at.loading_until = loading;
        // It refuses requests until it has heard from the others.
        at.hear_at_once();
        self.trouble(loading, &[node], Trouble::LOADING);
        self.hear_news();
    }
}
