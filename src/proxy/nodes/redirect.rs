//! Requests that their node sends away: MOVED and ASK name the node that executes them.

use std::mem;

use crate::command::keys::{self, Slots};
use crate::command::slot::Slot;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::redirection::{Redirected, Redirection, Start};
use crate::link::request::{Held, Kind};
use crate::link::stall::Stall;
use crate::proxy::deliver::retry::first_unanswered;
use crate::proxy::deliver::unanswered::End;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{ClientKey, InstanceKey, LinkKey};

/// A request is sent to another node this often; then it waits as one that no node executes.
const REDIRECTIONS_MAX: u8 = 5;

/// The error for a request that cannot be sent again, because it was too large to be kept.
const NOT_KEPT: &[u8] = b"-ERR elika: the slot has moved, and the request is too large to be sent \
    again: not executed\r\n";

/// The reply to a request on a dedicated link that its node sends away.
const MOVED_AWAY: &[u8] = b"-TRYAGAIN The slot has moved to another node\r\n";

impl Machine {
    /// Handles the start of a reply that may redirect its request. Returns how many bytes it took;
    /// `None`: it is another reply.
    pub(in crate::proxy) fn redirected(
        &mut self,
        key: LinkKey,
        bytes: &[u8],
    ) -> Result<Option<usize>, Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(None);
        };
        let index = link.fifo.head;
        let head = self.requests.get(index);
        let Some(head) = head.filter(|head| head.start < link.sent) else {
            return Ok(None);
        };
        if !link.at_redirection(head, bytes) {
            return Ok(None);
        }
        let (to, len) = match link.redirection(bytes) {
            Start::Other => return Ok(None),
            Start::Unknown => {
                link.collect(bytes)?;
                return Ok(Some(bytes.len()));
            }
            Start::Redirection(to, len) => (to, len),
        };
        let line = bytes.get(..len).unwrap_or_default();
        if let Some(health_error) = link.note_error(true, line) {
            self.work.push(Work::Suspect(key, health_error));
        }
        self.separate(key);
        self.take_from_link(key, to, line);
        Ok(Some(len))
    }

    /// The start of a reply on a dedicated link may redirect its request, which cannot go
    /// elsewhere: it belongs to a transaction, or its client is blocked. Returns how many bytes it
    /// takes, and the reply for the client.
    pub(in crate::proxy) fn moved_away(
        &mut self,
        key: LinkKey,
        bytes: &[u8],
    ) -> Result<Option<(usize, &'static [u8])>, Failure> {
        let Some(link) = self.links.get_mut(key).filter(|link| link.clustered) else {
            return Ok(None);
        };
        let head = self.requests.get(link.fifo.head);
        if !head.is_some_and(|head| link.at_redirection(head, bytes)) {
            return Ok(None);
        }
        let of = link.instance;
        match link.redirection(bytes) {
            Start::Redirection(Redirection::Moved(slot, to), len) => {
                self.upstreams.doubt_slots(of);
                to.and_then(|to| self.upstreams.slot_moved(of, slot, to));
                Ok(Some((len, MOVED_AWAY)))
            }
            Start::Redirection(Redirection::Ask(_), len) => Ok(Some((len, MOVED_AWAY))),
            Start::Unknown => {
                link.collect(bytes)?;
                Ok(Some((bytes.len(), b"")))
            }
            Start::Redirection(Redirection::Later, _) | Start::Other => Ok(None),
        }
    }

    /// The first bytes of a reply that may redirect its request, and whose end has not arrived.
    pub(in crate::proxy) fn begun_redirection(&mut self, key: LinkKey) -> Option<Vec<u8>> {
        let link = self.links.get_mut(key)?;
        let begun = link.scanner.at_start() && !link.collected.is_empty();
        let head = self.requests.get(link.fifo.head)?;
        (begun && head.kind.is_counted()).then(|| mem::take(&mut link.collected))
    }

    /// Gives the first request of the record at the head of a link's queue a record of its own.
    fn separate(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let index = link.fifo.head;
        let Some(head) = self.requests.get(index).filter(|head| head.count > 1) else {
            return;
        };
        let (client, start) = (head.client, head.start);
        let next = link.bytes_of(&self.requests, head).and_then(|all| {
            let first = first_unanswered(all, head.count)?;
            let behind = first.as_ptr_range().end as usize - all.as_ptr() as usize;
            Some(start + behind as u64)
        });
        let of_client = self.clients.get_mut(client).map(|client| &mut client.fifo);
        let (mut nobody, start) = (Default::default(), next.unwrap_or(start));
        let of_client = of_client.unwrap_or(&mut nobody);
        self.requests
            .split((index, 1, start), of_client, &mut link.fifo);
    }

    /// Takes the head of a link's queue, which is one request, out of it.
    fn take_from_link(&mut self, key: LinkKey, to: Redirection, line: &[u8]) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let index = link.fifo.head;
        let Some(head) = self.requests.get(index) else {
            return;
        };
        let bytes = link
            .bytes_of(&self.requests, head)
            .and_then(|all| first_unanswered(all, 1));
        let bytes: Option<Box<[u8]>> = bytes.map(Into::into);
        let part = self
            .requests
            .client_of_part(index)
            .filter(|_| head.kind == Kind::Part);
        let client = part.unwrap_or(head.client);
        let (kind, verb, from) = (head.kind, head.verb, link.instance);
        link.traffic.reply_bytes += line.len() as u64;
        link.leave_head(&mut self.requests, (kind, verb));
        link.stall = Stall::None;
        let owner = link.owner();
        self.work.push(Work::ReplyArrived(owner));
        let reply = match bytes {
            Some(_) => line,
            None => NOT_KEPT,
        };
        let redirected = Redirected {
            index,
            client,
            from,
            to,
            bytes: bytes.unwrap_or_default(),
            reply: reply.into(),
        };
        self.work.push(Work::Redirect(Box::new(redirected)));
    }

    /// Sends a request to the node that executes it.
    pub(in crate::proxy) fn send_to_other_node(&mut self, it: Redirected) {
        if !self.clients.contains(it.client) {
            return self.answer_lost(it.index, &it.reply, End::Error);
        }
        self.note_clustered(it.from);
        let (to, asking) = match it.to {
            Redirection::Moved(slot, to) => {
                self.upstreams.doubt_slots(it.from);
                let to = to.and_then(|to| self.upstreams.slot_moved(it.from, slot, to));
                self.stats.counters.redirected_moved += 1;
                (to, false)
            }
            Redirection::Ask(to) => {
                self.stats.counters.redirected_ask += 1;
                (to.and_then(|to| self.upstreams.node_at(it.from, to)), true)
            }
            Redirection::Later => (None, false),
        };
        if it.bytes.is_empty() {
            return self.answer_lost(it.index, &it.reply, End::Error);
        }
        let record = self.requests.get_mut(it.index);
        let often = record.is_none_or(|record| {
            record.retried = record.retried.redirected();
            record.retried.redirections() > REDIRECTIONS_MAX
        });
        let slot = slot_of(&it.bytes);
        let waits = self.requests.holds(it.client, slot);
        let to = to.filter(|_| !often && !waits);
        let sent = to.is_some_and(|to| self.resend(it.index, it.client, to, &it.bytes, asking));
        if !sent {
            self.hold(Held {
                index: it.index,
                client: it.client,
                slot,
                bytes: it.bytes,
                reply: it.reply,
                since: self.now,
                due: self.now,
                behind: None,
            });
        }
    }

    /// Appends a request to the client's link to a node. `asking`: behind ASKING. Returns `false`
    /// if there is no link.
    pub(super) fn resend(
        &mut self,
        index: u32,
        key: ClientKey,
        to: InstanceKey,
        bytes: &[u8],
        asking: bool,
    ) -> bool {
        let lane = self.clients.get(key).and_then(|client| client.lane(to));
        let open = |link: &LinkKey| self.links.get(*link).is_some_and(Link::is_open);
        let on = match lane.filter(open) {
            Some(on) => on,
            None => match self.choose_lane(key, to) {
                Ok(on) => on,
                Err(_) => return false,
            },
        };
        if asking {
            self.ask_server(on, Kind::Asking, &[b"ASKING"]);
        }
        self.move_record(index, on, bytes.len() as u64);
        self.links.append(on, bytes);
        self.stats.counters.asked_again += 1;
        true
    }
}

/// The slot of a request's keys, if it is one.
pub(in crate::proxy) fn slot_of(frame: &[u8]) -> Option<Slot> {
    match keys::slots(frame) {
        Slots::One(slot) => Some(slot),
        Slots::None | Slots::Several | Slots::Unknown => None,
    }
}
