//! The only place where a link changes its role. The lists of its pool are kept in step.

use crate::link::failure::Failure;
use crate::link::role::Role;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{LinkKey, PoolKey};

impl Machine {
    /// Changes a link's role. If the table of transitions does not contain the change, the link's
    /// state cannot be trusted: the link is closed.
    pub(in crate::proxy) fn assign(&mut self, key: LinkKey, role: Role) {
        let Some((pool, before)) = self.links.get(key).map(|it| (it.pool, it.role())) else {
            return;
        };
        match self.links.assign(key, role) {
            Ok(()) => self.upstreams.list(pool, key, before, role),
            Err(illegal) => {
                debug_assert!(false, "{key:?}: {illegal}");
                let why = Failure::Desync(illegal.to_string());
                self.work.push(Work::CloseLink(key, why));
            }
        }
    }

    /// Moves a dedicated link to another pool.
    pub(in crate::proxy) fn change_pool(&mut self, key: LinkKey, to: PoolKey) {
        if let Some(link) = self.links.get_mut(key) {
            let (role, from) = (link.role(), std::mem::replace(&mut link.pool, to));
            self.upstreams.unlist(from, key, role);
            self.upstreams.enlist(to, key, role);
        }
    }
}
