//! The process: threads, listener, signals, drain, and the sources of clusters.
//!
//! | thread | what it does | ends |
//! |---|---|---|
//! | worker 0..n | runs a [`crate::reactor`]; worker 0 accepts | when drained or stopped |
//! | publisher | builds the snapshots of the clusters that workers use | when the proxy stops |
//! | service | the sockets of the service port | last of all |
//! | service-calls, service-pages | calls of the service port that may take long | with it |
//! | registry | reads the registry after each change | when the publisher has ended |
//! | registry-notify | receives the registry's notifications | with the registry |
//! | resolver 0..3 | look up host names | with the publisher |
//! | router.file, tenants.file | check a file for changes | when the proxy stops |
//! | router.state-file | writes the owners of names | when the publisher has ended |
//! | control-plane | requests clusters from a control plane | when the proxy stops |
//! | sentinels | decides which server is a primary | when the proxy stops |
//! | sentinel-N, sentinel-N-sub, sentinel-role | ask sentinels and servers | with it |
//! | signals | acts on signals | when the proxy has stopped |
//! | the caller of [`Proxy::run`] | waits for a reason to stop | when workers and service ended |

mod acceptor;
mod control;
mod health;
mod host_names;
mod loads;
mod log_level;
mod memory;
mod open_files;
mod primaries;
mod process_state;
mod publisher;
mod registry;
mod resolver;
mod running;
mod service_thread;
mod settings;
mod signals;
mod source;
mod spawn;
mod startup_log;
mod tenant_warnings;
mod update;
mod worker_handle;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, MemoryRegistry, RegistryError,
    SENTINEL_LABEL, TenantKey,
};
use crate::config::{Config, RouterType};

use acceptor::Acceptor;
use control::Control;
use loads::Loads;
use log_level::LevelSource;
use process_state::ProcessState;
use publisher::Publisher;
use registry::{Change, RegistryUpdate, WatchedRegistry};
use resolver::Resolver;
use service_thread::ServiceThread;
use startup_log::log_startup;
use update::Update;
use worker_handle::WorkerHandle;

use source::Sources;
use source::sentinel::Sentinels;
use spawn::spawn;
use workers::{polls_and_inboxes, send_to_all, spawn_workers};

pub use running::Running;

/// A proxy that is configured and not yet started.
pub struct Proxy {
    config: Config,
    registry: Arc<dyn ClusterRegistry>,
}

/// What ends the proxy. The thread that called [`Proxy::run`] waits for one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// SIGTERM, SIGINT or SIGQUIT arrived.
    Signal,
    /// The service port was asked for a drain.
    Drain,
    /// A worker ended.
    WorkerEnded,
}

