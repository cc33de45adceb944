//! The connections to backends.

use super::Value::{Number, OneOf};
use super::{MS_MAX, OnLoss, Row, SECONDS_MAX, pick, store};

pub(super) const POOL: &[Row] = &[
    Row {
        name: "backend-pool.max-size",
        hint: "N",
        default: "30",
        help: "connections that are shared by the clients of one user, database and protocol",
        value: Number(1, 10_000, |c, n| store(&mut c.backend_pool.max_size, n)),
    },
    Row {
        name: "backend-pool.dedicated-max",
        hint: "N",
        default: "1000",
        help: "connections of clients' own of one tenant, per worker",
        value: Number(1, 1_000_000, |c, n| {
            store(&mut c.backend_pool.dedicated_max, n)
        }),
    },
    Row {
        name: "backend-pool.tenant-max",
        hint: "N",
        default: "",
        help: "connections of one tenant to one instance, per worker [half of the descriptors that \
               a worker has for backends]",
        value: Number(1, 1_000_000, |c, n| {
            store(&mut c.backend_pool.tenant_max, n)
        }),
    },
    Row {
        name: "backend-pool.max-idle",
        hint: "N",
        default: "10",
        help: "connections that were a client's own and are kept for the next one",
        value: Number(0, 10_000, |c, n| store(&mut c.backend_pool.max_idle, n)),
    },
    Row {
        name: "backend-pool.wait-ms",
        hint: "N",
        default: "5000",
        help: "how long a client waits for a connection of its own when there are no more",
        value: Number(1, MS_MAX, |c, n| store(&mut c.backend_pool.wait_ms, n)),
    },
    Row {
        name: "backend-pool.on-loss",
        hint: "WHAT",
        default: "error",
        help: "what clients get whose backend is lost or cannot be reached: an error for each \
               request, or, as from the server itself, the end of their connection",
        value: OneOf(OnLoss::NAMES, |c, v| pick(&mut c.backend_pool.on_loss, v)),
    },
    Row {
        name: "backend-pool.connect-ms",
        hint: "N",
        default: "3000",
        help: "time for a TCP connection to be made; the reply to what is said first on it has \
               reply-ms",
        value: Number(1, MS_MAX, |c, n| store(&mut c.backend_pool.connect_ms, n)),
    },
    Row {
        name: "backend-pool.pinned-idle-seconds",
        hint: "N",
        default: "300",
        help: "a client that does nothing for so long inside MULTI or after WATCH is closed; 0 is \
               never",
        value: Number(0, SECONDS_MAX, |c, n| {
            store(&mut c.backend_pool.pinned_idle_seconds, n)
        }),
    },
    Row {
        name: "backend-pool.reply-ms",
        hint: "N",
        default: "60000",
        help: "a backend connection that owes a reply for this long is given up, unless the server \
               answers on another one; 0 is never",
        value: Number(0, MS_MAX, |c, n| store(&mut c.backend_pool.reply_ms, n)),
    },
];
