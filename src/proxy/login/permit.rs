//! Permission checks: does the server's ACL allow a command that the proxy answers or carries out
//! itself?
//!
//! ```text
//!   CLIENT KILL … ─► is the user's permission known? ─yes─► carried out
//!                            │ no
//!                            ▼                      an error such as NOPERM
//!              a harmless form of the command ──────► the client gets the error
//!              is sent on a link of the user ───────► remembered for 1 s: carried out
//! ```
//! A granted permission is remembered for each pool, because some servers limit a user to some
//! databases. It is used for at most one second after it was revoked. A refusal is not remembered,
//! so that a new permission takes effect at once.

use std::mem;

use crate::command::{ErrorReply, Permission, Plan};

use crate::link::link::Link;
use crate::link::request::Kind;
use crate::link::server_error::{ServerError, error_text};
use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::change::Goal;
use crate::store::key::{ClientKey, LinkKey, PoolKey};
use crate::upstream::permits::Inquiry;

impl Machine {
    /// Checks whether the server lets an admitted client use this command. If this is not known,
    /// the server is asked, and the command is decoded again.
    pub(in crate::proxy) fn permit(&mut self, key: ClientKey, plan: Plan) -> Result<(), Handled> {
        let Some(what) = Permission::of(plan) else {
            return Ok(());
        };
        let Some(client) = self.clients.get_mut(key) else {
            return Err(Handled::Yes);
        };
        let pool = client.pool;
        if let Some(error) = client.take_refusal() {
            self.reply_error(key, &error);
            return Err(Handled::Yes);
        }
        if self.upstreams.permits(pool, what, self.now) {
            return Ok(());
        }
        if self.at_barrier(key) {
            self.change(key, Goal::Permission(what), None);
        }
        Err(Handled::Later)
    }

    /// Asks the server for a permission of the pool's user, and makes the client wait for the
    /// reply: on the client's dedicated link if it has one, else once on a shared link for all
    /// clients that wait for the same permission.
    pub(in crate::proxy) fn inquire(
        &mut self,
        key: ClientKey,
        pool_key: PoolKey,
        what: Permission,
    ) {
        let own = self
            .clients
            .get(key)
            .filter(|client| client.pin().is_some());
        let own = own.map(|client| client.link);
        let Some(pool) = self.upstreams.pools.get_mut(pool_key) else {
            return;
        };
        pool.waiters.push(key);
        let asked = |it: &Inquiry| it.pool == pool_key && it.what == what;
        if own.is_none() && self.upstreams.inquiries.iter().any(asked) {
            return;
        }
        let worst = |it: &Link| (!it.is_ready(), !it.is_open(), it.drawbacks(self.now));
        let shared = pool.links.iter();
        let shared = shared.filter_map(|&key| Some((key, worst(self.links.get(key)?))));
        let best = shared.min_by_key(|(_, worst)| *worst).map(|(key, _)| key);
        if let Some(on) = own.or(best) {
            self.upstreams.inquiries.push(Inquiry {
                pool: pool_key,
                what,
                on,
            });
            self.ask_permission(pool_key, what, on);
        }
    }

    fn ask_permission(&mut self, pool: PoolKey, what: Permission, on: LinkKey) {
        let db = self.upstreams.pools.get(pool).map_or(0, |pool| pool.db);
        let db = db.to_string();
        self.ask_server(on, Kind::Permission(what), &what.probe(&db));
        self.stats.counters.permissions_asked += 1;
    }

    /// Handles the reply to a permission probe. An `ERR` error is about the arguments of the probe:
    /// the ACL allows the command.
    pub(in crate::proxy) fn permission_answered(
        &mut self,
        on: LinkKey,
        what: Permission,
        reply: &[u8],
    ) {
        let mut inquiries = self.upstreams.inquiries.iter();
        // The reply to a probe that was repeated on another link is ignored.
        let Some(at) = inquiries.position(|it| it.on == on && it.what == what) else {
            return;
        };
        let pool_key = self.upstreams.inquiries.swap_remove(at).pool;
        let Some(pool) = self.upstreams.pools.get_mut(pool_key) else {
            return;
        };
        let refusal = error_text(reply).filter(|text| !ServerError::of(text).is_of_command());
        match refusal {
            None => pool.permits.add(what, self.now),
            Some(_) => self.stats.counters.permissions_refused += 1,
        }
        for client in mem::take(&mut pool.waiters) {
            let waiting = { self.clients.get(client) }.and_then(|it| it.waiting());
            let about = waiting.and_then(|waiting| waiting.goal.permission());
            match &refusal {
                Some(text) if about == Some(what) => {
                    let error = ErrorReply::new(text.clone());
                    self.work.push(Work::Conclude(client, Err(error)));
                }
                _ => self.work.push(Work::Advance(client)),
            }
        }
    }

    /// Repeats the permission probes that were in flight on a link that ended.
    pub(in crate::proxy) fn repeat_inquiries(&mut self, lost: LinkKey) {
        let (over, left) = mem::take(&mut self.upstreams.inquiries)
            .into_iter()
            .partition::<Vec<Inquiry>, _>(|it| it.on == lost);
        self.upstreams.inquiries = left;
        for inquiry in over {
            let pool = self.upstreams.pools.get_mut(inquiry.pool);
            let waiters = pool.map(|pool| mem::take(&mut pool.waiters));
            self.work.advance(waiters.unwrap_or_default());
        }
    }

    /// Repeats a permission probe on another link of the pool, if necessary a new one, when the
    /// reply in front of it is late or is read slowly by its client.
    pub(in crate::proxy) fn ask_permissions_elsewhere(&mut self) {
        for mut inquiry in mem::take(&mut self.upstreams.inquiries) {
            let link = self.links.get(inquiry.on);
            // A dedicated link may still be in its client's previous pool: the other links of that
            // pool have another user and cannot answer.
            let held_up = link.is_some_and(|it| {
                it.pool == inquiry.pool && it.drawbacks(self.now) != (false, false)
            });
            match self.serving_links(inquiry.on).first() {
                Some(&to) if held_up => {
                    inquiry.on = to;
                    self.ask_permission(inquiry.pool, inquiry.what, to);
                }
                None if held_up => drop(self.open_more_links(inquiry.on, 1)),
                _ => {}
            }
            self.upstreams.inquiries.push(inquiry);
        }
    }
}
