//! The metrics page: the statistics of all workers, added up and written for Prometheus.
//!
//! `families` and `tenants` are the tables of families, `totals` adds up, `process` reads the
//! system's figures, and `write` writes the page.

mod families;
mod process;
mod tenants;
mod totals;
mod write;

use std::sync::{Mutex, PoisonError};

use crate::cluster::{ClusterKey, Health, InstanceId, TenantKey};
use crate::metrics::Text;
use crate::proxy::WorkerStats;

use families::ProcessRow;
use process::Process;
use totals::Totals;

pub use write::table;

/// The values of the page that do not come from workers.
#[derive(Debug)]
pub(crate) struct ProcessInfo {
    /// The name of this proxy.
    pub node: String,
    /// Its namespace.
    pub namespace: String,
    /// The number of workers.
    pub workers: u16,
    /// Whether clients may be sent here.
    pub ready: bool,
    /// Whether the process drains.
    pub draining: bool,
    /// Clients refused because of `limit.clients`.
    pub clients_refused: u64,
    /// Times that accepting was paused.
    pub accept_pauses: u64,
    /// Names that clusters could not get.
    pub names_refused: usize,
    /// Each sentinel, and whether it answers.
    pub sentinels: Vec<(String, bool)>,
    /// How often sentinels have replaced a primary.
    pub sentinel_switches: u64,
    /// Names of which sentinels have named no primary.
    pub primaries_unknown: usize,
    /// All clusters, for the tenant key of each.
    pub clusters: Vec<ClusterKey>,
}

/// Writes the page. It keeps the totals between two pages.
#[derive(Debug)]
pub(crate) struct Page {
    totals: Mutex<Totals>,
    /// The start of the process, read once: another reading can differ by a second, which would
    /// look like a restart.
    start_us: Option<u64>,
}

impl Page {
    /// Shows up to `tenants_max` tenants individually.
    pub(crate) fn new(tenants_max: usize) -> Self {
        Self {
            totals: Mutex::new(Totals::new(tenants_max)),
            start_us: Process::read().start_us,
        }
    }

    /// Writes the page in the format [`CONTENT_TYPE`](crate::metrics::CONTENT_TYPE). `stats` are
    /// answers to [`StatsRequest::Metrics`](crate::proxy::StatsRequest); a worker without one is
    /// shown with its last. `health` is the overall health of an instance.
    pub(crate) fn write(
        &self,
        collected: Vec<WorkerStats>,
        info: ProcessInfo,
        health: &dyn Fn(&TenantKey, &InstanceId) -> Health,
    ) -> String {
        let process = Process {
            start_us: self.start_us,
            ..Process::read()
        };
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = collected.len();
        totals.take(collected);
        let process_row = ProcessRow {
            info,
            answered,
            tenants: totals.tenant_count(),
            shown: totals.shown().len(),
            process,
        };
        let mut text = Text::default();
        write::page(&mut text, &process_row, &totals, health);
        text.finish()
    }
}

#[cfg(test)]
mod tests;
