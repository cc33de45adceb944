//! The arguments of WAIT and WAITAOF, and a server's replies to them.

use crate::resp::number::parse_i64;
use crate::resp::{Args, write};

/// Numbers of replicas and, for WAITAOF, of the server's own append-only file: those that a client
/// waits for, or those of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counts {
    /// `None`: WAIT.
    local: Option<i64>,
    replicas: i64,
}

impl Counts {
    /// The counts and the timeout (0: none) of a request. `None`: an argument is invalid, and any
    /// server refuses the request. (A server has one append-only file, so WAITAOF with more than 1
    /// is invalid.)
    pub(crate) fn parse(frame: &[u8]) -> Option<(Self, u64)> {
        let mut args = Args::new(frame);
        let file = args.next()?.len() > "WAIT".len();
        let count = args.len();
        let numbers: Vec<_> = args.map_while(parse_i64).collect();
        let (local, replicas, ms) = match *numbers {
            _ if numbers.len() != count => return None,
            [replicas, ms] if !file => (None, replicas, ms),
            [local @ 0..=1, replicas, ms] if file => (Some(local), replicas, ms),
            _ => return None,
        };
        // A server treats a timeout beyond its last representable time as an error.
        const LAST_MS: i64 = i64::MAX - (1 << 40);
        let ms = u64::try_from(ms).ok().filter(|_| ms <= LAST_MS)?;
        Some((Self { local, replicas }, ms))
    }

    /// Are all counts zero or less? The server then replies at once with the present counts.
    pub(crate) fn is_nothing(self) -> bool {
        self.replicas <= 0 && self.local.is_none_or(|local| local == 0)
    }

    /// The arguments of the request.
    pub(crate) fn words(self, ms: u64) -> Vec<String> {
        let name = self.local.map_or("WAIT", |_| "WAITAOF").to_owned();
        let local = self.local.map(|local| local.to_string());
        let numbers = [self.replicas.to_string(), ms.to_string()];
        [name].into_iter().chain(local).chain(numbers).collect()
    }

    /// The counts in a reply to this request; `None`: an error.
    pub(crate) fn parse_reply(self, reply: &[u8]) -> Option<Self> {
        let lines = reply.split(|byte| *byte == b'\n');
        let numbers = lines.filter_map(|line| line.strip_suffix(b"\r")?.strip_prefix(b":"));
        let numbers: Vec<_> = numbers.filter_map(parse_i64).collect();
        match (&numbers[..], self.local) {
            (&[replicas], None) => Some(Self {
                local: None,
                replicas,
            }),
            (&[local, replicas], Some(_)) => Some(Self {
                local: Some(local),
                replicas,
            }),
            _ => None,
        }
    }

    /// Do the counts of a reply satisfy this request?
    pub(crate) fn is_met_by(self, counts: Self) -> bool {
        counts.local >= self.local && counts.replicas >= self.replicas
    }

    /// The minimum of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            local: self.local.min(other.local),
            replicas: self.replicas.min(other.replicas),
        }
    }

    pub(crate) fn is_file(self) -> bool {
        self.local.is_some()
    }

    pub(crate) fn nothing(self) -> Self {
        Self {
            local: self.local.map(|_| 0),
            replicas: 0,
        }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        if let Some(local) = self.local {
            write::array(out, 2);
            write::integer(out, local);
        }
        write::integer(out, self.replicas);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn frame(line: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut frame = Vec::new();
        write::command(&mut frame, &words);
        frame
    }

    pub(crate) fn wanted(line: &str) -> Counts {
        Counts::parse(&frame(line)).unwrap().0
    }

    #[test]
    fn valid_arguments_of_wait_are_parsed() {
        let something = ["WAIT 1 0", "WAIT 1 10", "WAITAOF 1 0 0", "WAITAOF 0 1 5"];
        let nothing = ["WAIT 0 1", "WAIT -1 1", "WAITAOF 0 0 1"];
        for line in something.iter().chain(&nothing) {
            let (counts, ms) = Counts::parse(&frame(line)).unwrap();
            assert_eq!(counts.words(ms).join(" "), *line);
            assert_eq!(counts.is_nothing(), nothing.contains(line));
        }
        for line in [
            "WAIT",
            "WAIT 1",
            "WAIT x 1",
            "WAIT 1 x",
            "WAIT 1 -1",
            "WAIT 1 9223372036854775807",
            "WAIT 1 2 3",
            "WAIT 1 2 3 4",
            "WAITAOF 1 2",
            "WAITAOF",
            "WAITAOF 1 1 -1",
            "WAITAOF 5 1 0",
            "WAITAOF -1 1 0",
            "WAITAOF 1 1 x",
        ] {
            assert_eq!(Counts::parse(&frame(line)), None, "{line}");
        }
    }

    #[test]
    fn wait_is_met_only_if_every_count_suffices() {
        let wait = wanted("WAIT 2 100");
        let met = |wanted: Counts, reply: &[u8]| {
            let counts = wanted.parse_reply(reply);
            counts.is_some_and(|counts| wanted.is_met_by(counts))
        };
        assert!(met(wait, b":2\r\n") && met(wait, b":3\r\n"));
        assert!(!met(wait, b":1\r\n") && !met(wait, b"-ERR no\r\n"));
        let aof = wanted("WAITAOF 1 2 0");
        assert!(met(aof, b"*2\r\n:1\r\n:2\r\n"));
        assert!(!met(aof, b"*2\r\n:0\r\n:2\r\n") && !met(aof, b":2\r\n"));
    }
}
