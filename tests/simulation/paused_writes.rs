//! A phase of the calm: servers pause writes, and clients write one after the other. Reads of
//! others are answered meanwhile, even with few connections, and no connection is closed.

use super::client::Client;
use super::world::World;

/// The longest time of a read while writes are paused, virtual ms: until its reply is late, a
/// connection is opened, and the read is retried.
const READ_MS: u64 = 20_000;

/// Writers, at most: more than most pools may have connections.
const WRITERS_MAX: usize = 5;

impl Client {
    /// Whether a reply of the client now proves that a read or write was executed.
    fn is_free(&self) -> bool {
        let here = self.is_settled() && !self.eof && !self.hung_up && !self.reads_nothing;
        let plain = !self.model.holds() && !self.model.is_subscribed() && !self.script.unheard;
        here && plain && self.script.is_heard()
    }
}

impl World {
    /// Runs the phase, see the module.
    pub(crate) fn run_paused_writes_phase(&mut self) -> Result<(), String> {
        self.note(|| "-- writes are held back".into());
        let from = self.now;
        for server in &mut self.servers {
            server.pauses_writes_until = u64::MAX;
        }
        let free = (0..self.clients.len()).filter(|&it| self.clients[it].is_free());
        let mut readers: Vec<usize> = free.collect();
        let mut writers = Vec::new();
        for _ in 0..WRITERS_MAX {
            if readers.len() < 2 {
                break;
            }
            let writer = readers.swap_remove(self.rng.below(readers.len()));
            // Some clients read before they write, in one pipeline.
            if self.rng.one_in(3) {
                self.ask_for(writer, false);
            }
            self.ask_for(writer, true);
            for &reader in &readers {
                self.ask_for(reader, false);
            }
            self.wait_for(&readers, from.ms)?;
            readers.retain(|&it| self.clients[it].is_free());
            writers.push(writer);
        }
        // Other clients get an error, for example because they have not logged in.
        writers.retain(|&it| self.is_paused_write(it));
        // Longer than a reply may take, without further requests.
        let reply_ms = self.plan.settings.backend_reply_ms;
        if (1..=5_000).contains(&reply_ms) {
            self.wait(reply_ms + 1_000)?;
        }
        let there = |client: &Client| !client.done && !client.hung_up;
        let mut there = writers
            .iter()
            .map(|&it| &self.clients[it])
            .filter(|it| there(it));
        if let Some(client) = there.find(|client| !client.is_waiting()) {
            return Err(format!("client {} did not wait with its write", client.id));
        }
        for server in &mut self.servers {
            server.pauses_writes_until = 0;
        }
        self.settle("the calm after a pause of writes")
    }

    /// Whether a server has the last request of this client and has not executed it.
    fn is_paused_write(&self, client: usize) -> bool {
        let last = self.clients[client].pending.back();
        let Some(tag) = last.and_then(|sent| sent.op.tag()) else {
            return false;
        };
        let links = self.nodes.iter().flat_map(|node| node.links.values());
        let word = format!("t{tag}\r\n");
        links.into_iter().any(|link| link.is_to_do(word.as_bytes()))
    }

    fn ask_for(&mut self, index: usize, write: bool) {
        let line = self.clients[index].script.plain(write);
        self.send(index, line);
    }

    fn wait_for(&mut self, readers: &[usize], from: u64) -> Result<(), String> {
        let until = self.now.ms + READ_MS;
        while let Some(&waits) = { readers.iter() }.find(|&&it| self.clients[it].is_waiting()) {
            if self.now.ms > until {
                let client = &self.clients[waits];
                return Err(format!(
                    "client {} waits for {:?} while writes are held back since {from} ms",
                    client.id,
                    client.pending.front()
                ));
            }
            self.sweep()?;
        }
        Ok(())
    }
}
