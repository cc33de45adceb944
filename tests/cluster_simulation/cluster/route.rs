//! Whether a node executes a request, or which error it sends instead.

use super::super::plan::Endpoints;
use super::super::tag;
use super::Cluster;

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
const DOWN: &str = "CLUSTERDOWN The cluster is down";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const MASTERDOWN: &str = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set \
    to 'no'.";

/// The keys of a command.
pub(super) fn keys<'a>(name: &str, args: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    let all = || args[1..].iter().map(Vec::as_slice);
    match name {
        "GET" | "SET" | "INCR" | "APPEND" | "LPUSH" => all().take(1).collect(),
        "MGET" | "EXISTS" | "TOUCH" | "DEL" | "UNLINK" | "WATCH" => all().collect(),
        "MSET" => all().step_by(2).collect(),
        "BLPOP" => all().take(args.len() - 2).collect(),
        "EVAL" => {
            let number = str::from_utf8(&args[2]).map_or(0, |it| it.parse().unwrap_or(0));
            all().skip(2).take(number).collect()
        }
        _ => Vec::new(),
    }
}

impl Cluster {
    /// Whether a node executes a request with these keys. The error is its reply.
    pub(super) fn route(
        &mut self,
        node: usize,
        keys: &[&[u8]],
        asking: bool,
    ) -> Result<(), String> {
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let Some(slot) = self.slot_of(first) else {
            return Err("ERR a slot that no client uses".into());
        };
        if keys.iter().any(|key| self.slot_of(key) != Some(slot)) {
            return Err(CROSS_SLOT.into());
        }
        if self.is_cluster_down(node) {
            self.happened.down_replies += 1;
            return Err(DOWN.into());
        }
        let real = keys.iter().filter(|key| tag::find(key).is_none());
        let real: Vec<&[u8]> = real.copied().collect();
        let data = self.data_of(node);
        let present = real.iter().filter(|key| data.has(key)).count();
        let missing = real.len() - present;
        let at = &self.nodes[node];
        if at.owns(slot) {
            let Some(&target) = at.migrating.get(&slot).filter(|_| missing > 0) else {
                return Ok(());
            };
            if present > 0 {
                self.happened.tried_again += 1;
                return Err(TRY_AGAIN.into());
            }
            let to = at.view.primary[target];
            return Err(self.redirection("ASK", slot, to));
        }
        if at.importing.contains(&slot) && asking {
            if real.len() > 1 && missing > 0 {
                self.happened.tried_again += 1;
                return Err(TRY_AGAIN.into());
            }
            return Ok(());
        }
        Err(self.redirection("MOVED", slot, at.view.owner(slot)))
    }

    pub(super) fn redirection(&self, word: &str, slot: usize, to: usize) -> String {
        let number = self.slots[slot].number;
        let address = self.address(to);
        let (host, port) = match self.plan.endpoints {
            Endpoints::Address => (address.ip().to_string(), address.port()),
            Endpoints::Unknown => (String::new(), address.port()),
            Endpoints::HostName => (self.host_name(to), address.port()),
        };
        format!("{word} {number} {host}:{port}")
    }

    /// Whether a node executes nothing that needs its data.
    pub(super) fn readiness(&mut self, node: usize) -> Result<(), String> {
        let (now, at) = (self.now, &self.nodes[node]);
        if at.loading_until > now {
            self.happened.loading_replies += 1;
            return Err(LOADING.into());
        }
        match !at.is_primary() && at.unlinked_until > now {
            true => Err(MASTERDOWN.into()),
            false => Ok(()),
        }
    }
}
