//! The world of a seed: its tenants and clients, its faults, and its limits.

use elika::cluster::Balancer;
use elika::proxy::Settings;

use super::rng::Rng;

/// Possible faults; each number is per thousand events of its kind, 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// An open backend connection is reset.
    pub(crate) reset: u64,
    /// A connection is refused.
    pub(crate) refuse: u64,
    /// A connection attempt is never answered.
    pub(crate) blackhole: u64,
    /// An open backend connection becomes silent.
    pub(crate) hang: u64,
    /// A server sends bytes that are not RESP.
    pub(crate) garbage: u64,
    /// A server accepts a connection only to reply that it is full.
    pub(crate) full: u64,
    /// A server is down for a while.
    pub(crate) restart: u64,
    /// A server goes down permanently some time after its instance has moved.
    pub(crate) stop: u64,
    /// A password changes.
    pub(crate) password: u64,
    /// A client's connection is reset.
    pub(crate) client_reset: u64,
}

/// Changes of tenants and their instances; per thousand events of the world.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    /// An instance goes offline, or is ready again.
    pub(crate) status: u64,
    /// An instance is deleted, or added again.
    pub(crate) delete: u64,
    /// An instance is added.
    pub(crate) add: u64,
    /// An instance gets another server at another address.
    pub(crate) address: u64,
    /// The name of an instance stops resolving, or resolves again.
    pub(crate) resolve: u64,
    /// A tenant is removed with all its instances, or added again.
    pub(crate) tenant: u64,
    /// A tenant gets an alias, or loses it.
    pub(crate) alias: u64,
    /// Other workers report the health of an instance.
    pub(crate) health: u64,
    /// A tenant gets other limits.
    pub(crate) limits: u64,
    /// A tenant is paused or resumed.
    pub(crate) pause: u64,
    /// A server is degraded for a while.
    pub(crate) trouble: u64,
    /// A server does nothing for a while.
    pub(crate) mute: u64,
}

