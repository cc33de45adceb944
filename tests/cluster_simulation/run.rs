//! The course of one seed: random events with faults, then without, and the end.

use elika::proxy::LinkKey;

use super::Summary;
use super::world::World;

/// The time of a seed without faults at the end, ms, besides hold-ms.
const CALM_MS: u64 = 8_000;

/// Runs one seed. The error says what was wrong.
pub(crate) fn run(seed: u64, trace: bool) -> Result<Summary, String> {
    let mut world = World::new(seed, trace);
    let outcome = world.live();
    let at = world.now;
    outcome.map_err(|why| format!("{why}\n(at {at} ms)"))?;
    Ok(world.summarize())
}

impl World {
    fn live(&mut self) -> Result<(), String> {
        let until = self.now + self.plan.faulty_ms;
        while self.now < until {
            self.faults()?;
            self.round()?;
            let busy = |it: &super::client::Client| it.may_send() || it.is_waiting();
            if !self.clients.iter().any(busy) {
                break;
            }
        }
        self.note(|| "-- calm".into());
        self.calm = true;
        let until = self.now + CALM_MS + self.plan.settings.cluster_hold_ms;
        while self.clients.iter().any(|client| client.is_waiting()) {
            self.round()?;
            if self.now > until {
                return Err(self.stuck());
            }
        }
        self.end()?;
        self.audit()
    }

    /// One round: time passes, and everything may happen once.
    fn round(&mut self) -> Result<(), String> {
        self.summary.rounds += 1;
        self.pass();
        for client in 0..self.clients.len() {
            if !self.rng.one_in(4) {
                self.client_event(client)?;
            }
        }
        for worker in 0..self.workers.len() {
            let links: Vec<LinkKey> = self.workers[worker].links.keys().copied().collect();
            for key in links {
                if !self.rng.one_in(4) {
                    self.link_event(worker, key)?;
                }
            }
            self.turn(worker)?;
        }
        Ok(())
    }

    /// Faults begin.
    fn faults(&mut self) -> Result<(), String> {
        let faults = self.plan.faults;
        for index in 0..self.clusters.len() {
            let cluster = &mut self.clusters[index];
            if faults.migrate && self.rng.one_in(30) {
                cluster.begin_migration();
            }
            if faults.lie && self.rng.one_in(60) {
                cluster.begin_lie();
            }
            if faults.pause && self.rng.one_in(120) {
                cluster.pause();
            }
            if faults.die
                && self.rng.one_in(120)
                && let Some(node) = cluster.kill()
            {
                self.lose_node(index, node)?;
            }
        }
        Ok(())
    }

    fn stuck(&self) -> String {
        let waiting = self.clients.iter().filter(|client| client.is_waiting());
        let waiting: Vec<String> = waiting
            .map(|client| {
                format!(
                    "client {} waits for {} replies, first {:?}, paused: {}, unread: {} {}",
                    client.id,
                    client.pending.len(),
                    client.pending.front(),
                    client.paused,
                    client.to_proxy.len(),
                    client.from_proxy.len(),
                )
            })
            .collect();
        format!("stuck:\n{}", waiting.join("\n"))
    }

    /// All clients leave: nothing of them is left.
    fn end(&mut self) -> Result<(), String> {
        self.note(|| "-- the end".into());
        for client in &mut self.clients {
            if !client.done {
                client.done = true;
                let worker = &mut self.workers[client.worker];
                if worker.clients.remove(&client.key).is_some() {
                    worker.machine.client_closed(client.key);
                }
            }
        }
        let until = self.now + 3_000;
        while self.now < until {
            self.round()?;
        }
        for worker in &self.workers {
            // Checks of instances are requests, too.
            let checks = self.plan.settings.check_ms > 0;
            let machine = &worker.machine;
            let (clients, in_flight) = (machine.clients(), machine.load().1);
            let bytes = machine.outbound_bytes();
            if clients > 0 || !checks && (in_flight > 0 || bytes > 0) {
                return Err(format!(
                    "{clients} clients, {in_flight} requests and {bytes} bytes are left"
                ));
            }
        }
        Ok(())
    }

    fn summarize(self) -> Summary {
        let mut summary = self.summary;
        summary.ms = self.now;
        for worker in &self.workers {
            let counters = worker.machine.counters();
            summary.count("moved", counters.redirected_moved);
            summary.count("ask", counters.redirected_ask);
            summary.count("held", counters.requests_held);
            summary.count("split", counters.requests_split);
            summary.count("retried", counters.asked_again_lost);
        }
        for cluster in &self.clusters {
            summary.count_happened(&cluster.happened);
        }
        summary
    }
}
