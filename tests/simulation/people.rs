//! What the fake clients do, and how their connections may end.

use elika::proxy::{ConnKey, Flow};

use super::client::{Op, Sent};
use super::judge::After;
use super::link::GARBAGE;
use super::redis::Moment;
use super::script::{Around, Line, Temper};
use super::wire;
use super::world::World;

/// What a server says to strangers.
const STRANGER: &[u8] = b"-NOAUTH Authentication required.\r\n";

impl World {
    /// Something happens at a client.
    pub(crate) fn client_event(&mut self, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        if client.done {
            return Ok(());
        }
        if !self.calm && self.rng.permille(self.plan.faults.client_reset) {
            self.reset_client(index);
            return Ok(());
        }
        match self.rng.below(10) {
            0 | 1 if !self.calm => {
                self.ask(index);
                Ok(())
            }
            2 if client.wants_write && !client.hung_up => {
                let (node, key) = (client.worker, client.key);
                self.write(node, ConnKey::Client(key));
                Ok(())
            }
            0..=5 => self.deliver_requests(index),
            _ => self.read_replies(index),
        }
    }

    /// The client sends a pipeline.
    fn ask(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.script.left == 0 && !client.script.ended && client.may_send() {
            self.stop_asking(index);
            return;
        }
        let ids: Vec<u64> = self.clients.iter().map(|client| client.id).collect();
        let most = *self.rng.pick(&[1, 1, 3, 10, 50]);
        for _ in 0..self.rng.between(1, most) {
            let around = Around {
                servers: &self.servers,
                tenants: &self.tenants,
                default_tenant: self.plan.default_tenant,
                huge: self.plan.huge,
                ids: &ids,
            };
            let client = &mut self.clients[index];
            if !client.may_send() || client.script.left == 0 {
                break;
            }
            let line = client.script.next(&around, &mut self.rng);
            self.send(index, line);
        }
        let hauls = self.clients[index].script.temper == Temper::Hauler;
        if self.rng.one_in(if hauls { 8 } else { 40 }) {
            let ms = self.rng.between(0, 2_000);
            self.clients[index].asleep_until = self.now.ms + ms;
            self.clients[index].wedged = hauls || self.rng.one_in(8);
        }
    }

    /// It has said all it wanted: it stays, or half-closes.
    fn stop_asking(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.script.ended = true;
        client.eof = self.rng.one_in(2);
    }

