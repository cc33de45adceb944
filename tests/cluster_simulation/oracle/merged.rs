//! Replies of requests that several nodes execute in parts.

use std::collections::BTreeSet;

use super::super::client::Sent;
use super::super::cluster::Execution;
use super::super::wire;
use super::super::world::World;

/// Whether this is the reply to MGET, with the values of each slot from one execution of its part.
pub(super) fn is_values(
    reply: &[u8],
    slots: &[usize],
    executions: &[Execution],
) -> Result<bool, String> {
    let values = wire::elements(reply)?;
    if values.len() != slots.len() {
        return Ok(false);
    }
    let distinct: BTreeSet<usize> = slots.iter().copied().collect();
    for slot in distinct {
        let its = slots.iter().zip(&values).filter(|(it, _)| **it == slot);
        let its: Vec<&[u8]> = its.map(|(_, value)| *value).collect();
        let same = |it: &&Execution| {
            it.slot == Some(slot) && wire::elements(&it.reply).is_ok_and(|all| all == its)
        };
        if executions.iter().find(same).is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether this is the sum of one execution for each slot. `least`: the keys that always exist.
pub(super) fn is_sum(
    reply: &[u8],
    slots: &[usize],
    least: usize,
    executions: &[Execution],
) -> Result<bool, String> {
    let Some(sum) = wire::integer(reply) else {
        return Ok(false);
    };
    if sum < least {
        return Err(format!("less than {least}, which always exist"));
    }
    let parts = slots.iter().map(|slot| {
        let its = executions.iter().filter(|it| it.slot == Some(*slot));
        its.filter_map(|it| wire::integer(&it.reply)).collect()
    });
    Ok(sums(parts).contains(&sum))
}

/// The sums of one number of each part.
fn sums(parts: impl Iterator<Item = BTreeSet<usize>>) -> BTreeSet<usize> {
    parts.fold(BTreeSet::from([0]), |sums, part| {
        let add = |sum: usize| part.iter().map(move |number| sum + number);
        sums.into_iter().flat_map(add).collect()
    })
}

impl World {
    /// The shards that executed a request for all of them.
    fn shards(&self, index: usize, sent: &Sent) -> BTreeSet<usize> {
        let cluster = &self.clusters[self.clients[index].cluster];
        let executions = cluster.executions(sent.tag).iter();
        executions.map(|it| it.shard).collect()
    }

    /// The keys that existed all the time in slots that have not moved: the proxy may not know a
    /// node yet that has just got its first slot.
    fn stable_keys(&self, index: usize) -> Vec<String> {
        let cluster = &self.clusters[self.clients[index].cluster];
        let moved: BTreeSet<usize> = { cluster.troubles.between(0, self.now) }
            .filter_map(|it| it.slot)
            .collect();
        let stable = (0..cluster.slots.len()).filter(|slot| !moved.contains(slot));
        stable.flat_map(|slot| cluster.anchors(slot)).collect()
    }

    pub(super) fn is_size(&self, index: usize, sent: &Sent, reply: &[u8]) -> Result<bool, String> {
        let Some(size) = wire::integer(reply) else {
            return Ok(false);
        };
        let least = self.stable_keys(index).len();
        if size < least {
            return Err(format!("less than the {least} keys that always exist"));
        }
        let cluster = &self.clusters[self.clients[index].cluster];
        let executions = cluster.executions(sent.tag);
        let parts = self.shards(index, sent).into_iter().map(|shard| {
            let its = executions.iter().filter(|it| it.shard == shard);
            its.filter_map(|it| wire::integer(&it.reply)).collect()
        });
        Ok(sums(parts).contains(&size))
    }

    pub(super) fn are_keys(&self, index: usize, sent: &Sent, reply: &[u8]) -> Result<bool, String> {
        let keys = wire::elements(reply)?;
        let cluster = &self.clusters[self.clients[index].cluster];
        for stable in self.stable_keys(index) {
            let wanted = wire::bulk(stable.as_bytes());
            match keys.iter().filter(|key| **key == wanted).count() {
                1 => {}
                n => return Err(format!("{stable} {n} times")),
            }
        }
        let executions = cluster.executions(sent.tag);
        let parts = self.shards(index, sent).into_iter().map(|shard| {
            let its = executions.iter().filter(|it| it.shard == shard);
            its.filter_map(|it| Some(wire::elements(&it.reply).ok()?.len()))
                .collect()
        });
        Ok(sums(parts).contains(&keys.len()))
    }
}
