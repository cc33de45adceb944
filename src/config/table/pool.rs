//! The options `backend-pool.*`: connections to backends.

use super::Value::{Number, OneOf};
use super::{MS_MAX, OnLoss, Row, SECONDS_MAX, pick, store};

pub(super) const POOL: &[Row] = &[
    Row {
        name: "backend-pool.max-size",
        hint: "N",
        default: "30",
        help: "shared connections of one pool",
        value: Number(1, 10_000, |c, n| store(&mut c.backend_pool.max_size, n)),
    },
    Row {
        name: "backend-pool.dedicated-max",
        hint: "N",
        default: "1000",
        help: "dedicated connections of one tenant, per worker",
        value: Number(1, 1_000_000, |c, n| {
            store(&mut c.backend_pool.dedicated_max, n)
        }),
    },
    Row {
        name: "backend-pool.tenant-max",
        hint: "N",
        default: "",
        help: "connections of one tenant to one instance, per worker [half of the file \
               descriptors that a worker has for backends]",
        value: Number(1, 1_000_000, |c, n| {
            store(&mut c.backend_pool.tenant_max, n)
        }),
    },
    Row {
        name: "backend-pool.max-idle",
        hint: "N",
        default: "10",
        help: "idle connections that a pool keeps for the next client that needs a dedicated one",
        value: Number(0, 10_000, |c, n| store(&mut c.backend_pool.max_idle, n)),
    },
    Row {
        name: "backend-pool.wait-ms",
        hint: "N",
        default: "5000",
        help: "milliseconds that a client waits for a dedicated connection when the limit is \
               reached",
        value: Number(1, MS_MAX, |c, n| store(&mut c.backend_pool.wait_ms, n)),
    },
    Row {
        name: "backend-pool.on-loss",
        hint: "WHAT",
        default: "error",
        help: "what happens when the backend is lost or unreachable: error answers each request \
               with an error; close closes the client, as a failing server does",
        value: OneOf(OnLoss::NAMES, |c, v| pick(&mut c.backend_pool.on_loss, v)),
    },
    Row {
        name: "backend-pool.connect-ms",
        hint: "N",
        default: "3000",
        help: "timeout of a TCP connection attempt, in milliseconds; the handshake that follows \
               has --backend-pool.reply-ms",
        value: Number(1, MS_MAX, |c, n| store(&mut c.backend_pool.connect_ms, n)),
    },
    Row {
        name: "backend-pool.pinned-idle-seconds",
        hint: "N",
        default: "300",
        help: "seconds after which a client that is idle inside MULTI or after WATCH is closed; 0 \
               is no limit",
        value: Number(0, SECONDS_MAX, |c, n| {
            store(&mut c.backend_pool.pinned_idle_seconds, n)
        }),
    },
    Row {
        name: "backend-pool.reply-ms",
        hint: "N",
        default: "60000",
        help: "milliseconds after which a connection that has outstanding requests and receives \
               nothing is closed, unless the server answers on another connection; 0 is no limit",
        value: Number(0, MS_MAX, |c, n| store(&mut c.backend_pool.reply_ms, n)),
    },
];
