//! What a client hears from us: commands answered here, refusals, errors, and their place in the
//! order of its replies.

use std::mem;

use crate::command::{self, Answer, Plan, View};
use crate::resp::{Args, ProtocolError, write};

use crate::link::failure::NOAUTH;
use crate::link::request::Kind;
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::session::change::Goal;
use crate::session::client::{Client, Hold, ReplyMode};
use crate::session::sessions::Full;
use crate::stats::notice::Bound;
use crate::stats::worker_stats::Limit;
use crate::store::key::ClientKey;

/// How all errors begin that say that a backend cannot be reached.
const UNAVAILABLE: &str = "ERR elika: backend unavailable: ";

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Taken {
    Yes,
    /// It stays where it is until the client's hold is over.
    No,
}

impl Machine {
    /// Does with a frame what the plan says.
    pub(in crate::proxy) fn dispatch(&mut self, key: ClientKey, plan: Plan, frame: &[u8]) -> Taken {
        if self
            .clients
            .get(key)
            .is_some_and(|client| client.pin().is_some())
        {
            return self.dispatch_pinned(key, plan, frame);
        }
        match plan {
            Plan::Forward => self.forward_one(key, frame),
            Plan::Session(session) => self.session(key, session, frame),
            Plan::CrossProtocol => {
                // An HTTP request that some browser was talked into sending here.
                self.stats.counters.cross_protocol += 1;
                self.close_now(key);
                Taken::Yes
            }
            Plan::Admin(_) if self.settings.admin_commands => self.forward_one(key, frame),
            Plan::Script => self.forward_script(key, frame),
            Plan::Dedicated(own) => self.dispatch_own(key, own, frame),
            Plan::Answer(_) | Plan::Admin(_) | Plan::Never(_) => {
                if let Err(refusal) = self.admit(key) {
                    return self.refuse(key, refusal);
                }
                if let Err(taken) = self.permit(key, plan) {
                    return taken;
                }
                self.answer(key, plan, frame);
                Taken::Yes
            }
        }
    }

    /// Answers from here, in the order of the client's requests.
    pub(in crate::proxy) fn answer(&mut self, key: ClientKey, plan: Plan, frame: &[u8]) {
        let mut out = mem::take(&mut self.scratch.out);
        out.clear();
        if let Some(client) = self.clients.get(key) {
            let (protocol, id) = (client.protocol, client.id);
            let view = View {
                protocol,
                id,
                name: client.name(),
                dialect: self.dialect_of(key),
            };
            match plan {
                Plan::Answer(answer) => command::answer(answer, Args::new(frame), &view, &mut out),
                Plan::Admin(name) | Plan::Never(name) => {
                    write::error(&mut out, &command::denied(self.user_of(key), name));
                }
                Plan::Forward
                | Plan::Script
                | Plan::Session(_)
                | Plan::Dedicated(_)
                | Plan::CrossProtocol => {}
            }
        }
        if let Plan::Answer(answer) = plan {
            self.note_answer(key, answer, Args::new(frame));
        }
        self.stats.counters.answers += 1;
        match plan {
            // Confirmations are no replies: a server sends them whatever CLIENT REPLY says.
            Plan::Answer(Answer::Unsubscribe(_)) => {
                if let Some(client) = self.clients.get_mut(key) {
                    kind_of(client);
                }
                self.tell(key, &out);
            }
            _ => self.say(key, &out),
        }
        if out.starts_with(b"-") {
            self.note_refused_command(key);
        }
        self.scratch.out = out;
    }

    /// The name the backend knows a client by.
    pub(in crate::proxy) fn user_of(&self, key: ClientKey) -> &[u8] {
        let account = self
            .clients
            .get(key)
            .and_then(|c| self.upstreams.accounts.get(c.account()));
        account.map_or(b"default", |account| account.name())
    }

    pub(in crate::proxy) fn refuse(&mut self, key: ClientKey, refusal: Refusal) -> Taken {
        match refusal {
            Refusal::Error(text) => {
                self.say_error(key, &text);
                Taken::Yes
            }
            Refusal::Unknown => self.ask_verdict(key),
            Refusal::Later => Taken::No,
            Refusal::LoggedOut if !self.at_barrier(key) => Taken::No,
            Refusal::LoggedOut => {
                self.log_out(key);
                Taken::Yes
            }
        }
    }

    /// The command stays; it is decoded again when the backend has told whether it lets the
    /// default user in.
    pub(in crate::proxy) fn ask_verdict(&mut self, key: ClientKey) -> Taken {
        let refusal = self
            .clients
            .get_mut(key)
            .and_then(|client| client.take_refusal());
        if let Some(text) = refusal {
            // It was asked, and could not tell.
            self.say_error(key, &text);
            return Taken::Yes;
        }
        if self.at_barrier(key) {
            self.change(key, Goal::Verdict, None);
        }
        Taken::No
    }

