//! Dedicated links to nodes of a Redis Cluster: when the slot moves, or the node fails, another
//! node gets what was not executed.
//!
//! ```text
//!   the node sends away          the client gets     and then
//!   a command inside MULTI       QUEUED              EXEC sends all of it to the other node
//!   EXEC, of watched keys        null                it starts again, as if a key had changed
//!   BLPOP, WATCH, SSUBSCRIBE     nothing             a dedicated link to the other node gets it
//! ```

use std::mem;

use crate::command::keys::slot_of;
use crate::command::timeout::with_time_left;
use crate::dedicated::pin::{Change, Pin};
use crate::dedicated::repeat::{Repeat, Transaction};
use crate::dedicated::watches::Watches;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::redirection::{Redirected, Redirection, Start};
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::deliver::unanswered::End;
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::proxy::nodes::redirect::MOVED_AWAY;
use crate::proxy::work::Work;
use crate::resp::{Args, Protocol};
use crate::session::client::Client;
use crate::session::phase::Phase;
use crate::store::key::{ClientKey, InstanceKey, LinkKey};
use crate::store::time::Millis;

/// The reply of a server to a command inside MULTI.
const QUEUED: &[u8] = b"+QUEUED\r\n";

/// What happens to a request that its node sends away.
enum Step {
    /// The reply passes.
    Pass,
    /// The client gets this instead.
    Instead(&'static [u8]),
    /// This request goes to another node.
    Repeat(Box<[u8]>),
    /// The transaction goes to another node.
    Execute,
}

impl Machine {
    /// A request is sent. On a dedicated link to a node it is remembered: another node may have to
    /// execute it. `len`: its length, if these are not all of its bytes.
    #[inline]
    pub(in crate::proxy) fn remember(
        &mut self,
        key: ClientKey,
        verb: Verb,
        (bytes, len): (&[u8], usize),
    ) {
        if self.upstreams.any_clustered() && self.is_clustered(key) {
            let request = Some(bytes).filter(|bytes| bytes.len() == len);
            if let Some(pin) = self.clients.pin_mut(key) {
                pin.repeat.sent(verb, request, self.now);
            }
        }
    }

    /// Handles the start of a reply on a dedicated link that may send its request away. Returns how
    /// many bytes it takes, and what the client gets instead of them.
    pub(in crate::proxy) fn sent_away(
        &mut self,
        key: LinkKey,
        bytes: &[u8],
    ) -> Result<Option<(usize, &'static [u8])>, Failure> {
        let Some(link) = self.links.get_mut(key).filter(|link| link.clustered) else {
            return Ok(None);
        };
        let at = bytes.first() == Some(&b'-') && link.scanner.at_start();
        let head = self.requests.get(link.fifo.head).filter(|_| at);
        let Some(head) = head.filter(|it| it.start < link.sent && it.kind.is_counted()) else {
            return Ok(None);
        };
        let Some(client) = self.clients.get(link.owner()) else {
            return Ok(None);
        };
        let Some(pin) = client.pin() else {
            return Ok(None);
        };
        let aborts = head.verb == Verb::Exec && pin.repeat.transaction().is_some();
        let (to, len) = match Redirection::read(bytes, link.address) {
            Start::Redirection(to, len) => (Some(to), len),
            Start::Other if !aborts => return Ok(None),
            Start::Other if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') => {
                (None, end + 1)
            }
            Start::Other | Start::Unknown => {
                link.collect(bytes)?;
                return Ok(Some((bytes.len(), b"")));
            }
        };
        let alone = link.fifo.head == link.fifo.tail;
        let step = step((client, self.now), pin, (head.verb, alone), to);
        let (verb, of, at) = (head.verb, link.instance, link.address);
        if to.is_some() {
            self.upstreams.doubt_slots(of);
        }
        let line = bytes.get(..len).unwrap_or_default();
        match step {
            Step::Pass => return Ok(None),
            Step::Instead(reply) => {
                if let Some(pin) = self.clients.pin_mut(self.owner_of(key))
                    && let Some(transaction) = pin.repeat.transaction_mut()
                {
                    transaction.moved = transaction.moved.or(to);
                }
                return Ok(Some((len, reply)));
            }
            Step::Repeat(bytes) => {
                if let Some((index, client)) = self.take_from_dedicated(key) {
                    let redirected = Redirected {
                        index,
                        client,
                        from: of,
                        at,
                        to: to.unwrap_or(Redirection::Later),
                        verb,
                        bytes,
                        reply: line.into(),
                    };
                    self.work.push(Work::Redirect(Box::new(redirected)));
                }
            }
            Step::Execute => {
                let pin = self.clients.pin_mut(self.owner_of(key));
                let transaction = pin.and_then(|pin| pin.take_transaction());
                if let Some(mut transaction) = transaction
                    && let Some((index, client)) = self.take_from_dedicated(key)
                {
                    transaction.moved = transaction.moved.or(to);
                    self.work.push(Work::Execute(client, index, transaction));
                }
            }
        }
        Ok(Some((len, b"")))
    }

