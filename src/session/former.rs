//! The links that a client used and has left.
//!
//! A server answers WAIT for the last write on the same link, and only a request's reply says
//! whether it wrote anything. So WAIT is asked on each link that may carry the client's last write:
//! the present one, and the former ones.
//!
//! ```text
//!   leaves a link ──► one more former link ──► WAIT asks all of them, and the present one
//!                          │    │
//!       a confirmed write  │    │ one of them is closed: the next WAIT fails with an error
//!       on the present one ▼    ▼
//!                         none ◄── later writes, as after the loss of a dedicated link
//! ```

use std::mem;

use crate::command;

use crate::session::client::Former;
use crate::session::client::{Client, Flag};
use crate::store::key::LinkKey;

/// More links than this are not remembered one by one.
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
    /// Changes the link that the client uses, shared or dedicated; `NONE`: none.
    pub(crate) fn set_link(&mut self, link: LinkKey) {
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

    /// The links that the client has left and that may carry its last write.
    pub(crate) fn former(&self) -> &[LinkKey] {
        let details = self.details.as_deref().filter(|_| self.is(Flag::Moved));
        let former = details.and_then(|it| it.former.as_deref());
        former.map_or(&[], |it| &it.connections[..])
    }

    /// Forgets a former link: the client wrote nothing on it, or uses it again.
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

    /// The client's last write is on the present link. In a Redis Cluster, it is the last write on
    /// one node only.
    pub(crate) fn wrote_here(&mut self) {
        if self.is(Flag::ManyNodes) {
            return;
        }
        self.clear(Flag::Moved);
        if let Some(details) = &mut self.details {
            details.former = None;
        }
    }

    /// The client got the error that its last write cannot be confirmed.
    pub(crate) fn writes_lost(&mut self) {
        if self.is(Flag::ManyNodes) {
            self.clear(Flag::Moved);
            self.details_mut().former = None;
            return self.forget_lanes();
        }
        self.set(Flag::Moved);
        let former = self.former_mut();
        former.add(LinkKey::NONE);
        former.error_sent = true;
    }

    /// Notes a request of a client that has left links. Returns whether the request is a write
    /// unless its reply is an error.
    pub(crate) fn note_request(&mut self, frame: &[u8]) -> bool {
        let former = self.details.as_ref().and_then(|it| it.former.as_ref());
        let error_sent = former.is_some_and(|it| it.error_sent);
        if error_sent && command::may_write(frame) {
            self.wrote_here();
        }
        self.is(Flag::Moved) && command::always_writes(frame)
    }
}
