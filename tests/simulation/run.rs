//! The course of one seed: random events with faults, then the fault-free phases, the last
//! requests, and the end.

use elika::proxy::{LinkKey, StatsRequest};

use super::Summary;
use super::client::Client;
use super::link::Link;
use super::oracle::Waits;
use super::redis::Redis;
use super::world::World;

/// Everything must be answered within this virtual time after the last failure, ms: a hung
/// connection is detected (5 s at most, see [`Plan`](super::plan::Plan)), then a connection that is
/// never established (3 s), each for the few clients that may wait.
const CALM_MS: u64 = 90_000;

/// The time at the end until every idle backend connection is closed.
const END_MS: u64 = 40_000;

/// The virtual time of a whole run. A run that takes longer waits for what never happens, ms.
const RUN_MS_MAX: u64 = 3_600_000;

/// The way in which the machines of a seed end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clients,
    Drain,
    Registry,
}

/// Runs one seed. The error says what was wrong.
pub(crate) fn run(seed: u64, trace: bool) -> Result<Summary, String> {
    let mut world = World::new(seed, trace);
    world.open_client();
    while world.plan.narrow && world.clients.len() < world.plan.clients {
        world.open_client();
    }
    let outcome = world.live();
    let at = world.now;
    outcome.map_err(|why| format!("{why}\n(at step {}, {} ms)", at.step, at.ms))?;
    let counters = world.nodes.iter().map(|it| it.machine.counters());
    let mut waits = Waits::default();
    for client in &world.clients {
        waits.add(client.model.written.waits);
    }
    Ok(Summary {
        waits,
        events: world.now.step,
        asked_again: counters.clone().map(|it| it.asked_again).sum(),
        buffers_full: counters.map(|it| it.buffers_full).sum(),
        choices: world.choices,
        ..Summary::default()
    })
}

impl World {
    fn live(&mut self) -> Result<(), String> {
        // Slow readers continue for a while after all clients have sent their requests.
        let odds = if self.plan.narrow { 3_000 } else { 200 };
        // An upper bound: most seeds finish long before.
        for _ in 0..60_000 {
            self.step()?;
            let all = self.clients.len() == self.plan.clients;
            let busy = self.clients.iter().any(Client::may_send);
            if all && !busy && self.rng.one_in(odds) {
                break;
            }
        }
        self.heal()?;
        self.settle("the calm, with clients that read nothing")?;
        for client in &mut self.clients {
            client.reads_nothing = false;
            client.room = 1 << 20;
        }
        self.settle("the calm")?;
        self.run_script_phase()?;
        self.run_monitor_phase()?;
        self.run_alias_phase()?;
        if self.rng.one_in(2) {
            self.run_lag_phase()?;
        }
        if self.rng.one_in(2) {
            self.run_guessing_phase()?;
        }
        // The phase takes its time; with several tenants on one worker it checks most.
        let one = self.nodes.len() == 1 && self.tenants.len() > 1;
        if self.rng.one_in(if one { 2 } else { 20 }) {
            self.run_client_list_phase()?;
        }
        if self.rng.one_in(3) {
            self.run_paused_writes_phase()?;
        }
        self.wait(6_000)?;
        self.check_messages()?;
        self.wait(6_000)?;
        self.check_health()?;
        self.check_left()?;
        for node in 0..self.nodes.len() {
            self.collect_stats(node)?;
        }
        if self.rng.one_in(6) {
            self.run_default_password_phase()?;
        }
        self.last_requests();
        self.settle("the last_requests")?;
        self.end()?;
        self.audit()
    }

