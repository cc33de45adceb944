//! Decodes a client's bytes into frames; each frame is planned, then forwarded, answered or
//! refused.
//!
//! Consecutive forwarded commands form a run. A command that changes the session waits until
//! nothing is in flight (a barrier): its frame stays in `inbound`, and the client is decoded again
//! when its last reply has arrived.

use std::mem;

use crate::command::Plan;
use crate::command::client::Dialect;
use crate::resp::{RequestDecoder, Step, inline_to_array};

use crate::proxy::action::{Action, Flow};
use crate::proxy::forward::admission::Decision;
use crate::proxy::forward::answer::Handled;
use crate::proxy::forward::run::Run;
use crate::proxy::machine::Machine;
use crate::session::client::{Client, Flag};
use crate::session::inbound::{Progress, SPARE_BYTES_MAX};
use crate::store::allocator::shrink;
use crate::store::key::{ClientKey, ConnKey, TenantSlot};

/// How far a decode got.
struct Decoded {
    used: usize,
    /// Progress on the incomplete frame behind the consumed bytes.
    progress: Progress,
}

impl Machine {
    /// `n` bytes of a client were read to [`space`](Self::space). On `Pause` the bytes are kept,
    /// and the client is read paused.
    pub fn client_read(&mut self, key: ClientKey, n: usize) -> Flow {
        self.clients.begin_share();
        let mut buffer = mem::take(&mut self.scratch.buffer);
        buffer.fill(n);
        self.links.chunks_mut().offer(buffer.bytes());
        self.client_input(key, buffer.bytes());
        let taken = self.links.chunks_mut().end_offer(&mut buffer);
        self.scratch.buffer = buffer;
        if taken {
            // The kept bytes may be a complete frame that was not decoded because the client was on
            // hold.
            self.decode_inbound(key);
        }
        self.end_share(key);
        self.close_if_done(key);
        self.run_work();
        self.keep_limits();
        self.finish_call();
        match self.clients.get_mut(key) {
            Some(client) if client.is_held() => {
                client.set(Flag::Paused);
                self.resume_link_of(key);
                Flow::Pause
            }
            _ => Flow::Continue,
        }
    }

    /// The client becomes read paused. It may be blocked in a send and read nothing until the proxy
    /// reads on, so its link must not be read paused because of it.
    fn resume_link_of(&mut self, key: ClientKey) {
        let links = self.clients.get(key).into_iter().flat_map(Client::links);
        for on in links {
            if let Some(link) = self.links.get_mut(on)
                && link.paused
                && let Some(head) = self.requests.get(link.fifo.head)
                && head.client == key
            {
                link.unpause(self.now);
                self.actions.push_back(Action::Resume(ConnKey::Link(on)));
            }
        }
    }

    /// Like [`client_read`](Self::client_read), for bytes in another buffer; they are read in
    /// pieces.
    pub fn client_bytes(&mut self, key: ClientKey, mut bytes: &[u8]) -> Flow {
        let mut flow = Flow::Continue;
        while !bytes.is_empty() {
            let n = self.scratch.buffer.copy_from(bytes);
            bytes = bytes.get(n..).unwrap_or_default();
            flow = self.client_read(key, n);
        }
        flow
    }

    fn client_input(&mut self, key: ClientKey, bytes: &[u8]) {
        let Some(client) = self.clients.received(key, bytes.len()) else {
            return;
        };
        if !client.is_held()
            && let Some(inbound) = &mut client.inbound
        {
            inbound.arrived = self.requests.clock();
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let later = self.add_to_upload(key, rest);
            if later.len() < rest.len() {
                rest = later;
                self.decode_inbound(key);
                continue;
            }
            let Some(client) = self.clients.get(key).filter(|it| !it.is_closing()) else {
                break;
            };
            if client.is_held() {
                self.keep(key, rest);
                break;
            }
            let Some(inbound) = &client.inbound else {
                let decoder = RequestDecoder::default();
                let Decoded { used, progress } = self.decode(key, rest, decoder);
                let rest = rest.get(used..).unwrap_or_default();
                self.keep_begun(key, rest, progress);
                break;
            };
            // A partial frame that lacks much takes only the bytes it lacks: its buffer then ends
            // with the frame and can be moved without a copy.
            let lacking = inbound.missing.max(1);
            let take = if lacking >= SPARE_BYTES_MAX {
                lacking.min(rest.len())
            } else {
                rest.len()
            };
            let (now_in, later) = rest.split_at(take);
            rest = later;
            self.keep(key, now_in);
            self.decode_inbound(key);
        }
    }

