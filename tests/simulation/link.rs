//! A backend connection: the fake kernel between a machine and a fake Redis.

use std::collections::VecDeque;

use elika::proxy::LinkKey;

use super::redis::{Moment, Redis, SEQUENCE, any_tag, is_read};
use super::rng::Rng;
use super::wire;

/// Bytes that no server may send.
pub(crate) const GARBAGE: &[&[u8]] = &[b"@garbage\r\n", b"$abc\r\n", b"*-7\r\n"];

/// A reply, and the time at which it is sent.
#[derive(Debug)]
struct Reply {
    due: u64,
    bytes: Vec<u8>,
    /// In RESP3 a push may precede it.
    noisy: bool,
}

/// The future of a connection that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    Open,
    Refused,
    Silence,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) key: LinkKey,
    pub(crate) server: usize,
    /// The server's id of the session; `None`: being opened.
    pub(crate) session: Option<u64>,
    /// When the machine started it.
    pub(crate) begun: Moment,
    pub(crate) prospect: Prospect,
    /// When it will be opened or refused, ms.
    pub(crate) due: u64,
    /// Sent by the proxy, not yet read by the server.
    pub(crate) input: Vec<u8>,
    pub(crate) input_max: usize,
    /// Read by the server, not yet executed.
    buffer: Vec<u8>,
    replies: VecDeque<Reply>,
    /// Sent by the server, not yet read by the proxy.
    pub(crate) output: Vec<u8>,
    pub(crate) paused: bool,
    pub(crate) wants_write: bool,
    /// The server does nothing any more.
    pub(crate) hung: bool,
    /// The server has sent invalid bytes.
    pub(crate) garbage: bool,
    /// The server closes the connection when `output` is read.
    pub(crate) dying: bool,
    /// It was silent for so long that the proxy may close it.
    pub(crate) late: bool,
    /// When the proxy last received anything on it, or started it, ms.
    pub(crate) heard: u64,
    /// A reply is overdue.
    pub(crate) overdue: bool,
    /// The server has sent something.
    pub(crate) answered: bool,
    /// Turns of the machine since its blocked client disconnected.
    pub(crate) abandoned: u32,
}

impl Link {
    pub(crate) fn new(
        key: LinkKey,
        server: usize,
        prospect: Prospect,
        due: u64,
        now: Moment,
    ) -> Self {
        Self {
            key,
            server,
            session: None,
            begun: now,
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
            heard: now.ms,
            answered: false,
            overdue: false,
            abandoned: 0,
        }
    }

    /// Nothing is in flight in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.input.is_empty() && !self.has_state()
    }

    /// Whether the server has started a request, or has something to send.
    pub(crate) fn has_state(&self) -> bool {
        !(self.buffer.is_empty() && self.replies.is_empty() && self.output.is_empty())
    }

    /// Whether the server has sent something that the proxy has not read.
    pub(crate) fn has_unread_output(&self) -> bool {
        !self.replies.is_empty() || !self.output.is_empty()
    }

    /// The client of the first request that the server has not executed.
    pub(crate) fn asker(&self) -> Option<u64> {
        let bytes = [&self.buffer[..], &self.input].concat();
        let (_, args) = wire::request(&bytes).ok()??;
        Some(any_tag(&args)? / SEQUENCE)
    }

    /// Whether all requests that the server has not executed only read.
    pub(crate) fn only_reads(&self) -> bool {
        let bytes = [&self.buffer[..], &self.input].concat();
        let mut rest = &bytes[..];
        while let Ok(Some((len, args))) = wire::request(rest) {
            if !is_read(&String::from_utf8_lossy(&args[0])) {
                return false;
            }
            rest = &rest[len..];
        }
        true
    }

    /// Whether the proxy has sent a request with this text that the server has not executed.
    pub(crate) fn is_to_do(&self, word: &[u8]) -> bool {
        let bytes = [&self.buffer[..], &self.input].concat();
        bytes.windows(word.len()).any(|window| window == word)
    }

    /// The server executes received requests, but maybe not all at once; none while it is blocked.
    pub(crate) fn serve(
        &mut self,
        redis: &mut Redis,
        now: Moment,
        delay_ms: u64,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let Some(id) = self.session else {
            return Ok(());
        };
        if self.hung || self.dying || redis.mute_until > now.ms {
            return Ok(());
        }
        redis.expire(now)?;
        let n = rng.piece(self.input.len());
        self.buffer.extend(self.input.drain(..n));
        let (mut at, mut left) = (0, if rng.one_in(3) { 1 } else { usize::MAX });
        while left > 0
            && redis.sessions[&id].blocked.is_none()
            && redis.sessions[&id].wait.is_none()
            && !redis.runs_for(id)
            && let Some((len, args)) = wire::request(&self.buffer[at..])?
            && !redis.pauses_writes(&args[0], now)
        {
            (at, left) = (at + len, left - 1);
            if let Some(session) = redis.sessions.get_mut(&id) {
                session.pending = !self.replies.is_empty() || !self.output.is_empty();
            }
            redis.execute(id, &args, now)?;
            self.collect(redis, now.ms, delay_ms, rng);
        }
        self.buffer.drain(..at);
        let session = &redis.sessions[&id];
        let wait = session.wait.as_ref().filter(|it| it.is_long);
        match wait.filter(|_| !session.holds() && !self.buffer.is_empty()) {
            Some(wait) => Err(format!(
                "{:?} waits behind {wait:?}",
                String::from_utf8_lossy(&self.buffer)
            )),
            None => Ok(()),
        }
    }

    /// Takes the replies and pushes of the server on this connection.
    pub(crate) fn collect(&mut self, redis: &mut Redis, now: u64, delay_ms: u64, rng: &mut Rng) {
        let Some(session) = self.session.and_then(|id| redis.sessions.get_mut(&id)) else {
            return;
        };
        for (bytes, noisy) in session.output.drain(..) {
            let before = self.replies.back().map_or(0, |reply| reply.due);
            let delay = if delay_ms > 0 && rng.one_in(3) {
                rng.between(0, delay_ms)
            } else {
                0
            };
            let due = before.max(now + delay);
            self.replies.push_back(Reply { due, bytes, noisy });
        }
    }

    /// Sends the replies that are due, in RESP3 with pushes between them.
    pub(crate) fn release(&mut self, redis: &mut Redis, now: u64, pushes: u64, rng: &mut Rng) {
        while !self.hung
            && let Some(reply) = self.replies.front()
            && reply.due <= now
            && let Some(reply) = self.replies.pop_front()
        {
            if reply.noisy && rng.permille(pushes) {
                let session = self.session.and_then(|id| redis.sessions.get(&id));
                let own = session.is_some_and(|session| session.own);
                let number = redis.noises.len();
                let waited = session.is_some_and(|session| session.waited);
                redis.noises.push(match own {
                    _ if waited => None,
                    true => session.and_then(|session| session.client),
                    false => Some(0),
                });
                let push = format!(">2\r\n+noise\r\n:{number}\r\n");
                self.output.extend_from_slice(push.as_bytes());
            }
            self.output.extend(reply.bytes);
        }
    }
}
