//! Commands inside MULTI, and the reply to EXEC.
//!
//! Inside MULTI the server queues every command, so that the reply to EXEC has an element for each.
//! Where the proxy's reply differs from the server's (the client's number, its name), the proxy
//! replaces the element; session changes take effect if their element is not an error. A command
//! that cannot take effect in the middle of EXEC's reply is refused, and the transaction fails.

use std::mem;

use crate::command::client::{self as client_command, Dialect};
use crate::command::{Answer, Dedicated, ErrorReply, Plan, Session, answer, denied, select};
use crate::resp::{Args, write};

use crate::dedicated::effect::Effect;
use crate::dedicated::pin::Change;
use crate::link::failure::Failure;
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::session::sessions::Full;
use crate::store::key::{ClientKey, LinkKey};

/// The error of Redis for a command that is not allowed inside a transaction.
pub(super) const NOT_INSIDE: ErrorReply =
    ErrorReply::fixed("ERR Command not allowed inside a transaction");

/// The error of Valkey 9 for CLIENT REPLY there.
const REPLY_NOT_INSIDE: ErrorReply =
    ErrorReply::fixed("ERR Command 'client|reply' not allowed inside a transaction");

/// No server of any version accepts this: it makes the transaction fail.
const INVALID: &[&[u8]] = &[b"MULTI", b"!"];

/// The limit on remembered commands inside one MULTI, bytes, with a fixed cost for each.
const EFFECTS_BYTES_MAX: usize = 1 << 20;

/// The error above this limit.
const TOO_MUCH: ErrorReply =
    ErrorReply::Proxy("ERR elika: too many commands inside MULTI that the proxy answers itself");

impl Machine {
    /// Queues a command inside MULTI that the proxy would otherwise handle itself.
    pub(super) fn queue(&mut self, key: ClientKey, plan: Plan, frame: &[u8]) -> Handled {
        let args = Args::new(frame);
        let effect = match plan {
            // The server reports the number of the link that gets the invalidations.
            Plan::Answer(Answer::ClientGetRedir) if self.clients.is_tracking(key) => {
                Effect::Redirect
            }
            Plan::Answer(Answer::ClientTrackingInfo) if self.clients.is_tracking(key) => {
                Effect::TrackingInfo
            }
            Plan::Answer(Answer::ClientNoTouchOff) => Effect::NoTouch(false),
            Plan::Dedicated(Dedicated::NoTouch) => Effect::NoTouch(true),
            Plan::Dedicated(Dedicated::ImportSource | Dedicated::Prepare) => Effect::Keep,
            Plan::Answer(answer) => Effect::Answer(answer, frame.into()),
            Plan::Session(Session::ClientInfo) => Effect::Info,
            Plan::Session(Session::Select) => match select::parse(args) {
                Ok(db) => Effect::Select(db),
                // The server's own error becomes the element.
                Err(_) => return self.forward_one(key, frame),
            },
            Plan::Session(Session::ClientSetName) => match client_command::parse_set_name(args) {
                Ok(name) => Effect::Name(name.into()),
                Err(_) => return self.forward_one(key, frame),
            },
            Plan::Session(Session::ClientSetInfo) => match client_command::parse_set_info(args) {
                Ok(_) => Effect::Library(frame.into()),
                Err(_) => return self.forward_one(key, frame),
            },
            Plan::Admin(name) | Plan::Never(name) => {
                let error = denied(self.user_of(key), name);
                return self.fail_transaction(key, &error);
            }
            Plan::Session(Session::ClientReply) if self.dialect_of(key) == Dialect::Valkey9 => {
                return self.fail_transaction(key, &REPLY_NOT_INSIDE);
            }
            _ => return self.fail_transaction(key, &NOT_INSIDE),
        };
        let Some(pin) = self.clients.pin_mut(key) else {
            return Handled::Yes;
        };
        pin.effect_bytes += effect.size();
        if pin.effect_bytes > EFFECTS_BYTES_MAX {
            return self.fail_transaction(key, &TOO_MUCH);
        }
        self.send(key, Verb::Change, 1, Some(Change::Queue(effect)), frame)
    }

    /// Refuses a command inside MULTI. The server gets a command that it refuses, so that the
    /// transaction fails, and the client gets the proxy's error.
    pub(in crate::proxy) fn fail_transaction(
        &mut self,
        key: ClientKey,
        error: &ErrorReply,
    ) -> Handled {
        self.send_instead(key, (INVALID, Verb::Plain), error)
    }

    /// Refuses the end of a transaction. The client takes any error for the end: the server drops
    /// the transaction.
    pub(in crate::proxy) fn discard(&mut self, key: ClientKey, error: &ErrorReply) -> Handled {
        self.send_instead(key, (&[b"DISCARD"], Verb::Discard), error)
    }

