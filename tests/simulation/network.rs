//! The network: bytes move in pieces between clients, machines and servers, and a machine's turn
//! is done as the reactor does it, only that the phases come in any order.

use std::io::IoSlice;

use elika::proxy::{Action, BackendKey, ClientKey, ConnKey, Failure, Flow, SLICES_MAX};

use super::link::{GARBAGE, Link, Prospect};
use super::world::{Letter, Text, World, address};

impl World {
    /// A machine's turn.
    pub(crate) fn turn(&mut self, node: usize) -> Result<(), String> {
        let now = self.millis();
        let mut phases = [0, 1, 2, 3, 1];
        if self.rng.one_in(2) {
            let (a, b) = (self.rng.below(5), self.rng.below(5));
            phases.swap(a, b);
        }
        self.post(node);
        for phase in phases {
            match phase {
                0 => self.nodes[node].machine.resume(now),
                1 => self.actions(node)?,
                2 => {
                    self.expect_timeouts(node);
                    self.nodes[node].machine.tick(now);
                }
                _ => self.flush(node),
            }
        }
        Ok(())
    }

    /// Letters of other workers.
    fn post(&mut self, node: usize) {
        let now = self.now.ms;
        let letters = std::mem::take(&mut self.letters);
        let (due, later) = letters
            .into_iter()
            .partition(|letter: &Letter| letter.to == node && letter.due <= now);
        self.letters = later;
        for Letter {
            from, asker, text, ..
        } in due
        {
            match text {
                Text::Question(question) => {
                    let answer = self.nodes[node].machine.peer_asked(question);
                    self.send_letter(node, from, asker, Text::Answer(answer));
                }
                Text::Answer(answer) => self.nodes[node].machine.peer_told(asker, answer),
            }
        }
    }

