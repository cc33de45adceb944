//! THE table of options: from it come the command line, the environment, the help and the checks
//! of single values.
//!
//! Defaults and ranges are written here as users see them. What depends on two options at once
//! is in `check.rs`.

mod limits;
mod pool;

use super::Config;
use super::values::{
    AdminCommands, Balancer, Choice, FILE, HOST_PORT, HostPort, LogLevel, NAME, OnLoss, PATH,
    RouterType, SECRET, choose, parse_control_plane, parse_file, parse_name, parse_path,
    parse_secret,
};
use Value::{Number, OneOf, Text};
use limits::LIMITS;
use pool::POOL;

/// Options that stand under one heading in the help.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

/// One option, which always takes a value.
pub(super) struct Row {
    /// Without the dashes.
    pub(super) name: &'static str,
    /// What stands for the value in the help.
    pub(super) hint: &'static str,
    /// As a user would write it; empty if there is none, or none that stands alone.
    pub(super) default: &'static str,
    /// What it means, units included.
    pub(super) help: &'static str,
    /// Which texts it takes, and where they go.
    pub(super) value: Value,
}

/// Which texts an option takes, and what it sets.
pub(super) enum Value {
    /// A whole number from the first to the second; false if it does not fit this machine.
    Number(u64, u64, fn(&mut Config, u64) -> bool),
    /// One of these names.
    OneOf(&'static [&'static str], fn(&mut Config, &str)),
    /// Text of the form described, or the reason why it is not.
    Text(
        &'static str,
        fn(&mut Config, &str) -> Result<(), &'static str>,
    ),
}

impl Row {
    /// The environment variable that stands in for the option.
    pub(super) fn env_name(&self) -> String {
        env_name(self.name)
    }
}

impl Value {
    /// The texts it takes, for people.
    pub(super) fn allowed(&self) -> String {
        match self {
            Number(min, max, _) => format!("{min} to {max}"),
            OneOf(names, _) => names.join(", "),
            Text(form, _) => (*form).to_owned(),
        }
    }
}

/// `router.static-be` becomes `ELIKA_ROUTER_STATIC_BE`.
pub(super) fn env_name(name: &str) -> String {
    let name = name.replace(['.', '-'], "_").to_ascii_uppercase();
    format!("ELIKA_{name}")
}

/// Every option, in the order of the help.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// The option called `name`, without its dashes.
pub(super) fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// More than any machine that runs one proxy has cores.
pub(super) const WORKERS_MAX: u16 = 1_024;

// Ranges end far above any sense, and where the sums of a worker still cannot overflow.
const COUNT_MAX: u64 = 10_000_000;
const PORT_MAX: u64 = 65_535;
const BYTES_MAX: u64 = 1 << 40;
const SECONDS_MAX: u64 = 365 * 24 * 3_600;
/// More than Linux takes as TCP_KEEPIDLE is refused by it.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
const MS_MAX: u64 = 24 * 3_600 * 1_000;

/// Below this not even the smallest sensible request and reply fit.
const BYTES_MIN: u64 = 1_024;

/// Of all buffers of a worker: a few reads of a connection must have room, and what a large reply
/// may have ahead of its client.
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
        title: "Backend pools (each: one worker, instance, user, database, protocol)",
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
        help: "local address of both ports",
        value: Text("an IPv4 or IPv6 address", |c, v| {
            fill(&mut c.bind, v.parse().map_err(|_| "not an IP address"))
        }),
    },
    Row {
        name: "port",
        hint: "N",
        default: "6378",
        help: "where Redis clients connect; 0 is any free port",
        value: Number(0, PORT_MAX, |c, n| store(&mut c.port, n)),
    },
    Row {
        name: "service-port",
        hint: "N",
        default: "7080",
        help: "HTTP: health, metrics, clusters; 0 is any free port",
        value: Number(0, PORT_MAX, |c, n| store(&mut c.service_port, n)),
    },
    Row {
        name: "service-token",
        hint: "TOKEN",
        default: "",
        help: "what callers that change something must show as a bearer token; without it they \
               must be on this machine, and come to the admin listener",
        value: Text(SECRET, |c, v| fill(&mut c.service_token, parse_secret(v))),
    },
    Row {
        name: "service-admin-bind",
        hint: "IP:PORT",
        default: "",
        help: "the admin listener: HTTP for callers on this machine, which need no token there \
               [127.0.0.1, 10000 above the service port; none with a token]",
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
        help: "whether there is a service port",
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
        name: "grace-seconds",
        hint: "N",
        default: "10",
        help: "how long SIGTERM waits for work in flight",
        value: Number(0, 3_600, |c, n| store(&mut c.grace_seconds, n)),
    },
    Row {
        name: "log.level",
        hint: "LEVEL",
        default: "info",
        help: "the least urgent messages that are logged",
        value: OneOf(LogLevel::NAMES, |c, v| pick(&mut c.log_level, v)),
    },
    Row {
        name: "log.level-file",
        hint: "PATH",
        default: "",
        help: "a file with the level in it, which wins while it is there; read again at SIGHUP",
        value: Text(FILE, |c, v| fill(&mut c.log_level_file, parse_file(v))),
    },
    Row {
        name: "node.id",
        hint: "NAME",
        default: "local_proxy",
        help: "what this proxy is called",
        value: Text(NAME, |c, v| fill(&mut c.node.id, parse_name(v))),
    },
    Row {
        name: "node.namespace",
        hint: "NAME",
        default: "default",
        help: "the namespace of this proxy",
        value: Text(NAME, |c, v| fill(&mut c.node.namespace, parse_name(v))),
    },
];

