//! A client's bytes: frames are found, planned, and forwarded, answered or refused.
//!
//! Consecutive forwarded commands are appended to the backend in one piece (a run), so a pipeline
//! costs one copy. What changes the connection waits until nothing is in flight (a barrier): its
//! frame stays in `inbound`, and the client is read again when its last reply is in.

use std::mem;

use crate::command::Plan;
use crate::resp::{Args, ProtocolError, RequestDecoder, RequestLimits, Step, inline_to_array};

use super::action::Flow;
use super::answer::{Taken, kind_of};
use super::client::Hold;
use super::detour::follow;
use super::forward::{NOAUTH, Refusal, append, mark_dirty, record};
use super::gate::Ruling;
use super::key::{BackendKey, ClientKey, TenantSlot};
use super::machine::Machine;
use super::settings::Millis;
use super::survey::Limit;

/// From this size on a frame at the front of its buffer is moved to the backend with it.
const MOVE_BYTES_MIN: usize = 32 * 1024;

/// A partial frame's buffer grows to this at once, if the frame is at least as long.
const GROW_BYTES_MIN: usize = 16 * 1024;

/// How far a decode got.
struct Decoded {
    used: usize,
    /// What was used is one frame for this backend: move it there.
    moved_to: Option<BackendKey>,
}

/// Forwarded frames that are recorded and not yet appended: `bytes[from..]` up to the cursor.
struct Run {
    backend: BackendKey,
    from: usize,
}

impl Decoded {
    fn at(used: usize) -> Self {
        let moved_to = None;
        Self { used, moved_to }
    }
}

impl Run {
    /// Nothing yet, from here.
    fn at(from: usize) -> Self {
        let backend = BackendKey::NONE;
        Self { backend, from }
    }
}

impl Machine {
    /// Bytes of a client. On `Pause` they are kept, and no more are wanted for now.
    pub fn client_bytes(&mut self, key: ClientKey, bytes: &[u8], now: Millis) -> Flow {
        self.now = now;
        let Some(client) = self.clients.get_mut(key) else {
            return Flow::Continue;
        };
        if !client.closing {
            client.active = now;
        }
        if !client.hold.any() || client.inbound.is_empty() {
            client.asked = self.requests.clock;
        }
        let mut rest = bytes;
        while let Some(client) = self.clients.get_mut(key) {
            if rest.is_empty() || client.closing {
                break;
            }
            if client.hold.any() {
                self.keep(key, rest);
                break;
            }
            if client.inbound.is_empty() {
                let Decoded { used, .. } = self.decode(key, rest, false);
                rest = rest.get(used..).unwrap_or_default();
                self.keep(key, rest);
                break;
            }
            // The partial frame first gets what it lacks, and not more if that is much: so its
            // buffer ends with the frame and can be moved.
            let lacking = client.missing.max(1);
            let take = if lacking >= GROW_BYTES_MIN {
                lacking.min(rest.len())
            } else {
                rest.len()
            };
            let (now_in, later) = rest.split_at(take);
            rest = later;
            self.keep(key, now_in);
            self.decode_inbound(key);
        }
        self.settle(key);
        self.evict_worst();
        self.check_invariants();
        match self.clients.get_mut(key) {
            Some(client) if client.hold.any() => {
                client.paused = true;
                Flow::Pause
            }
            _ => Flow::Continue,
        }
    }

    /// Adds to what is kept of a client's bytes.
    fn keep(&mut self, key: ClientKey, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if bytes.is_empty() || client.closing {
            return;
        }
        let have = client.inbound.len();
        if client.inbound.capacity() - have < bytes.len() {
            // Never more than the frame will need, and never more than doubled on a mere claim.
            let claimed = client.missing.max(bytes.len());
            let wanted = claimed.min(have.max(GROW_BYTES_MIN)).max(bytes.len());
            if client.inbound.try_reserve_exact(wanted).is_err() {
                self.counters.out_of_memory += 1;
                self.say_and_close(key, "ERR elika: out of memory for this request");
                return;
            }
        }
        client.inbound.extend_from_slice(bytes);
        client.missing = client.missing.saturating_sub(bytes.len());
    }

