//! The timeout of a blocking command, which another node gets for the rest of its time.

use std::borrow::Cow;

use crate::resp::{Args, write};

/// Where a command has its timeout, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The last argument, seconds.
    Last,
    /// The first argument, seconds.
    First,
    /// Behind BLOCK, milliseconds.
    Block,
}

impl Place {
    fn of(name: &[u8]) -> Option<Self> {
        let is = |names: &[&str]| {
            names
                .iter()
                .any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
        };
        match () {
            () if is(&[
                "blpop",
                "brpop",
                "brpoplpush",
                "blmove",
                "bzpopmin",
                "bzpopmax",
            ]) =>
            {
                Some(Self::Last)
            }
            () if is(&["blmpop", "bzmpop"]) => Some(Self::First),
            () if is(&["xread", "xreadgroup"]) => Some(Self::Block),
            () => None,
        }
    }

    /// The index of the timeout among the arguments of a request.
    fn index(self, frame: &[u8]) -> Option<usize> {
        let mut args = Args::new(frame);
        match self {
            Self::Last => args.len().checked_sub(1),
            Self::First => Some(1),
            Self::Block => {
                let block = args.position(|arg| arg.eq_ignore_ascii_case(b"block"))?;
                Some(block + 1)
            }
        }
    }
}

/// The request with a timeout that is shorter by the time that it has waited, ms. It is at least a
/// millisecond: 0 has no end. A request without a timeout is returned as it is.
pub fn with_time_left(frame: &[u8], waited_ms: u64) -> Cow<'_, [u8]> {
    shortened(frame, waited_ms).map_or(Cow::Borrowed(frame), Cow::Owned)
}

fn shortened(frame: &[u8], waited_ms: u64) -> Option<Vec<u8>> {
    let place = Place::of(Args::new(frame).next()?)?;
    let index = place.index(frame)?;
    let given = str::from_utf8(Args::new(frame).nth(index)?).ok()?;
    let per_second = if place == Place::Block { 1.0 } else { 1_000.0 };
    let ms = given.parse::<f64>().ok()? * per_second;
    if !ms.is_finite() || ms <= 0.0 || waited_ms == 0 {
        return None;
    }
    let left = (ms - waited_ms as f64).max(1.0).ceil();
    let left = if place == Place::Block {
        format!("{left:.0}")
    } else {
        format!("{:.3}", left / per_second)
    };
    let mut args: Vec<&[u8]> = Args::new(frame).collect();
    *args.get_mut(index)? = left.as_bytes();
    let mut out = Vec::with_capacity(frame.len() + left.len());
    write::command(&mut out, &args);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(line: &str, waited_ms: u64) -> String {
        let mut frame = Vec::new();
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        write::command(&mut frame, &words);
        let out = with_time_left(&frame, waited_ms);
        let args = Args::new(&out).map(|arg| str::from_utf8(arg).unwrap());
        args.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_time_that_a_request_has_waited_is_subtracted() {
        for (line, waited, expected) in [
            ("BLPOP a b 5", 1_250, "BLPOP a b 3.750"),
            (
                "blmove a b LEFT LEFT 0.5",
                400,
                "blmove a b LEFT LEFT 0.100",
            ),
            ("BZPOPMIN a 1", 5_000, "BZPOPMIN a 0.001"),
            ("BLMPOP 2 1 a LEFT", 500, "BLMPOP 1.500 1 a LEFT"),
            (
                "XREAD COUNT 1 BLOCK 500 STREAMS a $",
                100,
                "XREAD COUNT 1 BLOCK 400 STREAMS a $",
            ),
            // No end, no timeout, no number, no such command.
            ("BLPOP a 0", 1_250, "BLPOP a 0"),
            ("XREAD STREAMS a 0", 100, "XREAD STREAMS a 0"),
            ("BLPOP a x", 100, "BLPOP a x"),
            ("GET 5", 100, "GET 5"),
            ("BLPOP", 100, "BLPOP"),
            ("BLPOP a 5", 0, "BLPOP a 5"),
        ] {
            assert_eq!(left(line, waited), expected);
        }
    }
}
