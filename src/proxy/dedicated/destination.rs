//! Decides where a frame goes that starts on a dedicated link.

use std::mem;

use crate::command::proxy_command;
use crate::resp::{Protocol, write};

use crate::dedicated::pin::Change;
use crate::link::failure::Failure;
use crate::link::frame::{Destination, is_line};
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::session::client::ReplyMode;
use crate::store::key::LinkKey;

/// The push that says that a redirection ended; the server's number of the other client follows.
const BROKEN: &[u8] = b">2\r\n$21\r\ntracking-redir-broken\r\n";

/// The client's settings that decide how a frame is read.
#[derive(Clone, Copy, Default)]
pub(super) struct FrameContext {
    /// RESP2 with subscriptions: messages look like replies.
    pub(super) modal: bool,
    pub(super) monitor: bool,
    /// CLIENT REPLY is OFF.
    silent: bool,
}

/// Can a push with this start say that a redirection ended?
fn may_be_broken(begin: &[u8]) -> bool {
    begin
        .iter()
        .zip(BROKEN)
        .all(|(came, wanted)| came == wanted)
}

impl Machine {
    pub(super) fn frame_context(&self, key: LinkKey) -> FrameContext {
        let Some(link) = self.links.get(key) else {
            return FrameContext::default();
        };
        let Some(client) = self.clients.get(link.owner()) else {
            return FrameContext::default();
        };
        let pin = client.pin();
        let head = self.requests.get(link.fifo.head);
        let confirms =
            head.is_some_and(|head| matches!(head.verb, Verb::Confirm(_) | Verb::ConfirmAll(_)));
        FrameContext {
            modal: client.protocol == Protocol::Resp2
                && (confirms || pin.is_some_and(|pin| pin.subscriptions() > 0)),
            monitor: pin.is_some_and(|pin| pin.monitor),
            silent: client.reply_mode == ReplyMode::Off,
        }
    }

    /// The client that gets the invalidations for the owner of this link, if it is another client.
    fn redirects_to(&self, key: LinkKey) -> Option<u64> {
        let owner = self.links.get(key)?.owner();
        let pin = self.clients.get(owner)?.pin()?;
        pin.tracking?.redirect
    }

    /// Handles the first part of a line of MONITOR. The proxy's own commands are not shown to
    /// clients.
    pub(super) fn monitor_line(&mut self, key: LinkKey, part: &[u8]) -> Result<(), Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (begin, rest) = part.split_at(part.len().min(proxy_command::NAME_WITHIN_BYTES));
        link.collect(begin)?;
        let Some(marked) = proxy_command::is_proxy_command(&link.collected) else {
            return Ok(());
        };
        let begin = mem::take(&mut link.collected);
        let destination = if marked {
            Destination::Drop
        } else {
            Destination::Push
        };
        link.frame.destination = destination;
        self.pass(key, destination, &begin)?;
        self.pass(key, destination, rest)
    }

    /// Handles a part of a push to a client that redirects its invalidations. The push is collected
    /// while it may be the one that says that the redirection ended.
    pub(super) fn held_push(&mut self, key: LinkKey, part: &[u8]) -> Result<(), Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (begin, rest) = part.split_at(part.len().min(BROKEN.len()));
        link.collect(begin)?;
        if may_be_broken(&link.collected) {
            return link.collect(rest);
        }
        let begin = mem::take(&mut link.collected);
        link.frame.destination = Destination::Push;
        self.pass(key, Destination::Push, &begin)?;
        self.pass(key, Destination::Push, rest)
    }

    /// Handles the complete push that says that a redirection ended: the client gets the proxy's
    /// number of the other client.
    pub(super) fn redirect_ended(&mut self, key: LinkKey) {
        let out = self.redirect_broken(key);
        let owner = self.links.get(key).map(|link| link.owner());
        if let Some(owner) = owner {
            self.clients.write(owner, &out);
        }
    }

    /// The push for the client, with the proxy's number of the other client.
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

    /// Handles a part of a push inside the reply to EXEC. Returns the bytes to send now.
    pub(super) fn held_push_in_exec(
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

    /// Decides where a frame with this start goes.
    pub(super) fn destination(&self, key: LinkKey, begin: &[u8]) -> Result<Destination, Failure> {
        let context = self.frame_context(key);
        let first = begin.first();
        if context.monitor && first == Some(&b'+') {
            match begin.len() {
                1 => return Ok(Destination::Undecided),
                // A server sends no lines of MONITOR to a client that wants no replies.
                _ if is_line(begin) && context.silent => return Ok(Destination::Drop),
                _ if is_line(begin) => return Ok(Destination::MonitorLine),
                _ => {}
            }
        }
        if first == Some(&b'>') && self.redirects_to(key).is_some() {
            return Ok(Destination::HeldPush);
        }
        // CLIENT REPLY OFF silences replies, not messages.
        match (first, begin.get(1)) {
            (Some(b'>'), _) => return Ok(Destination::Push),
            (Some(b'*'), None) if context.modal => return Ok(Destination::Undecided),
            // The reply to PING has two elements, and messages have more.
            (Some(b'*'), Some(b'2')) if context.modal => {}
            (Some(b'*'), Some(_)) if context.modal => return Ok(Destination::Push),
            _ => {}
        }
        let Some(link) = self.links.get(key) else {
            return Ok(Destination::Reply);
        };
        let pin = self
            .clients
            .get(link.owner())
            .and_then(|client| client.pin());
        let head = self.requests.get(link.fifo.head);
        // A reply to a request that was not sent.
        let head = head.filter(|head| head.start < link.sent);
        if head.is_some_and(|head| head.kind.is_collected()) {
            return Ok(Destination::Collect);
        }
        Ok(match (head.map(|head| head.verb), pin) {
            (Some(Verb::Exec), Some(pin)) if pin.scans_exec() => Destination::ExecReply,
            (Some(Verb::Change), Some(pin))
                if pin.changes.front().is_some_and(Change::rewrites) =>
            {
                Destination::Collect
            }
            (Some(_), _) => Destination::Reply,
            (None, _) => {
                let why = "sent an unexpected reply";
                return Err(Failure::Desync(why.into()));
            }
        })
    }
}
