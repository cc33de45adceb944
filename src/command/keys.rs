//! Which arguments of a request are keys, as the servers' `COMMAND GETKEYS` says.
//!
//! A request with wrong arguments may have no keys here: any server refuses it.

use crate::resp::Args;

use super::name_index::{self, NameIndex};
use super::slot::Slot;

mod table;

use table::ROWS;

/// Where the keys of a command are. Positions count from the command's name, which is 0; negative
/// ones count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    None,
    Range {
        first: u8,
        last: i8,
        step: u8,
    },
    /// The number of keys is argument `at`; the keys are behind it.
    Counted {
        at: u8,
        step: u8,
    },
    /// A destination, the number of keys, and the keys.
    StoreCounted,
    /// Behind `STREAMS`, as many keys as IDs.
    Streams {
        from: u8,
    },
    /// A key, and behind `STORE` or `STOREDIST` another one.
    Geo,
    /// A key, and behind `STORE` another one.
    Sort,
    /// A key, or, if that is empty, all arguments behind `KEYS`.
    Migrate,
}

/// The slots that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// It has no key.
    None,
    One(Slot),
    /// Its keys have different slots.
    Several,
    /// The command is not known: it may have keys.
    Unknown,
}

/// The keys of a request, with their positions.
#[derive(Clone, Debug)]
pub struct Keys<'a> {
    args: Args<'a>,
    /// The position of the next argument.
    next: usize,
    ranges: [Range; 2],
}

/// Every `step`-th argument from `first` to before `end`.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    first: usize,
    end: usize,
    step: usize,
}

impl Range {
    const NONE: Self = Self {
        first: 0,
        end: 0,
        step: 1,
    };

    fn one(at: usize) -> Self {
        Self {
            first: at,
            end: at + 1,
            step: 1,
        }
    }

    fn has(self, at: usize) -> bool {
        at >= self.first && at < self.end && (at - self.first).is_multiple_of(self.step)
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.ranges.iter().map(|range| range.end).max()?;
        while self.next < end {
            let (at, arg) = (self.next, self.args.next()?);
            self.next += 1;
            if self.ranges.iter().any(|range| range.has(at)) {
                return Some((at, arg));
            }
        }
        None
    }
}

/// The slots that a request needs.
pub fn slots(frame: &[u8]) -> Slots {
    let args = Args::new(frame);
    let Some(shape) = args.clone().next().and_then(shape_of) else {
        return Slots::Unknown;
    };
    // Most commands.
    if shape == FIRST {
        let key = args.clone().nth(1);
        return key.map_or(Slots::None, |key| Slots::One(Slot::of(key)));
    }
    let mut slots = keys_of(args, shape).map(|(_, key)| Slot::of(key));
    match slots.next() {
        None => Slots::None,
        Some(first) if slots.all(|slot| slot == first) => Slots::One(first),
        Some(_) => Slots::Several,
    }
}

/// The slot of a request's keys, if they have one.
pub fn slot_of(frame: &[u8]) -> Option<Slot> {
    match slots(frame) {
        Slots::One(slot) => Some(slot),
        Slots::None | Slots::Several | Slots::Unknown => None,
    }
}

/// Has a request several keys? A node that migrates their slot may have some of them only.
pub fn has_several(frame: &[u8]) -> bool {
    let args = Args::new(frame);
    match args.clone().next().and_then(shape_of) {
        None | Some(Shape::None | FIRST) => false,
        Some(shape) => keys_of(args, shape).nth(1).is_some(),
    }
}

const FIRST: Shape = Shape::Range {
    first: 1,
    last: 1,
    step: 1,
};

/// The keys of a request. `None`: the command is not known.
pub fn keys(frame: &[u8]) -> Option<Keys<'_>> {
    let args = Args::new(frame);
    let shape = shape_of(args.clone().next()?)?;
    Some(keys_of(args, shape))
}

