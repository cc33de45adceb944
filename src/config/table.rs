//! The table of options. The command line, the environment variables, the help and the checks of
//! single values are made from it.
//!
//! Defaults and ranges have the form in which users see them. Checks that involve two options are
//! in `check.rs`.

mod limits;
mod pool;
mod routing;

use super::Config;
use super::values::{
    AdminCommands, Balancer, Choice, FILE, Front, HOST_PORT, HostPort, LogLevel, NAME, OnLoss,
    PATH, RouterType, SECRET, SENTINELS, choose, parse_control_plane, parse_file, parse_name,
    parse_path, parse_secret, parse_sentinels,
};
use Value::{Number, OneOf, Text};
use limits::LIMITS;
use pool::POOL;
use routing::ROUTING;

/// Options under one heading of the help.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

/// One option. Every option takes a value.
pub(super) struct Row {
    /// The name without the dashes.
    pub(super) name: &'static str,
    /// The placeholder of the value in the help.
    pub(super) hint: &'static str,
    /// The default as a user writes it. Empty when the option has no default, or a default that
    /// depends on another option.
    pub(super) default: &'static str,
    /// The description, with the unit.
    pub(super) help: &'static str,
    /// The allowed values and the field that they set.
    pub(super) value: Value,
}

/// The values that an option allows, and the function that sets its field.
pub(super) enum Value {
    /// A whole number between the minimum and the maximum. The function returns false when the
    /// number does not fit the field.
    Number(u64, u64, fn(&mut Config, u64) -> bool),
    /// One of these names.
    OneOf(&'static [&'static str], fn(&mut Config, &str)),
    /// A text, with a description of its form. The function returns the reason why a text is
    /// rejected.
    Text(
        &'static str,
        fn(&mut Config, &str) -> Result<(), &'static str>,
    ),
}

impl Row {
    /// The environment variable of the option.
    pub(super) fn env_name(&self) -> String {
        env_name(self.name)
    }
}

impl Value {
    /// The allowed values, as an error line shows them.
    pub(super) fn allowed(&self) -> String {
        match self {
            Number(min, max, _) => format!("{min} to {max}"),
            OneOf(names, _) => names.join(", "),
            Text(form, _) => (*form).to_owned(),
        }
    }
}

/// The environment variable of option `name`: `ELIKA_ROUTER_STATIC_BE` for `router.static-be`.
pub(super) fn env_name(name: &str) -> String {
    let name = name.replace(['.', '-'], "_").to_ascii_uppercase();
    format!("ELIKA_{name}")
}

/// Every option, in the order of the help.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// The option with this name, without the dashes.
pub(super) fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// More than the cores of any machine that runs one proxy.
pub(super) const WORKERS_MAX: u16 = 1_024;

// The maxima are far above any useful value. The sums that a worker makes of them do not overflow.
const COUNT_MAX: u64 = 10_000_000;
const PORT_MAX: u64 = 65_535;
const BYTES_MAX: u64 = 1 << 40;
const SECONDS_MAX: u64 = 365 * 24 * 3_600;
/// Linux rejects a larger TCP_KEEPIDLE.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
const MS_MAX: u64 = 24 * 3_600 * 1_000;

/// Room for a short request or reply.
const BYTES_MIN: u64 = 1_024;

/// Room for a few reads of a connection, and for the part of a large reply that its client has not
/// read.
const WORKER_BUFFER_BYTES_MIN: u64 = 1 << 20;

const BOOLEAN: &[&str] = &["true", "false"];

pub(super) static GROUPS: &[Group] = &[
    Group {
        title: "Process",
        rows: PROCESS,
    },
    Group {
        title: "Routing",
        rows: ROUTING,
    },
    Group {
        title: "Backend pools (one per worker, instance, user, database and protocol version)",
        rows: POOL,
    },
    Group {
        title: "Connections",
        rows: TCP,
    },
    Group {
        title: "Health",
        rows: HEALTH,
    },
    Group {
        title: "Metrics",
        rows: METRICS,
    },
    Group {
        title: "Limits",
        rows: LIMITS,
    },
];

