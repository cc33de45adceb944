//! WAIT and WAITAOF, on the connections that carried what the client wrote.
//!
//! A server measures them by the last write of the very connection. A shared one is lent to the
//! client for that, once nothing is in flight on it: others go to another one meanwhile, so that
//! nothing stands behind a WAIT. A client that had a connection to itself before may have written
//! there, too: then that one is asked first, and the shared one only if it says yes.
//!
//! ```text
//!   own connection of before, if any ── yes ──► reserve the shared one ──► lent ──► shared again
//!                 │ no: the answer              (waits: in use by another WAIT, no room for
//!                 ▼                              one in its place, replies outstanding)
//! ```

use std::mem;

use crate::resp::number::parse_i64;
use crate::resp::{Args, write};

use super::super::answer::{Taken, kind_of};
use super::super::backend::Lending;
use super::super::client::{Flag, Hold};
use super::super::key::{BackendKey, ClientKey};
use super::super::machine::{Machine, mark_ready};
use super::super::request::Kind;
use super::super::settings::Millis;
use super::super::tenant::Use;
use super::{Change, Verb};

/// The error where no connection can tell: an answer from another one would be wrong.
const UNKNOWN: &str = "ERR elika: the connection that carried the writes is in use or closed";

/// A client in WAIT that needs a shared connection.
#[derive(Debug)]
pub(in super::super) struct Waiter {
    pub client: ClientKey,
    pub on: BackendKey,
    frame: Box<[u8]>,
    /// Whether it hears the reply.
    kind: Kind,
    since: Millis,
}

/// What became of a waiter.
#[derive(PartialEq, Eq)]
enum Served {
    Now,
    Later,
    /// The connection has gone.
    Never,
}

impl Machine {
    /// WAIT or WAITAOF of a client that has no connection of its own.
    pub(super) fn wait(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        if !may_block(frame) {
            return self.forward_one(key, frame);
        }
        if !self.at_barrier(key) {
            return Taken::No;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Taken::Yes;
        };
        let (shared, own) = (client.backend, client.last_own());
        let moved = client.is(Flag::Moved);
        let has_shared = self.may_wait_on(shared);
        if moved || shared != BackendKey::NONE && !has_shared {
            // Nobody can tell of what it wrote on a connection that it has left or lost, however
            // often it is asked.
            if let Some(client) = self.clients.get_mut(key) {
                client.set(Flag::Moved);
            }
            self.say_error(key, UNKNOWN);
            return Taken::Yes;
        }
        if own == BackendKey::NONE && has_shared {
            let kind = self.clients.get_mut(key).map_or(Kind::Swallow, kind_of);
            self.wait_on_shared(key, shared, frame.into(), kind);
            return Taken::Yes;
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.forget_last_own();
        }
        if own != BackendKey::NONE && !self.take_idle(own, key) {
            // What it wrote there no other one can tell.
            if let Some(client) = self.clients.get_mut(key) {
                client.set(Flag::Moved);
            }
            self.say_error(key, UNKNOWN);
            return Taken::Yes;
        }
        if own == BackendKey::NONE
            && let Err(refusal) = self.pin(key)
        {
            return self.refuse(key, refusal);
        }
        let then = has_shared.then(|| Change::Wait {
            frame: frame.into(),
            shared,
        });
        self.send_wait(key, then, frame)
    }

    /// Asks the connection that the client has to itself for this.
    fn send_wait(&mut self, key: ClientKey, then: Option<Change>, frame: &[u8]) -> Taken {
        let verb = match then.is_some() {
            true => Verb::Wait,
            false => Verb::Block,
        };
        let taken = self.send(key, verb, 1, then, frame);
        if let Some(client) = self.clients.get_mut(key) {
            // Nothing else of it may go there: it is about what was written before.
            client.hold.set(Hold::BARRIER);
        }
        if let Some(pin) = self.pin_mut(key) {
            pin.provisional = true;
        }
        taken
    }

    /// Is it a shared connection that can be asked? It may be lent to another client.
    fn may_wait_on(&self, shared: BackendKey) -> bool {
        let backend = self.backends.get(shared);
        backend.is_some_and(|it| !it.dedicated && !it.retired)
    }

