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
use crate::proxy::Survey;

use families::Whole;
use process::Process;
use totals::Totals;

pub use write::table;

/// The values of the page that do not come from workers.
pub(crate) struct About<'a> {
    /// The name of this proxy.
    pub node: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The number of workers.
    pub workers: u16,
    /// Whether clients may be sent here.
    pub ready: bool,
    /// Whether the process drains.
    pub draining: bool,
    /// Clients refused because of `limit.clients`.
    pub clients_refused: u64,
    /// Times that accepting was paused.
    pub accept_rests: u64,
    /// Names that clusters could not get.
    pub names_refused: usize,
    /// All clusters, for the tenant key of each.
    pub clusters: &'a [ClusterKey],
    /// The overall health of an instance.
    pub health: &'a dyn Fn(&TenantKey, &InstanceId) -> Health,
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
    /// Shows at most so many tenants individually.
    pub(crate) fn new(tenants_max: usize) -> Self {
        Self {
            totals: Mutex::new(Totals::new(tenants_max)),
            start_us: Process::read().start_us,
        }
    }

    /// Writes the page in the format [`CONTENT_TYPE`](crate::metrics::CONTENT_TYPE). `surveys` are
    /// answers to [`Wanted::Numbers`](crate::proxy::Wanted); a worker without one is shown with its
    /// last.
    pub(crate) fn write(&self, surveys: Vec<Survey>, about: &About<'_>) -> String {
        let process = Process {
            start_us: self.start_us,
            ..Process::read()
        };
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = surveys.len();
        totals.take(surveys);
        let whole = Whole {
            node: about.node.to_owned(),
            namespace: about.namespace.to_owned(),
            workers: about.workers,
            answered,
            ready: about.ready,
            draining: about.draining,
            clients_refused: about.clients_refused,
            accept_rests: about.accept_rests,
            names_refused: about.names_refused,
            tenants: totals.tenant_count(),
            shown: totals.shown().len(),
            process,
        };
        let mut text = Text::default();
        write::page(&mut text, &whole, &totals, about);
        text.finish()
    }
}

#[cfg(test)]
mod tests;
