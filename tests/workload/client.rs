//! One client: pipelines of random commands, and the replies that they may have.

use std::collections::VecDeque;

use super::model::Model;
use super::op::{Kind, Op, bulk, channel};
use super::summary::Summary;
use crate::support::{Random, Wire, array, text};

/// The most commands of a pipeline, and of a short one; half of them are short.
const PIPELINE_MAX: u64 = 100;
const SHORT_MAX: u64 = 8;

/// How long BLPOP waits, in seconds: less than a client waits for a reply.
const BLOCK_SECONDS: u64 = 15;

/// The errors of commands that were not executed. After another error it is unknown.
const REFUSALS: &[&str] = &[
    "-MOVED ",
    "-ASK ",
    "-TRYAGAIN ",
    "-CLUSTERDOWN ",
    "-CROSSSLOT ",
    "-LOADING ",
    "-MASTERDOWN ",
    "-READONLY ",
    "-EXECABORT ",
    "-NOPERM ",
    "-NOAUTH ",
    "-ERR elika: backend unavailable",
];

/// Whether an op was executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Executed,
    Refused,
    Unknown,
}

/// A wrong reply of a pipeline, and those that were possible.
struct Wrong {
    reply: String,
    expected: Vec<String>,
}

pub(super) struct Client<'a> {
    number: u64,
    address: String,
    random: Random,
    kinds: &'a [Kind],
    wire: Wire,
    /// The connection of BLPOP.
    popper: Option<Wire>,
    /// The connection that is subscribed to the client's channel.
    subscriber: Option<Wire>,
    /// The messages that have not arrived, and whether they must.
    messages: VecDeque<(String, bool)>,
    model: Model,
    /// Numbers the ops.
    count: u64,
    /// The wrong replies of the current pipeline.
    wrong: Vec<Wrong>,
    summary: Summary,
}

impl<'a> Client<'a> {
    pub(super) fn new(number: u64, address: String, random: Random, kinds: &'a [Kind]) -> Self {
        Self {
            number,
            random,
            kinds,
            wire: Wire::connect(&*address),
            address,
            popper: None,
            subscriber: None,
            messages: VecDeque::new(),
            model: Model::default(),
            count: 0,
            wrong: Vec::new(),
            summary: Summary::default(),
        }
    }

    pub(super) fn run(mut self, stop: impl Fn() -> bool) -> Summary {
        while !stop() {
            self.pipeline();
        }
        self.summary
    }

    /// Sends some commands, in one or two pieces, and checks their replies and their effects on the
    /// other connections.
    fn pipeline(&mut self) {
        let ops = self.plan();
        self.prepare(&ops);
        let commands = ops.iter().flat_map(|op| op.lines());
        let bytes: Vec<u8> = commands.flat_map(|line| array(&line)).collect();
        let (first, second) = bytes.split_at(self.random.below(bytes.len() as u64) as usize);
        // If the connection is closed, so is its other direction.
        let _ = self.wire.try_send(first) && self.wire.try_send(second);
        let mut outcomes = Vec::new();
        for op in &ops {
            let replies = op.lines().iter().map(|_| self.wire.try_frame()).collect();
            let replies: Result<Vec<_>, String> = replies;
            match replies {
                Ok(frames) => {
                    let replies: Vec<String> = frames.iter().map(|it| text(it)).collect();
                    outcomes.push(self.check(op, &replies));
                }
                Err(why) => {
                    self.lost(&why, op);
                    break;
                }
            }
        }
        for op in &ops[outcomes.len()..] {
            self.model.maybe_executed(op);
            outcomes.push(Outcome::Unknown);
        }
        for (op, outcome) in ops.iter().zip(outcomes) {
            match op {
                Op::Push(list, value) => self.pop(list, value, outcome),
                Op::Publish(_, message) if outcome != Outcome::Refused => {
                    let must_arrive = outcome == Outcome::Executed;
                    self.messages.push_back((message.clone(), must_arrive));
                }
                _ => {}
            }
        }
        self.receive_messages();
        self.count_reordered();
    }

    fn plan(&mut self) -> Vec<Op> {
        let max = self.random.pick(&[SHORT_MAX, PIPELINE_MAX]);
        let mut left = 1 + self.random.below(max);
        let mut ops: Vec<Op> = Vec::new();
        let mut pushes = false;
        while left > 0 {
            self.count += 1;
            let mut kind = self.random.pick(self.kinds);
            if kind == Kind::Push && std::mem::replace(&mut pushes, true) {
                kind = Kind::Set;
            }
            let op = Op::random(kind, self.number, self.count, &mut self.random);
            left = left.saturating_sub(op.lines().len() as u64);
            ops.push(op);
        }
        ops
    }

