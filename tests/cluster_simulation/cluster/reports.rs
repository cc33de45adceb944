//! What a node says of itself and its cluster: HELLO, CLUSTER INFO, CLUSTER SLOTS.

use super::super::plan::Endpoints;
use super::super::wire;
use super::execute::integer;
use super::lies::Claim;
use super::{Cluster, View};

impl Cluster {
    pub(super) fn hello(&self, node: usize, protocol: u8, id: u64) -> Vec<u8> {
        let mut out = match protocol {
            3 => b"%7\r\n".to_vec(),
            _ => b"*14\r\n".to_vec(),
        };
        let role: &[u8] = match self.nodes[node].is_primary() {
            true => b"master",
            false => b"replica",
        };
        let mut field = |name: &str, value: Vec<u8>| {
            out.extend(wire::bulk(name.as_bytes()));
            out.extend(value);
        };
        field("server", wire::bulk(b"redis"));
        field("version", wire::bulk(b"7.4.0"));
        field("proto", integer(usize::from(protocol)));
        field("id", integer(id as usize));
        field("mode", wire::bulk(b"cluster"));
        field("role", wire::bulk(role));
        field("modules", b"*0\r\n".to_vec());
        out
    }

    pub(super) fn cluster_info(&self, node: usize) -> Vec<u8> {
        let state = if self.is_cluster_down(node) {
            "fail"
        } else {
            "ok"
        };
        let epoch = self.nodes[node].view.epoch;
        let text = format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:16384\r\n\
             cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\n"
        );
        wire::bulk(text.as_bytes())
    }

    pub(super) fn cluster_slots(&self, node: usize) -> Vec<u8> {
        let claim = self.claim(node);
        let view = match claim {
            Some(Claim::NoSlots) => return b"*0\r\n".to_vec(),
            Some(Claim::Old(view)) => view,
            _ => &self.nodes[node].view,
        };
        let ranges = self.ranges_of(view);
        let mut out = format!("*{}\r\n", ranges.len()).into_bytes();
        for (first, last, shard) in ranges {
            let members = self.nodes.iter().filter(|it| it.shard == shard);
            let primary = view.primary[shard];
            let replicas = members.map(|it| it.id).filter(|id| *id != primary);
            let all: Vec<usize> = std::iter::once(primary).chain(replicas).collect();
            out.extend(format!("*{}\r\n", 2 + all.len()).into_bytes());
            out.extend(integer(usize::from(first)));
            out.extend(integer(usize::from(last)));
            for member in all {
                out.extend(self.endpoint(node, member, claim));
            }
        }
        out
    }

    /// The ranges of slots, with their shards.
    fn ranges_of(&self, view: &View) -> Vec<(u16, u16, usize)> {
        let mut all = Vec::new();
        for (shard, range) in self.ranges.iter().enumerate() {
            let Some((mut first, last)) = *range else {
                continue;
            };
            for (slot, home) in self.slots.iter().zip(&view.home) {
                let number = slot.number;
                if !(first..=last).contains(&number) || *home == shard {
                    continue;
                }
                if number > first {
                    all.push((first, number - 1, shard));
                }
                all.push((number, number, *home));
                first = number + 1;
            }
            if first <= last {
                all.push((first, last, shard));
            }
        }
        all
    }

    /// How `node` names `member`.
    fn endpoint(&self, node: usize, member: usize, claim: Option<&Claim>) -> Vec<u8> {
        let address = self.address(member);
        let name = wire::bulk(self.host_name(member).as_bytes());
        let (host, metadata) = match (self.plan.endpoints, claim) {
            (_, Some(Claim::Self_(text))) if node == member => (
                text.map_or_else(|| b"$-1\r\n".to_vec(), |text| wire::bulk(text.as_bytes())),
                Vec::new(),
            ),
            (Endpoints::Address, Some(Claim::NamesOnly)) => (name, Vec::new()),
            (Endpoints::Address, _) => {
                (wire::bulk(address.ip().to_string().as_bytes()), Vec::new())
            }
            (Endpoints::Unknown, _) => (b"$-1\r\n".to_vec(), Vec::new()),
            (Endpoints::HostName, _) => {
                let ip = wire::bulk(address.ip().to_string().as_bytes());
                (name, [wire::bulk(b"ip"), ip].concat())
            }
        };
        let metadata = match metadata.is_empty() {
            true => b"*0\r\n".to_vec(),
            false => [b"*2\r\n".to_vec(), metadata].concat(),
        };
        let port = integer(usize::from(address.port()));
        let id = wire::bulk(format!("{member:040}").as_bytes());
        [b"*4\r\n".to_vec(), host, port, id, metadata].concat()
    }
}
