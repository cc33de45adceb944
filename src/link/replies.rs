//! Finds where replies end on a link, and collects the ones that must be read whole.

use crate::metrics::ErrorKind;
use crate::resp::Scan;

use super::failure::Failure;
use super::link::Link;
use super::redirection::{Redirection, Start};
use super::request::{Kind, Request};
use super::verb::Verb;

/// The longest reply that must be read whole (an auth result, a handshake reply, TRACKINGINFO,
/// CLUSTER SLOTS).
const COLLECT_BYTES_MAX: usize = 1 << 20;

/// The most bytes of unexpected pushes on a shared link.
const PUSHED_BYTES_MAX: usize = 64 * 1024;

/// What was found of the replies to one record.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// Bytes that belong to them.
    pub len: usize,
    /// Replies that are complete now.
    pub done: u32,
    /// The following bytes are not RESP. The valid replies before them are delivered first.
    pub broken: Option<Failure>,
    /// The kind of an error among them that shows that the server may not be able to serve
    /// requests.
    pub health_error: Option<ErrorKind>,
}

impl Link {
    /// Finds the replies to `request`, the head of the queue, at the front of `bytes`.
    #[inline]
    pub(crate) fn scan_record(&mut self, request: &mut Request, bytes: &[u8]) -> Scanned {
        let mut found = Scanned::default();
        while request.count > 0 {
            let rest = bytes.get(found.len..).unwrap_or_default();
            if rest.is_empty() || self.at_push(rest) || self.at_redirection(request, rest) {
                break;
            }
            if self.scanner.at_start() && matches!(rest.first(), Some(b'-' | b'!')) {
                let health_error = self.note_error(request.kind.is_counted(), rest);
                found.health_error = health_error.or(found.health_error);
                request.writes &= !rest.starts_with(b"-");
            }
            match self.scanner.scan(rest) {
                Ok(Scan::Complete { len }) => {
                    found.len += len;
                    found.done += 1;
                    request.count -= 1;
                    self.reply_bytes = 0;
                }
                Ok(Scan::Partial) => {
                    found.len = bytes.len();
                    self.reply_bytes += rest.len() as u64;
                }
                Err(error) => {
                    found.broken = Some(error.into());
                    break;
                }
            }
        }
        found
    }

    /// Does a reply to `request` start here that may redirect it?
    #[inline]
    pub(crate) fn at_redirection(&self, request: &Request, rest: &[u8]) -> bool {
        rest.first() == Some(&b'-') && self.scanner.at_start() && self.redirects(request, rest)
    }

    #[cold]
    fn redirects(&self, request: &Request, rest: &[u8]) -> bool {
        request.kind.is_counted()
            && request.kind != Kind::Batch
            && self.redirection(request.verb, rest) != Start::Other
    }

    /// Reads the start of a reply. Only a Redis Cluster redirects; a single server's LOADING and
    /// MASTERDOWN go to the client. So does what may be the error of a script, which was executed.
    pub(crate) fn redirection(&self, verb: Verb, rest: &[u8]) -> Start {
        let script = verb == Verb::Script;
        if self.is_single {
            return Start::Other;
        }
        match Redirection::read(rest, self.address) {
            Start::Redirection(..) if script && !self.clustered => Start::Other,
            Start::Redirection(Redirection::Later, _) if script || !self.clustered => Start::Other,
            Start::Unknown if !self.clustered && !self.may_be_moved(rest) => Start::Other,
            start => start,
        }
    }

    /// Can these bytes be the first MOVED or ASK of a node that has not said that it is one?
    fn may_be_moved(&self, rest: &[u8]) -> bool {
        let words: [&[u8]; 2] = [b"-MOVED ", b"-ASK "];
        let mut words = words.iter();
        words.any(|word| rest.starts_with(word) || self.without_hello && word.starts_with(rest))
    }

    /// Inspects the start of an error. Returns its kind if it says something about the server's
    /// health.
    #[cold]
    pub(crate) fn note_error(&mut self, counted: bool, begin: &[u8]) -> Option<ErrorKind> {
        let kind = ErrorKind::of(begin);
        if counted {
            self.traffic.error(kind);
        }
        let serious = [
            ErrorKind::Loading,
            ErrorKind::MasterDown,
            ErrorKind::ReadOnly,
        ];
        serious.contains(&kind).then_some(kind)
    }

    /// Does a push start here, or continue?
    #[inline]
    pub(crate) fn at_push(&self, rest: &[u8]) -> bool {
        match self.scanner.at_start() {
            true => rest.first() == Some(&b'>'),
            false => self.scanner.is_push(),
        }
    }

    /// Scans an unexpected push. Returns how many bytes belong to it, and whether it ends with
    /// them.
    ///
    /// # Errors
    ///
    /// The server sent too many bytes of pushes.
    pub(crate) fn scan_push(&mut self, rest: &[u8]) -> Result<(usize, bool), Failure> {
        let (len, whole) = self.scan(rest)?;
        self.pushed_bytes += len;
        match self.pushed_bytes > PUSHED_BYTES_MAX {
            true => Err(Failure::Desync("sent unexpected pushes".into())),
            false => Ok((len, whole)),
        }
    }

    /// Returns how many of these bytes belong to the current frame, and whether it ends with them.
    pub(crate) fn scan(&mut self, rest: &[u8]) -> Result<(usize, bool), Failure> {
        match self.scanner.scan(rest)? {
            Scan::Complete { len } => Ok((len, true)),
            Scan::Partial => Ok((rest.len(), false)),
        }
    }

    /// Adds a part of a reply that must be read whole.
    pub(crate) fn collect(&mut self, part: &[u8]) -> Result<(), Failure> {
        self.collect_at_most(part, COLLECT_BYTES_MAX)
    }

    /// Like [`collect`](Self::collect), with another limit, bytes.
    ///
    /// # Errors
    ///
    /// The reply is longer.
    pub(crate) fn collect_at_most(&mut self, part: &[u8], max: usize) -> Result<(), Failure> {
        if self.collected.len() + part.len() > max {
            return Err(Failure::Desync("sent an answer that is too long".into()));
        }
        self.collected.extend_from_slice(part);
        Ok(())
    }
}
