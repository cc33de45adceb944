//! The settings of a machine: its place in the process, and its limits.

use crate::cluster::{Balancer, Front};
use crate::resp::RequestLimits;

/// Fixed for the life of a machine. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number of this worker in the process, from 0.
    pub worker: u16,
    /// The number of workers.
    pub workers: u16,
    /// Are administrative commands forwarded, so that the server's own ACL decides?
    pub admin_commands: bool,
    /// Shared links of one pool.
    pub pool_connections_max: usize,
    /// Dedicated links of one tenant on this worker.
    pub dedicated_max: u32,
    /// Links to one instance, shared and dedicated together.
    pub instance_connections_max: u32,
    /// Links of one pool that were dedicated and are kept for the next client.
    pub pool_idle_max: usize,
    /// A client that finds no free dedicated link waits up to this long.
    pub pool_wait_ms: u64,
    /// A client that is idle for this long inside MULTI or after WATCH is closed; 0: never.
    pub pinned_idle_ms: u64,
    /// A client whose server is lost or unreachable is closed, instead of getting an error for each
    /// request.
    pub close_on_loss: bool,
    /// A link with an outstanding reply that is silent this long is closed, or retired if its
    /// server answers on other links; 0: never.
    pub backend_reply_ms: u64,
    /// A TCP connection attempt that takes longer has failed. The addresses of a name share this
    /// time.
    pub backend_connect_ms: u64,
    /// Requests in flight of one client; above it the client is read paused.
    pub client_in_flight_max: u32,
    /// Bytes of replies buffered for one client; above it the client is closed.
    pub client_outbound_bytes_max: usize,
    /// Bytes of messages buffered for one subscriber; above it the client is closed.
    pub subscriber_outbound_bytes_max: usize,
    /// Bytes buffered for all clients of this worker; above it the client with most is closed.
    pub worker_outbound_bytes_max: usize,
    /// Bytes of requests and replies that this worker keeps, in both directions; above it the
    /// largest client is closed.
    pub worker_buffer_bytes_max: usize,
    /// Bytes kept for the clients of one tenant on this worker; 0: only the worker's limit applies.
    pub tenant_buffer_bytes_max: usize,
    /// A client that has read none of its replies for this long is closed; 0: never.
    pub client_send_ms: u64,
    /// A client that is anonymous for this long is closed, regardless of what it sends; 0: never.
    pub client_login_ms: u64,
    /// A client without requests in flight that has been silent this long is closed, unless it is a
    /// subscriber or in MONITOR; 0: never.
    pub client_idle_ms: u64,
    /// Links opened for logins and SELECTs, per second.
    pub logins_per_second: u32,
    /// How a client's instance is chosen among its tenant's.
    pub balancer: Balancer,
    /// Clients may stay this long with an instance that is offline.
    pub offline_grace_ms: u64,
    /// A request to a Redis Cluster waits this long for a node that executes it.
    pub cluster_hold_ms: u64,
    /// What clients of an instance without the label `front` see.
    pub front: Front,
    /// Time between two checks of an instance; 0: no checks.
    pub check_ms: u64,
    /// An instance whose check takes longer than this has failed it.
    pub check_timeout_ms: u64,
    /// Clients of one tenant, on all workers, that wait while it is paused; further ones get an
    /// error.
    pub paused_clients_max: u32,
    /// Limits of a request before and after login.
    pub before_login: RequestLimits,
    /// See `before_login`.
    pub after_login: RequestLimits,
    /// The seed of the random numbers: jitter of reconnects, and the choice of an instance.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            worker: 0,
            workers: 1,
            admin_commands: true,
            pool_connections_max: 30,
            dedicated_max: 1_000,
            instance_connections_max: 10_000,
            pool_idle_max: 10,
            pool_wait_ms: 5_000,
            pinned_idle_ms: 300_000,
            close_on_loss: false,
            backend_reply_ms: 60_000,
            backend_connect_ms: 3_000,
            client_in_flight_max: 4096,
            client_outbound_bytes_max: 256 << 20,
            subscriber_outbound_bytes_max: 32 << 20,
            worker_outbound_bytes_max: 512 << 20,
            worker_buffer_bytes_max: 2 << 30,
            tenant_buffer_bytes_max: 512 << 20,
            client_send_ms: 60_000,
            client_login_ms: 60_000,
            client_idle_ms: 0,
            logins_per_second: 200,
            balancer: Balancer::Random,
            offline_grace_ms: 30_000,
            cluster_hold_ms: 5_000,
            front: Front::Single,
            check_ms: 0,
            check_timeout_ms: 1_000,
            paused_clients_max: 10_000,
            before_login: RequestLimits::BEFORE_LOGIN,
            after_login: RequestLimits::AFTER_LOGIN,
            seed: 0,
        }
    }
}
