//! Logins: which link verifies a credential, and which clients wait for a verifier.
//!
//! ```text
//!   AUTH, HELLO AUTH ─► the instance's wait queue ─► an idle verifier: AUTH, alone ─► result
//!                           │ none is idle               ▲                  yes: idle again
//!                           ▼                            │                  no: closed
//!                     a turn, a token ─► a new connection ┘
//! ```
//! The backend verifies the credential of every login, on a link that serves no clients and has
//! nothing else in flight: some servers send no reply to a failed AUTH while other replies are
//! outstanding, and servers before 6.0 log the connection out. A verifier authenticates as one user
//! after another; it joins a pool only as the user whose credential it verified last.
//!
//! A failed login ends its verifier, so guessing passwords costs a new link each time. New links
//! are limited by tokens, which instances get in turn. Logins are verified in the order of their
//! class (`LoginClass`): credentials that serve clients already, users whose last login succeeded,
//! new users, clients that were refused before, and clients that have left and may still read the
//! reply. Within a class, source addresses take turns, and so do the users of each address.

use crate::command::ErrorReply;

use crate::link::failure::Failure;
use crate::link::link::{Link, State, Verifying};
use crate::link::role::Role;
use crate::link::server_error::{ServerError, error_text};
use crate::proxy::action::HealthChange;
use crate::proxy::machine::Machine;
use crate::proxy::texts::NO_INSTANCE;
use crate::proxy::work::Work;
use crate::session::change::Login;
use crate::store::key::{AccessKey, ClientKey, InstanceKey, LinkKey, PoolKey};

impl Machine {
    /// Queues a client's login for a verifier.
    pub(in crate::proxy) fn log_in(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(waiting) = client.waiting_mut() else {
            return;
        };
        waiting.login = Login::Waits;
        let of = self.upstreams.instance_of_access(waiting.access);
        let (Some(of), Some(class)) = (of, self.login_class(key)) else {
            return self.conclude(key, Err(Failure::Removed.error_if_unsent()));
        };
        self.queue_login(key, class);
        self.work.push(Work::ServeLogins(of));
    }

    /// Gives idle verifiers to the logins that wait, and opens a verifier if none is idle. Closes
    /// idle verifiers above `IDLE_VERIFIERS_MAX`.
    pub(in crate::proxy) fn serve_logins(&mut self, of: InstanceKey) {
        while let Some((class, client)) = self.next_login(of) {
            let Some(on) = self.upstreams.take_verifier(of) else {
                return self.want_verifier(of);
            };
            self.upstreams.pop_login(of, class);
            self.ask_auth(on, client);
        }
        while let Some(spare) = self.upstreams.spare_verifier(of) {
            self.fail(spare, &Failure::Removed);
        }
    }

    /// Sends AUTH on an idle verifier, and nothing else.
    fn ask_auth(&mut self, on: LinkKey, key: ClientKey) {
        let (mut auth, mut asked) = (Vec::new(), AccessKey::NONE);
        if let Some(client) = self.clients.get_mut(key)
            && let Some(waiting) = client.waiting_mut()
            && let Some(credential) = self.upstreams.credential(waiting.access)
        {
            (waiting.login, asked) = (Login::Asked, waiting.access);
            credential.write_auth(&mut auth);
        }
        if let Some(link) = self.links.get_mut(on)
            && let State::Verifying(verifying) = &mut link.state
        {
            let proven = verifying.is_proven();
            *verifying = Verifying::Asked {
                client: key,
                access: asked,
                proven,
            };
            link.since = self.now;
        }
        self.links.append_handshake(on, &auth);
    }

    /// A new verifier is open.
    pub(in crate::proxy) fn verifier_connected(&mut self, key: LinkKey) {
        self.opened(key);
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.state = State::Verifying(Verifying::Idle { proven: false });
        self.upstreams.verifier_opened(link.instance);
        self.verifier_free(key);
    }

    /// Nothing is in flight on a verifier: it becomes idle and serves the next login.
    fn verifier_free(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.since = self.now;
        let (of, address) = (link.instance, link.address);
        match self.upstreams.keep_verifier(of, key, address) {
            true => self.work.push(Work::ServeLogins(of)),
            false => self.fail(key, &Failure::Removed),
        }
    }

