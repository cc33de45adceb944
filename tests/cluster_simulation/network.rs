//! The network: bytes move in pieces between clients, machines and nodes.

use std::io::IoSlice;
use std::net::SocketAddr;

use elika::proxy::{Action, ConnKey, Failure, Flow, LinkKey, SLICES_MAX};

use super::link::Link;
use super::wire;
use super::world::World;

impl World {
    /// A machine's turn, as the reactor runs it.
    pub(crate) fn turn(&mut self, worker: usize) -> Result<(), String> {
        self.workers[worker].machine.resume();
        self.actions(worker)?;
        self.workers[worker].machine.tick();
        self.actions(worker)?;
        while let Some(key) = self.workers[worker].machine.next_dirty() {
            self.write(worker, key);
        }
        self.actions(worker)
    }

    fn actions(&mut self, worker: usize) -> Result<(), String> {
        while let Some(action) = self.workers[worker].machine.next_action() {
            self.note(|| format!("worker {worker}: {action:?}"));
            match action {
                Action::Connect(key, to) => self.connect(worker, key, to)?,
                Action::Close(ConnKey::Client(key)) => {
                    if let Some(client) = self.workers[worker].clients.remove(&key) {
                        self.clients[client].hung_up = true;
                        self.check_closed(client)?;
                    }
                }
                Action::Close(ConnKey::Link(key)) => {
                    if let Some(link) = self.workers[worker].links.remove(&key)
                        && let Some(session) = link.session
                    {
                        self.clusters[link.cluster].close(link.node, session);
                    }
                }
                Action::Resume(ConnKey::Client(key)) => {
                    if let Some(client) = self.workers[worker].clients.get(&key) {
                        self.clients[*client].paused = false;
                    }
                }
                Action::Resume(ConnKey::Link(key)) => {
                    if let Some(link) = self.workers[worker].links.get_mut(&key) {
                        link.paused = false;
                    }
                }
                Action::Ask(asker, question) => {
                    // The other worker answers at once.
                    for other in (0..self.workers.len()).filter(|other| *other != worker) {
                        let other = &mut self.workers[other].machine;
                        let answer = other.question_from_worker(question.clone());
                        self.workers[worker]
                            .machine
                            .answer_from_worker(asker, answer);
                    }
                }
                Action::HealthEvent(_) | Action::Notice(_) => {}
            }
        }
        Ok(())
    }

    fn connect(&mut self, worker: usize, key: LinkKey, to: SocketAddr) -> Result<(), String> {
        let clusters = self.clusters.iter().enumerate();
        let place = clusters
            .filter_map(|(index, cluster)| Some((index, cluster.node_at(to)?)))
            .next()
            .ok_or_else(|| format!("a connection to nowhere: {to}"))?;
        let opens_at = self.now + self.rng.between(0, self.plan.delay_ms);
        let delay_ms = self.rng.between(0, self.plan.delay_ms);
        let mut link = Link::new(place, opens_at, delay_ms);
        link.room = *self.rng.pick(&[300, 1 << 20, 1 << 20, 1 << 20]);
        self.workers[worker].links.insert(key, link);
        Ok(())
    }

    /// The kernel accepts some of the bytes that a connection has to send.
    pub(crate) fn write(&mut self, worker: usize, key: ConnKey) {
        loop {
            let at = &mut self.workers[worker];
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = at.machine.outbound(key, &mut slices);
            let mut bytes = Vec::new();
            for slice in &slices[..filled] {
                bytes.extend_from_slice(slice);
            }
            let all = bytes.len();
            let room = match key {
                ConnKey::Client(key) => (at.clients.get(&key))
                    .map(|client| &self.clients[*client])
                    .map_or(0, |it| it.room.saturating_sub(it.from_proxy.len())),
                ConnKey::Link(key) => (at.links.get(&key))
                    .map_or(0, |link| link.room.saturating_sub(link.to_node.len())),
            };
            let mut taken = all.min(room);
            if self.rng.one_in(8) {
                taken = self.rng.below(taken + 1);
            }
            bytes.truncate(taken);
            let more = at.machine.sent(key, taken);
            match key {
                ConnKey::Client(key) => {
                    if let Some(client) = at.clients.get(&key) {
                        let client = &mut self.clients[*client];
                        client.from_proxy.push(bytes, self.now, &mut self.rng);
                        client.wants_write = more;
                    }
                }
                ConnKey::Link(key) => {
                    if let Some(link) = at.links.get_mut(&key) {
                        link.to_node.push(bytes, self.now, &mut self.rng);
                        link.wants_write = more;
                    }
                }
            }
            if !more || taken < all {
                return;
            }
        }
    }

    /// What can happen to a backend connection.
    pub(crate) fn link_event(&mut self, worker: usize, key: LinkKey) -> Result<(), String> {
        let Some(link) = self.workers[worker].links.get_mut(&key) else {
            return Ok(());
        };
        if link.session.is_none() {
            return self.open(worker, key);
        }
        if !self.calm && self.plan.faults.cut && !link.is_idle() && self.rng.permille(7) {
            return self.lose(worker, key);
        }
        self.serve(worker, key)?;
        self.deliver(worker, key);
        let wants_write = { self.workers[worker].links.get(&key) }.is_some_and(|it| it.wants_write);
        if wants_write {
            self.write(worker, ConnKey::Link(key));
        }
        Ok(())
    }

