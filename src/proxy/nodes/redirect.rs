//! Requests that their node sends away: MOVED and ASK name the node that executes them.

use std::mem;
use std::net::SocketAddr;

use crate::command::keys::slot_of;
use crate::command::slot::Slot;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::redirection::{Redirected, Redirection, Start};
use crate::link::request::{Doubt, Held, Kind};
use crate::link::stall::Stall;
use crate::link::verb::Verb;
use crate::proxy::deliver::retry::first_unanswered;
use crate::proxy::deliver::unanswered::End;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{ClientKey, InstanceKey, LinkKey};

/// A request is sent to another node this often; then it waits as one that no node executes.
pub(super) const REDIRECTIONS_MAX: u8 = 5;

/// The error for a request that cannot be sent again, because it was too large to be kept.
const NOT_KEPT: &[u8] = b"-ERR elika: the slot has moved, and the request is too large to be sent \
    again: not executed\r\n";

/// The reply to a request whose node is not known, or that cannot go to another node.
pub(super) const MOVED_AWAY: &[u8] = b"-TRYAGAIN The slot has moved to another node\r\n";

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
        let (to, len) = match link.redirection(head.verb, bytes) {
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

    /// The first bytes of a reply that may redirect its request, and whose end has not arrived.
    pub(in crate::proxy) fn begun_redirection(&mut self, key: LinkKey) -> Option<Vec<u8>> {
        let link = self.links.get_mut(key)?;
        let begun = link.scanner.at_start() && !link.collected.is_empty();
        let head = self.requests.get(link.fifo.head)?;
        let redirects = head.kind.is_counted() && head.kind != Kind::Batch;
        (begun && redirects).then(|| mem::take(&mut link.collected))
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
        let (kind, verb, from) = (head.kind, head.verb, (link.instance, link.address));
        link.traffic.reply_bytes += line.len() as u64;
        link.leave_head(&mut self.requests, (kind, verb));
        link.stall = Stall::None;
        self.work.push(Work::ReplyArrived(link.owner()));
        let reply = match (&bytes, to) {
            (None, Redirection::Moved(..) | Redirection::Ask(..)) => NOT_KEPT,
            _ => line,
        };
        let redirected = Redirected {
            index,
            client,
            from: from.0,
            at: from.1,
            to,
            verb,
            bytes: bytes.unwrap_or_default(),
            reply: reply.into(),
        };
        self.work.push(Work::Redirect(Box::new(redirected)));
    }

    /// Sends a request to the node that executes it, or holds it.
    pub(in crate::proxy) fn send_to_other_node(&mut self, it: &Redirected) {
        let (to, asking) = match it.to {
            Redirection::Moved(slot, to) => (Some((slot, to)), false),
            Redirection::Ask(slot, to) => (Some((slot, to)), true),
            Redirection::Later => (None, false),
        };
        let own = slot_of(&it.bytes);
        // The text is the server's own: no client can choose the error of such a command.
        let certain = it.verb != Verb::Script && to.is_some_and(|(slot, _)| own == Some(slot));
        let other = to.is_some_and(|(slot, _)| own.is_some_and(|own| own != slot));
        let foreign = other || !certain && !self.upstreams.is_clustered(it.from);
        if foreign || it.bytes.is_empty() || !self.clients.contains(it.client) {
            return self.answer_lost(it.index, &it.reply, End::Error);
        }
        self.note_clustered(it.from);
        let node = match to {
            Some((slot, Some(to))) => self.node_named(it, slot, to, (certain, asking)),
            _ => None,
        };
        let script = it.verb == Verb::Script;
        let often = self.requests.get_mut(it.index).is_none_or(|record| {
            if to.is_some() {
                record.retried = record.retried.redirected();
            }
            record.retried.redirections() > REDIRECTIONS_MAX
        });
        let waits = self.requests.holds_before(it.index, it.client, own);
        let node = node.filter(|_| !often && !waits);
        let of = (it.index, it.client, it.verb);
        if node.is_some_and(|to| self.resend(of, to, &it.bytes, asking)) {
            return;
        }
        let reply = if to.is_some() { MOVED_AWAY } else { &it.reply };
        let mut held = Held::new(it.index, it.client, &it.bytes, reply);
        held.verb = it.verb;
        if script {
            // It may have been executed.
            if often || asking || to.is_none() {
                return self.answer_lost(it.index, reply, End::Error);
            }
            held.doubt = Some(Doubt {
                node: it.at,
                named: to.and_then(|(_, to)| to),
                learned: self.upstreams.slots_learned(it.from),
            });
        }
        if needs_dedicated(it.verb) {
            self.leave_dedicated(it.client);
        }
        self.hold(held);
    }

    /// The node that a redirection names. `certain`: the redirection is the server's own. Else only
    /// a known node is accepted, because a script may have chosen the text.
    fn node_named(
        &mut self,
        it: &Redirected,
        slot: Slot,
        to: SocketAddr,
        (certain, asking): (bool, bool),
    ) -> Option<InstanceKey> {
        let counters = &mut self.stats.counters;
        match asking {
            true => counters.redirected_ask += 1,
            false => counters.redirected_moved += 1,
        }
        if !asking {
            self.upstreams.doubt_slots(it.from);
        }
        match (certain, asking) {
            (true, false) => self.upstreams.slot_moved(it.from, slot, to),
            (true, true) => self.upstreams.node_at(it.from, to),
            (false, _) => self.upstreams.known_node(it.from, to),
        }
    }

    /// Appends a request to the client's link to a node. `asking`: behind ASKING. Returns `false`
    /// if there is no link.
    pub(super) fn resend(
        &mut self,
        (index, key, verb): (u32, ClientKey, Verb),
        to: InstanceKey,
        bytes: &[u8],
        asking: bool,
    ) -> bool {
        if needs_dedicated(verb) {
            return self.resend_dedicated((index, key, verb), to, bytes, asking);
        }
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

/// Does a request with this verb need a dedicated link? A transaction that is sent in one piece
/// does not.
fn needs_dedicated(verb: Verb) -> bool {
    matches!(verb, Verb::Block | Verb::Watch | Verb::Confirm(_))
}
