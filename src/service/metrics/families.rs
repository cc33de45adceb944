//! The table of all families, which is their documentation at the same time.
//!
//! A row says what a family is called, what it means, and which numbers it shows. The counters of a
//! worker come from where they are declared.

use crate::cluster::{ClusterKey, Health};
use crate::metrics::{ErrorKind, Family, Kind, Samples};
use crate::proxy::{Limit, PinReason, Survey};

use super::ledger::{InstanceRow, TenantRow};
use super::process::Process;

use Kind::{Counter, Gauge, Histogram};

/// What is shown once.
pub(super) struct Whole {
    pub node: String,
    pub namespace: String,
    /// Workers that there are.
    pub workers: u16,
    /// Workers that told something this time.
    pub answered: usize,
    pub ready: bool,
    pub draining: bool,
    /// Tenants that there are.
    pub tenants: usize,
    /// Those that stand on their own.
    pub shown: usize,
    pub process: Process,
}

/// One family, and how the samples of one `T` are written: with the labels that tell which `T` it
/// is already there.
pub(super) struct Row<T> {
    pub family: Family,
    pub show: fn(&T, &mut Samples<'_>),
}

const fn row<T>(
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

pub(super) const PROCESS: &[Row<Whole>] = &[
    row(Gauge, "elika_up", &[], "1: the page was made.", |_, s| {
        s.number(&[], 1_u8);
    }),
    row(
        Gauge,
        "elika_build_info",
        &["version", "node", "namespace"],
        "1, for its labels.",
        |it, s| s.number(&[env!("CARGO_PKG_VERSION"), &it.node, &it.namespace], 1_u8),
    ),
    row(
        Gauge,
        "elika_ready",
        &[],
        "1 if clients may be sent here, as /readyz says.",
        |it, s| s.flag(&[], it.ready),
    ),
    row(
        Gauge,
        "elika_draining",
        &[],
        "1 if the process is about to end.",
        |it, s| s.flag(&[], it.draining),
    ),
    row(Gauge, "elika_workers", &[], "Worker threads.", |it, s| {
        s.number(&[], it.workers);
    }),
    row(
        Gauge,
        "elika_workers_silent",
        &[],
        "Workers that did not answer in time; they are shown as they were the last time.",
        |it, s| s.size(&[], usize::from(it.workers).saturating_sub(it.answered)),
    ),
    row(
        Gauge,
        "elika_tenants",
        &[],
        "Tenants that there are.",
        |it, s| s.size(&[], it.tenants),
    ),
    row(
        Gauge,
        "elika_tenants_shown",
        &[],
        "Tenants that have samples of their own.",
        |it, s| s.size(&[], it.shown),
    ),
    row(
        Gauge,
        "process_resident_memory_bytes",
        &[],
        "Memory in use.",
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
        "Open files and sockets.",
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
        "Files and sockets that may be open.",
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
        "Time on processors.",
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
        "When the process started, since 1970.",
        |it, s| {
            if let Some(us) = it.process.start_us {
                s.seconds(&[], us)
            }
        },
    ),
];

/// Besides these, all of [`Counters`](crate::proxy::Counters).
pub(super) const WORKERS: &[Row<Survey>] = &[
    row(
        Gauge,
        "elika_worker_clients",
        &["worker"],
        "Clients, those not logged in included.",
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
        "Bytes that wait to be sent, to clients and to backends.",
        |it, s| s.size(&[], it.outbound_bytes),
    ),
    row(
        Counter,
        "elika_worker_turns_total",
        &["worker"],
        "Turns of its loop.",
        |it, s| s.number(&[], it.turns),
    ),
    row(
        Counter,
        "elika_worker_busy_seconds_total",
        &["worker"],
        "Time that it did not wait for something to do.",
        |it, s| s.seconds(&[], it.busy_us),
    ),
    row(
        Gauge,
        "elika_worker_longest_turn_seconds",
        &["worker"],
        "The longest turn of its loop since somebody asked the last time.",
        |it, s| s.seconds(&[], it.longest_turn_us),
    ),
];

/// Of these there is one sample per cluster of a tenant that is shown, and none for the others.
pub(super) const CLUSTER: Row<ClusterKey> = row(
    Gauge,
    "elika_tenant_info",
    &["tenant", "cluster"],
    "1, for its labels: which cluster the tenant's key stands for.",
    |it, s| s.number(&[&it.to_string()], 1_u8),
);

pub(super) const TENANTS: &[Row<TenantRow>] = &[
    row(
        Gauge,
        "elika_tenant_paused",
        &["tenant"],
        "1 if it is paused; of other tenants, how many are.",
        |it, s| s.number(&[], it.paused),
    ),
    row(
        Gauge,
        "elika_tenant_paused_clients",
        &["tenant"],
        "Clients that wait because it is paused.",
        |it, s| s.number(&[], it.waiting),
    ),
    row(
        Counter,
        "elika_tenant_refused_total",
        &["tenant", "limit"],
        "Requests and logins refused here, by the limit of the tenant that they ran into.",
        |it, s| {
            for (limit, n) in Limit::ALL.into_iter().zip(it.refused) {
                s.number(&[limit.name()], n);
            }
        },
    ),
];

/// Of these there is one sample per instance that stands on its own, and none for the others.
pub(super) const ADDRESS: Row<InstanceRow> = row(
    Gauge,
    "elika_instance_info",
    &["tenant", "instance", "address"],
    "1, for its labels: where the instance is.",
    |it, s| s.number(&[&it.address], 1_u8),
);

pub(super) const INSTANCES: &[Row<InstanceRow>] = &[
    row(
        Gauge,
        "elika_instance_listed",
        &["tenant", "instance"],
        "1 if it is in the registry, 0 if it is only still in use; of others, how many are.",
        |it, s| s.number(&[], it.listed),
    ),
    row(
        Gauge,
        "elika_instance_health",
        &["tenant", "instance", "state"],
        "1 for the state that it is in, 0 for all others; of others, how many are in it.",
        |it, s| {
            for (state, n) in Health::ALL.into_iter().zip(it.health) {
                s.number(&[state.name()], n);
            }
        },
    ),
    row(
        Gauge,
        "elika_instance_clients",
        &["tenant", "instance"],
        "Clients logged in there.",
        |it, s| s.number(&[], it.clients),
    ),
    row(
        Gauge,
        "elika_instance_pinned_clients",
        &["tenant", "instance", "reason"],
        "Clients with a connection of their own, by what they need it for.",
        |it, s| {
            for (reason, n) in PinReason::ALL.into_iter().zip(it.pinned) {
                s.number(&[reason.name()], n);
            }
        },
    ),
    row(
        Gauge,
        "elika_instance_waiting_clients",
        &["tenant", "instance"],
        "Clients that wait for a connection of their own.",
        |it, s| s.number(&[], it.waiting),
    ),
    row(
        Gauge,
        "elika_instance_oldest_wait_seconds",
        &["tenant", "instance"],
        "How long the first of them has waited.",
        |it, s| s.seconds(&[], it.oldest_wait_ms.saturating_mul(1_000)),
    ),
    row(
        Gauge,
        "elika_instance_requests_in_flight",
        &["tenant", "instance"],
        "Requests not yet answered.",
        |it, s| s.number(&[], it.in_flight),
    ),
    row(
        Gauge,
        "elika_instance_connections",
        &["tenant", "instance", "state"],
        "Backend connections: shared by clients, a client's own, idle, or being opened.",
        |it, s| {
            s.number(&["shared"], it.shared);
            s.number(&["own"], it.own);
            s.number(&["idle"], it.idle);
            s.number(&["opening"], it.opening);
        },
    ),
    row(
        Counter,
        "elika_instance_requests_total",
        &["tenant", "instance"],
        "Requests forwarded.",
        |it, s| s.number(&[], it.traffic.requests),
    ),
    row(
        Counter,
        "elika_instance_replies_total",
        &["tenant", "instance"],
        "Replies to them that came.",
        |it, s| s.number(&[], it.traffic.replies),
    ),
    row(
        Counter,
        "elika_instance_request_bytes_total",
        &["tenant", "instance"],
        "Bytes of those requests.",
        |it, s| s.number(&[], it.traffic.request_bytes),
    ),
    row(
        Counter,
        "elika_instance_reply_bytes_total",
        &["tenant", "instance"],
        "Bytes of replies and messages.",
        |it, s| s.number(&[], it.traffic.reply_bytes),
    ),
    row(
        Counter,
        "elika_instance_errors_total",
        &["tenant", "instance", "kind"],
        "Error replies of the backend, by the word that they begin with.",
        |it, s| {
            for (kind, n) in ErrorKind::ALL.into_iter().zip(it.traffic.errors) {
                s.number(&[kind.name()], n);
            }
        },
    ),
    row(
        Counter,
        "elika_instance_evictions_total",
        &["tenant", "instance"],
        "Clients closed because too many bytes waited for them.",
        |it, s| s.number(&[], it.evictions),
    ),
    row(
        Histogram,
        "elika_instance_client_latency_seconds",
        &["tenant", "instance"],
        "From a request's arrival here to the end of its reply.",
        |it, s| s.histogram(&[], &it.traffic.client_latency),
    ),
    row(
        Histogram,
        "elika_instance_backend_latency_seconds",
        &["tenant", "instance"],
        "From the moment a request went to the backend to the end of its reply.",
        |it, s| s.histogram(&[], &it.traffic.backend_latency),
    ),
];
