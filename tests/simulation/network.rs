//! The network: bytes move in pieces between clients, machines and servers. A machine's turn is
//! that of the reactor, except that its phases come in any order.

use std::io::IoSlice;

use elika::proxy::{Action, ClientKey, ConnKey, LinkKey, SLICES_MAX};

use super::link::{Link, Prospect};
use super::snapshot::address;
use super::world::{Message, Text, World};

/// Bytes that a server may leave unread before nothing more is sent to it.
const BACKEND_OUTBOUND_BYTES_MAX: usize = 1 << 20;

/// The largest value that clients set, bytes.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The largest reply of the proxy to one client in a turn, bytes.
const OWN_BYTES_MAX: usize = 64 * 1024;

impl World {
    /// A machine's turn.
    pub(crate) fn turn(&mut self, node: usize) -> Result<(), String> {
        let mut phases = [0, 1, 2, 3, 1];
        if self.rng.one_in(2) {
            let (a, b) = (self.rng.below(5), self.rng.below(5));
            phases.swap(a, b);
        }
        self.nodes[node].turns += 1;
        self.post(node);
        self.check_news(node);
        for phase in phases {
            match phase {
                0 => self.nodes[node].machine.resume(),
                1 => self.actions(node)?,
                2 => {
                    self.expect_timeouts(node);
                    self.nodes[node].machine.tick();
                }
                _ => self.flush(node),
            }
            // Connections that are opened and closed in one turn are seen too.
            self.count()?;
        }
        self.check_memory(node)?;
        self.check_blocked(node)
    }

    /// Unsent bytes stay within the limits, however slowly they are read.
    fn check_memory(&self, node: usize) -> Result<(), String> {
        let node = &self.nodes[node];
        let to_clients = self.plan.settings.worker_outbound_bytes_max;
        // When a server has not read this much, a client may still send one value.
        let to_servers = node.links.len() * (BACKEND_OUTBOUND_BYTES_MAX + VALUE_BYTES_MAX);
        // Replies of the proxy are counted when the next reply arrives.
        let own = node.clients.len() * OWN_BYTES_MAX;
        match node.machine.outbound_bytes() {
            bytes if bytes > to_clients + to_servers + own => Err(format!(
                "{bytes} bytes wait, of {to_clients}, {to_servers} and {own}"
            )),
            _ => Ok(()),
        }
    }

    /// Messages of other workers.
    fn post(&mut self, node: usize) {
        let now = self.now.ms;
        let letters = std::mem::take(&mut self.letters);
        let (due, later) = letters
            .into_iter()
            .partition(|letter: &Message| letter.to == node && letter.due <= now);
        self.letters = later;
        for Message {
            from, asker, text, ..
        } in due
        {
            match text {
                Text::Question(question) => {
                    let answer = self.nodes[node].machine.question_from_worker(question);
                    self.send_message(node, from, asker, Text::Answer(answer));
                }
                Text::Answer(answer) => self.nodes[node].machine.answer_from_worker(asker, answer),
            }
        }
    }

    fn send_message(&mut self, from: usize, to: usize, asker: ClientKey, text: Text) {
        let due = self.now.ms + self.rng.between(0, 20);
        self.letters.push(Message {
            due,
            to,
            from,
            asker,
            text,
        });
    }