    /// Decodes what was kept.
    pub(super) fn decode_inbound(&mut self, key: ClientKey) {
        while let Some(client) = self.clients.get_mut(key) {
            if client.inbound.is_empty() || client.hold.any() || client.closing {
                return;
            }
            let mut inbound = mem::take(&mut client.inbound);
            let Decoded { used, moved_to } = self.decode(key, &inbound, true);
            let rest = match moved_to.and_then(|to| Some((to, self.backends.get_mut(to)?))) {
                Some((to, backend)) => {
                    let rest = inbound.split_off(used);
                    backend.recent.skip(inbound.len());
                    self.to_backends
                        .append_owned(&mut backend.outbound, inbound);
                    mark_dirty(&mut self.dirty_backends, backend, to);
                    rest
                }
                None => {
                    inbound.drain(..used);
                    if used > 0 {
                        // The buffer of a big frame is not kept for what follows it.
                        inbound.shrink_to(GROW_BYTES_MIN);
                    }
                    inbound
                }
            };
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            if !client.closing && !rest.is_empty() {
                client.inbound = rest;
            }
            if moved_to.is_none() {
                return;
            }
        }
    }

    /// Decodes `bytes` frame by frame. `whole`: the caller owns them in a buffer of their own.
    fn decode(&mut self, key: ClientKey, bytes: &[u8], whole: bool) -> Decoded {
        let mut run = Run::at(0);
        let (mut used, mut last) = (0, 0..0);
        let (mut limits, mut gate) = self.rules_of(key);
        while let Some(client) = self.clients.get_mut(key) {
            let rest = bytes.get(used..).unwrap_or_default();
            if client.hold.any() || client.closing || rest.is_empty() {
                break;
            }
            let len = match client.decoder.decode(rest, &limits) {
                Ok(Step::Array { len, .. }) => len,
                Ok(Step::Inline { len }) => {
                    self.end_run(&mut run, bytes, used);
                    let line = rest.get(..len).unwrap_or_default();
                    if self.inline(key, gate, line) == Taken::No {
                        break;
                    }
                    used += len;
                    run.from = used;
                    (limits, gate) = self.rules_of(key);
                    continue;
                }
                Ok(Step::Empty { len }) => {
                    self.end_run(&mut run, bytes, used);
                    used += len;
                    run.from = used;
                    continue;
                }
                Ok(Step::NeedMore { at_least }) => {
                    client.missing = at_least;
                    break;
                }
                Err(error) => {
                    self.end_run(&mut run, bytes, used);
                    if self.is_held_to_less(key, &limits) {
                        limits = self.limits_of(key);
                        continue;
                    }
                    self.malformed(key, error);
                    break;
                }
            };
            let frame = rest.get(..len).unwrap_or_default();
            let ruling = self.ruling(key, gate, frame);
            if ruling == Ruling::Do(Plan::Forward)
                && let moved_to @ Some(_) = self.forward_run(key, &mut run, len)
            {
                if whole && used == 0 && len >= MOVE_BYTES_MIN {
                    self.note_command_of(key, frame);
                    used = len;
                    return Decoded { used, moved_to };
                }
                last = used..used + len;
                used += len;
                continue;
            }
            self.end_run(&mut run, bytes, used);
            if self.carry_out(key, gate, ruling, frame) == Taken::No {
                break;
            }
            last = used..used + len;
            used += len;
            run.from = used;
            (limits, gate) = self.rules_of(key);
        }
        self.end_run(&mut run, bytes, used);
        self.note_command_of(key, bytes.get(last).unwrap_or_default());
        Decoded::at(used)
    }

    fn note_command_of(&mut self, key: ClientKey, frame: &[u8]) {
        if let (Some(client), Some(name)) = (self.clients.get_mut(key), Args::new(frame).next()) {
            client.note_command(name);
        }
    }