    /// Is nothing in flight? If not, the client is on hold until it is so.
    pub(in crate::proxy) fn at_barrier(&mut self, key: ClientKey) -> bool {
        let in_a_message = self.is_in_a_message(key);
        match self.clients.get_mut(key) {
            Some(client) if in_a_message || !client.fifo.is_empty() => {
                client.hold.set(Hold::BARRIER);
                false
            }
            client => client.is_some(),
        }
    }

    /// A protocol error ends the connection, in the server's words; the earlier replies go first.
    pub(in crate::proxy) fn malformed(&mut self, key: ClientKey, mut error: ProtocolError) {
        let mut small_limit = matches!(
            error,
            ProtocolError::UnauthenticatedMultibulkLength
                | ProtocolError::UnauthenticatedBulkLength
                | ProtocolError::RequestTooBig
        );
        // What is too big for a stranger may be too big for his tenant anyway.
        if let Some(max) = self.request_bytes_max(key) {
            let strangers = &self.settings.before_login;
            match error {
                ProtocolError::UnauthenticatedBulkLength if max <= strangers.arg_bytes_max => {
                    (error, small_limit) = (ProtocolError::InvalidBulkLength, false);
                }
                ProtocolError::RequestTooBig if max <= strangers.request_bytes_max => {
                    small_limit = false;
                }
                _ => {}
            }
        }
        // Only who has to log in is held to the small limits: find out whether this one has to.
        let mut text = error.text().to_string();
        match self.admit(key) {
            Err(Refusal::Unknown) if small_limit => {
                if self.ask_verdict(key) == Taken::Yes {
                    self.finish_client(key);
                }
                return;
            }
            // Nobody can tell.
            Err(Refusal::Error(why)) if small_limit && why != NOAUTH => text = why,
            _ => {}
        }
        if !self.at_barrier(key) {
            return;
        }
        self.stats.counters.protocol_errors += 1;
        self.note_too_big(key, error);
        self.say_and_close(key, &text);
    }

    /// Tells the log of a request that is larger than it may be.
    fn note_too_big(&mut self, key: ClientKey, error: ProtocolError) {
        let limits = self.limits_of(key);
        let too_big = match error {
            ProtocolError::RequestTooBig => true,
            // Where an argument may be as long as any server takes, it is no length at all.
            ProtocolError::InvalidBulkLength => limits.arg_bytes_max == limits.request_bytes_max,
            _ => false,
        };
        if !too_big {
            return;
        }
        match self.tenant_of(key) {
            Some(slot) if self.request_bytes_max(key).is_some() => {
                self.note_limit(key, slot, Limit::RequestBytes);
            }
            _ => self.note_eviction(key, Bound::Request, limits.request_bytes_max),
        }
    }

    /// Says an error and closes the connection when it is out.
    pub(in crate::proxy) fn say_and_close(&mut self, key: ClientKey, text: &str) {
        self.say_error(key, text);
        self.finish_client(key);
    }

    /// Says an error; `text` is without the `-`.
    pub(in crate::proxy) fn say_error(&mut self, key: ClientKey, text: &str) {
        if self.settings.close_on_loss && text.starts_with(UNAVAILABLE) {
            self.stats.counters.closed_on_loss += 1;
            self.finish_client(key);
            return self.wake(key);
        }
        let mut out = Vec::new();
        write::error(&mut out, text);
        self.stats.counters.errors += 1;
        self.say(key, &out);
        if !text.starts_with("ERR elika") {
            self.note_refused_command(key);
        }
    }

    /// One reply made here, if the client wants to hear it.
    pub(in crate::proxy) fn say(&mut self, key: ClientKey, reply: &[u8]) {
        let wanted = self.clients.get_mut(key).map(kind_of);
        if wanted == Some(Kind::Deliver) {
            self.tell(key, reply);
        }
    }

    /// What a client hears in any case: now, or after the replies that are still to come.
    pub(in crate::proxy) fn tell(&mut self, key: ClientKey, reply: &[u8]) {
        let in_a_message = self.is_in_a_message(key);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if client.is_closing() || reply.is_empty() {
            return;
        }
        let full = match client.fifo.is_empty() && !in_a_message {
            true => self.clients.write(key, reply),
            false => self.clients.park(&mut self.requests, key, reply),
        };
        if full == Full::Yes {
            // It is closed when it is looked at.
            self.clients.mark_ready(key);
        }
    }
}

/// Does the client hear the reply to its next command? A SKIP is used up by asking.
pub(in crate::proxy) fn kind_of(client: &mut Client) -> Kind {
    match client.reply_mode {
        ReplyMode::On => Kind::Deliver,
        ReplyMode::Off => Kind::Swallow,
        ReplyMode::SkipNext => {
            client.reply_mode = ReplyMode::On;
            Kind::Swallow
        }
    }
}
