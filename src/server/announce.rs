//! What the log says when the proxy has started.

use std::net::SocketAddr;

use crate::cluster::ClusterKey;
use crate::config::{Config, RouterType};

/// Who this is, where its clusters come from, and where it listens.
pub(super) fn announce(
    config: &Config,
    address: SocketAddr,
    service: Option<(SocketAddr, Option<SocketAddr>)>,
) {
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
            log::info!("cluster {key}, tenant key {tenant}, backend {backend}");
        }
        RouterType::Sync => log::info!("clusters come from {}", sources(config)),
    }
    if let Some((service, admin)) = service {
        log::info!("service address {service}");
        if let Some(admin) = admin {
            log::info!("admin address {admin}");
        }
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
