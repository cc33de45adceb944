//! The replies that a request may have. Strict where nothing has failed; after a failure, the
//! proxy's own errors are allowed, but never a wrong reply.

use std::collections::BTreeMap;

use super::client::{Op, Sent};
use super::redis::{Execution, MAY_NOT_LIST, Moment, NO_LIST, NOT_BUSY, Tag, is_degraded_error};
use super::wire;

mod client_list;
mod dedicated;
mod limits;
mod location;
mod login;
mod subscriptions;
mod transaction;
mod unavailable;
mod view;
mod wait;

pub(crate) use dedicated::UNBLOCKED;
use location::Place;
use subscriptions::Subscription;
use transaction::Transaction;
pub(super) use unavailable::is_unavailable;
use unavailable::{NO_INSTANCE, is_lost};
pub(crate) use view::View;
pub(crate) use wait::{Waits, Written};

/// How long after a failure an instance may still be treated as down, ms: the longest backoff, and
/// as much again until the report arrives.
pub(crate) const GRACE_MS: u64 = 4_000;

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_HELLO: &str = "ERR unknown command 'HELLO'";

/// The state of a client, as far as its replies tell.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) id: u64,
    /// Its worker.
    pub(crate) node: usize,
    /// It has sent nothing.
    untouched: bool,
    /// Its tenant and user. `None`: it has never logged in, or was reset.
    pub(crate) login: Option<(usize, String)>,
    pub(crate) place: Place,
    pub(crate) db: u32,
    pub(crate) protocol: u8,
    pub(crate) name: String,
    /// The password of its login.
    password: Option<String>,
    transaction: Option<Transaction>,
    /// It may have started and ended transactions without getting the replies.
    pub(crate) unheard: bool,
    /// Its WATCHes, as far as replies tell.
    watches: Vec<Tag>,
    pub(crate) channels: BTreeMap<String, Subscription>,
    pub(crate) patterns: BTreeMap<String, Subscription>,
    pub(crate) tracking: bool,
    no_touch: bool,
    /// The last invalidation that it got, by server.
    invalidated: BTreeMap<usize, usize>,
    pub(crate) written: Written,
}

/// The consequences of a correct reply.
#[derive(Debug, Default)]
pub(crate) struct After {
    /// The connection ends with this reply.
    pub(crate) closes: Option<&'static str>,
    /// The connection may end with this reply.
    pub(crate) may_close: bool,
    /// Further replies to this request follow.
    pub(crate) more: bool,
    /// These requests must never have been executed.
    pub(crate) never: Vec<Tag>,
    /// Clients that the reply listed.
    pub(crate) listed: Vec<u64>,
}

type Verdict = Result<After, String>;

impl Model {
    pub(crate) fn new(id: u64, node: usize, seen: Moment) -> Self {
        Self {
            id,
            node,
            untouched: true,
            login: None,
            place: Place { server: None, seen },
            db: 0,
            protocol: 2,
            name: String::new(),
            password: None,
            transaction: None,
            unheard: false,
            watches: Vec::new(),
            channels: BTreeMap::new(),
            patterns: BTreeMap::new(),
            tracking: false,
            no_touch: false,
            invalidated: BTreeMap::new(),
            written: Written::default(),
        }
    }

    /// The client of this model.
    pub(crate) fn tenant(&self, view: &View<'_>) -> Option<usize> {
        match &self.login {
            Some((tenant, _)) => Some(*tenant),
            None => view.plan.default_tenant.then_some(0),
        }
    }

    pub(crate) fn user(&self) -> &str {
        self.login.as_ref().map_or("default", |(_, user)| user)
    }

    /// Whether it may get NOAUTH.
    fn may_be_anonymous(&self, view: &View<'_>) -> bool {
        let locked = |tenant: usize| view.tenants[tenant].locked;
        self.must_be_anonymous(view)
            || self.login.is_none() && self.tenant(view).is_some_and(locked)
    }

    fn must_be_anonymous(&self, view: &View<'_>) -> bool {
        self.login.is_none()
            && self
                .tenant(view)
                .is_none_or(|tenant| !view.tenants[tenant].home.open)
    }

    /// An old server reveals whether a login is needed only with the first real command.
    fn may_be_taken_as_logged_in(&self, view: &View<'_>) -> bool {
        let tenant = self.tenant(view);
        !self.must_be_anonymous(view) || tenant.is_some_and(|it| view.tenants[it].home.old)
    }

