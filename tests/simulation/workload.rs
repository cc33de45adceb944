//! The events of the fake clients, and the checks of their ends.

use elika::proxy::{ConnKey, Flow};

use super::client::{Client, Op, REFUSED_COMMANDS_MAX, Sent};
use super::oracle::{After, UNBLOCKED};
use super::redis::{Execution, Redis, Tag};
use super::script::{Around, Behaviour, Line};
use super::wire;
use super::world::World;

mod client_list;
mod closing;

/// The longest time until a client that may move has moved, ms.
const MOVED_MS: u64 = 5_000;

impl World {
    /// An event of a client.
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

    /// All clients send a request at the same moment, so that many wait behind each other.
    pub(crate) fn rush(&mut self) -> Result<(), String> {
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if !client.done && !client.reads_nothing {
                self.ask(index);
                self.deliver_requests(index)?;
            }
        }
        Ok(())
    }

    /// The client sends a pipeline.
    fn ask(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.script.left == 0 && !client.script.ended && client.may_send() {
            self.stop_asking(index);
            return;
        }
        let ids: Vec<u64> = self.clients.iter().map(|client| client.id).collect();
        let most = match self.clients[index].writes_first {
            true => 100,
            false => *self.rng.pick(&[1, 1, 3, 10, 50]),
        };
        for _ in 0..self.rng.between(1, most) {
            let around = Around {
                servers: &self.servers,
                tenants: &self.tenants,
                plan: &self.plan,
                ids: &ids,
            };
            let client = &mut self.clients[index];
            if !client.may_send() || client.script.left == 0 {
                break;
            }
            let line = client.script.next(&around, &mut self.rng);
            self.send(index, line);
        }
        let hauls = self.clients[index].script.behaviour == Behaviour::LargeValues;
        let reads = self.clients[index].script.behaviour == Behaviour::Reads;
        if self.rng.one_in(if hauls || reads { 8 } else { 40 }) {
            let ms = self.rng.between(0, 2_000);
            self.clients[index].asleep_until = self.now.ms + ms;
            self.clients[index].reads_nothing = hauls || self.rng.one_in(8);
        }
    }

    /// The client has sent all its requests: it stays, or half-closes.
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
            match line.op {
                Some(Op::Unblock) => {
                    victim.unblocked = true;
                    victim.model.written.may_end_early = true;
                }
                _ => victim.killers.push((id, self.now)),
            }
        }
        let (client, at) = (&mut self.clients[index], self.now);
        client.wire.extend(line.bytes);
        client.followed |= client.model.holds();
        client.model.unheard |= client.script.unheard;
        client.asked = at;
        let asks = line.asks;
        self.sent_bytes += asks.bytes as u64;
        if let Some(tag) = asks.tag {
            self.asked.insert(tag, (at, asks.clone()));
        }
        if let Some(
            Op::Auth(login)
            | Op::Hello {
                login: Some(login), ..
            },
        ) = &line.op
            && login.is_unique()
        {
            self.logins.insert(login.password.clone(), at);
        }
        let (client, done) = (&mut self.clients[index], 0);
        match line.op {
            Some(op) => client.pending.push_back(Sent { op, at, done, asks }),
            None => {
                client.silent = true;
                if let Some(tag) = asks.tag.filter(|_| asks.writes()) {
                    client.model.written.silently = Some(tag);
                }
                self.silent += 1;
            }
        }
    }

    /// The proxy reads some of the client's bytes.
    pub(crate) fn deliver_requests(&mut self, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        if client.hung_up || client.done {
            return Ok(());
        }
        let (node, key) = (client.worker, client.key);
        if client.eof && client.paused && !client.gone_told && self.rng.one_in(3) {
            client.gone_told = true;
            self.note(|| format!("{key:?} hangs up, though it is not read"));
            self.nodes[node].machine.client_hung_up(key);
            return self.maybe_turn(node);
        }
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
        let id = client.id;
        self.before(node, bytes.len(), Some(id));
        let flow = self.nodes[node].machine.client_bytes(key, &bytes);
        let client = &mut self.clients[index];
        client.paused = flow == Flow::Pause;
        self.after(node)?;
        self.maybe_turn(node)
    }

    pub(crate) fn reset_client(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.done = true;
        let (node, key) = (client.worker, client.key);
        if self.nodes[node].clients.remove(&key).is_some() {
            self.nodes[node].machine.client_closed(key);
        }
        self.note(|| format!("{key:?} is reset"));
    }

    /// The client reads, and checks the replies.
    pub(crate) fn read_replies(&mut self, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        if client.is_stuck_in_send() || client.done || client.reads_nothing {
            return Ok(());
        }
        if client.asleep_until > self.now.ms && !self.calm {
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
            let len = wire::reply_len(rest).map_err(|why| {
                let shown = String::from_utf8_lossy(&rest[..rest.len().min(300)]);
                format!("client {}: {why}: {shown:?}", client.id)
            })?;
            let Some(len) = len else {
                break;
            };
            let reply = rest[..len].to_vec();
            self.evaluate(index, &reply)?;
            at += len;
        }
        let client = &mut self.clients[index];
        client.read.drain(..at);
        if client.hung_up && client.kernel.is_empty() {
            self.ended(index)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, index: usize, reply: &[u8]) -> Result<(), String> {
        let client = &self.clients[index];
        let id = client.id;
        let shown = || String::from_utf8_lossy(&reply[..reply.len().min(90)]).into_owned();
        let mut model = client.model.clone();
        if let Some(right) = model.unasked(reply, &self.view()) {
            self.note(|| format!("client {id} reads {:?}, unasked", shown()));
            right.map_err(|why| format!("client {id}: {why}: {:?} of {model:?}", shown()))?;
            self.clients[index].model = model;
            return Ok(());
        }
        let Some(sent) = client.pending.front().cloned() else {
            return Err(format!("client {id} got a reply too many: {:?}", shown()));
        };
        self.note(|| format!("client {id} reads {:?} for {:?}", shown(), sent.op));
        self.went_on(client, &sent, reply)?;
        let After {
            closes,
            may_close,
            more,
            never,
            listed,
        } = (model.evaluate(&sent, reply, &self.view()))
            .map_err(|why| format!("client {id}: {why}"))?;
        for &other in &listed {
            self.check_listed(&model, other, sent.at)?;
        }
        if matches!(sent.op, Op::List) && wire::error_text(reply).is_none() {
            self.shown += listed.len() as u64;
            self.check_complete(&model, &listed, sent.at)?;
        }
        self.hear(sent.op.tag(), reply);
        self.clients[index].note_refusal(&sent.op, reply);
        // A server before 6.0 replies so itself. A request that was sent before the proxy knew that
        // a login is needed is refused by the server, which is asked once a second.
        let old = self.plan.homes.iter().any(|home| home.old);
        let asked = 1 + self.now.ms as u32 / 1_000;
        let pending = self.clients[index].script.pending_max as u32;
        let most = REFUSED_COMMANDS_MAX + pending * asked;
        if !old && self.clients[index].refused > most {
            return Err(format!("client {id} is refused without end"));
        }
        let client = &mut self.clients[index];
        match client.pending.front_mut() {
            Some(front) if more => front.done += 1,
            _ => drop(client.pending.pop_front()),
        }
        if sent.op.is_dedicated() {
            client.held = sent.at;
        }
        client.followed |= sent.op.is_dedicated() || model.holds();
        client.followed &= !client.pending.is_empty();
        self.answered.push(self.now.ms);
        if client.model.login != model.login {
            client.changed = self.now;
        }
        client.model = model;
        client.may_close = may_close;
        client.never.extend(never);
        if let Some(why) = closes {
            client.closing = Some(why);
            let rest = std::mem::take(&mut client.pending);
            client
                .never
                .extend(rest.iter().filter_map(|sent| sent.op.tag()));
        }
        Ok(())
    }

    /// The client has read the reply of this execution, and of no other.
    fn hear(&mut self, tag: Option<Tag>, reply: &[u8]) {
        let Some(tag) = tag else { return };
        let servers = self.servers.iter_mut();
        for done in servers.filter_map(|it| it.executed.get_mut(&tag)).flatten() {
            done.heard = done.reply == reply;
        }
    }

    /// Whether it got a reply to a request that it sent after the loss of its dedicated connection,
    /// or its blocking command ended without a reason.
    fn went_on(&self, client: &Client, sent: &Sent, reply: &[u8]) -> Result<(), String> {
        let id = client.id;
        if client.lost_dedicated.is_some_and(|lost| sent.at > lost) {
            return Err(format!("client {id} goes on without its own connection"));
        }
        let done = { sent.op.tag() }.and_then(|tag| self.view().execution(tag, reply));
        let unblocked = match sent.op {
            Op::Wait { .. } => wire::error_text(reply) == Some(UNBLOCKED),
            _ => done.is_some_and(|(_, done)| done.unblocked),
        };
        if unblocked && !client.unblocked {
            return Err(format!("nobody wanted to unblock client {id}"));
        }
        let Some((server, done)) = done else {
            return Ok(());
        };
        self.went_to_the_right_place(client, sent, server, done)
    }

    /// A request that it sent after its instance got another address was executed there, unless
    /// state kept the client at the old address.
    fn went_to_the_right_place(
        &self,
        client: &Client,
        sent: &Sent,
        server: &Redis,
        done: &Execution,
    ) -> Result<(), String> {
        let view = self.view();
        let free = !client.model.holds() && !client.followed && !client.script.unheard;
        let mut snapshots = view.snapshots(sent.at, done.at);
        if free && !snapshots.any(|it| it.leads_to(server) || !it.lists(server)) {
            return Err(format!(
                "client {} is still at the old address {}",
                client.id, server.index
            ));
        }
        let left = view.left_for(server, sent.at, sent.at);
        if free && left.is_some_and(|ms| ms >= MOVED_MS) && self.may_have_moved(client, server) {
            let (id, server) = (client.id, server.index);
            return Err(format!(
                "client {id} is still at server {server}, which is offline"
            ));
        }
        Ok(())
    }

    /// Whether a client of this draining server had enough time to move, and a target.
    fn may_have_moved(&self, client: &Client, server: &Redis) -> bool {
        let view = self.view();
        let all = view.servers_of(server.tenant);
        let long_ago = client.asked.ms.saturating_sub(MOVED_MS);
        let mut snapshots = view.snapshots.iter().enumerate().filter(|(at, _)| {
            let next = view.snapshots.get(at + 1).and_then(|next| next.told);
            next.is_none_or(|told| told.ms >= long_ago)
        });
        let where_to = { all.clone() }.any(|it| {
            let mut snapshots = snapshots.clone();
            snapshots.all(|(_, snapshot)| snapshot.is_usable(it) && snapshot.leads_to(it))
        });
        // A client that has an earlier password than others is not known elsewhere.
        let user = client.model.user();
        let verdicts = server
            .verdicts
            .iter()
            .filter(|it| it.user == user && it.reply == "OK");
        let mut passwords: Vec<&str> = verdicts.map(|it| it.password.as_str()).collect();
        passwords.sort_unstable();
        passwords.dedup();
        let known = client.model.login.is_none() || passwords.len() == 1;
        let well = |it: &Redis| !it.has_ever_failed() && it.changes.is_empty();
        let away = snapshots.all(|(_, snapshot)| !snapshot.is_usable(server));
        where_to && known && away && { all }.all(well)
    }
}