    fn send_letter(&mut self, from: usize, to: usize, asker: ClientKey, text: Text) {
        let due = self.now.ms + self.rng.between(0, 20);
        self.letters.push(Letter {
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
                    }
                }
                Action::Close(ConnKey::Backend(key)) => {
                    if let Some(link) = self.nodes[node].links.remove(&key) {
                        self.given_up(&link)?;
                    }
                }
                Action::Resume(ConnKey::Client(key)) => {
                    if let Some(client) = self.nodes[node].clients.get(&key) {
                        self.clients[*client].paused = false;
                    }
                }
                Action::Resume(ConnKey::Backend(key)) => {
                    if let Some(link) = self.nodes[node].links.get_mut(&key) {
                        link.paused = false;
                    }
                }
                Action::Ask(asker, question) => {
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.send_letter(node, to, asker, Text::Question(question.clone()));
                    }
                }
                Action::Report(_) => {}
            }
        }
        Ok(())
    }

    fn connect(
        &mut self,
        node: usize,
        key: BackendKey,
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
        let mut link = Link::new(key, server, prospect, due, self.now.ms);
        link.input_max = match self.calm {
            false => *self.rng.pick(&[300, 300, 2_000, 20_000, 200_000, 2 << 20]),
            true => 1 << 20,
        };
        self.nodes[node].links.insert(key, link);
        Ok(())
    }

    /// The machine may give up what is silent for too long.
    fn expect_timeouts(&mut self, node: usize) {
        let settings = &self.plan.settings;
        let reply_ms = settings.backend_reply_ms;
        for link in self.nodes[node].links.values_mut() {
            // The machine counts from when it decided to connect.
            let silent = self.now.ms - link.heard + 1_000;
            let waits = link.wants_write || !link.is_idle();
            // The deadline of a handshake is for all of it, however much is heard meanwhile.
            let age = self.now.ms.saturating_sub(link.due);
            let begins = (settings.backend_connect_ms.saturating_sub(1_000)
                ..=settings.backend_connect_ms + 1_000)
                .contains(&age);
            if waits && begins
                || reply_ms > 0 && silent >= reply_ms && waits
                || (waits || link.hung || link.session.is_none())
                    && silent >= settings.backend_connect_ms
            {
                link.late = true;
                self.servers[link.server].failed(self.now);
            }
        }
    }

    /// The machine closes a backend connection: it must have a reason.
    fn given_up(&mut self, link: &Link) -> Result<(), String> {
        let refused = link.session.as_ref().is_some_and(|session| session.refused);
        let unlisted = self.servers[link.server].unlisted;
        if link.late || refused || link.garbage || link.dying || unlisted {
            let now = self.now;
            self.servers[link.server].failed(now);
            return Ok(());
        }
        // One that was opened before a refusal, or before its server was taken off the list, is
        // closed once it owes nothing. So is one that is not used, and an old one without a login.
        let server = &self.servers[link.server];
        let outdated = (server.changes.iter().map(|at| at.ms))
            .chain(server.unlisted_at)
            .any(|at| at >= link.due);
        let silent = self.now.ms - link.heard >= 30_000;
        let old = self.now.ms - link.due >= 60_000;
        if link.is_idle() && (outdated || silent || old) {
            return Ok(());
        }
        Err(format!("a healthy connection was closed: {link:?}"))
    }

    fn flush(&mut self, node: usize) {
        while let Some(key) = self.nodes[node].machine.next_dirty() {
            self.write(node, key);
        }
    }

    /// The kernel takes some of what a connection has to send.
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
                ConnKey::Backend(key) => (self.nodes[node].links.get(&key))
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
                ConnKey::Backend(key) => {
                    if let Some(link) = self.nodes[node].links.get_mut(&key) {
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

    /// Something happens on a backend connection.
    pub(crate) fn link_event(&mut self, node: usize, key: BackendKey) -> Result<(), String> {
        let Some(link) = self.nodes[node].links.get(&key) else {
            return Ok(());
        };
        if link.session.is_none() {
            return self.opening_event(node, key);
        }
        let faults = self.plan.faults;
        if !self.calm && self.rng.permille(faults.reset) {
            if self.rng.one_in(2) {
                // What was on its way may still arrive.
                self.deliver_replies(node, key)?;
            }
            return self.lose(node, key);
        }
        let moment = self.now;
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        if !self.calm && self.rng.permille(faults.hang) {
            link.hung = true;
            self.note(|| format!("{key:?} hangs"));
            return Ok(());
        }
        if !self.calm && !link.dying && self.rng.permille(faults.garbage) {
            // A server that goes on as if nothing had happened must not be believed either.
            (link.garbage, link.dying) = (true, self.rng.one_in(2));
            let garbage: &&[u8] = self.rng.pick(GARBAGE);
            link.output.extend_from_slice(garbage);
            self.note(|| format!("{key:?} sends garbage"));
        }
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        match self.rng.below(4) {
            0 if link.wants_write => self.write(node, ConnKey::Backend(key)),
            0 | 1 => {
                let redis = &mut self.servers[link.server];
                link.serve(redis, moment, self.plan.delay_ms, &mut self.rng)?;
            }
            _ => self.deliver_replies(node, key)?,
        }
        Ok(())
    }

    fn opening_event(&mut self, node: usize, key: BackendKey) -> Result<(), String> {
        let now = self.millis();
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        if link.due > now.0 {
            return Ok(());
        }
        let server = &mut self.servers[link.server];
        match link.prospect {
            Prospect::Silence => {}
            Prospect::Refused => {
                server.failed(self.now);
                self.nodes[node].links.remove(&key);
                self.note(|| format!("{key:?} is refused"));
                let failure = Failure::Unreachable("connection refused".into());
                self.nodes[node].machine.backend_failed(key, &failure, now);
            }
            Prospect::Open => {
                link.session = Some(server.accept());
                if !self.calm && self.rng.permille(self.plan.faults.full) {
                    link.output = b"-ERR max number of clients reached\r\n".to_vec();
                    link.dying = true;
                    server.failed(self.now);
                    self.note(|| format!("{key:?} finds the server full"));
                }
                self.nodes[node].machine.backend_connected(key, now);
            }
        }
        Ok(())
    }

    fn deliver_replies(&mut self, node: usize, key: BackendKey) -> Result<(), String> {
        let now = self.millis();
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        link.release(now.0, self.plan.pushes, &mut self.rng);
        if link.paused || link.hung && link.output.is_empty() {
            return Ok(());
        }
        if link.output.is_empty() {
            return if link.dying {
                self.lose(node, key)
            } else {
                Ok(())
            };
        }
        let n = self.rng.piece(link.output.len().min(128 * 1024));
        let bytes: Vec<u8> = link.output.drain(..n).collect();
        link.heard = now.0;
        let flow = self.nodes[node].machine.backend_bytes(key, &bytes, now);
        if let Some(link) = self.nodes[node].links.get_mut(&key) {
            link.paused = flow == Flow::Pause;
        }
        self.maybe_turn(node)
    }

    /// A backend connection breaks.
    pub(crate) fn lose(&mut self, node: usize, key: BackendKey) -> Result<(), String> {
        let now = self.millis();
        let Some(link) = self.nodes[node].links.remove(&key) else {
            return Ok(());
        };
        self.note(|| format!("{key:?} breaks"));
        self.servers[link.server].failed(self.now);
        self.nodes[node]
            .machine
            .backend_failed(key, &Failure::Lost, now);
        self.maybe_turn(node)
    }

    /// Sometimes several things happen before a machine gets its turn.
    pub(crate) fn maybe_turn(&mut self, node: usize) -> Result<(), String> {
        if self.rng.one_in(2) {
            return self.turn(node);
        }
        Ok(())
    }
}
