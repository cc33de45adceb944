//! What CLIENT LIST may show.

use super::super::judge::Model;
use super::super::redis::Moment;
use super::super::world::World;

impl World {
    /// CLIENT LIST must not show other users' clients.
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
                "client {} was shown {}, a stranger",
                mine.id, other.id
            )),
            false => Ok(()),
        }
    }
}
