//! Backend connections: how they are established, used and closed.

use elika::proxy::{ConnKey, Failure, Flow, LinkKey};

use super::client::Client;
use super::link::{GARBAGE, Link, Prospect};
use super::redis::SEQUENCE;
use super::world::World;

impl World {
    /// The machine may close connections that are silent for too long.
    pub(crate) fn expect_timeouts(&mut self, node: usize) {
        let settings = &self.plan.settings;
        let (reply_ms, connect_ms) = (settings.backend_reply_ms, settings.backend_connect_ms);
        let links = &mut self.nodes[node].links;
        // The last time at which each server sent anything, on any connection.
        let mut heard = vec![0; self.servers.len()];
        for link in links.values().filter(|link| link.answered) {
            heard[link.server] = link.heard.max(heard[link.server]);
        }
        for link in links.values_mut() {
            // The machine counts from its decision to connect.
            let silent = self.now.ms - link.heard + 1_000;
            let quiet = self.now.ms - heard[link.server];
            let waits = link.wants_write || !link.is_idle() || link.hung;
            // A handshake has one deadline, regardless of the bytes that arrive.
            let age = self.now.ms.saturating_sub(link.due) + 1_000;
            let begins = (reply_ms..=reply_ms + 2_000).contains(&age);
            link.overdue |= reply_ms > 0 && waits && silent >= reply_ms;
            let late = match link.session {
                None => silent >= connect_ms,
                Some(_) if reply_ms == 0 => false,
                Some(_) => waits && (begins || silent >= reply_ms && quiet >= reply_ms),
            };
            if late {
                link.late = true;
                self.servers[link.server].failed(self.now);
            }
        }
    }

    /// An event on a backend connection.
    pub(crate) fn link_event(&mut self, node: usize, key: LinkKey) -> Result<(), String> {
        let Some(link) = self.nodes[node].links.get(&key) else {
            return Ok(());
        };
        if link.session.is_none() {
            return self.opening_event(node, key);
        }
        let faults = self.plan.faults;
        if !self.calm && self.rng.permille(faults.reset) {
            if self.rng.one_in(2) {
                // Bytes in transit may still arrive.
                self.deliver_replies(node, key)?;
            }
            return self.lose(node, key);
        }
        let moment = self.now;
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        let server = link.server;
        if !self.calm && self.rng.permille(faults.hang) {
            link.hung = true;
            self.note(|| format!("{key:?} hangs"));
            return Ok(());
        }
        if !self.calm && !link.dying && self.rng.permille(faults.garbage) {
            // After invalid bytes, further valid bytes must be ignored too.
            (link.garbage, link.dying) = (true, self.rng.one_in(2));
            let garbage: &&[u8] = self.rng.pick(GARBAGE);
            link.output.extend_from_slice(garbage);
            self.note(|| format!("{key:?} sends garbage"));
        }
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        match self.rng.below(4) {
            0 if link.wants_write => self.write(node, ConnKey::Link(key)),
            0 | 1 => {
                let redis = &mut self.servers[link.server];
                link.serve(redis, moment, self.plan.delay_ms, &mut self.rng)?;
                self.collect(server);
            }
            _ => self.deliver_replies(node, key)?,
        }
        Ok(())
    }

