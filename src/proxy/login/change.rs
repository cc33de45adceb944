//! Session changes that need a reply from the backend: AUTH, HELLO, SELECT, permission checks,
//! moves to another instance, and whether the default user is admitted.
//!
//! ```text
//!   change ─┬─ with a credential ──► the backend verifies it (see `verify`)
//!           │                              │ accepted
//!           └─ without ────────────────────┴─► the pool for (account, instance, db, protocol) has
//!                                              a ready link: done. Else wait for one
//! ```
//! While a change is in progress (`Phase::Changing`), nothing of the client is in flight and its
//! further bytes are not decoded. The session changes only if all steps succeed; after an error it
//! is unchanged.

use crate::command::{ErrorReply, Plan, Session};

use crate::link::server_error::ServerError;
use crate::proxy::machine::Machine;
use crate::proxy::texts::{TOO_MANY_CLIENTS, TOO_MANY_CONNECTIONS};
use crate::session::change::{Goal, Login, Target, Waiting};
use crate::session::client::Client;
use crate::session::phase::Phase;
use crate::stats::notice::NoticeKind;
use crate::stats::worker_stats::Limit;
use crate::store::key::{AccountKey, ClientKey, PoolKey};

impl Machine {
    /// Starts a session change; nothing of the client may be in flight. Without a target, the
    /// client's access, database and protocol stay the same.
    pub(in crate::proxy) fn change(&mut self, key: ClientKey, goal: Goal, target: Option<Target>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        debug_assert!(client.fifo.is_empty() && client.waiting().is_none());
        let target = target.unwrap_or_else(|| Target {
            access: self.upstreams.access_key(client.pool),
            login: false,
            db: client.db,
            protocol: client.protocol,
        });
        let Target {
            access,
            login,
            db,
            protocol,
        } = target;
        client.details_mut().waiting = Some(Box::new(Waiting {
            goal,
            access,
            db,
            protocol,
            login: if login { Login::Waits } else { Login::Done },
        }));
        self.upstreams.begin_change(access);
        self.enter(key, Phase::Changing);
        match login {
            true => self.log_in(key),
            false => self.advance(key),
        }
    }

    /// Takes the next step of a session change whose credential is verified, or that has none to
    /// verify.
    pub(in crate::proxy) fn advance(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let waiting = client.waiting();
        let Some(waiting) = waiting.filter(|waiting| waiting.login == Login::Done) else {
            return;
        };
        let access = waiting.access;
        if matches!(waiting.goal, Goal::Question(_)) {
            return;
        }
        // A permission check on the client's dedicated link does not depend on other links.
        let asks_own = matches!(waiting.goal, Goal::Permission(_)) && client.pin().is_some();
        let why = self.upstreams.why_down(access, &self.links, self.now);
        match why.filter(|_| !asks_own) {
            Some(error) => self.conclude(key, Err(error)),
            None => self.attach(key),
        }
    }

    /// Finds the pool for the new account, database and protocol. Concludes the change if a link of
    /// the pool is ready; otherwise the client waits for one, which is opened if the pool has none.
    fn attach(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(waiting) = client.waiting() else {
            return;
        };
        let own = client.pin().is_some();
        let permission = waiting.goal.permission();
        let pool_key = self
            .upstreams
            .pool(waiting.access, waiting.db, waiting.protocol);
        if !self.upstreams.has_pool(pool_key) {
            return self.conclude(key, Err(ErrorReply::NoAuth));
        }
        // A client with a dedicated link continues on that link.
        if own || self.upstreams.has_ready_link(pool_key, &self.links) {
            return match permission
                .filter(|&what| !self.upstreams.permits(pool_key, what, self.now))
            {
                Some(what) => self.probe_permission(key, pool_key, what),
                None => self.conclude(key, Ok(())),
            };
        }
        if self.upstreams.shared_links(pool_key).is_empty() {
            let Some(of) = self.upstreams.instance_of(pool_key) else {
                return;
            };
            if self.upstreams.is_refused(pool_key, self.now) {
                return self.log_out(key);
            }
            // The client gets an error if there is no room; that takes no token.
            if self.upstreams.has_room_for_link(of, &self.links, self.now)
                && !self.upstreams.take_token_for(key, of, self.now)
            {
                self.stats.counters.logins_delayed += 1;
                return;
            }
            if self.open_shared(pool_key).is_none() {
                self.note_refusal(key, NoticeKind::InstanceConnections);
                return self.conclude(key, Err(TOO_MANY_CONNECTIONS));
            }
        }
        self.upstreams.wait_for_link(pool_key, key);
    }

    /// Ends a session change, whether it succeeded or not. Returns its record.
    pub(in crate::proxy) fn end_change(&mut self, key: ClientKey) -> Option<Box<Waiting>> {
        let waiting = self.clients.get_mut(key)?.end_waiting()?;
        self.upstreams.end_change(waiting.access);
        self.clients.end_wait(key);
        Some(waiting)
    }

