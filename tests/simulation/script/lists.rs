//! Lists: clients that push, and clients that block.

use super::super::client::Op;
use super::super::rng::Rng;
use super::{Around, Line, Script, list};

impl Script {
    pub(super) fn queuer(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        match rng.below(10) {
            0..=3 => self.blocking(rng),
            4..=6 => self.push(rng),
            7 => {
                let tag = self.tag();
                let args = ["LPOP", &list(rng), &format!("t{tag}")];
                Line::new(&args, Op::Data { tag, big: false })
            }
            8 => {
                let victim = *rng.pick(around.ids);
                let reason = *rng.pick(&["TIMEOUT", "ERROR"]);
                let args = ["CLIENT", "UNBLOCK", &victim.to_string(), reason];
                Line {
                    victim: Some(victim),
                    ..Line::new(&args, Op::Unblock)
                }
            }
            _ if rng.one_in(2) => self.wait(rng),
            _ => self.small(around, rng),
        }
    }

    /// Elements that occur only once.
    fn push(&mut self, rng: &mut Rng) -> Line {
        let tag = self.tag();
        let mut args = vec![rng.pick(&["RPUSH", "LPUSH"]).to_string(), list(rng)];
        for n in 0..=rng.below(3) {
            args.push(format!("e{tag}.{n}"));
        }
        args.push(format!("t{tag}"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Line::new(&args, Op::Data { tag, big: false })
    }

    pub(super) fn blocking(&mut self, rng: &mut Rng) -> Line {
        let tag = self.tag();
        let mut args = vec![rng.pick(&["BLPOP", "blpop", "BRPOP"]).to_string()];
        for _ in 0..=rng.below(2) {
            args.push(list(rng));
        }
        args.push(format!("t{tag}"));
        args.push(rng.pick(&["0", "0", "0.05", "0.4", "3"]).to_string());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Line::new(&args, Op::Pop { tag })
    }
}