fn keys_of(args: Args<'_>, shape: Shape) -> Keys<'_> {
    let ranges = ranges(&args, shape).unwrap_or([Range::NONE; 2]);
    let argc = args.len();
    let fits = ranges.iter().all(|range| range.end <= argc);
    Keys {
        args,
        next: 0,
        ranges: if fits { ranges } else { [Range::NONE; 2] },
    }
}

/// The positions of the keys. `None`: the arguments are wrong.
fn ranges(args: &Args<'_>, shape: Shape) -> Option<[Range; 2]> {
    let argc = args.len();
    let second = match shape {
        Shape::None => return None,
        Shape::Range { first, last, step } => {
            let end = match usize::try_from(last) {
                Ok(last) => last + 1,
                Err(_) => (argc + 1).checked_sub(usize::from(last.unsigned_abs()))?,
            };
            let all = Range {
                first: first.into(),
                end,
                step: step.into(),
            };
            return Some([all, Range::NONE]);
        }
        Shape::Counted { at, step } => {
            return Some([counted(args, at.into(), step.into())?, Range::NONE]);
        }
        Shape::Streams { from } => {
            return Some([streams(args, from.into())?, Range::NONE]);
        }
        Shape::Migrate => return Some([migrated(args)?, Range::NONE]),
        Shape::StoreCounted => counted(args, 2, 1)?,
        Shape::Geo => last_behind(args, 5, &[("store", 1), ("storedist", 1)], &[]),
        // The server takes a key `STORE` for another option.
        Shape::Sort => {
            let skipped = [("limit", 2), ("get", 1), ("by", 1)];
            last_behind(args, 2, &[("store", 0)], &skipped)
        }
    };
    Some([Range::one(1), second])
}

/// The keys behind argument `at`, which is their number.
fn counted(args: &Args<'_>, at: usize, step: usize) -> Option<Range> {
    let number = args.clone().nth(at)?;
    let number: usize = str::from_utf8(number).ok()?.parse().ok()?;
    let first = at + 1;
    let last = first.checked_add(number.checked_sub(1)?.checked_mul(step)?)?;
    Some(Range {
        first,
        end: last.checked_add(1)?,
        step,
    })
}

/// The argument behind the last of the options `stores` at `from` or later. All options have their
/// numbers of arguments, which are skipped.
fn last_behind(
    args: &Args<'_>,
    from: usize,
    stores: &[(&str, usize)],
    others: &[(&str, usize)],
) -> Range {
    let (argc, mut found) = (args.len(), Range::NONE);
    let mut rest = args.clone().enumerate().skip(from);
    while let Some((at, arg)) = rest.next() {
        let number = |options: &[(&str, usize)]| {
            let is = |(word, _): &&(&str, usize)| arg.eq_ignore_ascii_case(word.as_bytes());
            options.iter().find(is).map(|(_, number)| *number)
        };
        let mut skipped = number(others).unwrap_or(0);
        if let Some(number) = number(stores).filter(|_| at + 1 < argc) {
            (found, skipped) = (Range::one(at + 1), number);
        }
        for _ in 0..skipped {
            rest.next();
        }
    }
    found
}

/// The keys of XREAD and XREADGROUP.
fn streams(args: &Args<'_>, from: usize) -> Option<Range> {
    let mut rest = args.clone().enumerate().skip(from);
    let (at, _) = rest.find(|(_, arg)| arg.eq_ignore_ascii_case(b"streams"))?;
    let (first, number) = (at + 1, rest.len());
    let keys = Range {
        first,
        end: first + number / 2,
        step: 1,
    };
    (number.is_multiple_of(2)).then_some(keys)
}

/// The keys of MIGRATE.
fn migrated(args: &Args<'_>) -> Option<Range> {
    let argc = args.len();
    let only = args.clone().nth(3)?;
    let mut rest = args.clone().enumerate().skip(6);
    while let Some((at, arg)) = rest.next() {
        let skipped = match arg.to_ascii_lowercase().as_slice() {
            b"keys" if only.is_empty() && at + 1 < argc => {
                return Some(Range {
                    first: at + 1,
                    end: argc,
                    step: 1,
                });
            }
            b"auth" => 1,
            b"auth2" => 2,
            _ => 0,
        };
        for _ in 0..skipped {
            rest.next();
        }
    }
    Some(Range::one(3))
}

/// Where the keys of a command are. `None`: it is not known.
fn shape_of(name: &[u8]) -> Option<Shape> {
    let row = match INDEX.find(name) {
        Some(row) => ROWS.get(row),
        None if name.len() > name_index::NAME_BYTES_MAX => {
            let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
            ROWS.iter().find(|(known, _)| is(known))
        }
        None => None,
    };
    row.map(|(_, shape)| *shape)
}

static INDEX: NameIndex<{ ROWS.len() }, 1_024> = NameIndex::of(keys_of_names());

const fn keys_of_names() -> [u128; ROWS.len()] {
    let mut keys = [0; ROWS.len()];
    let mut row = 0;
    while row < ROWS.len() {
        // Longer names are searched.
        if let Some(key) = name_index::key(ROWS[row].0.as_bytes()) {
            keys[row] = key;
        }
        row += 1;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::write;

    fn frame(line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut frame = Vec::new();
        write::command(&mut frame, &words);
        frame
    }

    fn places(line: &str) -> Vec<usize> {
        let frame = frame(line);
        keys(&frame).unwrap().map(|(at, _)| at).collect()
    }

    #[test]
    fn keys_are_found_in_each_shape() {
        for (line, at) in [
            ("GET k", vec![1]),
            ("mset a 1 b 2", vec![1, 3]),
            ("BLPOP a b 0", vec![1, 2]),
            ("BITOP AND to a b", vec![2, 3, 4]),
            ("OBJECT ENCODING k", vec![2]),
            ("EVAL s 2 a b c", vec![3, 4]),
            ("EVAL s 0 a", vec![]),
            ("ZUNIONSTORE to 2 a b WEIGHTS 1 2", vec![1, 3, 4]),
            ("XREADGROUP GROUP g streams STREAMS a b > >", vec![5, 6]),
            ("SORT k BY store GET # STORE to", vec![1, 7]),
            ("GEORADIUS k 1 1 1 m STORE to", vec![1, 7]),
            ("ZREVRANGEBYSCORE k 2 1", vec![1]),
            ("PING k", vec![]),
        ] {
            assert_eq!(places(line), at, "{line}");
        }
    }

    #[test]
    fn wrong_arguments_have_no_keys() {
        for line in [
            "GET",
            "EVAL s 3 a b",
            "EVAL s 18446744073709551615 a",
            "EVAL s -1 a",
            "ZUNIONSTORE to 99999999999 a",
            "MSETEX 9223372036854775807 a",
            "XREAD STREAMS a b 0",
            "BLPOP",
            "OBJECT HELP",
        ] {
            assert_eq!(places(line), [0; 0], "{line}");
        }
    }

    #[test]
    fn keys_are_counted_as_far_as_two() {
        let cases = [
            ("GET a", false),
            ("DEL a", false),
            ("DEL a b", true),
            ("PING", false),
        ];
        for (line, several) in cases {
            assert_eq!(has_several(&frame(line)), several, "{line}");
        }
    }

    #[test]
    fn request_has_one_slot_or_several() {
        let slot = Slot::of(b"a");
        for (line, slots_of) in [
            ("MGET {a}1 {a}2 a", Slots::One(slot)),
            ("MGET a b", Slots::Several),
            ("SSUBSCRIBE a a", Slots::One(slot)),
            ("DBSIZE", Slots::None),
            ("GET", Slots::None),
            ("MODULE.COMMAND a", Slots::Unknown),
        ] {
            assert_eq!(slots(&frame(line)), slots_of, "{line}");
        }
        assert_eq!(slots(b""), Slots::Unknown);
    }
}
