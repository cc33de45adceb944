//! A worker without a reactor: the machine, a virtual clock, and the far ends of all connections,
//! which are controlled by the test.
//!
//! Each call to the machine runs one whole turn: clients continue, actions are collected, and every
//! connection is flushed, unless its far end is stalled.

use std::collections::{HashMap, HashSet};
use std::io::IoSlice;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use elika::cluster::{ClusterInstance, ClusterKey, Endpoint, Snapshot};
use elika::command::proxy_command;
use elika::proxy::{
    Action, ClientKey, ConnKey, Failure, Flow, LinkKey, Machine, Millis, Notice, Origin,
    SLICES_MAX, Settings,
};
use elika::resp::write;

/// The bytes that a reactor reads at once.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Milliseconds between two ticks.
const STEP_MS: u64 = 100;

/// The errors of a server for a missing login and for a wrong one.
pub(crate) const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
pub(crate) const WRONGPASS: &str =
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

const HELLO_2: &str = "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";
const HELLO_3: &str = "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";

/// The key of a client or of a backend connection.
pub(crate) trait Key {
    fn key(self) -> ConnKey;
}

impl Key for ClientKey {
    fn key(self) -> ConnKey {
        ConnKey::Client(self)
    }
}

impl Key for LinkKey {
    fn key(self) -> ConnKey {
        ConnKey::Link(self)
    }
}

impl Key for ConnKey {
    fn key(self) -> ConnKey {
        self
    }
}

