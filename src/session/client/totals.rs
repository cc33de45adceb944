//! The totals of a client for CLIENT LIST: bytes read and written, and commands executed.
//!
//! They are counted as a server does: bytes when they are read or written, and a command when it is
//! executed, which for one inside MULTI is at EXEC. The client's record has 32 bits for each total;
//! only a client that exceeds them has the upper 32 bits in its [`Details`].
//!
//! [`Details`]: super::details::Details

use crate::link::frame::Frame;
use crate::link::verb::Verb;
use crate::session::client::Client;

/// The lower or the upper 32 bits of a client's totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Halves {
    bytes_in: u32,
    bytes_out: u32,
    commands: u32,
}

/// A client's totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub commands: u64,
}

/// Adds to one half. Returns whether the other half must be incremented.
#[inline]
fn add(to: &mut u32, n: u32) -> bool {
    let (sum, carry) = to.overflowing_add(n);
    *to = sum;
    carry
}

impl Client {
    /// Counts the bytes of one read: no system reads 4 GB at once.
    #[inline]
    pub(crate) fn count_read(&mut self, bytes: usize) {
        if add(&mut self.totals.bytes_in, bytes as u32) {
            self.carry(|upper| &mut upper.bytes_in);
        }
    }

    /// Counts the bytes of one write.
    #[inline]
    pub(crate) fn count_written(&mut self, bytes: usize) {
        if add(&mut self.totals.bytes_out, bytes as u32) {
            self.carry(|upper| &mut upper.bytes_out);
        }
    }

    /// Counts commands that are executed, or soon will be.
    #[inline]
    pub(crate) fn count_commands(&mut self, commands: u32) {
        if add(&mut self.totals.commands, commands) {
            self.carry(|upper| &mut upper.commands);
        }
    }

    /// Takes back a counted command: it is not executed now.
    pub(crate) fn uncount_command(&mut self) {
        debug_assert!(self.totals().commands > 0, "it was not counted");
        let (left, borrow) = self.totals.commands.overflowing_sub(1);
        self.totals.commands = left;
        if borrow {
            let upper = &mut self.details_mut().totals.commands;
            *upper = upper.wrapping_sub(1);
        }
    }

    #[cold]
    fn carry(&mut self, half: fn(&mut Halves) -> &mut u32) {
        let upper = half(&mut self.details_mut().totals);
        *upper = upper.wrapping_add(1);
    }

    pub(crate) fn totals(&self) -> Totals {
        let upper = self.details.as_ref().map(|it| it.totals);
        let (upper, lower) = (upper.unwrap_or_default(), self.totals);
        let whole = |upper: u32, lower: u32| u64::from(upper) << 32 | u64::from(lower);
        Totals {
            bytes_in: whole(upper.bytes_in, lower.bytes_in),
            bytes_out: whole(upper.bytes_out, lower.bytes_out),
            commands: whole(upper.commands, lower.commands),
        }
    }

    /// Counts a reply inside MULTI: there a server executes only the commands that end it; EXEC
    /// executes the queued ones.
    pub(crate) fn count_inside(&mut self, verb: Verb, reply: &Frame) {
        let Some(pin) = self.pin().filter(|pin| pin.multi) else {
            return;
        };
        match verb {
            Verb::Exec if !reply.is_error() && !reply.is_null() => self.count_commands(pin.queued),
            _ if verb.is_transaction() => {}
            _ if reply.is_queued() || reply.is_error() => self.uncount_command(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::session::client::Origin;
    use crate::store::time::Millis;

    const HALF: u64 = 1 << 32;

    fn client() -> Client {
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (id, peer, local) = (1, end, end);
        Client::new(Origin { id, peer, local }, Millis::default())
    }

    #[test]
    fn totals_go_beyond_32_bits_and_only_then_cost_memory() {
        let mut client = client();
        let almost = u32::MAX - 1;
        client.count_read(almost as usize);
        client.count_written(almost as usize);
        client.count_commands(almost);
        assert!(client.details.is_none());
        for round in 1..4 {
            client.count_read(1 << 20);
            client.count_written(1 << 20);
            client.count_commands(3);
            let before = HALF - 2;
            let bytes = before + (round << 20);
            let totals = client.totals();
            assert_eq!((totals.bytes_in, totals.bytes_out), (bytes, bytes));
            assert_eq!(totals.commands, before + 3 * round);
        }
        assert!(client.details.is_some());
    }

    #[test]
    fn uncounting_a_command_borrows_from_the_upper_half() {
        let mut client = client();
        client.count_commands(u32::MAX);
        client.count_commands(1);
        assert_eq!(client.totals().commands, HALF);
        client.uncount_command();
        assert_eq!(client.totals().commands, HALF - 1);
        client.count_commands(2);
        assert_eq!(client.totals().commands, HALF + 1);
    }
}