    /// Sends BLPOP before the pipeline has LPUSH, and subscribes before it has PUBLISH.
    fn prepare(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Push(list, _) => {
                    let connect = || Wire::connect(&*self.address);
                    let popper = self.popper.get_or_insert_with(connect);
                    let _ = popper.try_send(array(&format!("BLPOP {list} {BLOCK_SECONDS}")));
                }
                Op::Publish(..) if self.subscriber.is_none() => self.subscribe(),
                _ => {}
            }
        }
    }

    fn subscribe(&mut self) {
        let mut wire = Wire::connect(&*self.address);
        let channel = channel(self.number);
        let _ = wire.try_send(array(&format!("SUBSCRIBE {channel}")));
        let expected = format!("*3 $9 subscribe {} :1", bulk(Some(&channel)));
        match wire.try_frame().map(|frame| text(&frame)) {
            Ok(reply) if reply == expected => self.subscriber = Some(wire),
            Ok(error) if error.starts_with('-') => self.summary.add_error(&error),
            Ok(reply) => self.add_wrong("SUBSCRIBE", &reply, vec![expected]),
            Err(why) => self.no_reply("SUBSCRIBE", &why),
        }
    }

    /// Checks the replies to the commands of an op.
    fn check(&mut self, op: &Op, replies: &[String]) -> Outcome {
        let (last, queued) = replies.split_last().unwrap();
        let errors = || replies.iter().filter(|it| it.starts_with('-'));
        for error in errors() {
            self.summary.add_error(error);
        }
        if errors().next().is_some() {
            // If MULTI failed, the commands after it are executed one by one.
            let is_open = queued.first().is_none_or(|multi| multi == "+OK");
            if is_open && REFUSALS.iter().any(|it| last.starts_with(it)) {
                return Outcome::Refused;
            }
            self.model.maybe_executed(op);
            return Outcome::Unknown;
        }
        let expected = ["+OK", "+QUEUED", "+QUEUED", "+QUEUED"];
        for ((line, reply), expected) in op.lines().iter().zip(queued).zip(expected) {
            if reply != expected {
                self.add_wrong(line, reply, vec![expected.to_owned()]);
            }
        }
        match self.model.executed(op, last) {
            Ok(()) => self.summary.add_right(op.kind()),
            Err(expected) => self.add_wrong(&op.lines().join(" | "), last, expected),
        }
        Outcome::Executed
    }

    /// The connection has no reply to an op. A new connection replaces it.
    fn lost(&mut self, why: &str, op: &Op) {
        self.no_reply(&op.lines().join(" | "), why);
        self.wire = Wire::connect(&*self.address);
    }

    /// A connection has no reply to a command: it was closed, or the reply is missing.
    fn no_reply(&mut self, command: &str, why: &str) {
        if why == "the end" {
            self.summary.closed += 1;
        } else {
            self.summary.add_wrong(command, why, "a reply");
        }
    }

    fn add_wrong(&mut self, command: &str, reply: &str, expected: Vec<String>) {
        let command = format!("client {}: {command}", self.number);
        let possible = expected.join(" or ");
        self.summary.add_wrong(&command, reply, &possible);
        let reply = reply.to_owned();
        self.wrong.push(Wrong { reply, expected });
    }

    /// Counts the wrong replies that another command with a wrong reply should have had.
    fn count_reordered(&mut self) {
        let wrong = std::mem::take(&mut self.wrong);
        let is_others = |it: &&Wrong| wrong.iter().any(|of| of.expected.contains(&it.reply));
        self.summary.reordered += wrong.iter().filter(is_others).count() as u64;
    }

    /// Checks that BLPOP has returned the value of LPUSH.
    fn pop(&mut self, list: &str, value: &str, outcome: Outcome) {
        let Some(mut popper) = self.popper.take() else {
            return;
        };
        // BLPOP may get nothing: its connection is closed.
        if outcome != Outcome::Executed {
            return;
        }
        let expected = format!("*2 {} {}", bulk(Some(list)), bulk(Some(value)));
        let command = format!("BLPOP {list}");
        match popper.try_frame().map(|frame| text(&frame)) {
            Ok(reply) => {
                self.popper = Some(popper);
                if reply.starts_with('-') {
                    self.summary.add_error(&reply);
                } else if reply != expected {
                    self.add_wrong(&command, &reply, vec![expected]);
                }
            }
            Err(why) => self.no_reply(&command, &why),
        }
    }

    /// Waits for the messages that must arrive: each once, and in order.
    fn receive_messages(&mut self) {
        let Some(mut subscriber) = self.subscriber.take() else {
            self.messages.clear();
            return;
        };
        let channel = channel(self.number);
        let head = format!("*3 $7 message {} ", bulk(Some(&channel)));
        while self.messages.iter().any(|(_, must_arrive)| *must_arrive) {
            let reply = match subscriber.try_frame() {
                Ok(frame) => text(&frame),
                Err(why) => {
                    self.no_reply("a message", &why);
                    self.messages.clear();
                    return;
                }
            };
            let is_it = |(message, _): &(String, bool)| {
                reply.strip_prefix(&head) == Some(&*bulk(Some(message)))
            };
            let place = self.messages.iter().position(is_it);
            let skipped: Vec<_> = self
                .messages
                .drain(..place.map_or(0, |at| at + 1))
                .collect();
            for (message, must_arrive) in skipped.iter().rev().skip(1) {
                if *must_arrive {
                    self.add_wrong("a message", &reply, vec![message.clone()]);
                }
            }
            if place.is_none() {
                self.add_wrong("a message", &reply, vec!["another".into()]);
            }
        }
        self.subscriber = Some(subscriber);
    }
}
