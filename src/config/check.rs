//! Checks that involve more than one option: contradictions, and defaults that depend on another
//! option.

use super::error::ConfigError;
use super::settings::Settings;
use super::values::{AdminCommands, RouterType};
use super::{BackendPool, Config};

/// Room for one ordinary request and its reply.
const TENANT_BUFFER_BYTES_MIN: u64 = 64 << 10;

/// The name of the primary in the configuration file that comes with Redis.
const SENTINEL_MASTER: &str = "mymaster";

/// Rejects options that contradict each other and fills in the defaults that depend on others.
pub(super) fn check(settings: &Settings, config: &mut Config) -> Result<(), ConfigError> {
    router(settings, config)?;
    ports(settings, config)?;
    admin_listener(settings, config)?;
    pool(settings, &mut config.backend_pool)?;
    tenant_buffer(settings, config)
}

/// With a smaller buffer, a request of ordinary size exceeds the limit and closes its client.
fn tenant_buffer(settings: &Settings, config: &Config) -> Result<(), ConfigError> {
    let too_small = 1..TENANT_BUFFER_BYTES_MIN;
    match settings.get("limit.tenant-buffer-bytes") {
        Some(setting) if too_small.contains(&(config.limits.tenant_buffer_bytes as u64)) => {
            let allowed = format!("allowed: 0, or {TENANT_BUFFER_BYTES_MIN} and more");
            Err(setting.error("too small", allowed))
        }
        _ => Ok(()),
    }
}

fn router(settings: &Settings, config: &mut Config) -> Result<(), ConfigError> {
    let of_other_type: &[&str] = match config.router.kind {
        RouterType::Static => &[
            "router.cp-addr",
            "router.cp-token",
            "router.state-file",
            "router.file",
        ],
        RouterType::Sync => &["router.static-be", "router.sentinel-master"],
    };
    if let Some(setting) = of_other_type.iter().find_map(|name| settings.get(name)) {
        let reason = format!("cannot be used with --router.type={}", config.router.kind);
        let remedy = match settings.get("router.type") {
            Some(_) => "remove one of the two",
            None => "add --router.type=sync",
        };
        return Err(setting.error(reason, remedy));
    }
    let token = settings.get("router.cp-token");
    if let Some(setting) = token.filter(|_| config.router.cp_addr.is_none()) {
        let remedy = "add --router.cp-addr=HOST:PORT";
        return Err(setting.error("no control plane is set", remedy));
    }
    sentinels(settings, config)?;
    if settings.get("admin-commands").is_none() {
        config.admin_commands = match config.router.kind {
            RouterType::Static => AdminCommands::Allow,
            RouterType::Sync => AdminCommands::Deny,
        };
    }
    Ok(())
}

/// The static router has one backend: an address, or a primary that sentinels know.
fn sentinels(settings: &Settings, config: &mut Config) -> Result<(), ConfigError> {
    let router = &config.router;
    let of_sentinels = [
        "router.sentinel-master",
        "router.sentinel-user",
        "router.sentinel-password",
    ];
    let of_sentinels = of_sentinels.iter().find_map(|name| settings.get(name));
    if let Some(setting) = of_sentinels.filter(|_| router.sentinels.is_empty()) {
        let remedy = "add --router.sentinels=HOST:PORT,…";
        return Err(setting.error("no sentinels are set", remedy));
    }
    let user = settings.get("router.sentinel-user");
    if let Some(setting) = user.filter(|_| router.sentinel_password.is_none()) {
        let remedy = "add --router.sentinel-password=PASSWORD";
        return Err(setting.error("no password is set", remedy));
    }
    if router.sentinels.is_empty() || router.kind == RouterType::Sync {
        return Ok(());
    }
    if let Some(setting) = settings.get("router.static-be") {
        let reason = "cannot be used with --router.sentinels";
        return Err(setting.error(reason, "remove one of the two"));
    }
    let master = &mut config.router.sentinel_master;
    master.get_or_insert_with(|| SENTINEL_MASTER.to_owned());
    Ok(())
}

/// Both listeners bind the same address and need different ports. Port 0 never conflicts: the
/// system picks a free port for each.
fn ports(settings: &Settings, config: &Config) -> Result<(), ConfigError> {
    let conflict = config.port != 0 && config.port == config.service_port && config.service_enable;
    match settings
        .get("port")
        .or_else(|| settings.get("service-port"))
    {
        Some(setting) if conflict => {
            let remedy = "--port and --service-port need different ports";
            Err(setting.error("used twice", remedy))
        }
        _ => Ok(()),
    }
}

/// Without a token, the admin listener trusts only this machine. On another address it would
/// reject every caller.
fn admin_listener(settings: &Settings, config: &Config) -> Result<(), ConfigError> {
    let (Some(setting), Some(address)) = (
        settings.get("service-admin-bind"),
        config.service_admin_bind,
    ) else {
        return Ok(());
    };
    let error = |reason: &str, remedy: &str| Err(setting.error(reason, remedy));
    if !config.service_enable {
        let reason = "cannot be used with --service.enable=false";
        return error(reason, "remove one of the two");
    }
    if address.port() != 0 && [config.port, config.service_port].contains(&address.port()) {
        let reason = "--port or --service-port uses this port";
        return error(reason, "choose another port");
    }
    if config.service_token.is_none() && !address.ip().to_canonical().is_loopback() {
        let reason = "not a loopback address, and no token is set";
        return error(reason, "add --service-token");
    }
    Ok(())
}

/// A small `dedicated-max` also lowers the default of `max-idle`.
fn pool(settings: &Settings, pool: &mut BackendPool) -> Result<(), ConfigError> {
    let max = pool.dedicated_max as usize;
    match settings.get("backend-pool.max-idle") {
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
