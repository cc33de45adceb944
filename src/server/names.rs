//! The names of backends that the registry mentions, and what they resolved to: when each is to be
//! looked up again, and which addresses stay while the resolver fails. Pure: it is told the time.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::cluster::{Endpoint, InstanceId, TenantKey};

/// How long an answer counts: no resolver keeps one for less than seconds.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Names {
    names: HashMap<String, Name>,
    /// Nothing is due before this.
    next: Instant,
}

#[derive(Debug)]
struct Name {
    /// With port 0.
    addresses: Vec<SocketAddr>,
    state: State,
    /// The last answer was none.
    failed: bool,
    /// Instances that are there.
    users: BTreeSet<User>,
}

/// An instance that has an address.
pub(super) type User = (TenantKey, InstanceId);

fn is_name(addr: &str) -> bool {
    addr.parse::<IpAddr>().is_err()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There was no answer yet.
    New { asked: bool },
    /// It is being looked up again.
    Asked,
    /// To be looked up again at this time.
    Due(Instant),
}

impl Names {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            names: HashMap::new(),
            next: now,
        }
    }

    /// This instance is there.
    pub(super) fn want(&mut self, addr: &str, user: User, now: Instant) {
        if is_name(addr) {
            let next = &mut self.next;
            let name = self.names.entry(addr.to_owned()).or_insert_with(|| {
                *next = now;
                Name {
                    addresses: Vec::new(),
                    state: State::New { asked: false },
                    failed: false,
                    users: BTreeSet::new(),
                }
            });
            name.users.insert(user);
        }
    }

    /// It is there no longer. A name that nobody uses is forgotten.
    pub(super) fn leave(&mut self, addr: &str, user: &User) {
        if let Some(name) = self.names.get_mut(addr) {
            name.users.remove(user);
            if name.users.is_empty() {
                self.names.remove(addr);
            }
        }
    }

    /// The tenants of the instances that are there.
    pub(super) fn tenants(&self, addr: &str) -> impl Iterator<Item = &TenantKey> {
        let name = self.names.get(addr).into_iter();
        name.flat_map(|name| name.users.iter().map(|(tenant, _)| tenant))
    }

    /// The names to be looked up now, each with whether it failed the last time.
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

    /// When something may be due next.
    pub(super) fn next_due(&self) -> Instant {
        self.next
    }

    /// Is there a name without any answer yet?
    pub(super) fn any_new(&self) -> bool {
        let mut names = self.names.values();
        names.any(|name| matches!(name.state, State::New { .. }))
    }

    /// An answer came. `true` if that changed anything: the addresses, or that there is an answer.
    pub(super) fn answered(
        &mut self,
        text: &str,
        answer: io::Result<Vec<SocketAddr>>,
        now: Instant,
    ) -> bool {
        // It may be wanted no longer.
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
                    log::warn!("backend name {text} does not resolve: {why}");
                }
                return first;
            }
        };
        if failed_before {
            log::info!("backend name {text} resolves again");
        }
        if found == name.addresses {
            return first;
        }
        name.addresses = found;
        true
    }

    /// Where an endpoint is, as far as that is known.
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
        Endpoint {
            addr: addr.into(),
            port,
            name: "redis".into(),
        }
    }

    fn user(id: &str) -> User {
        (ClusterKey::local().tenant(), id.into())
    }

    #[allow(clippy::disallowed_methods, reason = "a time to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn addresses_need_no_answer_and_names_do() {
        let now = start();
        let mut names = Names::new(now);
        let all = [
            endpoint("10.0.0.1", 1),
            endpoint("::1", 2),
            endpoint("redis", 3),
        ];
        for (endpoint, id) in all.iter().zip(["a", "b", "c"]) {
            names.want(&endpoint.addr, user(id), now);
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
    fn names_are_looked_up_again_and_keep_what_they_had() {
        let now = start();
        let mut names = Names::new(now);
        let redis = endpoint("redis", 1);
        names.want("redis", user("a"), now);
        names.want("redis", user("b"), now);
        names.due(now);
        let found = || Ok(vec!["10.0.0.7:0".parse().unwrap()]);
        let fails = || Err(io::Error::other("no server"));
        assert!(names.answered("redis", found(), now));
        assert_eq!(names.due(now + RESOLVE_EVERY / 2), []);
        let later = now + RESOLVE_EVERY;
        assert!(names.next_due() <= later);
        assert_eq!(names.due(later), [("redis".to_owned(), false)]);
        assert!(!names.answered("redis", found(), later), "the same");
        let later = later + RESOLVE_EVERY;
        assert_eq!(names.due(later).len(), 1);
        assert!(!names.answered("redis", fails(), later));
        assert!(!names.addresses(&redis).is_empty());
        let later = later + RESOLVE_EVERY;
        assert_eq!(names.due(later), [("redis".to_owned(), true)]);
        names.leave("redis", &user("a"));
        assert_eq!(names.tenants("redis").count(), 1);
        names.leave("redis", &user("b"));
        assert!(!names.answered("redis", found(), later), "nobody wants it");
        assert!(names.names.is_empty());
    }

    #[test]
    fn that_a_new_name_does_not_resolve_is_news_once() {
        let now = start();
        let mut names = Names::new(now);
        names.want("redis", user("a"), now);
        names.due(now);
        assert!(names.answered("redis", Ok(Vec::new()), now));
        assert!(!names.answered("redis", Ok(Vec::new()), now));
    }
}
