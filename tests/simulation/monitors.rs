//! Clients that want no replies, send MONITOR twice and leave. No server replies to the second one,
//! so nothing may wait for that reply.

use super::world::World;

/// The longest time that such a client stays, ms: it may wait for a dedicated connection.
const LEFT_MS: u64 = 15_000;

impl World {
    /// A phase of the calm: some clients do so, and nothing of them remains.
    pub(crate) fn run_monitor_phase(&mut self) -> Result<(), String> {
        self.note(|| "-- monitors".into());
        let mut leaving = self.free();
        leaving.retain(|_| self.rng.one_in(4));
        for &client in &leaving {
            for line in self.clients[client].script.monitor() {
                self.send(client, line);
            }
            self.clients[client].eof = true;
        }
        let until = self.now.ms + LEFT_MS;
        while let Some(&client) = { leaving.iter() }.find(|it| !self.clients[**it].done) {
            if self.now.ms > until {
                let id = self.clients[client].id;
                return Err(format!(
                    "client {id} monitored, has left, and is still there"
                ));
            }
            self.sweep()?;
        }
        Ok(())
    }
}
