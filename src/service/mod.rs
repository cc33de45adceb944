//! The service port: HTTP for people, probes, Prometheus and control planes, on its own thread.

mod metrics;

use crate::cluster::{ClusterKey, Health, InstanceId, TenantKey};
use crate::proxy::{Survey, Wanted};

pub use metrics::table as metrics_table;
pub(crate) use metrics::{About, Page};

/// What the service port may ask of the rest of the process.
pub(crate) trait Office: Send + Sync {
    /// May clients be sent here? If not, why.
    fn ready(&self) -> Result<(), String>;
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
    /// The clusters that there are.
    fn clusters(&self) -> Vec<ClusterKey>;
}
