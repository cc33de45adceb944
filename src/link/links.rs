//! All links of a worker: their table, the bytes to send to servers, and the lists of links that
//! need attention.

mod waits;

use std::mem;

use std::collections::VecDeque;

use super::handshake::Handshake;
use super::link::{Link, State};
use super::request::{Fifo, Kind, Requests};
use super::role::{IllegalRole, Role};
use super::stall::Stall;
use super::verb::Verb;
use crate::command::proxy_command;
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::{ClientKey, InstanceKey, LinkKey};
use crate::store::table::Table;
use crate::store::time::Millis;

/// All links of a worker. See the module.
#[derive(Debug)]
pub(crate) struct Links {
    table: Table<LinkKey, Link>,
    /// Bytes to send to servers. While a server does not take them, clients are read paused.
    chunks: ChunkPool,
    /// Links with bytes to send.
    dirty: VecDeque<LinkKey>,
    /// Links on which clients wait behind a slowly read or late reply.
    stalled: Vec<LinkKey>,
    /// Links to a name that did not resolve: they fail in the next turn.
    unresolved: Vec<LinkKey>,
    /// Links on which clients wait for replicas, in the order in which they are asked.
    waits: Vec<LinkKey>,
    /// The number of links that are connecting.
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
    /// Adds a link that is connecting. A link without an address fails in the next turn.
    pub(crate) fn open(&mut self, link: Link) -> LinkKey {
        let resolved = link.address.is_some();
        let key = self.table.insert(link);
        if !resolved {
            self.unresolved.push(key);
        }
        self.opening += 1;
        key
    }

    /// Counts that a link is no longer connecting: its handshake is complete.
    pub(crate) fn opened(&mut self) {
        self.opening -= 1;
    }

    /// Counts a verifier that starts the handshake of a pool.
    pub(crate) fn opens_again(&mut self) {
        self.opening += 1;
    }

    /// Is the server of these links a node of a Redis Cluster, and does a label say that it is
    /// none?
    pub(crate) fn set_clustered(&mut self, of: InstanceKey, clustered: bool, is_single: bool) {
        for key in self.table.keys() {
            if let Some(link) = self.table.get_mut(key).filter(|it| it.instance == of) {
                (link.clustered, link.is_single) = (clustered, is_single);
            }
        }
    }

    pub(crate) fn any_opening(&self) -> bool {
        self.opening > 0
    }

    /// Takes the links whose names did not resolve.
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

    /// Changes a link's role.
    ///
    /// # Errors
    ///
    /// See [`Role::to`].
    pub(crate) fn assign(&mut self, key: LinkKey, role: Role) -> Result<(), IllegalRole> {
        self.table.get_mut(key).map_or(Ok(()), |it| it.assign(role))
    }

