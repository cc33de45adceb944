//! The families of the process and of workers. Those of tenants and instances are in `tenants`. The
//! documentation is made from these tables.
//!
//! The counters of a worker are declared in [`Counters`](crate::proxy::Counters).

use crate::metrics::{Family, Kind, Samples};
use crate::proxy::WorkerStats;

use super::ProcessInfo;
use super::process::Process;

use Kind::{Counter, Gauge};

/// The values that the page shows once.
pub(super) struct ProcessRow {
    pub info: ProcessInfo,
    /// Workers that answered this time.
    pub answered: usize,
    /// All tenants.
    pub tenants: usize,
    /// Tenants with samples of their own.
    pub shown: usize,
    pub process: Process,
}

/// A family, and the function that writes the samples of one `T`. The labels that identify the `T`
/// are set before.
pub(super) struct Row<T> {
    pub family: Family,
    pub show: fn(&T, &mut Samples<'_>),
}

pub(super) const fn row<T>(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    show: fn(&T, &mut Samples<'_>),
) -> Row<T> {
    let family = Family {
        name,
        kind,
        labels,
        help,
    };
    Row { family, show }
}

pub(super) const PROCESS: &[Row<ProcessRow>] = &[
    row(
        Gauge,
        "elika_up",
        &[],
        "1: the page was written.",
        |_, s| {
            s.number(&[], 1_u8);
        },
    ),
    row(
        Gauge,
        "elika_build_info",
        &["version", "node", "namespace"],
        "1; the labels have the version, node and namespace.",
        |it, s| {
            s.number(
                &[env!("CARGO_PKG_VERSION"), &it.info.node, &it.info.namespace],
                1_u8,
            )
        },
    ),
    row(
        Gauge,
        "elika_ready",
        &[],
        "1 if /readyz returns 200.",
        |it, s| s.flag(&[], it.info.ready),
    ),
    row(
        Gauge,
        "elika_draining",
        &[],
        "1 if the process drains.",
        |it, s| s.flag(&[], it.info.draining),
    ),
    row(Gauge, "elika_workers", &[], "Worker threads.", |it, s| {
        s.number(&[], it.info.workers);
    }),
    row(
        Gauge,
        "elika_workers_silent",
        &[],
        "Workers that did not answer in time; they are shown with their last values.",
        |it, s| {
            s.size(
                &[],
                usize::from(it.info.workers).saturating_sub(it.answered),
            )
        },
    ),
    row(Gauge, "elika_tenants", &[], "Tenants.", |it, s| {
        s.size(&[], it.tenants)
    }),
    row(
        Gauge,
        "elika_tenants_shown",
        &[],
        "Tenants with samples of their own.",
        |it, s| s.size(&[], it.shown),
    ),
    row(
        Counter,
        "elika_clients_refused_total",
        &[],
        "Clients refused at limit.clients.",
        |it, s| s.number(&[], it.info.clients_refused),
    ),
    row(
        Counter,
        "elika_accept_rests_total",
        &[],
        "Times that accepting was paused for 50 ms, at limit.accepts-per-second or without free \
         file descriptors.",
        |it, s| s.number(&[], it.info.accept_pauses),
    ),
    row(
        Gauge,
        "elika_names_refused",
        &[],
        "Tenant keys and aliases that clusters cannot have: they belong to other clusters, or look \
         like tenant keys.",
        |it, s| s.size(&[], it.info.names_refused),
    ),
    row(
        Gauge,
        "elika_sentinel_up",
        &["sentinel"],
        "1 if the sentinel answers.",
        |it, s| {
            for (sentinel, up) in &it.info.sentinels {
                s.flag(&[sentinel], *up);
            }
        },
    ),
    row(
        Counter,
        "elika_sentinel_switches_total",
        &[],
        "Times that a primary was replaced by another, as sentinels said.",
        |it, s| s.number(&[], it.info.sentinel_switches),
    ),
    row(
        Gauge,
        "elika_sentinel_primaries_unknown",
        &[],
        "Primaries whose address is not known yet; their clusters are unavailable.",
        |it, s| s.size(&[], it.info.primaries_unknown),
    ),
    row(
        Gauge,
        "process_resident_memory_bytes",
        &[],
        "Resident memory.",
        |it, s| {
            if let Some(n) = it.process.resident_bytes {
                s.number(&[], n)
            }
        },
    ),
    row(
        Gauge,
        "process_virtual_memory_bytes",
        &[],
        "Address space.",
        |it, s| {
            if let Some(n) = it.process.virtual_bytes {
                s.number(&[], n)
            }
        },
    ),
    row(
        Gauge,
        "process_open_fds",
        &[],
        "Open file descriptors.",
        |it, s| {
            if let Some(n) = it.process.open_fds {
                s.number(&[], n)
            }
        },
    ),
    row(
        Gauge,
        "process_max_fds",
        &[],
        "Limit of open file descriptors.",
        |it, s| {
            if let Some(n) = it.process.max_fds {
                s.number(&[], n)
            }
        },
    ),
    row(
        Counter,
        "process_cpu_seconds_total",
        &[],
        "CPU time, user and system.",
        |it, s| {
            if let Some(us) = it.process.cpu_us {
                s.seconds(&[], us)
            }
        },
    ),
    row(
        Gauge,
        "process_start_time_seconds",
        &[],
        "Start time of the process, since 1970.",
        |it, s| {
            if let Some(us) = it.process.start_us {
                s.seconds(&[], us)
            }
        },
    ),
];

/// The page shows these and all of [`Counters`](crate::proxy::Counters).
pub(super) const WORKERS: &[Row<WorkerStats>] = &[
    row(
        Gauge,
        "elika_worker_clients",
        &["worker"],
        "Clients, including those that are not logged in.",
        |it, s| s.size(&[], it.client_count),
    ),
    row(
        Gauge,
        "elika_worker_backend_connections",
        &["worker"],
        "Backend connections.",
        |it, s| s.size(&[], it.backend_count),
    ),
    row(
        Gauge,
        "elika_worker_outbound_bytes",
        &["worker"],
        "Bytes to be sent to clients and backends.",
        |it, s| s.size(&[], it.outbound_bytes),
    ),
    row(
        Counter,
        "elika_worker_turns_total",
        &["worker"],
        "Turns of the worker's loop.",
        |it, s| s.number(&[], it.turns),
    ),
    row(
        Counter,
        "elika_worker_busy_seconds_total",
        &["worker"],
        "Time that the worker's loop did not wait for events.",
        |it, s| s.seconds(&[], it.busy_us),
    ),
    row(
        Gauge,
        "elika_worker_longest_turn_seconds",
        &["worker"],
        "The longest turn of the worker's loop since the previous scrape.",
        |it, s| s.seconds(&[], it.longest_turn_us),
    ),
];
