//! Client to dedicated link: requests, and which of their replies change what the link holds.

use crate::command::client::redirect_of;
use crate::command::{Answer, Dedicated, ErrorReply, Plan, Session, denied};
use crate::resp::{Args, write};

use crate::dedicated::pin::Change;
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::dedicated::session::CLOSED;
use crate::proxy::dedicated::transaction::NOT_INSIDE;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::session::client::{Flag, Hold};
use crate::store::key::ClientKey;

impl Machine {
    /// Dispatches a command that needs a dedicated link; the client may have one.
    pub(in crate::proxy) fn dispatch_dedicated(
        &mut self,
        key: ClientKey,
        own: Dedicated,
        frame: &[u8],
    ) -> Handled {
        let administrative = match own {
            Dedicated::Monitor => Some("monitor"),
            Dedicated::Bypass(name) => name,
            _ => None,
        };
        if let Some(name) = administrative
            && !self.settings.admin_commands
        {
            return self.dispatch(key, Plan::Admin(name), frame);
        }
        let Some(client) = self.clients.get(key) else {
            return Handled::Yes;
        };
        if client.pin().is_none() {
            let leaves = client.has_left();
            // The dedicated link takes over; a refusal may close the client.
            if own != Dedicated::Wait && !self.at_barrier(key) {
                return Handled::Later;
            }
            if own == Dedicated::Block && leaves {
                // The client would not get the data: the command must not take it.
                self.finish_client(key);
                return Handled::Yes;
            }
            match self.admit(key) {
                Err(Refusal::Error(_)) if own == Dedicated::Block && self.is_down(key) => {}
                Err(refusal) => return self.refuse(key, refusal),
                Ok(()) => {}
            }
            if own == Dedicated::Wait {
                return self.wait(key, frame);
            }
            if own == Dedicated::Multi
                && let Some(taken) = self.open_multi(key, frame)
            {
                return taken;
            }
            let pin = match own {
                Dedicated::Bypass(_) => self.pin_for_one_request(key),
                _ => self.pin_for(key, frame),
            };
            if let Err(refusal) = pin {
                return self.hold_or_refuse(key, own, refusal, frame);
            }
        }
        self.send_dedicated(key, own, frame)
    }

    /// Is the client's instance down? A blocking command then waits in the wait queue: after an
    /// immediate error, the client would retry immediately.
    fn is_down(&self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        client.is_some_and(|it| {
            self.upstreams.fails_fast(it.pool, self.now) && !self.upstreams.is_gone(it.pool)
        })
    }

    fn send_dedicated(&mut self, key: ClientKey, own: Dedicated, frame: &[u8]) -> Handled {
        let argc = Args::new(frame).len() as u32;
        match own {
            Dedicated::Multi => self.send(key, Verb::Multi, 1, None, frame),
            // Whether other links must be asked depends on what the last replies say.
            Dedicated::Wait if !self.is_settled(key) => Handled::Later,
            Dedicated::Wait if self.clients.waits_elsewhere(key) => self.wait(key, frame),
            Dedicated::Block | Dedicated::Wait => {
                let taken = self.send(key, Verb::Block, 1, None, frame);
                self.end_stay(key);
                taken
            }
            Dedicated::Bypass(_) => self.send_for_one_request(key, frame),
            Dedicated::Watch => {
                let taken = self.watch(key, frame);
                self.end_stay(key);
                taken
            }
            // Commands of these kinds must not be queued by MULTI.
            _ if !self.is_outside(key) => Handled::Later,
            _ if self.clients.is_inside(key) => self.queue(key, Plan::Dedicated(own), frame),
            Dedicated::Subscribe(topic) => {
                let count = argc.saturating_sub(1).max(1);
                let taken = self.send(key, Verb::Confirm(topic), count, None, frame);
                self.end_stay(key);
                taken
            }
            Dedicated::Monitor => self.monitor(key, frame),
            Dedicated::ImportSource => self.import_source(key, frame),
            Dedicated::NoTouch => self.change_by(key, Change::NoTouch(true), frame),
            Dedicated::Prepare => self.change_by(key, Change::Keep, frame),
            Dedicated::Tracking => self.track(key, frame),
        }
    }

    /// Handles MONITOR. No server replies to a second MONITOR: it is not forwarded, because the
    /// link would wait for a reply that never comes.
    fn monitor(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        if !self.is_settled(key) {
            return Handled::Later;
        }
        let monitors = self.clients.pin_mut(key).is_some_and(|pin| pin.monitor);
        match self.clients.get_mut(key).filter(|_| monitors) {
            Some(client) => {
                // MONITOR uses up CLIENT REPLY SKIP like any command.
                kind_of(client);
                Handled::Yes
            }
            None => self.change_by(key, Change::Monitor, frame),
        }
    }

