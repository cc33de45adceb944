//! The configuration in the words of those that work by it.

use crate::cluster;
use crate::config::{AdminCommands, Balancer, Config, OnLoss};
use crate::proxy::Settings;
use crate::resp::RequestLimits;

use super::acceptor::AcceptLimits;

/// Descriptors beside the clients': listeners, wakers, logs, and connections to backends.
const SPARE_DESCRIPTORS: u64 = 1_024;

/// What accepting is told of the configuration.
pub(super) fn accept_limits(config: &Config) -> AcceptLimits {
    AcceptLimits {
        clients: config.limits.clients,
        per_second: config.limits.accepts_per_second,
    }
}

/// What a worker's machine is told of the configuration.
pub(super) fn settings(config: &Config, worker: u16) -> Settings {
    let limits = &config.limits;
    let after_login = RequestLimits {
        request_bytes_max: limits.request_bytes,
        ..RequestLimits::AFTER_LOGIN
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
        worker_buffer_bytes_max: limits.worker_buffer_bytes,
        client_login_ms: limits.login_seconds * 1000,
        client_idle_ms: limits.idle_seconds * 1000,
        logins_per_second: limits.logins_per_second,
        balancer: match config.router.balancer {
            Balancer::Random => cluster::Balancer::Random,
            Balancer::RoundRobin => cluster::Balancer::RoundRobin,
            Balancer::LeastConn => cluster::Balancer::LeastConn,
        },
        offline_grace_ms: config.router.offline_grace_seconds * 1000,
        check_ms: config.health.check_ms,
        check_timeout_ms: config.health.timeout_ms,
        paused_clients_max: limits.paused_clients,
        before_login: RequestLimits::BEFORE_LOGIN.at_most(limits.request_bytes),
        after_login: after_login.at_most(limits.request_bytes),
        // Different for every proxy and worker, so that their reconnects are out of step.
        seed: u64::from(std::process::id()) << 16 | u64::from(worker),
    }
}

/// Asks for as many open files as the limit on clients needs, as redis-server does.
pub(super) fn raise_descriptor_limit(config: &Config) {
    let wanted = config.limits.clients as u64 + SPARE_DESCRIPTORS;
    let got = rlimit::increase_nofile_limit(wanted).unwrap_or(0);
    if got < wanted {
        log::warn!("only {got} open files are allowed, limit.clients would need {wanted}");
    }
}