    pub(crate) fn actions(&mut self, node: usize) -> Result<(), String> {
        while let Some(action) = self.nodes[node].machine.next_action() {
            self.note(|| format!("worker {node}: {action:?}"));
            match action {
                Action::Connect(key, to) => self.connect(node, key, to)?,
                Action::Close(ConnKey::Client(key)) => {
                    if let Some(client) = self.nodes[node].clients.remove(&key) {
                        self.clients[client].hung_up = true;
                        self.clients[client].hung_up_at = self.now;
                        self.clients[client].was_blocked = self.is_blocked(client);
                    }
                }
                Action::Close(ConnKey::Link(key)) => {
                    if let Some(link) = self.nodes[node].links.remove(&key) {
                        self.given_up(node, link)?;
                    }
                }
                Action::Resume(ConnKey::Client(key)) => {
                    if let Some(client) = self.nodes[node].clients.get(&key) {
                        self.clients[*client].paused = false;
                    }
                }
                Action::Resume(ConnKey::Link(key)) => {
                    if let Some(link) = self.nodes[node].links.get_mut(&key) {
                        link.paused = false;
                    }
                }
                Action::Ask(asker, question) => {
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.send_message(node, to, asker, Text::Question(question.clone()));
                    }
                }
                Action::HealthEvent(report) => self.check_report(node, report)?,
                Action::Notice(notice) => self.check_ceiling(node, &notice)?,
            }
        }
        Ok(())
    }

    fn connect(
        &mut self,
        node: usize,
        key: LinkKey,
        to: std::net::SocketAddr,
    ) -> Result<(), String> {
        let server = (0..self.servers.len())
            .find(|server| address(*server) == to)
            .ok_or_else(|| format!("a connection to nowhere: {to}"))?;
        let faults = self.plan.faults;
        let down = self.servers[server].down_until > self.now.ms;
        let prospect = match () {
            () if !self.calm && self.rng.permille(faults.blackhole) => Prospect::Silence,
            () if down || !self.calm && self.rng.permille(faults.refuse) => Prospect::Refused,
            () => Prospect::Open,
        };
        let due = self.now.ms + *self.rng.pick(&[0, 0, 1, 5, 40]);
        let mut link = Link::new(key, server, prospect, due, self.now);
        link.input_max = match self.calm {
            false => *self.rng.pick(&[300, 300, 2_000, 20_000, 200_000, 2 << 20]),
            true => 1 << 20,
        };
        self.nodes[node].links.insert(key, link);
        Ok(())
    }

    fn flush(&mut self, node: usize) {
        while let Some(key) = self.nodes[node].machine.next_dirty() {
            self.write(node, key);
        }
    }

    /// The kernel accepts some of the bytes that a connection has to send.
    pub(crate) fn write(&mut self, node: usize, key: ConnKey) {
        loop {
            let machine = &mut self.nodes[node].machine;
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = machine.outbound(key, &mut slices);
            let mut bytes = Vec::new();
            for slice in &slices[..filled] {
                bytes.extend_from_slice(slice);
            }
            let all = bytes.len();
            let room = match key {
                ConnKey::Client(key) => (self.nodes[node].clients.get(&key))
                    .map(|client| &self.clients[*client])
                    .map_or(0, |client| client.room.saturating_sub(client.kernel.len())),
                ConnKey::Link(key) => (self.nodes[node].links.get(&key))
                    .map_or(0, |link| link.input_max.saturating_sub(link.input.len())),
            };
            let mut taken = bytes.len().min(room);
            if self.rng.one_in(6) {
                taken = self.rng.below(taken + 1);
            }
            bytes.truncate(taken);
            let more = self.nodes[node].machine.sent(key, taken);
            match key {
                ConnKey::Client(key) => {
                    if let Some(client) = self.nodes[node].clients.get(&key) {
                        self.clients[*client].kernel.extend(bytes);
                        self.clients[*client].wants_write = more;
                    }
                }
                ConnKey::Link(key) => {
                    if let Some(link) = self.nodes[node].links.get_mut(&key) {
                        self.servers[link.server].bytes += bytes.len() as u64;
                        link.input.extend(bytes);
                        link.wants_write = more;
                    }
                }
            }
            if !more || taken < all {
                return;
            }
        }
    }

    /// Sometimes several events happen before a machine's turn.
    pub(crate) fn maybe_turn(&mut self, node: usize) -> Result<(), String> {
        if self.rng.one_in(2) {
            return self.turn(node);
        }
        Ok(())
    }
}
