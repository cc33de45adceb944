//! The process: threads, the listener and the hand-off, signals, the drain.
//!
//! | thread | what it does | ends |
//! |---|---|---|
//! | worker 0..n | a [`crate::reactor`] each; 0 accepts | when its last client is gone, or told |
//! | directory | makes the pictures of the clusters that workers see | when the proxy stops |
//! | service | the service port: HTTP | last of all |
//! | service-calls, service-pages | what takes long there | with it |
//! | registry | reads the registry after each change | when the directory has ended |
//! | registry-notify | waits for the registry to tell of a change | with the registry |
//! | resolver 0..3 | look names up | with the directory |
//! | router.file, tenants.file | look at a file | when the proxy stops |
//! | control-plane | asks a control plane | when the proxy stops |
//! | signals | acts on signals | when the proxy has stopped |
//! | the caller of [`Proxy::run`] | waits for a reason to end it | when workers and service ended |

mod acceptor;
mod announce;
mod board;
mod complaints;
mod desk;
mod directory;
mod level;
mod loads;
mod memory;
mod names;
mod office;
mod outside;
mod registry;
mod resolver;
mod running;
mod service;
mod settings;
mod signals;
mod source;
mod spawn;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, MemoryRegistry, RegistryError,
    TenantKey,
};
use crate::config::{Config, RouterType};

use acceptor::Acceptor;
use announce::announce;
use board::Board;
use directory::{Directory, Fact};
use level::Level;
use loads::Loads;
use office::Office;
use outside::WorkerOutside;
use registry::{News, Ring, Watched};
use resolver::Resolver;
use service::Service;

use source::Sources;
use spawn::spawn;
use workers::{polls_and_inboxes, spawn_workers, tell};

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
            Event::WorkerEnded => Err(io::Error::other("a worker failed")),
        }
    }

    /// Starts, and returns while it runs.
    ///
    /// # Errors
    ///
    /// See [`run`](Self::run).
    pub fn start(self) -> io::Result<Running> {
        let Self {
            mut config,
            registry,
        } = self;
        let default_tenant = default_tenant(&config, &*registry)?;
        settings::fit_descriptors(&mut config);
        memory::fit(&mut config);
        let workers = config.workers();
        let loads = Arc::new(Loads::new(workers));
        let (polls, inboxes) = polls_and_inboxes(workers)?;
        let wanted = SocketAddr::new(config.bind, config.port);
        let limits = settings::accept_limits(&config);
        let keepalive = settings::keepalive(&config);
        let acceptor = Acceptor::bind(wanted, limits, keepalive, Arc::clone(&loads))
            .map_err(|error| cannot_listen(wanted, "port", &error))?;
        let address = acceptor.local_addr();

        let board = Arc::new(Board::new(workers));
        let (registry, rings) = Watched::around(registry, Arc::clone(&board))?;
        let (facts, told) = channel();
        let sources = Arc::new(Sources::start(&config, &registry, &board, &facts)?);
        let (sender, events) = channel();
        let office = Arc::new(Office::new(
            &config,
            Arc::clone(&board),
            Arc::clone(&registry),
            Arc::clone(&sources),
            Arc::clone(&inboxes),
            acceptor.counts(),
            (sender.clone(), facts.clone()),
        ));
        let service = Service::start(&config, &office, &registry)?;
        let addresses = service.as_ref();
        let addresses = addresses.map(|it| (it.address(), it.admin_address()));

        let (owners, keeper) = sources.owners()?;
        let directory = Directory::new(
            (facts.clone(), told),
            default_tenant,
            registry::read(&*registry),
            owners,
            Arc::clone(&board),
            Resolver::system(),
        );
        let mut acceptor = Some(acceptor);
        let outside = |worker| WorkerOutside {
            worker,
            // The first one accepts for all.
            acceptor: acceptor.take(),
            loads: Arc::clone(&loads),
            facts: facts.clone(),
            inboxes: Arc::clone(&inboxes),
        };
        let workers = spawn_workers(&config, polls, &board.snapshot(), outside, &sender)?;
        let changed = service.as_ref().map(Service::on_change);
        spawn_registry(registry, rings, facts.clone(), changed)?;
        let all = Arc::clone(&inboxes);
        let directory = spawn("directory", move || directory.run(&all))?;
        announce(&config, address, addresses);
        Ok(Running {
            address,
            service,
            office,
            inboxes,
            sources,
            workers,
            keepers: std::iter::once(directory).chain(keeper).collect(),
            grace: Duration::from_secs(config.grace_seconds),
            facts,
            events,
            sender,
        })
    }
}

/// Tells of everything that the registry says, and of its changes.
fn spawn_registry(
    registry: Arc<dyn ClusterRegistry>,
    rings: Receiver<Ring>,
    facts: Sender<Fact>,
    changed: Option<impl Fn() + Send + 'static>,
) -> io::Result<JoinHandle<()>> {
    spawn("registry", move || {
        registry::read_on(&*registry, &rings, |news| {
            if let Some(changed) = &changed {
                changed();
            }
            let fact = match news {
                News::All(listing) => Fact::Listing(listing),
                News::Tenant(tenant, listed) => Fact::Tenant(tenant, listed),
            };
            facts.send(fact).is_ok()
        });
    })
}

/// Whose cluster serves clients that name no tenant: the static router's, which is added.
fn default_tenant(
    config: &Config,
    registry: &dyn ClusterRegistry,
) -> io::Result<Option<TenantKey>> {
    match config.router.kind {
        RouterType::Static => {
            let tenant = add_static_cluster(config, registry);
            tenant.map(Some).map_err(io::Error::other)
        }
        RouterType::Sync => Ok(None),
    }
}

fn cannot_listen(address: SocketAddr, option: &str, error: &io::Error) -> io::Error {
    let text = format!("cannot listen at {address} (--{option}): {error}");
    io::Error::new(error.kind(), text)
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

#[allow(
    clippy::disallowed_methods,
    reason = "the process's own clock, off the data path"
)]
fn now() -> Instant {
    Instant::now()
}
