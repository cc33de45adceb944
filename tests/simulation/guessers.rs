//! In the calm, many guess the passwords of one tenant, and one client of another tenant logs in:
//! it waits for one turn of each instance at most, not for the guesses.

use super::redis::Redis;
use super::world::World;

const GUESSERS: usize = 12;

/// Logins that each of them tries in one pipeline.
const GUESSES: usize = 5;

/// What a login takes where nobody guesses, with a connection to be opened, ms.
const LOGIN_MS: u64 = 2_000;

/// Logins per second, at most, with which the guesses take longer than that.
const LOGINS_MAX: u32 = 10;

impl World {
    /// See the module.
    pub(crate) fn outlast_guessers(&mut self) -> Result<(), String> {
        let settings = &self.plan.settings;
        let rate = settings.logins_per_second;
        let most = self.tenants.len();
        if self.plan.limited || most < 2 || rate > LOGINS_MAX || settings.client_login_ms > 0 {
            return Ok(());
        }
        let guessed = self.rng.below(most);
        let other = (guessed + self.rng.between(1, most as u64 - 1) as usize) % most;
        if !(self.takes_logins(guessed) && self.takes_logins(other)) {
            return Ok(());
        }
        self.note(|| "-- guessers".into());
        let mut all = Vec::new();
        for _ in 0..GUESSERS {
            all.push(self.newcomer());
        }
        for &client in &all {
            for nth in 0..GUESSES {
                self.log_in(client, guessed, &format!("bad:{client}-{nth}"));
            }
        }
        for _ in 0..3 {
            self.sweep()?;
        }
        let honest = self.newcomer();
        // On the worker where they guess.
        let generation = self.generation(other);
        self.log_in(honest, other, &format!("g{generation}:{honest}-0"));
        all.push(honest);
        let instances: usize = self.tenants.iter().map(|it| it.instances.len()).sum();
        let wait = (instances as u64 + 2) * 1_000 / u64::from(rate) + LOGIN_MS;
        let until = self.now.ms + wait;
        while self.clients[honest].is_waiting() {
            if self.now.ms > until {
                return Err(format!(
                    "client {} has waited for {wait} ms to log in to tenant {other}, behind those \
                     who guess at tenant {guessed}",
                    self.clients[honest].id
                ));
            }
            self.sweep()?;
        }
        self.settle("the calm after guessers")?;
        self.leave(&all)
    }

    /// Can one log in to every instance of this tenant, and are there any?
    pub(crate) fn takes_logins(&self, tenant: usize) -> bool {
        let well = |it: &Redis| it.down_until == 0 && !it.unlisted;
        let Some(picture) = self.pictures.last() else {
            return false;
        };
        let its = self.servers.iter().filter(|it| it.tenant == tenant);
        let mut usable = its.filter(|it| picture.is_usable(it) && picture.leads_to(it));
        let any = usable.clone().next().is_some();
        any && !self.tenants[tenant].home.old && usable.all(well)
    }

    pub(crate) fn generation(&self, tenant: usize) -> u32 {
        let mut its = self.servers.iter().rev().filter(|it| it.tenant == tenant);
        let user = its.next().and_then(|it| it.users.get("ann"));
        user.map_or(1, |user| user.generation)
    }

    /// One more client, which says nothing by itself and reads at once.
    pub(crate) fn newcomer(&mut self) -> usize {
        self.open_client();
        let index = self.clients.len() - 1;
        let client = &mut self.clients[index];
        client.script.ended = true;
        (client.room, client.hasty) = (1 << 20, false);
        index
    }

    pub(crate) fn log_in(&mut self, client: usize, tenant: usize, password: &str) {
        let name = format!("{}.ann", self.tenants[tenant].key);
        let line = self.clients[client].script.auth(&name, password);
        self.send(client, line);
    }

    /// These clients leave, and are gone.
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
