//! All links of a worker: their table, the bytes on their way to servers, and which of them want to
//! be looked at.

use std::mem;

use std::collections::VecDeque;

use super::link::{Link, State};
use super::request::Requests;
use super::role::{IllegalRole, Role};
use super::stall::Stall;
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::{ClientKey, LinkKey};
use crate::store::table::Table;
use crate::store::time::Millis;

/// See the module.
#[derive(Debug)]
pub(crate) struct Links {
    table: Table<LinkKey, Link>,
    /// Bytes on their way to servers. While a server does not take them, clients are not read.
    chunks: ChunkPool,
    /// Links that have something to send.
    dirty: VecDeque<LinkKey>,
    /// Links on which clients wait behind a slow reader or a late reply.
    stalled: Vec<LinkKey>,
    /// Links to a name without an address: they fail in the next turn.
    unresolved: Vec<LinkKey>,
    /// Links on which clients wait for replicas, in the order of their turns.
    waits: Vec<LinkKey>,
    /// Links being opened.
    opening: usize,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            table: Table::default(),
            chunks: ChunkPool::of_long_lists(),
            dirty: VecDeque::new(),
            stalled: Vec::new(),
            unresolved: Vec::new(),
            waits: Vec::new(),
            opening: 0,
        }
    }
}

impl Links {
    /// Adds a link that is being opened. One without an address fails in the next turn.
    pub(crate) fn open(&mut self, link: Link) -> LinkKey {
        let resolved = link.address.is_some();
        let key = self.table.insert(link);
        if !resolved {
            self.unresolved.push(key);
        }
        self.opening += 1;
        key
    }

    /// A link is no longer being opened: its handshake is over, or it ends.
    pub(crate) fn opened(&mut self) {
        self.opening -= 1;
    }

    /// A link that has verified a login has a handshake of its pool from now on.
    pub(crate) fn opens_again(&mut self) {
        self.opening += 1;
    }

    pub(crate) fn any_opening(&self) -> bool {
        self.opening > 0
    }

    /// The links whose names have no address.
    pub(crate) fn take_unresolved(&mut self) -> Vec<LinkKey> {
        mem::take(&mut self.unresolved)
    }

    pub(crate) fn any_unresolved(&self) -> bool {
        !self.unresolved.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, key: LinkKey) -> Option<&Link> {
        self.table.get(key)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: LinkKey) -> Option<&mut Link> {
        self.table.get_mut(key)
    }

    /// Changes what a link is for.
    ///
    /// # Errors
    ///
    /// See [`Role::to`].
    pub(crate) fn assign(&mut self, key: LinkKey, role: Role) -> Result<(), IllegalRole> {
        self.table.get_mut(key).map_or(Ok(()), |it| it.assign(role))
    }

    /// Takes a link out. The caller takes care of its bytes and its requests.
    pub(crate) fn remove(&mut self, key: LinkKey) -> Option<Link> {
        self.waits.retain(|&other| other != key);
        self.table.remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkKey, &Link)> {
        self.table.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Gives memory back that is not needed at the moment.
    pub(crate) fn trim(&mut self) {
        self.chunks.trim();
        self.table.shrink();
    }
}

/// Bytes.
impl Links {
    pub(crate) fn chunks(&self) -> &ChunkPool {
        &self.chunks
    }

    pub(crate) fn chunks_mut(&mut self) -> &mut ChunkPool {
        &mut self.chunks
    }

    /// Appends the bytes of requests that are recorded, and has them sent in this turn.
    #[inline]
    pub(crate) fn append(&mut self, key: LinkKey, bytes: &[u8]) {
        if let Some(link) = self.table.get_mut(key) {
            self.chunks.append(&mut link.outbound, bytes);
            if !link.is_dedicated() {
                link.recent.push(bytes);
            }
            mark_dirty(&mut self.dirty, link, key);
        }
    }

    /// The same for a list of chunks, without a copy.
    pub(crate) fn append_list(&mut self, key: LinkKey, list: &mut ChunkList) {
        match self.table.get_mut(key) {
            Some(link) => {
                link.recent.skip(list.len());
                self.chunks.append_list(&mut link.outbound, list);
                mark_dirty(&mut self.dirty, link, key);
            }
            None => self.chunks.clear(list),
        }
    }

    /// Appends bytes of the handshake, which go before all requests.
    pub(crate) fn greet(&mut self, key: LinkKey, bytes: &[u8]) {
        if let Some(link) = self.table.get_mut(key) {
            self.chunks.append(&mut link.greeting, bytes);
            mark_dirty(&mut self.dirty, link, key);
        }
    }

    /// Has a link looked at that may have something to send by now.
    pub(crate) fn mark_dirty(&mut self, key: LinkKey) {
        if let Some(link) = self.table.get_mut(key) {
            mark_dirty(&mut self.dirty, link, key);
        }
    }

