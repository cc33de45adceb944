//! Any bytes as a sequence of operations on a [`Machine`]: called by the fuzz target and by the
//! replay of its corpus.
//!
//! Owns a reactor without sockets that may do anything a network can do, in any order, and
//! servers that answer well, badly or with noise. [`Machine::check_invariants`] runs in each call;
//! in the end everything is taken away, and nothing may be left. Not for the data path.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::cluster::{ClusterInstance, ClusterKey, Endpoint, Snapshot, TenantKey};
use crate::resp::{Args, RequestDecoder, RequestLimits, Step, write};

use super::{
    Action, Answer, BackendKey, ClientKey, ConnKey, Failure, Flow, Machine, Millis, Origin,
    SLICES_MAX, Settings,
};

mod speech;

use speech::{REPLIES, REQUESTS, Session, reply_to};

/// Longer inputs add nothing but time.
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

/// The input; 0 when it is at its end, for those who need a number.
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

/// A connection to a server, as the network sees it.
#[derive(Default)]
struct Link {
    open: bool,
    /// What the server got and has not answered.
    got: Vec<u8>,
    session: Session,
}

struct World<'a> {
    input: Bytes<'a>,
    machine: Machine,
    now: Millis,
    clients: Vec<ClientKey>,
    links: BTreeMap<BackendKey, Link>,
    paused_clients: BTreeSet<ClientKey>,
    paused_links: BTreeSet<BackendKey>,
    /// Workers that were asked something, and by whom.
    asked: Vec<(ClientKey, Answer)>,
    tenant: TenantKey,
    opened: u64,
    version: u64,
}

