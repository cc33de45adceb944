//! The requests of clients, and the events of their connections.

use elika::proxy::{ConnKey, Flow};

use super::client::{Behaviour, Op, Sent};
use super::tag::{self, Tag};
use super::wire;
use super::world::World;

/// A request before it is sent.
struct Line {
    words: Vec<String>,
    op: Op,
}

impl Line {
    fn new<W: Into<String>>(words: impl IntoIterator<Item = W>, op: Op) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            op,
        }
    }
}

/// The password of each login.
const PASSWORD: &str = "secret";

/// The channel of messages.
const CHANNEL: &str = "news";

impl World {
    /// What can happen to a client.
    pub(crate) fn client_event(&mut self, index: usize) -> Result<(), String> {
        let client = &self.clients[index];
        if client.done {
            return Ok(());
        }
        if client.vanishes_at == Some(client.sent) && !self.calm && self.rng.one_in(4) {
            self.vanish(index);
            return Ok(());
        }
        if !self.calm && client.asks_at <= self.now && self.rng.one_in(3) {
            self.ask(index);
        }
        self.deliver_requests(index);
        let client = &self.clients[index];
        if client.wants_write && !client.hung_up {
            let (worker, key) = (client.worker, client.key);
            self.write(worker, ConnKey::Client(key));
        }
        self.read_replies(index)
    }

    /// The client's connection ends.
    fn vanish(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.done = true;
        let (worker, key) = (client.worker, client.key);
        let at = &mut self.workers[worker];
        if at.clients.remove(&key).is_some() {
            at.machine.client_closed(key);
        }
        self.note(|| format!("client {} vanishes", index + 1));
    }

    /// The client sends a pipeline, maybe.
    fn ask(&mut self, index: usize) {
        let client = &self.clients[index];
        let waits = !client.pending.is_empty() && !client.writes_first;
        if !client.may_send() || waits && self.rng.one_in(2) || client.pending.len() > 60 {
            return;
        }
        if client.sent == 0 {
            self.log_in(index);
            if self.rng.one_in(2) {
                return;
            }
        } else if !client.logged_in && self.rng.one_in(2) {
            return;
        }
        let pause = *self.rng.pick(&[0, 0, 5, 20, 60, 200]);
        self.clients[index].asks_at = self.now + pause;
        let most = self.clients[index].pipeline as u64;
        let number = self.rng.between(1, most);
        for _ in 0..number {
            if !self.clients[index].may_send() {
                break;
            }
            match self.clients[index].behaviour {
                Behaviour::Plain => self.send_plain(index),
                Behaviour::Transactions if self.plan.transactions && self.rng.one_in(2) => {
                    self.send_transaction(index);
                }
                Behaviour::Transactions => self.send_plain(index),
                Behaviour::Blocking => self.send_blocking(index),
                Behaviour::Subscriber => self.send_subscriber(index),
            }
        }
    }

    fn log_in(&mut self, index: usize) {
        let (cluster, protocol) = (self.clients[index].cluster, self.clients[index].protocol);
        let user = self.user(cluster);
        let line = match protocol {
            3 => Line::new(["HELLO", "3", "AUTH", &user, PASSWORD], Op::Login),
            _ => Line::new(["AUTH", &user, PASSWORD], Op::Login),
        };
        let tag = self.clients[index].next_tag();
        self.send(index, tag, line);
    }

    fn send(&mut self, index: usize, tag: Tag, line: Line) {
        let client = &mut self.clients[index];
        let bytes = wire::command(&line.words);
        client.left = client.left.saturating_sub(1);
        client.pending.push_back(Sent {
            tag,
            op: line.op,
            at: self.now,
        });
        client.to_proxy.push(bytes, self.now, &mut self.rng);
        self.note(|| format!("client {} sends {}", index + 1, line.words.join(" ")));
    }

    /// A request that needs nothing but a node.
    fn send_plain(&mut self, index: usize) {
        let tag = self.clients[index].next_tag();
        let line = self.plain(index, tag);
        self.send(index, tag, line);
    }

    fn plain(&mut self, index: usize, tag: Tag) -> Line {
        match self.rng.below(40) {
            0..=25 => {
                let slot = self.slot(index);
                self.one_key(index, slot, tag)
            }
            26..=30 => self.several_keys(index, tag),
            31 => self.cross_slot(index, tag),
            32 => Line::new(["DBSIZE", &tag::text(tag)], Op::DbSize),
            33 => Line::new(["KEYS", &format!("*{}", tag::text(tag))], Op::Keys),
            34 | 35 => self.script(index, tag),
            36 => Line::new(["SELECT", "0"], Op::Select),
            37 => {
                let op = Op::One {
                    slot: None,
                    write: true,
                };
                Line::new(["PUBLISH", CHANNEL, &tag::text(tag)], op)
            }
            _ => {
                let name = *self.rng.pick(&["PING", "ECHO"]);
                let op = Op::One {
                    slot: None,
                    write: false,
                };
                Line::new([name, &tag::text(tag)], op)
            }
        }
    }