    /// Handles CLIENT IMPORT-SOURCE. It changes how keys expire for the link until the link ends.
    fn import_source(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        let on = Args::new(frame).nth(2);
        match on.is_some_and(|on| on.eq_ignore_ascii_case(b"on")) {
            true => self.change_by(key, Change::Keep, frame),
            false => self.send(key, Verb::Plain, 1, None, frame),
        }
    }

    /// Sends a request on a link apart from the client's other requests: it may be in another
    /// database.
    fn send_for_one_request(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        let taken = self.send(key, Verb::Plain, 1, None, frame);
        if let Some(client) = self.clients.get_mut(key)
            && !client.fifo.is_empty()
        {
            client.hold.set(Hold::BARRIER);
        }
        taken
    }

    /// Are the client's account and what its link holds known? If not, the client waits until they
    /// are.
    pub(in crate::proxy) fn is_settled(&mut self, key: ClientKey) -> bool {
        let pin = self.clients.get(key).and_then(|c| c.pin());
        pin.is_none_or(|pin| pin.unsettled == 0) || self.at_barrier(key)
    }

    /// Is the client known to be outside MULTI? If this is unknown, the client waits until it is
    /// known.
    fn is_outside(&mut self, key: ClientKey) -> bool {
        let pin = self.clients.get(key).and_then(|c| c.pin());
        pin.is_none_or(|pin| pin.transactions == 0) || self.at_barrier(key)
    }

    /// Dispatches a command of a client that has a dedicated link. The server answers all that it
    /// can, in the client's state; the rest is handled as for any client.
    pub(in crate::proxy) fn dispatch_with_pin(
        &mut self,
        key: ClientKey,
        plan: Plan,
        frame: &[u8],
    ) -> Handled {
        let harmless = matches!(
            plan,
            Plan::Forward | Plan::Script | Plan::Dedicated(Dedicated::Wait)
        );
        if !harmless && self.is_borrowed(key) && !self.at_barrier(key) {
            return Handled::Later;
        }
        if let Some(taken) = self.dispatch_to_other_node(key, plan, frame) {
            return taken;
        }
        match plan {
            Plan::Forward | Plan::Script => return self.forward_one(key, frame),
            Plan::Admin(_) if self.settings.admin_commands => return self.forward_one(key, frame),
            Plan::Dedicated(own) => return self.dispatch_dedicated(key, own, frame),
            Plan::CrossProtocol => {
                self.stats.counters.cross_protocol += 1;
                self.close_now(key);
                return Handled::Yes;
            }
            Plan::Answer(answer) => {
                if let Some(taken) = self.send_answer(key, answer, frame) {
                    if matches!(answer, Answer::Exec | Answer::Discard) {
                        self.end_stay(key);
                    }
                    return taken;
                }
            }
            Plan::Session(_) | Plan::Admin(_) | Plan::Never(_) => {}
        }
        match self.is_settled(key) {
            true => self.answer_with_pin(key, plan, frame),
            false => Handled::Later,
        }
    }

    /// Handles a command whose answer depends on the state of the client's dedicated link.
    fn answer_with_pin(&mut self, key: ClientKey, plan: Plan, frame: &[u8]) -> Handled {
        let Some(client) = self.clients.get(key) else {
            return Handled::Yes;
        };
        let Some(pin) = client.pin() else {
            return self.dispatch(key, plan, frame);
        };
        let (multi, modal) = (pin.multi, pin.is_modal(client.protocol));
        match plan {
            Plan::Session(Session::Quit | Session::Reset) => {}
            Plan::Admin(name) | Plan::Never(name) if !multi => {
                let error = denied(self.user_of(key), name);
                self.reply_error(key, &error);
                return Handled::Yes;
            }
            // The server refuses the command with its own error.
            _ if modal => return self.forward_one(key, frame),
            _ if multi => return self.queue(key, plan, frame),
            _ => {}
        }
        match plan {
            Plan::Answer(answer) => {
                if let Err(taken) = self.permit(key, plan) {
                    return taken;
                }
                self.answer_tracking(key, answer, frame);
                Handled::Yes
            }
            Plan::Session(session) => self.session_with_pin(key, session, frame),
            // All other plans are handled.
            _ => Handled::Yes,
        }
    }

    /// Is the client's dedicated link unusable for other requests?
    fn is_borrowed(&self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        // A borrowed link goes back to the pool after one request, as it was.
        let borrowed = client
            .and_then(|client| self.links.get(client.link))
            .is_some_and(|link| !link.is_dedicated());
        // The server was down when the client was queued; it may not admit the default user.
        let unadmitted = !client.is_some_and(|client| self.admits(client));
        borrowed || unadmitted
    }

