//! A phase of the calm: many clients guess passwords, and one client logs in. Its login waits for a
//! few turns, not for all the guesses.

use std::net::Ipv4Addr;

use super::redis::Redis;
use super::world::World;

const GUESSING_CLIENTS: usize = 50;

/// Logins that each of them sends in one pipeline.
const GUESSES: usize = 3;

/// The time of a login without guesses, including a new connection, ms.
const LOGIN_MS: u64 = 2_000;

/// The highest rate of logins per second at which the guesses take longer than that.
const LOGINS_MAX: u32 = 10;

/// The address of some of the clients.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// The difference between the client that logs in and those that guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Honest {
    OtherTenant,
    OtherSource,
    OtherUser,
    /// A client is logged in with the same password, on the only worker at the only instance.
    Known,
    /// The last login of its user succeeded there. The others guess the passwords of other users,
    /// one each.
    Familiar,
    /// Each of the others has been refused before.
    NotRefused,
}

impl World {
    /// Runs the phase, see the module.
    pub(crate) fn run_guessing_phase(&mut self) -> Result<(), String> {
        let settings = &self.plan.settings;
        let rate = settings.logins_per_second;
        if self.plan.limited || rate > LOGINS_MAX || settings.client_login_ms > 0 {
            return Ok(());
        }
        let honest = *self.rng.pick(&[
            Honest::OtherTenant,
            Honest::OtherSource,
            Honest::OtherUser,
            Honest::Known,
            Honest::Familiar,
            Honest::NotRefused,
        ]);
        let most = self.tenants.len();
        let guessed = self.rng.below(most);
        let tenant = match honest {
            Honest::OtherTenant if most < 2 => return Ok(()),
            Honest::OtherTenant => (guessed + self.rng.between(1, most as u64 - 1) as usize) % most,
            _ => guessed,
        };
        let before = matches!(honest, Honest::Known | Honest::Familiar);
        if before && self.nodes.len() + self.tenants[tenant].instances.len() > 2 {
            return Ok(());
        }
        // A login may wait for a connection that nobody answers.
        self.wait_for_silence()?;
        if !(self.takes_logins(guessed) && self.takes_logins(tenant)) {
            return Ok(());
        }
        self.note(|| format!("-- guessing_clients, and one: {honest:?}"));
        let user = match honest {
            Honest::OtherUser | Honest::Familiar => "bob",
            _ => "ann",
        };
        let password = format!("g{}:honest", self.generation(tenant, user));
        let mut came = Vec::new();
        if before {
            came.push(self.new_client());
            self.log_in_as(came[0], tenant, user, &password);
            self.settle("the calm before guessing_clients")?;
            // Its instance may still be treated as down.
            if self.clients[came[0]].model.login.is_none() {
                return self.leave(&came);
            }
        }
        if honest == Honest::Familiar {
            self.leave(&came)?;
        }
        let guessing_clients = self.guess(guessed, honest)?;
        let from = match honest {
            Honest::OtherSource => ELSEWHERE,
            _ => Ipv4Addr::LOCALHOST,
        };
        // On the worker of the guessing clients.
        let client = self.new_client_from(from);
        self.log_in_as(client, tenant, user, &password);
        self.hear_of_login(client, honest)?;
        for guesser in guessing_clients {
            self.reset_client(guesser);
        }
        self.settle("the calm after guessing_clients")?;
        came.push(client);
        self.leave(&came)
    }

    /// Many clients guess passwords of this tenant.
    fn guess(&mut self, tenant: usize, honest: Honest) -> Result<Vec<usize>, String> {
        let all: Vec<usize> = (0..GUESSING_CLIENTS).map(|_| self.new_client()).collect();
        for &client in &all {
            for nth in 0..GUESSES {
                let user = match honest {
                    Honest::Familiar => format!("guess{client}"),
                    _ => "ann".to_owned(),
                };
                self.log_in_as(client, tenant, &user, &format!("bad:{client}-{nth}"));
            }
        }
        // A client whose connection is closed is not refused any more.
        let refused = |it: &Self| {
            let mut all = all.iter().map(|&client| &it.clients[client]);
            all.all(|client| client.done || client.pending.len() < GUESSES)
        };
        for _ in 0..3 {
            self.sweep()?;
        }
        while honest == Honest::NotRefused && !refused(self) {
            self.sweep()?;
        }
        Ok(all)
    }

    /// The client gets its reply after a few turns: for each instance, one of the guesses, its own
    /// login, and one in advance.
    fn hear_of_login(&mut self, client: usize, honest: Honest) -> Result<(), String> {
        let rate = u64::from(self.plan.settings.logins_per_second);
        let instances: usize = self.tenants.iter().map(|it| it.instances.len()).sum();
        let wait = (instances as u64 + 2) * 1_000 / rate + LOGIN_MS;
        let until = self.now.ms + wait;
        while self.clients[client].is_waiting() {
            if self.now.ms > until {
                return Err(format!(
                    "client {} has waited for {wait} ms to log in, behind those who guess: \
                     {honest:?}",
                    self.clients[client].id
                ));
            }
            self.sweep()?;
        }
        Ok(())
    }

    /// Whether every instance of this tenant accepts logins, and there is one.
    pub(crate) fn takes_logins(&self, tenant: usize) -> bool {
        let well = |it: &Redis| it.down_until == 0 && !it.unlisted;
        let Some(snapshot) = self.snapshots.last() else {
            return false;
        };
        let its = self.servers.iter().filter(|it| it.tenant == tenant);
        let mut usable = its.filter(|it| snapshot.is_usable(it) && snapshot.leads_to(it));
        let any = usable.clone().next().is_some();
        any && !self.tenants[tenant].home.old && usable.all(well)
    }

    pub(crate) fn generation(&self, tenant: usize, user: &str) -> u32 {
        let mut its = self.servers.iter().rev().filter(|it| it.tenant == tenant);
        let user = its.next().and_then(|it| it.users.get(user));
        user.map_or(1, |user| user.generation)
    }

    /// Opens one more client, which sends nothing by itself and reads at once.
    pub(crate) fn new_client(&mut self) -> usize {
        self.new_client_from(Ipv4Addr::LOCALHOST)
    }

    fn new_client_from(&mut self, from: Ipv4Addr) -> usize {
        self.open_client_from(from);
        let index = self.clients.len() - 1;
        let client = &mut self.clients[index];
        client.script.ended = true;
        (client.room, client.writes_first) = (1 << 20, false);
        index
    }

    pub(crate) fn log_in(&mut self, client: usize, tenant: usize, password: &str) {
        self.log_in_as(client, tenant, "ann", password);
    }

    fn log_in_as(&mut self, client: usize, tenant: usize, user: &str, password: &str) {
        let name = format!("{}.{user}", self.tenants[tenant].key);
        let line = self.clients[client].script.auth(&name, password);
        self.send(client, line);
    }

    /// Closes these clients.
    pub(crate) fn leave(&mut self, all: &[usize]) -> Result<(), String> {
        for &client in all {
            self.clients[client].eof = true;
        }
        while all.iter().any(|&client| !self.clients[client].done) {
            self.sweep()?;
        }
        Ok(())
    }
}
