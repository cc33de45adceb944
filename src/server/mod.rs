//! The process: threads, the listener and the hand-off, signals, the drain.
//!
//! | thread | what it does | ends |
//! |---|---|---|
//! | acceptor | accepts, hands each client to the worker with the fewest | when draining begins |
//! | worker 0..n | a [`Reactor`] each | when its last client is gone, or told to |
//! | directory | makes the pictures of the clusters that workers see | when the proxy stops |
//! | registry | reads the registry after each change | when the directory has ended |
//! | registry-notify | waits for the registry to tell of a change | with the registry |
//! | resolver 0..3 | look names up | with the directory |
//! | router.file, tenants.file | look at a file | when the proxy stops |
//! | control-plane | asks a control plane | when the proxy stops |
//! | signals | acts on signals | when the proxy has stopped |
//! | the caller of [`Proxy::run`] | waits for a reason to end it | when all others but these ended |

mod acceptor;
mod board;
mod desk;
mod directory;
mod level;
mod names;
mod office;
mod registry;
mod resolver;
mod running;
mod settings;
mod shared;
mod signals;
mod source;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, MemoryRegistry, RegistryError,
    Snapshot, TenantKey,
};
use crate::config::{Config, RouterType};
use crate::proxy::Machine;
use crate::reactor::{Inbox, Message, Reactor, poll_and_inbox};
use mio::Poll;

use acceptor::Acceptor;
use board::Board;
use directory::{Directory, Fact};
use level::Level;
use office::Office;
use registry::{Listing, Watched};
use resolver::Resolver;
use shared::{Loads, WorkerOutside};
use source::Sources;

pub use running::Running;

/// A proxy that is configured and not yet started.
pub struct Proxy {
    config: Config,
    registry: Arc<dyn ClusterRegistry>,
}

/// What the thread that started the proxy waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// SIGTERM or SIGINT.
    Signal,
    /// Somebody asked for a drain.
    Drain,
    /// A worker ended.
    WorkerEnded,
    /// No client can be accepted any more.
    ListenerFailed,
}

impl Proxy {
    /// A proxy with this configuration and a registry in memory. With the static router that knows
    /// the one backend, otherwise nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            registry: Arc::new(MemoryRegistry::new()),
        }
    }

    /// Follows this registry. The static router's cluster is added to it at the start.
    #[must_use]
    pub fn registry(mut self, registry: impl ClusterRegistry + 'static) -> Self {
        self.registry = Arc::new(registry);
        self
    }

    /// Starts, and returns when SIGTERM or SIGINT came and the clients' work was finished, or the
    /// grace period was over. A second signal ends it at once. SIGHUP reads files again.
    ///
    /// # Errors
    ///
    /// If a port cannot be bound, or a thread, a poll or a signal handler cannot be had.
    pub fn run(self) -> io::Result<()> {
        let signals = signals::catch()?;
        let level = Level::new(&self.config);
        if let Some(level) = level.read() {
            log::set_max_level(level);
        }
        let running = self.start()?;
        let sources = Arc::clone(&running.sources);
        let handle = signals::act(signals, level, sources, running.sender())?;
        let event = running.wait();
        running.finish(event);
        handle.close();
        match event {
            Event::Signal | Event::Drain => Ok(()),
            Event::ListenerFailed => Err(io::Error::other("the listener failed")),
            Event::WorkerEnded => Err(io::Error::other("a worker failed")),
        }
    }

    /// Starts, and returns while it runs.
    ///
    /// # Errors
    ///
    /// See [`run`](Self::run).
    pub fn start(self) -> io::Result<Running> {
        let Self { config, registry } = self;
        let default_tenant = match config.router.kind {
            RouterType::Static => Some(add_static_cluster(&config, &*registry)),
            RouterType::Sync => None,
        };
        let default_tenant = default_tenant.transpose().map_err(io::Error::other)?;
        settings::raise_descriptor_limit(&config);
        let workers = config.workers();
        let loads = Arc::new(Loads::new(workers));
        let (polls, inboxes) = polls_and_inboxes(workers)?;
        let address = SocketAddr::new(config.bind, config.port);
        let limits = settings::accept_limits(&config);
        let (acceptor, handle) =
            Acceptor::bind(address, limits, Arc::clone(&loads), Arc::clone(&inboxes))
                .map_err(|error| cannot_listen(address, "port", &error))?;
        let address = acceptor.local_addr();

        let (registry, rings) = Watched::new(registry)?;
        let registry: Arc<dyn ClusterRegistry> = registry;
        let board = Arc::new(Board::new(workers));
        let (facts, told) = channel();
        let sources = Sources::start(&config, &registry, &facts)?;
        let directory = Directory::new(
            (facts.clone(), told),
            default_tenant,
            Listing::read(&*registry),
            Arc::clone(&board),
            Resolver::system(),
        );
        let (sender, events) = channel();
        let office = Arc::new(Office::new(
            &config,
            Arc::clone(&board),
            Arc::clone(&registry),
            Arc::clone(&inboxes),
            handle,
            sender.clone(),
        ));

        let outside = |worker| WorkerOutside {
            worker,
            loads: Arc::clone(&loads),
            facts: facts.clone(),
            inboxes: Arc::clone(&inboxes),
        };
        let snapshot = board.snapshot();
        let threads = spawn_workers(&config, polls, &snapshot, outside, &sender)?;
        let accepting = spawn_acceptor(acceptor, Arc::clone(&inboxes), sender.clone())?;
        let lister = facts.clone();
        spawn("registry", move || {
            registry::read_on(&*registry, &rings, |listing| {
                lister.send(Fact::Listing(listing)).is_ok()
            });
        })?;
        let all = Arc::clone(&inboxes);
        spawn("directory", move || directory.run(&all, || ()))?;
        announce(&config, address);
        Ok(Running {
            address,
            office,
            accepting,
            inboxes,
            sources: Arc::new(sources),
            workers: threads,
            grace: Duration::from_secs(config.grace_seconds),
            facts,
            events,
            sender,
        })
    }
}

