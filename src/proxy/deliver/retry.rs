//! Retries read-only requests on another link when they wait behind a reply that its client reads
//! slowly (`slow_reader`) or that is late (`late`). Their replies on the first link are dropped.
//! Requests of a lost link are in `handover`.

use std::collections::HashSet;

use crate::command;
use crate::resp::{RequestDecoder, RequestLimits, Step};

use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::request::Kind;
use crate::link::request::Reason;
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::session::client::{Flag, Hold};
use crate::store::key::{ClientKey, LinkKey};

impl Machine {
    /// Retries the requests behind the head's reply on other links, if they are read-only: each
    /// client on a link of its own if there are enough, because some may read as slowly as the
    /// head's client. Returns whether to wait for more links, unless this is the `last` attempt.
    pub(in crate::proxy) fn retry_elsewhere(&mut self, key: LinkKey, last: bool) -> bool {
        let (movable, unused) = (
            self.movable(key),
            self.upstreams.unused_links(key, &self.links),
        );
        if !last && self.open_more_links(key, movable.len().saturating_sub(unused.len())) {
            return true;
        }
        for (client, to) in movable.into_iter().zip(unused.into_iter().cycle()) {
            self.retry_on(client, key, to, Reason::SlowReader);
        }
        false
    }

    /// Opens links of the same pool until `wanted` are ready or connecting, or the pool is full.
    /// Returns whether any is connecting.
    pub(in crate::proxy) fn open_more_links(&mut self, key: LinkKey, wanted: usize) -> bool {
        let Some(pool_key) = self.links.get(key).map(|link| link.pool) else {
            return false;
        };
        let in_backoff = self.upstreams.is_in_backoff(pool_key, self.now);
        loop {
            let opening = self.upstreams.opening_links(pool_key, &self.links);
            let room = !in_backoff && self.has_room(pool_key, 0);
            if opening >= wanted || !room || self.open_shared(pool_key).is_none() {
                return wanted > 0 && opening > 0;
            }
        }
    }

    /// The clients behind the head's client that wait only for replies to reads.
    pub(in crate::proxy) fn movable(&self, key: LinkKey) -> Vec<ClientKey> {
        let Some(link) = self.links.get(key) else {
            return Vec::new();
        };
        let mut queue = self.requests.of_link(link.fifo);
        let reader = queue.next().map(|(_, head)| head.client);
        let (mut movable, mut seen, mut bound) = (Vec::new(), HashSet::new(), HashSet::new());
        for (_, request) in queue {
            let key = request.client;
            let Some(client) = self.clients.get(key).filter(|_| Some(key) != reader) else {
                continue;
            };
            let bytes = link.bytes_of(&self.requests, request);
            let plain = request.kind == Kind::Deliver && request.verb == Verb::Plain;
            // A client that waits for room on this link is not resumed when another link has room.
            let free = !client.hold.has(Hold::LINK);
            if !plain || !free || !bytes.is_some_and(only_reads) {
                bound.insert(key);
            } else if seen.insert(key) {
                movable.push(key);
            }
        }
        movable.retain(|client| !bound.contains(client));
        movable
    }

