//! Calls about clusters: the list, which other proxies can follow, and changes.

use tinyjson::JsonValue;

use crate::cluster::{
    Catalog, ClusterInstance, ClusterKey, Refused, RegistryError, Status, TenantKey, json,
};

use super::access::{self, Access};
use super::context::{Answer, Context};
use super::counters::Limit;
use super::envelope::{failure, success};
use super::http::{Request, Response};
use super::input::{bad_json, query, text};
use super::limits::{CLUSTERS_MAX, WAIT_SECONDS_MAX};

/// `GET /list_cluster[?wait=SECONDS]`
pub(super) fn list(context: &Context, request: &Request, _: Access) -> Result<Answer, Response> {
    // A proxy that follows this list would delete the clusters that are missing in it.
    context
        .control
        .clusters_known()
        .map_err(|why| failure(503, why))?;
    let query = query(request, &["wait"])?;
    let wait = query.number("wait", 1, WAIT_SECONDS_MAX);
    let wait = wait.map_err(|error| failure(400, error))?;
    let known = request.head.if_none_match.as_deref().unwrap_or_default();
    if known.is_empty() {
        return Ok(Answer::Now(context.list().1));
    }
    let etag = context.etag();
    if !matches_etag(known, &etag) {
        return Ok(Answer::Now(context.list().1));
    }
    Ok(match wait {
        Some(seconds) => Answer::Wait {
            etag,
            ms: seconds * 1000,
        },
        None => Answer::Now(Context::not_modified(&etag)),
    })
}

/// `POST /add_cluster`
///
/// Local callers may add a limited number of clusters.
pub(super) fn add(
    context: &Context,
    request: &Request,
    access: Access,
) -> Result<Answer, Response> {
    let key = ClusterKey::from_json(text(request)?).map_err(bad_json)?;
    context.control.check_names(&key, None).map_err(taken)?;
    let counts = access < Access::Trusted && !context.knows(&key);
    if counts && !context.added.has_capacity(|| context.control.clusters()) {
        log::warn!(
            "service port: cluster refused cluster={key} limit=clusters clusters={CLUSTERS_MAX}"
        );
        return Err(context.exhausted(Limit::Clusters));
    }
    let tenant = context.registry.add_cluster(key.clone()).map_err(refused)?;
    if counts {
        context.added.add(key);
    }
    context.set_changed();
    let tenant = json::object([("tenant", tenant.to_string().into())]);
    Ok(Answer::Now(success(200, tenant)))
}

/// `POST /status_change`
///
/// Local callers may only add the first instance of a cluster that a local caller added. Any other
/// instance would receive the clients of a tenant, and their passwords.
pub(super) fn status_change(
    context: &Context,
    request: &Request,
    access: Access,
) -> Result<Answer, Response> {
    let instance = ClusterInstance::from_json(text(request)?).map_err(bad_json)?;
    if access < Access::Trusted {
        context.may_fill(&instance)?;
    }
    if instance.status != Status::Deleted {
        let check_names = context.control.check_names(&instance.key, instance.alias());
        check_names.map_err(taken)?;
    }
    let key = instance.key.clone();
    context.registry.status_change(instance).map_err(refused)?;
    context.added.fill(&key);
    context.set_changed();
    Ok(Answer::done(200))
}

/// `DELETE /cluster`, with a body or with `?tenant=KEY_OR_ALIAS`
///
/// A cluster that is not listed may still own names; they are freed.
pub(super) fn remove(context: &Context, request: &Request, _: Access) -> Result<Answer, Response> {
    let query = query(request, &["tenant"])?;
    let key = match (query.get("tenant"), request.body.is_empty()) {
        (Some(name), true) => match context.control.owner(name) {
            Some(owner) => owner,
            None => context.cluster_of(&context.tenant(name)?)?,
        },
        (None, false) => ClusterKey::from_json(text(request)?).map_err(bad_json)?,
        _ => {
            let message = "give the cluster either as the body or with ?tenant=KEY_OR_ALIAS";
            return Err(failure(400, message));
        }
    };
    match context.registry.remove_cluster(&key) {
        Err(RegistryError::UnknownCluster(_)) if context.owns_names(&key) => {}
        removed => removed.map_err(refused)?,
    }
    context.added.remove(&key);
    context.control.release(&key);
    context.set_changed();
    Ok(Answer::done(200))
}