    /// The next link that has something to send.
    pub(crate) fn next_dirty(&mut self) -> Option<LinkKey> {
        while let Some(key) = self.dirty.pop_front() {
            if let Some(link) = self.table.get_mut(key) {
                link.dirty = false;
                return Some(key);
            }
        }
        None
    }

    /// What a link has to send now.
    #[inline]
    pub(crate) fn to_send(&self, key: LinkKey) -> Option<(&ChunkPool, &ChunkList)> {
        let link = self.table.get(key)?;
        let list = match link.state {
            State::Connecting => return None,
            State::Greeting(_) | State::Verifying(_) => &link.greeting,
            State::Ready => &link.outbound,
        };
        Some((&self.chunks, list))
    }

    /// The kernel has taken `n` of these bytes. Returns how many are left.
    #[inline]
    pub(crate) fn sent(&mut self, key: LinkKey, n: usize) -> usize {
        let Some(link) = self.table.get_mut(key) else {
            return 0;
        };
        if !link.is_ready() {
            self.chunks.consume(&mut link.greeting, n);
            return link.greeting.len();
        }
        self.chunks.consume(&mut link.outbound, n);
        link.sent += n as u64;
        link.is_heir &= n == 0;
        link.outbound.len()
    }
}

/// Links on which clients wait behind another client's reply.
impl Links {
    /// Requests of `by` are about to be put into the queue of a link.
    #[inline]
    pub(crate) fn begin(&mut self, requests: &Requests, key: LinkKey, by: ClientKey, now: Millis) {
        let Some(link) = self.table.get_mut(key) else {
            return;
        };
        if link.fifo.is_empty() {
            link.since = now;
        } else if link.paused || link.is_late(now) {
            self.follow(requests, key, by, now);
        }
    }

    /// A request of `by` was put behind what is under way on a link that is not read, or whose
    /// reply is late: it does not wait there for long.
    pub(crate) fn follow(&mut self, requests: &Requests, key: LinkKey, by: ClientKey, now: Millis) {
        let Some(link) = self.table.get_mut(key) else {
            return;
        };
        let head = requests.get(link.fifo.head).map(|head| head.client);
        if head.is_none_or(|head| head == by) {
            return;
        }
        let late = Stall::Late(link.since.after(link.late_ms));
        match link.stall {
            Stall::None if link.paused => self.stall(key, Stall::Since(now)),
            Stall::None => self.stall(key, late),
            // It may be a read that found no other connection.
            Stall::Held(_) => link.stall = Stall::Served(now),
            _ => {}
        }
    }

    /// Clients wait on a link from now on: it is looked at until its state is `None` or `Kept`.
    pub(crate) fn stall(&mut self, key: LinkKey, stall: Stall) {
        if let Some(link) = self.table.get_mut(key) {
            link.stall = stall;
            // It may have stalled since the last look, and gone on.
            if !self.stalled.contains(&key) {
                self.stalled.push(key);
            }
        }
    }

    #[inline]
    pub(crate) fn any_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    pub(crate) fn stalled(&self) -> &[LinkKey] {
        &self.stalled
    }

    /// Those to be looked at; the ones that still are stalled are put back.
    pub(crate) fn take_stalled(&mut self) -> Vec<LinkKey> {
        mem::take(&mut self.stalled)
    }

    /// See [`take_stalled`](Self::take_stalled).
    pub(crate) fn put_back_stalled(&mut self, key: LinkKey) {
        self.stalled.push(key);
    }
}

/// Links on which clients wait for replicas.
impl Links {
    pub(crate) fn any_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    pub(crate) fn waits(&self) -> &[LinkKey] {
        &self.waits
    }

    /// A client waits on this link: it has its turn after the others.
    pub(crate) fn add_wait(&mut self, key: LinkKey) {
        if !self.waits.contains(&key) {
            self.waits.push(key);
        }
    }

    /// The others have their turns first.
    pub(crate) fn put_last(&mut self, key: LinkKey) {
        self.waits.retain(|&other| other != key);
        self.waits.push(key);
    }

    /// The links in the order of their turns; those that go on waiting are put back before what
    /// was added meanwhile.
    pub(crate) fn take_waits(&mut self) -> Vec<LinkKey> {
        mem::take(&mut self.waits)
    }

    /// See [`take_waits`](Self::take_waits).
    pub(crate) fn put_back_waits(&mut self, mut all: Vec<LinkKey>) {
        all.append(&mut self.waits);
        self.waits = all;
    }
}

/// Has a link's bytes sent in this turn.
#[inline]
fn mark_dirty(dirty: &mut VecDeque<LinkKey>, link: &mut Link, key: LinkKey) {
    if !link.dirty && !matches!(link.state, State::Connecting) {
        link.dirty = true;
        dirty.push_back(key);
    }
}