    /// Faults stop. A hung connection continues or is lost.
    fn heal(&mut self) -> Result<(), String> {
        self.note(|| "-- calm".into());
        self.calm = true;
        // Small buffers were for many pieces; now they would only take time.
        for client in self
            .clients
            .iter_mut()
            .filter(|client| !client.reads_nothing)
        {
            client.room = 1 << 20;
        }
        for node in &mut self.nodes {
            for link in node.links.values_mut() {
                link.input_max = 1 << 20;
            }
        }
        for server in 0..self.servers.len() {
            self.servers[server].calm = true;
            self.servers[server].mute_until = 0;
            self.servers[server].pauses_writes_until = 0;
            let now = self.now.ms;
            self.servers[server].heal(now);
            let moved = self.servers[server].down_until == u64::MAX;
            if !moved {
                self.servers[server].down_until = 0;
            }
        }
        self.calm_clusters();
        for node in 0..self.nodes.len() {
            let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
            for key in links {
                let hung = |link: &&mut Link| link.hung;
                let Some(link) = self.nodes[node].links.get_mut(&key).filter(hung) else {
                    continue;
                };
                match self.rng.one_in(2) {
                    true => link.hung = false,
                    // While its server answers others, only the network ends the connection.
                    false => self.lose(node, key)?,
                }
            }
        }
        Ok(())
    }

    /// Every client and connection moves once.
    pub(crate) fn sweep(&mut self) -> Result<(), String> {
        for client in 0..self.clients.len() {
            for _ in 0..4 {
                self.now.step += 1;
                self.client_event(client)?;
                self.count()?;
            }
        }
        for node in 0..self.nodes.len() {
            let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
            for key in links {
                // A blocking command may wait forever.
                if let Some(link) = self.nodes[node].links.get_mut(&key)
                    && self.servers[link.server].is_patient(link)
                {
                    link.hung = false;
                }
                for _ in 0..4 {
                    self.now.step += 1;
                    self.link_event(node, key)?;
                }
            }
            self.count()?;
            self.turn(node)?;
            self.count()?;
        }
        let ms = self.rng.between(0, 40);
        self.pass(ms);
        if self.now.ms > RUN_MS_MAX {
            return Err("the run does not end".into());
        }
        Ok(())
    }

    /// Runs until no client waits for a reply.
    pub(crate) fn settle(&mut self, when: &str) -> Result<(), String> {
        let missing = |it: &Self| it.clients.iter().map(|it| it.pending.len()).sum::<usize>();
        let (mut until, mut least) = (self.now.ms + CALM_MS, missing(self));
        while self.clients.iter().any(Client::is_waiting) {
            self.sweep()?;
            if missing(self) < least {
                (until, least) = (self.now.ms + CALM_MS, missing(self));
            }
            if self.now.ms > until {
                let links = self.nodes.iter().flat_map(|node| node.links.values());
                let busy: Vec<String> = links
                    .filter(|link| !link.is_idle())
                    .map(|link| {
                        format!(
                            "{:?}: {} bytes unread by the server, {} by the proxy (paused: {}, \
                             hung: {}, wants to write: {})",
                            link.key,
                            link.input.len(),
                            link.output.len(),
                            link.paused,
                            link.hung,
                            link.wants_write
                        )
                    })
                    .collect();
                let stuck: Vec<String> = (self.clients.iter())
                    .filter(|client| client.is_waiting())
                    .map(|client| {
                        format!(
                            "client {} waits for {} replies, first {:?}; {} bytes unread by the \
                             proxy (paused: {}), {} by the client",
                            client.id,
                            client.pending.len(),
                            client.pending.front(),
                            client.wire.len(),
                            client.paused,
                            client.kernel.len(),
                        )
                    })
                    .collect();
                return Err(format!("stuck in {when}:\n{}\n{busy:?}", stuck.join("\n")));
            }
        }
        Ok(())
    }

    pub(crate) fn wait(&mut self, ms: u64) -> Result<(), String> {
        let until = self.now.ms + ms;
        while self.now.ms < until {
            self.sweep()?;
            // Checks must be answered in time.
            let checks = self.plan.settings.check_ms > 0;
            self.pass(if checks { 30 } else { 100 });
        }
        Ok(())
    }

    /// All published messages and invalidations have arrived.
    fn check_messages(&self) -> Result<(), String> {
        for client in &self.clients {
            let there = !client.done && !client.hung_up && client.closing.is_none();
            if there && client.lost_dedicated.is_none() {
                client
                    .model
                    .has_all(&self.servers)
                    .map_err(|why| format!("client {}: {why}", client.id))?;
            }
            let model = &client.model;
            let idle = model.is_in_transaction() && !model.is_subscribed() && !model.tracking;
            let idle = idle && !model.unheard;
            if there && idle && self.plan.settings.pinned_idle_ms > 0 {
                return Err(format!("client {} sleeps in its transaction", client.id));
            }
            if there && client.lost_dedicated.is_some() {
                return Err(format!("client {} was not closed", client.id));
            }
        }
        Ok(())
    }