    /// Handles a verifier's reply. `more`: further bytes follow.
    pub(in crate::proxy) fn auth_result(
        &mut self,
        key: LinkKey,
        reply: &[u8],
        more: bool,
    ) -> Result<(), Failure> {
        let Some(link) = self.links.get_mut(key) else {
            return Ok(());
        };
        let (State::Verifying(verifying), of) = (&mut link.state, link.instance) else {
            return Ok(());
        };
        let Verifying::Asked { client, access, .. } = *verifying else {
            // An error on an idle verifier says that the server rejects connections at the moment.
            let why = "sent an unexpected reply";
            return Err(
                error_text(reply).map_or_else(|| Failure::Desync(why.into()), Failure::TurnedAway)
            );
        };
        if more {
            let why = "sent more than the reply to AUTH";
            return Err(Failure::Desync(why.into()));
        }
        let waits = self.clients.waits_for_result(client, access);
        if let Some(text) = error_text(reply) {
            match waits {
                true => self.refused(key, client, text),
                false => self.fail(key, &Failure::Removed),
            }
            return Ok(());
        }
        if reply != b"+OK\r\n" {
            return Err(Failure::Desync("unknown form of AUTH reply".into()));
        }
        if let Some(link) = self.links.get_mut(key) {
            link.state = State::Verifying(Verifying::Idle { proven: true });
        }
        if self.upstreams.came_up(of) {
            self.log_health(of, HealthChange::Up);
        }
        let pool = if waits {
            self.accepted(client, key)
        } else {
            None
        };
        match pool {
            Some(pool) => self.join_pool(key, pool, client),
            None => self.verifier_free(key),
        }
        Ok(())
    }

    /// A login was refused, or could not be verified: the client gets the server's error, and the
    /// verifier is closed.
    fn refused(&mut self, on: LinkKey, key: ClientKey, text: String) {
        if ServerError::of(&text).refuses_login() {
            self.stats.counters.logins_refused += 1;
            self.note_login(key, false);
            let of = self.links.get(on).map(|link| link.instance);
            if let Some(of) = of.filter(|&of| self.upstreams.came_up(of)) {
                self.log_health(of, HealthChange::Up);
            }
            self.note_login_refused_by_backend(key);
        }
        if let Some(State::Verifying(verifying)) = self.links.get_mut(on).map(|it| &mut it.state) {
            *verifying = Verifying::Idle { proven: true };
        }
        let error = ErrorReply::new(text);
        self.work.push(Work::Conclude(key, Err(error)));
        self.fail(on, &Failure::Removed);
    }

    /// Handles a credential that was accepted on this link. Returns the client's pool if it needs a
    /// link and can take this one; otherwise the client's session change continues.
    fn accepted(&mut self, key: ClientKey, on: LinkKey) -> Option<PoolKey> {
        self.stats.counters.logins += 1;
        self.note_login(key, true);
        let client = self.clients.get_mut(key)?;
        if client.login_refused() {
            client.details_mut().login_refused = false;
        }
        let pinned = client.pin().is_some();
        let waiting = client.waiting_mut()?;
        waiting.login = Login::Done;
        let (access, db, protocol) = (waiting.access, waiting.db, waiting.protocol);
        self.upstreams.accept(access);
        let pool = self.upstreams.pool(access, db, protocol);
        let empty = self.upstreams.shared_links(pool).is_empty();
        // Only for database 0: after AUTH the user may not be allowed to select another one (see
        // `handshake`).
        let of = self.upstreams.instance_of(pool);
        let full = of.is_some_and(|of| self.upstreams.is_full(of));
        // The instance may have got another address meanwhile.
        let current =
            { self.links.get(on) }.is_some_and(|it| self.upstreams.is_at(it.instance, it.address));
        if empty && db == 0 && !pinned && !full && current {
            return Some(pool);
        }
        self.work.push(Work::Advance(key));
        None
    }

