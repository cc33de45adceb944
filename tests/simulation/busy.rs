//! A script that runs until it is killed. Meanwhile its server replies BUSY to nearly all commands,
//! also to SELECT on a new connection. Only the client of the script waits for its end.

use super::client::Client;
use super::link::{Link, Prospect};
use super::world::World;

/// The longest time that a client waits for its reply during the script of another client, ms.
const HEARD_MS: u64 = 10_000;

/// The longest time after a failed connection in which no other is opened unless it is needed, ms.
const RESTS_MS: u64 = 2_500;

/// The databases that clients select first; every server has them.
const DATABASES: usize = 3;

impl World {
    /// A phase of the calm: a client runs the script, the others send requests, and then the script
    /// is killed.
    pub(crate) fn run_script_phase(&mut self) -> Result<(), String> {
        let settings = &self.plan.settings;
        // Limits may refuse any request. Where a pool has no room for another connection, all
        // clients wait for the script. A client that is closed instead of getting an error gets
        // nothing.
        if self.plan.limited || settings.pool_connections_max <= 2 || settings.close_on_loss {
            return Ok(());
        }
        self.note(|| "-- a script".into());
        let db = self.rng.below(DATABASES);
        for client in self.free() {
            if !self.rng.one_in(4) {
                let line = self.clients[client].script.choose(db);
                self.send(client, line);
            }
            self.touch(client);
        }
        self.settle("the calm before a script")?;
        self.wait_for_silence()?;
        let all = self.free();
        if all.is_empty() {
            return Ok(());
        }
        let runner = *self.rng.pick(&all);
        let line = self.clients[runner].script.spin();
        self.send(runner, line);
        let Some(server) = self.begin_script(runner)? else {
            return Ok(());
        };
        for &client in all.iter().filter(|client| **client != runner) {
            for _ in 0..self.rng.between(1, 3) {
                self.touch(client);
            }
            if self.rng.one_in(4) {
                let line = self.clients[client].script.choose(DATABASES);
                self.send(client, line);
                self.touch(client);
            }
        }
        self.hear_all_but(runner)?;
        self.kill_the_script(server, runner)?;
        self.settle("the calm after a script")
    }

    /// Requests that wait for a connection that fails may move behind the script; so may those that
    /// arrive while the proxy opens no further connection.
    pub(crate) fn wait_for_silence(&mut self) -> Result<(), String> {
        let silent = |link: &Link| link.session.is_none() && link.prospect == Prospect::Silence;
        while (self.nodes.iter()).any(|node| node.links.values().any(silent)) {
            self.sweep()?;
            if !(self.nodes.iter()).any(|node| node.links.values().any(silent)) {
                self.wait(RESTS_MS)?;
            }
        }
        Ok(())
    }

    /// Clients that may send any request and are not about to be closed.
    pub(crate) fn free(&self) -> Vec<usize> {
        let all = self.clients.iter().enumerate();
        let free = all.filter(|(_, it)| {
            let there = !it.done && !it.eof && !it.hung_up && it.closing.is_none() && !it.may_close;
            let lost = it.lost_dedicated.is_some() || it.maybe_lost_dedicated;
            let held = it.model.holds() || it.model.unheard;
            there && !lost && !held && it.script.is_free() && it.pending.is_empty()
        });
        free.map(|(index, _)| index).collect()
    }

    pub(crate) fn touch(&mut self, client: usize) {
        let line = self.clients[client].script.touch(&mut self.rng);
        self.send(client, line);
    }

    /// Runs until the script runs. `None`: its client was refused.
    fn begin_script(&mut self, runner: usize) -> Result<Option<usize>, String> {
        while self.clients[runner].is_waiting() {
            let running = self.servers.iter().position(|server| server.is_running());
            if running.is_some() {
                return Ok(running);
            }
            self.sweep()?;
        }
        Ok(None)
    }

    /// Waits until every other client has its replies.
    fn hear_all_but(&mut self, runner: usize) -> Result<(), String> {
        let until = self.now.ms + HEARD_MS;
        loop {
            let mut others = self.clients.iter().enumerate();
            // No connection is opened to a draining instance.
            let stays = |it: &Client| it.model.left_for(self.now, &self.view()).is_none();
            let waits = others.find(|(index, it)| *index != runner && it.is_waiting() && stays(it));
            let Some((_, client)) = waits else {
                return Ok(());
            };
            if self.now.ms > until {
                return Err(format!(
                    "client {} waits for the script of client {}: {:?}",
                    client.id, self.clients[runner].id, client.pending
                ));
            }
            self.sweep()?;
        }
    }

    /// The client sends SCRIPT KILL. Returns whether the reply says that the server is unavailable.
    fn send_kill(&mut self, client: usize, runner: usize) -> Result<bool, String> {
        let before = self.clients[client].unavailable;
        let line = self.clients[client].script.kill();
        self.send(client, line);
        self.hear_all_but(runner)?;
        Ok(self.clients[client].unavailable > before)
    }

    /// Each client sends SCRIPT KILL. If none may or can, an administrator does.
    fn kill_the_script(&mut self, server: usize, runner: usize) -> Result<(), String> {
        for client in self.free() {
            if client == runner || self.clients[client].model.place.server != Some(server) {
                continue;
            }
            if self.send_kill(client, runner)? {
                // Connections were refused before the script. Its worker connects again by then.
                self.wait(RESTS_MS)?;
                self.send_kill(client, runner)?;
            }
            let killed = !self.servers[server].is_running();
            let model = &self.clients[client].model;
            // A new connection for SCRIPT KILL is in database 0, because SELECT is refused.
            let leaving = model.left_for(self.now, &self.view()).is_some();
            let may = self.plan.settings.admin_commands && model.db == 0 && !leaving;
            if !killed && may {
                return Err(format!("client {} cannot kill the script", model.id));
            }
        }
        if self.servers[server].is_running() {
            self.servers[server].kill_script()?;
        }
        Ok(())
    }
}
