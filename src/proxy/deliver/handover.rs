//! The requests of a link that ended.
//!
//! ```text
//!   not sent ─────────────────────────────► moved to another link, complete and in order
//!   sent, and read-only ──────────────────► retried on another link, once; unless its client sent
//!                                           a write after it
//!   sent, and may have been executed ─────► an error, after the replies before it
//! ```
//! All of them go to the same link: to a new one if the lost link was ready, else to a live one of
//! the same pool. Without such a link, the clients get an error. Clients whose requests may have
//! made the server close the link get a separate link, so that the other clients do not lose their
//! requests a second time.
//!
//! Each record keeps its place in its client's queue, so that replies keep their order.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::request::Reason;
use crate::link::request::{Fifo, Kind, Request};
use crate::link::stall::PAUSE_BYTES;
use crate::link::verb::Verb;
use crate::proxy::deliver::retry::{runs, unanswered_reads};
use crate::proxy::machine::Machine;
use crate::store::key::{ClientKey, LinkKey};

/// Unsent requests up to this size are copied, so that the new link remembers them for a retry.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// A client with more requests in flight than this may be why a server closed the link: its replies
/// may exceed the server's limit on unread bytes.
const SUSPECT_MIN: u32 = 16;

/// The links that take over requests.
struct Targets {
    to: Option<LinkKey>,
    /// Clients that may be why the link was lost: their requests are retried on a separate link.
    suspects: BTreeSet<ClientKey>,
    separate: Option<LinkKey>,
}

impl Targets {
    fn of(&self, client: Option<ClientKey>, outcome: &Outcome) -> Option<LinkKey> {
        let suspect = client.is_some_and(|client| self.suspects.contains(&client));
        match outcome {
            Outcome::Retry(_) if suspect => self.separate,
            _ if suspect => self.separate.or(self.to),
            _ => self.to,
        }
    }
}

/// What happens to a request.
enum Outcome {
    /// Its bytes are sent again.
    Retry(Box<[u8]>),
    /// Its bytes, none of which were sent, move to another link.
    Move,
    /// The client gets an error: the request may have been executed.
    InDoubt,
    /// The client gets an error: the request was not executed.
    Unsent,
    /// No client waits for it.
    Drop,
}

impl Machine {
    /// Decides on all requests of a link that was removed from the table.
    pub(in crate::proxy) fn hand_over(
        &mut self,
        lost: &mut Link,
        was_ready: bool,
        failure: &Failure,
    ) {
        self.cut_off(lost);
        self.split_mixed(lost);
        let outcomes = self.outcomes(lost, failure);
        // The server at a new address has not failed.
        let is_fresh = was_ready || *failure == Failure::Fenced;
        let targets = self.targets(lost, is_fresh, &outcomes);
        // The rest of a request that was partly sent is dropped.
        let mut at = lost.sent;
        let ends = lost.ends(&self.requests);
        let (lost_end, unsent_end) = self.client_ends(lost, failure);
        let (mut in_doubt, mut unsent) = (Vec::new(), Vec::new());
        failure.error_if_sent().write(&mut in_doubt);
        failure.error_if_unsent().write(&mut unsent);
        // Another node of a Redis Cluster may serve the slot soon.
        let held = lost.clustered
            && lost.is_shared()
            && matches!(
                failure,
                Failure::Unreachable(_) | Failure::Lost | Failure::TimedOut
            );
        for ((index, outcome), end) in outcomes.into_iter().zip(ends) {
            let client = self.requests.get(index).map(|request| request.client);
            match (&outcome, targets.of(client, &outcome)) {
                (Outcome::Retry(bytes), Some(to)) => self.retry_lost(index, to, bytes),
                (Outcome::Retry(bytes), None) if lost.clustered => {
                    self.hold_lost(index, Some(bytes), &unsent);
                }
                (Outcome::Move | Outcome::Unsent, None) if held => {
                    let request = self.requests.get(index);
                    let bytes = request.and_then(|it| lost.bytes_of(&self.requests, it));
                    self.hold_lost(index, bytes, &unsent);
                }
                (Outcome::Retry(_) | Outcome::InDoubt, _) => {
                    self.answer_lost(index, &in_doubt, lost_end);
                }
                (Outcome::Move, Some(to)) => {
                    let start = self.requests.get(index).map_or(at, |it| it.start);
                    let skip = usize::try_from(start.saturating_sub(at)).unwrap_or(usize::MAX);
                    self.links.chunks_mut().consume(&mut lost.outbound, skip);
                    self.move_unsent(index, lost, to, end.saturating_sub(start));
                    at = end;
                }
                (Outcome::Move | Outcome::Unsent, _) => {
                    self.answer_lost(index, &unsent, unsent_end);
                }
                (Outcome::Drop, _) => self.requests.forget(index),
            }
        }
        lost.fifo = Fifo::default();
    }

