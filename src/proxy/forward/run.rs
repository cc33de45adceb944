//! Runs: consecutive commands of one client that go to one connection. They are recorded at once,
//! and appended in one piece, so that a pipeline costs one record and one copy.

use crate::command;

use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::forward::answer::{Taken, kind_of};
use crate::proxy::forward::route::{record, record_as};
use crate::proxy::machine::Machine;
use crate::session::client::{Flag, Hold, ReplyMode};
use crate::store::key::{ClientKey, LinkKey};

/// Commands that are neither recorded nor appended yet: `bytes[from..]` up to the cursor.
pub(in crate::proxy) struct Run {
    /// `NONE`: it has not begun.
    link: LinkKey,
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

    /// What comes before this is done without it.
    pub(in crate::proxy) fn begin_at(&mut self, from: usize) {
        self.from = from;
    }

    /// May this frame be part of it?
    #[inline]
    pub(in crate::proxy) fn may_take(&self, frame: &[u8]) -> bool {
        !(self.single
            || self.no_writes && command::is_paused_with_writes(frame)
            || self.moved && self.commands > 0 && command::always_writes(frame))
    }
}

impl Machine {
    /// Adds a command of `len` bytes to a run; its name at least is in `frame`. `None`: it cannot
    /// go now; `dispatch` says why.
    // It runs for each command, and whether it is inlined changes with the code around it.
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
        let client = self.clients.get_mut(key)?;
        if run.commands == 0 {
            self.links.begin(&self.requests, run.link, key, self.now);
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
        Some(run.link)
    }

    /// Ends a run: records it, and appends its bytes up to `to`, if they are here. Another one may
    /// begin there.
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
        }
        *run = Run::at(to);
    }

    /// Forwards one frame that is not part of a run.
    pub(in crate::proxy) fn forward_one(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        match self.route(key, frame) {
            Ok(link) => {
                let mut run = Run { link, ..Run::at(0) };
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

    /// Appends one request to a connection, with a record to itself.
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
        client.forget_line();
        let len = bytes.len();
        record_as(&mut self.requests, link, client, key, what, count, len);
        link.blocking += u32::from(what.1.blocks());
        link.scripts += u32::from(what.1 == Verb::Script);
        if client.in_flight >= self.settings.client_in_flight_max {
            client.hold.set(Hold::IN_FLIGHT);
        }
        self.stats.counters.requests += 1;
        self.links.append(on, bytes);
    }
}