    fn open(&mut self, worker: usize, key: LinkKey) -> Result<(), String> {
        let Some(link) = self.workers[worker].links.get_mut(&key) else {
            return Ok(());
        };
        if link.opens_at > self.now {
            return Ok(());
        }
        link.session = self.clusters[link.cluster].accept(link.node);
        if link.session.is_some() {
            self.workers[worker].machine.link_connected(key);
            return Ok(());
        }
        self.losses[link.cluster].push((self.now, link.node));
        self.workers[worker].links.remove(&key);
        self.note(|| format!("{key:?} is refused"));
        let failure = Failure::Unreachable("connection refused".into());
        self.workers[worker].machine.link_failed(key, &failure);
        self.actions(worker)
    }

    /// The node executes requests that have arrived.
    fn serve(&mut self, worker: usize, key: LinkKey) -> Result<(), String> {
        let Some(link) = self.workers[worker].links.get_mut(&key) else {
            return Ok(());
        };
        let (cluster, Some(id)) = (&mut self.clusters[link.cluster], link.session) else {
            return Ok(());
        };
        if cluster.is_silent(link.node) {
            return Ok(());
        }
        let bytes = link.to_node.take(self.now, &mut self.rng);
        link.buffer.extend(bytes);
        let mut left = match self.rng.one_in(3) {
            true => 1,
            false => usize::MAX,
        };
        let blocked = |cluster: &super::cluster::Cluster| {
            let session = cluster.nodes[link.node].sessions.get(&id);
            session.is_none_or(|session| session.is_blocked())
        };
        let mut at = 0;
        let mut shown = Vec::new();
        while left > 0
            && !blocked(cluster)
            && let Some((len, args)) = wire::request(&link.buffer[at..])?
            && !cluster.pauses(link.node, &args)
        {
            (at, left) = (at + len, left - 1);
            shown.push(args.clone());
            cluster.execute(link.node, id, &args)?;
        }
        link.buffer.drain(..at);
        if let Some(session) = cluster.nodes[link.node].sessions.get_mut(&id) {
            let output = std::mem::take(&mut session.output);
            let reply = output.clone();
            link.from_node.push(output, self.now, &mut self.rng);
            let place = (link.cluster, link.node);
            let asked = shown
                .iter()
                .any(|args| args[0] == b"clusteR" && args[1] == b"SLOTS");
            if asked && link.is_learned(&reply) {
                self.known[worker][link.cluster].get_or_insert(self.now);
            }
            if !shown.is_empty() || !reply.is_empty() {
                self.note(|| {
                    let shown: Vec<String> = { shown.iter() }
                        .map(|args| String::from_utf8_lossy(&args.join(&b' ')).into_owned())
                        .collect();
                    let reply = String::from_utf8_lossy(&reply);
                    format!("{key:?} at {place:?}: {shown:?} -> {reply:?}")
                });
            }
        }
        Ok(())
    }

    fn deliver(&mut self, worker: usize, key: LinkKey) {
        let Some(link) = self.workers[worker].links.get_mut(&key) else {
            return;
        };
        if link.paused {
            return;
        }
        let bytes = link.from_node.take(self.now, &mut self.rng);
        if bytes.is_empty() {
            return;
        }
        let flow = self.workers[worker].machine.link_bytes(key, &bytes);
        if let Some(link) = self.workers[worker].links.get_mut(&key) {
            link.paused = flow == Flow::Pause;
        }
    }

    /// A backend connection ends. Some bytes may still arrive before.
    pub(crate) fn lose(&mut self, worker: usize, key: LinkKey) -> Result<(), String> {
        if self.rng.one_in(2) {
            self.deliver(worker, key);
        }
        self.actions(worker)?;
        let Some(link) = self.workers[worker].links.remove(&key) else {
            return Ok(());
        };
        self.note(|| format!("{key:?} to node {} breaks", link.node));
        self.losses[link.cluster].push((self.now, link.node));
        if let Some(session) = link.session {
            let node = &mut self.clusters[link.cluster].nodes[link.node];
            node.sessions.remove(&session);
        }
        self.workers[worker]
            .machine
            .link_failed(key, &Failure::Lost);
        self.actions(worker)
    }

    /// All connections to a node end.
    pub(crate) fn lose_node(&mut self, cluster: usize, node: usize) -> Result<(), String> {
        self.note(|| format!("node {node} of cluster {cluster} ends"));
        for worker in 0..self.workers.len() {
            let links = self.workers[worker].links.iter();
            let its = links.filter(|(_, link)| (link.cluster, link.node) == (cluster, node));
            let its = its.filter(|(_, link)| link.session.is_some());
            let its: Vec<LinkKey> = its.map(|(key, _)| *key).collect();
            for key in its {
                self.lose(worker, key)?;
            }
        }
        Ok(())
    }
}
