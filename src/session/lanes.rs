//! The links that a client of a Redis Cluster uses: one for each node, so that requests about one
//! slot are executed in their order.

use std::mem;

use crate::session::client::{Client, Flag};
use crate::store::key::{InstanceKey, LinkKey};

/// More links than this are not remembered one by one.
const LEFT_MAX: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// The version of the slots for which the links were chosen.
    version: u32,
    links: Vec<(InstanceKey, LinkKey)>,
    /// Links that the client has used before: they may carry writes that WAIT is about.
    left: Vec<LinkKey>,
    /// `links` and `left` are all that may carry the client's writes.
    complete: bool,
    /// The client got the error that its earlier writes cannot be confirmed.
    error_sent: bool,
    /// The client has sent WAIT: its links are remembered while it sends nothing.
    waits: bool,
}

impl Lanes {
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.left.is_empty() && !self.complete && !self.waits
    }

    fn leave(&mut self, link: LinkKey) {
        if self.left.len() >= LEFT_MAX {
            self.left.clear();
            self.complete = false;
        }
        if self.complete && !self.left.contains(&link) {
            self.left.push(link);
        }
    }
}

impl Client {
    /// The client's instance is a Redis Cluster: its last writes may be on several links.
    pub(crate) fn note_many_nodes(&mut self) {
        if !self.is(Flag::ManyNodes) {
            self.set(Flag::ManyNodes);
            self.details_mut().lanes.complete = true;
        }
    }

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
        let lanes = &mut self.details_mut().lanes;
        if mem::take(&mut lanes.error_sent) {
            lanes.complete = true;
        }
        lanes.left.retain(|left| *left != link);
        match lanes.links.iter_mut().find(|(of, _)| *of == node) {
            Some(lane) => {
                let before = mem::replace(&mut lane.1, link);
                if before != link {
                    lanes.leave(before);
                }
            }
            None => lanes.links.push((node, link)),
        }
    }

    /// Were the client's links chosen for these slots?
    #[inline]
    pub(crate) fn has_lanes_for(&self, version: u32) -> bool {
        let details = self.details.as_deref();
        details.is_some_and(|details| details.lanes.version == version)
    }

    /// Leaves the links: nothing of the client is in flight, and the slots have this version.
    pub(crate) fn renew_lanes(&mut self, version: u32) {
        self.note_many_nodes();
        self.leave_lanes();
        self.details_mut().lanes.version = version;
    }

    /// Leaves the links: they are not those of the client's account, or of the present slots.
    pub(crate) fn leave_lanes(&mut self) {
        let Some(details) = &mut self.details else {
            return;
        };
        details.lanes.version = 0;
        for (_, link) in mem::take(&mut details.lanes.links) {
            details.lanes.leave(link);
        }
    }

    /// Frees the memory of the links of a client that sends nothing.
    pub(crate) fn drop_lanes(&mut self) {
        if self.in_flight == 0
            && let Some(details) = &mut self.details
            && !details.lanes.waits
        {
            details.lanes = Lanes::default();
        }
    }

    /// The links that may carry writes of a client that sends WAIT; `NONE` stands for those that
    /// are not remembered.
    pub(crate) fn lanes_to_ask(&mut self) -> Vec<LinkKey> {
        if !self.is(Flag::ManyNodes) {
            return Vec::new();
        }
        let lanes = &mut self.details_mut().lanes;
        lanes.waits = true;
        let unknown = (!lanes.complete).then_some(LinkKey::NONE);
        let links = lanes.links.iter().map(|(_, link)| *link);
        let links = links.chain(lanes.left.iter().copied());
        unknown.into_iter().chain(links).collect()
    }

    /// The client got the error that its last writes cannot be confirmed. It holds until the client
    /// sends something else.
    pub(crate) fn forget_lanes(&mut self) {
        self.details_mut().lanes = Lanes {
            error_sent: true,
            waits: true,
            ..Lanes::default()
        };
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
