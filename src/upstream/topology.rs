//! What a node of a Redis Cluster says of the cluster: CLUSTER INFO and CLUSTER SLOTS.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::slot_map::{NodeIndex, SlotMap};
use crate::command::slot::Slot;
use crate::resp::read::{Elements, integer, is_null, string};

/// The nodes that serve slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// The addresses of the primaries; their places are their indexes in `map`.
    pub primaries: Vec<SocketAddr>,
    /// Which of them serves which slot.
    pub map: SlotMap,
}

impl Topology {
    /// Reads the reply to CLUSTER SLOTS, in either protocol. `asked` is the address of the node
    /// that sent it. `None`: the reply has another form.
    pub(crate) fn read(reply: &[u8], asked: SocketAddr) -> Option<Self> {
        let mut topology = Self::default();
        let mut ranges = Elements::new(reply)?;
        for range in &mut ranges {
            let mut parts = Elements::new(range)?;
            let mut bound = || {
                let bound = parts.next().and_then(integer)?;
                Slot::new(u16::try_from(bound).ok()?)
            };
            let (first, last) = (bound()?, bound()?);
            // Without an address, the slots are found by redirections.
            if let Some(address) = address(parts.next()?, asked)? {
                let at = topology.place_of(address)?;
                topology.map.set_range(first, last, at);
            }
        }
        ranges.is_exhausted().then_some(topology)
    }

    fn place_of(&mut self, address: SocketAddr) -> Option<NodeIndex> {
        let known = self.primaries.iter().position(|it| *it == address);
        NodeIndex::new(known.unwrap_or_else(|| {
            self.primaries.push(address);
            self.primaries.len() - 1
        }))
    }
}

/// The address of a node of CLUSTER SLOTS: its endpoint, its port, its id, and since 7.0 what else
/// is known of it. `Some(None)`: only its host name is known.
fn address(node: &[u8], asked: SocketAddr) -> Option<Option<SocketAddr>> {
    let mut parts = Elements::new(node)?;
    let endpoint = parts.next()?;
    let port = u16::try_from(parts.next().and_then(integer)?).ok()?;
    let name = match is_null(endpoint) {
        true => "",
        false => str::from_utf8(string(endpoint)?).ok()?,
    };
    let ip = match name {
        "" | "?" => Some(asked.ip()),
        name => name.parse().ok().or_else(|| {
            let metadata = parts.nth(1)?;
            ip_among(metadata)
        }),
    };
    Some(ip.map(|ip| SocketAddr::new(ip, port)))
}

/// The value of `ip` in the metadata of a node.
fn ip_among(metadata: &[u8]) -> Option<IpAddr> {
    let mut words = Elements::new(metadata)?;
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if string(name) == Some(b"ip") {
            return str::from_utf8(string(value)?).ok()?.parse().ok();
        }
    }
    None
}

/// What CLUSTER INFO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterInfo {
    /// The node considers the cluster able to serve requests.
    pub is_ok: bool,
}

impl ClusterInfo {
    /// Reads the reply to CLUSTER INFO. `None`: the reply has another form.
    pub(crate) fn read(reply: &[u8]) -> Option<Self> {
        let text = str::from_utf8(string(reply)?).ok()?;
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        Some(Self {
            is_ok: value("cluster_state")? == "ok",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: &[u8] = b"*3\r\n*4\r\n:0\r\n:5460\r\n\
        *4\r\n$9\r\n127.0.0.1\r\n:7101\r\n$4\r\nc279\r\n*0\r\n\
        *4\r\n$9\r\n127.0.0.1\r\n:7106\r\n$4\r\n1013\r\n*0\r\n\
        *4\r\n:5461\r\n:10922\r\n\
        *4\r\n$9\r\n127.0.0.1\r\n:7102\r\n$4\r\nded0\r\n*0\r\n\
        *4\r\n$9\r\n127.0.0.1\r\n:7104\r\n$4\r\n460d\r\n*0\r\n\
        *3\r\n:10923\r\n:16383\r\n\
        *4\r\n$-1\r\n:7103\r\n$4\r\n7089\r\n*2\r\n$2\r\nip\r\n$0\r\n\r\n";

    #[test]
    fn slots_name_the_primaries() {
        let topology = Topology::read(SLOTS, "127.0.0.1:1".parse().unwrap()).unwrap();
        assert_eq!(topology.primaries.len(), 3);
        assert!(topology.map.is_covered());
        assert_eq!(topology.primaries[2], "127.0.0.1:7103".parse().unwrap());
    }

    #[test]
    fn info_says_whether_the_cluster_is_ok() {
        let info = b"$54\r\ncluster_state:ok\r\ncluster_current_epoch:6\r\nx:1\r\ny:22\r\n\r\n";
        assert_eq!(ClusterInfo::read(info), Some(ClusterInfo { is_ok: true }));
    }
}