    /// The first answer is here. If it is a yes, the shared connection is asked as well, once this
    /// one is given back.
    pub(super) fn waited(&mut self, key: ClientKey, change: Change, reply: &[u8], silent: bool) {
        let Change::Wait { frame, shared } = change else {
            return;
        };
        if is_yes(&frame, reply) {
            let kind = if silent { Kind::Swallow } else { Kind::Deliver };
            self.enlist(key, shared, frame, kind);
        } else if !silent {
            self.tell_own(key, reply);
        }
    }

    fn wait_on_shared(&mut self, key: ClientKey, on: BackendKey, frame: Box<[u8]>, kind: Kind) {
        self.enlist(key, on, frame, kind);
        self.serve_waits();
    }

    /// Nothing more of the client is decoded until it was served.
    fn enlist(&mut self, client: ClientKey, on: BackendKey, frame: Box<[u8]>, kind: Kind) {
        if let Some(client) = self.clients.get_mut(client) {
            client.hold.set(Hold::WAIT);
        }
        self.waits.push(Waiter {
            client,
            on,
            frame,
            kind,
            since: self.now,
        });
    }

    /// Lends the connections that are free to those who wait for them, in their order.
    pub(in super::super) fn serve_waits(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        let mut left = Vec::with_capacity(self.waits.len());
        for waiter in mem::take(&mut self.waits) {
            match self.serve_wait(&waiter) {
                Served::Now => {}
                Served::Later => left.push(waiter),
                Served::Never => self.end_wait(&waiter),
            }
        }
        left.append(&mut self.waits);
        self.waits = left;
    }

    fn serve_wait(&mut self, waiter: &Waiter) -> Served {
        let (key, on) = (waiter.client, waiter.on);
        if !self.may_wait_on(on) {
            return Served::Never;
        }
        let may = self.may_lend(on);
        let (Some(client), Some(backend)) = (self.clients.get(key), self.backends.get_mut(on))
        else {
            return Served::Never;
        };
        // Its own connection of before is given back first.
        if client.pin.is_some() || !client.fifo.is_empty() {
            return Served::Later;
        }
        match backend.lending {
            Lending::None if may => backend.lending = Lending::Reserved(key),
            Lending::Reserved(client) if client == key => {}
            Lending::None | Lending::Reserved(_) | Lending::Lent => return Served::Later,
        }
        if !backend.fifo.is_empty() || !backend.is_ready() || !self.take_pinned(on) {
            return Served::Later;
        }
        self.lend(on);
        self.own(on, key);
        if let Some(client) = self.clients.get_mut(key) {
            client.hold.clear(Hold::WAIT);
            client.hold.set(Hold::BARRIER);
        }
        if let Some(pin) = self.pin_mut(key) {
            pin.provisional = true;
        }
        let what = (waiter.kind, Verb::Block);
        self.put(key, on, what, 1, &waiter.frame);
        Served::Now
    }

    /// Is there another shared connection for the others, or room for one?
    fn may_lend(&self, on: BackendKey) -> bool {
        let pool = self.backends.get(on).map(|backend| backend.pool);
        let Some(pool) = pool.and_then(|pool| self.pools.pools.get(pool)) else {
            return false;
        };
        let most = self.settings.pool_connections_max;
        let open =
            |&key: &BackendKey| key != on && self.backends.get(key).is_some_and(|it| it.is_open());
        pool.lent == 0 || pool.shared() < most || pool.backends.iter().any(open)
    }

    /// Counts a connection as one of its tenant's dedicated ones, if there may be one more.
    fn take_pinned(&mut self, on: BackendKey) -> bool {
        let pool = self.backends.get(on).map(|backend| backend.pool);
        let slot = self.tenant_of_pool(pool.unwrap_or_default());
        let tenant = self.pools.tenants.get_mut(slot);
        let max = self.settings.dedicated_max;
        tenant.is_none_or(|tenant| {
            tenant.used(Use::Pinned) < max && tenant.take(Use::Pinned, tenant.limits.pinned)
        })
    }

    /// No connection can tell, or not in time.
    fn end_wait(&mut self, waiter: &Waiter) {
        let key = waiter.client;
        self.unreserve(waiter);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.hold.clear(Hold::WAIT);
        mark_ready(&mut self.ready, client, key);
        self.counters.errors += 1;
        if waiter.kind == Kind::Deliver {
            let mut out = Vec::new();
            write::error(&mut out, UNKNOWN);
            self.tell(key, &out);
        }
    }