    fn opening_event(&mut self, node: usize, key: LinkKey) -> Result<(), String> {
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        if link.due > self.now.ms {
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
                self.nodes[node].machine.link_failed(key, &failure);
            }
            Prospect::Open => {
                link.session = Some(server.accept());
                if !self.calm && self.rng.permille(self.plan.faults.full) {
                    link.output = b"-ERR max number of clients reached\r\n".to_vec();
                    link.dying = true;
                    server.failed(self.now);
                    self.note(|| format!("{key:?} finds the server full"));
                }
                self.nodes[node].machine.link_connected(key);
            }
        }
        Ok(())
    }

    fn deliver_replies(&mut self, node: usize, key: LinkKey) -> Result<(), String> {
        let Some(link) = self.nodes[node].links.get_mut(&key) else {
            return Ok(());
        };
        link.release(
            &mut self.servers[link.server],
            self.now.ms,
            self.plan.pushes,
            &mut self.rng,
        );
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
        (link.heard, link.answered) = (self.now.ms, true);
        if link.garbage {
            // A client may hear that the connection is lost before it is closed.
            self.servers[link.server].failed(self.now);
        }
        self.servers[link.server].bytes += bytes.len() as u64;
        self.before(node, bytes.len(), None);
        let flow = self.nodes[node].machine.link_bytes(key, &bytes);
        if let Some(link) = self.nodes[node].links.get_mut(&key) {
            link.paused = flow == Flow::Pause;
        }
        self.after(node)?;
        self.maybe_turn(node)
    }

    /// A server has sent something on one of its connections.
    fn collect(&mut self, server: usize) {
        for node in &mut self.nodes {
            for link in node.links.values_mut().filter(|link| link.server == server) {
                let redis = &mut self.servers[server];
                link.collect(redis, self.now.ms, self.plan.delay_ms, &mut self.rng);
            }
        }
    }

    /// A backend connection is lost.
    pub(crate) fn lose(&mut self, node: usize, key: LinkKey) -> Result<(), String> {
        // The machine may have closed it already.
        self.actions(node)?;
        let Some(link) = self.nodes[node].links.remove(&key) else {
            return Ok(());
        };
        self.note(|| format!("{key:?} breaks"));
        self.servers[link.server].failed(self.now);
        self.end_link(&link, true);
        self.nodes[node].machine.link_failed(key, &Failure::Lost);
        self.maybe_turn(node)
    }

    /// A connection has ended. If it was dedicated and held state, or had a request in flight, its
    /// client must be closed; `surely` is false where the machine may have closed it for another
    /// reason.
    fn end_link(&mut self, link: &Link, surely: bool) {
        let Some(id) = link.session else { return };
        let server = &mut self.servers[link.server];
        // Invalid bytes may look like a reply.
        let surely = surely && !link.garbage;
        // An incomplete request does not identify its client.
        let maybe = (server.sessions.get(&id))
            .filter(|it| (it.own || it.waited) && (!surely || !link.is_idle()))
            .and_then(|session| session.client);
        if let Some(maybe) = maybe {
            self.clients[maybe as usize - 1].maybe_lost_dedicated = true;
        }
        // MULTI or CLIENT TRACKING alone does not identify its client.
        let nameless = { server.sessions.get(&id) }.is_some_and(|it| it.own && it.client.is_none());
        if nameless {
            let own = |it: &Client| it.pending.iter().any(|sent| sent.op.is_dedicated());
            let may_be = |it: &&mut Client| it.model.holds() || own(it);
            for client in self.clients.iter_mut().filter(may_be) {
                client.maybe_lost_dedicated = true;
            }
        }
        let owner = server.sessions.get(&id).and_then(|session| {
            let has_state = session.holds() || link.has_unread_output() || !surely;
            // A connection that has served one client may serve another one now.
            let owner = if has_state {
                session.client
            } else {
                link.asker()
            };
            owner.filter(|_| session.own)
        });
        server.close(id);
        if let Some(owner) = owner {
            let client = &mut self.clients[owner as usize - 1];
            client.maybe_lost_dedicated = true;
            if surely {
                client.lost_dedicated = Some(self.now);
            }
            self.note(|| format!("client {owner} has lost its own connection ({surely})"));
        }
    }

    /// The machine closes a backend connection: it must have a reason.
    pub(crate) fn given_up(&mut self, node: usize, link: Link) -> Result<(), String> {
        let server = &self.servers[link.server];
        let session = link.session.and_then(|id| server.sessions.get(&id));
        let refused = session.is_some_and(|session| session.refused);
        let own = session.is_some_and(|it| it.own || it.waited);
        let unused = session.is_none_or(|it| !it.used);
        // Another server is the primary.
        let fenced = { self.view().since(link.begun) }
            .any(|it| self.tenants[server.tenant].fenced && !it.leads_to(server));
        let broken = refused || link.garbage || link.dying || server.unlisted;
        let failed = link.late || broken || fenced;
        // A connection that was opened before a refusal, or before its server became unusable for
        // clients, is closed when it has no outstanding request. So is an unused connection, and an
        // old one without a login.
        let left = { self.view().since(link.begun) }
            .any(|it| !(it.is_usable(server) && it.leads_to(server)));
        let outdated = left || server.changes.iter().any(|at| at.ms >= link.due);
        let silent = self.now.ms.saturating_sub(link.heard) >= 30_000;
        let old = self.now.ms.saturating_sub(link.due) >= 60_000;
        // A connection with an overdue reply gets no new requests, although its server answers
        // others.
        let done = link.is_idle() && (outdated || silent || old || link.overdue);
        match (failed, link.session) {
            (true, _) => {
                let now = self.now;
                self.servers[link.server].failed(now);
                self.end_link(&link, false);
            }
            (false, Some(id)) => self.servers[link.server].close(id),
            (false, None) => {}
        }
        // All outstanding requests were retried elsewhere.
        let abandoned = self.nodes[node].machine.counters().asked_again > 0 && link.only_reads();
        // A dedicated connection ends with its client; whether the client had to be closed is
        // checked there. So does a connection that was opened for a client and has not served it.
        match failed || done || own || unused || abandoned {
            true => Ok(()),
            false => Err(format!("a healthy connection was closed: {link:?}")),
        }
    }

    /// Whether a server has blocked this client.
    pub(crate) fn is_blocked(&self, client: usize) -> bool {
        let id = self.clients[client].id;
        let mut sessions = self
            .servers
            .iter()
            .flat_map(|server| server.sessions.values());
        sessions.any(|session| {
            let blocked = session.blocked.as_ref();
            blocked.is_some_and(|blocked| blocked.tag / SEQUENCE == id)
        })
    }

    /// A disconnected client must not stay blocked: an element that is pushed would be lost.
    pub(crate) fn check_blocked(&mut self, node: usize) -> Result<(), String> {
        for link in self.nodes[node].links.values_mut() {
            let session = (link.session).and_then(|id| self.servers[link.server].sessions.get(&id));
            let blocked = session.and_then(|session| session.blocked.as_ref());
            let owner = blocked.map(|blocked| &self.clients[(blocked.tag / SEQUENCE) as usize - 1]);
            let gone = owner.is_some_and(|it| it.done || it.hung_up || it.eof_told || it.gone_told);
            link.abandoned = match gone && !link.has_unread_output() {
                true => link.abandoned + 1,
                false => 0,
            };
            if link.abandoned > 3 {
                return Err(format!("nobody waits any more for {blocked:?} of {link:?}"));
            }
        }
        Ok(())
    }
}
