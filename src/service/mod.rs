//! The service port: HTTP for people, probes, Prometheus and control planes, on its own threads.
//!
//! Few connections that anybody may open, so every one of them has limits, and none can hold the
//! thread up. Nothing here touches a worker: what is to be done in the process is asked of the
//! [`Office`], clusters are changed in the registry.
//!
//! | file | what is there |
//! |---|---|
//! | `server`, `link` | the loop: sockets and a clock |
//! | `connection` | one connection without its socket: requests in, responses out, and in time |
//! | `http`, `form` | bytes as requests, responses as bytes |
//! | `places` | which connections there is room for |
//! | `helpers`, `handle` | the threads of what may take long; how others reach the port |
//! | `routes`, `guard` | which calls there are, and who may make them |
//! | `clusters`, `look`, `steer` | the calls: about clusters, about clients, about traffic |
//! | `added` | clusters of callers that are trusted to add and nothing more |
//! | `metrics` | the metrics page, made of what workers tell |
//! | `desk` | what they are answered from |
//! | `limits`, `counters` | how much anybody gets, and how often that was not enough |
//! | `check`, `fake` | any bytes as a connection, for the fuzzer; an office that only writes down |

mod added;
#[doc(hidden)]
pub mod check;
mod clusters;
mod connection;
mod counters;
mod desk;
mod envelope;
mod fake;
mod form;
mod guard;
mod handle;
mod helpers;
mod http;
mod input;
mod limits;
mod link;
mod look;
mod metrics;
mod places;
mod routes;
mod server;
mod steer;

use crate::cluster::{ClusterKey, Health, InstanceId, Refused, TenantKey};
use crate::proxy::{Survey, Wanted};

pub(crate) use desk::ServiceSettings;
pub(crate) use guard::Token;
pub(crate) use handle::ServiceHandle;
pub use metrics::table as metrics_table;
pub(crate) use metrics::{About, Page};
pub(crate) use server::ServicePort;

/// What the service port may ask of the rest of the process.
pub(crate) trait Office: Send + Sync {
    /// May clients be sent here? If not, why.
    fn ready(&self) -> Result<(), String>;
    /// Is it known which clusters there are? If not yet, why.
    fn settled(&self) -> Result<(), String>;
    /// What all workers together found out about an instance, and why it is so.
    fn health(&self, tenant: &TenantKey, instance: &InstanceId) -> (Health, String);
    /// One survey per worker; of one that does not answer in time there is none.
    fn survey(&self, wanted: &Wanted) -> Vec<Survey>;
    /// The metrics page, in Prometheus's text format.
    fn metrics(&self) -> String;
    /// The tenant's requests wait from now on, so many milliseconds at most.
    fn pause(&self, tenant: &TenantKey, ms: u64);
    /// They go on.
    fn resume(&self, tenant: &TenantKey);
    /// The process ends when its clients' work is finished.
    fn drain(&self);
    /// Which tenant a name stands for, as in a login: a key or an alias.
    fn tenant(&self, name: &str) -> Option<TenantKey>;
    /// May a cluster have its tenant key, and this alias? If not, why.
    fn may_have(&self, cluster: &ClusterKey, alias: Option<&str>) -> Result<(), Refused>;
    /// The cluster that a name belongs to, a tenant key or an alias, listed or not.
    fn owner(&self, name: &str) -> Option<ClusterKey>;
    /// Has the cluster had an instance, or is it known from an earlier run?
    fn is_served(&self, cluster: &ClusterKey) -> bool;
    /// The cluster was deleted: its names are free.
    fn release(&self, cluster: &ClusterKey);
    /// The clusters that there are.
    fn clusters(&self) -> Vec<ClusterKey>;
}
