//! Splits a request by the slots of its keys.

use super::merge::Merge;
use super::policy::MergeRule;
use crate::command::slot::Slot;
use crate::resp::{Args, write};

/// The bytes of the shortest argument: `$0`, an empty string, and their line ends.
const ARG_BYTES_MIN: usize = 6;

/// The parts of a request, in the order in which their slots appear in it. A part is the same
/// command with the keys of one slot, in their order and with their values.
#[derive(Debug)]
pub struct Split {
    /// The frames of all parts, one behind the other.
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// For each key of the request its part.
    order: Vec<u16>,
    rule: MergeRule,
}

#[derive(Debug)]
struct Part {
    slot: Slot,
    /// The number of the next part in the same bucket, see [`Parts`].
    next: u16,
    /// Keys with their values, in arguments.
    args: usize,
    /// First the bytes of `args`, then the end of the part's frame.
    end: usize,
}

impl Split {
    /// Splits a request whose keys are each `step`-th argument behind the name. `None`: the last
    /// key has no value.
    ///
    /// It allocates four times, whatever the number of keys.
    pub(super) fn new(frame: &[u8], step: usize, rule: MergeRule) -> Option<Self> {
        let mut args = Args::new(frame);
        let bytes = args.rest();
        args.next()?;
        let encoded_name = bytes.get(..bytes.len() - args.rest().len())?;
        if !args.len().is_multiple_of(step) {
            return None;
        }
        let number_of_keys = args.len().min(frame.len() / ARG_BYTES_MIN) / step;
        let keys = Keys { args, step };
        let mut parts = Parts::new(number_of_keys);
        let mut order = Vec::with_capacity(number_of_keys);
        for (key, bytes) in keys.clone() {
            let (number, part) = parts.of(Slot::of(key))?;
            part.args += step;
            part.end += bytes.len();
            order.push(number);
        }
        let mut split = Self {
            bytes: Vec::new(),
            parts: parts.list,
            order,
            rule,
        };
        split.write(encoded_name, keys);
        Some(split)
    }

    /// Writes the frames: first all names, with room for the keys behind each, then the keys.
    fn write(&mut self, encoded_name: &[u8], keys: Keys<'_>) {
        // `*` and a number of up to seven digits.
        let header = 10 + encoded_name.len();
        let keys_bytes: usize = self.parts.iter().map(|part| part.end).sum();
        self.bytes.reserve(keys_bytes + header * self.parts.len());
        for part in &mut self.parts {
            write::array(&mut self.bytes, 1 + part.args);
            self.bytes.extend_from_slice(encoded_name);
            let start = self.bytes.len();
            self.bytes.resize(start + part.end, 0);
            part.end = start;
        }
        for ((_, bytes), number) in keys.zip(&self.order) {
            let Some(part) = self.parts.get_mut(usize::from(*number)) else {
                continue;
            };
            let start = part.end;
            part.end += bytes.len();
            if let Some(room) = self.bytes.get_mut(start..part.end) {
                room.copy_from_slice(bytes);
            }
        }
    }

    /// The number of parts, at least two.
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// How the replies to the parts are merged.
    pub fn rule(&self) -> MergeRule {
        self.rule
    }

    /// The slot and the frame of each part.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (Slot, &[u8])> {
        let mut start = 0;
        self.parts.iter().map(move |part| {
            let frame = self.bytes.get(start..part.end).unwrap_or_default();
            start = part.end;
            (part.slot, frame)
        })
    }

    /// Merges the replies to the parts. The frames are dropped.
    pub fn into_merge(self) -> Merge {
        Merge::ordered(self.rule, self.parts.len(), self.order)
    }
}

/// The keys of a request, each with the bytes of its arguments.
#[derive(Clone)]
struct Keys<'a> {
    args: Args<'a>,
    step: usize,
}

impl<'a> Iterator for Keys<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.args.rest();
        let key = self.args.next()?;
        for _ in 1..self.step {
            self.args.next()?;
        }
        Some((key, bytes.get(..bytes.len() - self.args.rest().len())?))
    }
}

/// The parts, found by their slots.
///
/// Slots with the same lowest bits share a bucket, which is a list of parts. There are at least
/// twice as many buckets as keys, or as many as slots. So whatever slots a client chooses, all of
/// its keys together need at most 8,192 comparisons, or one for each key.
struct Parts {
    /// For each bucket the number of its last part plus one; 0 when the bucket is empty.
    buckets: Vec<u16>,
    list: Vec<Part>,
}

impl Parts {
    /// Without parts, for this number of keys.
    fn new(keys: usize) -> Self {
        let slots = usize::from(Slot::COUNT);
        let keys = keys.min(slots);
        Self {
            buckets: vec![0; (2 * keys).next_power_of_two().min(slots)],
            list: Vec::with_capacity(keys),
        }
    }

    /// The part of a slot, and its number. Adds the part when there is none.
    #[inline]
    fn of(&mut self, slot: Slot) -> Option<(u16, &mut Part)> {
        let bucket = usize::from(slot.number()) & (self.buckets.len() - 1);
        let bucket = self.buckets.get_mut(bucket)?;
        let mut next = *bucket;
        while let Some(number) = next.checked_sub(1) {
            let part = self.list.get(usize::from(number))?;
            if part.slot == slot {
                return Some((number, self.list.get_mut(usize::from(number))?));
            }
            next = part.next;
        }
        let number = u16::try_from(self.list.len()).ok()?;
        self.list.push(Part {
            slot,
            next: *bucket,
            args: 0,
            end: 0,
        });
        *bucket = number + 1;
        Some((number, self.list.last_mut()?))
    }
}
