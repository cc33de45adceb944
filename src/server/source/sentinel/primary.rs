//! One primary: what was published of it, and when its role is checked next.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::HostPort;

use super::backoff;

/// Interval at which a host name is looked up again. The server may have got another IP address.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Primary {
    /// The published address, and the address that sentinels named.
    known: Option<(HostPort, SocketAddr)>,
    /// A check is running.
    checking: bool,
    /// The address that was checked last, and when it may be checked again.
    checked: Option<(HostPort, Instant)>,
    /// Failed checks in a row.
    failures: u32,
    /// The last problem that was logged.
    logged: Option<String>,
}

impl Primary {
    /// The published address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.known.as_ref().map(|(_, address)| *address)
    }

    /// Whether this is the published primary.
    pub(super) fn is(&self, endpoint: &HostPort) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|(known, _)| known == endpoint)
    }

    /// When the role of this address, which the sentinels name, is to be checked. `None`: not at
    /// all, or a check is running.
    pub(super) fn check_due(&self, endpoint: &HostPort, now: Instant) -> Option<Instant> {
        let fixed = endpoint.host.parse::<IpAddr>().is_ok();
        if self.checking || self.is(endpoint) && fixed {
            return None;
        }
        let again = self.checked.as_ref().filter(|(it, _)| it == endpoint);
        Some(again.map_or(now, |(_, at)| *at))
    }

    pub(super) fn begin_check(&mut self) {
        self.checking = true;
    }

    /// A check has ended without a result that counts.
    pub(super) fn end_check(&mut self) {
        (self.checking, self.checked, self.failures) = (false, None, 0);
    }

    /// The server is the primary. Returns the former address if the address has changed; the
    /// former one is `None` for the first primary.
    pub(super) fn found(
        &mut self,
        endpoint: HostPort,
        address: SocketAddr,
        now: Instant,
    ) -> Option<Option<SocketAddr>> {
        self.checked = Some((endpoint.clone(), now + LOOK_UP_EVERY));
        let before = self.known.replace((endpoint, address));
        let before = before.map(|(_, address)| address);
        (self.checking, self.failures, self.logged) = (false, 0, None);
        (before != Some(address)).then_some(before)
    }

    /// The server is not the primary, or does not answer.
    pub(super) fn failed(&mut self, endpoint: HostPort, now: Instant) {
        self.checking = false;
        self.failures = self.failures.saturating_add(1);
        self.checked = Some((endpoint, now + backoff(self.failures)));
    }

    /// Whether a problem is to be logged: only once, until there is another one.
    pub(super) fn is_news(&mut self, problem: &str) -> bool {
        let news = self.logged.as_deref() != Some(problem);
        if news {
            self.logged = Some(problem.to_owned());
        }
        news
    }
}
