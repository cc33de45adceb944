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

use crate::command::{ErrorReply, Permission, Plan};

use crate::link::request::Kind;
use crate::link::server_error::{ServerError, error_text};
use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::change::Goal;
use crate::store::key::{ClientKey, LinkKey, PoolKey};

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
    pub(in crate::proxy) fn probe_permission(
        &mut self,
        key: ClientKey,
        pool_key: PoolKey,
        what: Permission,
    ) {
        let client = self.clients.get(key).filter(|it| it.pin().is_some());
        let own = client.map(|client| client.link);
        let asked = (pool_key, what);
        if let Some(on) = (self.upstreams).probe_permission(key, asked, own, &self.links, self.now)
        {
            self.ask_permission(pool_key, what, on);
        }
    }

    fn ask_permission(&mut self, pool: PoolKey, what: Permission, on: LinkKey) {
        let db = self.upstreams.db_of(pool).to_string();
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
        let refusal = error_text(reply).filter(|text| !ServerError::of(text).is_of_command());
        let permitted = refusal.is_none();
        let waiters = (self.upstreams).permission_answered(on, what, permitted, self.now);
        let Some(waiters) = waiters else {
            return;
        };
        self.stats.counters.permissions_refused += u64::from(!permitted);
        for client in waiters {
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

    /// Repeats a permission probe on another link of the pool, if necessary a new one, when the
    /// reply in front of it is late or is read slowly by its client.
    pub(in crate::proxy) fn ask_permissions_elsewhere(&mut self) {
        for (probe, moved) in self.upstreams.move_probes(&self.links, self.now) {
            match moved {
                true => self.ask_permission(probe.pool, probe.what, probe.on),
                false => drop(self.open_more_links(probe.on, 1)),
            }
        }
    }
}
