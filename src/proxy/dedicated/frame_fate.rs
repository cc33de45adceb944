//! Where a frame goes that begins on a client's own connection.

use std::mem;

use crate::command::proxy_command;
use crate::resp::{Protocol, write};

use crate::dedicated::pin::Change;
use crate::link::failure::Failure;
use crate::link::frame::{Fate, is_line};
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::session::client::ReplyMode;
use crate::store::key::LinkKey;

/// How a server says that a redirection has ended: its number for the other client follows.
const BROKEN: &[u8] = b">2\r\n$21\r\ntracking-redir-broken\r\n";

/// What of a client decides how a frame is read.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    /// Messages look like replies.
    pub(super) modal: bool,
    pub(super) monitor: bool,
    /// It said CLIENT REPLY OFF.
    silent: bool,
}

/// Can a push that begins so say that a redirection has ended?
fn may_be_broken(begin: &[u8]) -> bool {
    begin
        .iter()
        .zip(BROKEN)
        .all(|(came, wanted)| came == wanted)
}

impl Machine {
    pub(super) fn manner(&self, key: LinkKey) -> Manner {
        let Some(link) = self.links.get(key) else {
            return Manner::default();
        };
        let Some(client) = self.clients.get(link.owner()) else {
            return Manner::default();
        };
        let pin = client.pin();
        let head = self.requests.get(link.fifo.head);
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
    fn redirects_to(&self, key: LinkKey) -> Option<u64> {
        let owner = self.links.get(key)?.owner();
        let pin = self.clients.get(owner)?.pin()?;
        pin.tracking?.redirect
    }

    /// The first part of a line of MONITOR: clients do not hear of the proxy's own commands.
    pub(super) fn monitored(&mut self, key: LinkKey, part: &[u8]) -> Result<(), Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (begin, rest) = part.split_at(part.len().min(proxy_command::NAME_WITHIN_BYTES));
        link.collect(begin)?;
        let Some(marked) = proxy_command::is_proxy_command(&link.collected) else {
            return Ok(());
        };
        let begin = mem::take(&mut link.collected);
        let fate = if marked { Fate::Drop } else { Fate::Push };
        link.frame.fate = fate;
        self.pass(key, fate, &begin)?;
        self.pass(key, fate, rest)
    }

    /// A part of a push to a client that redirects its invalidations. Until it is known not to say
    /// that this has ended, nothing of it goes out.
    pub(super) fn noticed(&mut self, key: LinkKey, part: &[u8]) -> Result<(), Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (begin, rest) = part.split_at(part.len().min(BROKEN.len()));
        link.collect(begin)?;
        if may_be_broken(&link.collected) {
            return link.collect(rest);
        }
        let begin = mem::take(&mut link.collected);
        link.frame.fate = Fate::Push;
        self.pass(key, Fate::Push, &begin)?;
        self.pass(key, Fate::Push, rest)
    }

    /// The whole push has come which says that a redirection has ended: the client hears the number
    /// that the proxy has for the other client.
    pub(super) fn redirect_told(&mut self, key: LinkKey) {
        let out = self.redirect_broken(key);
        let owner = self.links.get(key).map(|link| link.owner());
        if let Some(owner) = owner {
            self.tell_own(owner, &out);
        }
    }

    /// What the client hears instead of the push that has been collected.
    fn redirect_broken(&mut self, key: LinkKey) -> Vec<u8> {
        let redirect = self.redirects_to(key);
        let link = self.links.get_mut(key);
        let mut out = link
            .map(|it| mem::take(&mut it.collected))
            .unwrap_or_default();
        if let Some(id) = redirect {
            out.truncate(BROKEN.len());
            write::integer(&mut out, id.cast_signed());
        }
        out
    }

    /// A part of a push within the reply to EXEC: what goes out now.
    pub(super) fn noticed_between(
        &mut self,
        key: LinkKey,
        part: &[u8],
        (begins, ends): (bool, bool),
    ) -> Result<Vec<u8>, Failure> {
        let redirects = self.redirects_to(key).is_some();
        let Some(link) = self.links.get_mut(key) else {
            return Ok(Vec::new());
        };
        if !redirects || !begins && link.collected.is_empty() {
            return Ok(part.to_vec());
        }
        let (begin, rest) = part.split_at(part.len().min(BROKEN.len()));
        link.collect(begin)?;
        if !may_be_broken(&link.collected) {
            let mut out = mem::take(&mut link.collected);
            out.extend_from_slice(rest);
            return Ok(out);
        }
        link.collect(rest)?;
        Ok(match ends {
            true => self.redirect_broken(key),
            false => Vec::new(),
        })
    }

    /// Where a frame will go that begins so.
    pub(super) fn fate(&self, key: LinkKey, begin: &[u8]) -> Result<Fate, Failure> {
        let manner = self.manner(key);
        let first = begin.first();
        if manner.monitor && first == Some(&b'+') {
            match begin.len() {
                1 => return Ok(Fate::Open),
                // A server sends no lines to a client that wants no replies.
                _ if is_line(begin) && manner.silent => return Ok(Fate::Drop),
                _ if is_line(begin) => return Ok(Fate::Line),
                _ => {}
            }
        }
        if first == Some(&b'>') && self.redirects_to(key).is_some() {
            return Ok(Fate::Notice);
        }
        if first == Some(&b'>') || first == Some(&b'*') && manner.modal {
            // CLIENT REPLY OFF is about replies: what was subscribed to comes all the same.
            return Ok(Fate::Push);
        }
        let Some(link) = self.links.get(key) else {
            return Ok(Fate::Reply);
        };
        let pin = self
            .clients
            .get(link.owner())
            .and_then(|client| client.pin());
        let head = self.requests.get(link.fifo.head);
        // A request that was not even sent has no reply.
        let head = head.filter(|head| head.start < link.sent);
        if head.is_some_and(|head| head.kind.is_collected()) {
            return Ok(Fate::Collect);
        }
        Ok(match (head.map(|head| head.verb), pin) {
            (Some(Verb::Exec), Some(pin)) if pin.walks() => Fate::Walk,
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
