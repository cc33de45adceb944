//! Server to client: each reply belongs to the head of its link's queue.
//!
//! The bytes of the head's reply go to the client as they arrive, complete or not; consecutive
//! replies of one record are appended in one piece.

use std::mem;

use crate::command::proxy_command;

use crate::link::failure::Failure;
use crate::link::handshake::Progress;
use crate::link::link::State;
use crate::link::request::{Kind, PartEnd};
use crate::link::role::Role;
use crate::link::stall::Stall;
use crate::proxy::action::Flow;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::sessions::Full;
use crate::stats::notice::NoticeKind;
use crate::store::key::{ClientKey, LinkKey};

impl Machine {
    /// `n` bytes of a server were read to [`space`](Self::space). On `Pause`, the link is read
    /// paused: further bytes stay in the kernel.
    pub fn link_read(&mut self, key: LinkKey, n: usize) -> Flow {
        let mut buffer = mem::take(&mut self.scratch.buffer);
        buffer.fill(n);
        self.clients.chunks_mut().offer(buffer.bytes());
        let flow = self.link_input(key, buffer.bytes());
        self.clients.chunks_mut().end_offer(&mut buffer);
        self.scratch.buffer = buffer;
        self.run_work();
        self.keep_limits();
        self.finish_call();
        flow
    }

    /// Like [`link_read`](Self::link_read), for bytes in another buffer; they are read in pieces.
    pub fn link_bytes(&mut self, key: LinkKey, mut bytes: &[u8]) -> Flow {
        let mut flow = Flow::Continue;
        while !bytes.is_empty() {
            let n = self.scratch.buffer.copy_from(bytes);
            bytes = bytes.get(n..).unwrap_or_default();
            flow = self.link_read(key, n);
        }
        flow
    }

    fn link_input(&mut self, key: LinkKey, bytes: &[u8]) -> Flow {
        let now = self.now;
        let Some(link) = self.links.get_mut(key) else {
            return Flow::Continue;
        };
        self.upstreams.note_read(link.instance, now);
        let used = match link.state {
            State::Ready => {
                link.since = now;
                Ok(0)
            }
            // The deadline of a handshake is for the whole handshake, so these bytes do not extend
            // it.
            _ => self.handshake_bytes(key, bytes),
        };
        let outcome = used.and_then(|used| {
            let rest = bytes.get(used..).unwrap_or_default();
            match rest.is_empty() {
                true => Ok(()),
                false => self.reply_bytes(key, rest),
            }
        });
        // Work that the replies queued is run even if the link fails.
        self.run_work();
        if let Err(failure) = outcome {
            self.fail(key, &failure);
        }
        self.close_retired(key);
        self.close_abandoned(key);
        self.pause_for_slow_reader(key)
    }

    /// Handles replies on a ready link.
    fn reply_bytes(&mut self, key: LinkKey, bytes: &[u8]) -> Result<(), Failure> {
        let Some(link) = self.links.get(key) else {
            return Ok(());
        };
        let own = link.is_dedicated() && link.owner() != ClientKey::NONE;
        let waits = matches!(link.role(), Role::Reserved | Role::Borrowed(_));
        let begun = match link.collected.is_empty() {
            true => None,
            false => self.begun_redirection(key),
        };
        let joined = begun.map(|begun| [&begun, bytes].concat());
        let bytes = joined.as_deref().unwrap_or(bytes);
        let outcome = match own {
            true => self.dedicated_bytes(key, bytes),
            false => self.replies(key, bytes),
        };
        self.charge_replies(key, bytes.len());
        self.links.note_answered(&self.requests, key);
        if waits {
            self.work.push(Work::ServeWaits);
        }
        outcome
    }

    /// Handles the reply to one of the proxy's own requests.
    pub(in crate::proxy) fn answered(&mut self, on: LinkKey, kind: Kind, reply: &[u8]) {
        match kind {
            Kind::Slots => self.slots_answered(on, reply),
            Kind::Wait => self.wait_answered(on, &proxy_command::unmark(reply)),
            Kind::Permission(what) => self.permission_answered(on, what, reply),
            _ => self.checked(on, kind, reply),
        }
    }

    /// Counts replies towards their tenant's bytes per second.
    fn charge_replies(&mut self, key: LinkKey, bytes: usize) {
        if self.upstreams.any_limits()
            && let Some(link) = self.links.get(key)
        {
            self.upstreams.charge(link.pool, bytes, self.now);
        }
    }

