//! Collects the replies to the parts of a request.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use super::combine::combine;
use super::policy::{MergeRule, ResponsePolicy};
use crate::command::error_reply::ErrorReply;
use crate::resp::{Protocol, read, write};

/// A reply is not what the command returns, or the replies do not fit together.
const UNEXPECTED: ErrorReply = ErrorReply::Proxy("ERR elika: unexpected reply from a shard");
/// The caller has no reply to a part.
const NO_REPLY: ErrorReply = ErrorReply::Proxy("ERR elika: no reply from a shard");

/// Before the error of a part, when other parts of a write were executed.
const IN_PART: &str = "ERR elika: executed in part: ";

/// Bytes that are reserved with the first reply, at most.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// The replies to the parts of a request, of which [`finish`](Self::finish) makes one.
///
/// A failed part fails the request. The error of a request that changes something says what was
/// executed, and a client may rely on it:
///
/// | error | what was executed |
/// |---|---|
/// | the error of a server | nothing |
/// | `ERR elika: backend unavailable: …` | nothing |
/// | `ERR elika: …, outcome unknown` | nothing, or some parts |
/// | `ERR elika: unexpected reply from a shard` | nothing, or some parts |
/// | `ERR elika: executed in part: ERROR` | at least one part |
///
/// `ERROR` is the complete error of a part that was not executed, or whose outcome is unknown.
///
/// MSET, DEL, UNLINK, FLUSHALL, CONFIG SET and SCRIPT LOAD can be repeated: the repetition executes
/// what is missing. The number that DEL or UNLINK then returns does not count what was deleted
/// before.
#[derive(Debug)]
pub struct Merge {
    rule: MergeRule,
    /// For each key of the request its part; only for [`ResponsePolicy::Values`].
    order: Vec<u16>,
    parts: Vec<Part>,
    /// The replies that are no errors, as they have arrived.
    bytes: Vec<u8>,
    /// Parts without reply.
    outstanding: usize,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
enum Part {
    Outstanding,
    Failed,
    /// Where its reply is in `bytes`.
    Replied(Range<usize>),
}

/// The error that is reported: the most severe one, of those the first part's.
#[derive(Debug)]
struct Failure {
    severity: Severity,
    part: usize,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    /// There was no script to kill. Other errors of a KILL tell more.
    NotBusy,
    /// The part was not executed.
    Refused,
    /// The part may have been executed.
    Unknown,
}

impl Merge {
    /// For `parts` replies to the same request, one from each primary.
    pub fn new(rule: MergeRule, parts: usize) -> Self {
        Self::ordered(rule, parts, Vec::new())
    }

    /// For the replies to `parts` parts. `order` has for each key of the request its part.
    pub(super) fn ordered(rule: MergeRule, parts: usize, order: Vec<u16>) -> Self {
        let is_ordered = rule.response == ResponsePolicy::Values;
        Self {
            rule,
            order: if is_ordered { order } else { Vec::new() },
            parts: vec![Part::Outstanding; parts],
            bytes: Vec::new(),
            outstanding: parts,
            failure: None,
        }
    }

    /// Adds the complete reply to a part, which may be an error. Redirections are no replies: the
    /// caller follows them. Further replies to the same part are ignored.
    pub fn part(&mut self, index: usize, reply: &[u8]) {
        if matches!(reply.first(), Some(b'-' | b'!')) {
            let Some(text) = read::error(reply) else {
                return self.lost(index, &UNEXPECTED);
            };
            let severity = if text.starts_with(b"NOTBUSY ") {
                Severity::NotBusy
            } else {
                Severity::Refused
            };
            return self.fail(index, severity, &String::from_utf8_lossy(text));
        }
        if self.bytes.is_empty() {
            // Parts of one request have replies of similar sizes.
            let expected = reply.len().saturating_mul(self.parts.len());
            self.bytes.reserve(expected.min(RESERVED_BYTES_MAX));
        }
        let start = self.bytes.len();
        if self.end(index, Part::Replied(start..start + reply.len())) {
            self.bytes.extend_from_slice(reply);
        }
    }

    /// A part was not executed, for this reason.
    pub fn failed(&mut self, index: usize, error: &ErrorReply) {
        self.fail(index, Severity::Refused, &error.text());
    }

    /// A part was sent and has no reply: it may have been executed.
    pub fn lost(&mut self, index: usize, error: &ErrorReply) {
        self.fail(index, Severity::Unknown, &error.text());
    }

    /// Whether all parts have replied or failed.
    pub fn is_complete(&self) -> bool {
        self.outstanding == 0
    }

    /// The bytes of the replies so far.
    pub fn buffered_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The merged reply: one complete value. A part without reply counts as lost. A request without
    /// parts gets an error.
    pub fn finish(mut self, protocol: Protocol) -> Vec<u8> {
        for index in 0..self.parts.len() {
            self.lost(index, &NO_REPLY);
        }
        let mut replies: Vec<&[u8]> = Vec::with_capacity(self.parts.len());
        replies.extend(self.parts.iter().filter_map(|part| match part {
            Part::Replied(range) => self.bytes.get(range.clone()),
            Part::Outstanding | Part::Failed => None,
        }));
        let response = self.rule.response;
        let one_is_enough = response == ResponsePolicy::OneSucceeded && !replies.is_empty();
        let mut out = Vec::new();
        let error = match &self.failure {
            Some(failure) if !one_is_enough => {
                Some((Cow::from(&failure.text), !replies.is_empty()))
            }
            _ => combine(response, &replies, &self.order, protocol, &mut out)
                .is_none()
                // One of the replies is not what it seems.
                .then(|| (UNEXPECTED.text(), replies.len() > 1)),
        };
        if let Some((text, executed)) = error {
            out.clear();
            let in_part = if executed && self.rule.writes {
                IN_PART
            } else {
                ""
            };
            write::error(&mut out, &format!("{in_part}{text}"));
        }
        out
    }

    fn fail(&mut self, index: usize, severity: Severity, text: &str) {
        if !self.end(index, Part::Failed) {
            return;
        }
        let rank = |severity, part| (severity, Reverse(part));
        let reported = self.failure.as_ref().map(|it| rank(it.severity, it.part));
        if reported < Some(rank(severity, index)) {
            self.failure = Some(Failure {
                severity,
                part: index,
                text: text.to_owned(),
            });
        }
    }

    /// Ends a part. False: it has ended before.
    fn end(&mut self, index: usize, end: Part) -> bool {
        match self.parts.get_mut(index) {
            Some(part @ Part::Outstanding) => {
                *part = end;
                self.outstanding -= 1;
                true
            }
            Some(Part::Failed | Part::Replied(_)) | None => false,
        }
    }
}