    /// A slot of the client's cluster.
    fn slot(&mut self, index: usize) -> usize {
        let slots = self.clusters[self.clients[index].cluster].slots.len();
        self.rng.below(slots)
    }

    fn key(&self, index: usize, slot: usize, name: &str) -> String {
        let cluster = &self.clusters[self.clients[index].cluster];
        format!("{}{name}", cluster.slots[slot].tag)
    }

    fn one_key(&mut self, index: usize, slot: usize, tag: Tag) -> Line {
        let name = *self.rng.pick(&["s0", "s1", "s2"]);
        let key = self.key(index, slot, name);
        let tag = tag::text(tag);
        let op = |write| Op::One {
            slot: Some(slot),
            write,
        };
        match self.rng.below(8) {
            0 | 1 => Line::new(["SET", &key, &format!("v{tag}")], op(true)),
            2 | 3 => Line::new(["GET", &key, &tag], op(false)),
            4 => Line::new(["GET", &self.key(index, slot, "a0"), &tag], op(false)),
            5 => Line::new(["INCR", &self.key(index, slot, "n"), &tag], op(true)),
            6 => Line::new(["APPEND", &key, &tag], op(true)),
            _ => {
                let name = *self.rng.pick(&["DEL", "UNLINK"]);
                let marked = self.key(index, slot, &tag);
                Line::new([name, &key, &marked], op(true))
            }
        }
    }

    /// MGET, EXISTS, TOUCH and MSET, with keys of one slot or of several.
    fn several_keys(&mut self, index: usize, tag: Tag) -> Line {
        let slots = self.clusters[self.clients[index].cluster].slots.len();
        let number = self.rng.between(1, slots.min(4) as u64);
        let mut used: Vec<usize> = Vec::new();
        for _ in 0..number {
            let slot = self.slot(index);
            if !used.contains(&slot) {
                used.push(slot);
            }
        }
        let tag = tag::text(tag);
        if used.len() == 1 && self.rng.one_in(3) {
            let [one, two] = ["s0", "s1"].map(|name| self.key(index, used[0], name));
            let op = Op::One {
                slot: Some(used[0]),
                write: true,
            };
            let value = format!("m{tag}");
            return Line::new(["MSET", &one, &value, &two, &value], op);
        }
        // Each slot's part has a key with the tag.
        let mut keys: Vec<(usize, String)> = Vec::new();
        for &slot in &used {
            for name in [tag.as_str(), "a0", "a1", "s0", "s1"] {
                if name == tag || name == "a0" || self.rng.one_in(2) {
                    keys.push((slot, self.key(index, slot, name)));
                }
            }
        }
        for at in (1..keys.len()).rev() {
            let other = self.rng.below(at + 1);
            keys.swap(at, other);
        }
        let anchors = { keys.iter() }
            .filter(|(_, key)| !key.contains("}s"))
            .count();
        let name = *self.rng.pick(&["MGET", "EXISTS", "TOUCH"]);
        let op = match name {
            "MGET" => Op::Values(keys.iter().map(|(slot, _)| *slot).collect()),
            _ => Op::Sum(used, anchors),
        };
        let words = std::iter::once(name.to_owned()).chain(keys.into_iter().map(|(_, key)| key));
        Line::new(words, op)
    }

    /// A request with keys of several slots that is not split.
    fn cross_slot(&mut self, index: usize, tag: Tag) -> Line {
        let keys = [0, 1].map(|slot| self.key(index, slot, &format!("s0{}", tag::text(tag))));
        let words: Vec<&str> = match self.rng.below(3) {
            0 => vec!["MSET", &keys[0], "1", &keys[1], "2"],
            1 => vec!["DEL", &keys[0], &keys[1]],
            _ => vec!["EVAL", "return", "2", &keys[0], &keys[1]],
        };
        Line::new(words, Op::CrossSlot { queued: false })
    }

