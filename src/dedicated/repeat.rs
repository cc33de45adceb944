//! What a client of a Redis Cluster has sent on its dedicated link and the server has not executed:
//! when the slot moves, another node executes it.

use std::mem;

use crate::command::slot::Slot;
use crate::link::redirection::Redirection;
use crate::link::verb::Verb;
use crate::resp::{ReplyScanner, Scan, write};
use crate::store::time::Millis;

/// The limit on remembered commands of one client, bytes, with a fixed cost for each.
const BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) enum Repeat {
    #[default]
    Nothing,
    /// The request for which the client has the link: it blocks, watches or subscribes.
    Request { bytes: Box<[u8]>, since: Millis },
    /// MULTI, and what follows it.
    Transaction(Box<Transaction>),
    /// A transaction that is too large to be remembered.
    Forgotten,
}

/// The commands of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The commands behind MULTI.
    queued: Vec<Box<[u8]>>,
    /// Their size, bytes.
    bytes: usize,
    /// The slot of their keys.
    pub slot: Option<Slot>,
    /// The client got an error for one of them: EXEC fails.
    pub failed: bool,
    /// Its node does not execute it. All of it is sent to another node when EXEC arrives.
    pub moved: Option<Redirection>,
}

impl Repeat {
    /// A request is sent on the dedicated link. `None`: it is too large to be remembered.
    pub(crate) fn sent(&mut self, verb: Verb, request: Option<&[u8]>, now: Millis) {
        match (&mut *self, verb) {
            (Self::Transaction(_), Verb::Exec | Verb::Discard) | (Self::Forgotten, _) => {}
            (Self::Transaction(transaction), _) => {
                let remembered = request.is_some_and(|request| transaction.add(request));
                *self = match mem::take(self) {
                    remembering if remembered => remembering,
                    _ => Self::Forgotten,
                };
            }
            (_, Verb::Multi) => *self = Self::Transaction(Box::default()),
            (_, Verb::Block | Verb::Watch | Verb::Confirm(_)) => {
                *self = request.map_or(Self::Nothing, |request| Self::Request {
                    bytes: request.into(),
                    since: now,
                });
            }
            _ => {}
        }
    }

    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            _ => None,
        }
    }

    pub(crate) fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Transaction(transaction) => Some(transaction),
            _ => None,
        }
    }
}

impl Transaction {
    /// Adds a command. Returns `false` if the transaction is too large.
    pub(crate) fn add(&mut self, command: &[u8]) -> bool {
        self.bytes += command.len() + size_of::<Box<[u8]>>();
        let room = self.bytes <= BYTES_MAX;
        if room {
            self.queued.push(command.into());
        }
        room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// The commands behind MULTI.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &[u8]> {
        self.queued.iter().map(|command| &**command)
    }

    /// MULTI, the commands and EXEC, and the number of their replies.
    pub(crate) fn request(&self) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(self.bytes + 64);
        write::command(&mut bytes, &[b"MULTI"]);
        self.queued().for_each(|command| bytes.extend(command));
        write::command(&mut bytes, &[b"EXEC"]);
        (bytes, self.queued.len() as u32 + 2)
    }
}

/// The replies of a node to a transaction that it got in one piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// The node executed nothing: the first of its redirections, and the line.
    SentAway(Redirection, &'a [u8]),
    /// The reply to EXEC.
    Replied(&'a [u8]),
}

impl<'a> Outcome<'a> {
    /// Reads the replies to MULTI, the commands, and EXEC. `None`: there is none.
    pub(crate) fn read(mut replies: &'a [u8]) -> Option<Self> {
        let mut last = None;
        while let Ok(Scan::Complete { len }) = ReplyScanner::default().scan(replies) {
            let (reply, rest) = replies.split_at(len.min(replies.len()));
            if let Some(redirection) = Redirection::of_line(reply) {
                return Some(Self::SentAway(redirection, reply));
            }
            (last, replies) = (Some(reply), rest);
        }
        last.map(Self::Replied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_repeated_in_one_piece() {
        let mut repeat = Repeat::default();
        let now = Millis::default();
        repeat.sent(Verb::Plain, Some(b"a"), now);
        assert!(repeat.transaction().is_none());
        repeat.sent(Verb::Multi, Some(b"m"), now);
        for command in [&b"+a\r\n"[..], b"+b\r\n"] {
            repeat.sent(Verb::Block, Some(command), now);
        }
        repeat.sent(Verb::Exec, Some(b"e"), now);
        let (bytes, replies) = repeat.transaction().unwrap().request();
        let expected = "*1\r\n$5\r\nMULTI\r\n+a\r\n+b\r\n*1\r\n$4\r\nEXEC\r\n";
        assert_eq!((&*bytes, replies), (expected.as_bytes(), 4));
        repeat.sent(Verb::Plain, Some(&vec![b'x'; BYTES_MAX]), now);
        assert!(matches!(repeat, Repeat::Forgotten));
        repeat.sent(Verb::Multi, Some(b"m"), now);
        assert!(matches!(repeat, Repeat::Forgotten));
    }

    #[test]
    fn a_redirection_of_any_command_is_the_outcome() {
        let all = |replies: &'static [u8]| Outcome::read(replies);
        assert_eq!(
            all(b"+OK\r\n+QUEUED\r\n*1\r\n$6\r\n-MOVED\r\n"),
            Some(Outcome::Replied(b"*1\r\n$6\r\n-MOVED\r\n"))
        );
        let line = b"-TRYAGAIN Multiple keys\r\n";
        for replies in [
            &b"+OK\r\n-TRYAGAIN Multiple keys\r\n-EXECABORT x\r\n"[..],
            b"+OK\r\n+QUEUED\r\n-TRYAGAIN Multiple keys\r\n",
        ] {
            assert_eq!(
                all(replies),
                Some(Outcome::SentAway(Redirection::Later, line))
            );
        }
        assert_eq!(all(b""), None);
    }
}