    /// Checks the reply to `sent`, and records its consequences.
    pub(crate) fn evaluate(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let inside = self.transaction.is_some();
        let verdict = self.limited(sent, reply, view);
        let verdict = verdict.unwrap_or_else(|| self.evaluate_op(sent, reply, view));
        let verdict = match inside {
            true => verdict,
            false => verdict.map(|after| self.ends_with_a_refusal(sent, reply, after)),
        };
        let nowhere = wire::error_text(reply) == Some(NO_INSTANCE);
        if nowhere && !sent.op.is_login() {
            // The client stays logged in, on no instance. The next instance may be any.
            self.place = Place {
                server: None,
                seen: sent.at,
            };
        }
        verdict.map_err(|why| {
            let shown = String::from_utf8_lossy(&reply[..reply.len().min(300)]);
            format!("{why}: {shown:?} for {sent:?} of {self:?}")
        })
    }

    fn evaluate_op(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        if let Some(verdict) = self.in_a_state(sent, reply, view) {
            return verdict;
        }
        let verdict = self.evaluate_plain(sent, reply, view);
        self.untouched = matches!(sent.op, Op::Reset);
        verdict
    }

    fn evaluate_plain(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let wrong = |why: &str| Err(why.to_owned());
        let error = wire::error_text(reply);
        match &sent.op {
            Op::Data { tag, big } => {
                if *big && error.is_some_and(|e| e.starts_with("ERR Protocol error: ")) {
                    // The anonymous limits apply to a client that is not known to be logged in.
                    let small = self.may_be_anonymous(view) || self.has_failed(sent, view);
                    return match small {
                        true => Ok(After {
                            closes: Some("a big request before login"),
                            never: vec![*tag],
                            ..After::default()
                        }),
                        false => wrong("limits of a anonymous"),
                    };
                }
                let after = self.data(*tag, sent, reply, view)?;
                // The request was too large for an anonymous client, or that is unknown: it is not
                // skipped.
                let why = error.filter(|_| *big && self.login.is_none());
                let may_close = why.is_some_and(|why| why == NOAUTH || is_unavailable(why));
                Ok(After { may_close, ..after })
            }
            Op::Admin { tag } if view.plan.settings.admin_commands => {
                self.data(*tag, sent, reply, view)
            }
            Op::Admin { .. } => self.local(sent, reply, view, |me, reply| {
                me.denied("config|set", reply)
            }),
            Op::Exact(expected) => self.local(sent, reply, view, |_, reply| reply == expected),
            Op::WhoAmI => self.local(sent, reply, view, |me, reply| {
                wire::text(reply) == Some(me.user().as_bytes())
            }),
            Op::ClientId => self.local(sent, reply, view, |me, reply| {
                reply == format!(":{}\r\n", me.id).as_bytes()
            }),
            Op::GetName => self.local(sent, reply, view, |me, reply| {
                match (me.name.is_empty(), me.protocol) {
                    (true, 2) => reply == b"$-1\r\n",
                    (true, _) => reply == b"_\r\n",
                    (false, _) => wire::text(reply) == Some(me.name.as_bytes()),
                }
            }),
            Op::SetName(name) => {
                let after = self.local(sent, reply, view, |_, reply| reply == b"+OK\r\n")?;
                if error.is_none() {
                    self.name.clone_from(name);
                }
                Ok(after)
            }
            Op::Denied(name) => self.local(sent, reply, view, |me, reply| me.denied(name, reply)),
            Op::List if self.user() == MAY_NOT_LIST => self.local(sent, reply, view, |_, reply| {
                wire::error_text(reply) == Some(NO_LIST)
            }),
            Op::Info | Op::List => self.list(sent, reply, view),
            Op::Kill { me } => {
                let after = self.local(sent, reply, view, |_, reply| {
                    reply == b":1\r\n" || (!me && reply == b":0\r\n")
                })?;
                let closes = (*me && error.is_none()).then_some("it killed itself");
                Ok(After { closes, ..after })
            }
            Op::ScriptKill if !view.plan.settings.admin_commands => {
                self.local(sent, reply, view, |me, reply| {
                    me.denied("script|kill", reply)
                })
            }
            Op::ScriptKill => self.local(sent, reply, view, |_, reply| {
                reply == b"+OK\r\n" || error == Some(NOT_BUSY)
            }),
            Op::Auth(login) => match error {
                None if reply == b"+OK\r\n" => {
                    self.logged_in(login, sent, view)?;
                    Ok(After::default())
                }
                Some(text) if self.may_fail(login, self.protocol, text, sent, view) => {
                    Ok(After::default())
                }
                _ => wrong("AUTH"),
            },
            Op::Hello { .. } => self.hello(sent, reply, view),
            Op::Select(db) => self.select(*db, sent, reply, view),
            Op::Reset if reply == b"+RESET\r\n" => {
                // Requests that it sent since then without a reply follow.
                *self = Self {
                    unheard: self.unheard,
                    written: self.written.clone(),
                    ..Self::new(self.id, self.node, sent.at)
                };
                Ok(After::default())
            }
            Op::ReplyOn if reply == b"+OK\r\n" => Ok(After::default()),
            Op::Quit if reply == b"+OK\r\n" => Ok(After {
                closes: Some("QUIT"),
                ..After::default()
            }),
            Op::Malformed if error.is_some_and(|e| e.starts_with("ERR Protocol error: ")) => {
                Ok(After {
                    closes: Some("a protocol error"),
                    ..After::default()
                })
            }
            Op::Reset | Op::ReplyOn | Op::Quit | Op::Malformed | Op::Http => wrong("reply"),
            Op::Multi
            | Op::Exec
            | Op::Discard
            | Op::Unwatch
            | Op::Watch { .. }
            | Op::Pop { .. }
            | Op::Subscribe { .. }
            | Op::Unsubscribe { .. }
            | Op::Tracking(_)
            | Op::NoTouch(_)
            | Op::Unblock
            | Op::Wait { .. }
            | Op::Ping(_)
            | Op::Miscounted
            | Op::Unknown { .. } => self.own(sent, reply, view),
        }
    }