impl Context {
    /// The response that lists all clusters, with the health of instances, and its ETag.
    pub(super) fn list(&self) -> (String, Response) {
        let catalog = Catalog::of(&*self.registry);
        let etag = catalog.etag();
        let data = json::catalog_value(&catalog, &|instance| {
            let id = instance.id.as_str().into();
            let (health, reason) = self.control.health(&instance.key.tenant(), &id);
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

    /// The ETag of the present clusters. It does not depend on health, which changes often, and
    /// which each proxy checks by itself.
    pub(super) fn etag(&self) -> String {
        Catalog::of(&*self.registry).etag()
    }

    /// The response to a client that has the present list.
    pub(super) fn not_modified(etag: &str) -> Response {
        Response::not_modified().with("ETag", format!("\"{etag}\""))
    }

    /// The tenant with this key or alias.
    pub(super) fn tenant(&self, name: &str) -> Result<TenantKey, Response> {
        // A new cluster is in the registry a moment before it is in the snapshot.
        let new = || self.cluster_where(|tenant| tenant.as_str() == name);
        let tenant = self.control.tenant(name);
        let tenant = tenant.or_else(|| Some(new()?.tenant()));
        tenant.ok_or_else(|| failure(404, format!("unknown tenant {name}")))
    }

    /// The tenant of a known cluster.
    pub(super) fn tenant_of(&self, key: &ClusterKey) -> Result<TenantKey, Response> {
        let known = self.control.clusters().contains(key);
        let unknown = || failure(404, format!("unknown cluster {key}"));
        known.then(|| key.tenant()).ok_or_else(unknown)
    }

    /// Checks whether a local caller may make this change.
    fn may_fill(&self, instance: &ClusterInstance) -> Result<(), Response> {
        let key = &instance.key;
        let known = self.registry.get_cluster_instance(&key.tenant());
        let is_first = || self.added.is_empty(key) && !self.control.is_served(key);
        if known.contains(instance) || known.is_empty() && is_first() {
            return Ok(());
        }
        if known.is_empty() && !self.knows(key) {
            return Err(refused(RegistryError::UnknownCluster(key.clone())));
        }
        Err(access::wrong_listener(self.settings.admin))
    }

    /// Whether the cluster is listed or owns a name.
    fn knows(&self, key: &ClusterKey) -> bool {
        self.owns_names(key) || self.control.clusters().contains(key)
    }

    fn owns_names(&self, key: &ClusterKey) -> bool {
        self.control.owner(key.tenant().as_str()).as_ref() == Some(key)
    }

    fn cluster_of(&self, tenant: &TenantKey) -> Result<ClusterKey, Response> {
        let found = self.cluster_where(|other| other == tenant);
        found.ok_or_else(|| failure(404, format!("tenant {tenant} has no cluster")))
    }

    fn cluster_where(&self, is: impl Fn(&TenantKey) -> bool) -> Option<ClusterKey> {
        let mut clusters = self.control.clusters().into_iter();
        clusters.find(|key| is(&key.tenant()))
    }
}

fn taken(why: Refused) -> Response {
    log::warn!("service port: name refused reason=\"{why}\"");
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

/// Whether `etag` is in the list of `If-None-Match`.
fn matches_etag(list: &str, etag: &str) -> bool {
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
    fn etag_is_found_in_if_none_match() {
        for list in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "*", " \"ab\" "] {
            assert!(matches_etag(list, "ab"), "{list}");
        }
        for list in ["", "ab", "\"AB\"", "\"ab", "\"abc\", \"a\"", "w/\"ab\""] {
            assert!(!matches_etag(list, "ab"), "{list}");
        }
    }
}
