//! A worker without sockets: bytes of clients and of a backend in, bytes out, turn by turn.
//!
//! Owns the clients, who all ask the same at once, and the backend, which answers all of it at
//! once. Between two turns it allocates nothing itself, so that what is counted is the machine's.

use std::io::IoSlice;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use elika::cluster::{ClusterInstance, ClusterKey, Endpoint, Snapshot};
use elika::proxy::{Action, ClientKey, ConnKey, LinkKey, Machine, Origin, SLICES_MAX, Settings};
use elika::resp::write;

/// What a reactor reads at once, bytes.
const READ_BYTES: usize = 64 * 1024;

/// What a server says to parts of a handshake, and to a login that is verified.
const ANSWERS: &[(&[u8], &[u8])] = &[
    (b"AUTH", b"+OK\r\n"),
    (
        b"HELLO",
        b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n",
    ),
    (b"COMMAND", b"*0\r\n"),
];

/// Round trips of a login at most.
const FLIGHTS_MAX: usize = 8;

/// See the module.
pub(crate) struct Worker {
    machine: Machine,
    /// Microseconds since the start.
    clock: u64,
    clients: Vec<ClientKey>,
    /// Connections to the backend, and how many bytes of requests each got in this turn.
    backends: Vec<(LinkKey, usize)>,
    /// Bytes that clients have got.
    delivered: usize,
    /// What backends were sent while clients log in.
    flights: Vec<(LinkKey, Vec<u8>)>,
    logging_in: bool,
}

/// What all clients ask in a turn, and what they hear.
#[derive(Clone)]
pub(crate) struct Exchange {
    /// A pipeline of requests.
    request: Vec<u8>,
    /// The reply to one request.
    reply: Vec<u8>,
    /// As many replies as can be read at once.
    replies: Vec<u8>,
    /// Requests in the pipeline.
    pub(crate) pipeline: usize,
}

impl Exchange {
    /// `pipeline` times the command of these words, each answered with a string of `size` bytes.
    pub(crate) fn new(words: &[&[u8]], pipeline: usize, size: usize) -> Self {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        write::command(&mut request, words);
        write::bulk(&mut reply, &vec![b'x'; size]);
        let together = (READ_BYTES / reply.len()).max(1);
        Self {
            request: request.repeat(pipeline),
            replies: reply.repeat(together),
            reply,
            pipeline,
        }
    }

    /// GET of a value.
    pub(crate) fn get(pipeline: usize, size: usize) -> Self {
        Self::new(&[b"GET", b"key:000000012345"], pipeline, size)
    }
}

impl Worker {
    /// A worker with this many clients, all logged in as the same user.
    pub(crate) fn new(clients: usize) -> Self {
        Self::following(one_instance(), clients)
    }

    /// The same, with this picture of the clusters, which several workers may share.
    pub(crate) fn following(clusters: Arc<Snapshot>, clients: usize) -> Self {
        let settings = Settings {
            // Not the first of its process, so that it opens connections for clients only.
            worker: 1,
            ..Settings::default()
        };
        let mut worker = Self {
            machine: Machine::new(settings, clusters),
            clock: 1_000_000,
            clients: Vec::new(),
            backends: Vec::new(),
            delivered: 0,
            flights: Vec::new(),
            logging_in: true,
        };
        for _ in 0..clients {
            worker.log_in();
        }
        worker.logging_in = false;
        worker.backends.iter_mut().for_each(|backend| backend.1 = 0);
        worker
    }