    /// EVAL, with and without a key. Some fail with a text that looks like a redirection.
    fn script(&mut self, index: usize, tag: Tag) -> Line {
        let tag = tag::text(tag);
        let slot = self.slot(index);
        let number = self.clusters[self.clients[index].cluster].slots[slot].number;
        // No node has this address.
        let wrong = format!("error MOVED {number} 10.99.0.1:6379");
        let script = match self.rng.below(6) {
            0 => wrong.as_str(),
            1 => "error TRYAGAIN of the script",
            2 => "error CLUSTERDOWN of the script",
            3 => "return",
            _ => "set",
        };
        let keyless = script != "set" && self.rng.one_in(2);
        let op = Op::Script((!keyless).then_some(slot));
        let key = self.key(index, slot, "s2");
        match keyless {
            true => Line::new(["EVAL", script, "0", &tag], op),
            false => Line::new(["EVAL", script, "1", &key, &tag], op),
        }
    }

    /// WATCH maybe, MULTI, some commands, EXEC.
    fn send_transaction(&mut self, index: usize) {
        let slot = self.slot(index);
        self.clients[index].bound = true;
        if self.rng.one_in(3) {
            let tag = self.clients[index].next_tag();
            let key = self.key(index, slot, "s0");
            self.send(index, tag, Line::new(["WATCH", &key], Op::Watch));
        }
        let tag = self.clients[index].next_tag();
        self.send(index, tag, Line::new(["MULTI"], Op::Multi));
        let (mut tags, mut fails) = (Vec::new(), false);
        for _ in 0..self.rng.below(4) {
            let tag = self.clients[index].next_tag();
            if self.rng.one_in(20) {
                fails = true;
                let line = Line {
                    op: Op::CrossSlot { queued: true },
                    ..self.cross_slot(index, tag)
                };
                self.send(index, tag, line);
                continue;
            }
            tags.push(tag);
            let line = match self.rng.one_in(8) {
                true => Line::new(["ECHO", &tag::text(tag)], Op::Queued),
                false => self.one_key(index, slot, tag),
            };
            let line = Line {
                op: Op::Queued,
                ..line
            };
            self.send(index, tag, line);
        }
        let tag = self.clients[index].next_tag();
        self.send(index, tag, Line::new(["EXEC"], Op::Exec { tags, fails }));
    }

    fn send_blocking(&mut self, index: usize) {
        let slot = self.slot(index);
        let tag = self.clients[index].next_tag();
        let key = self.key(index, slot, "l");
        let line = match self.rng.below(4) {
            0 => {
                let marked = self.key(index, slot, &tag::text(tag));
                let time = *self.rng.pick(&["0.01", "0.2", "1"]);
                Line::new(["BLPOP", &key, &marked, time], Op::Block(slot))
            }
            1 | 2 => {
                let op = Op::One {
                    slot: Some(slot),
                    write: true,
                };
                Line::new(["LPUSH", &key, &tag::text(tag)], op)
            }
            _ => self.plain(index, tag),
        };
        self.send(index, tag, line);
    }

    /// A subscriber subscribes once.
    fn send_subscriber(&mut self, index: usize) {
        let tag = self.clients[index].next_tag();
        let line = match self.clients[index].bound {
            false => Line::new(["SUBSCRIBE", CHANNEL], Op::Subscribe(CHANNEL.into())),
            true => return self.clients[index].left = 0,
        };
        self.clients[index].bound = true;
        self.send(index, tag, line);
    }

    fn deliver_requests(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.paused || client.hung_up {
            return;
        }
        let bytes = client.to_proxy.take(self.now, &mut self.rng);
        if bytes.is_empty() {
            return;
        }
        let (worker, key) = (client.worker, client.key);
        let flow = self.workers[worker].machine.client_bytes(key, &bytes);
        self.clients[index].paused = flow == Flow::Pause;
    }

    fn read_replies(&mut self, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        let busy = client.writes_first && client.left > 0 && !client.hung_up && !self.calm;
        if client.asleep_until > self.now || busy {
            return Ok(());
        }
        if !self.calm && self.rng.one_in(60) {
            client.asleep_until = self.now + self.rng.between(1, 200);
            return Ok(());
        }
        let bytes = client.from_proxy.take(self.now, &mut self.rng);
        client.read.extend(bytes);
        while let Some(len) = wire::reply_len(&self.clients[index].read)
            .map_err(|why| format!("client {}: {why}", index + 1))?
        {
            let reply: Vec<u8> = self.clients[index].read.drain(..len).collect();
            self.hear(index, &reply)?;
        }
        let client = &mut self.clients[index];
        if client.hung_up && client.from_proxy.is_empty() {
            client.done = true;
        }
        Ok(())
    }
}
