//! The order in which logins are verified, and when links are opened for them. The wait queues are
//! in `upstream::logins`.

use crate::upstream::upstreams::logins::{Turn, VerifierNeed};

use crate::link::role::Role;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::client::Client;
use crate::store::key::{ClientKey, InstanceKey, PoolKey};
use crate::upstream::logins::LoginClass;

impl Machine {
    /// Records whether a client's login succeeded: this decides the class of the user's next login.
    pub(in crate::proxy) fn note_login(&mut self, key: ClientKey, good: bool) {
        if let Some(waiting) = self.clients.get(key).and_then(|it| it.waiting()) {
            self.upstreams.note_login(waiting.access, good);
        }
    }

    /// Opens one verifier, now or when there is a token.
    pub(in crate::proxy) fn want_verifier(&mut self, of: InstanceKey) {
        match self.upstreams.verifier_need(of, self.now) {
            VerifierNeed::Nothing => {}
            VerifierNeed::New => drop(self.connect(of, PoolKey::NONE, Role::Login)),
            VerifierNeed::Token => self.stats.counters.logins_delayed += 1,
            VerifierNeed::Down(error) => self.fail_logins(of, &error),
        }
    }

    /// The next login to verify, with its class. Drops logins whose client is closed or no longer
    /// waits, and requeues logins whose priority has become lower.
    pub(in crate::proxy) fn next_login(&mut self, of: InstanceKey) -> Option<(usize, ClientKey)> {
        loop {
            let (class, key) = self.upstreams.first_login(of)?;
            let waits = self.clients.get(key).is_some_and(Client::waits_for_login);
            let now = waits.then(|| self.login_class(key)).flatten();
            if now.is_some_and(|now| now as usize <= class) {
                return Some((class, key));
            }
            self.upstreams.pop_login(of, class);
            if let Some(now) = now {
                self.queue_login(key, now);
            }
        }
    }

    /// The present class of a client's login.
    pub(in crate::proxy) fn login_class(&self, key: ClientKey) -> Option<LoginClass> {
        let client = self.clients.get(key)?;
        let access = client.waiting()?.access;
        (self.upstreams).login_class(access, client.has_left(), client.login_refused())
    }

    /// Queues a login in this class.
    pub(in crate::proxy) fn queue_login(&mut self, key: ClientKey, class: LoginClass) {
        if let Some(client) = self.clients.get(key)
            && let Some(waiting) = client.waiting()
            && let from = (key, client.addresses().0.ip())
            && let Some(last) = self.upstreams.queue_login(waiting.access, from, class)
        {
            self.work.push(Work::CloseClient(last));
        }
    }

    /// Hands out the tokens that have accrued, one to each instance in turn.
    pub(in crate::proxy) fn grant_tokens(&mut self) {
        while let Some((of, turn, others)) = self.upstreams.begin_token_turn(self.now) {
            match turn {
                Turn::Change(client) => self.advance(client),
                Turn::Lost(pool) if self.upstreams.reopens(pool, self.now) => {
                    self.open_shared(pool);
                }
                Turn::Lost(_) => {}
                Turn::Logins => self.serve_logins(of),
            }
            self.upstreams.end_token_turn(of, others);
        }
    }
}
