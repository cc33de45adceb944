//! Fencing: another server is the primary of an instance, and the former one must not serve it any
//! more.
//!
//! ```text
//!   connecting ───────────────────────► connects to the new primary
//!   any other link to the old primary ─► closed at once. What was not sent moves to a link to the
//!                                        new primary, reads are retried there, and a request that
//!                                        may have been executed gets an error
//! ```
//! So no reply of the former primary reaches a client after the switch, and no request reaches the
//! former primary: it may accept writes that the new one never gets.

use std::collections::HashSet;

use crate::link::failure::Failure;
use crate::link::link::State;
use crate::proxy::action::Action;
use crate::proxy::machine::Machine;
use crate::store::key::{ConnKey, InstanceKey, LinkKey};

impl Machine {
    /// Closes the links to servers that are no longer the primary of these instances.
    pub(in crate::proxy) fn fence(&mut self, fenced: &HashSet<InstanceKey>) {
        if fenced.is_empty() {
            return;
        }
        let former = self.links.iter().filter(|(_, link)| {
            fenced.contains(&link.instance) && !self.upstreams.is_at(link.instance, link.address)
        });
        // The first link that is closed may open one to the new primary.
        let former: Vec<LinkKey> = former.map(|(key, _)| key).collect();
        for &key in &former {
            self.connect_to_primary(key);
        }
        for key in former {
            let link = self.links.get(key);
            if link.is_some_and(|it| !self.upstreams.is_at(it.instance, it.address)) {
                self.fail(key, &Failure::Fenced);
            }
        }
    }

    /// Makes a link that is still connecting connect to the present address.
    fn connect_to_primary(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if !matches!(link.state, State::Connecting) {
            return;
        }
        if let Some(address) = self.upstreams.next_address(link.instance, 0) {
            (link.tried, link.address, link.since) = (0, Some(address), self.now);
            self.actions.push_back(Action::Close(ConnKey::Link(key)));
            self.actions.push_back(Action::Connect(key, address));
        }
    }
}