    pub(crate) fn send(&mut self, index: usize, line: Line) {
        let id = self.clients[index].id;
        self.note(|| {
            let shown = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(90)]);
            format!("client {id} sends {shown:?}")
        });
        if let Some(victim) = line.victim {
            let victim = &mut self.clients[victim as usize - 1];
            victim.killers.push((id, self.now));
        }
        let client = &mut self.clients[index];
        client.wire.extend(line.bytes);
        if let Some(op) = line.op {
            client.pending.push_back(Sent { op, at: self.now });
        }
    }

    /// The proxy reads some of what the client sent.
    pub(crate) fn deliver_requests(&mut self, index: usize) -> Result<(), String> {
        let now = self.millis();
        let client = &mut self.clients[index];
        if client.hung_up || client.done {
            return Ok(());
        }
        let (node, key) = (client.worker, client.key);
        if client.wire.is_empty() {
            if client.eof && !client.eof_told && (!client.paused || self.rng.one_in(10)) {
                client.eof_told = true;
                self.note(|| format!("{key:?} ends"));
                self.nodes[node].machine.client_eof(key);
                return self.maybe_turn(node);
            }
            return Ok(());
        }
        if client.paused {
            return Ok(());
        }
        let n = self.rng.piece(client.wire.len().min(64 * 1024));
        let bytes: Vec<u8> = client.wire.drain(..n).collect();
        let flow = self.nodes[node].machine.client_bytes(key, &bytes, now);
        let client = &mut self.clients[index];
        client.paused = flow == Flow::Pause;
        self.maybe_turn(node)
    }

    fn reset_client(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.done = true;
        let (node, key) = (client.worker, client.key);
        if self.nodes[node].clients.remove(&key).is_some() {
            self.nodes[node].machine.client_closed(key);
        }
        self.note(|| format!("{key:?} is reset"));
    }

    /// The client reads, and judges what it read.
    pub(crate) fn read_replies(&mut self, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        if client.done || client.wedged || client.asleep_until > self.now.ms && !self.calm {
            return Ok(());
        }
        let n = self.rng.piece(client.kernel.len());
        client.read.extend(client.kernel.drain(..n));
        let mut at = 0;
        loop {
            let client = &self.clients[index];
            let rest = &client.read[at..];
            if client.closing.is_some() && !rest.is_empty() {
                return Err(format!("client {} got bytes after the end", client.id));
            }
            let Some(len) = wire::reply_len(rest)? else {
                break;
            };
            let reply = rest[..len].to_vec();
            self.judge(index, &reply)?;
            at += len;
        }
        let client = &mut self.clients[index];
        client.read.drain(..at);
        if client.hung_up && client.kernel.is_empty() {
            self.ended(index)?;
        }
        Ok(())
    }

    fn judge(&mut self, index: usize, reply: &[u8]) -> Result<(), String> {
        let client = &mut self.clients[index];
        let id = client.id;
        let Some(sent) = client.pending.pop_front() else {
            let shown = String::from_utf8_lossy(&reply[..reply.len().min(100)]);
            return Err(format!("client {id} got a reply too many: {shown:?}"));
        };
        self.note(|| {
            let shown = String::from_utf8_lossy(&reply[..reply.len().min(90)]);
            format!("client {id} reads {shown:?} for {:?}", sent.op)
        });
        let mut model = self.clients[index].model.clone();
        let After {
            closes,
            may_close,
            never,
            listed,
        } = (model.judge(&sent, reply, &self.view()))
            .map_err(|why| format!("client {id}: {why}"))?;
        for other in listed {
            self.check_listed(&model, other, sent.at)?;
        }
        let client = &mut self.clients[index];
        if client.model.login != model.login {
            client.changed = self.now;
        }
        client.model = model;
        client.may_close = may_close;
        client.never.extend(never);
        if let Some(why) = closes {
            client.closing = Some(why);
            let rest = std::mem::take(&mut client.pending);
            client.never.extend(rest.iter().filter_map(tag));
        }
        Ok(())
    }

    /// CLIENT LIST must not show other users' clients.
    fn check_listed(
        &self,
        model: &super::judge::Model,
        other: u64,
        since: Moment,
    ) -> Result<(), String> {
        let Some(other) = self.clients.get((other as usize).wrapping_sub(1)) else {
            return Err(format!("client {} was shown a client {other}", model.id));
        };
        let settled = other.pending.is_empty() && !other.done && other.changed < since;
        let (mine, its) = (model, &other.model);
        let same =
            mine.server(&self.view()) == its.server(&self.view()) && mine.user() == its.user();
        match settled && !same {
            true => Err(format!(
                "client {} was shown {}, a stranger",
                mine.id, other.id
            )),
            false => Ok(()),
        }
    }

    /// The proxy hung up, and all that it sent was read: was that right?
    fn ended(&mut self, index: usize) -> Result<(), String> {
        self.clients[index].done = true;
        let client = &self.clients[index];
        let counted = self.nodes[client.worker].machine.counters();
        let cut = !client.read.is_empty();
        let slow = counted.slow_readers + counted.evictions > 0;
        let late = counted.idle_timeouts + counted.login_timeouts > 0;
        let http = (client.pending.iter()).any(|sent| matches!(sent.op, Op::Http));
        if http || slow || client.closing.is_some() || client.may_close {
            return Ok(());
        }
        let draining = self.nodes[client.worker].draining;
        if !cut && client.pending.is_empty() && (client.eof || draining || late) {
            return Ok(());
        }
        // What the proxy had not even begun may be dropped.
        let begun = (client.pending.iter().filter_map(tag))
            .any(|tag| self.servers.iter().any(|s| s.executed.contains_key(&tag)));
        let dropped = !cut && !begun && (draining || late);
        if dropped || cut && self.was_torn(index) || self.was_killed(index)? {
            return Ok(());
        }
        Err(format!(
            "client {} was hung up on without a reason, {} replies missing, {:?} half read",
            client.id,
            client.pending.len(),
            String::from_utf8_lossy(&client.read[..client.read.len().min(100)])
        ))
    }

    /// Half a reply, because its backend broke in the middle of it?
    fn was_torn(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let Some(sent) = client.pending.front() else {
            return false;
        };
        let Some(server) = client.model.server(&self.view()) else {
            return false;
        };
        let server = &self.servers[server];
        let whole = tag(sent).and_then(|tag| server.executed.get(&tag));
        // An old server lets strangers in, and then says so itself.
        let stranger = server.old && STRANGER.starts_with(&client.read);
        // It may be the begin of what turned out to be no reply.
        let begun = stranger
            || whole.is_some_and(|whole| whole.reply.starts_with(&client.read))
            || GARBAGE
                .iter()
                .any(|garbage| garbage.starts_with(&client.read));
        begun && server.failed_since(sent.at, 0)
    }

    /// Was it killed, and if so, by one of its own?
    fn was_killed(&self, index: usize) -> Result<bool, String> {
        let victim = &self.clients[index];
        let kills: u64 = (self.nodes.iter())
            .map(|node| node.machine.counters().kills)
            .sum();
        if kills == 0 || victim.killers.is_empty() {
            return Ok(false);
        }
        let view = self.view();
        // A killer may have been somebody else when it killed; then nothing is known.
        let may_have = |&(killer, at): &(u64, Moment)| {
            let killer = &self.clients[killer as usize - 1];
            !killer.pending.is_empty()
                || killer.changed >= at
                || killer.model.server(&view) == victim.model.server(&view)
                    && killer.model.user() == victim.model.user()
        };
        // So may the victim, if not all of its replies were heard.
        if !victim.pending.is_empty() || victim.killers.iter().any(may_have) {
            return Ok(true);
        }
        Err(format!("client {} was killed by a stranger", victim.id))
    }
}

/// The tag of a request that a backend executes.
fn tag(sent: &Sent) -> Option<super::redis::Tag> {
    match sent.op {
        Op::Data { tag, .. } | Op::Admin { tag } => Some(tag),
        _ => None,
    }
}