impl Proxy {
    /// A proxy with this configuration and an empty [`MemoryRegistry`]. With the static router, the
    /// one backend is added at the start.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            registry: Arc::new(MemoryRegistry::new()),
        }
    }

    /// Takes clusters from this registry. The static router's cluster is added to it at the start.
    #[must_use]
    pub fn registry(mut self, registry: impl ClusterRegistry + 'static) -> Self {
        self.registry = Arc::new(registry);
        self
    }

    /// Runs the proxy. After SIGTERM, SIGINT, SIGQUIT or `POST /drain`, the proxy drains: `run`
    /// returns when the requests in flight are finished or the grace period has ended. A second
    /// signal closes all connections at once. SIGHUP reads the configured files again.
    ///
    /// # Errors
    ///
    /// If a port cannot be bound, or a thread, a poll or a signal handler cannot be created.
    pub fn run(self) -> io::Result<()> {
        let signals = signals::catch()?;
        let level = LevelSource::new(&self.config);
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

    /// Starts the proxy on threads of its own, and returns.
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
        open_files::fit(&mut config);
        memory::fit(&mut config);
        let workers = config.workers();
        let loads = Arc::new(Loads::new(workers));
        let (polls, inboxes) = polls_and_inboxes(workers)?;
        let acceptor = bind(&config, &loads)?;
        let address = acceptor.local_addr();

        let process = Arc::new(ProcessState::new(workers));
        let (registry, changes) = WatchedRegistry::subscribe(registry, Arc::clone(&process))?;
        let (updates, received) = channel();
        let sources = Arc::new(Sources::start(&config, &registry, &process, &updates)?);
        let (sender, events) = channel();
        let control = Arc::new(Control::new(
            &config,
            Arc::clone(&process),
            Arc::clone(&registry),
            Arc::clone(&sources),
            Arc::clone(&inboxes),
            acceptor.counts(),
            (sender.clone(), updates.clone()),
        ));
        let service = ServiceThread::start(&config, &control, &registry)?;
        let addresses = service.as_ref();
        let addresses = addresses.map(|it| (it.address(), it.admin_address()));

        let (owners, owners_writer) = sources.owners()?;
        let sentinels = sources.sentinels();
        let publisher = Publisher::new(
            (updates.clone(), received),
            default_tenant,
            registry::read(&*registry),
            owners,
            sentinels.map(Sentinels::primaries).unwrap_or_default(),
            Arc::clone(&process),
            Resolver::system(),
        );
        let mut acceptor = Some(acceptor);
        let handle = |worker| WorkerHandle {
            worker,
            // Worker 0 accepts.
            acceptor: acceptor.take(),
            loads: Arc::clone(&loads),
            updates: updates.clone(),
            inboxes: Arc::clone(&inboxes),
        };
        let workers = spawn_workers(&config, polls, &process.snapshot(), handle, &sender)?;
        let changed = service.as_ref().map(ServiceThread::changed_callback);
        spawn_registry(registry, changes, updates.clone(), changed)?;
        let all = Arc::clone(&inboxes);
        let publisher = spawn("publisher", move || publisher.run(&all))?;
        log_startup(&config, address, addresses);
        Ok(Running {
            address,
            service,
            control,
            inboxes,
            sources,
            workers,
            background: std::iter::once(publisher).chain(owners_writer).collect(),
            grace: Duration::from_secs(config.grace_seconds),
            updates,
            events,
            sender,
        })
    }
}

fn bind(config: &Config, loads: &Arc<Loads>) -> io::Result<Acceptor> {
    let address = SocketAddr::new(config.bind, config.port);
    let limits = settings::accept_limits(config);
    let keepalive = settings::keepalive(config);
    Acceptor::bind(address, limits, keepalive, Arc::clone(loads))
        .map_err(|error| cannot_listen(address, "port", &error))
}

/// Starts the thread that reads the registry and passes its content to the publisher.
fn spawn_registry(
    registry: Arc<dyn ClusterRegistry>,
    changes: Receiver<Change>,
    updates: Sender<Update>,
    changed: Option<impl Fn() + Send + 'static>,
) -> io::Result<JoinHandle<()>> {
    spawn("registry", move || {
        registry::follow_changes(&*registry, &changes, |update| {
            if let Some(changed) = &changed {
                changed();
            }
            let update = match update {
                RegistryUpdate::All(listing) => Update::Listing(listing),
                RegistryUpdate::Tenant(tenant, listed) => Update::Tenant(tenant, listed),
            };
            updates.send(update).is_ok()
        });
    })
}

/// The tenant of clients that name none: that of the static router's cluster, which is added here.
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

/// Adds the static router's cluster with its one instance.
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
    let mut instance = ClusterInstance::new(key, "static", endpoint);
    if let Some(master) = &config.router.sentinel_master {
        instance.endpoints.clear();
        let label = (SENTINEL_LABEL.to_owned(), master.clone());
        instance.labels.extend([label]);
    }
    registry.status_change(instance)?;
    Ok(tenant)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the process's own clock, off the data path"
)]
fn now() -> Instant {
    Instant::now()
}
