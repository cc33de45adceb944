//! Which node of a Redis Cluster serves which slot: sorted ranges, so that a map costs a few bytes
//! for each range, and not for each slot.

use std::fmt;

use crate::command::slot::Slot;

/// The place of a node in a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeIndex(u16);

impl NodeIndex {
    /// No node: the slots are not served.
    const NOBODY: Self = Self(u16::MAX);

    /// The node at this place. `None`: a list cannot be that long.
    pub(crate) fn new(at: usize) -> Option<Self> {
        let at = u16::try_from(at).ok().map(Self);
        at.filter(|&it| it != Self::NOBODY)
    }

    /// The place.
    pub(crate) fn as_usize(self) -> usize {
        self.0.into()
    }
}

impl fmt::Debug for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// A part of the map: from this slot to before the next range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u16,
    node: NodeIndex,
}

/// Which node serves which slot.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SlotMap {
    /// Sorted; the first one starts at 0, and neighbours differ.
    ranges: Vec<Range>,
}

impl Default for SlotMap {
    fn default() -> Self {
        let ranges = vec![Range {
            start: 0,
            node: NodeIndex::NOBODY,
        }];
        Self { ranges }
    }
}

impl SlotMap {
    /// The node that serves a slot. `None`: no node does.
    #[inline]
    pub(crate) fn node_of(&self, slot: Slot) -> Option<NodeIndex> {
        let behind = self
            .ranges
            .partition_point(|range| range.start <= slot.number());
        let range = self.ranges.get(behind.checked_sub(1)?)?;
        (range.node != NodeIndex::NOBODY).then_some(range.node)
    }

    /// A node serves the slots from `first` to `last`.
    pub(crate) fn set_range(&mut self, first: Slot, last: Slot, node: NodeIndex) {
        let (first, last) = (first.number(), last.number());
        if first > last {
            return;
        }
        let behind = self.ranges.partition_point(|range| range.start <= last);
        let after = self.ranges.get(behind.wrapping_sub(1)).map(|it| it.node);
        let begin = self.ranges.partition_point(|range| range.start < first);
        let follows = self.ranges.get(behind).map(|it| it.start) != Some(last + 1);
        let rest = after.filter(|_| follows && last + 1 < Slot::COUNT);
        let rest = rest.map(|node| Range {
            start: last + 1,
            node,
        });
        let new = [Range { start: first, node }].into_iter().chain(rest);
        self.ranges.splice(begin..behind, new);
        self.ranges.dedup_by_key(|range| range.node);
    }

    /// A node serves a slot.
    pub(crate) fn set(&mut self, slot: Slot, node: NodeIndex) {
        self.set_range(slot, slot, node);
    }

    /// The ranges that are served, in order: the first slot, the last, and the node.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Slot, Slot, NodeIndex)> {
        let ends = self.ranges.iter().skip(1).map(|range| range.start);
        let ends = ends.chain([Slot::COUNT]);
        let ranges = self.ranges.iter().zip(ends);
        let served = ranges.filter(|(range, _)| range.node != NodeIndex::NOBODY);
        served.filter_map(|(range, end)| {
            let (first, last) = (Slot::new(range.start)?, Slot::new(end - 1)?);
            Some((first, last, range.node))
        })
    }

    /// The nodes that serve slots, with their lowest slot, in its order.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (Slot, NodeIndex)> {
        let mut seen = std::collections::BTreeSet::new();
        let ranges = self.ranges().map(|(first, _, node)| (first, node));
        ranges.filter(move |(_, node)| seen.insert(*node))
    }

    /// Is every slot served?
    pub(crate) fn is_covered(&self) -> bool {
        let nobody = |range: &Range| range.node == NodeIndex::NOBODY;
        !self.ranges.iter().any(nobody)
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The map behaves as an array with an entry for each slot.
    #[test]
    fn map_equals_an_array_after_any_changes() {
        let (mut map, mut array) = (SlotMap::default(), [None; Slot::COUNT as usize]);
        let mut seed = 1_u64;
        let mut below = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        for step in 0..3_000 {
            let width = [1, 1, 40, 6_000][below(4) as usize];
            let first = below(u64::from(Slot::COUNT)) as u16;
            let last = (first + below(width) as u16).min(Slot::COUNT - 1);
            let node = NodeIndex::new(below(5) as usize).unwrap();
            map.set_range(Slot::new(first).unwrap(), Slot::new(last).unwrap(), node);
            array[first as usize..=last as usize].fill(Some(node));
            if step % 50 == 0 {
                for number in 0..Slot::COUNT {
                    let slot = Slot::new(number).unwrap();
                    assert_eq!(map.node_of(slot), array[number as usize], "{number}");
                }
                assert_eq!(map.is_covered(), array.iter().all(Option::is_some));
                let mut again = SlotMap::default();
                map.ranges()
                    .for_each(|(first, last, node)| again.set_range(first, last, node));
                assert_eq!(again, map);
            }
        }
    }

    #[test]
    fn shards_are_in_the_order_of_their_lowest_slot() {
        let slot = |number| Slot::new(number).unwrap();
        let [a, b] = [0, 1].map(|at| NodeIndex::new(at).unwrap());
        let mut map = SlotMap::default();
        assert_eq!(map.shards().count(), 0);
        map.set_range(slot(10), slot(16_383), a);
        map.set_range(slot(0), slot(4), b);
        map.set(slot(20), b);
        assert_eq!(
            map.shards().collect::<Vec<_>>(),
            [(slot(0), b), (slot(10), a)]
        );
        assert!(!map.is_covered());
        assert_eq!(map.node_of(slot(5)), None);
    }
}