impl<'a> World<'a> {
    fn new(mut input: Bytes<'a>) -> Self {
        let shape = input.number();
        let own = if shape & 128 == 0 { 0 } else { input.number() };
        let settings = Settings {
            workers: if shape & 1 == 0 { 1 } else { 2 },
            admin_commands: shape & 2 == 0,
            pool_connections_max: if shape & 4 == 0 { 30 } else { 1 },
            client_in_flight_max: if shape & 8 == 0 { 4096 } else { 2 },
            client_outbound_bytes_max: if shape & 16 == 0 { 64 << 20 } else { 400_000 },
            logins_per_second: if shape & 32 == 0 { 200 } else { 1 },
            pool_idle_max: if own & 1 == 0 { 10 } else { 0 },
            pool_wait_ms: if own & 2 == 0 { 5_000 } else { 100 },
            pinned_idle_ms: if own & 4 == 0 { 300_000 } else { 1_000 },
            subscriber_outbound_bytes_max: if own & 8 == 0 { 32 << 20 } else { 50 },
            ..Settings::default()
        };
        let machine = Machine::new(settings, snapshot(0, shape & 64 == 0, true));
        Self {
            input,
            machine,
            now: Millis::default(),
            clients: Vec::new(),
            links: BTreeMap::new(),
            paused_clients: BTreeSet::new(),
            paused_links: BTreeSet::new(),
            asked: Vec::new(),
            tenant: ClusterKey::local().tenant(),
            opened: 0,
            version: 0,
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
                self.client_says(request.as_bytes());
            }
            5 => {
                let n = self.input.number() % 32;
                let raw = self.input.take(n);
                self.client_says(raw);
            }
            6 => {
                let mut big = Vec::new();
                let value = vec![b'v'; 300 * self.input.number()];
                write::command(&mut big, &[b"SET", b"k", &value]);
                self.client_says(&big);
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
                self.server_says(reply.as_bytes());
            }
            13 => {
                let n = self.input.number() % 32;
                let raw = self.input.take(n);
                self.server_says(raw);
            }
            14 => self.serve(),
            15 => self.flush(),
            16 => {
                self.now = self.now.after(1 << (self.input.number() % 17));
                self.machine.tick(self.now);
            }
            17 => self.rare(),
            _ => {
                self.turn();
                self.flush();
            }
        }
    }

    /// What the reactor does once per turn.
    fn turn(&mut self) {
        self.machine.resume(self.now);
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect(key, _) => {
                    self.links.insert(key, Link::default());
                }
                Action::Close(ConnKey::Client(key)) => self.clients.retain(|other| *other != key),
                Action::Close(ConnKey::Backend(key)) => {
                    self.links.remove(&key);
                }
                Action::Resume(ConnKey::Client(key)) => {
                    self.paused_clients.remove(&key);
                }
                Action::Resume(ConnKey::Backend(key)) => {
                    self.paused_links.remove(&key);
                }
                Action::Ask(key, question) => {
                    let answer = self.machine.peer_asked(question);
                    self.asked.push((key, answer));
                }
                Action::Report(_) => {}
            }
        }
    }

    fn rare(&mut self) {
        match self.input.number() % 10 {
            8 | 9 => {
                if let Some(key) = self.input.pick(&self.clients) {
                    self.machine.client_hung_up(key);
                }
            }
            0 => self.machine.drain(),
            1 | 2 => {
                let (listed, open) = (self.input.number(), self.input.number());
                self.version += 1;
                let snapshot = snapshot(self.version, open % 2 == 0, listed % 2 == 0);
                self.machine.registry_changed(snapshot, self.now);
            }
            _ => {
                if let Some((key, answer)) = self.asked.pop() {
                    self.machine.peer_told(key, answer);
                }
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
        self.clients
            .push(self.machine.client_opened(origin, self.now));
    }

    fn client_says(&mut self, bytes: &[u8]) {
        let Some(key) = self.input.pick(&self.clients) else {
            return;
        };
        if self.paused_clients.contains(&key) {
            return;
        }
        if self.machine.client_bytes(key, bytes, self.now) == Flow::Pause {
            self.paused_clients.insert(key);
        }
    }

    /// A link for which `wanted` holds.
    fn link(&mut self, wanted: impl Fn(&BackendKey, &Link) -> bool) -> Option<BackendKey> {
        let links = self.links.iter();
        let keys: Vec<BackendKey> = links
            .filter(|(key, link)| wanted(key, link))
            .map(|(key, _)| *key)
            .collect();
        self.input.pick(&keys)
    }

    fn connect(&mut self) {
        if let Some(key) = self.link(|_, link| !link.open)
            && let Some(link) = self.links.get_mut(&key)
        {
            link.open = true;
            self.machine.backend_connected(key, self.now);
        }
    }

    fn break_link(&mut self) {
        let Some(key) = self.link(|_, _| true) else {
            return;
        };
        self.links.remove(&key);
        let failure = match self.input.number() % 3 {
            0 => Failure::Unreachable("connection refused".into()),
            _ => Failure::Lost,
        };
        self.machine.backend_failed(key, &failure, self.now);
    }

    fn server_says(&mut self, bytes: &[u8]) {
        let paused = self.paused_links.clone();
        if let Some(key) = self.link(|key, link| link.open && !paused.contains(key)) {
            self.deliver(key, bytes);
        }
    }

    fn deliver(&mut self, key: BackendKey, bytes: &[u8]) {
        if self.machine.backend_bytes(key, bytes, self.now) == Flow::Pause {
            self.paused_links.insert(key);
        }
    }

    /// A server answers all it got, as a good one would.
    fn serve(&mut self) {
        let paused = self.paused_links.clone();
        let Some(key) = self.link(|key, link| link.open && !paused.contains(key)) else {
            return;
        };
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let mut replies = Vec::new();
        let mut decoder = RequestDecoder::default();
        if std::mem::take(&mut link.session.blocked) {
            replies.extend_from_slice(b"*-1\r\n");
        }
        while !link.session.blocked
            && let Ok(Step::Array { len, .. }) =
                decoder.decode(&link.got, &RequestLimits::AFTER_LOGIN)
        {
            let frame: Vec<u8> = link.got.drain(..len).collect();
            reply_to(Args::new(&frame), &mut link.session, &mut replies);
        }
        self.deliver(key, &replies);
    }

    /// The network takes some of what is to be sent.
    fn flush(&mut self) {
        let how = self.input.number();
        while let Some(key) = self.machine.next_dirty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = self.machine.outbound(key, &mut slices);
            let all: Vec<u8> = (slices.iter().take(n))
                .flat_map(|slice| slice.iter().copied())
                .collect();
            let taken = match how % 4 {
                0 => all.len() * (how / 4) / 64,
                _ => all.len(),
            };
            if let ConnKey::Backend(key) = key
                && let Some(link) = self.links.get_mut(&key)
            {
                link.got.extend(all.iter().take(taken));
            }
            self.machine.sent(key, taken);
        }
    }

    /// Everybody goes, and nothing may stay behind.
    fn end(mut self) {
        for key in std::mem::take(&mut self.clients) {
            self.machine.client_closed(key);
        }
        assert_eq!(self.machine.clients(), 0);
        self.machine.drain();
        self.turn();
        assert!(self.machine.is_drained());
        // Those that are lost may leave heirs, which have nobody to serve; nor has an answer.
        for _ in 0..4 {
            for (key, _) in std::mem::take(&mut self.links) {
                self.machine.backend_failed(key, &Failure::Lost, self.now);
            }
            self.turn();
        }
        for _ in 0..4 {
            self.now = self.now.after(5_000);
            self.machine.tick(self.now);
            self.turn();
        }
        assert_eq!(self.machine.outbound_bytes(), 0);
        assert_eq!(self.machine.backends(), 0);
        assert_eq!(self.machine.next_deadline(), None);
    }
}

/// What the registry says: one instance, or none.
fn snapshot(version: u64, has_default: bool, listed: bool) -> Arc<Snapshot> {
    let key = ClusterKey::local();
    let default = has_default.then(|| key.tenant());
    let endpoint = Endpoint {
        addr: "10.0.0.1".into(),
        port: 6379,
        name: String::new(),
    };
    let instance = ClusterInstance::new(key, "one", endpoint);
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 6379));
    let instances = listed.then(|| (instance, vec![address]));
    Arc::new(Snapshot::new(version, default, instances))
}
