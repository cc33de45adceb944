//! Where a frame goes that begins on a client's own connection.

use std::mem;

use crate::resp::{Protocol, write};

use super::super::backend::Failure;
use super::super::client::ReplyMode;
use super::super::key::BackendKey;
use super::super::machine::Machine;
use super::super::outbound::mark_client_dirty;
use super::super::request::Kind;
use super::frame::{Fate, is_line};
use super::{Change, Frame, Verb};

/// What a server calls the end of a redirection.
const BROKEN: &[u8] = b"tracking-redir-broken";

/// What of a client decides how a frame is read.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    /// Messages look like replies.
    pub(super) modal: bool,
    pub(super) monitor: bool,
    /// It said CLIENT REPLY OFF.
    silent: bool,
}

impl Machine {
    pub(super) fn manner(&self, key: BackendKey) -> Manner {
        let Some(backend) = self.backends.get(key) else {
            return Manner::default();
        };
        let Some(client) = self.clients.get(backend.owner) else {
            return Manner::default();
        };
        let pin = client.pin.as_deref();
        let head = self.requests.get(backend.fifo.head);
        let confirms =
            head.is_some_and(|head| matches!(head.verb, Verb::Confirm(_) | Verb::ConfirmAll(_)));
        Manner {
            modal: client.protocol == Protocol::Resp2
                && (confirms || pin.is_some_and(|pin| pin.subscriptions() > 0)),
            monitor: pin.is_some_and(|pin| pin.monitor),
            silent: client.reply_mode == ReplyMode::Off,
        }
    }

    /// The client that gets the invalidations of the one which has this connection, if it is
    /// another.
    fn redirects_to(&self, key: BackendKey) -> Option<u64> {
        let owner = self.backends.get(key)?.owner;
        let pin = self.clients.get(owner)?.pin.as_deref()?;
        pin.tracking?.redirect
    }

    /// A push of two elements to a client that redirects its invalidations: the one which says
    /// that this has ended has the backend's number for the other client.
    pub(super) fn redirect_told(&mut self, key: BackendKey, frame: Frame) {
        let redirect = self.redirects_to(key);
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        let mut out = mem::take(&mut backend.collected);
        if frame.first_word() == BROKEN
            && let Some(id) = redirect
        {
            out.clear();
            write::push(&mut out, Protocol::Resp3, 2);
            write::bulk(&mut out, BROKEN);
            write::integer(&mut out, id.cast_signed());
        }
        let owner = backend.owner;
        if let Some(client) = self.clients.get_mut(owner) {
            self.to_clients.append(&mut client.outbound, &out);
            mark_client_dirty(&mut self.dirty_clients, client, owner);
        }
    }

    /// Where a frame will go that begins so.
    pub(super) fn fate(&self, key: BackendKey, begin: &[u8]) -> Result<Fate, Failure> {
        let manner = self.manner(key);
        let first = begin.first();
        if manner.monitor && first == Some(&b'+') {
            match begin.len() {
                1 => return Ok(Fate::Open),
                // A server sends no lines to a client that wants no replies.
                _ if is_line(begin) && manner.silent => return Ok(Fate::Drop),
                _ if is_line(begin) => return Ok(Fate::Push),
                _ => {}
            }
        }
        // Cut behind its first byte, it goes out as it is.
        if begin.starts_with(b">2") && self.redirects_to(key).is_some() {
            return Ok(Fate::Notice);
        }
        if first == Some(&b'>') || first == Some(&b'*') && manner.modal {
            // CLIENT REPLY OFF is about replies: what was subscribed to comes all the same.
            return Ok(Fate::Push);
        }
        let Some(backend) = self.backends.get(key) else {
            return Ok(Fate::Reply);
        };
        let pin = self
            .clients
            .get(backend.owner)
            .and_then(|client| client.pin.as_deref());
        let head = self.requests.get(backend.fifo.head);
        // A request that was not even sent has no reply.
        let head = head.filter(|head| head.start < backend.sent);
        if head.is_some_and(|head| matches!(head.kind, Kind::Permission(_))) {
            return Ok(Fate::Collect);
        }
        Ok(match (head.map(|head| head.verb), pin) {
            (Some(Verb::Exec), Some(pin)) if !pin.effects.is_empty() => Fate::Walk,
            (Some(Verb::Wait), _) => Fate::Collect,
            (Some(Verb::Change), Some(pin))
                if pin.changes.front().is_some_and(Change::rewrites) =>
            {
                Fate::Collect
            }
            (Some(_), _) => Fate::Reply,
            (None, _) => {
                let why = "sent a reply that nobody asked for";
                return Err(Failure::Desync(why.into()));
            }
        })
    }
}