/// A tenant at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TenantPlan {
    /// Its servers are older than 6.0.
    pub(crate) old: bool,
    /// They send no reply to a failed AUTH while other replies of the connection wait to be sent.
    pub(crate) silent: bool,
    pub(crate) databases: u32,
    /// The default user needs no password.
    pub(crate) open: bool,
    pub(crate) instances: usize,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) workers: u16,
    pub(crate) homes: Vec<TenantPlan>,
    /// Clients that name no tenant belong to the first one.
    pub(crate) default_tenant: bool,
    pub(crate) clients: usize,
    /// Requests of one client, approximately.
    pub(crate) requests: u64,
    /// Clients request values of megabytes.
    pub(crate) huge: bool,
    /// Many commands need a dedicated connection.
    pub(crate) own: bool,
    /// All clients have the same user, on one connection or a few, and many read slowly.
    pub(crate) narrow: bool,
    /// Several tenants send more to one worker than it may buffer.
    pub(crate) crowded: bool,
    /// Pushes on RESP3 connections, per thousand replies.
    pub(crate) pushes: u64,
    /// Tenants may have limits and may be paused.
    pub(crate) limited: bool,
    /// Most logins of a user have the same password.
    pub(crate) same_passwords: bool,
    /// The longest delay of a reply, ms.
    pub(crate) delay_ms: u64,
    pub(crate) faults: Faults,
    pub(crate) stir: Changes,
    pub(crate) settings: Settings,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let (huge, narrow) = (rng.one_in(6), rng.one_in(5));
        let crowded = !narrow && rng.one_in(5);
        let tenants = match crowded {
            true => 3,
            false if narrow => 1,
            false => *rng.pick(&[1, 1, 2, 3]),
        };
        let homes = (0..tenants)
            .map(|_| TenantPlan {
                old: rng.one_in(8),
                silent: rng.one_in(2),
                databases: *rng.pick(&[16, 16, 4]),
                open: narrow || !rng.one_in(if crowded { 2 } else { 4 }),
                instances: if narrow {
                    1
                } else {
                    *rng.pick(&[1, 1, 2, 2, 3])
                },
            })
            .collect();
        let workers = if narrow || crowded {
            1
        } else {
            *rng.pick(&[1, 1, 2, 3])
        };
        let settings = Settings {
            workers,
            admin_commands: !rng.one_in(4),
            pool_connections_max: *rng.pick(if narrow {
                &[1, 2, 8, 30, 30]
            } else {
                &[1, 2, 3, 30]
            }),
            dedicated_max: *rng.pick(&[1, 2, 3, 1_000]),
            close_on_loss: rng.one_in(5),
            pool_idle_max: *rng.pick(&[0, 1, 10]),
            pool_wait_ms: *rng.pick(&[5_000, 5_000, 300]),
            pinned_idle_ms: *rng.pick(&[0, 0, 3_000]),
            subscriber_outbound_bytes_max: *rng.pick(&[32 << 20, 32 << 20, 2_000]),
            backend_reply_ms: *rng.pick(&[0, 2_000, 5_000, 60_000]),
            // A slow reader stops its connection from being read only while the connection is read.
            client_in_flight_max: *rng.pick(if narrow {
                &[64, 4096, 4096, 4096]
            } else {
                &[1, 4, 64, 4096]
            }),
            client_outbound_bytes_max: *rng.pick(&[64 << 20, 64 << 20, 600_000]),
            worker_outbound_bytes_max: match crowded {
                true => *rng.pick(&[512 << 20, 300_000]),
                false => *rng.pick(&[512 << 20, 512 << 20, 3 << 20]),
            },
            worker_buffer_bytes_max: match crowded {
                true => 200_000,
                false => *rng.pick(&[2 << 30, 2 << 30, 2 << 30, 1 << 20]),
            },
            client_login_ms: *rng.pick(&[0, 0, 4_000]),
            client_idle_ms: *rng.pick(&[0, 0, 0, 3_000]),
            logins_per_second: *rng.pick(&[200, 10, 5]),
            balancer: *rng.pick(&[Balancer::Random, Balancer::RoundRobin, Balancer::LeastConn]),
            paused_clients_max: *rng.pick(&[1, 3, 10_000]),
            check_ms: *rng.pick(&[0, 0, 150, 1_000]),
            check_timeout_ms: *rng.pick(&[100, 1_000]),
            offline_grace_ms: *rng.pick(&[0, 200, 1_500, 4_000, 30_000]),
            seed: rng.next(),
            ..Settings::default()
        };
        Self {
            own: !crowded && !rng.one_in(3),
            workers,
            homes,
            default_tenant: narrow || !rng.one_in(4),
            clients: rng.between(if narrow || crowded { 6 } else { 3 }, 12) as usize,
            requests: rng.between(20, if huge { 60 } else { 250 }),
            huge,
            narrow,
            crowded,
            pushes: *rng.pick(&[0, 0, 50, 400]),
            limited: crowded || !narrow && rng.one_in(3),
            same_passwords: rng.one_in(2),
            delay_ms: *rng.pick(&[0, 3, 50]),
            faults: Self::draw_faults(rng, settings.backend_reply_ms > 0),
            stir: if narrow {
                Changes::default()
            } else {
                Self::draw_changes(rng)
            },
            settings,
        }
    }

    /// In every third world nothing fails: each reply is known exactly.
    fn draw_faults(rng: &mut Rng, can_hang: bool) -> Faults {
        if rng.one_in(3) {
            return Faults::default();
        }
        let stormy = rng.one_in(3);
        let mut some = |often: u64| match rng.below(5) {
            0 | 1 => often.div_ceil(4),
            2 => often,
            _ => 0,
        };
        Faults {
            reset: some(if stormy { 60 } else { 12 }),
            refuse: some(200),
            blackhole: some(60),
            hang: some(6) * u64::from(can_hang),
            garbage: some(6),
            full: some(150),
            restart: some(60),
            stop: some(500),
            password: some(60),
            client_reset: some(4),
        }
    }

    /// In every third world tenants and instances do not change.
    fn draw_changes(rng: &mut Rng) -> Changes {
        if rng.one_in(3) {
            return Changes::default();
        }
        let mut some = |often: u64| match rng.below(5) {
            0 | 1 => often.div_ceil(4),
            2 => often,
            _ => 0,
        };
        Changes {
            status: some(400),
            delete: some(100),
            add: some(100),
            address: some(120),
            resolve: some(40),
            tenant: some(40),
            alias: some(100),
            health: some(200),
            limits: some(200),
            pause: some(150),
            trouble: some(200),
            mute: some(60),
        }
    }
}