    fn unreserve(&mut self, waiter: &Waiter) {
        if let Some(backend) = self.backends.get_mut(waiter.on)
            && backend.lending == Lending::Reserved(waiter.client)
        {
            backend.lending = Lending::None;
        }
    }

    /// A client that waits for a connection hears an error after the time that it waits for any.
    pub(in super::super) fn check_waits(&mut self) {
        let (now, wait_ms) = (self.now, self.settings.pool_wait_ms);
        let late = |it: &Waiter| now.since(it.since) >= wait_ms;
        let (late, left): (Vec<_>, Vec<_>) = mem::take(&mut self.waits).into_iter().partition(late);
        self.waits = left;
        for waiter in late {
            self.counters.pins_refused += 1;
            self.end_wait(&waiter);
        }
        self.serve_waits();
    }

    /// A client that waits for a connection goes.
    pub(in super::super) fn leave_waits(&mut self, key: ClientKey) {
        let client = self.clients.get(key);
        if client.is_some_and(|it| it.hold.has(Hold::WAIT))
            && let Some(at) = self.waits.iter().position(|it| it.client == key)
        {
            let waiter = self.waits.remove(at);
            self.unreserve(&waiter);
            if let Some(client) = self.clients.get_mut(key) {
                client.hold.clear(Hold::WAIT);
            }
            self.serve_waits();
        }
    }
}

/// May it take its time? A server answers at once what has a wrong argument, and what wants no
/// replica and no file: that is said of any connection's writes.
fn may_block(frame: &[u8]) -> bool {
    let args = Args::new(frame);
    let count = args.len();
    let file = count == 4;
    let numbers: Vec<_> = args.skip(1).map_while(parse_i64).collect();
    match *numbers {
        _ if numbers.len() + 1 != count => false,
        [replicas, ms] => replicas > 0 && ms >= 0,
        [local, replicas, ms] => file && (local > 0 || replicas > 0) && ms >= 0,
        _ => false,
    }
}

/// Is every number of the reply at least the one that was asked for? The last argument is a time.
fn is_yes(frame: &[u8], reply: &[u8]) -> bool {
    let args = Args::new(frame);
    let wanted = args.len().saturating_sub(2);
    let lines = reply.split(|byte| *byte == b'\n');
    let numbers = lines.filter_map(|line| line.strip_suffix(b"\r")?.strip_prefix(b":"));
    let numbers: Vec<_> = numbers.filter_map(parse_i64).collect();
    let enough = |(number, arg): (&i64, &[u8])| parse_i64(arg).is_some_and(|arg| *number >= arg);
    numbers.len() == wanted && numbers.iter().zip(args.skip(1)).all(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_waits_for_something_block() {
        let blocks = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let mut frame = Vec::new();
            write::command(&mut frame, &words);
            may_block(&frame)
        };
        for line in ["WAIT 1 0", "WAIT 1 10", "WAITAOF 1 0 0", "WAITAOF 0 1 5"] {
            assert!(blocks(line), "{line}");
        }
        for line in [
            "WAIT",
            "WAIT 1",
            "WAIT 0 1",
            "WAIT -1 1",
            "WAIT x 1",
            "WAIT 1 x",
            "WAIT 1 -1",
            "WAIT 1 2 3 4",
            "WAITAOF",
            "WAITAOF 0 0 1",
            "WAITAOF 1 1 -1",
            "WAITAOF 1 1 x",
        ] {
            assert!(!blocks(line), "{line}");
        }
    }

    #[test]
    fn only_enough_of_everything_is_a_yes() {
        let wait = b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$3\r\n100\r\n";
        assert!(is_yes(wait, b":2\r\n") && is_yes(wait, b":3\r\n"));
        assert!(!is_yes(wait, b":1\r\n") && !is_yes(wait, b"-ERR no\r\n"));
        let aof = b"*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n0\r\n";
        assert!(is_yes(aof, b"*2\r\n:1\r\n:2\r\n"));
        assert!(!is_yes(aof, b"*2\r\n:0\r\n:2\r\n") && !is_yes(aof, b":2\r\n"));
    }
}