    /// A verifier becomes a shared connection of the pool of the client that it verified last.
    fn join_pool(&mut self, key: LinkKey, to: PoolKey, client: ClientKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let of = link.instance;
        let Some(handshake) = self.upstreams.verifier_joins(of, to, client, self.now) else {
            return;
        };
        (link.pool, link.since) = (to, self.now);
        self.links.opens_again();
        self.assign(key, Role::Shared);
        self.links.begin_handshake(key, handshake, self.now);
        self.work.push(Work::ServeLogins(of));
    }

    /// A verifier ended. A login in flight on it is retried if the verifier had verified one
    /// before, or was fenced; otherwise the login fails with the reason. If the verifier never
    /// worked, the next queued login fails instead; if it was the last verifier, all queued logins
    /// fail.
    pub(in crate::proxy) fn verifier_ended(&mut self, key: LinkKey, link: &Link, why: &Failure) {
        let of = link.instance;
        let Some((gone, last)) = self.upstreams.verifier_ended(key, link) else {
            return;
        };
        let error = why.error_for_login();
        let fenced = *why == Failure::Fenced;
        let mut failed = !fenced && matches!(link.state, State::Connecting);
        if let State::Verifying(verifying) = link.state {
            failed = !fenced && !verifying.is_proven();
            if let Verifying::Asked { client, access, .. } = verifying
                && self.clients.waits_for_result(client, access)
            {
                match failed {
                    _ if gone => self.work.push(Work::LogInElsewhere(client)),
                    false => self.work.push(Work::LogIn(client)),
                    true => self.work.push(Work::Conclude(client, Err(error.clone()))),
                }
            }
        }
        if failed && *why != Failure::Removed {
            if last {
                return self.work.push(Work::FailLogins(of, error));
            }
            let asked = matches!(link.state, State::Verifying(Verifying::Asked { .. }));
            if !asked && let Some((class, client)) = self.next_login(of) {
                // The login is taken out of the queue now: a second verifier that ends in the same
                // call fails another one.
                self.upstreams.pop_login(of, class);
                self.work.push(Work::Conclude(client, Err(error)));
            }
        }
        self.work.push(Work::ServeLogins(of));
    }

    /// Fails all queued logins of an instance.
    pub(in crate::proxy) fn fail_logins(&mut self, of: InstanceKey, error: &ErrorReply) {
        while let Some((_, client)) = self.next_login(of) {
            self.conclude(client, Err(error.clone()));
        }
    }

    /// Closes the idle verifiers of an instance. If the instance is removed, all its verifiers are
    /// closed, and its queued logins continue at another instance.
    pub(in crate::proxy) fn end_logins(&mut self, of: InstanceKey) {
        let Some((gone, idle, openers)) = self.upstreams.end_logins(of) else {
            return;
        };
        while gone && let Some((class, client)) = self.next_login(of) {
            self.upstreams.pop_login(of, class);
            self.work.push(Work::LogInElsewhere(client));
        }
        self.work.advance(openers);
        let asked = self.links.iter();
        let asked = asked.filter(|(_, it)| gone && it.instance == of && it.is_verifier());
        let asked: Vec<LinkKey> = asked.map(|(key, _)| key).collect();
        for key in idle.into_iter().chain(asked) {
            self.fail(key, &Failure::Removed);
        }
    }

    /// The instance of a client's login is removed: the login continues at another instance of the
    /// tenant.
    pub(in crate::proxy) fn log_in_elsewhere(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(waiting) = client.waiting() else {
            return;
        };
        let (from, own) = (waiting.access, client.pin().is_some());
        let account = self.upstreams.account_of_access(from);
        let account = account.filter(|_| !own).unwrap_or_default();
        let tenant = self.upstreams.tenant_of_account(account);
        let Some(to) = self.upstreams.balance(tenant) else {
            return self.conclude(key, Err(NO_INSTANCE));
        };
        let to = self.upstreams.access_to(to, account);
        let client = self.clients.get_mut(key);
        if let Some(waiting) = client.and_then(|client| client.waiting_mut()) {
            waiting.access = to;
        }
        self.upstreams.end_change(from);
        self.upstreams.begin_change(to);
        self.log_in(key);
    }
}
