//! What depends on more than one option: contradictions, and defaults that follow others.

use std::net::SocketAddr;

use super::error::ConfigError;
use super::given::Given;
use super::values::{AdminCommands, RouterType};
use super::{BackendPool, Config};

/// A first request and its replies have room in it.
const TENANT_BUFFER_BYTES_MIN: u64 = 64 << 10;

/// Refuses what makes no sense together, and completes `config`.
pub(super) fn relations(given: &Given, config: &mut Config) -> Result<(), ConfigError> {
    router(given, config)?;
    ports(given, config)?;
    admin(given, config)?;
    pool(given, &mut config.backend_pool)?;
    tenant_buffer(given, config)
}

/// With less a tenant could not send a request of ordinary size: each would close its client.
fn tenant_buffer(given: &Given, config: &Config) -> Result<(), ConfigError> {
    let few = 1..TENANT_BUFFER_BYTES_MIN;
    match given.get("limit.tenant-buffer-bytes") {
        Some(setting) if few.contains(&(config.limits.tenant_buffer_bytes as u64)) => {
            let allowed = format!("allowed: 0, or {TENANT_BUFFER_BYTES_MIN} and more");
            Err(setting.error("too small", allowed))
        }
        _ => Ok(()),
    }
}

fn router(given: &Given, config: &mut Config) -> Result<(), ConfigError> {
    let strangers: &[&str] = match config.router.kind {
        RouterType::Static => &[
            "router.cp-addr",
            "router.cp-token",
            "router.state-file",
            "router.file",
        ],
        RouterType::Sync => &["router.static-be"],
    };
    if let Some(setting) = strangers.iter().find_map(|name| given.get(name)) {
        let reason = format!("makes no sense with --router.type={}", config.router.kind);
        let remedy = match given.get("router.type") {
            Some(_) => "give one or the other",
            None => "add --router.type=sync",
        };
        return Err(setting.error(reason, remedy));
    }
    let token = given.get("router.cp-token");
    if let Some(setting) = token.filter(|_| config.router.cp_addr.is_none()) {
        let remedy = "give --router.cp-addr=HOST:PORT too";
        return Err(setting.error("is about a control plane, and there is none", remedy));
    }
    if given.get("admin-commands").is_none() {
        config.admin_commands = match config.router.kind {
            RouterType::Static => AdminCommands::Allow,
            RouterType::Sync => AdminCommands::Deny,
        };
    }
    Ok(())
}

/// Both ports are bound at the same address; 0 is a port of its own each time.
fn ports(given: &Given, config: &Config) -> Result<(), ConfigError> {
    let clash = config.port != 0 && config.port == config.service_port && config.service_enable;
    match given.get("port").or_else(|| given.get("service-port")) {
        Some(setting) if clash => {
            let remedy = "--port and --service-port need different ports";
            Err(setting.error("taken twice", remedy))
        }
        _ => Ok(()),
    }
}

/// Without a token only this machine is trusted: elsewhere nobody could use the listener.
fn admin(given: &Given, config: &Config) -> Result<(), ConfigError> {
    let elsewhere = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    let alone = config.service_token.is_none()
        && config.service_admin_bind.is_some_and(|it| elsewhere(&it));
    let port = config.service_admin_bind.map_or(0, |it| it.port());
    let taken = port != 0 && [config.port, config.service_port].contains(&port);
    match given.get("service-admin-bind") {
        Some(setting) if !config.service_enable => {
            let reason = "makes no sense with --service.enable=false";
            Err(setting.error(reason, "give one or the other"))
        }
        Some(setting) if taken => {
            let reason = "is the port of --port or --service-port";
            Err(setting.error(reason, "give another one"))
        }
        Some(setting) if alone => {
            let reason = "is not loopback, and there is no token";
            Err(setting.error(reason, "give --service-token too"))
        }
        _ => Ok(()),
    }
}

/// Few connections of clients' own alone also lower the default of those that are kept.
fn pool(given: &Given, pool: &mut BackendPool) -> Result<(), ConfigError> {
    let max = pool.dedicated_max as usize;
    match given.get("backend-pool.max-idle") {
        Some(setting) if pool.max_idle > max => {
            let reason = format!("more than --backend-pool.dedicated-max, which is {max}");
            Err(setting.error(reason, format!("allowed: 0 to {max}")))
        }
        _ => {
            pool.max_idle = pool.max_idle.min(max);
            Ok(())
        }
    }
}
