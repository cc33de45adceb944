//! What a machine is told once: who it is, and its limits.

use crate::cluster::Balancer;
use crate::resp::RequestLimits;

/// Fixed for the life of a machine. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which worker of the process this is, from 0.
    pub worker: u16,
    /// How many workers there are.
    pub workers: u16,
    /// Are administrative commands forwarded, so that the backend's own ACL decides?
    pub admin_commands: bool,
    /// Shared connections of one pool.
    pub pool_connections_max: usize,
    /// Connections of clients' own of one tenant, on this worker.
    pub dedicated_max: u32,
    /// Connections to one instance, shared ones and clients' own together.
    pub instance_connections_max: u32,
    /// Connections of one pool that were a client's own and are kept for the next.
    pub pool_idle_max: usize,
    /// A client that finds no connection of its own free waits so long for one.
    pub pool_wait_ms: u64,
    /// A client that does nothing for so long inside MULTI or after WATCH is closed; 0: never.
    pub pinned_idle_ms: u64,
    /// A client whose backend is lost or cannot be reached is closed, instead of hearing an error
    /// for each request.
    pub close_on_loss: bool,
    /// A backend that owes a reply and is silent this long is given up; 0: never.
    pub backend_reply_ms: u64,
    /// A connection that is not ready this long after it was begun has failed.
    pub backend_connect_ms: u64,
    /// Requests of one client that are not answered yet; more are read later.
    pub client_in_flight_max: u32,
    /// Bytes of replies waiting for one client: above it the client is closed.
    pub client_outbound_bytes_max: usize,
    /// Bytes of messages waiting for one subscriber: above it it is closed.
    pub subscriber_outbound_bytes_max: usize,
    /// Bytes waiting for all clients of this worker; above it the worst reader is closed.
    pub worker_outbound_bytes_max: usize,
    /// Bytes of requests and replies that this worker keeps, whichever way they go: above it the
    /// client that takes up most is closed.
    pub worker_buffer_bytes_max: usize,
    /// The same for the clients of one tenant; 0: no limit of its own.
    pub tenant_buffer_bytes_max: usize,
    /// A client that takes nothing for so long of what it has to read is closed; 0: never.
    pub client_send_ms: u64,
    /// A client that has neither logged in nor sent a request is closed after this; 0: never.
    pub client_login_ms: u64,
    /// A client that has been silent this long is closed; 0: never.
    pub client_idle_ms: u64,
    /// Backend connections opened for logins and SELECTs, per second.
    pub logins_per_second: u32,
    /// Which of a tenant's instances a client gets.
    pub balancer: Balancer,
    /// Clients may stay so long with an instance that is on its way out.
    pub offline_grace_ms: u64,
    /// Time between two checks of an instance; 0: none.
    pub check_ms: u64,
    /// A check that takes longer says that the instance is not as it should be.
    pub check_timeout_ms: u64,
    /// Clients of one tenant, of all workers, that wait while it is paused; more hear an error.
    pub paused_clients_max: u32,
    /// Limits of a request before and after login.
    pub before_login: RequestLimits,
    /// See `before_login`.
    pub after_login: RequestLimits,
    /// Seeds the jitter of reconnects.
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
            check_ms: 0,
            check_timeout_ms: 1_000,
            paused_clients_max: 10_000,
            before_login: RequestLimits::BEFORE_LOGIN,
            after_login: RequestLimits::AFTER_LOGIN,
            seed: 0,
        }
    }
}
