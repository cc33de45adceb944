//! The queue of requests of a link: what changes with a request that joins or leaves it.

use crate::link::link::Link;
use crate::link::request::{Fifo, Kind, Reply, Request, Requests};
use crate::link::verb::Verb;
use crate::store::key::ClientKey;
use crate::store::time::Millis;

/// Requests that join the queue. The caller appends their bytes, see
/// [`Links::append`](crate::link::links::Links::append).
impl Link {
    /// Requests are about to be appended: the deadline of an idle link starts.
    #[inline]
    pub(crate) fn start_clock(&mut self, now: Millis) {
        if self.fifo.is_empty() {
            self.since = now;
        }
    }

    /// Appends a record for `count` replies to a request of `len` bytes.
    // Called for each run. Whether the compiler inlines it would change with the code around it.
    #[inline(always)]
    pub(crate) fn push(
        &mut self,
        requests: &mut Requests,
        (of_client, client): (&mut Fifo, ClientKey),
        what: (Kind, Verb),
        count: u32,
        len: usize,
    ) {
        let start = self.queued;
        requests.push(of_client, &mut self.fifo, client, what, count, start);
        self.queued += len as u64;
        self.count_verb(what.1);
    }

    /// Adds plain requests of `len` bytes in all to the last record. Returns `false` if that is not
    /// possible.
    #[inline]
    pub(crate) fn extend(
        &mut self,
        requests: &mut Requests,
        of_client: Fifo,
        kind: Kind,
        count: u32,
        len: usize,
    ) -> bool {
        let extended = requests.extend(of_client, self.fifo, kind, count, self.sent);
        if extended {
            self.queued += len as u64;
        }
        extended
    }

    /// Appends the record of a lost link, and `len` bytes.
    pub(crate) fn take_over(&mut self, requests: &mut Requests, index: u32, len: u64) {
        if let Some(request) = requests.get(index) {
            self.count_verb(request.verb);
            requests.append_to_link(index, &mut self.fifo, self.queued);
            self.queued += len;
        }
    }

    #[inline]
    fn count_verb(&mut self, verb: Verb) {
        self.blocking += u32::from(verb.blocks());
        self.scripts += u32::from(verb == Verb::Script);
    }

    /// Counts requests of clients.
    #[inline]
    pub(crate) fn count_requests(&mut self, count: u32, len: usize) {
        self.traffic.requests += u64::from(count);
        self.traffic.request_bytes += len as u64;
    }
}

/// Requests that leave the queue.
impl Link {
    /// All replies to the head of the queue have arrived.
    #[inline]
    pub(crate) fn leave_head(&mut self, requests: &mut Requests, (kind, verb): (Kind, Verb)) {
        self.blocking -= u32::from(verb.blocks());
        self.scripts -= u32::from(verb == Verb::Script);
        self.abandoned -= u32::from(kind == Kind::Abandoned);
        requests.leave_link(&mut self.fifo);
    }

    /// Abandons the replies to a record: its request is retried on another link.
    pub(crate) fn abandon(&mut self, requests: &mut Requests, index: u32) {
        requests.abandon_replies(index);
        self.abandoned += 1;
    }

    /// Makes the outstanding replies ordinary: they change no state, and have a deadline.
    pub(crate) fn set_deadline(&mut self, requests: &mut Requests) {
        (self.blocking, self.scripts) = (0, 0);
        requests.set_deadline(self.fifo);
    }
}

/// What is in the queue.
impl Link {
    /// Is a blocking request in flight?
    pub(crate) fn blocks(&self) -> bool {
        self.blocking > 0
    }

    /// Is a script in flight? A request behind it waits for its end.
    pub(crate) fn runs_script(&self) -> bool {
        self.scripts > 0
    }

    /// The number of records whose replies are abandoned.
    pub(crate) fn abandoned(&self) -> u32 {
        self.abandoned
    }

    /// The bytes of a record's requests, if the link remembers them.
    pub(crate) fn bytes_of(&self, requests: &Requests, request: &Request) -> Option<&[u8]> {
        let next = requests.get(request.next_of_link);
        let end = next.map_or(self.queued, |next| next.start);
        self.recent.get(request.start, end)
    }

    /// The end of each record, in bytes ever queued.
    pub(crate) fn ends(&self, requests: &Requests) -> Vec<u64> {
        let starts = requests.of_link(self.fifo).skip(1);
        let starts = starts.map(|(_, request)| request.start);
        starts.chain([self.queued]).collect()
    }

    /// The number of bytes from the start of a record to the end of the queue.
    pub(crate) fn bytes_from(&self, request: &Request) -> u64 {
        self.queued.saturating_sub(request.start)
    }

    /// Panics if the counts contradict the queue.
    pub(crate) fn check_queue(&self, requests: &Requests) {
        assert_eq!(self.sent + self.outbound.len() as u64, self.queued);
        assert!(
            self.is_ready() || self.sent == 0,
            "a request was sent before the handshake"
        );
        if !self.is_dedicated() {
            assert_eq!(self.recent.end(), self.queued);
        }
        let (mut abandoned, mut blocking, mut scripts, mut start) = (0, 0, 0, 0);
        for (_, request) in requests.of_link(self.fifo) {
            abandoned += u32::from(request.kind == Kind::Abandoned);
            blocking += u32::from(request.verb.blocks());
            scripts += u32::from(request.verb == Verb::Script);
            assert!(request.count > 0);
            assert!(!matches!(request.reply(), Reply::Done(_)));
            assert!(request.start >= start, "records out of order");
            start = request.start;
        }
        assert_eq!(abandoned, self.abandoned);
        if !self.is_retired() {
            assert_eq!((blocking, scripts), (self.blocking, self.scripts));
        }
        if !self.is_dedicated() && !self.is_retired() && self.owner() == ClientKey::NONE {
            assert_eq!(self.blocking, 0, "the link is shared, and blocks");
        }
    }
}
