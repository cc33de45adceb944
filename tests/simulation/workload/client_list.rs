//! The clients that CLIENT LIST may show.

use super::super::client::Client;
use super::super::oracle::Model;
use super::super::redis::Moment;
use super::super::world::World;

impl World {
    /// CLIENT LIST must not show clients of other users.
    pub(super) fn check_listed(
        &self,
        model: &Model,
        other: u64,
        since: Moment,
    ) -> Result<(), String> {
        let Some(other) = self.clients.get((other as usize).wrapping_sub(1)) else {
            return Err(format!("client {} was shown a client {other}", model.id));
        };
        let settled = other.pending.is_empty() && !other.done && other.changed < since;
        let (mine, its) = (model, &other.model);
        let view = self.view();
        let same = mine.tenant(&view) == its.tenant(&view) && mine.user() == its.user();
        match settled && !same {
            true => Err(format!(
                "client {} was shown {}, of another user",
                mine.id, other.id
            )),
            false => Ok(()),
        }
    }

    /// CLIENT LIST must show all clients of the same user that were connected all the time.
    pub(super) fn check_complete(
        &mut self,
        model: &Model,
        listed: &[u64],
        since: Moment,
    ) -> Result<(), String> {
        // A machine may have closed some already; and during a drain workers do not wait for
        // others.
        for node in 0..self.nodes.len() {
            self.actions(node)?;
        }
        if self.nodes.iter().any(|node| node.draining) {
            return Ok(());
        }
        let view = self.view();
        let home = |it: &Model| match &it.servers(since, &view)[..] {
            [server] if it.place.server.is_some() => Some((server.tenant, server.instance.clone())),
            _ => None,
        };
        let (Some(mine), user) = (home(model), model.user()) else {
            return Ok(());
        };
        let stays = |it: &&Client| {
            let idle = it.is_settled() && it.asked < since && it.changed < since;
            let there = self.nodes[it.worker].clients.contains_key(&it.key) && !it.eof;
            there && idle && it.model.place.seen < since
        };
        for it in self.clients.iter().filter(stays) {
            let same = it.model.user() == user && home(&it.model).as_ref() == Some(&mine);
            if same && it.id != model.id && !listed.contains(&it.id) {
                let (id, other) = (model.id, it.id);
                return Err(format!(
                    "client {id} was not shown {other}, of the same user"
                ));
            }
        }
        Ok(())
    }
}
