//! What clients hear whose requests no backend answers any more, each in its place.

use crate::resp::write;

use crate::link::failure::Failure;
use crate::link::handshake::is_busy;
use crate::link::link::Link;
use crate::link::request::{Kind, Request};
use crate::proxy::machine::Machine;
use crate::store::chunk::ChunkList;

/// What becomes of a client whose request is not answered by a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum End {
    /// It hears why, and goes on.
    Told,
    /// Its connection is closed: so the operator wants it.
    Closed,
    /// Its connection is closed: its login is not good any more.
    LoggedOut,
}

impl Machine {
    /// What becomes of those whose request may have been executed, and of those whose was not.
    pub(in crate::proxy) fn client_ends(&self, lost: &Link, failure: &Failure) -> (End, End) {
        let end = match failure {
            // What the server says direct, too, and goes on.
            Failure::Rejected(_) => End::Told,
            Failure::TurnedAway(text) if is_busy(text) => End::Told,
            _ if self.settings.close_on_loss => End::Closed,
            _ => End::Told,
        };
        match self.is_logged_out(lost, failure) {
            true => (end, End::LoggedOut),
            false => (end, end),
        }
    }

    /// Answers a record with an error, in its place, or ends its client.
    pub(in crate::proxy) fn answer_lost(&mut self, index: u32, error: &[u8], end: End) {
        let Some(&Request {
            client: key,
            kind,
            verb,
            count,
            ..
        }) = self.requests.get(index)
        else {
            return;
        };
        let Some(client) = self.clients.get_mut(key) else {
            return self.requests.forget(index);
        };
        client.in_flight -= count;
        let closing = client.is_closing();
        let errors = match kind {
            Kind::Deliver if end != End::Told => 0,
            // However many confirmations were asked for, there is one error.
            Kind::Deliver if verb.confirms() => 1,
            Kind::Deliver => count,
            _ => 0,
        };
        let mut replies = ChunkList::default();
        for _ in 0..errors {
            self.clients.chunks_mut().append(&mut replies, error);
        }
        self.clients
            .answer(&mut self.requests, (key, index), replies);
        self.stats.counters.errors += u64::from(errors);
        if end != End::Told {
            let count = match end {
                End::LoggedOut => &mut self.stats.counters.logged_out,
                _ => &mut self.stats.counters.closed_on_loss,
            };
            *count += u64::from(!closing);
            self.finish_client(key);
            self.clients.silence(&mut self.requests, key);
        }
        self.clients.release_parked(&mut self.requests, key);
        self.wake(key);
    }

    /// Does the backend not accept any more what the clients of a connection came in with? Those
    /// that find no other connection that did are closed.
    pub(in crate::proxy) fn is_logged_out(&self, lost: &Link, failure: &Failure) -> bool {
        matches!(failure, Failure::Refused(_)) && self.is_refused(lost.pool)
    }
}

pub(in crate::proxy) fn error(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::error(&mut out, text);
    out
}