/// A machine with its far ends.
pub(crate) struct Worker {
    pub(crate) machine: Machine,
    pub(crate) now: Millis,
    clients: u64,
    /// Connections that the machine has requested and the test has not taken.
    begun: Vec<LinkKey>,
    /// The addresses of all connections so far.
    addresses: HashMap<LinkKey, SocketAddr>,
    closed: Vec<ConnKey>,
    resumed: Vec<ConnKey>,
    questions: usize,
    notices: Vec<Notice>,
    /// Far ends that do not read.
    stalled: HashSet<ConnKey>,
    /// The bytes that the other far ends have received.
    received: HashMap<ConnKey, Vec<u8>>,
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A worker in front of one instance. It is not the first worker of its process, so it opens
    /// connections for its clients only.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_snapshot(one_instance(), change)
    }

    /// A worker that starts with this snapshot.
    pub(crate) fn with_snapshot(
        snapshot: Arc<Snapshot>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings {
            worker: 1,
            ..Settings::default()
        };
        change(&mut settings);
        let mut worker = Self {
            machine: Machine::new(settings, snapshot),
            now: Millis::default(),
            clients: 0,
            begun: Vec::new(),
            addresses: HashMap::new(),
            closed: Vec::new(),
            resumed: Vec::new(),
            questions: 0,
            notices: Vec::new(),
            stalled: HashSet::new(),
            received: HashMap::new(),
        };
        worker.advance_clock(1_000);
        worker
    }

    /// Advances the clock without running a turn.
    pub(crate) fn advance_clock(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.machine.clock(self.now.0 * 1_000);
    }

    /// Runs one turn of the loop with its flush.
    pub(crate) fn turn(&mut self) {
        self.machine.resume();
        self.note_actions();
        while let Some(key) = self.machine.next_dirty() {
            if !self.stalled.contains(&key) {
                self.take(key, usize::MAX);
            }
        }
        self.note_actions();
    }

    fn note_actions(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect(key, address) => {
                    self.begun.push(key);
                    self.addresses.insert(key, address);
                }
                Action::Close(key) => self.closed.push(key),
                Action::Resume(key) => self.resumed.push(key),
                Action::Ask(..) => self.questions += 1,
                Action::HealthEvent(_) => {}
                Action::Notice(notice) => self.notices.push(*notice),
            }
        }
    }

    /// Runs turns until the machine has no more work.
    pub(crate) fn settle(&mut self) {
        self.turn();
        while self.machine.has_ready() {
            self.turn();
        }
    }

    /// Advances time with the ticks and turns of a reactor.
    pub(crate) fn advance(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(STEP_MS);
            left -= step;
            self.advance_clock(step);
            self.machine.tick();
            self.turn();
        }
    }

    /// Makes the far end of a connection stop reading.
    pub(crate) fn stall(&mut self, key: impl Key) {
        let key = key.key();
        self.stalled.insert(key);
    }

    /// Makes the far end read again, including everything that waits.
    pub(crate) fn unstall(&mut self, key: impl Key) {
        let key = key.key();
        self.stalled.remove(&key);
        self.take(key, usize::MAX);
        self.settle();
    }

    /// Reads up to `max` bytes at a far end, also at a stalled one.
    pub(crate) fn take(&mut self, key: impl Key, max: usize) {
        let key = key.key();
        let received = self.received.entry(key).or_default();
        let mut left = max;
        while left > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = self.machine.outbound(key, &mut slices);
            let before = left;
            for slice in &slices[..n] {
                let part = &slice[..left.min(slice.len())];
                received.extend_from_slice(part);
                left -= part.len();
            }
            if !self.machine.sent(key, before - left) {
                return;
            }
        }
    }

    /// Reads and discards everything that waits for a far end.
    pub(crate) fn discard(&mut self, key: impl Key) {
        let key = key.key();
        let mut more = true;
        while more {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = self.machine.outbound(key, &mut slices);
            let len = slices[..n].iter().map(|slice| slice.len()).sum();
            more = self.machine.sent(key, len);
        }
    }

    /// Removes the instance from the registry.
    pub(crate) fn remove_instance(&mut self) {
        let tenant = ClusterKey::local().tenant();
        self.apply(Arc::new(Snapshot::new(2, Some(tenant), [])));
    }

    /// Gives the machine a new snapshot.
    pub(crate) fn apply(&mut self, snapshot: Arc<Snapshot>) {
        self.machine.registry_changed(snapshot);
        self.turn();
    }

    // Clients.

    /// A worker in front of one instance, a logged-in client, and its connection.
    pub(crate) fn with_user(name: &str) -> (Self, ClientKey, LinkKey) {
        let mut worker = Self::new();
        let (client, backend) = worker.user(name);
        (worker, client, backend)
    }

    /// A new client that sends this command.
    pub(crate) fn client_sends(&mut self, line: &str) -> ClientKey {
        let client = self.client();
        self.send(client, line);
        client
    }

    pub(crate) fn client(&mut self) -> ClientKey {
        self.client_from([127, 0, 0, 1])
    }

    pub(crate) fn client_from(&mut self, host: impl Into<IpAddr>) -> ClientKey {
        self.clients += 1;
        let address = SocketAddr::new(host.into(), 1_000);
        let origin = Origin {
            id: self.clients,
            peer: address,
            local: address,
        };
        self.machine.client_opened(origin)
    }

    /// A client without a login, and the connection that was opened for it.
    pub(crate) fn anonymous(&mut self) -> (ClientKey, LinkKey) {
        let client = self.client_sends("UNWATCH");
        let backend = self.established();
        assert_eq!(self.received(client), "+OK\r\n");
        (client, backend)
    }

    /// A logged-in client, and the connection that was opened for it.
    pub(crate) fn user(&mut self, name: &str) -> (ClientKey, LinkKey) {
        let client = self.client_sends(&format!("AUTH {name} pw"));
        let backend = self.established();
        assert_eq!(self.received(client), "+OK\r\n");
        (client, backend)
    }

    /// A client that logs in with this password, for which only a verifying connection may be
    /// opened.
    pub(crate) fn log_in(&mut self, name: &str, password: &str) -> ClientKey {
        let client = self.client();
        let before = self.begun.len();
        self.send(client, &format!("AUTH {name} {password}"));
        for backend in self.begun.split_off(before) {
            self.open(backend);
        }
        let on = self.verifier();
        self.reply(on, "+OK\r\n");
        assert_eq!(self.received(client), "+OK\r\n");
        client
    }

    /// The connection that has received AUTH and nothing else.
    #[track_caller]
    pub(crate) fn verifier(&mut self) -> LinkKey {
        let is_auth = |bytes: &Vec<u8>| {
            let words = bytes.starts_with(b"*2\r\n$4\r\nAUTH\r\n");
            words || bytes.starts_with(b"*3\r\n$4\r\nAUTH\r\n")
        };
        let asked = self.received.iter().filter(|(_, bytes)| is_auth(bytes));
        let mut keys: Vec<LinkKey> = asked
            .filter_map(|(key, _)| match key {
                ConnKey::Link(key) => Some(*key),
                ConnKey::Client(_) => None,
            })
            .collect();
        keys.sort();
        assert!(!keys.is_empty(), "nobody is asked to verify a login");
        self.received.remove(&ConnKey::Link(keys[0]));
        keys[0]
    }

    /// A client sends the words of a line as a command.
    pub(crate) fn send(&mut self, client: ClientKey, line: &str) -> Flow {
        self.send_bytes(client, command(line))
    }

    /// A client sends bytes, at most as many as are read at once.
    pub(crate) fn send_bytes(&mut self, client: ClientKey, bytes: impl AsRef<[u8]>) -> Flow {
        let flow = self.machine.client_bytes(client, bytes.as_ref());
        self.turn();
        flow
    }

    /// Each of these clients sends the same command before one turn.
    pub(crate) fn send_all(&mut self, clients: &[ClientKey], line: &str) {
        for &client in clients {
            self.machine.client_bytes(client, &command(line));
        }
    }

    /// A client sends many bytes, which are read in pieces.
    pub(crate) fn send_large(&mut self, client: ClientKey, bytes: &[u8]) {
        for part in bytes.chunks(READ_BYTES) {
            self.send_bytes(client, part);
        }
    }

    /// The bytes that a client has received since the last call.
    pub(crate) fn received(&mut self, client: ClientKey) -> String {
        self.received_by(ConnKey::Client(client))
    }

    // Backends.

    /// The only connection that the machine has requested since the last call.
    #[track_caller]
    pub(crate) fn new_link(&mut self) -> LinkKey {
        let begun = self.new_links();
        assert_eq!(begun.len(), 1, "{begun:?} were begun");
        begun[0]
    }

    /// The only new connection, after the server has accepted its handshake.
    #[track_caller]
    pub(crate) fn established(&mut self) -> LinkKey {
        let backend = self.new_link();
        self.establish(backend);
        backend
    }

    /// The connections that the machine has requested since the last call.
    pub(crate) fn new_links(&mut self) -> Vec<LinkKey> {
        mem::take(&mut self.begun)
    }

    /// The last octet of the address that the connection is made to.
    pub(crate) fn host(&self, backend: LinkKey) -> u8 {
        match self.addresses[&backend].ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        }
    }

    /// The port that the connection is made to.
    pub(crate) fn port(&self, backend: LinkKey) -> u16 {
        self.addresses[&backend].port()
    }

    /// The connection is open.
    pub(crate) fn open(&mut self, backend: LinkKey) {
        self.machine.link_connected(backend);
        self.turn();
    }

    /// The connection is open. Returns the first requests of its handshake.
    pub(crate) fn open_handshake(&mut self, backend: LinkKey) -> String {
        self.open(backend);
        self.requests(backend)
    }

    /// The connection is open, and the server accepts its handshake.
    pub(crate) fn establish(&mut self, backend: LinkKey) {
        let flight = self.open_handshake(backend);
        self.accept_handshake(backend, flight);
    }

    /// The server accepts these requests of a handshake and those that follow. Returns all of them.
    pub(crate) fn accept_handshake(&mut self, backend: LinkKey, mut flight: String) -> String {
        let mut all = String::new();
        while !flight.is_empty() {
            all += &flight;
            let said = |word: &str| flight.contains(&format!("{word}\r\n"));
            let mut answer = String::new();
            let last = said("HELLO");
            if last {
                let three = said("HELLO\r\n$1\r\n3");
                answer += if three { HELLO_3 } else { HELLO_2 };
            }
            if said("SELECT") || said("AUTH") {
                answer += "+OK\r\n";
            }
            if said("COMMAND") {
                answer += "*0\r\n";
            }
            self.reply(backend, answer);
            if last {
                break;
            }
            flight = self.requests(backend);
        }
        all
    }

    /// The server receives a permission probe for a CLIENT command, and permits it.
    #[track_caller]
    pub(crate) fn permit(&mut self, backend: LinkKey) {
        let question = self.requests(backend);
        assert!(question.contains("\r\nCLIENT\r\n"), "asked {question:?}");
        self.reply(backend, "-ERR syntax error\r\n");
    }

    /// The connection is open, and is lost together with the accepted handshake: no request can be
    /// sent on it.
    pub(crate) fn establish_and_fail(&mut self, backend: LinkKey) {
        let mut answer = HELLO_2.to_owned();
        if self.open_handshake(backend).contains("COMMAND\r\n") {
            answer += "*0\r\n";
        }
        self.machine.link_bytes(backend, answer.as_bytes());
        self.fail(backend, &Failure::Lost);
    }

    /// The connection is open, and the server answers its handshake with an error.
    pub(crate) fn refuse_handshake(&mut self, backend: LinkKey, error: &str) {
        // A handshake that starts with SELECT first gets NOAUTH for it.
        if self
            .open_handshake(backend)
            .starts_with("*2\r\n$6\r\nSELECT")
        {
            self.reply(backend, "-NOAUTH Authentication required.\r\n");
        }
        self.reply(backend, error);
    }

    /// A backend sends bytes. Returns the flow that the machine asks for after the last of them.
    pub(crate) fn reply(&mut self, backend: LinkKey, bytes: impl AsRef<[u8]>) -> Flow {
        let mut flow = Flow::Continue;
        for part in bytes.as_ref().chunks(READ_BYTES) {
            flow = self.machine.link_bytes(backend, part);
            self.turn();
        }
        flow
    }

    /// A backend sends this reply, and the client receives it and nothing else.
    #[track_caller]
    pub(crate) fn deliver(&mut self, backend: LinkKey, client: ClientKey, reply: &str) {
        self.reply(backend, reply);
        assert_eq!(self.received(client), reply);
    }

    pub(crate) fn fail(&mut self, backend: LinkKey, failure: &Failure) {
        self.machine.link_failed(backend, failure);
        self.turn();
    }

    /// The bytes that a backend has received since the last call.
    pub(crate) fn requests(&mut self, backend: LinkKey) -> String {
        self.received_by(ConnKey::Link(backend))
    }

    // The reactor.

    /// Whether the machine has asked, since the last call, to read this connection again.
    pub(crate) fn resumed(&mut self, key: impl Key) -> bool {
        let key = key.key();
        mem::take(&mut self.resumed).contains(&key)
    }

    /// Whether the machine has ever asked to close this connection.
    pub(crate) fn closed(&self, key: impl Key) -> bool {
        let key = key.key();
        self.closed.contains(&key)
    }

    /// The log lines since the last call.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    /// The number of questions to other workers so far.
    pub(crate) fn questions(&self) -> usize {
        self.questions
    }

    fn received_by(&mut self, key: ConnKey) -> String {
        let bytes = self.received.remove(&key).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Commands of the proxy are shown with the names that clients write.
        let own = [
            "AUTH", "CLIENT", "COMMAND", "HELLO", "PING", "ROLE", "SELECT", "WAIT",
        ];
        own.iter().fold(text, |text, name| {
            let marked = marked_name(name);
            text.replace(&format!("\r\n{marked}\r\n"), &format!("\r\n{name}\r\n"))
        })
    }
}

/// The name of a proxy command with its mark.
fn marked_name(name: &str) -> String {
    let mut own = Vec::new();
    proxy_command::write(&mut own, &[name.as_bytes()]);
    let own = String::from_utf8(own).unwrap();
    own.lines().nth(2).unwrap().to_owned()
}

fn one_instance() -> Arc<Snapshot> {
    let key = ClusterKey::local();
    let endpoint = Endpoint::new("127.0.0.1", 6379);
    let address = SocketAddr::from(([127, 0, 0, 1], 6_379));
    let instance = ClusterInstance::new(key.clone(), "one", endpoint);
    Arc::new(Snapshot::new(
        1,
        Some(key.tenant()),
        [(instance, vec![address])],
    ))
}

/// A request with the words of a line.
pub(crate) fn command(line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut out = Vec::new();
    write::command(&mut out, &words);
    out
}

/// A SET with a value of `n` bytes.
pub(crate) fn set(n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write::command(&mut out, &[b"SET", b"k", &vec![b'x'; n]]);
    out
}

/// A reply with a value of `n` bytes.
pub(crate) fn value(n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write::bulk(&mut out, &vec![b'x'; n]);
    out
}
