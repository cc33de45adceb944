//! What a seed draws before it begins: clusters, clients, settings, and which faults may happen.

use elika::proxy::Settings;

use super::rng::Rng;

/// How nodes name each other in CLUSTER SLOTS and in redirections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// By their addresses.
    Address,
    /// Not at all: at the host that the client used, with the port of each node.
    Unknown,
    /// By host names. CLUSTER SLOTS has the address beside the name.
    HostName,
}

/// The faults that may happen in a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Slots move key by key, or at once.
    pub(crate) migrate: bool,
    /// Nodes hear of a change late, each at its own time.
    pub(crate) lag: bool,
    /// Nodes report what is not so.
    pub(crate) lie: bool,
    /// Nodes end; their replicas take over, or they start again.
    pub(crate) die: bool,
    /// Nodes execute nothing for a while; their replicas may take over.
    pub(crate) pause: bool,
    /// Connections end.
    pub(crate) cut: bool,
}

impl Faults {
    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ClusterPlan {
    /// Primaries with slots, and those that have none at first.
    pub(crate) shards: usize,
    pub(crate) empty_shards: usize,
    pub(crate) replicas: usize,
    /// The server knows HELLO.
    pub(crate) hello: bool,
    pub(crate) endpoints: Endpoints,
    /// The slots whose keys clients use.
    pub(crate) slots: usize,
    /// All nodes refuse requests while a slot has no primary.
    pub(crate) full_coverage: bool,
    /// A node hears of a change after this time at most, ms.
    pub(crate) lag_ms: u64,
    /// The nodes that the registry knows.
    pub(crate) seeds: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clusters: Vec<ClusterPlan>,
    pub(crate) workers: u16,
    pub(crate) clients: usize,
    /// The most requests of one client.
    pub(crate) requests: u64,
    /// The longest delay of a connection, ms.
    pub(crate) delay_ms: u64,
    /// Faults happen until this time at most, ms.
    pub(crate) faulty_ms: u64,
    pub(crate) faults: Faults,
    /// Clients use transactions: not where a node may fail in the middle of one.
    pub(crate) transactions: bool,
    pub(crate) settings: Settings,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let faults = draw_faults(rng);
        let number = rng.below(3) / 2 + 1;
        let clusters = (0..number).map(|_| draw_cluster(rng, faults)).collect();
        let workers = rng.between(1, 2) as u16;
        let settings = Settings {
            workers,
            pool_connections_max: *rng.pick(&[1, 2, 4, 30]),
            pool_idle_max: rng.below(4),
            cluster_hold_ms: *rng.pick(&[600, 1_000, 2_000]),
            backend_connect_ms: 3_000,
            client_in_flight_max: *rng.pick(&[4, 64, 4_096]),
            check_ms: *rng.pick(&[0, 0, 300]),
            seed: rng.next(),
            ..Settings::default()
        };
        Self {
            clusters,
            workers,
            clients: 3 + rng.below(6),
            requests: rng.between(10, 80),
            delay_ms: *rng.pick(&[0, 1, 4, 10]),
            faulty_ms: rng.between(1_000, 4_000),
            transactions: true,
            faults,
            settings,
        }
    }
}

fn draw_faults(rng: &mut Rng) -> Faults {
    let mut one = || rng.one_in(2);
    let drawn = Faults {
        migrate: one(),
        lag: one(),
        lie: one(),
        die: one(),
        pause: one(),
        cut: one(),
    };
    match rng.below(10) {
        0 => Faults::default(),
        1 | 2 => Faults {
            migrate: true,
            lag: drawn.lag,
            ..Faults::default()
        },
        3 => Faults {
            die: true,
            ..Faults::default()
        },
        4 => Faults {
            pause: true,
            ..Faults::default()
        },
        _ => drawn,
    }
}

fn draw_cluster(rng: &mut Rng, faults: Faults) -> ClusterPlan {
    let shards = rng.between(2, 4) as usize;
    let replicas = rng.below(3);
    ClusterPlan {
        shards,
        empty_shards: rng.below(4) / 3,
        replicas,
        hello: !rng.one_in(5),
        endpoints: *rng.pick(&[
            Endpoints::Address,
            Endpoints::Address,
            Endpoints::Unknown,
            Endpoints::HostName,
        ]),
        slots: rng.between(3, 8) as usize,
        full_coverage: rng.one_in(3),
        lag_ms: if faults.lag { rng.between(10, 300) } else { 0 },
        seeds: rng.between(1, shards as u64) as usize,
    }
}