    fn replies(&mut self, key: LinkKey, bytes: &[u8]) -> Result<(), Failure> {
        let Some(mut link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let part_bytes_max = self.settings.client_outbound_bytes_max;
        let mut pos = 0;
        while let Some(rest) = bytes.get(pos..).filter(|rest| !rest.is_empty()) {
            if rest.first() == Some(&b'-') {
                let taken = self.redirected(key, rest)?;
                link = match self.links.get_mut(key) {
                    Some(link) => link,
                    None => return Ok(()),
                };
                if let Some(len) = taken {
                    pos += len;
                    continue;
                }
            }
            if link.at_push(rest) {
                // No client asked for pushes on a shared link: they are dropped.
                let (len, whole) = link.scan_push(rest)?;
                pos += len;
                self.stats.counters.pushes_dropped += u64::from(whole);
                continue;
            }
            let index = link.fifo.head;
            let head = self.requests.get_mut(index);
            // A reply to a request that was not sent.
            let Some(request) = head.filter(|request| request.start < link.sent) else {
                let why = "sent an unexpected reply";
                return Err(Failure::Desync(why.into()));
            };
            let (client, kind, verb) = (request.client, request.kind, request.verb);
            let moments = request.moments();
            let found = link.scan_record(request, rest);
            let (len, done) = (found.len, found.done);
            if let Some(health_error) = found.health_error {
                self.work.push(Work::Suspect(key, health_error));
            }
            let all_done = request.count == 0;
            self.requests.measure(&mut link.traffic, &moments, done);
            if kind.is_counted() {
                link.traffic.reply_bytes += len as u64;
            }
            let part = rest.get(..len).unwrap_or_default();
            pos += len;
            let mut outcome = found.broken.map_or(Ok(()), Err);
            if kind.is_collected() {
                let collected = match kind {
                    kind if kind.is_part() => link.collect_at_most(part, part_bytes_max),
                    _ => link.collect(part),
                };
                outcome = outcome.and(collected);
                if all_done {
                    let reply = mem::take(&mut link.collected);
                    match self.requests.end_part(index).filter(|_| kind.is_part()) {
                        Some(part) => self.work.push(Work::PartEnded(part, PartEnd::Reply(reply))),
                        None => self.work.push(Work::Answered(key, kind, reply)),
                    }
                }
            }
            if all_done {
                link.leave_head(&mut self.requests, (kind, verb));
                link.stall = Stall::None;
                if link.owner() != ClientKey::NONE {
                    // The owner borrowed this link for one request; the link may be shared again.
                    self.work.push(Work::ReplyArrived(link.owner()));
                }
            }
            let (requests, counters) = (&mut self.requests, &mut self.stats.counters);
            let (of, reply, done) = ((client, index), (kind, part), (done, all_done));
            if self.clients.deliver(requests, counters, of, reply, done) == Full::Yes {
                self.work
                    .push(Work::Evict(client, NoticeKind::ClientOutbound));
            }
            outcome?;
        }
        Ok(())
    }

    /// Handles handshake replies. Returns how many bytes they took: the rest are replies to
    /// requests.
    fn handshake_bytes(&mut self, key: LinkKey, bytes: &[u8]) -> Result<usize, Failure> {
        let mut pos = 0;
        while pos < bytes.len() {
            let Some(link) = self.links.get_mut(key) else {
                return Ok(bytes.len());
            };
            if link.is_ready() {
                return Ok(pos);
            }
            let rest = bytes.get(pos..).unwrap_or_default();
            if link.at_push(rest) {
                let (len, _) = link.scan_push(rest)?;
                pos += len;
                continue;
            }
            let (len, complete) = link.scan(rest)?;
            pos += len;
            link.collect(rest.get(..len).unwrap_or_default())?;
            if complete {
                let reply = mem::take(&mut link.collected);
                self.handshake_reply(key, &reply, pos < bytes.len())?;
            }
        }
        Ok(pos)
    }

    /// Handles one complete reply of a handshake, or a verifier's reply to AUTH. `more`: further
    /// bytes follow.
    fn handshake_reply(&mut self, key: LinkKey, reply: &[u8], more: bool) -> Result<(), Failure> {
        let link = self.links.get_mut(key);
        match link.map(|link| &mut link.state) {
            Some(State::Handshake(handshake)) => match handshake.reply(reply) {
                Progress::More => {}
                Progress::Send(_) if more => {
                    let why = "sent an unexpected reply";
                    return Err(Failure::Desync(why.into()));
                }
                Progress::Send(bytes) => self.links.append_handshake(key, &bytes),
                Progress::Done(done) => self.handshake_done(key, done),
                Progress::Failed(failure) => return Err(failure),
            },
            Some(State::Verifying(_)) => self.auth_result(key, reply, more)?,
            _ => {}
        }
        Ok(())
    }
}