    /// Removes a link. The caller handles its requests and their bytes.
    pub(crate) fn remove(&mut self, key: LinkKey) -> Option<Link> {
        self.waits.retain(|&other| other != key);
        let mut link = self.table.remove(key)?;
        self.chunks.clear(&mut link.handshake_bytes);
        self.opening -= usize::from(link.is_opening());
        Some(link)
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

    /// Frees memory that is not needed now.
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

    /// Appends the bytes of recorded requests; they are sent in this turn.
    #[inline]
    pub(crate) fn append(&mut self, key: LinkKey, bytes: &[u8]) {
        if let Some(link) = self.table.get_mut(key) {
            self.chunks.append(&mut link.outbound, bytes);
            if !link.is_dedicated() {
                link.recent.push(bytes, link.clustered);
            }
            mark_dirty(&mut self.dirty, link, key);
        }
    }

    /// Like [`append`](Self::append), for a list of chunks and without a copy.
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

    /// Appends bytes of the handshake, which are sent before all requests.
    pub(crate) fn append_handshake(&mut self, key: LinkKey, bytes: &[u8]) {
        if let Some(link) = self.table.get_mut(key) {
            self.chunks.append(&mut link.handshake_bytes, bytes);
            mark_dirty(&mut self.dirty, link, key);
        }
    }

    /// Sends the first flight of a handshake.
    pub(crate) fn begin_handshake(&mut self, key: LinkKey, mut handshake: Handshake, now: Millis) {
        let bytes = handshake.next_flight();
        if let Some(link) = self.table.get_mut(key) {
            link.since = now;
            link.state = State::Handshake(Box::new(handshake));
        }
        self.append_handshake(key, &bytes);
    }

    /// Ends a link's read pause. Returns whether it was read paused.
    #[inline]
    pub(crate) fn unpause(&mut self, key: LinkKey, now: Millis) -> bool {
        self.table
            .get_mut(key)
            .is_some_and(|link| link.unpause(now))
    }

    /// Sends a server a request on the proxy's own account.
    pub(crate) fn ask(
        &mut self,
        requests: &mut Requests,
        on: LinkKey,
        kind: Kind,
        question: &[&[u8]],
        now: Millis,
    ) {
        self.ask_all(requests, on, kind, &[question], now);
    }

    /// Sends a server several requests on the proxy's own account. Their replies are handled
    /// together.
    pub(crate) fn ask_all(
        &mut self,
        requests: &mut Requests,
        on: LinkKey,
        kind: Kind,
        questions: &[&[&[u8]]],
        now: Millis,
    ) {
        let Some(link) = self.table.get_mut(on) else {
            return;
        };
        let mut bytes = Vec::new();
        for question in questions {
            proxy_command::write(&mut bytes, question);
        }
        link.start_clock(now);
        let verb = match kind {
            Kind::Wait => Verb::Wait,
            _ => Verb::Plain,
        };
        let nobody = (&mut Fifo::default(), ClientKey::NONE);
        let count = questions.len() as u32;
        link.push(requests, nobody, (kind, verb), count, bytes.len());
        self.append(on, &bytes);
    }

    /// Forgets the bytes of requests that are answered: they are not needed for a retry.
    #[inline]
    pub(crate) fn note_answered(&mut self, requests: &Requests, key: LinkKey) {
        if let Some(link) = self.table.get_mut(key) {
            let next = requests.get(link.fifo.head);
            let until = next.map_or(link.queued, |next| next.start);
            link.recent.answered(until);
        }
    }

    /// Queues a link that may have bytes to send.
    pub(crate) fn mark_dirty(&mut self, key: LinkKey) {
        if let Some(link) = self.table.get_mut(key) {
            mark_dirty(&mut self.dirty, link, key);
        }
    }

    /// The next link with bytes to send.
    pub(crate) fn next_dirty(&mut self) -> Option<LinkKey> {
        while let Some(key) = self.dirty.pop_front() {
            if let Some(link) = self.table.get_mut(key) {
                link.dirty = false;
                return Some(key);
            }
        }
        None
    }

    /// The bytes to send on a link now.
    #[inline]
    pub(crate) fn to_send(&self, key: LinkKey) -> Option<(&ChunkPool, &ChunkList)> {
        let link = self.table.get(key)?;
        let list = match link.state {
            State::Connecting => return None,
            State::Handshake(_) | State::Verifying(_) => &link.handshake_bytes,
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
            self.chunks.consume(&mut link.handshake_bytes, n);
            return link.handshake_bytes.len();
        }
        self.chunks.consume(&mut link.outbound, n);
        link.sent += n as u64;
        link.is_successor &= n == 0;
        link.outbound.len()
    }
}

/// Links on which clients wait behind another client's reply.
impl Links {
    /// Requests of `by` are about to be appended to a link's queue.
    #[inline]
    pub(crate) fn begin(&mut self, requests: &Requests, key: LinkKey, by: ClientKey, now: Millis) {
        let Some(link) = self.table.get_mut(key) else {
            return;
        };
        if link.fifo.is_empty() {
            link.since = now;
        } else if link.paused || link.is_late(now) {
            self.note_follower(requests, key, by, now);
        }
    }

    /// A request of `by` was queued behind a link's outstanding replies. If the link is read paused
    /// or its reply is late, the link is checked, so that the request does not wait long.
    pub(crate) fn note_follower(
        &mut self,
        requests: &Requests,
        key: LinkKey,
        by: ClientKey,
        now: Millis,
    ) {
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
            // The request may be a read that found no other link.
            Stall::Held(_) => link.stall = Stall::Served(now),
            _ => {}
        }
    }

    /// Sets the state of a link's waiting clients: the link is checked until it is `None` or
    /// `Kept`.
    pub(crate) fn stall(&mut self, key: LinkKey, stall: Stall) {
        if let Some(link) = self.table.get_mut(key) {
            link.stall = stall;
            // The link may have been in the list since its last stall.
            if !self.stalled.contains(&key) {
                self.stalled.push(key);
            }
        }
    }

    /// The reply of a link is late: the link is checked.
    pub(crate) fn note_late(&mut self, key: LinkKey) {
        if let Some(link) = self.table.get(key) {
            let late = Stall::Late(link.since.after(link.late_ms));
            self.stall(key, late);
        }
    }

    #[inline]
    pub(crate) fn any_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    pub(crate) fn stalled(&self) -> &[LinkKey] {
        &self.stalled
    }

    /// Takes the links to check; the caller puts back those that are still stalled.
    pub(crate) fn take_stalled(&mut self) -> Vec<LinkKey> {
        mem::take(&mut self.stalled)
    }

    /// See [`take_stalled`](Self::take_stalled).
    pub(crate) fn put_back_stalled(&mut self, key: LinkKey) {
        self.stalled.push(key);
    }
}

/// Queues a link whose bytes are sent in this turn.
#[inline]
fn mark_dirty(dirty: &mut VecDeque<LinkKey>, link: &mut Link, key: LinkKey) {
    if !link.dirty && !matches!(link.state, State::Connecting) {
        link.dirty = true;
        dirty.push_back(key);
    }
}
