//! Transactions, with and without WATCH, and the commands inside them.

use super::super::client::{Login, Op};
use super::super::rng::Rng;
use super::{Around, Line, Script, change, list};

impl Script {
    /// A transaction: its first request; the others follow.
    pub(super) fn transaction_command(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        if rng.one_in(5) {
            return self.loose_end(rng);
        }
        let mut lines = Vec::new();
        if rng.one_in(2) {
            lines.push(self.watch(rng));
            if rng.one_in(2) {
                lines.push(self.small(around, rng));
            }
            if rng.one_in(8) {
                lines.push(change(around, rng, self.number));
            }
        }
        lines.push(Line::new(&["MULTI"], Op::Multi));
        let spoiled = rng.one_in(6);
        for _ in 0..rng.below(7) {
            let line = match rng.below(6) {
                0 => self.known_better(rng),
                1 if spoiled => self.forbidden(rng),
                _ => self.small(around, rng),
            };
            lines.push(line);
        }
        match rng.below(12) {
            0 => lines.push(Line::new(&["DISCARD"], Op::Discard)),
            1 => {}
            _ => lines.push(Line::new(&["EXEC"], Op::Exec)),
        }
        let last = lines.last().and_then(|line| line.op.as_ref());
        self.inside = !matches!(last, Some(Op::Exec | Op::Discard));
        self.block.extend(lines);
        self.block
            .pop_front()
            .unwrap_or_else(|| Line::new(&["DISCARD"], Op::Discard))
    }

    fn watch(&mut self, rng: &mut Rng) -> Line {
        let tag = self.tag();
        let keys = [
            format!("k{}", rng.below(5)),
            format!("ctr:{}", self.id),
            list(rng),
        ];
        let mut args = vec!["WATCH".to_owned()];
        args.extend(keys.into_iter().take(1 + rng.below(3)));
        args.push(format!("t{tag}"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Line::new(&args, Op::Watch { tag })
    }

    /// One command of a transaction, without the others.
    fn loose_end(&mut self, rng: &mut Rng) -> Line {
        match rng.below(5) {
            0 => {
                self.inside = false;
                Line::new(&["EXEC"], Op::Exec)
            }
            1 => {
                self.inside = false;
                Line::new(&["DISCARD"], Op::Discard)
            }
            2 => self.watch(rng),
            _ => Line::new(&["UNWATCH"], Op::Unwatch),
        }
    }

    /// Commands that the proxy answers better than the backend, or that are queued in another way.
    fn known_better(&mut self, rng: &mut Rng) -> Line {
        match rng.below(13) {
            0 | 1 => Line::new(&["CLIENT", "ID"], Op::ClientId),
            2 => Line::new(&["CLIENT", "GETNAME"], Op::GetName),
            3 => {
                let name = format!("m{}", rng.below(100));
                Line::new(&["CLIENT", "SETNAME", &name], Op::SetName(name.clone()))
            }
            4 => Line::new(&["CLIENT", "INFO"], Op::Info),
            5 => Line::new(&["PING"], Op::Ping(None)),
            6 => Line::new(&["ACL", "WHOAMI"], Op::WhoAmI),
            7 => {
                let db = rng.below(5);
                Line::new(&["SELECT", &db.to_string()], Op::Select(db as i64))
            }
            8 => Line::new(&["SELECT", "99"], Op::Select(99)),
            9 => Line::new(&["UNWATCH"], Op::Unwatch),
            10 => self.watch(rng),
            11 => Line::new(&["MULTI"], Op::Multi),
            _ => self.blocking(rng),
        }
    }

    /// Commands that are refused inside a transaction.
    fn forbidden(&mut self, rng: &mut Rng) -> Line {
        match rng.below(10) {
            0 => {
                let login = Login {
                    name: Some("nix.nobody".into()),
                    password: "bad".into(),
                };
                Line::new(&["AUTH", "nix.nobody", "bad"], Op::Auth(login))
            }
            1 => Line::new(
                &["HELLO", "3"],
                Op::Hello {
                    protocol: Some(3),
                    login: None,
                    name: None,
                },
            ),
            2 => self.subscribe(rng),
            3 => Line::new(&["CLIENT", "LIST"], Op::List),
            4 => Line::new(&["CLIENT", "REPLY", "ON"], Op::ReplyOn),
            5 => Line::new(&["SYNC"], Op::Denied("sync")),
            6 => {
                let tag = self.tag();
                Line::new(&["NOSUCH", &format!("t{tag}")], Op::Unknown { tag })
            }
            7 => {
                let tag = self.tag();
                let t = format!("t{tag}");
                Line::new(&["CONFIG", "SET", "x", &t], Op::Admin { tag })
            }
            8 => Line::new(&["CLIENT", "TRACKING", "ON"], Op::Tracking(true)),
            _ => Line::new(&["PING", "a", "b"], Op::Miscounted),
        }
    }
}
