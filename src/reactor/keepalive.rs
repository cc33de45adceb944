//! TCP keepalive: how the process notices a peer whose machine is gone without a FIN.
//!
//! The kernel sends probes on a connection that is silent, and gives up one whose peer acknowledges
//! nothing: neither a probe (`TCP_KEEPCNT`) nor data (`TCP_USER_TIMEOUT`, without which the kernel
//! repeats data for a quarter of an hour).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Probes without an answer after which the connection is over.
const PROBES: u32 = 3;

/// `--tcp.keepalive-seconds`; zero: the kernel is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    seconds: u32,
}

impl Keepalive {
    pub(crate) fn new(seconds: u32) -> Self {
        Self { seconds }
    }

    /// Sets the options. On Linux a listener hands them down to every connection accepted from it.
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

    /// As redis-server has it: a third, so that a peer is given up after twice the time.
    fn interval(self) -> Duration {
        Duration::from_secs((self.seconds / PROBES).max(1).into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn zero_leaves_a_socket_alone() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Keepalive::new(0).set(&socket).unwrap();
        let socket = SockRef::from(&socket);
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn a_vanished_peer_is_given_up_after_twice_the_time() {
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
