//! A phase of the calm: a user with many clients sends CLIENT LIST again and again. Each worker
//! visits a bounded number of clients per turn for one list, and tenants take turns.

use elika::proxy::{ConnKey, LinkKey};

use super::client::Client;
use super::redis::MAY_NOT_LIST;
use super::world::World;

/// Clients that are visited in one turn, for one list.
const SLICE: u64 = 256;

/// Clients that send lists, and lists of each.
const ASKERS: usize = 3;
const QUESTIONS: usize = 8;

/// The most lists of one tenant that are answered while another tenant sends one: the current one,
/// those whose turns come between, and some while the reply is in transit.
const OTHERS_MAX: usize = 5;

/// All lists are answered within this time, virtual ms.
const ANSWERED_MS: u64 = 60_000;

/// How long the proxy caches permissions, ms.
const PERMITTED_MS: u64 = 1_000;

/// The least buffer limit for lists, bytes.
const ROOM_BYTES: usize = 3 << 20;

impl World {
    /// Runs the phase, see the module.
    pub(crate) fn run_client_list_phase(&mut self) -> Result<(), String> {
        if !self.may_be_full() {
            return Ok(());
        }
        self.note(|| "-- questions".into());
        let mut crowd = Vec::new();
        for _ in 0..self.rng.between(450, 700) {
            let client = self.new_client();
            self.touch(client);
            crowd.push(client);
        }
        for tenant in 1..self.tenants.len() {
            if self.takes_logins(tenant) {
                let (client, generation) = (self.new_client(), self.generation(tenant, "ann"));
                self.log_in(client, tenant, &format!("g{generation}:{client}-0"));
                crowd.push(client);
            }
        }
        self.settle("the calm with many clients")?;
        let askers: Vec<usize> = crowd[..ASKERS].to_vec();
        let lists = |client: &&usize| self.clients[**client].asks_another_worker();
        let others: Vec<usize> = self.free().iter().filter(lists).copied().collect();
        // Servers are asked for the permission first; the second time it is cached, if no other
        // permission of the user was cached before it: they expire together.
        self.wait(PERMITTED_MS)?;
        for &client in &others {
            let line = self.clients[client].script.question(false);
            self.send(client, line);
        }
        self.settle("the calm before questions")?;
        let from = self.turns();
        self.shown = 0;
        for &client in &askers {
            for nth in 0..QUESTIONS {
                let line = self.clients[client].script.question(nth == 1);
                self.send(client, line);
            }
            self.deliver_all(client)?;
        }
        let before = self.left(&askers);
        let unavailable = |it: &Self| -> u32 {
            let all = askers.iter().map(|&asker| it.clients[asker].unavailable);
            all.sum()
        };
        let unavailable_before = unavailable(self);
        for &client in &others {
            let line = self.clients[client].script.question(false);
            self.send(client, line);
            self.deliver_all(client)?;
        }
        let (mut waiting, until) = (others, self.now.ms + ANSWERED_MS);
        while askers.iter().any(|&it| self.clients[it].is_waiting()) || !waiting.is_empty() {
            if self.now.ms > until {
                let all = askers.iter().chain(&waiting).map(|&it| &self.clients[it]);
                let all: Vec<_> = all.map(|it| (it.id, it.pending.len(), it.paused)).collect();
                return Err(format!("questions about clients are not answered: {all:?}"));
            }
            self.turns_of_all()?;
            for &client in askers.iter().chain(&waiting) {
                self.deliver_all(client)?;
                self.read_replies(client)?;
                while !self.clients[client].kernel.is_empty() {
                    self.read_replies(client)?;
                }
                let it = &self.clients[client];
                if it.wants_write && !it.hung_up {
                    self.write(it.worker, ConnKey::Client(it.key));
                }
            }
            self.check_slices(from)?;
            let done = |client: &usize| !self.clients[*client].is_waiting();
            if self.nodes.len() == 1 && waiting.iter().any(done) {
                // An error takes no turn.
                let errors = (unavailable(self) - unavailable_before) as usize;
                let answered = before - self.left(&askers) - errors;
                if answered > OTHERS_MAX * waiting.len() {
                    return Err(format!(
                        "{answered} questions of one tenant were answered before one of another"
                    ));
                }
            }
            waiting.retain(|client| !done(client));
            self.pass(1);
        }
        self.leave(&crowd)
    }

    /// Servers reply, and each machine has a turn.
    fn turns_of_all(&mut self) -> Result<(), String> {
        for node in 0..self.nodes.len() {
            let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
            for key in links {
                self.link_event(node, key)?;
            }
            self.turn(node)?;
        }
        Ok(())
    }

    /// Whether there is room for many further clients and their requests.
    fn may_be_full(&self) -> bool {
        let settings = &self.plan.settings;
        let limits = self.plan.limited || settings.client_idle_ms > 0;
        let bytes = (settings.worker_outbound_bytes_max).min(settings.worker_buffer_bytes_max);
        let first = &self.tenants[0];
        let listed = self
            .snapshots
            .last()
            .is_some_and(|it| it.serves(&first.key));
        let open = self.plan.default_tenant && first.home.open && !settings.close_on_loss;
        open && listed && !limits && bytes >= ROOM_BYTES
    }

    fn turns(&self) -> u64 {
        self.nodes.iter().map(|node| node.turns).sum()
    }

    /// Lists that wait for their replies.
    fn left(&self, askers: &[usize]) -> usize {
        askers
            .iter()
            .map(|&it| self.clients[it].pending.len())
            .sum()
    }

    fn deliver_all(&mut self, client: usize) -> Result<(), String> {
        while !self.clients[client].wire.is_empty() && !self.clients[client].paused {
            self.deliver_requests(client)?;
        }
        Ok(())
    }

    /// No more clients were listed than may be visited in the turns since then: each worker starts
    /// one list per turn, and all workers search for it.
    fn check_slices(&self, from: u64) -> Result<(), String> {
        let turns = self.turns() - from;
        let most = turns * SLICE * self.nodes.len() as u64;
        match self.shown > most {
            true => Err(format!(
                "{} clients were shown in {turns} turns",
                self.shown
            )),
            false => Ok(()),
        }
    }
}

impl Client {
    /// Whether the client is of another tenant than the first, and may send CLIENT LIST.
    fn asks_another_worker(&self) -> bool {
        let may = self.model.user() != MAY_NOT_LIST;
        may && self
            .model
            .login
            .as_ref()
            .is_some_and(|(tenant, _)| *tenant > 0)
    }
}