    /// Sends to a dedicated link a command that the proxy answers for other clients. `None`: the
    /// proxy answers it here as well.
    fn send_answer(&mut self, key: ClientKey, answer: Answer, frame: &[u8]) -> Option<Handled> {
        let argc = Args::new(frame).len() as u32;
        let verb = match answer {
            Answer::Exec => Verb::Exec,
            Answer::Discard => Verb::Discard,
            Answer::Unwatch => Verb::Unwatch,
            Answer::Unsubscribe(topic) => {
                if !self.is_outside(key) {
                    return Some(Handled::Later);
                }
                if self.clients.is_inside(key) {
                    return Some(self.fail_transaction(key, &NOT_INSIDE));
                }
                let verb = match argc {
                    1 => Verb::ConfirmAll(topic),
                    _ => Verb::Confirm(topic),
                };
                return Some(self.send(key, verb, argc.saturating_sub(1).max(1), None, frame));
            }
            Answer::ClientTrackingOff | Answer::ClientNoTouchOff if !self.is_outside(key) => {
                return Some(Handled::Later);
            }
            // Inside MULTI, OFF must be queued like ON.
            Answer::ClientTrackingOff if self.clients.is_inside(key) => {
                return Some(self.fail_transaction(key, &NOT_INSIDE));
            }
            Answer::ClientNoTouchOff if self.clients.is_inside(key) => {
                return Some(self.queue(key, Plan::Answer(answer), frame));
            }
            // The number of the client to redirect to is one of the proxy's; OFF does not need it.
            Answer::ClientTrackingOff if redirect_of(Args::new(frame)).is_some() => {
                let mut off = Vec::new();
                write::command(&mut off, &[b"CLIENT", b"TRACKING", b"OFF"]);
                return Some(self.change_by(key, Change::Tracking(None), &off));
            }
            Answer::ClientTrackingOff => {
                return Some(self.change_by(key, Change::Tracking(None), frame));
            }
            Answer::ClientNoTouchOff => {
                return Some(self.change_by(key, Change::NoTouch(false), frame));
            }
            Answer::ClientCaching | Answer::ClientUnknown | Answer::Arity(_) => Verb::Plain,
            _ => return None,
        };
        Some(self.send(key, verb, 1, None, frame))
    }

    /// Forwards a script on a shared link.
    pub(in crate::proxy) fn forward_script(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        match self.route(key, frame) {
            Ok(on) => {
                if let Some(client) = self.clients.get_mut(key) {
                    if client.is(Flag::Moved) {
                        client.note_request(frame);
                    }
                    let what = (kind_of(client), Verb::Script);
                    self.put(key, on, what, 1, frame);
                }
                Handled::Yes
            }
            Err(Refusal::Error(error @ ErrorReply::Unavailable(_))) if self.is_clustered(key) => {
                self.hold_unsent(key, (Verb::Script, frame), &error)
            }
            Err(refusal) => self.refuse(key, refusal),
        }
    }

    pub(super) fn change_by(&mut self, key: ClientKey, change: Change, bytes: &[u8]) -> Handled {
        self.send(key, Verb::Change, 1, Some(change), bytes)
    }

    /// Sends one request whose reply, or `count` confirmations, change what the link holds.
    pub(super) fn send(
        &mut self,
        key: ClientKey,
        verb: Verb,
        count: u32,
        change: Option<Change>,
        bytes: &[u8],
    ) -> Handled {
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let before = client.reply_mode;
        let kind = kind_of(client);
        let taken = self.send_as(key, (kind, verb), count, change, bytes);
        if taken == Handled::Later
            && let Some(client) = self.clients.get_mut(key)
        {
            // The command is decoded again later.
            client.reply_mode = before;
        }
        taken
    }

    pub(in crate::proxy) fn send_as(
        &mut self,
        key: ClientKey,
        (kind, verb): (Kind, Verb),
        count: u32,
        change: Option<Change>,
        bytes: &[u8],
    ) -> Handled {
        if verb != Verb::Plain && self.clients.pin_mut(key).is_none() {
            // The dedicated link is lost: the request must not go to a shared one.
            self.reply_error(key, &CLOSED);
            return Handled::Refused;
        }
        let on = match self.route(key, bytes) {
            Ok(on) => on,
            Err(refusal) => return self.refuse(key, refusal),
        };
        self.put(key, on, (kind, verb), count, bytes);
        if let Some(pin) = self.clients.pin_mut(key) {
            pin.sent(verb);
            pin.changes.extend(change);
        }
        Handled::Yes
    }
}
