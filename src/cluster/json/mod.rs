//! Clusters and instances as JSON, for the service port, control planes and files.
//!
//! Unknown fields are ignored, because a newer control plane may send more fields. A known field
//! with a wrong value is an error.

mod error;
mod node;
mod scan;
mod write;

use std::collections::{BTreeMap, BTreeSet};

pub use error::JsonError;
pub use node::{Node, read};
pub use write::{catalog_value, envelope, instance_value, key_value, object, owners_value, text};

use super::catalog::{Catalog, Cluster};
use super::instance::{ClusterInstance, Endpoint, SENTINEL_LABEL, Status};
use super::key::{ClusterKey, ClusterName, Location};
use super::owners::Owners;

/// Bytes of an instance's id, of an address, and of each part of a cluster's key.
const NAME_BYTES_MAX: usize = 256;

impl ClusterKey {
    /// Parses `{"name":{"namespace","name"},"location":{…}}`. The fields of the location are
    /// `region`, `availability_zone` and `node_name`.
    ///
    /// # Errors
    ///
    /// `text` is not JSON, a field is missing, or a field has a colon, a control character or more
    /// than 256 bytes.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        read(text, |node| key(&node))
    }

    /// Writes the JSON that [`from_json`](Self::from_json) parses, on one line.
    pub fn to_json(&self) -> String {
        text(&key_value(self))
    }
}

impl ClusterInstance {
    /// Parses `{"key","id","labels","endpoints":[{"addr","port","name"}],"status","owner"}`.
    ///
    /// Optional are `labels`, `owner`, the `name` of an endpoint, `status` (default: `ready`), and
    /// the `endpoints` of an instance that is deleted or has the label `sentinel`.
    ///
    /// # Errors
    ///
    /// `text` is not JSON, a required field is missing, or a field has a wrong value.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        read(text, |node| {
            let key = key(&node.needed("key")?)?;
            instance(&node, key)
        })
    }

    /// Writes the JSON that [`from_json`](Self::from_json) parses, on one line.
    pub fn to_json(&self) -> String {
        text(&instance_value(self))
    }
}

impl Catalog {
    /// Parses an array of clusters, or a response `{"code":0,"message","data"}` that has such an
    /// array as `data`.
    ///
    /// A cluster has the fields of a [`ClusterKey`], `tenant` (its tenant key), and `instances`, an
    /// array of [`ClusterInstance`]s in which `key` is optional. `tenant` and `instances` are
    /// optional.
    ///
    /// # Errors
    ///
    /// `text` is not JSON or a response with another code, a required field is missing, a field has
    /// a wrong value, or a cluster or an instance of a cluster is listed twice. Two clusters with
    /// the same tenant key are accepted here; the registry rejects one of them.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        read(text, |node| {
            if node.value().get::<Vec<_>>().is_some() {
                return catalog(&node);
            }
            let code = node.needed("code")?;
            if code.whole(0, u64::MAX)? != 0 {
                let message = node.field("message")?;
                let message = message.map(|message| message.string()).transpose()?;
                let message = message.unwrap_or("no message");
                return Err(code.wrong(format_args!("the response is an error: {message}")));
            }
            catalog(&node.needed("data")?)
        })
    }

    /// Writes the array that [`from_json`](Self::from_json) parses, on one line. Each instance has
    /// its key. Equal catalogs have equal texts.
    pub fn to_json(&self) -> String {
        text(&catalog_value(self, &|_| Vec::new()))
    }
}

fn catalog(node: &Node<'_>) -> Result<Catalog, JsonError> {
    let mut keys = BTreeSet::new();
    let mut clusters = Vec::new();
    for node in node.items()? {
        let cluster = cluster(&node)?;
        if !keys.insert(cluster.key.clone()) {
            return Err(node.wrong(format_args!("cluster {} is listed twice", cluster.key)));
        }
        clusters.push(cluster);
    }
    Ok(Catalog { clusters })
}

impl Owners {
    /// Parses an array of clusters, each with the fields of a [`ClusterKey`] and `aliases`, an
    /// array of texts. A cluster or an alias that is wrong is skipped; its error is in the second
    /// part of the result.
    ///
    /// # Errors
    ///
    /// `node` is not an array.
    pub fn from_node(node: &Node<'_>) -> Result<(Self, Vec<JsonError>), JsonError> {
        let (mut owners, mut wrong) = (Self::default(), Vec::new());
        for node in node.items()? {
            if let Err(why) = owners.read_cluster(&node, &mut wrong) {
                wrong.push(why);
            }
        }
        Ok((owners, wrong))
    }

    fn read_cluster(
        &mut self,
        node: &Node<'_>,
        wrong: &mut Vec<JsonError>,
    ) -> Result<(), JsonError> {
        let tenant = self.claim_key(&key(node)?);
        let tenant = tenant.map_err(|why| node.wrong(why))?;
        self.serve(&tenant);
        for alias in node.needed("aliases")?.items()? {
            let claimed = alias.string().and_then(|text| {
                let claimed = self.claim_alias(&tenant, text);
                claimed.map_err(|why| alias.wrong(why))
            });
            wrong.extend(claimed.err());
        }
        Ok(())
    }
}