const PROCESS: &[Row] = &[
    Row {
        name: "bind",
        hint: "IP",
        default: "0.0.0.0",
        help: "local address of the client port and the service port",
        value: Text("an IPv4 or IPv6 address", |c, v| {
            fill(&mut c.bind, v.parse().map_err(|_| "not an IP address"))
        }),
    },
    Row {
        name: "port",
        hint: "N",
        default: "6378",
        help: "TCP port for Redis clients; 0 picks a free port",
        value: Number(0, PORT_MAX, |c, n| store(&mut c.port, n)),
    },
    Row {
        name: "service-port",
        hint: "N",
        default: "7080",
        help: "TCP port for HTTP: health, metrics, clusters; 0 picks a free port",
        value: Number(0, PORT_MAX, |c, n| store(&mut c.service_port, n)),
    },
    Row {
        name: "service-token",
        hint: "TOKEN",
        default: "",
        help: "bearer token of callers that change something or list clients; without a token, \
               only callers on the admin listener may do that",
        value: Text(SECRET, |c, v| fill(&mut c.service_token, parse_secret(v))),
    },
    Row {
        name: "service-admin-bind",
        hint: "IP:PORT",
        default: "",
        help: "address of the admin listener: HTTP for trusted callers [127.0.0.1, port 10000 \
               above the service port, or a free port; none with --service-token]",
        value: Text(
            "an IP address and a port, such as 127.0.0.1:17080",
            |c, v| {
                let address = v.parse().map_err(|_| "not an IP address with a port");
                fill(&mut c.service_admin_bind, address.map(Some))
            },
        ),
    },
    Row {
        name: "service.enable",
        hint: "BOOL",
        default: "true",
        help: "whether the proxy opens the service port",
        value: OneOf(BOOLEAN, |c, v| c.service_enable = v == "true"),
    },
    Row {
        name: "core-num",
        hint: "N",
        default: "0",
        help: "worker threads; 0 is one per core",
        value: Number(0, WORKERS_MAX as u64, |c, n| store(&mut c.core_num, n)),
    },
    Row {
        name: "worker.batching",
        hint: "BOOL",
        default: "true",
        help: "whether a worker under load waits about 50 microseconds for more requests",
        value: OneOf(BOOLEAN, |c, v| c.worker_batching = v == "true"),
    },
    Row {
        name: "grace-seconds",
        hint: "N",
        default: "10",
        help: "seconds that the proxy waits after SIGTERM for requests in flight",
        value: Number(0, 3_600, |c, n| store(&mut c.grace_seconds, n)),
    },
    Row {
        name: "log.level",
        hint: "LEVEL",
        default: "info",
        help: "least severe level that is logged",
        value: OneOf(LogLevel::NAMES, |c, v| pick(&mut c.log_level, v)),
    },
    Row {
        name: "log.level-file",
        hint: "PATH",
        default: "",
        help: "file that contains the log level and overrides --log.level while it exists; read \
               at the start and at SIGHUP",
        value: Text(FILE, |c, v| fill(&mut c.log_level_file, parse_file(v))),
    },
    Row {
        name: "node.id",
        hint: "NAME",
        default: "local_proxy",
        help: "name of this proxy",
        value: Text(NAME, |c, v| fill(&mut c.node.id, parse_name(v))),
    },
    Row {
        name: "node.namespace",
        hint: "NAME",
        default: "default",
        help: "namespace of this proxy",
        value: Text(NAME, |c, v| fill(&mut c.node.namespace, parse_name(v))),
    },
];

const TCP: &[Row] = &[Row {
    name: "tcp.keepalive-seconds",
    hint: "N",
    default: "60",
    help: "seconds of silence before a client or backend is probed; a connection whose other end \
           does not answer is closed after twice the time; 0 turns the probes off",
    value: Number(0, KEEPALIVE_SECONDS_MAX, |c, n| {
        store(&mut c.tcp.keepalive_seconds, n)
    }),
}];

const HEALTH: &[Row] = &[
    Row {
        name: "health.check-ms",
        hint: "N",
        default: "2000",
        help: "milliseconds between two checks of an instance; 0 turns the checks off",
        value: Number(0, MS_MAX, |c, n| store(&mut c.health.check_ms, n)),
    },
    Row {
        name: "health.timeout-ms",
        hint: "N",
        default: "1000",
        help: "milliseconds in which an instance must answer a check; a slower instance gets no \
               new clients while another instance of its cluster is up",
        value: Number(1, MS_MAX, |c, n| store(&mut c.health.timeout_ms, n)),
    },
];

const METRICS: &[Row] = &[
    Row {
        name: "metrics.enable",
        hint: "BOOL",
        default: "true",
        help: "whether the service port serves the metrics page",
        value: OneOf(BOOLEAN, |c, v| c.metrics.enable = v == "true"),
    },
    Row {
        name: "metrics.path",
        hint: "PATH",
        default: "/metrics",
        help: "path of the metrics page",
        value: Text(PATH, |c, v| fill(&mut c.metrics.path, parse_path(v))),
    },
    Row {
        name: "metrics.tenants",
        hint: "N",
        default: "50",
        help: "tenants that have their own series, chosen by their number of clients; the others \
               are summed up",
        value: Number(0, COUNT_MAX, |c, n| store(&mut c.metrics.tenants, n)),
    },
];

/// Sets `field` to `number`. Returns false when `number` is too large for the field's type, whose
/// size may depend on the machine.
fn store<T: TryFrom<u64>>(field: &mut T, number: u64) -> bool {
    T::try_from(number).map(|number| *field = number).is_ok()
}

/// Sets `field` to the value with this name. The caller has found `name` in the list of names.
fn pick<T: Choice>(field: &mut T, name: &str) {
    if let Some(value) = choose(name) {
        *field = value;
    }
}

/// Sets `field` to the parsed value.
fn fill<T>(field: &mut T, parsed: Result<T, &'static str>) -> Result<(), &'static str> {
    *field = parsed?;
    Ok(())
}
