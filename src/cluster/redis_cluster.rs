//! What the labels of an instance say about Redis Cluster: whether the instance is one, and what
//! its clients see.

use std::collections::BTreeMap;

/// The label that says whether an instance is a Redis Cluster.
const MODE: &str = "mode";

/// The label that says what clients of an instance see.
const FRONT: &str = "front";

/// What an instance is, whatever its servers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A single server, or nodes of a Redis Cluster whose redirections are for the clients.
    Single,
    /// A Redis Cluster.
    Cluster,
}

/// What the clients of an instance see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Front {
    /// A server without cluster support.
    #[default]
    Single,
    /// A Redis Cluster of one node, which serves all slots at the address that the client uses.
    Cluster,
    /// A server without cluster support, until the client sends a command of a Redis Cluster.
    Auto,
}

/// The labels of an instance about Redis Cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedisCluster {
    /// The label `mode`. `None`: the servers say what they are.
    pub mode: Option<Mode>,
    /// The label `front`. `None`: as the option `cluster.front` says.
    pub front: Option<Front>,
}

impl RedisCluster {
    /// Parses the labels `mode` (`single` or `cluster`) and `front` (`single`, `cluster` or
    /// `auto`).
    ///
    /// A label with another value is ignored. The second part of the result has a line about each
    /// ignored label, for a log.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        const MODES: [(&str, Mode); 2] = [("single", Mode::Single), ("cluster", Mode::Cluster)];
        const FRONTS: [(&str, Front); 3] = [
            ("single", Front::Single),
            ("cluster", Front::Cluster),
            ("auto", Front::Auto),
        ];
        let mut errors = Vec::new();
        let found = Self {
            mode: value(labels, MODE, &MODES, &mut errors),
            front: value(labels, FRONT, &FRONTS, &mut errors),
        };
        (found, errors)
    }
}

/// The value of a label, which has one of these names.
fn value<T: Copy>(
    labels: &BTreeMap<String, String>,
    label: &str,
    values: &[(&str, T)],
    errors: &mut Vec<String>,
) -> Option<T> {
    let text = labels.get(label)?;
    let named = values.iter().find(|(name, _)| name == text);
    if named.is_none() {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        errors.push(format!("label {label}={text:?} must be one of {names}"));
    }
    named.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &[(&str, &str)]) -> (RedisCluster, Vec<String>) {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        RedisCluster::from_labels(&labels.collect())
    }

    #[test]
    fn labels_say_what_an_instance_is_and_what_clients_see() {
        assert_eq!(parse(&[]), Default::default());
        let all = RedisCluster {
            mode: Some(Mode::Cluster),
            front: Some(Front::Auto),
        };
        let labels = [("mode", "cluster"), ("front", "auto"), ("tenant", "shop")];
        assert_eq!(parse(&labels), (all, vec![]));
    }

    #[test]
    fn wrong_label_is_ignored_with_one_line() {
        let (found, errors) = parse(&[("mode", "Cluster"), ("front", "single")]);
        assert_eq!((found.mode, found.front), (None, Some(Front::Single)));
        assert_eq!(
            errors,
            ["label mode=\"Cluster\" must be one of single, cluster"]
        );
        let (found, errors) = parse(&[("front", "")]);
        assert_eq!(found, RedisCluster::default());
        assert_eq!(
            errors,
            ["label front=\"\" must be one of single, cluster, auto"]
        );
    }
}
