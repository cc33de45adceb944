//! The options that say where clusters come from, and how clients get theirs.

use super::Value::{Number, OneOf, Text};
use super::*;

pub(super) const ROUTING: &[Row] = &[
    Row {
        name: "router.type",
        hint: "TYPE",
        default: "static",
        help: "source of clusters: static is --router.static-be or --router.sentinel-master; \
               sync takes them from the service port, --router.file and --router.cp-addr",
        value: OneOf(RouterType::NAMES, |c, v| pick(&mut c.router.kind, v)),
    },
    Row {
        name: "router.static-be",
        hint: "HOST:PORT",
        default: "127.0.0.1:6379",
        help: "backend of the static router",
        value: Text(HOST_PORT, |c, v| {
            fill(&mut c.router.static_be, HostPort::parse(v))
        }),
    },
    Row {
        name: "router.sentinels",
        hint: "LIST",
        default: "",
        help: "sentinels that know the primaries of clusters, as HOST:PORT,HOST:PORT,…",
        value: Text(SENTINELS, |c, v| {
            fill(&mut c.router.sentinels, parse_sentinels(v))
        }),
    },
    Row {
        name: "router.sentinel-master",
        hint: "NAME",
        default: "",
        help: "name under which the sentinels monitor the static router's primary; clusters of \
               the sync router have the label sentinel [mymaster]",
        value: Text(NAME, |c, v| {
            fill(&mut c.router.sentinel_master, parse_name(v).map(Some))
        }),
    },
    Row {
        name: "router.sentinel-user",
        hint: "NAME",
        default: "",
        help: "user of the sentinels that the proxy logs in as [the default user]",
        value: Text(NAME, |c, v| {
            fill(&mut c.router.sentinel_user, parse_name(v).map(Some))
        }),
    },
    Row {
        name: "router.sentinel-password",
        hint: "PASSWORD",
        default: "",
        help: "password of that user; without one, the proxy sends no AUTH to the sentinels",
        value: Text(SECRET, |c, v| {
            fill(&mut c.router.sentinel_password, parse_secret(v))
        }),
    },
    Row {
        name: "router.cp-addr",
        hint: "HOST:PORT",
        default: "",
        help: "control plane that the sync router follows",
        value: Text(HOST_PORT, |c, v| {
            fill(&mut c.router.cp_addr, parse_control_plane(v).map(Some))
        }),
    },
    Row {
        name: "router.cp-token",
        hint: "TOKEN",
        default: "",
        help: "bearer token that is sent to the control plane",
        value: Text(SECRET, |c, v| fill(&mut c.router.cp_token, parse_secret(v))),
    },
    Row {
        name: "router.state-file",
        hint: "PATH",
        default: "",
        help: "file that keeps the last known clusters of the control plane, and the owners of \
               tenant names, for the next start",
        value: Text(FILE, |c, v| fill(&mut c.router.state_file, parse_file(v))),
    },
    Row {
        name: "router.file",
        hint: "PATH",
        default: "",
        help: "file that contains clusters; it is watched for changes",
        value: Text(FILE, |c, v| fill(&mut c.router.file, parse_file(v))),
    },
    Row {
        name: "router.balancer",
        hint: "NAME",
        default: "random",
        help: "how an instance of a cluster is chosen for a client",
        value: OneOf(Balancer::NAMES, |c, v| pick(&mut c.router.balancer, v)),
    },
    Row {
        name: "router.offline-grace-seconds",
        hint: "N",
        default: "30",
        help: "seconds that clients may stay on an instance that is offline or removed",
        value: Number(0, SECONDS_MAX, |c, n| {
            store(&mut c.router.offline_grace_seconds, n)
        }),
    },
    Row {
        name: "cluster.hold-ms",
        hint: "N",
        default: "5000",
        help: "milliseconds that a request to a Redis Cluster waits for a node that executes it, \
               during a failover for example",
        value: Number(0, MS_MAX, |c, n| store(&mut c.cluster.hold_ms, n)),
    },
    Row {
        name: "cluster.front",
        hint: "WHAT",
        default: "single",
        help: "what clients see: a server without cluster support, a Redis Cluster of one node, or \
               the second as soon as a client sends a command of Redis Cluster (auto)",
        value: OneOf(Front::NAMES, |c, v| pick(&mut c.cluster.front, v)),
    },
    Row {
        name: "tenants.file",
        hint: "PATH",
        default: "",
        help: "file that contains the limits of tenants; it is watched for changes",
        value: Text(FILE, |c, v| fill(&mut c.tenants.file, parse_file(v))),
    },
    Row {
        name: "admin-commands",
        hint: "WHAT",
        default: "",
        help: "whether administrative commands (CONFIG SET, ACL, DEBUG, …) reach the backend, \
               whose ACL then decides [static: allow, sync: deny]",
        value: OneOf(AdminCommands::NAMES, |c, v| pick(&mut c.admin_commands, v)),
    },
];
