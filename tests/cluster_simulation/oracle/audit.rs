//! At the end the journal of the nodes is compared with what clients sent and heard.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cluster::{Cluster, Execution};
use super::super::tag::{self, Tag};
use super::super::world::World;

impl World {
    pub(crate) fn audit(&self) -> Result<(), String> {
        for cluster in &self.clusters {
            for (tag, executions) in &cluster.log {
                self.check_place(cluster, *tag, executions)?;
                check_once(*tag, executions)?;
            }
            self.check_never(cluster)?;
        }
        for client in 0..self.clients.len() {
            self.check_order(client)?;
        }
        Ok(())
    }

    /// A request is executed by nodes of its client's cluster, in the client's protocol.
    fn check_place(
        &self,
        cluster: &Cluster,
        tag: Tag,
        executions: &[Execution],
    ) -> Result<(), String> {
        let client = &self.clients[tag::client(tag) as usize - 1];
        if client.cluster != cluster.index {
            return Err(format!("{tag} was executed by another tenant's nodes"));
        }
        match executions.iter().find(|it| it.protocol != client.protocol) {
            Some(other) => Err(format!("{tag} in another protocol: {other:?}")),
            None => Ok(()),
        }
    }

    /// What was answered as not executed was not executed.
    fn check_never(&self, cluster: &Cluster) -> Result<(), String> {
        let clients = self.clients.iter();
        let clients = clients.filter(|client| client.cluster == cluster.index);
        for tag in clients.flat_map(|client| &client.never) {
            if let Some(executed) = cluster.executions(*tag).first() {
                return Err(format!("{tag} failed, and was executed: {executed:?}"));
            }
        }
        Ok(())
    }

    /// The requests of a client for one slot are executed in their order.
    fn check_order(&self, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        let cluster = &self.clusters[client.cluster];
        let heard: BTreeMap<Tag, &Vec<u8>> = client
            .heard
            .iter()
            .map(|(tag, reply)| (*tag, reply))
            .collect();
        let first = client.id * tag::REQUESTS;
        // The last execution for each key so far.
        let mut last: BTreeMap<&[u8], (Tag, u64)> = BTreeMap::new();
        for (tag, executions) in cluster.log.range(first..first + tag::REQUESTS) {
            let mut slots: Vec<usize> = executions.iter().filter_map(|it| it.slot).collect();
            slots.sort_unstable();
            slots.dedup();
            for slot in slots {
                let its = executions.iter().filter(|it| it.slot == Some(slot));
                let keys: BTreeSet<&[u8]> = its
                    .flat_map(|it| it.keys.iter().map(Vec::as_slice))
                    .collect();
                let earlier = keys.iter().filter_map(|key| last.get(key));
                let (earlier, before) = earlier.copied().max_by_key(|it| it.1).unwrap_or_default();
                let counts = |it: &&Execution| {
                    let heard = heard.get(tag).is_none_or(|reply| **reply == it.reply);
                    it.slot == Some(slot) && it.at > before && (heard || it.write)
                };
                let next = executions.iter().filter(counts).map(|it| it.at).min();
                let write = executions.iter().any(|it| it.write);
                match next {
                    Some(at) => last.extend(keys.into_iter().map(|key| (key, (*tag, at)))),
                    None if may_overtake(cluster, (earlier, *tag)) => {}
                    None if write || heard.contains_key(tag) => {
                        return Err(format!(
                            "{tag} was executed before {earlier} of the same client: \
                             {executions:?}, {:?}",
                            cluster.refusals.get(&earlier)
                        ));
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether a request may be executed before an earlier one for the same keys: it was behind the
/// earlier one on a connection whose node refused that one, and then recovered, or heard another
/// owner of the slot.
fn may_overtake(cluster: &Cluster, (earlier, tag): (Tag, Tag)) -> bool {
    let refusals = |tag| cluster.refusals.get(&tag).into_iter().flatten();
    let of_later = refusals(tag).map(|it| (it.session, it.at));
    let executions = cluster.executions(tag).iter().map(|it| (it.session, it.at));
    let later: Vec<(u64, u64)> = of_later.chain(executions).collect();
    let mut earlier = refusals(earlier).filter(|it| !it.text.starts_with("TRYAGAIN"));
    earlier.any(|it| {
        let behind = |(session, at): &(u64, u64)| *session == it.session && *at > it.at;
        later.iter().any(behind)
    })
}

/// A write is executed once, at most.
fn check_once(tag: Tag, executions: &[Execution]) -> Result<(), String> {
    match executions.iter().filter(|it| it.write).count() {
        0 | 1 => Ok(()),
        n => Err(format!("{tag} was executed {n} times: {executions:?}")),
    }
}
