//! Clusters and their instances: the list that another proxy can follow, and the calls that change
//! it.

use tinyjson::JsonValue;

use crate::cluster::{
    Catalog, ClusterInstance, ClusterKey, Refused, RegistryError, Status, TenantKey, json,
};

use super::counters::Limit;
use super::desk::{Answer, Desk};
use super::envelope::{failure, success};
use super::guard::{self, Trust};
use super::http::{Request, Response};
use super::input::{bad_json, query, text};
use super::limits::{CLUSTERS_MAX, WAIT_SECONDS_MAX};

/// `GET /list_cluster[?wait=SECONDS]`
pub(super) fn list(desk: &Desk, request: &Request, _: Trust) -> Result<Answer, Response> {
    // Whoever follows would take an empty list for the truth.
    desk.office.settled().map_err(|why| failure(503, why))?;
    let query = query(request, &["wait"])?;
    let wait = query.number("wait", 1, WAIT_SECONDS_MAX);
    let wait = wait.map_err(|error| failure(400, error))?;
    let known = request.head.if_none_match.as_deref().unwrap_or_default();
    if known.is_empty() {
        return Ok(Answer::Now(desk.list().1));
    }
    let etag = desk.etag();
    if !names(known, &etag) {
        return Ok(Answer::Now(desk.list().1));
    }
    Ok(match wait {
        Some(seconds) => Answer::Wait {
            etag,
            ms: seconds * 1000,
        },
        None => Answer::Now(Desk::not_modified(&etag)),
    })
}

/// `POST /add_cluster`
///
/// With the trust to add, only so many.
pub(super) fn add(desk: &Desk, request: &Request, trust: Trust) -> Result<Answer, Response> {
    let key = ClusterKey::from_json(text(request)?).map_err(bad_json)?;
    desk.office.may_have(&key, None).map_err(taken)?;
    let counts = trust < Trust::Full && !desk.knows(&key);
    if counts && !desk.added.has_room(|| desk.office.clusters()) {
        log::warn!("service port: cluster refused cluster={key} limit=clusters max={CLUSTERS_MAX}");
        return Err(desk.exhausted(Limit::Clusters));
    }
    let tenant = desk.registry.add_cluster(key.clone()).map_err(refused)?;
    if counts {
        desk.added.add(key);
    }
    desk.set_changed();
    let tenant = json::object([("tenant", tenant.to_string().into())]);
    Ok(Answer::Now(success(200, tenant)))
}

/// `POST /status_change`
///
/// With the trust to add, only the first instance that a cluster has ever had, if it was added with
/// no more trust: any other would get clients of somebody else's, and their passwords.
pub(super) fn status_change(
    desk: &Desk,
    request: &Request,
    trust: Trust,
) -> Result<Answer, Response> {
    let instance = ClusterInstance::from_json(text(request)?).map_err(bad_json)?;
    if trust < Trust::Full {
        desk.may_fill(&instance)?;
    }
    if instance.status != Status::Deleted {
        let may_have = desk.office.may_have(&instance.key, instance.alias());
        may_have.map_err(taken)?;
    }
    let key = instance.key.clone();
    desk.registry.status_change(instance).map_err(refused)?;
    desk.added.fill(&key);
    desk.set_changed();
    Ok(Answer::done(200))
}

/// `DELETE /cluster`, with a body or with `?tenant=KEY_OR_ALIAS`
///
/// A cluster that is not listed may have names: they are freed.
pub(super) fn remove(desk: &Desk, request: &Request, _: Trust) -> Result<Answer, Response> {
    let query = query(request, &["tenant"])?;
    let key = match (query.get("tenant"), request.body.is_empty()) {
        (Some(name), true) => match desk.office.owner(name) {
            Some(owner) => owner,
            None => desk.cluster_of(&desk.tenant(name)?)?,
        },
        (None, false) => ClusterKey::from_json(text(request)?).map_err(bad_json)?,
        _ => {
            let message = "give the cluster either as the body or with ?tenant=KEY_OR_ALIAS";
            return Err(failure(400, message));
        }
    };
    match desk.registry.remove_cluster(&key) {
        Err(RegistryError::UnknownCluster(_)) if desk.owns_names(&key) => {}
        removed => removed.map_err(refused)?,
    }
    desk.added.remove(&key);
    desk.office.release(&key);
    desk.set_changed();
    Ok(Answer::done(200))
}

