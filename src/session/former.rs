//! The connections that a client used and has left.
//!
//! A server measures WAIT by the last write of the very connection, and whether a request wrote
//! anything is known by its reply at best. So WAIT is asked on each connection that may carry the
//! client's last write: the present one, and these.
//!
//! ```text
//!   leaves a connection ──► one more ──► WAIT asks all of them, and the present one
//!                            │    │
//!      a write, surely done  │    │ one of them is gone: nobody can tell, and the client hears so
//!      on the present one    ▼    ▼
//!                           none ◄── what it writes then, as after a connection of its own is lost
//! ```

use std::mem;

use crate::command;

use crate::session::client::Former;
use crate::session::client::{Client, Flag};
use crate::store::key::LinkKey;

/// More of them are not remembered one by one.
const CONNECTIONS_MAX: usize = 16;

impl Former {
    fn add(&mut self, key: LinkKey) {
        if self.connections.contains(&key) {
            return;
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            self.connections.clear();
            self.connections.push(LinkKey::NONE);
        }
        self.connections.push(key);
    }
}

impl Client {
    /// It uses this connection from now on, a shared one or its own; `NONE`: none.
    pub(crate) fn go_to(&mut self, link: LinkKey) {
        let before = mem::replace(&mut self.link, link);
        if before == link {
            return;
        }
        if before != LinkKey::NONE {
            self.former_mut().add(before);
            self.set(Flag::Moved);
        }
        if link != LinkKey::NONE {
            self.forget_former(link);
        }
    }

    fn former_mut(&mut self) -> &mut Former {
        self.details_mut().former.get_or_insert_default()
    }

    /// The connections that it has left and that may carry its last write.
    pub(crate) fn former(&self) -> &[LinkKey] {
        let details = self.details.as_deref().filter(|_| self.is(Flag::Moved));
        let former = details.and_then(|it| it.former.as_deref());
        former.map_or(&[], |it| &it.connections[..])
    }

    /// This one carries nothing of it, or is the present one.
    pub(crate) fn forget_former(&mut self, key: LinkKey) {
        if self.is(Flag::Moved)
            && let Some(former) = self.details.as_mut().and_then(|it| it.former.as_mut())
        {
            former.connections.retain(|&it| it != key);
            if former.connections.is_empty() {
                self.clear(Flag::Moved);
            }
        }
    }

    /// Its last write is on the present connection.
    pub(crate) fn has_written(&mut self) {
        self.clear(Flag::Moved);
        if let Some(details) = &mut self.details {
            details.former = None;
        }
    }

    /// Nobody can tell where its last write is, as it hears now.
    pub(crate) fn lose_writes(&mut self) {
        self.set(Flag::Moved);
        let former = self.former_mut();
        former.add(LinkKey::NONE);
        former.told = true;
    }

    /// It sends this, and has left connections. Will the reply say whether that is its last write?
    pub(crate) fn sends(&mut self, frame: &[u8]) -> bool {
        let former = self.details.as_ref().and_then(|it| it.former.as_ref());
        let told = former.is_some_and(|it| it.told);
        if told && command::may_write(frame) {
            self.has_written();
        }
        self.is(Flag::Moved) && command::always_writes(frame)
    }
}
