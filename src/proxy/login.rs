//! Session changes that need a backend's word: AUTH, HELLO, SELECT, and the first question of a
//! client that never logged in.
//!
//! ```text
//!   change ─┬─ with a password ─┬─ a connection of that user is ready: AUTH on it
//!           │                   ├─ one is being opened: wait for what becomes of it
//!           │                   ├─ too many were opened in this second: wait
//!           │                   └─ else open one, whose handshake is the verdict
//!           │                                     │ accepted
//!           └─ without ───────────────────────────┴─► the pool for (user, db, protocol) has a
//!                                                     ready connection: done. Else wait for one
//! ```
//! Nothing of the client is in flight meanwhile and its later bytes wait (`Hold::VERDICT`). Only
//! when all went well its session changes; a refusal leaves it as it was.

use std::sync::Arc;

use crate::resp::{Protocol, write};

use super::backend::{Backend, Failure};
use super::client::{Client, Flag, Hold};
use super::forward::{NOAUTH, append, record_apart};
use super::gate::TOO_MANY_CLIENTS;
use super::handshake::{Credential, HelloReply, error_text};
use super::key::{AccountKey, BackendKey, ClientKey, PoolKey};
use super::machine::{Machine, mark_ready};
use super::peers::Gathering;
use super::pin::Verb;
use super::pool::{Account, ready};
use super::request::Kind;
use super::stall::follow;

/// A session change under way.
#[derive(Debug)]
pub(super) struct Waiting {
    pub goal: Goal,
    /// Who, where and how the client will be.
    pub account: AccountKey,
    pub db: u32,
    pub protocol: Protocol,
    /// To be verified; `None` once it is, or where there is nothing to verify.
    pub credential: Option<Arc<Credential>>,
    /// The backend has accepted a credential in this change.
    pub verified: bool,
}

/// What the client asked for, hence what it hears in the end.
#[derive(Debug)]
pub(super) enum Goal {
    Auth,
    Hello {
        name: Option<Vec<u8>>,
    },
    Select,
    /// Nothing: its command is decoded again.
    Verdict,
    /// Nothing: it moves to another instance, and does not know.
    Move,
    /// A question about other clients: the other workers' answers.
    Peers(Gathering),
}

/// To whom a client wants to log in, and with what.
#[derive(Debug)]
pub(super) struct Target {
    pub account: AccountKey,
    pub credential: Option<Arc<Credential>>,
    pub db: u32,
    pub protocol: Protocol,
}

impl Machine {
    /// Begins a session change; nothing of the client may be in flight. Without a target the
    /// client stays who, where and how it is.
    pub(super) fn change(&mut self, key: ClientKey, goal: Goal, target: Option<Target>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        debug_assert!(client.fifo.is_empty() && client.waiting.is_none());
        let target = target.unwrap_or(Target {
            account: client.account,
            credential: None,
            db: client.db,
            protocol: client.protocol,
        });
        let Target {
            account,
            credential,
            db,
            protocol,
        } = target;
        client.hold.set(Hold::VERDICT);
        client.waiting = Some(Box::new(Waiting {
            goal,
            account,
            db,
            protocol,
            credential,
            verified: false,
        }));
        if let Some(account) = self.pools.accounts.get_mut(account) {
            account.waiting += 1;
        }
        self.advance(key);
    }

    /// Takes the next step of a session change.
    pub(super) fn advance(&mut self, key: ClientKey) {
        let waiting = self
            .clients
            .get(key)
            .and_then(|client| client.waiting.as_deref());
        let Some(waiting) = waiting else { return };
        let (account_key, is_login) = (waiting.account, waiting.credential.is_some());
        let (db, protocol) = (waiting.db, waiting.protocol);
        if matches!(waiting.goal, Goal::Peers(_)) {
            return;
        }
        let out = self.pools.accounts.get(account_key).and_then(|account| {
            let instance = self.pools.instances.get(account.instance)?;
            instance
                .is_out(self.now)
                .then(|| instance.down_text.clone())
        });
        let ready = self.pools.ready_of(account_key, &self.backends, self.now);
        let busy = ready
            .and_then(|key| self.backends.get(key))
            .is_some_and(Backend::is_busy);
        let pool = self.pools.pool(account_key, db, protocol);
        let room = self
            .pools
            .pools
            .get(pool)
            .is_some_and(|pool| pool.backends.len() < self.settings.pool_connections_max);
        match (ready, out) {
            (None, Some(text)) => self.conclude(key, Err(text)),
            _ if !is_login => self.attach(key),
            // Behind a big reply that somebody reads slowly a verdict might never come.
            (Some(_), None) if busy && room => self.log_in(key),
            (Some(_), _) => self.verify(key),
            (None, None) => self.log_in(key),
        }
    }

