//! The frames of a dedicated link, and what each is for the link's client.
//!
//! Keeps the start and the end of the current frame, which show its class. The middle is not kept:
//! a message may have any size, and is delivered as it arrives.

use crate::command::Topic;
use crate::resp::number::parse_i64;

/// Room for `>3`, the longest first word (`punsubscribe`) and their line ends, and a reserve.
const HEAD_BYTES: usize = 40;

/// Room for `:`, twenty digits and a line end, and a reserve.
const TAIL_BYTES: usize = 24;

/// The start and the end of a frame that may be incomplete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    head: [u8; HEAD_BYTES],
    head_len: usize,
    tail: [u8; TAIL_BYTES],
    tail_len: usize,
    pub(crate) destination: Destination,
}

/// Where the bytes of a frame go; decided by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To the client of the head of the queue, unless CLIENT REPLY silences it.
    Reply,
    /// To the owner: a push, which is not a reply.
    Push,
    /// Collected until the frame is complete.
    Collect,
    /// Collected while the frame may be the push that says that a redirection ended.
    HeldPush,
    /// To the owner, element by element: the reply to EXEC.
    ExecReply,
    /// A line of MONITOR: collected until the name of its command has arrived.
    MonitorLine,
    /// Dropped: a line of MONITOR while the client wants no replies, or about a command of the
    /// proxy.
    Drop,
    /// Undecided: after the first byte, the second tells a reply from a line of MONITOR or from a
    /// message.
    Undecided,
}

/// What a complete frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The reply to the head of the queue.
    Reply,
    /// A confirmation of a subscribe or unsubscribe: the topic, and the number of subscriptions.
    Confirmation(Topic, u32),
    /// A message, an invalidation or a line of MONITOR: no reply to a request.
    Unsolicited,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            head: [0; HEAD_BYTES],
            head_len: 0,
            tail: [0; TAIL_BYTES],
            tail_len: 0,
            destination: Destination::Reply,
        }
    }
}

impl Frame {
    pub(crate) fn begin(destination: Destination) -> Self {
        Self {
            destination,
            ..Self::default()
        }
    }

    /// Adds the next bytes of the frame.
    pub(crate) fn note(&mut self, part: &[u8]) {
        let room = self.head.get_mut(self.head_len..).unwrap_or_default();
        let n = room.len().min(part.len());
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
        }
        self.head_len += n;
        let end = part
            .get(part.len().saturating_sub(TAIL_BYTES)..)
            .unwrap_or_default();
        let kept = self.tail_len.min(TAIL_BYTES - end.len());
        self.tail
            .copy_within(self.tail_len - kept..self.tail_len, 0);
        if let Some(to) = self.tail.get_mut(kept..kept + end.len()) {
            to.copy_from_slice(end);
        }
        self.tail_len = kept + end.len();
    }

    fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or_default()
    }

    /// The first byte of the frame.
    pub(crate) fn kind(&self) -> u8 {
        self.head().first().copied().unwrap_or_default()
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self.kind(), b'-' | b'!')
    }

    /// Is the frame a null, like EXEC's reply after a watched key changed?
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.head(), b"*-1\r\n" | b"_\r\n")
    }

    /// Is the frame the reply to a command that MULTI queued?
    pub(crate) fn is_queued(&self) -> bool {
        self.head() == b"+QUEUED\r\n"
    }

    /// Can the frame be the reply to AUTH, or to AUTH inside MULTI?
    pub(crate) fn may_answer_auth(&self) -> bool {
        self.is_error() || self.is_queued() || self.head() == b"+OK\r\n"
    }

    /// What the complete frame is. `modal`: the client may have subscriptions and uses RESP2, in
    /// which messages are arrays like other replies.
    pub(crate) fn class(&self, modal: bool, monitor: bool) -> Class {
        match self.kind() {
            b'>' => self.published(),
            b'*' if modal => match self.published() {
                Class::Unsolicited if !self.is_message() => Class::Reply,
                class => class,
            },
            b'+' if monitor && is_line(self.head()) => Class::Unsolicited,
            _ => Class::Reply,
        }
    }

    /// A confirmation, or otherwise an unsolicited frame.
    fn published(&self) -> Class {
        let topic = match self.first_word() {
            b"subscribe" | b"unsubscribe" => Topic::Channel,
            b"psubscribe" | b"punsubscribe" => Topic::Pattern,
            b"ssubscribe" | b"sunsubscribe" => Topic::Shard,
            _ => return Class::Unsolicited,
        };
        match self.last_number() {
            Some(count) => Class::Confirmation(topic, count),
            None => Class::Unsolicited,
        }
    }

    fn is_message(&self) -> bool {
        matches!(self.first_word(), b"message" | b"pmessage" | b"smessage")
    }

    /// The first element, if it is a short string.
    pub(crate) fn first_word(&self) -> &[u8] {
        let mut lines = self.head().split(|byte| *byte == b'\n');
        let (Some(_), Some(length), Some(word)) = (lines.next(), lines.next(), lines.next()) else {
            return &[];
        };
        match (length.first(), word.split_last()) {
            (Some(b'$'), Some((b'\r', word))) => word,
            _ => &[],
        }
    }

    /// The last line, if it is a number.
    fn last_number(&self) -> Option<u32> {
        let tail = self.tail.get(..self.tail_len)?.strip_suffix(b"\r\n")?;
        let line = tail.rsplit(|byte| *byte == b'\n').next()?;
        u32::try_from(parse_i64(line.strip_prefix(b":")?)?).ok()
    }
}

/// Does a frame of a link in MONITOR mode start like a line of MONITOR? Such lines start with the
/// time; no status does.
pub(crate) fn is_line(begin: &[u8]) -> bool {
    matches!(begin, [b'+', digit, ..] if digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(bytes: &[u8], piece: usize, modal: bool, monitor: bool) -> Class {
        let mut frame = Frame::default();
        for part in bytes.chunks(piece) {
            frame.note(part);
        }
        frame.class(modal, monitor)
    }

    #[test]
    fn frame_class_does_not_depend_on_the_pieces() {
        let long = format!(
            "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$200\r\n{}\r\n",
            "x".repeat(200)
        );
        let frames: &[(&[u8], Class)] = &[
            (b"+OK\r\n", Class::Reply),
            (b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Class::Reply),
            (
                b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
                Class::Confirmation(Topic::Channel, 1),
            ),
            (
                b">3\r\n$12\r\npunsubscribe\r\n_\r\n:1234567890\r\n",
                Class::Confirmation(Topic::Pattern, 1_234_567_890),
            ),
            (
                b">3\r\n$10\r\nssubscribe\r\n$60\r\n123456789012345678901234567890123456789012345678901234567890\r\n:2\r\n",
                Class::Confirmation(Topic::Shard, 2),
            ),
            (b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", Class::Unsolicited),
            (long.as_bytes(), Class::Unsolicited),
            (b"+1339518083.107412 [0 127.0.0.1:1] \"keys\" \"*\"\r\n", Class::Unsolicited),
        ];
        for (bytes, class) in frames {
            for piece in 1..=bytes.len() {
                assert_eq!(class_of(bytes, piece, true, true), *class, "{piece}");
            }
        }
        // Outside their modes, these frames are replies like others.
        assert_eq!(class_of(frames[2].0, 9, false, false), Class::Reply);
        assert_eq!(class_of(frames[7].0, 9, false, false), Class::Reply);
    }
}
