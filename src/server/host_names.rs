//! The host names of instances and their addresses: when each name is looked up again, and which
//! addresses are used while the resolver fails. No I/O and no clock: callers pass the time.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::cluster::{Endpoint, InstanceId, TenantKey};

/// How long a result is used. Resolvers cache names for seconds at least.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct HostNames {
    names: HashMap<String, Name>,
    /// No name is due before this time.
    next: Instant,
}

#[derive(Debug)]
struct Name {
    /// All with port 0.
    addresses: Vec<SocketAddr>,
    state: State,
    /// Whether the last look-up failed.
    failed: bool,
    /// The instances that have this host name.
    instances: BTreeSet<InstanceRef>,
}

/// An instance of a tenant.
pub(super) type InstanceRef = (TenantKey, InstanceId);

fn is_name(addr: &str) -> bool {
    addr.parse::<IpAddr>().is_err()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No result yet.
    New { asked: bool },
    /// A result is known, and a new look-up is running.
    Asked,
    /// The time of the next look-up.
    Due(Instant),
}

impl HostNames {
    /// An empty table.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            names: HashMap::new(),
            next: now,
        }
    }

    /// Adds an instance with this host name. IP addresses are ignored.
    pub(super) fn add(&mut self, addr: &str, instance: InstanceRef, now: Instant) {
        if is_name(addr) {
            let next = &mut self.next;
            let name = self.names.entry(addr.to_owned()).or_insert_with(|| {
                *next = now;
                Name {
                    addresses: Vec::new(),
                    state: State::New { asked: false },
                    failed: false,
                    instances: BTreeSet::new(),
                }
            });
            name.instances.insert(instance);
        }
    }

    /// Removes an instance. A host name without instances is removed.
    pub(super) fn remove(&mut self, addr: &str, instance: &InstanceRef) {
        if let Some(name) = self.names.get_mut(addr) {
            name.instances.remove(instance);
            if name.instances.is_empty() {
                self.names.remove(addr);
            }
        }
    }

    /// The tenants that have an instance with this host name.
    pub(super) fn tenants(&self, addr: &str) -> impl Iterator<Item = &TenantKey> {
        let name = self.names.get(addr).into_iter();
        name.flat_map(|name| name.instances.iter().map(|(tenant, _)| tenant))
    }

    /// The host names to look up now, each with whether its last look-up failed.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(String, bool)> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + RESOLVE_EVERY;
        let mut due = Vec::new();
        for (text, name) in &mut self.names {
            match name.state {
                State::New { asked: false } => name.state = State::New { asked: true },
                State::Due(at) if at <= now => name.state = State::Asked,
                State::Due(at) => {
                    self.next = self.next.min(at);
                    continue;
                }
                State::New { asked: true } | State::Asked => continue,
            }
            due.push((text.clone(), name.failed));
        }
        due
    }

    /// The earliest time at which a look-up may be due.
    pub(super) fn next_due(&self) -> Instant {
        self.next
    }

    /// Whether any host name has no result yet.
    pub(super) fn any_new(&self) -> bool {
        let mut names = self.names.values();
        names.any(|name| matches!(name.state, State::New { .. }))
    }

    /// Takes a result. `true` if the addresses have changed, or if it is the first result, even a
    /// failure.
    pub(super) fn answered(
        &mut self,
        text: &str,
        answer: io::Result<Vec<SocketAddr>>,
        now: Instant,
    ) -> bool {
        // The last instance with this name may have been deleted since.
        let Some(name) = self.names.get_mut(text) else {
            return false;
        };
        let at = now + RESOLVE_EVERY;
        self.next = self.next.min(at);
        let before = std::mem::replace(&mut name.state, State::Due(at));
        let first = matches!(before, State::New { .. });
        let failed_before = name.failed;
        name.failed = !answer.as_ref().is_ok_and(|found| !found.is_empty());
        let found = match answer {
            Ok(found) if !found.is_empty() => found,
            answer => {
                let why = answer.map_or_else(|error| error.to_string(), |_| "no address".into());
                if !failed_before {
                    log::warn!("host name: lookup failed name={text} reason=\"{why}\"");
                }
                return first;
            }
        };
        if failed_before {
            log::info!("host name: resolved again name={text}");
        }
        if found == name.addresses {
            return first;
        }
        name.addresses = found;
        true
    }

    /// The known addresses of an endpoint.
    pub(super) fn addresses(&self, endpoint: &Endpoint) -> Vec<SocketAddr> {
        if let Ok(ip) = endpoint.addr.parse::<IpAddr>() {
            return vec![SocketAddr::new(ip, endpoint.port)];
        }
        let name = self.names.get(&endpoint.addr);
        let mut addresses = name.map_or_else(Vec::new, |name| name.addresses.clone());
        for address in &mut addresses {
            address.set_port(endpoint.port);
        }
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterKey;

    fn endpoint(addr: &str, port: u16) -> Endpoint {
        Endpoint::new(addr, port)
    }

    fn instance(id: &str) -> InstanceRef {
        (ClusterKey::local().tenant(), id.into())
    }

    #[allow(clippy::disallowed_methods, reason = "a time to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn ip_addresses_need_no_lookup() {
        let now = start();
        let mut names = HostNames::new(now);
        let all = [
            endpoint("10.0.0.1", 1),
            endpoint("::1", 2),
            endpoint("redis", 3),
        ];
        for (endpoint, id) in all.iter().zip(["a", "b", "c"]) {
            names.add(&endpoint.addr, instance(id), now);
        }
        assert_eq!(names.due(now), [("redis".to_owned(), false)]);
        assert_eq!(names.due(now), [], "asked once");
        assert_eq!(names.addresses(&all[0]), ["10.0.0.1:1".parse().unwrap()]);
        assert_eq!(names.addresses(&all[1]), ["[::1]:2".parse().unwrap()]);
        assert!(names.addresses(&all[2]).is_empty() && names.any_new());
        let found = vec!["10.0.0.7:0".parse().unwrap(), "10.0.0.8:0".parse().unwrap()];
        assert!(names.answered("redis", Ok(found), now));
        let addresses = ["10.0.0.7:3".parse().unwrap(), "10.0.0.8:3".parse().unwrap()];
        assert_eq!(names.addresses(&all[2]), addresses);
        assert!(!names.any_new());
    }

    #[test]
    fn failed_lookup_keeps_the_last_addresses() {
        let now = start();
        let mut names = HostNames::new(now);
        let redis = endpoint("redis", 1);
        names.add("redis", instance("a"), now);
        names.add("redis", instance("b"), now);
        names.due(now);
        let found = || Ok(vec!["10.0.0.7:0".parse().unwrap()]);
        let fails = || Err(io::Error::other("no server"));
        assert!(names.answered("redis", found(), now));
        assert_eq!(names.due(now + RESOLVE_EVERY / 2), []);
        let later = now + RESOLVE_EVERY;
        assert!(names.next_due() <= later);
        assert_eq!(names.due(later), [("redis".to_owned(), false)]);
        assert!(
            !names.answered("redis", found(), later),
            "the same addresses"
        );
        let later = later + RESOLVE_EVERY;
        assert_eq!(names.due(later).len(), 1);
        assert!(!names.answered("redis", fails(), later));
        assert!(!names.addresses(&redis).is_empty());
        let later = later + RESOLVE_EVERY;
        assert_eq!(names.due(later), [("redis".to_owned(), true)]);
        names.remove("redis", &instance("a"));
        assert_eq!(names.tenants("redis").count(), 1);
        names.remove("redis", &instance("b"));
        assert!(
            !names.answered("redis", found(), later),
            "no instance has this name"
        );
        assert!(names.names.is_empty());
    }

    #[test]
    fn first_failed_lookup_is_a_change_once() {
        let now = start();
        let mut names = HostNames::new(now);
        names.add("redis", instance("a"), now);
        names.due(now);
        assert!(names.answered("redis", Ok(Vec::new()), now));
        assert!(!names.answered("redis", Ok(Vec::new()), now));
    }
}