fn cluster(node: &Node<'_>) -> Result<Cluster, JsonError> {
    let key = key(node)?;
    if let Some(tenant) = node.field("tenant")? {
        let own = key.tenant();
        if tenant.string()? != own.as_str() {
            return Err(tenant.wrong(format_args!("the tenant key of {key} is {own}")));
        }
    }
    let mut ids = BTreeSet::new();
    let mut instances = Vec::new();
    if let Some(list) = node.field("instances")? {
        for node in list.items()? {
            let instance = instance(&node, key.clone())?;
            if !ids.insert(instance.id.clone()) {
                let why = format!("another instance of the cluster has id {:?}", instance.id);
                return Err(node.needed("id")?.wrong(why));
            }
            instances.push(instance);
        }
    }
    Ok(Cluster { key, instances })
}

/// Parses the key of a cluster from an object that may have further fields.
///
/// # Errors
///
/// See [`ClusterKey::from_json`].
pub fn key(node: &Node<'_>) -> Result<ClusterKey, JsonError> {
    let name = node.needed("name")?;
    let location = node.needed("location")?;
    let part = |node: &Node<'_>, field| {
        let node = node.needed(field)?;
        let part = name_of(&node)?;
        if part.contains(':') {
            return Err(node.wrong("must not contain ':'"));
        }
        Ok(part)
    };
    Ok(ClusterKey {
        name: ClusterName {
            namespace: part(&name, "namespace")?,
            name: part(&name, "name")?,
        },
        location: Location {
            region: part(&location, "region")?,
            availability_zone: part(&location, "availability_zone")?,
            node_name: part(&location, "node_name")?,
        },
    })
}

/// Parses an instance of the cluster `of`. If the instance has a key, it must be that of the
/// cluster.
fn instance(node: &Node<'_>, of: ClusterKey) -> Result<ClusterInstance, JsonError> {
    if let Some(own) = node.field("key")?
        && key(&own)? != of
    {
        return Err(own.wrong(format_args!("is not the key of its cluster, {of}")));
    }
    let (status, labels) = (status(node)?, labels(node)?);
    let needed = status != Status::Deleted && !labels.contains_key(SENTINEL_LABEL);
    Ok(ClusterInstance {
        key: of,
        id: filled(&node.needed("id")?)?,
        labels,
        endpoints: endpoints(node, needed)?,
        status,
        owner: optional(node, "owner")?,
    })
}

fn status(node: &Node<'_>) -> Result<Status, JsonError> {
    let Some(node) = node.field("status")? else {
        return Ok(Status::Ready);
    };
    node.string()?.parse().map_err(|error| node.wrong(error))
}

fn labels(node: &Node<'_>) -> Result<BTreeMap<String, String>, JsonError> {
    let mut labels = BTreeMap::new();
    if let Some(node) = node.field("labels")? {
        for (name, value) in node.fields()? {
            labels.insert(name.to_owned(), value.string()?.to_owned());
        }
    }
    Ok(labels)
}

/// Parses the endpoints of an instance; `needed`: there must be one.
fn endpoints(node: &Node<'_>, needed: bool) -> Result<Vec<Endpoint>, JsonError> {
    let list = match node.field("endpoints")? {
        None if !needed => return Ok(Vec::new()),
        None => return Err(node.wrong("has no field \"endpoints\"")),
        Some(list) => list,
    };
    let mut endpoints = Vec::new();
    for node in list.items()? {
        endpoints.push(Endpoint {
            addr: address(&node.needed("addr")?)?,
            // The range is that of u16.
            port: node.needed("port")?.whole(1, 65_535)? as u16,
            name: optional(&node, "name")?,
        });
    }
    if endpoints.is_empty() && needed {
        return Err(list.wrong("must have at least one endpoint"));
    }
    Ok(endpoints)
}

fn address(node: &Node<'_>) -> Result<String, JsonError> {
    let addr = filled(node)?;
    if addr.contains(|c: char| c.is_whitespace() || "[]/".contains(c)) {
        return Err(node.wrong("must be a host name or an IP address, without brackets and port"));
    }
    Ok(addr)
}

fn optional(node: &Node<'_>, field: &str) -> Result<String, JsonError> {
    let Some(node) = node.field(field)? else {
        return Ok(String::new());
    };
    name_of(&node)
}

fn filled(node: &Node<'_>) -> Result<String, JsonError> {
    let name = name_of(node)?;
    if name.is_empty() {
        return Err(node.wrong("must not be empty"));
    }
    Ok(name)
}

fn name_of(node: &Node<'_>) -> Result<String, JsonError> {
    let name = node.string()?;
    if name.len() > NAME_BYTES_MAX {
        return Err(node.wrong(format_args!("is longer than {NAME_BYTES_MAX} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(node.wrong("must not contain control characters"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
