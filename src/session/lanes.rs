//! The links that a client of a Redis Cluster uses: one for each node, so that requests about one
//! slot are executed in their order.

use crate::session::client::Client;
use crate::store::key::{InstanceKey, LinkKey};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// The version of the slots for which the links were chosen.
    version: u32,
    links: Vec<(InstanceKey, LinkKey)>,
}

impl Lanes {
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

impl Client {
    /// The link that the client uses for a node.
    #[inline]
    pub(crate) fn lane(&self, node: InstanceKey) -> Option<LinkKey> {
        let lanes = &self.details.as_deref()?.lanes.links;
        let lane = lanes.iter().find(|(of, _)| *of == node)?;
        Some(lane.1)
    }

    /// Does the client remember links to nodes?
    #[inline]
    pub(crate) fn has_lanes(&self) -> bool {
        let details = self.details.as_deref();
        details.is_some_and(|details| !details.lanes.is_empty())
    }

    /// The client uses this link for a node.
    pub(crate) fn set_lane(&mut self, node: InstanceKey, link: LinkKey) {
        let lanes = &mut self.details_mut().lanes.links;
        match lanes.iter_mut().find(|(of, _)| *of == node) {
            Some(lane) => lane.1 = link,
            None => lanes.push((node, link)),
        }
    }

    /// Were the client's links chosen for these slots?
    #[inline]
    pub(crate) fn has_lanes_for(&self, version: u32) -> bool {
        let details = self.details.as_deref();
        details.is_some_and(|details| details.lanes.version == version)
    }

    /// Forgets the links: nothing of the client is in flight, and the slots have this version.
    pub(crate) fn renew_lanes(&mut self, version: u32) {
        let lanes = &mut self.details_mut().lanes;
        lanes.version = version;
        lanes.links.clear();
    }

    /// Frees the memory of the links of a client that sends nothing.
    pub(crate) fn drop_lanes(&mut self) {
        if self.in_flight == 0
            && let Some(details) = &mut self.details
        {
            details.lanes = Lanes::default();
        }
    }

    /// The client's requests on a link to this node are now on this one.
    pub(crate) fn follow(&mut self, node: InstanceKey, link: LinkKey) {
        match self.lane(node) {
            Some(_) => self.set_lane(node, link),
            None => self.set_link(link),
        }
    }

    /// The links that the client may have requests on.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkKey> {
        let lanes = self.lanes().iter().map(|(_, link)| *link);
        [self.link].into_iter().chain(lanes)
    }

    /// The client's links, by their nodes.
    #[inline]
    pub(crate) fn lanes(&self) -> &[(InstanceKey, LinkKey)] {
        let details = self.details.as_deref();
        details.map_or(&[], |details| &details.lanes.links)
    }
}
