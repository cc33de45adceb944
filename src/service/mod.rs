//! The service port: HTTP for operators, probes, Prometheus and control planes, on its own threads.
//!
//! Callers are not trusted: each connection has limits, and no connection can block the threads.
//! Workers are never accessed directly: calls use [`Control`] and the registry.
//!
//! | file | contents |
//! |---|---|
//! | `server`, `socket` | the loop: sockets and a clock |
//! | `connection`, `pending` | one connection without its socket, and its request in progress |
//! | `http`, `envelope`, `input` | decoding requests, encoding responses |
//! | `admission` | which connections are accepted, and which are closed for others |
//! | `call_threads` | the threads of calls that may take long |
//! | `handle` | access to the port from other threads |
//! | `routes`, `access` | the calls, and who may make them |
//! | `clusters`, `inspect`, `traffic_control` | calls about clusters, clients and traffic |
//! | `added_clusters` | clusters that local callers added |
//! | `metrics` | the metrics page, from the statistics of all workers |
//! | `context` | what calls work on |
//! | `limits`, `counters` | limits of the port, and how often each was reached |
//! | `check`, `fake_control` | checks for the fuzzer, and a fake of [`Control`] |

mod access;
mod added_clusters;
mod admission;
mod call_threads;
#[doc(hidden)]
pub mod check;
mod clusters;
mod connection;
mod context;
mod counters;
mod envelope;
mod fake_control;
mod handle;
mod http;
mod input;
mod inspect;
mod limits;
mod metrics;
mod pending;
mod routes;
mod server;
mod socket;
mod traffic_control;

use std::time::Instant;

use crate::cluster::{ClusterKey, Health, InstanceId, Refused, TenantKey};
use crate::proxy::{StatsRequest, WorkerStats};

pub(crate) use access::Token;
pub(crate) use context::ServiceSettings;
pub(crate) use handle::ServiceHandle;
pub use metrics::table as metrics_table;
pub(crate) use metrics::{Page, ProcessInfo};
pub(crate) use server::ServicePort;

/// Control of the process, for the service port.
pub(crate) trait Control: Send + Sync {
    /// Whether clients may be sent here; if not, why.
    fn ready(&self) -> Result<(), String>;
    /// Whether the clusters are known; if not yet, why.
    fn clusters_known(&self) -> Result<(), String>;
    /// The overall health of an instance, and the reason.
    fn health(&self, tenant: &TenantKey, instance: &InstanceId) -> (Health, String);
    /// Collects statistics: one [`WorkerStats`] per worker, except for workers that do not answer
    /// in time.
    fn collect_stats(&self, wanted: &StatsRequest) -> Vec<WorkerStats>;
    /// The metrics page in Prometheus's text format.
    fn metrics(&self) -> String;
    /// Pauses the tenant's requests for at most `ms` milliseconds.
    fn pause(&self, tenant: &TenantKey, ms: u64);
    /// Resumes the tenant's requests.
    fn resume(&self, tenant: &TenantKey);
    /// Drains, then ends the process.
    fn drain(&self);
    /// The tenant with this name, a tenant key or an alias, as in a login.
    fn tenant(&self, name: &str) -> Option<TenantKey>;
    /// Checks whether a cluster can have its tenant key and this alias.
    fn check_names(&self, cluster: &ClusterKey, alias: Option<&str>) -> Result<(), Refused>;
    /// The cluster that owns a tenant key or an alias, listed or not.
    fn owner(&self, name: &str) -> Option<ClusterKey>;
    /// Whether the cluster has ever had an instance, in this run or an earlier one.
    fn is_served(&self, cluster: &ClusterKey) -> bool;
    /// Frees the names of a deleted cluster.
    fn release(&self, cluster: &ClusterKey);
    /// All listed clusters.
    fn clusters(&self) -> Vec<ClusterKey>;
}

#[allow(
    clippy::disallowed_methods,
    reason = "the service port has threads and a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}
