//! The metrics page: what all workers told, added up and written for Prometheus.
//!
//! `families` and `tenants` are the table of what is shown, `ledger` adds up, `process` asks the
//! system, and `write` puts them together.

mod families;
mod ledger;
mod process;
mod tenants;
mod write;

use std::sync::{Mutex, PoisonError};

use crate::cluster::{ClusterKey, Health, InstanceId, TenantKey};
use crate::metrics::Text;
use crate::proxy::Survey;

use families::Whole;
use ledger::Ledger;
use process::Process;

pub use write::table;

/// What the page says besides what workers told.
pub(crate) struct About<'a> {
    /// The name of this proxy.
    pub node: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// How many workers there are.
    pub workers: u16,
    /// May clients be sent here?
    pub ready: bool,
    /// Is the process about to end?
    pub draining: bool,
    /// Clients that were refused because there were too many.
    pub clients_refused: u64,
    /// Times that accepting clients rested.
    pub accept_rests: u64,
    /// Names that clusters do not get.
    pub names_refused: usize,
    /// All clusters, to tell which cluster a tenant's key stands for.
    pub clusters: &'a [ClusterKey],
    /// What all workers together found out about an instance.
    pub health: &'a dyn Fn(&TenantKey, &InstanceId) -> Health,
}

/// The page, from one time that it is asked for to the next: it remembers what was counted.
#[derive(Debug)]
pub(crate) struct Page {
    ledger: Mutex<Ledger>,
    /// When the process started, read once: the system's answer can be a second off the next time,
    /// which would look like a restart.
    start_us: Option<u64>,
}

impl Page {
    /// Shows that many tenants each on its own.
    pub(crate) fn new(tenants_max: usize) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(tenants_max)),
            start_us: Process::read().start_us,
        }
    }

    /// The page in the format that [`CONTENT_TYPE`](crate::metrics::CONTENT_TYPE) names.
    /// `surveys` are answers to [`Wanted::Numbers`](crate::proxy::Wanted); a worker that is not
    /// among them is shown as it was the last time.
    pub(crate) fn write(&self, surveys: Vec<Survey>, about: &About<'_>) -> String {
        let process = Process {
            start_us: self.start_us,
            ..Process::read()
        };
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = surveys.len();
        ledger.take(surveys);
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
            tenants: ledger.tenant_count(),
            shown: ledger.shown().len(),
            process,
        };
        let mut text = Text::default();
        write::page(&mut text, &whole, &ledger, about);
        text.finish()
    }
}

#[cfg(test)]
mod tests;
