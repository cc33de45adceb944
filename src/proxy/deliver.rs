//! Backend to client: every reply belongs to the head of its backend's queue.
//!
//! What has arrived of the head's reply goes out at once, whether it is complete or not; the bytes
//! of all consecutive replies of one record are appended in one piece.

use crate::resp::{ReplyError, Scan};

use super::action::Flow;
use super::backend::{Failure, State};
use super::client::{Client, Hold};
use super::handshake::Progress;
use super::key::{BackendKey, ClientKey};
use super::machine::{Machine, mark_ready};
use super::outbound::mark_client_dirty;
use super::request::{Kind, Requests};
use super::settings::Millis;

/// Above this many bytes for a client that nobody waits behind, its backend is not read.
const PAUSE_BYTES: usize = 256 * 1024;

/// A verdict or a part of a handshake is never longer.
const COLLECT_BYTES_MAX: usize = 64 * 1024;

impl Machine {
    /// Bytes of a backend. On `Pause`, the rest of them shall stay in the kernel for now.
    pub fn backend_bytes(&mut self, key: BackendKey, bytes: &[u8], now: Millis) -> Flow {
        self.now = now;
        let Some(backend) = self.backends.get_mut(key) else {
            return Flow::Continue;
        };
        backend.since = now;
        let used = match backend.state {
            State::Ready => Ok(0),
            _ => self.greeting_bytes(key, bytes),
        };
        let outcome = used.and_then(|used| {
            let rest = bytes.get(used..).unwrap_or_default();
            if rest.is_empty() {
                Ok(())
            } else {
                self.reply_bytes(key, rest)
            }
        });
        if let Err(failure) = outcome {
            self.fail(key, &failure);
        }
        let flow = self.pause_for_slow_reader(key);
        self.evict_worst();
        self.check_invariants();
        flow
    }

    /// Replies of a ready backend.
    fn reply_bytes(&mut self, key: BackendKey, bytes: &[u8]) -> Result<(), Failure> {
        let (mut verdicts, mut overfull) = (Vec::new(), Vec::new());
        let outcome = self.replies(key, bytes, &mut verdicts, &mut overfull);
        for client in overfull {
            if self.clients.contains(client) {
                self.counters.slow_readers += 1;
                self.close_now(client);
            }
        }
        for (client, reply) in verdicts {
            self.verdict(client, &reply);
        }
        outcome
    }

