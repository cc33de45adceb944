//! The service port as the process sees it: a thread to be started and ended.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::cluster::ClusterRegistry;
use crate::config::{Config, RouterType};
use crate::service::{ServiceHandle, ServicePort, ServiceSettings, Token};

use super::office::Office;
use super::{cannot_listen, spawn};

/// See the module.
#[derive(Debug)]
pub(super) struct Service {
    address: SocketAddr,
    handle: ServiceHandle,
    thread: JoinHandle<()>,
}

impl Service {
    /// Binds the port and serves; `None`: it is not wanted.
    ///
    /// # Errors
    ///
    /// If the port is taken, or a poll or a thread cannot be had.
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
            metrics_path: config.metrics.enable.then(|| path.clone()),
            fixed: config.router.kind == RouterType::Static,
            process: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
        };
        let address = SocketAddr::new(config.bind, config.service_port);
        let office = Arc::<Office>::clone(office);
        let (port, handle) = ServicePort::bind(address, settings, office, Arc::clone(registry))
            .map_err(|error| cannot_listen(address, "service-port", &error))?;
        let address = port.local_addr();
        let thread = spawn("service", move || {
            if let Err(error) = port.run() {
                log::error!("the service port failed: {error}");
            }
        })?;
        Ok(Some(Self {
            address,
            handle,
            thread,
        }))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
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