impl Desk {
    /// All clusters with what is known of their instances, and what names them.
    pub(super) fn list(&self) -> (String, Response) {
        let catalog = Catalog::of(&*self.registry);
        let etag = catalog.etag();
        let data = json::catalog_value(&catalog, &|instance| {
            let id = instance.id.as_str().into();
            let (health, reason) = self.office.health(&instance.key.tenant(), &id);
            vec![
                ("health".to_owned(), JsonValue::String(health.to_string())),
                ("reason".to_owned(), JsonValue::String(reason)),
            ]
        });
        let list = success(200, data)
            .with("ETag", format!("\"{etag}\""))
            .with("Elika-Process", self.settings.process.clone());
        (etag, list)
    }

    /// What names the clusters as they are. Their health is no part of it: it changes all the time,
    /// and is for each proxy to find out itself.
    pub(super) fn etag(&self) -> String {
        Catalog::of(&*self.registry).etag()
    }

    /// The answer to somebody who has the list already.
    pub(super) fn not_modified(etag: &str) -> Response {
        Response::not_modified().with("ETag", format!("\"{etag}\""))
    }

    /// The tenant of this key or alias.
    pub(super) fn tenant(&self, name: &str) -> Result<TenantKey, Response> {
        // The office may hear of a new cluster a moment later than the registry.
        let new = || self.cluster_where(|tenant| tenant.as_str() == name);
        let tenant = self.office.tenant(name);
        let tenant = tenant.or_else(|| Some(new()?.tenant()));
        tenant.ok_or_else(|| failure(404, format!("unknown tenant {name}")))
    }

    /// The tenant of a cluster that is known.
    pub(super) fn tenant_of(&self, key: &ClusterKey) -> Result<TenantKey, Response> {
        let known = self.office.clusters().contains(key);
        let unknown = || failure(404, format!("unknown cluster {key}"));
        known.then(|| key.tenant()).ok_or_else(unknown)
    }

    /// May a caller with the trust to add make this change?
    fn may_fill(&self, instance: &ClusterInstance) -> Result<(), Response> {
        let key = &instance.key;
        let known = self.registry.get_cluster_instance(&key.tenant());
        let is_first = || self.added.is_empty(key) && !self.office.is_served(key);
        if known.contains(instance) || known.is_empty() && is_first() {
            return Ok(());
        }
        if known.is_empty() && !self.knows(key) {
            return Err(refused(RegistryError::UnknownCluster(key.clone())));
        }
        Err(guard::wrong_listener(self.settings.admin))
    }

    /// Is the cluster listed, or does it have names?
    fn knows(&self, key: &ClusterKey) -> bool {
        self.owns_names(key) || self.office.clusters().contains(key)
    }

    fn owns_names(&self, key: &ClusterKey) -> bool {
        self.office.owner(key.tenant().as_str()).as_ref() == Some(key)
    }

    fn cluster_of(&self, tenant: &TenantKey) -> Result<ClusterKey, Response> {
        let found = self.cluster_where(|other| other == tenant);
        found.ok_or_else(|| failure(404, format!("tenant {tenant} has no cluster")))
    }

    fn cluster_where(&self, is: impl Fn(&TenantKey) -> bool) -> Option<ClusterKey> {
        let mut clusters = self.office.clusters().into_iter();
        clusters.find(|key| is(&key.tenant()))
    }
}

fn taken(why: Refused) -> Response {
    log::warn!("service port: name refused: {why}");
    failure(409, why)
}

fn refused(error: RegistryError) -> Response {
    let status = match error {
        RegistryError::UnknownCluster(_) => 404,
        RegistryError::TenantTaken(_) => 409,
        RegistryError::Unavailable(_) => 503,
    };
    failure(status, error)
}

/// Is `etag` one of those that `If-None-Match` lists?
fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| {
        let quoted = one.strip_prefix("W/").unwrap_or(one);
        let bare = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        one == "*" || bare == Some(etag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_found_in_a_list() {
        for list in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "*", " \"ab\" "] {
            assert!(names(list, "ab"), "{list}");
        }
        for list in ["", "ab", "\"AB\"", "\"ab", "\"abc\", \"a\"", "w/\"ab\""] {
            assert!(!names(list, "ab"), "{list}");
        }
    }
}
