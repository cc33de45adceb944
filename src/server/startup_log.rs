//! Log lines at the start.

use std::net::SocketAddr;

use crate::cluster::ClusterKey;
use crate::config::{Config, RouterType};

/// Logs the node, the sources of clusters, and the listening addresses.
pub(super) fn log_startup(
    config: &Config,
    address: SocketAddr,
    service: Option<(SocketAddr, Option<SocketAddr>)>,
) {
    log::info!(
        "proxy: started node={} namespace={} workers={} router={}",
        config.node.id,
        config.node.namespace,
        config.workers(),
        config.router.kind
    );
    match config.router.kind {
        RouterType::Static => {
            let key = ClusterKey::local();
            let (tenant, backend) = (key.tenant(), &config.router.static_be);
            match &config.router.sentinel_master {
                Some(master) => log::info!(
                    "static router: cluster added cluster={key} tenant={tenant} master={master}"
                ),
                None => log::info!(
                    "static router: cluster added cluster={key} tenant={tenant} address={backend}"
                ),
            }
        }
        RouterType::Sync => log::info!("sync router: following sources=\"{}\"", sources(config)),
    }
    if let Some((service, admin)) = service {
        log::info!("service address {service}");
        if let Some(admin) = admin {
            log::info!("admin address {admin}");
        }
    }
    log::info!("proxy address {address}");
}

/// The sources of the sync router.
fn sources(config: &Config) -> String {
    let mut sources = Vec::new();
    if let Some(address) = &config.router.cp_addr {
        sources.push(format!("control plane {address}"));
    }
    if let Some(file) = &config.router.file {
        sources.push(format!("file {}", file.display()));
    }
    if config.service_enable {
        sources.push("service port".to_owned());
    }
    match sources.is_empty() {
        true => "registry".to_owned(),
        false => sources.join(", "),
    }
}