    /// Sends all requests that a client has in flight on `from` again, on `to`.
    pub(in crate::proxy) fn retry_on(
        &mut self,
        key: ClientKey,
        from: LinkKey,
        to: LinkKey,
        why: Reason,
    ) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        // A client of a Redis Cluster may have requests on other links, too.
        let of = self.links.get(from).map(|link| (link.instance, link.fifo));
        let (node, on_link) = of.unwrap_or_default();
        let its = self
            .requests
            .of_link(on_link)
            .filter(|(_, it)| it.client == key);
        let its: HashSet<u32> = its.map(|(index, _)| index).collect();
        let queue = std::mem::take(&mut client.fifo);
        let mut index = queue.head;
        while let Some(request) = self.requests.get(index) {
            let next = request.next_of_client;
            if !its.contains(&index) {
                self.requests.append_to_client(&mut client.fifo, index);
            } else if let Some(old) = self.links.get_mut(from) {
                let bytes = old.bytes_of(&self.requests, request);
                let bytes = bytes.unwrap_or_default().to_vec();
                let moved = (request.count, request.arrived);
                let retried = request.retried.and(why);
                old.abandon(&mut self.requests, index);
                let Some(new) = self.links.get_mut(to) else {
                    return;
                };
                new.start_clock(self.now);
                let what = (Kind::Deliver, Verb::Plain);
                let (queue, (count, arrived)) = ((&mut client.fifo, key), moved);
                new.push(&mut self.requests, queue, what, count, bytes.len());
                if let Some(request) = self.requests.get_mut(new.fifo.tail) {
                    (request.retried, request.arrived) = (retried, arrived);
                }
                self.links.append(to, &bytes);
            }
            index = next;
        }
        client.follow(node, to);
        client.set(Flag::RetriedElsewhere);
        self.upstreams.note_retry(client.pool, self.now);
        self.stats.counters.asked_again += 1;
        self.stats.counters.asked_again_late += u64::from(why == Reason::LateReply);
    }

    /// Closes a link whose outstanding replies are all abandoned.
    pub(in crate::proxy) fn close_abandoned(&mut self, key: LinkKey) {
        let unowned = |link: &Link| {
            let mut queue = self.requests.of_link(link.fifo);
            link.abandoned() > 0
                && link.waits.is_empty()
                && queue.all(|(_, it)| it.kind == Kind::Abandoned)
        };
        if self.links.get(key).is_some_and(unowned) {
            self.fail(key, &Failure::Removed);
        }
    }
}

/// Are these complete requests that are safe to send twice because they only read?
fn only_reads(bytes: &[u8]) -> bool {
    unanswered_reads(bytes, u32::MAX).is_some()
}

/// The last `count` of these requests, if all of them only read.
pub(in crate::proxy) fn unanswered_reads(bytes: &[u8], count: u32) -> Option<&[u8]> {
    let all = frames(bytes).try_fold(0_u32, |n, frame| frame.map(|_| n + 1))?;
    let answered = all.saturating_sub(count) as usize;
    let skip = frames(bytes).take(answered).flatten().map(<[u8]>::len);
    let left = bytes.get(skip.sum::<usize>()..)?;
    let reads = |frame: Option<&[u8]>| frame.is_some_and(command::only_reads);
    (!left.is_empty() && frames(left).all(reads)).then_some(left)
}

/// The bytes from the first of the last `count` requests.
pub(in crate::proxy) fn first_unanswered(bytes: &[u8], count: u32) -> Option<&[u8]> {
    let answered = frames(bytes).count().saturating_sub(count as usize);
    frames(bytes).nth(answered)?
}

/// Splits the last `count` requests into runs of read-only requests and of others. Each run is its
/// number of requests and where it starts. `single`: each request is a run.
pub(in crate::proxy) fn runs(bytes: &[u8], count: u32, single: bool) -> Vec<(u32, usize)> {
    let mut runs: Vec<(u32, usize)> = Vec::new();
    let (mut at, mut last) = (0, None);
    let answered = frames(bytes).count().saturating_sub(count as usize);
    for (i, frame) in frames(bytes).flatten().enumerate() {
        let reads = Some(command::only_reads(frame));
        if i >= answered {
            match runs.last_mut().filter(|_| last == reads && !single) {
                Some(run) => run.0 += 1,
                None => runs.push((1, at)),
            }
            last = reads;
        }
        at += frame.len();
    }
    runs
}

/// The requests in these bytes; ends with a `None` if the last one is incomplete.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let step = RequestDecoder::default().decode(bytes, &RequestLimits::AFTER_LOGIN);
        let Ok(Step::Array { len, .. }) = step else {
            bytes = &[];
            return Some(None);
        };
        let (frame, rest) = bytes.split_at(len.min(bytes.len()));
        bytes = rest;
        Some(Some(frame))
    })
}