const ROUTING: &[Row] = &[
    Row {
        name: "router.type",
        hint: "TYPE",
        default: "static",
        help: "where clusters come from: static is one backend; sync is the service port, a file \
               and a control plane",
        value: OneOf(RouterType::NAMES, |c, v| pick(&mut c.router.kind, v)),
    },
    Row {
        name: "router.static-be",
        hint: "HOST:PORT",
        default: "127.0.0.1:6379",
        help: "the backend of the static router",
        value: Text(HOST_PORT, |c, v| {
            fill(&mut c.router.static_be, HostPort::parse(v))
        }),
    },
    Row {
        name: "router.cp-addr",
        hint: "HOST:PORT",
        default: "",
        help: "the control plane that the sync router follows",
        value: Text(HOST_PORT, |c, v| {
            fill(&mut c.router.cp_addr, parse_control_plane(v).map(Some))
        }),
    },
    Row {
        name: "router.cp-token",
        hint: "TOKEN",
        default: "",
        help: "what to show the control plane as a bearer token",
        value: Text(SECRET, |c, v| fill(&mut c.router.cp_token, parse_secret(v))),
    },
    Row {
        name: "router.state-file",
        hint: "PATH",
        default: "",
        help: "where the last known clusters of the control plane, and whom names belong to, are \
               kept for the next start",
        value: Text(FILE, |c, v| fill(&mut c.router.state_file, parse_file(v))),
    },
    Row {
        name: "router.file",
        hint: "PATH",
        default: "",
        help: "a file with clusters, which is watched",
        value: Text(FILE, |c, v| fill(&mut c.router.file, parse_file(v))),
    },
    Row {
        name: "router.balancer",
        hint: "NAME",
        default: "random",
        help: "which instance of a cluster a client gets",
        value: OneOf(Balancer::NAMES, |c, v| pick(&mut c.router.balancer, v)),
    },
    Row {
        name: "router.offline-grace-seconds",
        hint: "N",
        default: "30",
        help: "how long clients may stay with an instance that is offline or gone",
        value: Number(0, SECONDS_MAX, |c, n| {
            store(&mut c.router.offline_grace_seconds, n)
        }),
    },
    Row {
        name: "tenants.file",
        hint: "PATH",
        default: "",
        help: "a file with the limits of tenants, which is watched",
        value: Text(FILE, |c, v| fill(&mut c.tenants.file, parse_file(v))),
    },
    Row {
        name: "admin-commands",
        hint: "WHAT",
        default: "",
        help: "whether CONFIG SET, ACL, DEBUG and the like reach the backend, whose ACL then \
               decides [allow in static, deny in sync]",
        value: OneOf(AdminCommands::NAMES, |c, v| pick(&mut c.admin_commands, v)),
    },
];

const TCP: &[Row] = &[Row {
    name: "tcp.keepalive-seconds",
    hint: "N",
    default: "60",
    help: "silence after which a client or backend is probed; one that answers nothing is given up \
           after twice the time; 0 is never",
    value: Number(0, KEEPALIVE_SECONDS_MAX, |c, n| {
        store(&mut c.tcp.keepalive_seconds, n)
    }),
}];

const HEALTH: &[Row] = &[
    Row {
        name: "health.check-ms",
        hint: "N",
        default: "2000",
        help: "time between two checks of an instance; 0 is none",
        value: Number(0, MS_MAX, |c, n| store(&mut c.health.check_ms, n)),
    },
    Row {
        name: "health.timeout-ms",
        hint: "N",
        default: "1000",
        help: "an instance that takes longer to answer a check gets no new clients while others do \
               better",
        value: Number(1, MS_MAX, |c, n| store(&mut c.health.timeout_ms, n)),
    },
];

const METRICS: &[Row] = &[
    Row {
        name: "metrics.enable",
        hint: "BOOL",
        default: "true",
        help: "whether the service port shows metrics",
        value: OneOf(BOOLEAN, |c, v| c.metrics.enable = v == "true"),
    },
    Row {
        name: "metrics.path",
        hint: "PATH",
        default: "/metrics",
        help: "where it shows them",
        value: Text(PATH, |c, v| fill(&mut c.metrics.path, parse_path(v))),
    },
    Row {
        name: "metrics.tenants",
        hint: "N",
        default: "50",
        help: "tenants shown each on its own, those with the most clients; the rest together",
        value: Number(0, COUNT_MAX, |c, n| store(&mut c.metrics.tenants, n)),
    },
];

/// False if `number` is too large for the field, which depends on the machine.
fn store<T: TryFrom<u64>>(field: &mut T, number: u64) -> bool {
    T::try_from(number).map(|number| *field = number).is_ok()
}

/// Sets the value called `name`, which the caller found in the list of names.
fn pick<T: Choice>(field: &mut T, name: &str) {
    if let Some(value) = choose(name) {
        *field = value;
    }
}

fn fill<T>(field: &mut T, parsed: Result<T, &'static str>) -> Result<(), &'static str> {
    *field = parsed?;
    Ok(())
}
