//! Commands on another client by its number: CLIENT UNBLOCK, and CLIENT TRACKING with REDIRECT.
//!
//! Clients use the proxy's numbers; the server has a number of its own for each link. The worker
//! that has the client returns the server's number of its dedicated link. From then on no other
//! client gets that link: a command with its number must not reach another client.

use std::mem;

use crate::command::{ErrorReply, client as client_command};
use crate::resp::{Args, write};

use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::session::change::Goal;
use crate::session::client::{Client, Flag};
use crate::session::phase::Phase;
use crate::session::question::{Found, Matches, Purpose, Question, Scope};
use crate::store::key::ClientKey;

/// The error of Redis for CLIENT TRACKING with REDIRECT to an id that no client has.
const NO_SUCH_CLIENT: ErrorReply =
    ErrorReply::fixed("ERR The client ID you want redirect to does not exist");

/// The error if that client gets no dedicated link.
const NOT_REDIRECTED: ErrorReply =
    ErrorReply::Proxy("ERR elika: the client to redirect to gets no connection of its own");

impl Machine {
    /// Handles CLIENT UNBLOCK: the worker that has the client returns the server's number of the
    /// blocked link, and the server is asked to unblock it.
    pub(in crate::proxy) fn client_unblock(
        &mut self,
        key: ClientKey,
        args: Args<'_>,
    ) -> Result<(), ErrorReply> {
        let asked = client_command::parse_unblock(args)?;
        let Some(scope) = self.scope_of(key) else {
            return Ok(());
        };
        let with_error = asked.with_error;
        let purpose = Purpose::Unblock { with_error };
        let question = Question::Blocked(scope, asked.id, with_error);
        self.ask(key, question, (Matches::default(), purpose));
        Ok(())
    }

    /// Handles CLIENT TRACKING ON REDIRECT `id`; the id is argument `at` of `frame`.
    pub(in crate::proxy) fn ask_for_subscriber(
        &mut self,
        key: ClientKey,
        id: i64,
        at: usize,
        frame: &[u8],
    ) {
        let Some(scope) = self.scope_of(key) else {
            return;
        };
        let purpose = Purpose::Redirect {
            id: id.cast_unsigned(),
            at,
            frame: frame.into(),
            tries: 0,
        };
        let question = Question::Subscriber(scope, id);
        self.ask(key, question, (Matches::default(), purpose));
    }

    /// Asks again for the clients that were not ready in the last round.
    pub(in crate::proxy) fn ask_again(&mut self) {
        for key in self.clients.take_asks_again() {
            let waiting = self
                .clients
                .get_mut(key)
                .and_then(|client| client.waiting_mut());
            let Some(Goal::Question(pending)) = waiting.map(|waiting| &mut waiting.goal) else {
                continue;
            };
            if !matches!(pending.purpose, Purpose::Redirect { .. }) {
                continue;
            }
            let purpose = mem::take(&mut pending.purpose);
            self.conclude(key, Ok(()));
            if let (Some(scope), Purpose::Redirect { id, .. }) = (self.scope_of(key), &purpose) {
                let question = Question::Subscriber(scope, id.cast_signed());
                self.ask(key, question, (Matches::default(), purpose));
            }
        }
    }

    /// A client of this worker by its number, if the asking client may know it.
    fn by_number(&self, scope: &Scope, id: i64) -> Option<ClientKey> {
        let its = |client: &Client| client.id.cast_signed() == id;
        let mut clients = self.clients.iter();
        let (key, _) = clients.find(|(_, client)| its(client) && self.in_scope(client, scope))?;
        Some(key)
    }

    /// The server's number of the link on which a client is blocked. CLIENT UNBLOCK with this
    /// number may reach the link later, so no other client gets the link. A client that waits for
    /// replicas is unblocked here.
    pub(in crate::proxy) fn blocked_connection(
        &mut self,
        scope: &Scope,
        id: i64,
        with_error: bool,
    ) -> Found {
        let Some(key) = self.by_number(scope, id) else {
            return Found::NoSuchClient;
        };
        if self.unblock_wait(key, with_error) {
            return Found::Unblocked;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Found::NoSuchClient;
        };
        let link = self.links.get(client.link);
        match (client.pin_mut(), link) {
            (Some(pin), Some(link)) if link.blocks() && link.owner() == key => {
                pin.set_not_reusable();
                link.id.map_or(Found::NotPossible, Found::Connection)
            }
            _ => Found::NotPossible,
        }
    }

    /// The server's number of the link that gets a client's messages. The link must then stay this
    /// client's. A client without a dedicated link gets one.
    pub(in crate::proxy) fn subscriber_connection(&mut self, scope: &Scope, id: i64) -> Found {
        let Some(key) = self.by_number(scope, id) else {
            return Found::NoSuchClient;
        };
        let Some(client) = self.clients.get(key) else {
            return Found::NoSuchClient;
        };
        if client.pin().is_none() {
            // A client that is ready may continue a wait of its own, or hear its end.
            let free = client.fifo.is_empty() && client.decodes() && !client.is(Flag::Ready);
            if !free {
                return Found::NotReady;
            }
            let pool = client.pool;
            if self.pin(key, pool).is_err() {
                if self.clients.get(key).map(Client::phase) == Some(Phase::Queued) {
                    self.leave_queue(key);
                }
                if let Some(client) = self.clients.get_mut(key) {
                    client.forget_queued();
                }
                return Found::NotReady;
            }
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Found::NoSuchClient;
        };
        let link = self.links.get(client.link);
        match (client.pin_mut(), link) {
            (Some(pin), Some(link)) if link.is_ready() && !pin.borrowed => {
                let Some(id) = link.id else {
                    return Found::NotPossible;
                };
                pin.kept = true;
                Found::Connection(id)
            }
            (Some(_), Some(_)) => Found::NotReady,
            _ => Found::NotPossible,
        }
    }

    pub(in crate::proxy) fn unblock(&mut self, key: ClientKey, found: Found, with_error: bool) {
        let id = match found {
            Found::Connection(id) => id,
            Found::Unblocked => return self.reply(key, b":1\r\n"),
            Found::NoSuchClient | Found::NotPossible | Found::NotReady => {
                return self.reply(key, b":0\r\n");
            }
        };
        let (id, reason) = (id.to_string(), if with_error { "ERROR" } else { "TIMEOUT" });
        let mut bytes = Vec::new();
        let args = ["CLIENT", "UNBLOCK", &id, reason];
        write::command(&mut bytes, &args.map(str::as_bytes));
        if self.forward_one(key, &bytes) == Handled::Later {
            // No client was unblocked, and the client may ask again.
            self.reply(key, b":0\r\n");
        }
    }

    pub(in crate::proxy) fn redirect(
        &mut self,
        key: ClientKey,
        found: Found,
        (id, at, frame): (u64, usize, &[u8]),
    ) {
        match found {
            Found::Connection(backend_id) => self.track_for(key, (id, backend_id), at, frame),
            Found::NoSuchClient => self.reply_error(key, &NO_SUCH_CLIENT),
            Found::NotPossible | Found::Unblocked | Found::NotReady => {
                self.reply_error(key, &NOT_REDIRECTED);
            }
        }
        self.unpin_if_done(key);
    }
}
