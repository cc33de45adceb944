//! Requests that need a dedicated connection, or depend on its state.

use super::super::client::{Op, Sent};
use super::super::wire;
use super::unavailable::is_lost;
use super::{After, Model, Verdict, View};

/// The error for a client that has waited too long for a dedicated connection.
const NO_DEDICATED: &str = "ERR elika: no dedicated backend connection available";

/// CLIENT UNBLOCK has ended a wait.
pub(crate) const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

pub(super) const MISCOUNTED: &str = "ERR wrong number of arguments for 'ping' command";
pub(super) const UNKNOWN: &str = "ERR unknown command 'NOSUCH'";

impl Model {
    /// Whether the client has state on a dedicated connection.
    pub(crate) fn holds(&self) -> bool {
        self.is_in_transaction() || self.is_subscribed() || self.tracking || self.no_touch
    }

    pub(crate) fn no_touch(&self) -> bool {
        self.no_touch
    }

    /// Whether the client is inside MULTI, or has sent WATCH.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some() || !self.watches.is_empty()
    }

    /// The reply that the client's state determines. `None`: the same as for any client.
    pub(super) fn in_a_state(
        &mut self,
        sent: &Sent,
        reply: &[u8],
        view: &View<'_>,
    ) -> Option<Verdict> {
        if matches!(sent.op, Op::Reset | Op::Quit | Op::Malformed | Op::Http) {
            return None;
        }
        if self.transaction.is_some() {
            return Some(self.inside(sent, reply, view));
        }
        // Errors of arguments come before the meaning of a command.
        let free = matches!(
            sent.op,
            Op::Subscribe { .. }
                | Op::Unsubscribe { .. }
                | Op::Ping(_)
                | Op::Unknown { .. }
                | Op::Miscounted
        );
        if self.is_modal() && !free {
            let refused = wire::error_text(reply).is_some_and(|text| {
                // The proxy itself refuses commands that no client may send.
                let policy = matches!(sent.op, Op::Denied(_) | Op::Admin { .. });
                text.starts_with("ERR Can't execute '") && text.contains("are allowed in this")
                    || policy && text.starts_with("NOPERM User ")
            });
            return Some(match refused {
                true => Ok(After {
                    never: sent.op.tag().into_iter().collect(),
                    ..After::default()
                }),
                false => Err("a subscriber may not do that".into()),
            });
        }
        None
    }

    /// Checks the replies to requests that need a dedicated connection or are about its state.
    pub(super) fn own(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let error = wire::error_text(reply);
        let never = || After {
            never: sent.op.tag().into_iter().collect(),
            ..After::default()
        };
        if error == Some(NO_DEDICATED) && sent.op.is_dedicated() {
            let settings = &view.plan.settings;
            let waited = view.now.ms >= sent.at.ms + settings.pool_wait_ms;
            let few = settings.dedicated_max as usize <= view.plan.clients;
            let limits = self.tenant(view).map(|it| view.limits(it, sent.at));
            let limited = limits.is_some_and(|all| all.iter().any(|it| it.pinned.is_some()));
            return match waited && (few || limited) {
                true => Ok(never()),
                false => Err("there is a connection for it".into()),
            };
        }
        // WAIT may be sent on a shared connection.
        let wait = matches!(sent.op, Op::Wait { .. });
        if error.is_some_and(is_lost) && (sent.op.is_dedicated() && !wait || self.holds()) {
            return Err("it should have been closed".into());
        }
        let is_ok = |_: &Self, reply: &[u8]| reply == b"+OK\r\n";
        let good = error.is_none();
        match &sent.op {
            Op::Watch { tag } => {
                let after = self.data(*tag, sent, reply, view)?;
                if good {
                    self.watches.push(*tag);
                }
                Ok(after)
            }
            Op::Pop { tag } => self.data(*tag, sent, reply, view),
            Op::Subscribe { .. } => self.subscribed(sent, reply, view),
            Op::Unsubscribe { .. } => self.unsubscribed(sent, reply, view),
            Op::Multi => {
                let after = self.local(sent, reply, view, is_ok)?;
                if good {
                    self.begin();
                }
                Ok(after)
            }
            Op::Unwatch => {
                let after = self.local(sent, reply, view, is_ok)?;
                if good {
                    self.watches.clear();
                }
                Ok(after)
            }
            Op::Tracking(on) => {
                let after = self.local(sent, reply, view, is_ok)?;
                if good {
                    self.tracking = *on;
                }
                Ok(after)
            }
            Op::NoTouch(on) => {
                let after = self.local(sent, reply, view, is_ok)?;
                if good {
                    self.no_touch = *on;
                }
                Ok(after)
            }
            Op::Wait { .. } => self.has_waited(sent, reply, view),
            _ => self.passed_on(sent, reply, view),
        }
    }

    /// Requests that change no state of the connection.
    fn passed_on(&self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let error = wire::error_text(reply);
        match &sent.op {
            Op::Exec => self.local(sent, reply, view, |_, reply| {
                reply == b"-ERR EXEC without MULTI\r\n"
            }),
            Op::Discard => self.local(sent, reply, view, |_, reply| {
                reply == b"-ERR DISCARD without MULTI\r\n"
            }),
            Op::Unblock => self.local(sent, reply, view, |_, reply| {
                reply == b":0\r\n" || reply == b":1\r\n"
            }),
            Op::Ping(message) => self.local(sent, reply, view, |me, reply| {
                let message = message.map(str::as_bytes);
                match (message, me.is_modal()) {
                    (None, false) => reply == b"+PONG\r\n",
                    (Some(message), false) => wire::text(reply) == Some(message),
                    (message, true) => {
                        let message = wire::bulk(message.unwrap_or_default());
                        reply == [&b"*2\r\n$4\r\npong\r\n"[..], &message].concat()
                    }
                }
            }),
            Op::Miscounted => self.local(sent, reply, view, |_, _| error == Some(MISCOUNTED)),
            _ => {
                self.local(sent, reply, view, |_, _| error == Some(UNKNOWN))?;
                Ok(After {
                    never: sent.op.tag().into_iter().collect(),
                    ..After::default()
                })
            }
        }
    }
}