    fn owner_of(&self, key: LinkKey) -> ClientKey {
        self.links
            .get(key)
            .map(|link| link.owner())
            .unwrap_or_default()
    }

    /// Takes the head of a dedicated link's queue out of it, because another node gets it.
    fn take_from_dedicated(&mut self, key: LinkKey) -> Option<(u32, ClientKey)> {
        let link = self.links.get_mut(key)?;
        let index = link.fifo.head;
        let head = self.requests.get(index)?;
        let (client, kind, verb) = (head.client, head.kind, head.verb);
        link.leave_head(&mut self.requests, (kind, verb));
        self.requests.get_mut(index)?.verb = Verb::Plain;
        self.work.push(Work::ReplyArrived(link.owner()));
        let pin = self.clients.pin_mut(client)?;
        pin.answered(verb);
        pin.repeat = Repeat::Nothing;
        match verb {
            Verb::Exec => pin.end_transaction(),
            Verb::Watch => drop(pin.changes.pop_front()),
            _ => {}
        }
        Some((index, client))
    }

    /// A dedicated link ended. What it was not asked to execute is executed by another node: it is
    /// taken from the link's queue.
    pub(in crate::proxy) fn save_unexecuted(&mut self, key: LinkKey, link: &mut Link) {
        let owner = link.owner();
        let torn = !link.scanner.at_start();
        let Some(client) = self.clients.get_mut(owner).filter(|it| it.link == key) else {
            return;
        };
        let Some(pin) = client.pin_mut().filter(|_| link.clustered && !torn) else {
            return;
        };
        let in_doubt = |verb: Verb| {
            let mut queue = self.requests.of_link(link.fifo);
            queue.any(|(_, it)| it.verb == verb && it.start < link.sent)
        };
        if let Some(mut transaction) = pin.take_transaction() {
            if pin.is_movable() && pin.watched.is_empty() && transaction.slot.is_some() {
                transaction.moved = transaction.moved.or(Some(Redirection::Later));
                let saved = Some(transaction).filter(|_| !in_doubt(Verb::Exec));
                pin.end_transaction();
                self.answer_queued(owner, link, saved);
            }
        } else if let Repeat::Request { bytes, .. } = mem::take(&mut pin.repeat)
            && !pin.holds()
            && !in_doubt(Verb::Block)
        {
            self.save_request(owner, link, bytes);
        }
    }

    /// The one request of a link that ended is sent to another node.
    fn save_request(&mut self, owner: ClientKey, link: &mut Link, bytes: Box<[u8]>) {
        let index = link.fifo.head;
        let Some(head) = self.requests.get(index).filter(|_| index == link.fifo.tail) else {
            return;
        };
        let (kind, verb) = (head.kind, head.verb);
        link.leave_head(&mut self.requests, (kind, verb));
        if let Some(record) = self.requests.get_mut(index) {
            record.verb = Verb::Plain;
        }
        if let Some(pin) = self.clients.pin_mut(owner) {
            pin.answered(verb);
            pin.changes.clear();
        }
        let redirected = Redirected {
            index,
            client: owner,
            from: link.instance,
            at: link.address,
            to: Redirection::Later,
            verb,
            bytes,
            reply: MOVED_AWAY.into(),
        };
        self.work.push(Work::Redirect(Box::new(redirected)));
    }

    /// Answers the commands of a transaction whose link ended. `saved`: EXEC was not sent.
    fn answer_queued(
        &mut self,
        owner: ClientKey,
        link: &mut Link,
        mut saved: Option<Box<Transaction>>,
    ) {
        while let Some(head) = self.requests.get(link.fifo.head) {
            let (index, client, kind, verb) = (link.fifo.head, head.client, head.kind, head.verb);
            if verb == Verb::Exec && saved.is_none() {
                // It may have been executed.
                return;
            }
            link.leave_head(&mut self.requests, (kind, verb));
            if let Some(record) = self.requests.get_mut(index) {
                record.verb = Verb::Plain;
            }
            if let Some(pin) = self.clients.pin_mut(owner) {
                pin.answered(verb);
            }
            if verb == Verb::Exec
                && let Some(transaction) = saved.take()
            {
                self.work.push(Work::Execute(client, index, transaction));
                continue;
            }
            let reply: &[u8] = match verb {
                Verb::Multi | Verb::Discard => b"+OK\r\n",
                _ => QUEUED,
            };
            self.answer_held((client, index), reply);
            if verb == Verb::Discard {
                saved = None;
            }
        }
        if let Some(client) = self.clients.get_mut(owner)
            && saved.is_some()
        {
            client.details_mut().opened = saved;
        }
    }

