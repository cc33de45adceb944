//! Runs any bytes as a sequence of operations on a [`Machine`]: for the fuzz target and the replay
//! of its corpus.
//!
//! Contains a reactor without sockets, which does anything that a network can do, in any order, and
//! servers that answer correctly, incorrectly or with noise. [`Machine::check_invariants`] runs in
//! each call; at the end everything is closed, and nothing may be left. Not for the data path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use crate::cluster::{Balancer, ClusterKey, TenantKey};
use crate::resp::write;

use crate::link::failure::Failure;
use crate::proxy::action::{Action, Flow};
use crate::proxy::check::snapshots::Snapshots;
use crate::proxy::check::traffic::{Fault, REPLIES, REQUESTS, Session};
use crate::proxy::machine::Machine;
use crate::proxy::settings::Settings;
use crate::session::client::Origin;
use crate::session::question::Answer;
use crate::stats::worker_stats::StatsRequest;
use crate::store::key::{ClientKey, ConnKey, LinkKey};
use crate::store::time::Millis;

mod network;
mod snapshots;
mod traffic;

/// Longer inputs find nothing more.
const OPERATIONS_MAX: usize = 2_000;

/// Runs `data` as operations.
pub fn operations(data: &[u8]) {
    let mut world = World::new(Bytes(data));
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = world.input.next() else {
            break;
        };
        world.operation(operation);
    }
    world.end();
}

/// The input; reads as 0 after its end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        self.next().map_or(0, usize::from)
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let n = self.number();
        from.get(n.checked_rem(from.len())?).copied()
    }
}

/// A link as the network sees it.
#[derive(Default)]
struct Wire {
    open: bool,
    /// Bytes that the server received and has not answered.
    received: Vec<u8>,
    /// Bytes that the server sent and the machine has not read.
    unread: Vec<u8>,
    session: Session,
}

struct World<'a> {
    input: Bytes<'a>,
    machine: Machine,
    now: Millis,
    clients: Vec<ClientKey>,
    wires: BTreeMap<LinkKey, Wire>,
    paused_clients: BTreeSet<ClientKey>,
    paused_links: BTreeSet<LinkKey>,
    /// Clients that read only when an operation says so.
    slow_clients: BTreeSet<ClientKey>,
    /// Questions to other workers, as the asking client and the answer.
    asked: Vec<(ClientKey, Answer)>,
    tenant: TenantKey,
    opened: u64,
    snapshots: Snapshots,
    /// The fault that all servers have.
    fault: Fault,
}

impl<'a> World<'a> {
    fn new(mut input: Bytes<'a>) -> Self {
        let shape = input.number();
        let own = if shape & 128 == 0 { 0 } else { input.number() };
        let settings = Settings {
            workers: if shape & 1 == 0 { 1 } else { 2 },
            admin_commands: shape & 2 == 0,
            pool_connections_max: if shape & 4 == 0 { 30 } else { 1 },
            dedicated_max: if shape & 4 == 0 { 1_000 } else { 1 },
            instance_connections_max: if shape & 4 == 0 { 10_000 } else { 2 },
            client_in_flight_max: if shape & 8 == 0 { 4096 } else { 2 },
            client_outbound_bytes_max: if shape & 16 == 0 { 64 << 20 } else { 400_000 },
            logins_per_second: if shape & 32 == 0 { 200 } else { 1 },
            pool_idle_max: if own & 1 == 0 { 10 } else { 0 },
            pool_wait_ms: if own & 2 == 0 { 5_000 } else { 100 },
            pinned_idle_ms: if own & 4 == 0 { 300_000 } else { 1_000 },
            subscriber_outbound_bytes_max: if own & 8 == 0 { 32 << 20 } else { 50 },
            check_ms: if own & 16 == 0 { 0 } else { 200 },
            paused_clients_max: if own & 32 == 0 { 10_000 } else { 1 },
            offline_grace_ms: if own & 64 == 0 { 30_000 } else { 500 },
            balancer: if own & 128 == 0 {
                Balancer::RoundRobin
            } else {
                Balancer::LeastConn
            },
            ..Settings::default()
        };
        let mut snapshots = Snapshots::new(shape & 64 == 0);
        let machine = Machine::new(settings, snapshots.take(0, 0));
        Self {
            input,
            machine,
            now: Millis::default(),
            clients: Vec::new(),
            wires: BTreeMap::new(),
            paused_clients: BTreeSet::new(),
            paused_links: BTreeSet::new(),
            slow_clients: BTreeSet::new(),
            asked: Vec::new(),
            tenant: ClusterKey::local().tenant(),
            opened: 0,
            snapshots,
            fault: Fault::None,
        }
    }