    fn log_in(&mut self) {
        let address = SocketAddr::from(([127, 0, 0, 1], 1_000));
        let origin = Origin {
            id: self.clients.len() as u64,
            peer: address,
            local: address,
        };
        let client = self.machine.client_opened(origin);
        let mut known = self.backends.len();
        self.client_says(client, b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$2\r\npw\r\n");
        self.turn();
        for _ in 0..FLIGHTS_MAX {
            while let Some(&(backend, _)) = self.backends.get(known) {
                known += 1;
                self.machine.link_connected(backend);
                self.turn();
            }
            for (backend, flight) in mem::take(&mut self.flights) {
                let said = |word: &&(&[u8], &[u8])| {
                    { flight.windows(word.0.len()) }.any(|it| it.eq_ignore_ascii_case(word.0))
                };
                let answers = ANSWERS.iter().filter(said).map(|(_, answer)| *answer);
                self.backend_says(backend, &answers.collect::<Vec<_>>().concat());
                self.turn();
            }
        }
        self.clients.push(client);
    }

    /// The first `active` clients ask, and hear. Returns the number of requests.
    pub(crate) fn exchange(&mut self, active: usize, exchange: &Exchange) -> usize {
        let (before, reply_bytes) = (self.delivered, exchange.reply.len());
        for i in 0..active {
            self.client_says(self.clients[i], &exchange.request);
        }
        self.turn();
        let request_bytes = exchange.request.len() / exchange.pipeline;
        for i in 0..self.backends.len() {
            let backend = self.backends[i].0;
            let mut left = mem::take(&mut self.backends[i].1) / request_bytes;
            while left > 0 {
                let together = left.min(exchange.replies.len() / reply_bytes);
                self.backend_says(backend, &exchange.replies[..together * reply_bytes]);
                left -= together;
            }
        }
        self.turn();
        let count = active * exchange.pipeline;
        assert_eq!(self.delivered - before, count * reply_bytes, "replies");
        count
    }

    /// As a reactor reads it: piece by piece, and each piece in a turn of its own.
    fn client_says(&mut self, client: ClientKey, bytes: &[u8]) {
        let mut parts = bytes.chunks(READ_BYTES).peekable();
        while let Some(part) = parts.next() {
            self.machine.client_bytes(client, part);
            if parts.peek().is_some() {
                self.turn();
            }
        }
    }

    fn backend_says(&mut self, backend: LinkKey, bytes: &[u8]) {
        let mut parts = bytes.chunks(READ_BYTES).peekable();
        while let Some(part) = parts.next() {
            self.machine.link_bytes(backend, part);
            if parts.peek().is_some() {
                self.turn();
            }
        }
    }

    /// What a turn of the loop does, but for reading.
    fn turn(&mut self) {
        self.clock += 10;
        self.machine.clock(self.clock);
        self.machine.resume();
        self.actions();
        self.machine.tick();
        while let Some(key) = self.machine.next_dirty() {
            self.flush(key);
        }
        self.actions();
    }

    fn actions(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect(key, _) => self.backends.push((key, 0)),
                Action::Close(ConnKey::Link(_)) if self.logging_in => {}
                Action::Close(key) => panic!("{key:?} was closed"),
                _ => {}
            }
        }
    }

    fn flush(&mut self, key: ConnKey) {
        let mut more = true;
        while more {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = self.machine.outbound(key, &mut slices);
            let bytes = slices[..n].iter().map(|slice| slice.len()).sum();
            if let ConnKey::Link(key) = key
                && self.logging_in
            {
                let bytes: Vec<&[u8]> = slices[..n].iter().map(|slice| &**slice).collect();
                self.flights.push((key, bytes.concat()));
            }
            more = self.machine.sent(key, bytes);
            match key {
                ConnKey::Client(_) => self.delivered += bytes,
                ConnKey::Link(key) => {
                    let of = self.backends.iter_mut().find(|(other, _)| *other == key);
                    of.expect("it was opened").1 += bytes;
                }
            }
        }
    }
}

/// One cluster with one instance.
pub(crate) fn one_instance() -> Arc<Snapshot> {
    let key = ClusterKey::local();
    let endpoint = Endpoint::new("127.0.0.1", 6379);
    let address = SocketAddr::from(([127, 0, 0, 1], 6_379));
    let instance = ClusterInstance::new(key.clone(), "one", endpoint);
    let tenant = Some(key.tenant());
    Arc::new(Snapshot::new(1, tenant, [(instance, vec![address])]))
}