    /// Gives back a client's dedicated link, if another node executes the only request in flight.
    pub(super) fn leave_dedicated(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let empty = self
            .links
            .get(client.link)
            .is_some_and(|it| it.fifo.is_empty());
        let idle = |pin: &Pin| empty && pin.unsettled == 0 && !pin.holds();
        if client.pin().is_some_and(idle) {
            self.unpin(key);
        }
    }

    /// Sends a request that needs a dedicated link to a node. Returns `false` if that is not
    /// possible now.
    pub(super) fn resend_dedicated(
        &mut self,
        (index, key, verb): (u32, ClientKey, Verb),
        to: InstanceKey,
        bytes: &[u8],
        asking: bool,
    ) -> bool {
        let Some(client) = self
            .clients
            .get(key)
            .filter(|it| it.phase() != Phase::Queued)
        else {
            return false;
        };
        let own = self.links.get(client.link);
        let on_node = own.is_some_and(|own| own.instance == to && own.is_dedicated());
        if client.pin().is_none() || !on_node {
            self.leave_dedicated(key);
        }
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        match client.pin() {
            Some(_) if on_node => {}
            Some(_) => return false,
            None => {
                let pool = client.pool;
                let pool = self.upstreams.pool_on(to, pool);
                if self.upstreams.fails_fast(pool, self.now) {
                    return false;
                }
                match self.pin(key, pool) {
                    Ok(()) => {}
                    Err(Refusal::Error(error)) if !self.upstreams.is_gone(pool) => {
                        let mut reply = Vec::new();
                        error.write(&mut reply);
                        self.answer_lost(index, &reply, End::Error);
                        return true;
                    }
                    Err(_) => return false,
                }
            }
        }
        let Some(on) = self.clients.get(key).map(|client| client.link) else {
            return false;
        };
        if asking {
            self.ask_server(on, Kind::Asking, &[b"ASKING"]);
        }
        let (Some(link), Some(client)) = (self.links.get_mut(on), self.clients.get_mut(key)) else {
            return false;
        };
        self.requests.set_verb(index, verb);
        link.start_clock(self.now);
        link.take_over(&mut self.requests, index, bytes.len() as u64);
        self.links.append(on, bytes);
        let db = client.db;
        if let Some(pin) = client.pin_mut() {
            pin.slot = slot_of(bytes);
            pin.sent(verb);
            pin.repeat.sent(verb, Some(bytes), self.now);
            if verb == Verb::Watch {
                let hashes = Watches::hashes(db, Args::new(bytes).skip(1));
                pin.changes.push_back(Change::Watch(hashes));
            }
        }
        self.stats.counters.asked_again += 1;
        true
    }
}

/// What happens to the head of the queue of a client's dedicated link, which is the only request
/// in it if it is `alone`. `to`: its node does not execute it; `None`: it is EXEC, and its reply
/// is another error.
fn step(
    (client, now): (&Client, Millis),
    pin: &Pin,
    (verb, alone): (Verb, bool),
    to: Option<Redirection>,
) -> Step {
    let refused = match to {
        Some(Redirection::Moved(..) | Redirection::Ask(..)) => Step::Instead(MOVED_AWAY),
        Some(Redirection::Later) | None => Step::Pass,
    };
    let movable = pin.is_movable() && pin.slot.is_some();
    match (&pin.repeat, verb) {
        (Repeat::Transaction(_), _) if !pin.multi || !movable => refused,
        (Repeat::Transaction(_), Verb::Multi | Verb::Discard) => refused,
        (Repeat::Transaction(it), Verb::Exec) if it.failed || it.moved.or(to).is_none() => refused,
        (Repeat::Transaction(_), Verb::Exec) if pin.watched.is_empty() => Step::Execute,
        (Repeat::Transaction(_), Verb::Exec) => Step::Instead(match client.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        }),
        (Repeat::Transaction(_), _) => Step::Instead(QUEUED),
        (Repeat::Request { bytes, since }, _) if alone && !pin.holds() => {
            Step::Repeat(with_time_left(bytes, now.since(*since)).into())
        }
        _ => refused,
    }
}