    /// Sends another command than the client's, without its reply. The client gets an error.
    fn send_instead(
        &mut self,
        key: ClientKey,
        (command, verb): (&[&[u8]], Verb),
        error: &ErrorReply,
    ) -> Handled {
        let mut bytes = Vec::new();
        write::command(&mut bytes, command);
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let before = client.reply_mode;
        let kind = kind_of(client);
        if self.send_as(key, (Kind::Swallow, verb), 1, None, &bytes) == Handled::Later {
            if let Some(client) = self.clients.get_mut(key) {
                // The command is decoded again later.
                client.reply_mode = before;
            }
            return Handled::Later;
        }
        if kind == Kind::Deliver {
            self.reply_error(key, error);
        }
        Handled::Yes
    }

    /// Handles a part of EXEC's reply: it is delivered, except for the elements that are replaced.
    pub(super) fn exec_part(
        &mut self,
        link_key: LinkKey,
        mut part: &[u8],
        silent: bool,
    ) -> Result<(), Failure> {
        let Some(link) = self.links.get(link_key) else {
            return Ok(());
        };
        let key = link.owner();
        while !part.is_empty() {
            let Some(client) = self.clients.get_mut(key) else {
                return Ok(());
            };
            let Some(pin) = client.pin_mut() else {
                return Ok(());
            };
            let step = pin
                .scanner
                .step(part)
                .map_err(|error| Failure::Desync(error.to_string()))?;
            let (now, later) = part.split_at(step.len);
            part = later;
            let push = step
                .push
                .map(|ends| self.held_push_in_exec(link_key, now, ends));
            let push = push.transpose()?;
            let now = push.as_deref().unwrap_or(now);
            let Some(client) = self.clients.get_mut(key) else {
                return Ok(());
            };
            let Some(pin) = client.pin_mut() else {
                return Ok(());
            };
            // Effects are in the order of the queue.
            let effect = pin
                .effects
                .front()
                .filter(|(at, _)| step.element == Some(*at));
            let has_effect = effect.is_some();
            let rewrites = matches!(effect, Some((_, Effect::TrackingInfo)));
            // An error is not replaced: the ACL may have changed.
            let replaces = effect.is_some_and(|(_, effect)| effect.replaces());
            let replaces = replaces && (rewrites || !step.error);
            if rewrites && let Some(link) = self.links.get_mut(link_key) {
                link.collect(now)?;
            }
            // `resume` closes a client whose buffer is full.
            if !silent && !replaces && self.clients.write(key, now) == Full::Yes {
                self.clients.mark_ready(key);
            }
            if let Some(kind) = step.ended.filter(|_| has_effect)
                && let Some((_, effect)) = self
                    .clients
                    .pin_mut(key)
                    .and_then(|pin| pin.effects.pop_front())
            {
                let link = self.links.get_mut(link_key);
                let element = link.map(|it| mem::take(&mut it.collected));
                let good = !matches!(kind, b'-' | b'!');
                self.take_effect(key, effect, good, &element.unwrap_or_default(), silent);
            }
        }
        Ok(())
    }

    /// Applies the effect of an element; `element` has its bytes if they are to be changed.
    fn take_effect(
        &mut self,
        key: ClientKey,
        effect: Effect,
        good: bool,
        element: &[u8],
        silent: bool,
    ) {
        let mut out = Vec::new();
        match effect {
            Effect::Answer(what, frame) if good => {
                let Some(view) = self.view_of(key) else {
                    return;
                };
                answer(what, Args::new(&frame), &view, &mut out);
                self.clients.note_answer(key, what, Args::new(&frame));
            }
            Effect::Info if good => self.write_info(key, &mut out),
            Effect::Select(db) if good => self.selected(key, db),
            Effect::Name(name) if good => self.clients.named(key, &name),
            Effect::Library(frame) if good => {
                if let Ok(info) = client_command::parse_set_info(Args::new(&frame)) {
                    self.clients.note_library(key, info);
                }
            }
            Effect::NoTouch(on) if good => self.clients.change_pin(key, &Change::NoTouch(on)),
            Effect::Keep if good => self.clients.change_pin(key, &Change::Keep),
            Effect::Redirect if good => {
                let pin = self.clients.pin_mut(key);
                let tracking = pin.and_then(|pin| pin.tracking);
                let id = tracking.map_or(-1, |it| it.redirect.unwrap_or_default().cast_signed());
                write::integer(&mut out, id);
            }
            Effect::Write if good => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.wrote_here();
                }
            }
            Effect::TrackingInfo => self.tracking_answered(key, element, silent),
            _ => {}
        }
        if !silent {
            self.clients.write(key, &out);
        }
    }
}
