//! A phase of the calm: replicas lag behind. Clients write, take and return dedicated connections,
//! and send WAIT.

use super::world::World;

/// Clients that are opened for the phase.
const NEW_CLIENTS: usize = 4;

/// Clients that do so, at most, and the rounds of each.
const CLIENTS_MAX: usize = 8;
const ROUNDS: usize = 12;

impl World {
    /// Runs the phase, see the module.
    pub(crate) fn run_lag_phase(&mut self) -> Result<(), String> {
        self.note(|| "-- replicas lag".into());
        for server in &mut self.servers {
            server.replication.lag(&mut self.rng);
        }
        let tenant = self.rng.below(self.tenants.len());
        let generation = self.generation(tenant, "ann");
        let new_clients: Vec<usize> = (0..NEW_CLIENTS).map(|_| self.new_client()).collect();
        for &client in &new_clients {
            // With one password they share connections.
            self.log_in(client, tenant, &format!("g{generation}:same"));
        }
        self.settle("the calm before a lag")?;
        let mut all = self.free();
        while all.len() > CLIENTS_MAX {
            all.swap_remove(self.rng.below(all.len()));
        }
        for _ in 0..ROUNDS {
            let free = self.free();
            for &client in &all {
                if free.contains(&client) && self.rng.one_in(2) {
                    for line in self.clients[client].script.write_and_wait(&mut self.rng) {
                        self.send(client, line);
                    }
                }
            }
            for _ in 0..self.rng.below(4) {
                self.sweep()?;
            }
        }
        for server in &mut self.servers {
            server.replication.catch_up();
        }
        self.settle("the calm after a lag")?;
        self.leave(&new_clients)
    }
}