    /// Asks a ready connection of that very user: a failed AUTH leaves it as it was.
    fn verify(&mut self, key: ClientKey) {
        let mut auth = Vec::new();
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(waiting) = client.waiting.as_deref_mut() else {
            return;
        };
        let Some(credential) = &waiting.credential else {
            return;
        };
        credential.write_auth(&mut auth);
        let Some(on) = self
            .pools
            .ready_of(waiting.account, &self.backends, self.now)
        else {
            return;
        };
        let Some(backend) = self.backends.get_mut(on) else {
            return;
        };
        if backend.fifo.is_empty() {
            backend.since = self.now;
        } else if backend.paused {
            let (requests, stalled) = (&self.requests, &mut self.stalled);
            follow(requests, stalled, backend, on, key, self.now);
        }
        record_apart(
            &mut self.requests,
            backend,
            client,
            key,
            (Kind::Verdict, Verb::Plain),
            1,
            auth.len(),
        );
        append(
            &mut self.to_backends,
            &mut self.dirty_backends,
            backend,
            on,
            &auth,
        );
    }

    /// The reply to such an AUTH.
    pub(super) fn verdict(&mut self, key: ClientKey, reply: &[u8]) {
        if let Some(text) = error_text(reply) {
            self.counters.logins_refused += 1;
            return self.conclude(key, Err(text));
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(waiting) = client.waiting.as_deref_mut() else {
            return;
        };
        let credential = waiting.credential.clone();
        if let Some(account) = self.pools.accounts.get_mut(waiting.account) {
            account.accept(credential);
        }
        self.counters.logins += 1;
        self.accepted(key);
        self.attach(key);
    }

    /// The backend has accepted the credential of this session change.
    pub(super) fn accepted(&mut self, key: ClientKey) {
        let client = self.clients.get_mut(key);
        if let Some(waiting) = client.and_then(|client| client.waiting.as_deref_mut()) {
            waiting.credential = None;
            waiting.verified = true;
        }
    }

    /// Opens a connection whose handshake is the verdict.
    fn log_in(&mut self, key: ClientKey) {
        let waiting = self
            .clients
            .get(key)
            .and_then(|client| client.waiting.as_deref());
        let Some(waiting) = waiting else { return };
        let (account_key, db, protocol) = (waiting.account, waiting.db, waiting.protocol);
        let credential = waiting.credential.clone();
        let Some(account) = self.pools.accounts.get_mut(account_key) else {
            return;
        };
        if account.connecting > 0 {
            account.logins.push_back(key);
            return;
        }
        if !self.take_token(key) {
            return;
        }
        let pool = self.pools.pool(account_key, db, protocol);
        if self.open(pool, credential, Some(key)).is_none() {
            self.conclude(key, Err(Failure::Removed.text_if_unsent()));
        }
    }

    /// A token to open a connection with, or a place in the line for one.
    fn take_token(&mut self, key: ClientKey) -> bool {
        if self.tokens.0 == 0 {
            self.counters.logins_delayed += 1;
            self.delayed.push_back(key);
            return false;
        }
        self.tokens.0 -= 1;
        true
    }

    /// Finds the pool for the client as it wants to be.
    fn attach(&mut self, key: ClientKey) {
        let waiting = self
            .clients
            .get(key)
            .and_then(|client| client.waiting.as_deref());
        let Some(waiting) = waiting else { return };
        let pool_key = self
            .pools
            .pool(waiting.account, waiting.db, waiting.protocol);
        let Some(pool) = self.pools.pools.get(pool_key) else {
            return self.conclude(key, Err(NOAUTH.into()));
        };
        if ready(pool, &self.backends).is_some() {
            return self.conclude(key, Ok(()));
        }
        if pool.backends.is_empty() {
            if !self.take_token(key) {
                return;
            }
            if self.open_shared(pool_key).is_none() {
                return self.conclude(key, Err(NOAUTH.into()));
            }
        }
        if let Some(pool) = self.pools.pools.get_mut(pool_key) {
            pool.waiters.push(key);
        }
    }

    /// Ends a session change: it is done, or the client hears why not and stays as it was.
    pub(super) fn conclude(&mut self, key: ClientKey, outcome: Result<(), String>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(waiting) = client.waiting.take() else {
            return;
        };
        client.hold.clear(Hold::VERDICT);
        mark_ready(&mut self.ready, client, key);
        let Waiting {
            goal,
            account,
            db,
            protocol,
            verified,
            ..
        } = *waiting;
        if let Some(account) = self.pools.accounts.get_mut(account) {
            account.waiting -= 1;
        }
        if matches!(goal, Goal::Peers(_)) {
            return;
        }
        let outcome = outcome
            .and_then(|()| self.still_logged_in(key, account, verified))
            .and_then(|()| self.hello_known(&goal, account, db, protocol));
        if let Err(text) = outcome {
            return match goal {
                // Decoded again, the command hears it.
                Goal::Verdict => client_refused(self.clients.get_mut(key), text),
                Goal::Move => self.move_failed(key, &text),
                _ => self.say_error(key, &text),
            };
        }
        if !self.join(key, account) {
            return self.say_and_close(key, TOO_MANY_CLIENTS);
        }
        let pool = self.pools.pool(account, db, protocol);
        self.become_user(key, account, verified);
        self.move_client(key, pool);
        if let Some(client) = self.clients.get_mut(key) {
            (client.db, client.protocol) = (db, protocol);
        }
        match goal {
            Goal::Auth | Goal::Select => self.say(key, b"+OK\r\n"),
            Goal::Hello { name } => self.say_hello(key, pool, name),
            Goal::Move => self.counters.clients_moved += 1,
            Goal::Verdict | Goal::Peers(_) => {}
        }
    }

    /// Who was logged out while it waited must not come back in on somebody else's password.
    fn still_logged_in(
        &self,
        key: ClientKey,
        account_key: AccountKey,
        verified: bool,
    ) -> Result<(), String> {
        let (client, account) = (self.clients.get(key), self.pools.accounts.get(account_key));
        let same = |client: &Client, account: &Account| {
            client.account == account_key && client.epoch >= account.valid_from
        };
        match (client, account) {
            (Some(_), Some(account)) if verified || account.user.is_none() => Ok(()),
            (Some(client), Some(account)) if same(client, account) => Ok(()),
            _ => Err(NOAUTH.into()),
        }
    }

    /// A server without HELLO logs nobody in with it: its error is the outcome.
    fn hello_known(
        &mut self,
        goal: &Goal,
        account: AccountKey,
        db: u32,
        protocol: Protocol,
    ) -> Result<(), String> {
        if !matches!(goal, Goal::Hello { .. }) {
            return Ok(());
        }
        let pool = self.pools.pool(account, db, protocol);
        match self
            .pools
            .pools
            .get(pool)
            .and_then(|pool| pool.hello.as_ref())
        {
            Some(HelloReply::Unknown(text)) => Err(text.clone()),
            _ => Ok(()),
        }
    }

    fn say_hello(&mut self, key: ClientKey, pool: PoolKey, name: Option<Vec<u8>>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(name) = name {
            client.details_mut().name = name;
        }
        let mut out = Vec::new();
        match self
            .pools
            .pools
            .get(pool)
            .and_then(|pool| pool.hello.as_ref())
        {
            Some(hello) => hello.write(client.id, &mut out),
            None => write::error(&mut out, NOAUTH),
        }
        self.say(key, &out);
    }

    /// The client is this account's user from now on.
    pub(super) fn become_user(&mut self, key: ClientKey, account: AccountKey, verified: bool) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let same = client.account == account;
        let before = client.account;
        if !same {
            client.account = account;
            if client.last_own() != BackendKey::NONE {
                client.set(Flag::Moved);
            }
            client.forget_last_own();
        }
        if verified || !same {
            let account = self.pools.accounts.get(account);
            client.epoch = account.map_or(0, |account| account.epoch);
        }
        if !same {
            self.count_client(before, account);
        }
    }

    /// Hands out the tokens of the time gone by, and lets the delayed go on.
    pub(super) fn refill_tokens(&mut self) {
        let (tokens, at) = self.tokens;
        // A rate of 0 would lock everybody out.
        let rate = u64::from(self.settings.logins_per_second.max(1));
        let new = self.now.since(at) * rate / 1000;
        if new == 0 {
            return;
        }
        let tokens = (u64::from(tokens) + new).min(rate);
        self.tokens = (u32::try_from(tokens).unwrap_or(u32::MAX), self.now);
        while self.tokens.0 > 0
            && let Some(key) = self.delayed.pop_front()
        {
            self.advance(key);
        }
    }
}

fn client_refused(client: Option<&mut Client>, text: String) {
    if let Some(client) = client {
        client.details_mut().refusal = Some(text.into());
    }
}