    /// Concludes a session change: applies it, or reports the error and changes nothing.
    pub(in crate::proxy) fn conclude(&mut self, key: ClientKey, outcome: Result<(), ErrorReply>) {
        let Some(waiting) = self.end_change(key) else {
            return;
        };
        let own = self.clients.get(key).is_some_and(|it| it.pin().is_some());
        let Waiting {
            goal,
            access,
            db,
            protocol,
            ..
        } = *waiting;
        if matches!(goal, Goal::Question(_)) {
            return;
        }
        if let Goal::Permission(_) = goal {
            // The command is decoded again and gets this error.
            if let Err(error) = outcome {
                client_refused(self.clients.get_mut(key), error);
            }
            return;
        }
        if own && outcome.is_ok() {
            return self.change_dedicated(key, goal, access, protocol);
        }
        let outcome = outcome.and_then(|()| match goal {
            Goal::Hello { .. } => self.upstreams.knows_hello(access, db, protocol),
            _ => Ok(()),
        });
        if let Err(error) = outcome {
            self.upstreams.forget_unused(access);
            return match goal {
                // The command is decoded again and gets this error.
                Goal::Admission => client_refused(self.clients.get_mut(key), error),
                Goal::Move => self.move_failed(key, &error),
                Goal::Auth => self.refuse_change(key, Session::Auth, &error),
                Goal::Hello { .. } => self.refuse_change(key, Session::Hello, &error),
                Goal::Select => self.refuse_change(key, Session::Select, &error),
                Goal::Permission(_) | Goal::Question(_) => {}
            };
        }
        let account = self.upstreams.account_of_access(access);
        let account = account.unwrap_or_default();
        let pool = self.upstreams.pool(access, db, protocol);
        if !self.become_user(key, account) {
            return self.reply_error_and_close(key, &TOO_MANY_CLIENTS);
        }
        self.move_client(key, pool);
        if let Some(client) = self.clients.get_mut(key) {
            (client.db, client.protocol) = (db, protocol);
        }
        match goal {
            Goal::Auth | Goal::Select => self.reply(key, b"+OK\r\n"),
            Goal::Hello { name } => self.reply_hello(key, pool, name),
            Goal::Move => self.stats.counters.clients_moved += 1,
            Goal::Admission | Goal::Permission(_) | Goal::Question(_) => {}
        }
    }

    /// Answers a session command with an error. Unless a server would say the same to a client that
    /// is connected, the client is closed, see [`close_refused`](Self::close_refused).
    pub(in crate::proxy) fn refuse_change(
        &mut self,
        key: ClientKey,
        session: Session,
        error: &ErrorReply,
    ) {
        self.reply_error(key, error);
        let as_a_server = match error {
            ErrorReply::Server(text) => ServerError::of(text) != ServerError::Rejects,
            ErrorReply::NoAuth => true,
            ErrorReply::Proxy(_) | ErrorReply::Unavailable(_) => false,
        };
        if !as_a_server {
            self.close_refused(key, Plan::Session(session));
        }
    }

    fn reply_hello(&mut self, key: ClientKey, pool: PoolKey, name: Option<Vec<u8>>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(name) = name {
            client.details_mut().name = name.into();
        }
        let mut out = Vec::new();
        match self.upstreams.hello(pool) {
            Some(hello) => {
                hello.write(client.id, &mut out);
                self.show_mode(key, pool, &mut out);
            }
            None => ErrorReply::NoAuth.write(&mut out),
        }
        self.reply(key, &out);
    }

    /// Changes the client's account; `NONE`: it has none until it logs in or sends a request.
    /// Returns `false` if the tenant of the account has reached its limit on clients; the client
    /// then keeps its account.
    pub(in crate::proxy) fn become_user(&mut self, key: ClientKey, account: AccountKey) -> bool {
        let now = self.now.tenths();
        let Some(client) = self
            .clients
            .get_mut(key)
            .filter(|it| it.account() != account)
        else {
            return true;
        };
        if !self.upstreams.change_account(client.account(), account) {
            let slot = self.upstreams.tenant_of_account(account);
            self.note_limit_of(key, account, slot, Limit::Clients);
            return false;
        }
        client.set_account(account);
        // A pending refusal is about the previous account.
        client.take_refusal();
        if account == AccountKey::NONE {
            client.details_mut().anonymous_since = now;
        }
        if self.upstreams.is_logged_in(account)
            && let Some(details) = client.details.as_deref_mut()
        {
            details.refused_commands = 0;
        }
        true
    }
}

fn client_refused(client: Option<&mut Client>, error: ErrorReply) {
    if let Some(client) = client {
        client.set_refusal(error);
    }
}
