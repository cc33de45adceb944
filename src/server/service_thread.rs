//! The thread of the service port: start and end.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use mio::net::TcpListener;

use crate::cluster::ClusterRegistry;
use crate::config::{Config, RouterType};
use crate::service::{ServiceHandle, ServicePort, ServiceSettings, Token};

use super::control::Control;
use super::{cannot_listen, spawn};

/// The distance that Redis Cluster has between its two ports, so that several proxies on one
/// machine do not collide.
const ADMIN_PORT_OFFSET: u16 = 10_000;

#[derive(Debug)]
pub(super) struct ServiceThread {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    handle: ServiceHandle,
    thread: JoinHandle<()>,
}

impl ServiceThread {
    /// Binds the service port and serves it; `None`: it is disabled.
    ///
    /// # Errors
    ///
    /// If an address is in use, or a poll or a thread cannot be created.
    pub(super) fn start(
        config: &Config,
        control: &Arc<Control>,
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
        let control = Arc::<Control>::clone(control);
        let (port, handle) = ServicePort::new(listeners, settings, control, Arc::clone(registry))?;
        let (address, admin) = (port.local_addr(), port.admin_addr());
        let thread = spawn("service", move || {
            if let Err(error) = port.run() {
                log::error!("service port: failed reason=\"{error}\"");
            }
        })?;
        Ok(Some(Self {
            address,
            admin,
            handle,
            thread,
        }))
    }

    /// The address of the service port.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin listener, if there is one.
    pub(super) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// A function to call when the clusters have changed.
    pub(super) fn changed_callback(&self) -> impl Fn() + Send + 'static {
        let handle = self.handle.clone();
        move || handle.changed()
    }

    /// Closes the port and waits for its thread.
    pub(super) fn close(self) {
        self.handle.close();
        if self.thread.join().is_err() {
            log::error!("service port: panicked");
        }
    }
}

/// Binds the admin listener at `service-admin-bind`. Without that option and without a token, binds
/// it on loopback, [`ADMIN_PORT_OFFSET`] above the service port, or on a free port if that port is
/// in use. With a token, callers of the admin listener need the token.
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
        log::warn!(
            "admin listener: port in use, using a free one address={address} reason=\"{error}\""
        );
        TcpListener::bind(SocketAddr::new(loopback, 0))
    });
    listener.map(Some)
}
