//! TCP keepalive: detects a peer whose machine has disappeared without a FIN.
//!
//! The kernel sends probes on a silent connection. It closes a connection whose peer acknowledges
//! neither probes (`TCP_KEEPCNT`) nor data (`TCP_USER_TIMEOUT`; without that the kernel retransmits
//! data for a quarter of an hour).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Unacknowledged probes after which the connection is closed.
const PROBES: u32 = 3;

/// `--tcp.keepalive-seconds`; with zero the system's defaults stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    seconds: u32,
}

impl Keepalive {
    pub(crate) fn new(seconds: u32) -> Self {
        Self { seconds }
    }

    /// Sets the options. On Linux, accepted connections inherit them from the listener.
    pub(crate) fn set(self, socket: &impl AsFd) -> io::Result<()> {
        if self.seconds == 0 {
            return Ok(());
        }
        let socket = SockRef::from(socket);
        let idle = Duration::from_secs(self.seconds.into());
        let keepalive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(self.interval())
            .with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(idle + self.interval() * PROBES))?;
        Ok(())
    }

    /// The interval between probes: a third, as in redis-server, so that a dead peer is detected
    /// after twice the time.
    fn interval(self) -> Duration {
        Duration::from_secs((self.seconds / PROBES).max(1).into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn zero_keeps_the_systems_defaults() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Keepalive::new(0).set(&socket).unwrap();
        let socket = SockRef::from(&socket);
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn dead_peer_is_detected_after_twice_the_time() {
        for (seconds, interval, timeout) in [(60, 20, 120), (1, 1, 4), (300, 100, 600)] {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            Keepalive::new(seconds).set(&socket).unwrap();
            let socket = SockRef::from(&socket);
            let secs = |n: u32| Duration::from_secs(n.into());
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(seconds));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(interval));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(secs(timeout)));
        }
    }
}
