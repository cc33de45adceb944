//! Subscriptions and client-side caching, with other commands in between.

use super::super::client::Op;
use super::super::rng::Rng;
use super::{Around, Line, Script, channel};

/// The only pattern, which matches all channels.
const EVERYTHING: &str = "ch:*";

impl Script {
    pub(super) fn listener(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        match rng.below(20) {
            0..=2 => self.subscribe(rng),
            3..=7 => unsubscribe(rng),
            8 | 9 => Line::new(&["PING"], Op::Ping(None)),
            10 => {
                let on = rng.one_in(2);
                let switch = if on { "ON" } else { "OFF" };
                Line::new(&["CLIENT", "TRACKING", switch], Op::Tracking(on))
            }
            11 => {
                let on = rng.one_in(3);
                let switch = if on { "ON" } else { "OFF" };
                Line::new(&["CLIENT", "NO-TOUCH", switch], Op::NoTouch(on))
            }
            12..=14 => {
                let tag = self.tag();
                let args = ["PUBLISH", &channel(rng), &format!("t{tag}")];
                Line::new(&args, Op::Data { tag, big: false })
            }
            15 => {
                let protocol = *rng.pick(&[2, 3, 3, 3]);
                let op = Op::Hello {
                    protocol: Some(protocol),
                    login: None,
                    name: None,
                };
                Line::new(&["HELLO", &protocol.to_string()], op)
            }
            _ => self.small(around, rng),
        }
    }

    pub(super) fn subscribe(&mut self, rng: &mut Rng) -> Line {
        self.listens = true;
        let tag = self.tag();
        let pattern = rng.one_in(4);
        let mut channels = match pattern {
            true => vec![EVERYTHING.to_owned()],
            false => (0..=rng.below(3)).map(|_| channel(rng)).collect(),
        };
        channels.push(format!("t{tag}"));
        let mut args = vec![if pattern { "PSUBSCRIBE" } else { "SUBSCRIBE" }];
        args.extend(channels.iter().map(String::as_str));
        let op = Op::Subscribe {
            tag,
            channels: channels.clone(),
            pattern,
        };
        Line::new(&args, op)
    }
}

fn unsubscribe(rng: &mut Rng) -> Line {
    let pattern = rng.one_in(3);
    let channels = match (rng.one_in(2), pattern) {
        (true, _) => Vec::new(),
        (_, true) => vec![EVERYTHING.to_owned()],
        (_, false) => (0..=rng.below(3)).map(|_| channel(rng)).collect(),
    };
    let mut args = vec![if pattern {
        "PUNSUBSCRIBE"
    } else {
        "UNSUBSCRIBE"
    }];
    args.extend(channels.iter().map(String::as_str));
    let op = Op::Unsubscribe {
        channels: channels.clone(),
        pattern,
    };
    Line::new(&args, op)
}
