//! The process: threads, the listener and the hand-off, signals, the drain.
//!
//! | thread | what it does | ends |
//! |---|---|---|
//! | acceptor | accepts, hands each client to the worker with the fewest | when draining begins |
//! | worker 0..n | a [`Reactor`] each | when its last client is gone, or told to |
//! | directory | follows the registry, resolves names | with the process |
//! | the caller of [`Proxy::run`] | waits for signals | when all workers ended |

mod acceptor;
mod directory;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, MemoryRegistry, RegistryError,
};
use crate::config::{AdminCommands, Config, OnLoss};
use crate::proxy::{Machine, Settings};
use crate::reactor::{Inbox, Message, Reactor, poll_and_inbox};
use crate::resp::RequestLimits;

use acceptor::{AcceptLimits, Acceptor, AcceptorHandle};
use directory::Directory;
use shared::{Loads, NewsDesk, WorkerOutside};

/// Descriptors beside the clients': listeners, wakers, logs, and connections to backends.
const SPARE_DESCRIPTORS: u64 = 1_024;

/// A proxy that is configured and not yet started.
pub struct Proxy {
    config: Config,
    registry: Arc<dyn ClusterRegistry>,
}

/// A proxy that runs. Dropping this leaves it running; see [`stop`](Running::stop).
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    acceptor: AcceptorHandle,
    accepting: JoinHandle<()>,
    inboxes: Arc<[Inbox]>,
    workers: Vec<JoinHandle<()>>,
    grace: Duration,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

/// What the thread that started the proxy waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// SIGTERM or SIGINT.
    Signal,
    /// A worker ended.
    WorkerEnded,
    /// No client can be accepted any more.
    ListenerFailed,
}

impl Proxy {
    /// A proxy with this configuration and a registry in memory, which knows the static backend.
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
    /// grace period was over. A second signal ends it at once.
    ///
    /// # Errors
    ///
    /// If the listener cannot be bound, or a thread, a poll or a signal handler cannot be had.
    pub fn run(self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let handle = signals.handle();
        let running = self.start()?;
        let sender = running.sender.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if signal == SIGHUP {
                        log::info!("SIGHUP: nothing to read again in this version");
                    } else if sender.send(Event::Signal).is_err() {
                        return;
                    }
                }
            })?;
        // Its sender is here too, so it cannot be disconnected.
        let event = running.events.recv();
        running.finish(usize::from(event == Ok(Event::WorkerEnded)));
        handle.close();
        match event {
            Ok(Event::Signal) => Ok(()),
            Ok(Event::ListenerFailed) => Err(io::Error::other("the listener failed")),
            _ => Err(io::Error::other("a worker failed")),
        }
    }

    /// Starts, and returns while it runs.
    ///
    /// # Errors
    ///
    /// See [`run`](Self::run).
    pub fn start(self) -> io::Result<Running> {
        let Self { config, registry } = self;
        let default_tenant = add_static_cluster(&config, &*registry).map_err(io::Error::other)?;
        raise_descriptor_limit(&config);
        let (directory, snapshot) = Directory::new(registry, Some(default_tenant.clone()));
        let workers = config.workers();
        let loads = Arc::new(Loads::new(workers));
        let news = Arc::new(NewsDesk::default());
        let mut polls = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..workers {
            let (poll, inbox, receiver) = poll_and_inbox()?;
            polls.push((poll, receiver));
            inboxes.push(inbox);
        }
        let inboxes: Arc<[Inbox]> = inboxes.into();
        let limits = AcceptLimits {
            clients: config.limits.clients,
            per_second: config.limits.accepts_per_second,
        };
        let address = SocketAddr::new(config.bind, config.port);
        let (acceptor, handle) =
            Acceptor::bind(address, limits, Arc::clone(&loads), Arc::clone(&inboxes))?;
        let address = acceptor.local_addr();
        let start = now();
        let (sender, events) = channel();
        let mut threads = Vec::new();
        for (worker, poll) in (0..workers).zip(polls) {
            let outside = WorkerOutside {
                worker: usize::from(worker),
                loads: Arc::clone(&loads),
                news: Arc::clone(&news),
                inboxes: Arc::clone(&inboxes),
            };
            let settings = settings(&config, worker);
            let reactor = Reactor::new(poll, settings, Arc::clone(&snapshot), outside, start);
            threads.push(spawn_worker(worker, reactor, sender.clone())?);
        }
        let failed = sender.clone();
        let accepting = thread::Builder::new()
            .name("acceptor".into())
            .spawn(move || {
                if let Err(error) = acceptor.run() {
                    log::error!("the listener failed: {error}");
                    // If nobody hears it, nobody accepts either.
                    let _ = failed.send(Event::ListenerFailed);
                }
            })?;
        let all = Arc::clone(&inboxes);
        thread::Builder::new()
            .name("directory".into())
            .spawn(move || directory.run(&all))?;
        announce(&config, address, default_tenant.as_str());
        Ok(Running {
            address,
            acceptor: handle,
            accepting,
            inboxes,
            workers: threads,
            grace: Duration::from_secs(config.grace_seconds),
            events,
            sender,
        })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains: no new clients, what is in flight is finished, then the connections are closed.
    /// Returns when that is done, or the grace period is over.
    pub fn stop(self) {
        self.finish(0);
    }

    /// See [`stop`](Self::stop); this many workers were heard to have ended.
    fn finish(self, ended: usize) {
        self.acceptor.close();
        // Its last clients are with the workers before these are told to drain.
        if self.accepting.join().is_err() {
            log::error!("the acceptor panicked");
        }
        log::info!(
            "draining: waiting up to {} s for work in flight",
            self.grace.as_secs()
        );
        tell(&self.inboxes, || Message::Drain);
        let until = now() + self.grace;
        let mut left = self.workers.len() - ended.min(self.workers.len());
        while left > 0 {
            match self
                .events
                .recv_timeout(until.saturating_duration_since(now()))
            {
                Ok(Event::WorkerEnded) => left -= 1,
                Ok(Event::ListenerFailed) => {}
                Ok(Event::Signal) => {
                    log::warn!("second signal: closing what is left");
                    break;
                }
                Err(_) => {
                    log::warn!("the grace period is over: closing what is left");
                    break;
                }
            }
        }
        tell(&self.inboxes, || Message::Stop);
        for worker in self.workers {
            if worker.join().is_err() {
                log::error!("a worker panicked");
            }
        }
        log::info!("stopped");
    }
}

