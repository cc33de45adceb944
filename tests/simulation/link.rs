//! A backend connection: the fake kernel between a machine and a fake Redis.

use std::collections::VecDeque;

use elika::proxy::BackendKey;

use super::redis::{Moment, Redis, Session};
use super::rng::Rng;
use super::wire;

/// What no server may send.
pub(crate) const GARBAGE: &[&[u8]] = &[b"@garbage\r\n", b"$abc\r\n", b"*-7\r\n"];

/// What nobody asked for, in RESP3.
const PUSHES: &[&[u8]] = &[
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    b">2\r\n+server-cpu-usage\r\n%1\r\n+a\r\n,1.5\r\n",
];

/// How a connection will come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    Open,
    Refused,
    Silence,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) key: BackendKey,
    pub(crate) server: usize,
    /// `None`: being opened.
    pub(crate) session: Option<Session>,
    pub(crate) prospect: Prospect,
    /// When it will be opened or refused, ms.
    pub(crate) due: u64,
    /// Sent by the proxy, not yet read by the server.
    pub(crate) input: Vec<u8>,
    pub(crate) input_max: usize,
    /// Read by the server, not yet executed.
    buffer: Vec<u8>,
    /// Replies, and when they will be ready, ms.
    replies: VecDeque<(u64, Vec<u8>)>,
    /// Sent by the server, not yet read by the proxy.
    pub(crate) output: Vec<u8>,
    pub(crate) paused: bool,
    pub(crate) wants_write: bool,
    /// The server does nothing any more.
    pub(crate) hung: bool,
    /// The server sent what no server may send.
    pub(crate) garbage: bool,
    /// The server hangs up once `output` is read.
    pub(crate) dying: bool,
    /// It was silent for so long that the proxy may give it up.
    pub(crate) late: bool,
    /// When the proxy last heard of it, or began it, ms.
    pub(crate) heard: u64,
}

impl Link {
    pub(crate) fn new(
        key: BackendKey,
        server: usize,
        prospect: Prospect,
        due: u64,
        now: u64,
    ) -> Self {
        Self {
            key,
            server,
            session: None,
            prospect,
            due,
            input: Vec::new(),
            input_max: 0,
            buffer: Vec::new(),
            replies: VecDeque::new(),
            output: Vec::new(),
            paused: false,
            wants_write: false,
            hung: false,
            garbage: false,
            dying: false,
            late: false,
            heard: now,
        }
    }

    /// Nothing is under way in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.input.is_empty()
            && self.buffer.is_empty()
            && self.replies.is_empty()
            && self.output.is_empty()
    }

    /// The server executes what came, but maybe not all at once.
    pub(crate) fn serve(
        &mut self,
        redis: &mut Redis,
        now: Moment,
        delay_ms: u64,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if self.hung || self.dying {
            return Ok(());
        }
        let n = rng.piece(self.input.len());
        self.buffer.extend(self.input.drain(..n));
        let (mut at, mut left) = (0, if rng.one_in(3) { 1 } else { usize::MAX });
        while left > 0
            && let Some((len, args)) = wire::request(&self.buffer[at..])?
        {
            (at, left) = (at + len, left - 1);
            let reply = redis.execute(session, &args, now)?;
            let before = self.replies.back().map_or(0, |(due, _)| *due);
            let delay = if delay_ms > 0 && rng.one_in(3) {
                rng.between(0, delay_ms)
            } else {
                0
            };
            self.replies.push_back((before.max(now.ms + delay), reply));
        }
        self.buffer.drain(..at);
        Ok(())
    }

    /// Replies that are ready go out, in RESP3 with pushes between them.
    pub(crate) fn release(&mut self, now: u64, pushes: u64, rng: &mut Rng) {
        let resp3 = self.session.as_ref().is_some_and(|s| s.protocol == 3);
        while !self.hung
            && let Some((due, _)) = self.replies.front()
            && *due <= now
            && let Some((_, reply)) = self.replies.pop_front()
        {
            // Only after the reply that made it RESP3.
            let begun = resp3 && !reply.starts_with(b"%7\r\n$6\r\nserver");
            if begun && rng.permille(pushes) {
                let push: &&[u8] = rng.pick(PUSHES);
                self.output.extend_from_slice(push);
            }
            self.output.extend(reply);
        }
    }
}