/// One of each per worker.
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
fn polls_and_inboxes(workers: u16) -> io::Result<(Vec<(Poll, Receiver<Message>)>, Arc<[Inbox]>)> {
    let mut polls = Vec::new();
    let mut inboxes = Vec::new();
    for _ in 0..workers {
        let (poll, inbox, receiver) = poll_and_inbox()?;
        polls.push((poll, receiver));
        inboxes.push(inbox);
    }
    Ok((polls, inboxes.into()))
}

fn spawn_workers(
    config: &Config,
    polls: Vec<(Poll, Receiver<Message>)>,
    snapshot: &Arc<Snapshot>,
    outside: impl Fn(usize) -> WorkerOutside,
    end: &Sender<Event>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let start = now();
    let mut threads = Vec::new();
    for (worker, poll) in (0..config.workers()).zip(polls) {
        let settings = settings::settings(config, worker);
        let outside = outside(usize::from(worker));
        let reactor = Reactor::new(poll, settings, Arc::clone(snapshot), outside, start);
        let end = end.clone();
        threads.push(spawn(&format!("worker-{worker}"), move || {
            match reactor.run() {
                Ok(machine) => log_counters(worker, &machine),
                Err(error) => log::error!("worker {worker} failed: {error}"),
            }
            // Nobody listens any more if the grace period is over.
            let _ = end.send(Event::WorkerEnded);
        })?);
    }
    Ok(threads)
}

/// Its last clients are with the workers before these are told to drain.
fn spawn_acceptor(
    acceptor: Acceptor,
    inboxes: Arc<[Inbox]>,
    failed: Sender<Event>,
) -> io::Result<JoinHandle<()>> {
    spawn("acceptor", move || {
        if let Err(error) = acceptor.run() {
            log::error!("the listener failed: {error}");
            // If nobody hears it, nobody accepts either.
            let _ = failed.send(Event::ListenerFailed);
        }
        tell(&inboxes, || Message::Drain);
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn tell(inboxes: &[Inbox], message: impl Fn() -> Message) {
    for inbox in inboxes {
        // A worker that has ended needs no telling.
        inbox.send(message());
    }
}

fn cannot_listen(address: SocketAddr, option: &str, error: &io::Error) -> io::Error {
    let text = format!("cannot listen at {address} (--{option}): {error}");
    io::Error::new(error.kind(), text)
}

fn log_counters(worker: u16, machine: &Machine) {
    let n = machine.counters();
    log::info!(
        "worker {worker}: {} clients in all, {} requests forwarded, {} replies, {} errors made here",
        n.clients_opened,
        n.requests,
        n.replies,
        n.errors
    );
    log::debug!("worker {worker}: {n:?}");
}

/// The static router's cluster and its one instance.
fn add_static_cluster(
    config: &Config,
    registry: &dyn ClusterRegistry,
) -> Result<TenantKey, RegistryError> {
    let key = ClusterKey::local();
    let tenant = registry.add_cluster(key.clone())?;
    let backend = &config.router.static_be;
    let endpoint = Endpoint {
        addr: backend.host.clone(),
        port: backend.port,
        name: "redis".to_owned(),
    };
    registry.status_change(ClusterInstance::new(key, "static", endpoint))?;
    Ok(tenant)
}

fn announce(config: &Config, address: SocketAddr) {
    log::info!(
        "node {} in namespace {}: {} workers, {} router",
        config.node.id,
        config.node.namespace,
        config.workers(),
        config.router.kind
    );
    match config.router.kind {
        RouterType::Static => {
            let key = ClusterKey::local();
            let (tenant, backend) = (key.tenant(), &config.router.static_be);
            log::info!("cluster {key}, tenant code {tenant}, backend {backend}");
        }
        RouterType::Sync => log::info!("clusters come from {}", sources(config)),
    }
    log::info!("proxy address {address}");
}

/// What the sync router follows.
fn sources(config: &Config) -> String {
    let mut sources = Vec::new();
    if let Some(address) = &config.router.cp_addr {
        sources.push(format!("the control plane at {address}"));
    }
    if let Some(file) = &config.router.file {
        sources.push(format!("the file {}", file.display()));
    }
    if config.service_enable {
        sources.push("the service port".to_owned());
    }
    match sources.is_empty() {
        true => "the registry it was given".to_owned(),
        false => sources.join(", "),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the process's own clock, off the data path"
)]
fn now() -> Instant {
    Instant::now()
}
