//! The service port as the process sees it: a thread to be started and ended.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use mio::net::TcpListener;

use crate::cluster::ClusterRegistry;
use crate::config::{Config, RouterType};
use crate::service::{ServiceHandle, ServicePort, ServiceSettings, Token};

use super::office::Office;
use super::{cannot_listen, spawn};

/// As Redis Cluster has it between its two ports: proxies side by side do not meet.
const ADMIN_PORT_OFFSET: u16 = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Service {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    handle: ServiceHandle,
    thread: JoinHandle<()>,
}

impl Service {
    /// Binds the port and serves; `None`: it is not wanted.
    ///
    /// # Errors
    ///
    /// If an address is taken, or a poll or a thread cannot be had.
    pub(super) fn start(
        config: &Config,
        office: &Arc<Office>,
        registry: &Arc<dyn ClusterRegistry>,
    ) -> io::Result<Option<Self>> {
        if !config.service_enable {
            return Ok(None);
        }
        let token = config.service_token.as_ref();
        let path = &config.metrics.path;
        let settings = ServiceSettings {
            token: token.map(|token| Token::new(token.reveal())),
            admin: None,
            metrics_path: config.metrics.enable.then(|| path.clone()),
            fixed: config.router.kind == RouterType::Static,
            process: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
        };
        let address = SocketAddr::new(config.bind, config.service_port);
        let public = TcpListener::bind(address)
            .map_err(|error| cannot_listen(address, "service-port", &error))?;
        let listeners = (public, admin_listener(config)?);
        let office = Arc::<Office>::clone(office);
        let (port, handle) = ServicePort::new(listeners, settings, office, Arc::clone(registry))?;
        let (address, admin) = (port.local_addr(), port.admin_addr());
        let thread = spawn("service", move || {
            if let Err(error) = port.run() {
                log::error!("the service port failed: {error}");
            }
        })?;
        Ok(Some(Self {
            address,
            admin,
            handle,
            thread,
        }))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin listener is, if there is one.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// To be called when the clusters have changed.
    pub(super) fn on_change(&self) -> impl Fn() + Send + 'static {
        let handle = self.handle.clone();
        move || handle.changed()
    }

    /// Ends it.
    pub(super) fn close(self) {
        self.handle.close();
        if self.thread.join().is_err() {
            log::error!("the service port panicked");
        }
    }
}

/// Where callers on this machine may do everything without a token: at the address that was given,
/// else, if there is no token, on loopback, [`ADMIN_PORT_OFFSET`] above the service port. That this
/// is taken, by another proxy, say, is no reason not to start: any other port does, too.
fn admin_listener(config: &Config) -> io::Result<Option<TcpListener>> {
    if let Some(address) = config.service_admin_bind {
        let listener = TcpListener::bind(address);
        let listener =
            listener.map_err(|error| cannot_listen(address, "service-admin-bind", &error))?;
        return Ok(Some(listener));
    }
    if config.service_token.is_some() {
        return Ok(None);
    }
    let port = match config.service_port {
        0 => 0,
        port => port.checked_add(ADMIN_PORT_OFFSET).unwrap_or(0),
    };
    let loopback: IpAddr = match config.bind {
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(loopback, port);
    let listener = TcpListener::bind(address).or_else(|error| {
        log::warn!("admin listener: port taken, using a free one address={address} reason={error}");
        TcpListener::bind(SocketAddr::new(loopback, 0))
    });
    listener.map(Some)
}
