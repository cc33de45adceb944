//! Runs: consecutive commands of one client for one link. A run is recorded once and appended in
//! one piece, so that a pipeline costs one record and one copy.

use crate::command::{self, ErrorReply};

use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::forward::route::{Refusal, record, record_as};
use crate::proxy::machine::Machine;
use crate::session::client::{Flag, Hold, ReplyMode};
use crate::store::key::{ClientKey, LinkKey};

/// Commands that are not yet recorded or appended: `bytes[from..]` up to the cursor.
pub(in crate::proxy) struct Run {
    /// `NONE`: the run is empty.
    link: LinkKey,
    from: usize,
    kind: Kind,
    commands: u32,
    len: usize,
    /// The run ends with its first command, because CLIENT REPLY changes how the next replies are
    /// sent, or because the next command may be for another node.
    single: bool,
    /// The run takes no writes: another link of the pool has a late write, and further writes go to
    /// that link.
    no_writes: bool,
    /// The client has left links. Each command that always writes is then a run of its own, because
    /// an error in reply to it means that it did not write.
    moved: bool,
    writes: bool,
}

impl Run {
    /// An empty run that starts at `from`.
    pub(in crate::proxy) fn at(from: usize) -> Self {
        Self {
            link: LinkKey::NONE,
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

    /// Moves the start of an empty run: the bytes before it are handled otherwise.
    pub(in crate::proxy) fn begin_at(&mut self, from: usize) {
        self.from = from;
    }

    /// Can this frame be part of the run?
    #[inline]
    pub(in crate::proxy) fn may_take(&self, frame: &[u8]) -> bool {
        !(self.single
            || self.no_writes && command::is_paused_with_writes(frame)
            || self.moved && self.commands > 0 && command::always_writes(frame))
    }
}

impl Machine {
    /// Adds a command of `len` bytes to a run; `frame` contains at least its name. Returns `None`
    /// if the command cannot be sent now; `dispatch` finds the reason.
    // Called for each command. Always inlined: otherwise the surrounding code decides whether the
    // compiler inlines it.
    #[inline(always)]
    pub(in crate::proxy) fn add_to_run(
        &mut self,
        key: ClientKey,
        run: &mut Run,
        len: usize,
        frame: &[u8],
    ) -> Option<LinkKey> {
        if run.link == LinkKey::NONE {
            run.link = self.route(key, frame).ok()?;
        }
        if run.commands == 0 && self.links.any_stalled() {
            run.no_writes = self.writes_go_elsewhere(key, run.link);
        }
        let apart = run.commands == 0 && (self.is_clustered(key) || self.shows_node(key));
        let client = self.clients.get_mut(key)?;
        if run.commands == 0 {
            self.links.begin(&self.requests, run.link, key, self.now);
            // The next command may be for another node of a Redis Cluster, or show the client one.
            run.single = apart || client.reply_mode == ReplyMode::SkipNext;
            run.kind = kind_of(client);
        }
        if client.is(Flag::Moved) {
            let writes = client.note_request(frame);
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
        Some(run.link)
    }

    /// Ends a run: records it and appends its bytes up to `to`, if they are in `bytes`. The next
    /// run may start there.
    pub(in crate::proxy) fn end_run(
        &mut self,
        key: ClientKey,
        run: &mut Run,
        bytes: &[u8],
        to: usize,
    ) {
        if run.commands > 0
            && let Some(client) = self.clients.get_mut(key)
            && let Some(link) = self.links.get_mut(run.link)
        {
            let (requests, count) = (&mut self.requests, run.commands);
            client.count_commands(count);
            let (kind, len) = (run.kind, run.len);
            if run.writes {
                let what = (kind, Verb::Plain);
                record_as(requests, link, client, key, what, count, len);
                if let Some(request) = requests.get_mut(link.fifo.tail) {
                    request.writes = true;
                }
            } else {
                record(requests, link, client, key, kind, count, len);
            }
            self.stats.counters.requests += u64::from(count);
            let bytes = bytes.get(run.from..to).unwrap_or_default();
            self.links.append(run.link, bytes);
            self.remember(key, Verb::Plain, (bytes, len));
        }
        *run = Run::at(to);
    }

    /// Forwards one frame that is not part of a run.
    pub(in crate::proxy) fn forward_one(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        match self.route(key, frame) {
            Ok(link) => {
                let mut run = Run { link, ..Run::at(0) };
                self.add_to_run(key, &mut run, frame.len(), frame);
                self.end_run(key, &mut run, frame, frame.len());
                if let Some(client) = self.clients.get_mut(key) {
                    // The frame is, or is part of, a command that was counted before.
                    client.uncount_command();
                }
                Handled::Yes
            }
            Err(Refusal::Error(error @ ErrorReply::Unavailable(_))) if self.is_clustered(key) => {
                self.hold_unsent(key, (Verb::Plain, frame), &error)
            }
            Err(refusal) => self.refuse(key, refusal),
        }
    }

    /// Appends one request to a link, with a record of its own.
    pub(in crate::proxy) fn put(
        &mut self,
        key: ClientKey,
        on: LinkKey,
        what: (Kind, Verb),
        count: u32,
        bytes: &[u8],
    ) {
        self.links.begin(&self.requests, on, key, self.now);
        let (client, link) = (self.clients.get_mut(key), self.links.get_mut(on));
        let (Some(client), Some(link)) = (client, link) else {
            return;
        };
        client.forget_queued();
        let len = bytes.len();
        record_as(&mut self.requests, link, client, key, what, count, len);
        if client.in_flight >= self.settings.client_in_flight_max {
            client.hold.set(Hold::IN_FLIGHT);
        }
        self.stats.counters.requests += 1;
        self.links.append(on, bytes);
        self.remember(key, what.1, (bytes, len));
    }
}
