//! Settings of workers and of the acceptor, made from the configuration.

use crate::cluster;
use crate::config::{AdminCommands, Balancer, Config, Front, OnLoss};
use crate::proxy::Settings;
use crate::reactor::Keepalive;
use crate::resp::RequestLimits;

use super::acceptor::AcceptLimits;

pub(super) fn accept_limits(config: &Config) -> AcceptLimits {
    AcceptLimits {
        clients: config.limits.clients,
        per_second: config.limits.accepts_per_second,
    }
}

/// Keepalive of client and backend connections.
pub(super) fn keepalive(config: &Config) -> Keepalive {
    Keepalive::new(config.tcp.keepalive_seconds)
}

/// Settings of a worker's machine.
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
        dedicated_max: config.backend_pool.dedicated_max,
        instance_connections_max: config.backend_pool.tenant_max,
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
        tenant_buffer_bytes_max: limits.tenant_buffer_bytes,
        client_send_ms: limits.send_seconds * 1000,
        client_login_ms: limits.login_seconds * 1000,
        client_idle_ms: limits.idle_seconds * 1000,
        logins_per_second: limits.logins_per_second,
        balancer: match config.router.balancer {
            Balancer::Random => cluster::Balancer::Random,
            Balancer::RoundRobin => cluster::Balancer::RoundRobin,
            Balancer::LeastConn => cluster::Balancer::LeastConn,
        },
        offline_grace_ms: config.router.offline_grace_seconds * 1000,
        cluster_hold_ms: config.cluster.hold_ms,
        front: match config.cluster.front {
            Front::Single => cluster::Front::Single,
            Front::Cluster => cluster::Front::Cluster,
            Front::Auto => cluster::Front::Auto,
        },
        check_ms: config.health.check_ms,
        check_timeout_ms: config.health.timeout_ms,
        paused_clients_max: limits.paused_clients,
        before_login: RequestLimits::BEFORE_LOGIN.at_most(limits.request_bytes),
        after_login: after_login.at_most(limits.request_bytes),
        // Different for every proxy and worker, so that their reconnects do not coincide.
        seed: u64::from(std::process::id()) << 16 | u64::from(worker),
    }
}
