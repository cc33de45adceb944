//! A phase of the calm: servers set a password for the default user. Clients without a login are
//! served for a minute at most, also where one of them keeps its dedicated connection in use.

use super::redis::{Moment, Redis};
use super::world::World;

/// The longest time that a connection without a login may serve, including the check, ms.
const SERVED_MS: u64 = 63_000;

/// The interval at which the connection is used again, ms.
const AGAIN_MS: u64 = 5_000;

impl World {
    /// Runs the phase, see the module. From then on no client may log in without a password.
    pub(crate) fn run_default_password_phase(&mut self) -> Result<(), String> {
        let settings = &self.plan.settings;
        let first = &self.tenants[0];
        let open = self.plan.default_tenant && first.home.open && !first.home.old;
        let limits = self.plan.limited || settings.client_login_ms + settings.client_idle_ms > 0;
        let listed = self
            .snapshots
            .last()
            .is_some_and(|it| it.serves(&first.key));
        if !open || limits || !listed || settings.close_on_loss {
            return Ok(());
        }
        self.note(|| "-- a password is wanted".into());
        // A client with state is served until its connection ends.
        let free = self.free();
        for client in (0..self.clients.len()).filter(|it| !free.contains(it)) {
            self.clients[client].eof = true;
        }
        let keeper = self.new_client();
        self.keep_in_use(keeper);
        self.settle("the calm with a keeper")?;
        let now = self.now;
        for server in self.servers.iter_mut().filter(|it| it.tenant == 0) {
            server.lock(now);
        }
        self.tenants[0].locked = true;
        let until = self.now.ms + SERVED_MS;
        while self.now.ms < until {
            self.keep_in_use(keeper);
            let again = self.now.ms + AGAIN_MS;
            while self.now.ms < again {
                self.sweep()?;
                self.pass(100);
            }
        }
        self.settle("the calm with a password")?;
        self.tenants[0].home.open = false;
        let late = self.new_client();
        self.touch(late);
        self.keep_in_use(keeper);
        self.settle("the calm after a password")?;
        self.leave(&[keeper, late])
    }

    /// Takes the client's dedicated connection and returns it.
    fn keep_in_use(&mut self, client: usize) {
        if !self.clients[client].hung_up && self.clients[client].closing.is_none() {
            for line in self.clients[client].script.watch_once() {
                self.send(client, line);
            }
        }
    }
}

impl Redis {
    /// The default user has a password from now on. Existing connections stay.
    fn lock(&mut self, now: Moment) {
        if let Some(user) = self.users.get_mut("default") {
            user.nopass = false;
        }
        self.changes.push(now);
    }
}