    /// Records a forwarded frame as part of the run. `None`: it cannot go now; `dispatch` says why.
    fn forward_run(&mut self, key: ClientKey, run: &mut Run, len: usize) -> Option<BackendKey> {
        if run.backend == BackendKey::NONE {
            run.backend = self.route(key).ok()?;
        }
        let Self {
            clients,
            backends,
            requests,
            stalled,
            counters,
            ..
        } = self;
        let client = clients.get_mut(key)?;
        let backend = backends.get_mut(run.backend)?;
        if backend.fifo.is_empty() {
            backend.since = self.now;
        } else if backend.paused {
            follow(requests, stalled, backend, run.backend, key, self.now);
        }
        let kind = kind_of(client);
        record(requests, backend, client, key, kind, len);
        counters.requests += 1;
        if client.in_flight >= self.settings.client_in_flight_max {
            client.hold.set(Hold::IN_FLIGHT);
        }
        Some(run.backend)
    }

    /// Appends the run's bytes, up to `to`.
    #[inline]
    fn end_run(&mut self, run: &mut Run, bytes: &[u8], to: usize) {
        if let Some(backend) = self.backends.get_mut(run.backend) {
            let bytes = bytes.get(run.from..to).unwrap_or_default();
            append(
                &mut self.to_backends,
                &mut self.dirty_backends,
                backend,
                run.backend,
                bytes,
            );
        }
        *run = Run::at(to);
    }

    /// Forwards one frame that is not part of a run.
    pub(super) fn forward_one(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        match self.route(key) {
            Ok(backend) => {
                let mut run = Run { backend, from: 0 };
                self.forward_run(key, &mut run, frame.len());
                self.end_run(&mut run, frame, frame.len());
                Taken::Yes
            }
            Err(refusal) => self.refuse(key, refusal),
        }
    }

    /// An inline command: split and re-encoded, then like any other.
    fn inline(&mut self, key: ClientKey, gate: Option<TenantSlot>, line: &[u8]) -> Taken {
        let mut frame = mem::take(&mut self.inline_frame);
        frame.clear();
        let taken = match inline_to_array(line, &mut frame) {
            Ok(0) => Taken::Yes,
            Ok(_) => {
                let ruling = self.ruling(key, gate, &frame);
                let taken = self.carry_out(key, gate, ruling, &frame);
                self.note_command_of(key, &frame);
                taken
            }
            // If it cannot be answered yet, the line stays and is looked at again.
            Err(error) => {
                self.malformed(key, error);
                Taken::No
            }
        };
        self.inline_frame = frame;
        taken
    }

    /// Was a frame judged as a stranger's, though this client need not log in? What its first
    /// request may be is known only once it is admitted.
    fn is_held_to_less(&mut self, key: ClientKey, limits: &RequestLimits) -> bool {
        if self.admit(key).is_err() || self.limits_of(key) == *limits {
            return false;
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.decoder = RequestDecoder::default();
        }
        true
    }

    /// A protocol error ends the connection, in the server's words; the earlier replies go first.
    fn malformed(&mut self, key: ClientKey, error: ProtocolError) {
        if let Some(client) = self.clients.get_mut(key) {
            // If it cannot be answered yet, the frame is kept and decoded again.
            client.decoder = RequestDecoder::default();
        }
        let small_limit = matches!(
            error,
            ProtocolError::UnauthenticatedMultibulkLength
                | ProtocolError::UnauthenticatedBulkLength
                | ProtocolError::RequestTooBig
        );
        // Only who has to log in is held to the small limits: find out whether this one has to.
        let mut text = error.text().to_string();
        match self.admit(key) {
            Err(Refusal::Unknown) if small_limit => {
                if self.ask_verdict(key) == Taken::Yes {
                    self.finish_client(key);
                }
                return;
            }
            // Nobody can tell.
            Err(Refusal::Error(why)) if small_limit && why != NOAUTH => text = why,
            _ => {}
        }
        if !self.at_barrier(key) {
            return;
        }
        self.counters.protocol_errors += 1;
        if matches!(
            error,
            ProtocolError::RequestTooBig | ProtocolError::InvalidBulkLength
        ) && self.request_bytes_max(key).is_some()
            && let Some(client) = self.clients.get(key)
            && let Some(tenant) = self.pools.tenants.get_mut(client.tenant)
        {
            tenant.refuse(Limit::RequestBytes);
        }
        self.say_and_close(key, &text);
    }
}