    /// Every connected client sends a last request; nothing fails, so every reply must be correct.
    fn last_requests(&mut self) {
        self.note(|| "-- last_requests".into());
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if !client.done && !client.eof && !client.hung_up && client.closing.is_none() {
                for line in client.script.last_requests() {
                    self.send(index, line);
                }
            }
        }
    }

    /// All clients leave, by themselves, because the machines drain, or because the registry is
    /// empty.
    fn end(&mut self) -> Result<(), String> {
        let how = *self
            .rng
            .pick(&[End::Clients, End::Clients, End::Drain, End::Registry]);
        self.note(|| "-- the end".into());
        match how {
            End::Registry => self.end_of_registry()?,
            End::Drain => {
                for node in &mut self.nodes {
                    node.draining = true;
                    node.machine.drain();
                }
            }
            End::Clients => {
                for client in &mut self.clients {
                    client.eof = true;
                }
            }
        }
        self.wait(3_000)?;
        self.settle("the end")?;
        for (worker, node) in self.nodes.iter().enumerate() {
            let clients = node.machine.clients();
            if clients > 0 {
                return Err(format!("worker {worker} still has {clients} clients"));
            }
            if how == End::Drain && !node.machine.is_drained() {
                return Err(format!("worker {worker} is not drained"));
            }
        }
        if self.plan.settings.check_ms > 0 && how == End::Clients {
            // Listed instances are checked forever.
            self.vanish();
        }
        self.wait(END_MS)?;
        for (worker, node) in self.nodes.iter().enumerate() {
            let machine = &node.machine;
            let (bytes, backends) = (machine.outbound_bytes(), machine.links());
            let deadline = machine.next_deadline();
            if bytes > 0 || backends > 0 || deadline.is_some() {
                return Err(format!(
                    "worker {worker} has {bytes} bytes and {backends} backends left, \
                     and wants to be woken: {deadline:?}, {:?}",
                    node.links
                ));
            }
        }
        self.check_quotas()
    }

    /// The registry removes everything: after the grace no client is connected to any instance.
    fn end_of_registry(&mut self) -> Result<(), String> {
        self.vanish();
        self.wait(self.plan.settings.offline_grace_ms + 3_000)?;
        for (worker, node) in self.nodes.iter().enumerate() {
            let stats = node.machine.collect_stats(&StatsRequest::Metrics);
            let clients: u32 = stats.instances.iter().map(|it| it.clients).sum();
            if clients > 0 || stats.backend_count > 0 {
                return Err(format!(
                    "worker {worker} has {clients} clients and {} backends that are gone",
                    stats.backend_count
                ));
            }
            // The default tenant is always listed: its clients stay logged in.
            let wanted = StatsRequest::Clients(usize::MAX, None);
            let stats = node.machine.collect_stats(&wanted);
            let default_tenant = self.plan.default_tenant.then(|| &self.tenants[0].key);
            let mut tenants = stats.clients.iter().filter_map(|it| it.tenant.as_ref());
            if let Some(tenant) = tenants.find(|it| Some(*it) != default_tenant) {
                return Err(format!(
                    "worker {worker} has clients of {tenant}, which is removed"
                ));
            }
        }
        for client in &mut self.clients {
            client.eof = true;
        }
        Ok(())
    }
}

impl Redis {
    /// Whether a client is or will be blocked on this connection.
    fn is_patient(&self, link: &Link) -> bool {
        let session = link.session.and_then(|id| self.sessions.get(&id));
        session.is_some_and(|it| {
            it.blocked.is_some() || (it.own || it.waited) && link.has_unread_output()
        }) || link.is_to_do(b"WAIT\r\n")
            || link.is_to_do(b"POP\r\n")
            || link.is_to_do(b"pop\r\n")
    }
}