    /// Closes the client whose reply is partly delivered: no other bytes may follow a partial
    /// reply.
    fn cut_off(&mut self, lost: &Link) {
        if lost.reply_bytes > 0
            && let Some(head) = self.requests.get(lost.fifo.head)
            && head.kind == Kind::Deliver
            && let key = head.client
            && self.clients.contains(key)
        {
            self.finish_client(key);
            self.clients.silence(&mut self.requests, key);
            self.clients.mark_dirty(key);
        }
    }

    /// Splits records of several sent requests, some of which are read-only.
    fn split_mixed(&mut self, lost: &mut Link) {
        let mut index = lost.fifo.head;
        while let Some(record) = self.requests.get(index) {
            let (mut last, next, key) = (index, record.next_of_link, record.client);
            index = next;
            let (from, count) = (record.start, record.count);
            let bytes = lost.bytes_of(&self.requests, record);
            let bytes = bytes.filter(|_| (from < lost.sent || lost.clustered) && count > 1);
            let (Some(bytes), Some(client)) = (bytes, self.clients.get_mut(key)) else {
                continue;
            };
            // The next owners of the slots of a Redis Cluster may differ.
            for pair in runs(bytes, count, lost.clustered).windows(2) {
                if let [(count, _), (_, start)] = *pair {
                    let cut = (last, count, from + start as u64);
                    last = self.requests.split(cut, &mut client.fifo, &mut lost.fifo);
                }
            }
        }
    }

    /// What happens to each request, in order.
    fn outcomes(&self, lost: &Link, failure: &Failure) -> Vec<(u32, Outcome)> {
        let moves = lost.is_shared()
            && !lost.is_dedicated()
            && match failure {
                Failure::Removed | Failure::Rejected(_) => false,
                Failure::Refused(_) => self.is_logged_out(lost, failure),
                // The server runs a script: a directly connected client gets this error, too.
                Failure::Busy(_) => false,
                _ => true,
            };
        let ended = matches!(
            failure,
            Failure::Lost | Failure::Desync(_) | Failure::Fenced
        );
        let again = moves && ended;
        let queue = self.requests.of_link(lost.fifo);
        let outcome = |(index, request): (u32, &Request)| {
            let sent = request.start < lost.sent;
            let open = request.kind.is_part() || self.clients.contains(request.client);
            let outcome = match request.kind {
                kind if !kind.is_counted() => Outcome::Drop,
                _ if sent && !open => Outcome::Drop,
                _ if sent => again
                    .then(|| self.retry_bytes(lost, request))
                    .flatten()
                    .map_or(Outcome::InDoubt, Outcome::Retry),
                // A WAIT is never moved: on another link it would not cover the client's writes.
                _ if moves && !request.verb.is_untimed() => Outcome::Move,
                _ => Outcome::Unsent,
            };
            (index, outcome)
        };
        let mut outcomes: Vec<_> = queue.map(outcome).collect();
        // A retried read must not see a write that its client sent after it.
        let mut in_doubt = HashSet::new();
        for (index, outcome) in outcomes.iter_mut().rev() {
            let client = self.requests.get(*index).map(|request| request.client);
            match outcome {
                Outcome::InDoubt => drop(in_doubt.insert(client)),
                Outcome::Retry(_) if in_doubt.contains(&client) => *outcome = Outcome::InDoubt,
                _ => {}
            }
        }
        outcomes
    }

    /// The bytes of a sent request, if it may be retried.
    fn retry_bytes(&self, lost: &Link, request: &Request) -> Option<Box<[u8]>> {
        let plain = matches!(request.kind, Kind::Deliver | Kind::Part);
        let plain = plain && request.verb == Verb::Plain;
        // A server closes the link of a client that does not read: this client may be why.
        let client = self.clients.get(request.client);
        let reads = client.is_none_or(|client| client.outbound.len() <= PAUSE_BYTES);
        if !plain || !reads || request.retried.has(Reason::LinkLost) {
            return None;
        }
        let bytes = lost.bytes_of(&self.requests, request)?;
        Some(unanswered_reads(bytes, request.count)?.into())
    }

