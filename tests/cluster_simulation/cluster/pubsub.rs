//! SUBSCRIBE and PUBLISH: all nodes pass a message on to their subscribers.

use super::super::wire;
use super::Cluster;
use super::execute::integer;

impl Cluster {
    pub(super) fn subscribe(&mut self, node: usize, id: u64, args: &[Vec<u8>]) -> Vec<u8> {
        let session = self.nodes[node].session(id);
        let mut out = Vec::new();
        for channel in &args[1..] {
            if !session.channels.contains(channel) {
                session.channels.push(channel.clone());
            }
            let number = session.channels.len();
            out.extend(frame(session.protocol, &[b"subscribe", channel]));
            out.extend(integer(number));
        }
        out
    }

    /// Returns the number of subscribers at the node.
    pub(super) fn publish(&mut self, node: usize, channel: &[u8], message: &[u8]) -> usize {
        let all = self.published.entry(channel.to_vec()).or_default();
        all.push(message.to_vec());
        let mut here = 0;
        for (other, at) in self.nodes.iter_mut().enumerate() {
            for session in at.sessions.values_mut() {
                if session.channels.iter().any(|it| it == channel) {
                    let push = frame(session.protocol, &[b"message", channel]);
                    session.output.extend(push);
                    session.output.extend(wire::bulk(message));
                    here += usize::from(other == node);
                }
            }
        }
        here
    }
}

/// The beginning of a message of three parts.
fn frame(protocol: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = match protocol {
        3 => b">3\r\n".to_vec(),
        _ => b"*3\r\n".to_vec(),
    };
    out.extend(parts.iter().flat_map(|part| wire::bulk(part)));
    out
}
