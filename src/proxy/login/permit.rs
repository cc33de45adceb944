//! What the server's ACL says of commands that are answered or carried out here.
//!
//! ```text
//!   CLIENT KILL … ─► is it known that the user may? ─yes─► carried out
//!                            │ no
//!                            ▼                      an error of the server, NOPERM say
//!              a harmless form of it is asked, ─────► the client hears that
//!              on a connection of the user's ───────► known for a moment: carried out
//! ```
//! What is allowed is remembered for each pool: on some servers a user has the right to some
//! databases only. A refusal is not, so that whoever gets a permission has it at once; a permission
//! that is taken away is in use for a second at most.

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
    /// May a client that was admitted have this done? If that is not known, the server is asked,
    /// and the command is decoded again.
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

    /// A client waits for the server to say whether the user of its pool may do this: on its own
    /// connection, if it has one, else on one of the pool's, for all that wait for the same.
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

    /// The server answered. An error that is about the arguments says that all else is well.
    pub(in crate::proxy) fn permission_answered(
        &mut self,
        on: LinkKey,
        what: Permission,
        reply: &[u8],
    ) {
        let mut inquiries = self.upstreams.inquiries.iter();
        // One that was asked elsewhere as well is no more of interest.
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

    /// A connection has ended: what was asked on it is asked again.
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

    /// What stands behind a reply that is late, or that its client reads slowly, is asked on
    /// another connection of the pool, be it a new one.
    pub(in crate::proxy) fn ask_permissions_elsewhere(&mut self) {
        for mut inquiry in mem::take(&mut self.upstreams.inquiries) {
            let link = self.links.get(inquiry.on);
            // A client's own connection may be of the pool that it came from: the user of that one
            // cannot answer.
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
