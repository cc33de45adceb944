//! WAIT and WAITAOF, on the connections that carried what the client wrote.
//!
//! A server measures them by the last write of the very connection. On a shared one WAIT stands
//! behind what was written there, and nobody's requests are put behind it. A client that had a
//! connection to itself before may have written there, too: then that one is asked first, and the
//! shared one only if it says yes.

use std::mem;

use crate::resp::Args;
use crate::resp::number::parse_i64;

use super::super::answer::{Taken, kind_of};
use super::super::client::{Flag, Hold, ReplyMode};
use super::super::key::{BackendKey, ClientKey};
use super::super::machine::Machine;
use super::{Change, Verb};

/// The error where no connection can tell: an answer from another one would be wrong.
const UNKNOWN: &str = "ERR elika: the connection that carried the writes is in use or closed";

impl Machine {
    /// WAIT or WAITAOF of a client that has no connection of its own.
    pub(super) fn wait(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        let Some(client) = self.clients.get_mut(key) else {
            return Taken::Yes;
        };
        let (shared, own) = (client.backend, client.last_own());
        let moved = client.is(Flag::Moved);
        let has_shared = self.may_wait_on(shared);
        if own == BackendKey::NONE && has_shared && !moved {
            return self.wait_on_shared(key, shared, frame);
        }
        if !self.at_barrier(key) {
            return Taken::No;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Taken::Yes;
        };
        client.clear(Flag::Moved);
        client.forget_last_own();
        let left = own == BackendKey::NONE && (moved || shared != BackendKey::NONE);
        if left || moved && has_shared {
            // It was lost meanwhile, or serves others: nobody can tell, however often it is asked.
            client.set(Flag::Moved);
            self.say_error(key, UNKNOWN);
            return Taken::Yes;
        }
        if own != BackendKey::NONE && !self.take_idle(own, key) {
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

    /// Is it a shared connection that can be asked? Others may wait there already.
    fn may_wait_on(&self, shared: BackendKey) -> bool {
        let backend = self.backends.get(shared);
        backend.is_some_and(|it| !it.dedicated && !it.retired && it.owner == ClientKey::NONE)
    }

    fn wait_on_shared(&mut self, key: ClientKey, shared: BackendKey, frame: &[u8]) -> Taken {
        if self.with_room(key, shared).is_err() {
            return Taken::No;
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.backend = shared;
            let what = (kind_of(client), Verb::Block);
            self.put(key, shared, what, 1, frame);
        }
        Taken::Yes
    }

    /// The first answer is here. If it is a yes, the shared connection is asked as well, once this
    /// one is given back.
    pub(super) fn waited(&mut self, key: ClientKey, change: Change, reply: &[u8], silent: bool) {
        let Change::Wait { frame, shared } = change else {
            return;
        };
        if is_yes(&frame, reply) {
            self.wait_on.push((key, shared, frame, silent));
        } else if !silent {
            self.tell_own(key, reply);
        }
    }

    /// Asks the second connections.
    pub(in super::super) fn wait_further(&mut self) {
        for (key, shared, frame, silent) in mem::take(&mut self.wait_on) {
            let Some(client) = self.clients.get_mut(key) else {
                continue;
            };
            if silent && client.reply_mode == ReplyMode::On {
                client.reply_mode = ReplyMode::SkipNext;
            }
            let free = client.pin.is_none() && client.fifo.is_empty();
            let asked = free
                && self.may_wait_on(shared)
                && self.wait_on_shared(key, shared, &frame) == Taken::Yes;
            if !asked {
                self.say_error(key, UNKNOWN);
            }
        }
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
    fn only_enough_of_everything_is_a_yes() {
        let wait = b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$3\r\n100\r\n";
        assert!(is_yes(wait, b":2\r\n") && is_yes(wait, b":3\r\n"));
        assert!(!is_yes(wait, b":1\r\n") && !is_yes(wait, b"-ERR no\r\n"));
        let aof = b"*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n0\r\n";
        assert!(is_yes(aof, b"*2\r\n:1\r\n:2\r\n"));
        assert!(!is_yes(aof, b"*2\r\n:0\r\n:2\r\n") && !is_yes(aof, b":2\r\n"));
    }
}