    fn operation(&mut self, operation: u8) {
        match operation % 20 {
            0 => self.open_client(),
            1..=4 => {
                let request = self.input.pick(REQUESTS).unwrap_or_default();
                let mut request = request.replace('%', self.tenant.as_str());
                if !request.contains('\n') {
                    request.push_str("\r\n");
                }
                self.client_sends(request.as_bytes());
            }
            5 => {
                let n = self.input.number() % 32;
                let raw = self.input.take(n);
                self.client_sends(raw);
            }
            6 => {
                let mut big = Vec::new();
                let value = vec![b'v'; 300 * self.input.number()];
                write::command(&mut big, &[b"SET", b"k", &value]);
                self.client_sends(&big);
            }
            7 => {
                if let Some(key) = self.input.pick(&self.clients) {
                    self.machine.client_eof(key);
                }
            }
            8 => {
                if let Some(key) = self.input.pick(&self.clients) {
                    self.clients.retain(|other| *other != key);
                    self.machine.client_closed(key);
                }
            }
            9 | 10 => self.connect(),
            11 => self.break_link(),
            12 => {
                let reply = self.input.pick(REPLIES).unwrap_or_default();
                self.server_sends(reply.as_bytes());
            }
            13 => {
                let n = self.input.number() % 32;
                let raw = self.input.take(n);
                self.server_sends(raw);
            }
            14 => self.serve(),
            15 => self.flush(),
            16 => {
                let ms = 1 << (self.input.number() % 17);
                self.sleep(ms);
                self.machine.tick();
            }
            17 => self.rare(),
            _ => {
                self.turn();
                self.flush();
            }
        }
    }

    fn sleep(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.machine.clock(self.now.0 * 1_000);
    }

    /// One turn of the reactor.
    fn turn(&mut self) {
        self.machine.resume();
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect(key, _) => {
                    self.wires.insert(key, Wire::default());
                }
                Action::Close(ConnKey::Client(key)) => self.clients.retain(|other| *other != key),
                Action::Close(ConnKey::Link(key)) => {
                    self.wires.remove(&key);
                }
                Action::Resume(ConnKey::Client(key)) => {
                    self.paused_clients.remove(&key);
                }
                Action::Resume(ConnKey::Link(key)) => {
                    self.paused_links.remove(&key);
                }
                Action::Ask(key, question) => {
                    let answer = self.machine.question_from_worker(question);
                    self.asked.push((key, answer));
                }
                Action::HealthEvent(_) | Action::Notice(_) => {}
            }
        }
    }

    fn rare(&mut self) {
        match self.input.number() % 16 {
            10..=15 => self.rare_tenant_operation(),
            8 | 9 => {
                if let Some(key) = self.input.pick(&self.clients) {
                    self.machine.client_hung_up(key);
                }
            }
            0 => self.machine.drain(),
            1 | 2 => {
                let (one, other) = (self.input.number(), self.input.number());
                let snapshot = self.snapshots.take(one, other);
                self.machine.registry_changed(snapshot);
            }
            6 | 7 => self.read_some(),
            _ => {
                if let Some((key, answer)) = self.asked.pop() {
                    self.machine.answer_from_worker(key, answer);
                }
            }
        }
    }

    /// Rare operations, on tenants and servers as a whole.
    fn rare_tenant_operation(&mut self) {
        let what = self.input.number();
        let [first, second] = snapshots::tenants();
        let tenant = if what & 64 == 0 { first } else { second };
        match what % 8 {
            0 | 1 => {
                let how = self.input.number();
                self.snapshots.limit(how);
                let (one, other) = (self.input.number(), self.input.number());
                let snapshot = self.snapshots.take(one, other);
                self.machine.registry_changed(snapshot);
            }
            2 => {
                let ms = 20 * self.input.number() as u64;
                self.machine.pause(&tenant, ms);
            }
            3 => self.machine.unpause(&tenant),
            4 => {
                let wanted = [
                    StatsRequest::Metrics,
                    StatsRequest::Clients(2, None),
                    StatsRequest::Clients(9, Some(tenant)),
                    StatsRequest::Pools,
                ];
                for wanted in wanted {
                    let stats = self.machine.collect_stats(&wanted);
                    assert_eq!(stats.client_count, self.machine.clients());
                }
            }
            _ => {
                let faults = [Fault::None, Fault::Loading, Fault::ReadOnly];
                self.fault = self.input.pick(&faults).unwrap_or_default();
            }
        }
    }

    fn open_client(&mut self) {
        self.opened += 1;
        let end = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let origin = Origin {
            id: self.opened,
            peer: end(1),
            local: end(2),
        };
        self.clients.push(self.machine.client_opened(origin));
    }

    fn client_sends(&mut self, bytes: &[u8]) {
        let Some(key) = self.input.pick(&self.clients) else {
            return;
        };
        if self.paused_clients.contains(&key) {
            return;
        }
        if self.machine.client_bytes(key, bytes) == Flow::Pause {
            self.paused_clients.insert(key);
        }
    }

    /// Closes everything, and checks that nothing is left.
    fn end(mut self) {
        for key in std::mem::take(&mut self.clients) {
            self.machine.client_closed(key);
        }
        assert_eq!(self.machine.clients(), 0);
        self.machine.drain();
        self.turn();
        assert!(self.machine.is_drained());
        // A lost link may leave a successor, which no client needs; and no answer is awaited.
        for _ in 0..4 {
            for (key, _) in std::mem::take(&mut self.wires) {
                self.machine.link_failed(key, &Failure::Lost);
            }
            self.turn();
        }
        for _ in 0..4 {
            self.sleep(5_000);
            self.machine.tick();
            self.turn();
        }
        assert_eq!(self.machine.outbound_bytes(), 0);
        assert_eq!(self.machine.links(), 0);
        assert_eq!(self.machine.next_deadline(), None);
        self.snapshots.end();
    }
}
