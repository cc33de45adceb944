//! Names of backends, looked up on threads of their own: nobody waits for a slow answer but the
//! name itself.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::spawn::spawn;

/// Looks a name up: all of its addresses.
pub(super) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Takes an answer.
type Deliver = Arc<dyn Fn(String, io::Result<Vec<SocketAddr>>) + Send + Sync>;

/// Names that are looked up at the same time. One of these threads leaves those alone that failed
/// the last time: they may take long again.
const THREADS_MAX: usize = 4;

/// See the module. Its threads start when they are needed and end with it.
pub(super) struct Resolver {
    queue: Arc<Queue>,
    lookup: Lookup,
    deliver: Deliver,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Names nobody asked for yet, and those that had an answer the last time.
    good: VecDeque<String>,
    /// Names that failed the last time.
    bad: VecDeque<String>,
    closed: bool,
}

impl Resolver {
    /// Gives each answer to `deliver`, on a thread of its own.
    pub(super) fn new(
        lookup: Lookup,
        deliver: impl Fn(String, io::Result<Vec<SocketAddr>>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            queue: Arc::default(),
            lookup,
            deliver: Arc::new(deliver),
            threads: 0,
        }
    }

    /// The system's resolver; the ports of the addresses are 0.
    pub(super) fn system() -> Lookup {
        Arc::new(|name| {
            let mut found: Vec<SocketAddr> = (name, 0).to_socket_addrs()?.collect();
            // Resolvers rotate their answers; the order alone is no change.
            found.sort_unstable();
            found.dedup();
            Ok(found)
        })
    }

    /// Has a name looked up. The answer comes later, once per call.
    pub(super) fn ask(&mut self, name: String, failed_before: bool) {
        self.queue.with(|waiting| match failed_before {
            true => waiting.bad.push_back(name),
            false => waiting.good.push_back(name),
        });
        if self.threads < THREADS_MAX {
            self.start_thread();
        }
        // A name that failed is not for each of those who wait.
        self.queue.bell.notify_all();
    }

    fn start_thread(&mut self) {
        let queue = Arc::clone(&self.queue);
        let (lookup, deliver) = (Arc::clone(&self.lookup), Arc::clone(&self.deliver));
        let takes_bad = self.threads + 1 < THREADS_MAX;
        let started = spawn(&format!("resolver-{}", self.threads), move || {
            while let Some(name) = queue.next(takes_bad) {
                let answer = lookup(&name);
                deliver(name, answer);
            }
        });
        match started {
            Ok(_) => self.threads += 1,
            Err(error) => log::error!("a resolver thread cannot be had: {error}"),
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.queue.with(|waiting| waiting.closed = true);
        self.queue.bell.notify_all();
    }
}

impl Queue {
    fn with(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for a name; `None`: nobody asks any more.
    fn next(&self, takes_bad: bool) -> Option<String> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(name) = waiting.good.pop_front() {
                return Some(name);
            }
            if takes_bad && let Some(name) = waiting.bad.pop_front() {
                return Some(name);
            }
            let woken = self.bell.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn names_that_hang_keep_no_other_name_waiting() {
        let (release, hold) = channel::<()>();
        let hold = Mutex::new(hold);
        let lookup: Lookup = Arc::new(move |name| {
            if name == "slow" {
                // Until the test lets go.
                let _ = hold.lock().unwrap().recv();
            }
            Ok(vec![([127, 0, 0, 1], 0).into()])
        });
        let (answers, answered) = channel();
        let mut resolver = Resolver::new(lookup, move |name, answer| {
            answers.send((name, answer.is_ok())).unwrap();
        });
        for _ in 0..10 {
            resolver.ask("slow".into(), true);
        }
        for n in 0..20 {
            resolver.ask(format!("quick-{n}"), false);
        }
        for _ in 0..20 {
            let (name, found) = answered.recv_timeout(PATIENCE).unwrap();
            assert!(name.starts_with("quick-") && found, "{name}");
        }
        drop(release);
        for _ in 0..10 {
            assert_eq!(
                answered.recv_timeout(PATIENCE),
                Ok(("slow".to_owned(), true))
            );
        }
        drop(resolver);
        assert!(answered.recv_timeout(PATIENCE).is_err(), "its threads end");
    }

    #[test]
    fn the_system_knows_localhost() {
        let found = Resolver::system()("localhost").unwrap();
        assert!(found.iter().any(|address| address.ip().is_loopback()));
        assert!(found.iter().all(|address| address.port() == 0));
    }
}
