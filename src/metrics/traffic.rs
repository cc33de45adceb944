//! Counters of one backend link, or of all links of an instance.

use super::Histogram;

/// Kinds of error replies, by their first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `ERR`, and every word without a kind of its own.
    Err,
    /// `WRONGTYPE`.
    WrongType,
    /// `NOAUTH`, `WRONGPASS` and `NOPERM`.
    Denied,
    /// `OOM`.
    OutOfMemory,
    /// `BUSY`, `TRYAGAIN` and `BUSYKEY`.
    Busy,
    /// `LOADING`.
    Loading,
    /// `MASTERDOWN`.
    MasterDown,
    /// `READONLY`.
    ReadOnly,
    /// `NOSCRIPT`.
    NoScript,
    /// `EXECABORT`.
    ExecAbort,
    /// `MOVED`, `ASK`, `CROSSSLOT` and `CLUSTERDOWN`.
    Cluster,
}

impl ErrorKind {
    pub const ALL: [Self; 11] = [
        Self::Err,
        Self::WrongType,
        Self::Denied,
        Self::OutOfMemory,
        Self::Busy,
        Self::Loading,
        Self::MasterDown,
        Self::ReadOnly,
        Self::NoScript,
        Self::ExecAbort,
        Self::Cluster,
    ];

    /// The kind of an error reply, which starts with `-`.
    pub fn of(reply: &[u8]) -> Self {
        let text = reply.get(1..).unwrap_or_default();
        let end = text.iter().position(|&b| b == b' ' || b == b'\r');
        match text.get(..end.unwrap_or(text.len())).unwrap_or_default() {
            b"WRONGTYPE" => Self::WrongType,
            b"NOAUTH" | b"WRONGPASS" | b"NOPERM" => Self::Denied,
            b"OOM" => Self::OutOfMemory,
            b"BUSY" | b"TRYAGAIN" | b"BUSYKEY" => Self::Busy,
            b"LOADING" => Self::Loading,
            b"MASTERDOWN" => Self::MasterDown,
            b"READONLY" => Self::ReadOnly,
            b"NOSCRIPT" => Self::NoScript,
            b"EXECABORT" => Self::ExecAbort,
            b"MOVED" | b"ASK" | b"CROSSSLOT" | b"CLUSTERDOWN" => Self::Cluster,
            _ => Self::Err,
        }
    }

    /// The value of the label `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::WrongType => "wrongtype",
            Self::Denied => "denied",
            Self::OutOfMemory => "oom",
            Self::Busy => "busy",
            Self::Loading => "loading",
            Self::MasterDown => "masterdown",
            Self::ReadOnly => "readonly",
            Self::NoScript => "noscript",
            Self::ExecAbort => "execabort",
            Self::Cluster => "cluster",
        }
    }
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests forwarded.
    pub requests: u64,
    /// Replies received to these requests.
    pub replies: u64,
    /// Bytes of these requests.
    pub request_bytes: u64,
    /// Bytes of replies and messages.
    pub reply_bytes: u64,
    /// Error replies, in the order of [`ErrorKind::ALL`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// From a request's arrival at the proxy to the end of its reply, except for blocking commands.
    pub client_latency: Histogram,
    /// From the moment a request is queued for the backend to the end of its reply.
    pub backend_latency: Histogram,
}

impl Traffic {
    /// Adds the counts of another link or instance.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.replies += other.replies;
        self.request_bytes += other.request_bytes;
        self.reply_bytes += other.reply_bytes;
        for (sum, more) in self.errors.iter_mut().zip(other.errors) {
            *sum += more;
        }
        self.client_latency.add(&other.client_latency);
        self.backend_latency.add(&other.backend_latency);
    }

    /// The counts that were added since `earlier`. If they are smaller than `earlier`, counting has
    /// started again at zero, and all of them are new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.requests < earlier.requests || self.reply_bytes < earlier.reply_bytes {
            return *self;
        }
        let mut since = *self;
        for (count, less) in since.errors.iter_mut().zip(earlier.errors) {
            *count = count.saturating_sub(less);
        }
        Self {
            requests: self.requests - earlier.requests,
            replies: self.replies.saturating_sub(earlier.replies),
            request_bytes: self.request_bytes.saturating_sub(earlier.request_bytes),
            reply_bytes: self.reply_bytes - earlier.reply_bytes,
            errors: since.errors,
            client_latency: self.client_latency.since(&earlier.client_latency),
            backend_latency: self.backend_latency.since(&earlier.backend_latency),
        }
    }

    /// Counts an error reply.
    pub fn error(&mut self, kind: ErrorKind) {
        if let Some(count) = self.errors.get_mut(kind as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_kind_follows_from_the_first_word() {
        let cases: [(&[u8], ErrorKind); 8] = [
            (b"-LOADING Redis is loading\r\n", ErrorKind::Loading),
            (b"-READONLY\r\n", ErrorKind::ReadOnly),
            (b"-READONLYX\r\n", ErrorKind::Err),
            (b"-ERR LOADING\r\n", ErrorKind::Err),
            (b"-MASTERDOWN Link", ErrorKind::MasterDown),
            (b"-", ErrorKind::Err),
            (b"", ErrorKind::Err),
            (b"-BUSY x\r\n", ErrorKind::Busy),
        ];
        for (reply, kind) in cases {
            assert_eq!(ErrorKind::of(reply), kind, "{reply:?}");
        }
        for (i, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i);
        }
    }

    #[test]
    fn difference_of_two_counts_is_what_was_added() {
        let mut first = Traffic {
            requests: 5,
            replies: 4,
            request_bytes: 100,
            reply_bytes: 200,
            ..Traffic::default()
        };
        first.error(ErrorKind::Busy);
        first.client_latency.record(70, 4);
        first.backend_latency.record(60, 4);
        let mut both = first;
        both.add(&first);
        assert_eq!(both.since(&first), first);
        assert_eq!(first.since(&first), Traffic::default());
        assert_eq!(
            first.since(&both),
            first,
            "the counters started again at zero"
        );
    }
}
