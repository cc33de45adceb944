//! The options `limit.*`: limits of clients and workers.

use super::Value::Number;
use super::{BYTES_MAX, BYTES_MIN, COUNT_MAX, Row, SECONDS_MAX, WORKER_BUFFER_BYTES_MIN, store};

pub(super) const LIMITS: &[Row] = &[
    Row {
        name: "limit.clients",
        hint: "N",
        default: "10000",
        help: "concurrent clients of the process",
        value: Number(1, COUNT_MAX, |c, n| store(&mut c.limits.clients, n)),
    },
    Row {
        name: "limit.accepts-per-second",
        hint: "N",
        default: "0",
        help: "clients accepted per second; 0 is no limit",
        value: Number(0, COUNT_MAX, |c, n| {
            store(&mut c.limits.accepts_per_second, n)
        }),
    },
    Row {
        name: "limit.request-bytes",
        hint: "N",
        default: "1073741824",
        help: "bytes of one request",
        value: Number(BYTES_MIN, BYTES_MAX, |c, n| {
            store(&mut c.limits.request_bytes, n)
        }),
    },
    Row {
        name: "limit.in-flight",
        hint: "N",
        default: "4096",
        help: "unanswered requests of one client; further requests are read when half of them are \
               answered",
        value: Number(1, COUNT_MAX, |c, n| store(&mut c.limits.in_flight, n)),
    },
    Row {
        name: "limit.client-outbound-bytes",
        hint: "N",
        default: "268435456",
        help: "bytes of replies that one client has not read, above which it is closed",
        value: Number(BYTES_MIN, BYTES_MAX, |c, n| {
            store(&mut c.limits.client_outbound_bytes, n)
        }),
    },
    Row {
        name: "limit.subscriber-outbound-bytes",
        hint: "N",
        default: "33554432",
        help: "bytes of messages that one subscriber has not read, above which it is closed",
        value: Number(BYTES_MIN, BYTES_MAX, |c, n| {
            store(&mut c.limits.subscriber_outbound_bytes, n)
        }),
    },
    Row {
        name: "limit.worker-outbound-bytes",
        hint: "N",
        default: "536870912",
        help: "bytes of replies that all clients of one worker have not read",
        value: Number(BYTES_MIN, BYTES_MAX, |c, n| {
            store(&mut c.limits.worker_outbound_bytes, n)
        }),
    },
    Row {
        name: "limit.worker-buffer-bytes",
        hint: "N",
        default: "2147483648",
        help: "bytes of requests and replies that one worker buffers",
        value: Number(WORKER_BUFFER_BYTES_MIN, BYTES_MAX, |c, n| {
            store(&mut c.limits.worker_buffer_bytes, n)
        }),
    },
    Row {
        name: "limit.tenant-buffer-bytes",
        hint: "N",
        default: "536870912",
        help: "bytes of requests and replies that one worker buffers for one tenant; 0 is no limit",
        value: Number(0, BYTES_MAX, |c, n| {
            store(&mut c.limits.tenant_buffer_bytes, n)
        }),
    },
    Row {
        name: "limit.send-seconds",
        hint: "N",
        default: "60",
        help: "seconds after which a client that reads nothing of its outstanding replies is \
               closed; 0 is no limit",
        value: Number(0, SECONDS_MAX, |c, n| store(&mut c.limits.send_seconds, n)),
    },
    Row {
        name: "limit.login-seconds",
        hint: "N",
        default: "60",
        help: "seconds after which a client that is still anonymous is closed, regardless of what \
               it sends; 0 is no limit",
        value: Number(0, SECONDS_MAX, |c, n| store(&mut c.limits.login_seconds, n)),
    },
    Row {
        name: "limit.idle-seconds",
        hint: "N",
        default: "0",
        help: "seconds after which an idle client is closed; 0 is no limit",
        value: Number(0, SECONDS_MAX, |c, n| store(&mut c.limits.idle_seconds, n)),
    },
    Row {
        name: "limit.logins-per-second",
        hint: "N",
        default: "200",
        help: "logins per second and worker that need a new backend connection; further logins \
               wait",
        value: Number(1, COUNT_MAX, |c, n| {
            store(&mut c.limits.logins_per_second, n)
        }),
    },
    Row {
        name: "limit.paused-clients",
        hint: "N",
        default: "10000",
        help: "clients of one tenant that wait while the tenant is paused; further clients get an \
               error",
        value: Number(0, COUNT_MAX, |c, n| store(&mut c.limits.paused_clients, n)),
    },
];