    /// Chooses the links that take over the requests of a lost link.
    fn targets(&mut self, lost: &Link, was_ready: bool, outcomes: &[(u32, Outcome)]) -> Targets {
        let mut due: BTreeMap<ClientKey, u32> = BTreeMap::new();
        let (mut again, mut moved) = (Vec::new(), false);
        for (index, outcome) in outcomes {
            let Some(request) = self.requests.get(*index) else {
                continue;
            };
            if request.start < lost.sent && request.kind.is_counted() {
                *due.entry(request.client).or_default() += request.count;
            }
            match outcome {
                Outcome::Retry(_) => again.push(request.client),
                Outcome::Move => moved = true,
                _ => {}
            }
        }
        let head = self.requests.get(lost.fifo.head).map(|head| head.client);
        let alone = due.len() < 2;
        due.retain(|client, due| !alone && (*due > SUSPECT_MIN || Some(*client) == head));
        let mut targets = Targets {
            to: None,
            suspects: due.into_keys().collect(),
            separate: None,
        };
        if moved
            || again
                .iter()
                .any(|client| !targets.suspects.contains(client))
        {
            targets.to = self.successor(lost, was_ready);
        }
        let size = self.upstreams.pool_size(lost.pool);
        let room = size.is_some_and(|size| size < self.settings.pool_connections_max);
        if room && was_ready && again.iter().any(|client| targets.suspects.contains(client)) {
            targets.separate = self.open_shared(lost.pool);
            if let Some(separate) = targets.separate.and_then(|key| self.links.get_mut(key)) {
                separate.is_successor = true;
            }
        }
        targets
    }

    /// The link that takes over the requests of a lost one. A link that took over requests itself
    /// and has not sent a byte gets no successor: otherwise requests could move without end.
    fn successor(&mut self, lost: &Link, was_ready: bool) -> Option<LinkKey> {
        if was_ready
            && !lost.is_successor
            && !self.upstreams.is_gone(lost.pool)
            && let Some(new) = self.open_shared(lost.pool)
        {
            self.links.get_mut(new)?.is_successor = true;
            return Some(new);
        }
        self.upstreams.best_link(lost.pool, &self.links, self.now)
    }

    fn retry_lost(&mut self, index: u32, to: LinkKey, bytes: &[u8]) {
        self.move_record(index, to, bytes.len() as u64);
        if let Some(request) = self.requests.get_mut(index) {
            request.retried = request.retried.and(Reason::LinkLost);
        }
        self.links.append(to, bytes);
        self.stats.counters.asked_again += 1;
        self.stats.counters.asked_again_lost += 1;
    }

    /// Moves the first `len` bytes that a lost link did not send, with their record.
    fn move_unsent(&mut self, index: u32, lost: &mut Link, to: LinkKey, len: u64) {
        let client = self.requests.get(index).map(|request| request.client);
        let from = client.and_then(|key| Some(self.clients.get(key)?.link));
        self.move_record(index, to, len);
        if lost.sent == 0
            && let Some((client, from)) = client.zip(from)
            && let Some(client) = self.clients.get_mut(client)
        {
            // The client wrote nothing on the lost link.
            client.forget_former(from);
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let chunks = self.links.chunks_mut();
        let mut bytes = chunks.split_front(&mut lost.outbound, len);
        if len <= COPY_BYTES_MAX
            && let Ok(copy) = chunks.take_whole(&mut bytes)
        {
            self.links.append(to, &copy);
        } else {
            self.links.append_list(to, &mut bytes);
        }
    }

    /// Appends a record to the queue of another link. The caller appends its bytes.
    pub(in crate::proxy) fn move_record(&mut self, index: u32, to: LinkKey, len: u64) {
        let Some(request) = self.requests.get(index) else {
            return;
        };
        let key = request.client;
        if self.links.get(to).is_some_and(|link| link.paused) {
            self.links.note_follower(&self.requests, to, key, self.now);
        }
        let Some(link) = self.links.get_mut(to) else {
            return;
        };
        link.start_clock(self.now);
        link.take_over(&mut self.requests, index, len);
        if let Some(client) = self.clients.get_mut(key) {
            client.follow(link.instance, to);
        }
    }
}
