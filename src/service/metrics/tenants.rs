//! The families of tenants and instances.

// The label of an instance's id is `instance_id`, because Prometheus uses `instance` for the proxy.

use crate::cluster::{ClusterKey, Health};
use crate::metrics::{ErrorKind, Kind};
use crate::proxy::{Limit, PinReason};

use super::families::{Row, row};
use super::totals::{InstanceRow, TenantRow};

use Kind::{Counter, Gauge, Histogram};

/// One sample per cluster of a tenant that is shown individually.
pub(super) const CLUSTER: Row<ClusterKey> = row(
    Gauge,
    "elika_tenant_info",
    &["tenant", "cluster"],
    "1; the labels have the cluster of the tenant.",
    |it, s| s.number(&[&it.to_string()], 1_u8),
);

pub(super) const TENANTS: &[Row<TenantRow>] = &[
    row(
        Gauge,
        "elika_tenant_paused",
        &["tenant"],
        "1 if the tenant is paused; for tenant=other, the number of paused tenants.",
        |it, s| s.number(&[], it.paused),
    ),
    row(
        Gauge,
        "elika_tenant_paused_clients",
        &["tenant"],
        "Clients that wait because the tenant is paused.",
        |it, s| s.number(&[], it.waiting),
    ),
    row(
        Gauge,
        "elika_tenant_dedicated_connections",
        &["tenant"],
        "Dedicated connections, on the worker with the most; backend-pool.dedicated-max is their \
         limit.",
        |it, s| s.number(&[], it.dedicated),
    ),
    row(
        Counter,
        "elika_tenant_refused_total",
        &["tenant", "limit"],
        "Requests and logins refused by the proxy, by the limit of the tenant.",
        |it, s| {
            for (limit, n) in Limit::ALL.into_iter().zip(it.refused) {
                s.number(&[limit.name()], n);
            }
        },
    ),
];

/// One sample per instance that is shown individually.
pub(super) const ADDRESS: Row<InstanceRow> = row(
    Gauge,
    "elika_instance_info",
    &["tenant", "instance_id", "address"],
    "1; the labels have the address of the instance.",
    |it, s| s.number(&[&it.address], 1_u8),
);

/// The states of a backend connection.
pub(super) const CONNECTIONS: [&str; 5] = ["shared", "own", "idle", "opening", "verifying"];

pub(super) const INSTANCES: &[Row<InstanceRow>] = &[
    row(
        Gauge,
        "elika_instance_listed",
        &["tenant", "instance_id"],
        "1 if the instance is listed, 0 if it is only still in use; for other tenants, how many \
         are listed.",
        |it, s| s.number(&[], it.listed),
    ),
    row(
        Gauge,
        "elika_instance_health",
        &["tenant", "instance_id", "state"],
        "1 for the state of the instance, 0 for the other states; for other tenants, how many are \
         in the state.",
        |it, s| {
            for (state, n) in Health::ALL.into_iter().zip(it.health) {
                s.number(&[state.name()], n);
            }
        },
    ),
    row(
        Gauge,
        "elika_instance_clients",
        &["tenant", "instance_id"],
        "Clients logged in.",
        |it, s| s.number(&[], it.clients),
    ),
    row(
        Gauge,
        "elika_instance_pinned_clients",
        &["tenant", "instance_id", "reason"],
        "Clients with a dedicated connection, by the reason for it.",
        |it, s| {
            for (reason, n) in PinReason::ALL.into_iter().zip(it.pinned) {
                s.number(&[reason.name()], n);
            }
        },
    ),
    row(
        Gauge,
        "elika_instance_waiting_clients",
        &["tenant", "instance_id"],
        "Clients that wait for a dedicated connection.",
        |it, s| s.number(&[], it.waiting),
    ),
    row(
        Gauge,
        "elika_instance_oldest_wait_seconds",
        &["tenant", "instance_id"],
        "How long the first of these clients has waited.",
        |it, s| s.seconds(&[], it.oldest_wait_ms.saturating_mul(1_000)),
    ),
    row(
        Gauge,
        "elika_instance_requests_in_flight",
        &["tenant", "instance_id"],
        "Requests in flight.",
        |it, s| s.number(&[], it.in_flight),
    ),
    row(
        Gauge,
        "elika_instance_connections",
        &["tenant", "instance_id", "state"],
        "Backend connections: shared, dedicated (own), idle, opening, or verifying logins.",
        |it, s| {
            let numbers = [it.shared, it.dedicated, it.idle, it.opening, it.verifying];
            for (state, n) in CONNECTIONS.into_iter().zip(numbers) {
                s.number(&[state], n);
            }
        },
    ),
    row(
        Counter,
        "elika_instance_requests_total",
        &["tenant", "instance_id"],
        "Requests forwarded.",
        |it, s| s.number(&[], it.traffic.requests),
    ),
    row(
        Counter,
        "elika_instance_replies_total",
        &["tenant", "instance_id"],
        "Replies to forwarded requests.",
        |it, s| s.number(&[], it.traffic.replies),
    ),
    row(
        Counter,
        "elika_instance_request_bytes_total",
        &["tenant", "instance_id"],
        "Bytes of forwarded requests.",
        |it, s| s.number(&[], it.traffic.request_bytes),
    ),
    row(
        Counter,
        "elika_instance_reply_bytes_total",
        &["tenant", "instance_id"],
        "Bytes of replies and messages.",
        |it, s| s.number(&[], it.traffic.reply_bytes),
    ),
    row(
        Counter,
        "elika_instance_errors_total",
        &["tenant", "instance_id", "kind"],
        "Error replies of the backend, by kind.",
        |it, s| {
            for (kind, n) in ErrorKind::ALL.into_iter().zip(it.traffic.errors) {
                s.number(&[kind.name()], n);
            }
        },
    ),
    row(
        Counter,
        "elika_instance_evictions_total",
        &["tenant", "instance_id"],
        "Clients closed at a limit of bytes or time.",
        |it, s| s.number(&[], it.evictions),
    ),
    row(
        Histogram,
        "elika_instance_client_latency_seconds",
        &["tenant", "instance_id"],
        "Time from a request's arrival at the proxy to the end of its reply, without blocking \
         commands.",
        |it, s| s.histogram(&[], &it.traffic.client_latency),
    ),
    row(
        Histogram,
        "elika_instance_backend_latency_seconds",
        &["tenant", "instance_id"],
        "Time from when a request is queued for the backend to the end of its reply.",
        |it, s| s.histogram(&[], &it.traffic.backend_latency),
    ),
];