fn tell(inboxes: &[Inbox], message: impl Fn() -> Message) {
    for inbox in inboxes {
        inbox.send(message());
    }
}

fn spawn_worker(
    worker: u16,
    reactor: Reactor<WorkerOutside>,
    end: Sender<Event>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || {
            match reactor.run() {
                Ok(machine) => log_counters(worker, &machine),
                Err(error) => log::error!("worker {worker} failed: {error}"),
            }
            // Nobody listens any more if the grace period is over.
            let _ = end.send(Event::WorkerEnded);
        })
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
) -> Result<crate::cluster::TenantKey, RegistryError> {
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

/// What a worker's machine is told of the configuration.
fn settings(config: &Config, worker: u16) -> Settings {
    let limits = &config.limits;
    let request = limits.request_bytes;
    let after_login = RequestLimits {
        request_bytes_max: request,
        arg_bytes_max: RequestLimits::AFTER_LOGIN.arg_bytes_max.min(request),
        ..RequestLimits::AFTER_LOGIN
    };
    let before_login = RequestLimits {
        request_bytes_max: RequestLimits::BEFORE_LOGIN.request_bytes_max.min(request),
        ..RequestLimits::BEFORE_LOGIN
    };
    Settings {
        worker,
        workers: config.workers(),
        admin_commands: config.admin_commands == AdminCommands::Allow,
        pool_connections_max: config.backend_pool.max_size,
        pool_idle_max: config.backend_pool.max_idle,
        pool_wait_ms: config.backend_pool.wait_ms,
        close_on_loss: config.backend_pool.on_loss == OnLoss::Close,
        pinned_idle_ms: config.backend_pool.pinned_idle_seconds * 1000,
        backend_reply_ms: config.backend_pool.reply_ms,
        backend_connect_ms: config.backend_pool.connect_ms,
        client_in_flight_max: limits.in_flight,
        client_outbound_bytes_max: limits.client_outbound_bytes,
        subscriber_outbound_bytes_max: limits.subscriber_outbound_bytes,
        worker_outbound_bytes_max: limits.worker_outbound_bytes,
        client_login_ms: limits.login_seconds * 1000,
        client_idle_ms: limits.idle_seconds * 1000,
        logins_per_second: limits.logins_per_second,
        before_login,
        after_login,
        // Different for every proxy and worker, so that their reconnects are out of step.
        seed: u64::from(std::process::id()) << 16 | u64::from(worker),
    }
}

/// Asks for as many open files as the limit on clients needs, as redis-server does.
fn raise_descriptor_limit(config: &Config) {
    let wanted = config.limits.clients as u64 + SPARE_DESCRIPTORS;
    let got = rlimit::increase_nofile_limit(wanted).unwrap_or(0);
    if got < wanted {
        log::warn!("only {got} open files are allowed, limit.clients would need {wanted}");
    }
}

fn announce(config: &Config, address: SocketAddr, tenant: &str) {
    log::info!(
        "node {} in namespace {}: {} workers, {} router",
        config.node.id,
        config.node.namespace,
        config.workers(),
        config.router.kind
    );
    log::info!(
        "cluster {}, tenant code {tenant}, backend {}",
        ClusterKey::local(),
        config.router.static_be
    );
    log::info!(
        "service address {}: not served by this version",
        SocketAddr::new(config.bind, config.service_port)
    );
    log::info!("proxy address {address}");
}

#[allow(
    clippy::disallowed_methods,
    reason = "the process's own clock, off the data path"
)]
fn now() -> Instant {
    Instant::now()
}
