//! Runs: consecutive commands of one client that go to one connection. They are recorded at once,
//! and appended in one piece, so that a pipeline costs one record and one copy.

use crate::command;

use super::answer::{Taken, kind_of};
use super::client::{Flag, Hold, ReplyMode};
use super::forward::{append, record, record_as};
use super::key::{BackendKey, ClientKey};
use super::machine::Machine;
use super::pin::Verb;
use super::request::Kind;
use super::stalled::begin;

/// Commands that are neither recorded nor appended yet: `bytes[from..]` up to the cursor.
pub(super) struct Run {
    /// `NONE`: it has not begun.
    backend: BackendKey,
    from: usize,
    kind: Kind,
    commands: u32,
    len: usize,
    /// It ends with its first command: the replies to the next ones are heard otherwise.
    single: bool,
    /// Writes go to the connection that holds back other writes, which is not this one.
    no_writes: bool,
    /// Its client has left connections: a write that says whether it was one is a run to itself.
    moved: bool,
    writes: bool,
}

impl Run {
    /// Nothing yet, from here.
    pub(super) fn at(from: usize) -> Self {
        Self {
            backend: BackendKey::NONE,
            from,
            kind: Kind::Deliver,
            commands: 0,
            len: 0,
            single: false,
            no_writes: false,
            moved: false,
            writes: false,
        }
    }

    /// What comes before this is done without it.
    pub(super) fn begin_at(&mut self, from: usize) {
        self.from = from;
    }

    /// May this frame be part of it?
    #[inline]
    pub(super) fn may_take(&self, frame: &[u8]) -> bool {
        !(self.single
            || self.no_writes && command::is_held_back(frame)
            || self.moved && self.commands > 0 && command::writes_if_done(frame))
    }
}

impl Machine {
    /// Adds a command of `len` bytes to a run; its name at least is in `frame`. `None`: it cannot
    /// go now; `dispatch` says why.
    // It runs for each command, and whether it is inlined changes with the code around it.
    #[inline(always)]
    pub(super) fn add_to_run(
        &mut self,
        key: ClientKey,
        run: &mut Run,
        len: usize,
        frame: &[u8],
    ) -> Option<BackendKey> {
        if run.backend == BackendKey::NONE {
            run.backend = self.route(key, frame).ok()?;
        }
        if run.commands == 0 && !self.stalled.is_empty() {
            run.no_writes = self.writes_go_elsewhere(key, run.backend);
        }
        let client = self.clients.get_mut(key)?;
        if run.commands == 0 {
            let backend = self.backends.get_mut(run.backend)?;
            let (requests, stalled) = (&self.requests, &mut self.stalled);
            begin(requests, stalled, backend, run.backend, key, self.now);
            run.single = client.reply_mode == ReplyMode::SkipNext;
            run.kind = kind_of(client);
        }
        if client.is(Flag::Moved) {
            let writes = client.sends(frame);
            if run.commands == 0 {
                (run.moved, run.writes) = (true, writes);
                run.single |= writes;
            }
        }
        run.commands += 1;
        run.len += len;
        if client.in_flight + run.commands >= self.settings.client_in_flight_max {
            client.hold.set(Hold::IN_FLIGHT);
        }
        Some(run.backend)
    }

    /// Ends a run: records it, and appends its bytes up to `to`, if they are here. Another one may
    /// begin there.
    pub(super) fn end_run(&mut self, key: ClientKey, run: &mut Run, bytes: &[u8], to: usize) {
        if run.commands > 0
            && let Some(client) = self.clients.get_mut(key)
            && let Some(backend) = self.backends.get_mut(run.backend)
        {
            let (requests, count) = (&mut self.requests, run.commands);
            client.count_commands(count);
            let (kind, len) = (run.kind, run.len);
            if run.writes {
                let what = (kind, Verb::Plain);
                record_as(requests, backend, client, key, what, count, len);
                if let Some(request) = requests.get_mut(backend.fifo.tail) {
                    request.writes = true;
                }
            } else {
                record(requests, backend, client, key, kind, count, len);
            }
            self.counters.requests += u64::from(count);
            let bytes = bytes.get(run.from..to).unwrap_or_default();
            let (chunks, dirty) = (&mut self.to_backends, &mut self.dirty_backends);
            append(chunks, dirty, backend, run.backend, bytes);
        }
        *run = Run::at(to);
    }

    /// Forwards one frame that is not part of a run.
    pub(super) fn forward_one(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        match self.route(key, frame) {
            Ok(backend) => {
                let mut run = Run {
                    backend,
                    ..Run::at(0)
                };
                self.add_to_run(key, &mut run, frame.len(), frame);
                self.end_run(key, &mut run, frame, frame.len());
                if let Some(client) = self.clients.get_mut(key) {
                    // It is, or is part of, a command that is counted already.
                    client.uncount_command();
                }
                Taken::Yes
            }
            Err(refusal) => self.refuse(key, refusal),
        }
    }
}
