//! Errors in place of the replies that no server will send, in the order of the client's requests.

use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::request::{Kind, PartEnd, Request};
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::chunk::ChunkList;

/// What happens to a client whose request no server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum End {
    /// The client gets an error and stays connected.
    Error,
    /// The client gets an error and is closed: the next requests belong to a transaction that has
    /// not begun, or to another session.
    Refused,
    /// The client is closed, as `close_on_loss` says.
    Closed,
    /// The client is closed: its credential is no longer accepted.
    LoggedOut,
}

impl Machine {
    /// What happens to clients whose request may have been executed, and to those whose was not.
    pub(in crate::proxy) fn client_ends(&self, lost: &Link, failure: &Failure) -> (End, End) {
        let end = match failure {
            // A directly connected client gets this error, too, and stays connected.
            Failure::Rejected(_) | Failure::Busy(_) => End::Error,
            _ if self.settings.close_on_loss => End::Closed,
            _ => End::Error,
        };
        match self.is_logged_out(lost, failure) {
            true => (end, End::LoggedOut),
            false => (end, end),
        }
    }

    /// Answers a record with an error in its place, or closes its client.
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
        if kind.is_part() {
            if let Some(part) = self.requests.end_part(index) {
                self.work
                    .push(Work::PartEnded(part, PartEnd::Lost(error.into())));
            }
            return self.requests.forget(index);
        }
        let Some(client) = self.clients.get_mut(key) else {
            return self.requests.forget(index);
        };
        let end = match end {
            End::Error if verb.governs_next() => End::Refused,
            end => end,
        };
        client.in_flight -= count;
        let closing = client.is_closing();
        let errors = match kind {
            Kind::Deliver if matches!(end, End::Closed | End::LoggedOut) => 0,
            // An error replaces all confirmations of the request.
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
        if end != End::Error {
            let counters = &mut self.stats.counters;
            match end {
                End::LoggedOut => counters.logged_out += u64::from(!closing),
                End::Closed => counters.closed_on_loss += u64::from(!closing),
                End::Refused if verb.begins_transaction() => {
                    counters.transactions_refused += u64::from(!closing);
                }
                End::Refused => counters.session_changes_refused += u64::from(!closing),
                End::Error => {}
            }
            self.finish_client(key);
            match end {
                End::Refused => self.clients.silence_behind(&mut self.requests, index),
                _ => self.clients.silence(&mut self.requests, key),
            }
        }
        self.clients.release_parked(&mut self.requests, key);
        self.mark_ready(key);
    }

    /// Does the server reject the credential of a link's clients? Clients that find no other link
    /// with an accepted credential are closed.
    pub(in crate::proxy) fn is_logged_out(&self, lost: &Link, failure: &Failure) -> bool {
        matches!(failure, Failure::Refused(_)) && self.upstreams.is_refused(lost.pool, self.now)
    }
}
