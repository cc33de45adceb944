//! The primaries that sentinels know: their addresses replace the endpoints of instances with the
//! label `sentinel`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::cluster::{ClusterInstance, Endpoint, SENTINEL_LABEL, TenantKey};
use crate::proxy::{HealthChange, HealthEvent};

use super::registry::Listed;

/// A request to the thread that follows the sentinels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The names of all primaries that instances need.
    Names(BTreeSet<String>),
    /// A primary may have changed: the sentinels should be asked at once.
    Now,
}

/// Sends a request to that thread.
type Ask = Box<dyn Fn(Wanted) + Send>;

/// The known primaries, and the tenants that need them.
#[derive(Default)]
pub(super) struct Primaries {
    /// `None`: no sentinels are configured.
    ask: Option<Ask>,
    known: BTreeMap<String, SocketAddr>,
    /// The names in the instances of each tenant.
    names: BTreeMap<TenantKey, BTreeSet<String>>,
    /// The names have changed since they were sent.
    changed: bool,
}

impl fmt::Debug for Primaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primaries")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Primaries {
    /// No primary is known. `ask` sends requests to the thread that follows the sentinels.
    pub(super) fn new(ask: impl Fn(Wanted) + Send + 'static) -> Self {
        Self {
            ask: Some(Box::new(ask)),
            ..Self::default()
        }
    }

    /// Replaces the endpoints of a tenant's instances: by the address of the primary, or by none
    /// while the primary is not known. The endpoint of the registry may be a former primary.
    pub(super) fn apply(&mut self, tenant: &TenantKey, listed: &mut Listed) {
        if self.ask.is_none() {
            return;
        }
        let mut names = BTreeSet::new();
        let instances = listed.instances.values_mut().chain(&mut listed.shadowed);
        for instance in instances {
            let Some(name) = instance.sentinel().map(str::to_owned) else {
                continue;
            };
            let address = self.known.get(&name);
            let endpoint = address.map(|it| Endpoint::new(it.ip().to_string(), it.port()));
            instance.endpoints = endpoint.into_iter().collect();
            names.insert(name);
        }
        let before = match names.is_empty() {
            true => self.names.remove(tenant),
            false => self.names.insert(tenant.clone(), names.clone()),
        };
        self.changed |= before.unwrap_or_default() != names;
    }

    /// Sends the names, if they have changed.
    pub(super) fn send_names(&mut self) {
        if std::mem::take(&mut self.changed)
            && let Some(ask) = &self.ask
        {
            let all: BTreeSet<String> = self.names.values().flatten().cloned().collect();
            self.known.retain(|name, _| all.contains(name));
            ask(Wanted::Names(all));
        }
    }

    /// A primary has this address now. Returns the tenants that have an instance with this name.
    pub(super) fn take(&mut self, name: String, address: SocketAddr) -> Vec<TenantKey> {
        let tenants = self.names.iter().filter(|(_, names)| names.contains(&name));
        let tenants: Vec<TenantKey> = tenants.map(|(tenant, _)| tenant.clone()).collect();
        // The last instance with this name may have been deleted since.
        if !tenants.is_empty() {
            self.known.insert(name, address);
        }
        tenants
    }

    /// Whether an instance needs a primary that is not known.
    pub(super) fn any_unknown(&self) -> bool {
        let mut names = self.names.values().flatten();
        names.any(|name| !self.known.contains_key(name))
    }

    /// Takes a worker's event: an instance that is down or rejects writes may not be the primary
    /// any more.
    pub(super) fn note(&self, event: &HealthEvent) {
        let suspect = matches!(
            event.change,
            HealthChange::Down(_) | HealthChange::Degraded(_)
        );
        if let Some(ask) = &self.ask
            && suspect
            && self.names.contains_key(event.tenant.as_str())
        {
            ask(Wanted::Now);
        }
    }

    /// Warnings about labels that have no effect, because no sentinels are configured.
    pub(super) fn not_followed(&self, instances: &[&ClusterInstance]) -> Option<String> {
        let labelled = instances.iter().any(|it| it.sentinel().is_some());
        (labelled && self.ask.is_none())
            .then(|| format!("label {SENTINEL_LABEL}: ignored, --router.sentinels is not set"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::cluster::ClusterKey;

    fn primaries() -> (Primaries, Receiver<Wanted>) {
        let (sender, wanted) = channel();
        let primaries = Primaries::new(move |it| {
            let _ = sender.send(it);
        });
        (primaries, wanted)
    }

    fn tenant() -> TenantKey {
        ClusterKey::local().tenant()
    }

    /// An instance whose registry has an endpoint.
    fn listed(name: Option<&str>) -> Listed {
        let endpoint = Endpoint::new("old", 1);
        let mut instance = ClusterInstance::new(ClusterKey::local(), "a", endpoint);
        let label = name.map(|name| (SENTINEL_LABEL.to_owned(), name.to_owned()));
        instance.labels.extend(label);
        let mut listed = Listed::default();
        listed.instances.insert("a".into(), instance);
        listed
    }

    fn endpoint(primaries: &mut Primaries, mut listed: Listed) -> String {
        primaries.apply(&tenant(), &mut listed);
        primaries.send_names();
        let endpoint = listed.instances[&"a".into()].endpoint();
        endpoint.map(ToString::to_string).unwrap_or_default()
    }

    fn names(names: &[&str]) -> Wanted {
        Wanted::Names(names.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn known_primary_replaces_the_endpoint_of_the_registry() {
        let (mut primaries, wanted) = primaries();
        assert_eq!(endpoint(&mut primaries, listed(Some("m"))), "");
        assert_eq!(wanted.try_recv(), Ok(names(&["m"])));
        assert!(primaries.any_unknown());
        let address = "10.0.0.1:6379".parse().unwrap();
        assert_eq!(primaries.take("other".into(), address), []);
        assert_eq!(primaries.take("m".into(), address), [tenant()]);
        assert!(!primaries.any_unknown());
        assert_eq!(endpoint(&mut primaries, listed(Some("m"))), "10.0.0.1:6379");
        assert!(wanted.try_recv().is_err(), "the names have not changed");
        assert_eq!(endpoint(&mut primaries, listed(None)), "old:1");
        assert_eq!(wanted.try_recv(), Ok(names(&[])));
    }

    #[test]
    fn without_sentinels_the_label_has_no_effect() {
        let mut primaries = Primaries::default();
        let listed = listed(Some("m"));
        assert_eq!(endpoint(&mut primaries, listed.clone()), "old:1");
        let instances = [&listed.instances[&"a".into()]];
        assert!(primaries.not_followed(&instances).is_some());
    }

    #[test]
    fn failing_instance_is_a_reason_to_ask_the_sentinels() {
        let (mut primaries, wanted) = primaries();
        let event = |change| HealthEvent {
            instance: "a".into(),
            tenant: tenant().to_string(),
            address: "10.0.0.1:6379".into(),
            change,
        };
        primaries.note(&event(HealthChange::Down("x".into())));
        assert!(wanted.try_recv().is_err(), "sentinels do not know it");
        endpoint(&mut primaries, listed(Some("m")));
        primaries.note(&event(HealthChange::Up));
        primaries.note(&event(HealthChange::Degraded("READONLY".into())));
        let wanted: Vec<Wanted> = wanted.try_iter().collect();
        assert_eq!(wanted, [names(&["m"]), Wanted::Now]);
    }
}
