//! A request, ready to be sent.

use super::super::client::Op;
use super::super::redis::{Tag, any_tag, is_write};
use super::super::wire;

/// A request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    /// `None`: it has no reply.
    pub(crate) op: Option<Op>,
    /// The client that it kills.
    pub(crate) victim: Option<u64>,
    pub(crate) asks: Asks,
}

/// The properties of a request that limits depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    /// The full name of the command, in lower case.
    pub(crate) command: String,
    /// Its length as an array.
    pub(crate) bytes: usize,
    pub(crate) tag: Option<Tag>,
}

impl Asks {
    fn of(bytes: &[u8]) -> Self {
        let Ok(Some((len, args))) = wire::request(bytes) else {
            return Self::default();
        };
        let word = |nth: usize| {
            args.get(nth)
                .map(|arg| String::from_utf8_lossy(arg).to_lowercase())
        };
        let command = match (word(0).unwrap_or_default(), word(1)) {
            (name, Some(sub)) if matches!(&*name, "client" | "config" | "acl") => {
                format!("{name}|{sub}")
            }
            (name, _) => name,
        };
        Self {
            command,
            bytes: len,
            tag: any_tag(&args),
        }
    }

    pub(crate) fn writes(&self) -> bool {
        is_write(&self.command.to_uppercase())
    }

    /// Whether it is never refused or delayed.
    pub(crate) fn is_free(&self) -> bool {
        ["auth", "hello", "quit", "reset", "client|reply", ""].contains(&&*self.command)
    }
}

impl Line {
    pub(super) fn new(args: &[&str], op: Op) -> Self {
        Self::raw(wire::command(args), Some(op))
    }

    pub(super) fn unheard(args: &[&str]) -> Self {
        Self::raw(wire::command(args), None)
    }

    pub(super) fn raw(bytes: Vec<u8>, op: Option<Op>) -> Self {
        let asks = match op {
            Some(Op::Malformed | Op::Http) => Asks::default(),
            _ => Asks::of(&bytes),
        };
        Self {
            asks,
            bytes,
            op,
            victim: None,
        }
    }
}