    fn data(&mut self, tag: Tag, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let executed = view.execution(tag, reply);
        if let Some(text) = wire::error_text(reply) {
            let never = Ok(After {
                never: vec![tag],
                ..After::default()
            });
            if text == NOAUTH && self.may_be_anonymous(view) {
                return never;
            }
            if is_lost(text) {
                if !self.has_lost(sent, view) {
                    return Err("nothing was lost".into());
                }
                if let Some((server, done)) = executed {
                    self.is_mine(done)?;
                    self.comes_to(server, (sent.at, done.at), view)?;
                }
                return Ok(After::default());
            }
            if is_degraded_error(text) {
                return self.in_degraded_state(tag, text, sent, view);
            }
            if is_unavailable(text) {
                return match self.is_unavailable(text, sent, view) {
                    true => never,
                    false => Err("it is available".into()),
                };
            }
        }
        let Some((server, done)) = executed else {
            return Err("a reply to what was not executed".into());
        };
        if self.must_be_anonymous(view) {
            return Err("served without a login".into());
        }
        self.is_mine(done)?;
        self.comes_to(server, (sent.at, done.at), view)?;
        if done.reply != reply {
            return Err("not the reply that the server gave".into());
        }
        self.note_execution(tag, server, done);
        Ok(After::default())
    }

    /// Whether the request was executed with the client's user, database and protocol, at its
    /// instance.
    fn is_mine(&self, done: &Execution) -> Result<(), String> {
        let Self { db, protocol, .. } = self;
        if (done.tracking, done.no_touch) != (self.tracking, self.no_touch) {
            return Err(format!(
                "executed with tracking: {}, no-touch: {}",
                done.tracking, done.no_touch
            ));
        }
        if done.password != self.password {
            return Err(format!(
                "executed with the login {:?} instead of {:?}",
                done.password, self.password
            ));
        }
        let user = self.user();
        if (done.user.as_str(), done.db, done.protocol) == (user, *db, *protocol) {
            return Ok(());
        }
        Err(format!(
            "executed as {}/{}/{} instead of {user}/{db}/{protocol}",
            done.user, done.db, done.protocol,
        ))
    }

    /// Commands that the proxy answers, when the client may send requests.
    fn local(
        &self,
        sent: &Sent,
        reply: &[u8],
        view: &View<'_>,
        is_right: impl FnOnce(&Self, &[u8]) -> bool,
    ) -> Verdict {
        // The server is asked for the permission, unless it executes the command.
        let command = &sent.asks.command;
        let concerns_server =
            sent.is_passed_on() || command == "select" || command.starts_with("client|");
        let refused = wire::error_text(reply).is_some_and(|text| {
            text == NOAUTH && self.may_be_anonymous(view)
                || self.is_unavailable(text, sent, view)
                || concerns_server && self.was_degraded(text, sent, view)
                || concerns_server && is_lost(text) && self.has_lost(sent, view)
        });
        // CLIENT REPLY and similar commands affect no other client, so they need no known user.
        let known = self.may_be_taken_as_logged_in(view);
        if refused || known && is_right(self, reply) {
            return Ok(After::default());
        }
        Err("not what the proxy should say".into())
    }

    fn denied(&self, name: &str, reply: &[u8]) -> bool {
        let user = self.user();
        let text = format!("NOPERM User {user} has no permissions to run the '{name}' command");
        wire::error_text(reply) == Some(&text)
    }
}