    /// Decodes the kept bytes; the requests in them count from the time the bytes arrived.
    pub(in crate::proxy) fn decode_inbound(&mut self, key: ClientKey) {
        let client = self.clients.get(key);
        if let Some(inbound) = client.and_then(|client| client.inbound.as_deref()) {
            self.requests.set_arrival(inbound.arrived);
            self.decode_kept(key);
            self.requests.set_arrival(self.requests.clock());
        }
    }

    fn decode_kept(&mut self, key: ClientKey) {
        while let Some(client) = self.clients.get_mut(key) {
            if !client.decodes() {
                return;
            }
            let Some(mut inbound) = client.inbound.take() else {
                return;
            };
            if let Some(upload) = inbound.upload.take() {
                inbound.upload = self.send_upload(key, &mut inbound, upload);
                let waits = inbound.upload.is_some();
                self.keep_rest(key, inbound, Progress::default());
                if waits {
                    return;
                }
                continue;
            }
            let decoder = mem::take(&mut inbound.decoder);
            let Decoded { used, progress } = self.decode(key, &inbound.bytes, decoder);
            inbound.bytes.drain(..used);
            if used > 0 {
                // The buffer of a large frame is not kept for later frames.
                shrink(&mut inbound.bytes, SPARE_BYTES_MAX);
            }
            self.keep_rest(key, inbound, progress);
            return;
        }
    }

    /// Decodes `bytes` frame by frame.
    fn decode(&mut self, key: ClientKey, bytes: &[u8], mut decoder: RequestDecoder) -> Decoded {
        let mut run = Run::at(0);
        let (mut used, mut last, mut missing) = (0, 0..0, 0);
        let (mut limits, mut limited) = self.rules_of(key);
        while let Some(client) = self.clients.get_mut(key) {
            let rest = bytes.get(used..).unwrap_or_default();
            if !client.decodes() || rest.is_empty() {
                break;
            }
            if !self.clients.take_command() {
                self.defer(key);
                break;
            }
            let len = match decoder.decode(rest, &limits) {
                Ok(Step::Array { len, .. }) => len,
                Ok(step @ (Step::Inline { len } | Step::Empty { len })) => {
                    self.end_run(key, &mut run, bytes, used);
                    let line = rest.get(..len).unwrap_or_default();
                    if matches!(step, Step::Inline { .. })
                        && self.inline(key, limited, line) == Handled::Later
                    {
                        break;
                    }
                    used += len;
                    run.begin_at(used);
                    (limits, limited) = self.rules_of(key);
                    continue;
                }
                Ok(Step::NeedMore { at_least }) => {
                    missing = at_least;
                    break;
                }
                Err(error) => {
                    self.end_run(key, &mut run, bytes, used);
                    // If the error cannot be answered yet, the frame is kept and decoded again.
                    decoder = RequestDecoder::default();
                    if self.has_smaller_limits(key, &limits) {
                        limits = self.limits_of(key);
                        continue;
                    }
                    self.malformed(key, error);
                    break;
                }
            };
            let frame = rest.get(..len).unwrap_or_default();
            let decision = self.decision(key, limited, frame);
            if !run.may_take(frame) {
                self.end_run(key, &mut run, bytes, used);
            }
            if decision == Decision::Do(Plan::Forward)
                && self.add_to_run(key, &mut run, len, frame).is_some()
            {
                last = used..used + len;
                used += len;
                continue;
            }
            self.end_run(key, &mut run, bytes, used);
            if self.carry_out(key, limited, decision, frame) == Handled::Later {
                break;
            }
            last = used..used + len;
            used += len;
            run.begin_at(used);
            (limits, limited) = self.rules_of(key);
        }
        self.end_run(key, &mut run, bytes, used);
        self.clients
            .note_command_of(key, bytes.get(last).unwrap_or_default());
        Decoded {
            used,
            progress: Progress { decoder, missing },
        }
    }

    /// Handles an inline command: splits and re-encodes it, then dispatches it like any other.
    fn inline(&mut self, key: ClientKey, limited: Option<TenantSlot>, line: &[u8]) -> Handled {
        let mut frame = mem::take(&mut self.scratch.inline_frame);
        frame.clear();
        let mix = self.dialect_of(key) == Dialect::Valkey9;
        let taken = match inline_to_array(line, mix, &mut frame) {
            Ok(0) => Handled::Yes,
            Ok(_) => {
                let decision = self.decision(key, limited, &frame);
                let taken = self.carry_out(key, limited, decision, &frame);
                self.clients.note_command_of(key, &frame);
                taken
            }
            // If the error cannot be answered yet, the line is kept and decoded again.
            Err(error) => {
                self.malformed(key, error);
                Handled::Later
            }
        };
        self.scratch.inline_frame = frame;
        taken
    }
}