    fn replies(
        &mut self,
        key: BackendKey,
        bytes: &[u8],
        verdicts: &mut Vec<(ClientKey, Vec<u8>)>,
        overfull: &mut Vec<ClientKey>,
    ) -> Result<(), Failure> {
        let Self {
            clients,
            backends,
            requests,
            to_clients,
            counters,
            ..
        } = self;
        let Some(backend) = backends.get_mut(key) else {
            return Ok(());
        };
        let mut pos = 0;
        while let Some(rest) = bytes.get(pos..).filter(|rest| !rest.is_empty()) {
            if at_push(backend.scanner.at_start(), backend.scanner.is_push(), rest) {
                // No session asked for pushes on a shared connection: nobody's.
                match backend.scanner.scan(rest).map_err(desync)? {
                    Scan::Complete { len } => pos += len,
                    Scan::Partial => return Ok(()),
                }
                counters.pushes_dropped += 1;
                continue;
            }
            let Some(request) = requests.get_mut(backend.fifo.head) else {
                return Err(Failure::Desync("sent a reply that nobody asked for".into()));
            };
            let (client, kind) = (request.client, request.kind);
            let (from, before) = (pos, request.count);
            let mut broken = None;
            while request.count > 0 {
                let rest = bytes.get(pos..).unwrap_or_default();
                let at_start = backend.scanner.at_start();
                if rest.is_empty() || at_push(at_start, backend.scanner.is_push(), rest) {
                    break;
                }
                match backend.scanner.scan(rest) {
                    Ok(Scan::Complete { len }) => {
                        pos += len;
                        request.count -= 1;
                        backend.reply_bytes = 0;
                    }
                    Ok(Scan::Partial) => {
                        pos = bytes.len();
                        backend.reply_bytes += rest.len() as u64;
                    }
                    // The good replies before it are delivered first.
                    Err(error) => {
                        broken = Some(desync(error));
                        break;
                    }
                }
            }
            let (done, all_done) = (before - request.count, request.count == 0);
            let part = bytes.get(from..pos).unwrap_or_default();
            if kind == Kind::Verdict {
                collect(&mut backend.collected, part)?;
                if all_done {
                    verdicts.push((client, std::mem::take(&mut backend.collected)));
                }
            }
            let popped = if all_done {
                requests.pop_of_backend(&mut backend.fifo)
            } else {
                None
            };
            let Some(owner) = clients.get_mut(client) else {
                counters.replies_dropped += u64::from(done);
                broken.map_or(Ok(()), Err)?;
                continue;
            };
            owner.in_flight -= done;
            if kind == Kind::Deliver {
                counters.replies += u64::from(done);
                to_clients.append(&mut owner.outbound, part);
                mark_client_dirty(&mut self.dirty_clients, owner, client);
            } else {
                counters.replies_dropped += u64::from(done);
            }
            if let Some(popped) = popped {
                Requests::advance_client(&mut owner.fifo, &popped);
                while let Some(reply) = requests.take_parked(&mut owner.fifo) {
                    to_clients.append(&mut owner.outbound, &reply);
                    mark_client_dirty(&mut self.dirty_clients, owner, client);
                }
            }
            if may_go_on(owner, self.draining, &self.settings) {
                mark_ready(&mut self.ready, owner, client);
            }
            if owner.outbound.len() > self.settings.client_outbound_bytes_max / 2 {
                owner.hold.set(Hold::OUTBOUND);
            }
            if owner.outbound.len() > self.settings.client_outbound_bytes_max {
                overfull.push(client);
            }
            broken.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Handshake replies. Returns how many bytes they took: what follows is for the queue.
    fn greeting_bytes(&mut self, key: BackendKey, bytes: &[u8]) -> Result<usize, Failure> {
        let mut pos = 0;
        while pos < bytes.len() {
            let Some(backend) = self.backends.get_mut(key) else {
                return Ok(bytes.len());
            };
            let State::Greeting(handshake) = &mut backend.state else {
                return Ok(pos);
            };
            let rest = bytes.get(pos..).unwrap_or_default();
            let push = at_push(backend.scanner.at_start(), backend.scanner.is_push(), rest);
            let (len, complete) = match backend.scanner.scan(rest).map_err(desync)? {
                Scan::Complete { len } => (len, true),
                Scan::Partial => (rest.len(), false),
            };
            pos += len;
            if push {
                continue;
            }
            collect(&mut backend.collected, rest.get(..len).unwrap_or_default())?;
            if complete {
                let reply = std::mem::take(&mut backend.collected);
                match handshake.reply(&reply) {
                    Progress::More => {}
                    Progress::Done(hello) => self.greeted(key, hello),
                    Progress::Failed(failure) => return Err(failure),
                }
            }
        }
        Ok(pos)
    }

    /// A client that does not read: its backend is not read either, unless somebody waits behind
    /// it. Then the client's own limit decides.
    fn pause_for_slow_reader(&mut self, key: BackendKey) -> Flow {
        let Some(backend) = self.backends.get_mut(key) else {
            return Flow::Continue;
        };
        let Some(head) = self.requests.get(backend.fifo.head) else {
            return Flow::Continue;
        };
        let reader = head.client;
        let waiting = self
            .clients
            .get(reader)
            .map_or(0, |client| client.outbound.len());
        if waiting <= PAUSE_BYTES {
            return Flow::Continue;
        }
        if self
            .requests
            .of_backend(backend.fifo)
            .all(|(_, request)| request.client == reader)
        {
            backend.paused = true;
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// Keeps the worker within its limit of waiting bytes: the worst reader goes.
    fn evict_worst(&mut self) {
        while self.to_clients.bytes() > self.settings.worker_outbound_bytes_max {
            let worst = self
                .clients
                .iter()
                .max_by_key(|(_, client)| client.outbound.len());
            match worst {
                Some((key, client)) if !client.outbound.is_empty() => {
                    self.counters.evictions += 1;
                    self.close_now(key);
                }
                _ => return,
            }
        }
    }
}

/// Does a push begin here, or go on?
fn at_push(at_start: bool, in_push: bool, rest: &[u8]) -> bool {
    if at_start {
        rest.first() == Some(&b'>')
    } else {
        in_push
    }
}

/// Is there anything a client was waiting for that may have happened now?
fn may_go_on(client: &Client, draining: bool, settings: &super::settings::Settings) -> bool {
    let over =
        client.hold.has(Hold::IN_FLIGHT) && client.in_flight <= settings.client_in_flight_max / 2;
    let done = client.hold.has(Hold::BARRIER) || client.eof || draining;
    over || (done && client.fifo.is_empty())
}

fn collect(into: &mut Vec<u8>, part: &[u8]) -> Result<(), Failure> {
    if into.len() + part.len() > COLLECT_BYTES_MAX {
        return Err(Failure::Desync(
            "sent an answer to a login that is too long".into(),
        ));
    }
    into.extend_from_slice(part);
    Ok(())
}

fn desync(error: ReplyError) -> Failure {
    Failure::Desync(error.to_string())
}
